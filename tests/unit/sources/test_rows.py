"""Rows and columns that are brought one by one, or with a dimension too few."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from skorchlite import TorchPolyRegressor, TorchSGDRegressor

rng = np.random.default_rng(0)
X = rng.standard_normal((300, 3))
y = 1 + X @ [1.0, 2.0, -3.0] + rng.standard_normal(300)
w = rng.uniform(0.5, 2.0, 300)
x = X[:, 0]
tensor_x, tensor_y = torch.from_numpy(x), torch.from_numpy(y)


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Items(Dataset):
    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


class Anew:
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def halves(*parts):
    return [tuple(part[i : i + 150] for part in parts) for i in (0, 150)]


# --- a column with one dimension -----------------------------------------------------------

ONE_DIMENSION = {
    "array": lambda: (x, y),
    "list": lambda: (x.tolist(), y),
    "tensor": lambda: (tensor_x, tensor_y),
    "loader": lambda: (DataLoader(TensorDataset(tensor_x, tensor_y), batch_size=50),),
    "loader of ones": lambda: (DataLoader(TensorDataset(tensor_x, tensor_y), batch_size=1),),
    "loader of all": lambda: (DataLoader(TensorDataset(tensor_x, tensor_y), batch_size=300),),
    "loader of own batches": lambda: (
        DataLoader(TensorDataset(tensor_x, tensor_y), batch_sampler=[[0, 1, 2], [3, 4]]),
    ),
    "loader of rows": lambda: (DataLoader(TensorDataset(tensor_x, tensor_y), batch_size=None),),
    "loader of items": lambda: (DataLoader(Items(x, y), batch_size=7),),
    "loader of weighted": lambda: (DataLoader(Items(x, y, w), batch_size=7),),
    "loader of many targets": lambda: (DataLoader(Items(x, X), batch_size=7),),
    "data set of tensors": lambda: (TensorDataset(tensor_x, tensor_y),),
    "data set of items": lambda: (Items(x, y),),
    "stream of blocks": lambda: (Stream(halves(x, y)),),
    "stream of numbers": lambda: (Stream(list(zip(x, y, strict=True))),),
    "list of blocks": lambda: (halves(x, y),),
    "list of weighted blocks": lambda: (halves(x, y, w),),
    "list of blocks of lists": lambda: ([(a.tolist(), b.tolist()) for a, b in halves(x, y)],),
    "tuple of blocks": lambda: (tuple(halves(x, y)),),
    "blocks of targets in columns": lambda: (halves(x, y[:, None]),),
    "blocks of many targets": lambda: (halves(x, X),),
    "generator": lambda: (iter(halves(x, y)),),
    "later block": lambda: (Anew([(X[:5, :1], y[:5]), (x[5:], y[5:])]),),
    "pairs": lambda: (zip(x, y, strict=True),),
}


@pytest.mark.parametrize("data", ONE_DIMENSION.values(), ids=ONE_DIMENSION)
def test_column_with_one_dimension_is_refused_everywhere(Estimator, data):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=r"Expected 2D array, got 1D(.|\n)*single feature"):
            getattr(Estimator(), method)(*data())
    fitted = Estimator().fit(x[:, None], y)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        fitted.score(*data())


def test_series_is_refused(Estimator):
    with pytest.raises(ValueError, match="Expected a 2-dimensional container"):
        Estimator().fit(pd.Series(x), y)


def test_column_with_one_dimension_is_refused_in_predictions_and_for_validation(Estimator):
    fitted = Estimator().fit(x[:, None], y)
    for rows in (x, tensor_x, DataLoader(TensorDataset(tensor_x), batch_size=9), halves(x, y)):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
            fitted.predict(rows)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        Estimator().fit(x[:, None], y, X_val=halves(x, y))


@pytest.mark.parametrize("n_targets", [1, 2, 4])
def test_rows_with_several_targets_are_rows(n_targets):
    Y = np.column_stack([y, x, x + y, x - y])[:, :n_targets]
    whole = TorchSGDRegressor().fit(X, Y)
    for source in (Anew(list(zip(X, Y, strict=True))), list(zip(X, Y, strict=True)), Items(X, Y)):
        np.testing.assert_allclose(TorchSGDRegressor().fit(source).coef_, whole.coef_)


def test_rows_with_as_many_targets_as_features_are_blocks_or_items_of_a_data_set():
    Y = np.column_stack([y, x, x + y])
    whole = TorchSGDRegressor().fit(X, Y)
    for source in (Items(X, Y), Stream([(X[i : i + 1], Y[i : i + 1]) for i in range(300)])):
        np.testing.assert_allclose(TorchSGDRegressor().fit(source).coef_, whole.coef_)
    with pytest.raises(ValueError, match=r"x of item 0 of Anew has the shape \(3,\).*x.reshape"):
        TorchSGDRegressor().fit(Anew(list(zip(X, Y, strict=True))))


# --- pairs of a row and its target -----------------------------------------------------------

PAIRS = {
    "arrays": lambda *parts: list(zip(*parts, strict=True)),
    "tuple": lambda *parts: tuple(zip(*parts, strict=True)),
    "lists": lambda *parts: [[row.tolist(), *rest] for row, *rest in zip(*parts, strict=True)],
    "tensors": lambda *parts: list(Items(*map(torch.from_numpy, parts))),
}


@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}, {"batch_size": 16}], ids=str)
@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
def test_list_of_pairs_is_what_zip_makes(pairs, parameters):
    parameters = parameters | {"random_state": 0}
    whole, source = TorchSGDRegressor(**parameters).fit(X, y), pairs(X, y)
    model = TorchSGDRegressor(**parameters).fit(source)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.predict(source), whole.predict(X))
    np.testing.assert_allclose(model.score(source), whole.score(X, y))
    zipped = TorchSGDRegressor().fit(zip(X, y, strict=True))
    np.testing.assert_allclose(zipped.coef_, TorchSGDRegressor().fit(source).coef_, rtol=1e-10)


@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
def test_weights_come_with_the_pairs(Estimator, pairs):
    whole = Estimator().fit(X, y, w)
    np.testing.assert_allclose(Estimator().fit(pairs(X, y, w)).coef_, whole.coef_, rtol=1e-10)
    chunks = Estimator().partial_fit(pairs(X, y, w))
    np.testing.assert_allclose(chunks.predict(X), whole.predict(X))


def test_pairs_can_be_read_in_any_order():
    parameters = {"early_stopping": True, "batch_size": 16, "random_state": 0}
    model = TorchSGDRegressor(**parameters).fit(list(zip(X, y, strict=True)))
    np.testing.assert_allclose(model.coef_, TorchSGDRegressor(**parameters).fit(X, y).coef_)


def test_target_beside_pairs_is_refused(Estimator):
    with pytest.raises(ValueError, match=r"y goes with arrays.*has it in them"):
        Estimator().fit(list(zip(X, y, strict=True)), y)


# --- cross-validation, which takes the items of a data set one by one ------------------------


@pytest.mark.parametrize("source", [Items(X, y), list(zip(X, y, strict=True))], ids=["Dataset", ""])
@pytest.mark.parametrize("parameters", [{}, {"loss": "huber"}], ids=str)
def test_cross_validation_of_a_data_set_is_that_of_its_arrays(source, parameters):
    model = TorchSGDRegressor(**parameters)
    scores = cross_val_score(model, source, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(model, X, y), rtol=1e-10)
    np.testing.assert_allclose(cross_val_predict(model, source), cross_val_predict(model, X, y))


def test_search_on_a_data_set_is_that_on_its_arrays():
    grid = {"degree": [1, 2, 3]}
    items = TensorDataset(torch.from_numpy(X), tensor_y)
    search = GridSearchCV(TorchPolyRegressor(), grid, error_score="raise").fit(items)
    whole = GridSearchCV(TorchPolyRegressor(), grid).fit(X, y)
    assert search.best_params_ == whole.best_params_
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"]
    )


# --- no rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple])
def test_nothing_has_the_message_of_scikit_learn(Estimator, kind):
    for method in (Estimator().fit, Estimator().partial_fit):
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
            method(kind(), kind())
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
        Estimator().fit([kind()], [1.0])
