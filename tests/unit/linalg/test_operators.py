"""Every operator multiplies, and sums, like the matrix that it stands for."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from skorchlite._linalg.centred_columns import CentredColumns, SparseBlock
from skorchlite._linalg.operators import DenseColumns, DesignOperator, ShiftedColumns
from skorchlite._linalg.sparse_batch import SparseBatch
from skorchlite._linalg.sparse_matrix import OnDevice, OnHost
from skorchlite._polynomials.degrees import degrees_of
from skorchlite._polynomials.implicit import UnformedTerms
from skorchlite._polynomials.multi_index import terms_of

CPU = torch.device("cpu")
N_ROWS = 60
EPS = torch.finfo(torch.float64).eps


def table():
    """Mostly zeros, a column of years, which is filled, and a constant."""
    rng = np.random.default_rng(0)
    X = sp.random(N_ROWS, 7, 0.2, random_state=0, format="csr").toarray()
    return np.c_[X, 2020 + rng.normal(size=N_ROWS), np.full(N_ROWS, 3.0)]


def measured(columns, scaled):
    """Return where columns are measured from, and in which units (None for ones)."""
    shift = columns.mean(0)
    return shift, 2.0 ** torch.arange(len(shift)).double() if scaled else None


def matrix_of(columns, shift, scale, intercept=True):
    Z = (columns - shift) if scale is None else (columns - shift) / scale
    return torch.cat((Z, Z.new_ones(len(Z), 1)), 1) if intercept else Z


def dense(scaled):
    columns = torch.from_numpy(table())
    Z = matrix_of(columns, *measured(columns, scaled))
    return DenseColumns(Z), Z


def shifted(scaled):
    """Columns in their own units only, and a product that gathers those that it is of."""
    columns = torch.from_numpy(np.random.default_rng(0).normal(1, 1, (N_ROWS, 9)))
    shift, _ = measured(columns, False)
    return ShiftedColumns(columns, shift), matrix_of(columns, shift, None)


def centred(scaled, n_columns=9):
    A = table()[:, :n_columns]
    columns = torch.from_numpy(A)
    shift, scale = measured(columns, scaled)
    filled = torch.from_numpy((A != 0).mean(0) > 0.5)
    operator = CentredColumns(SparseBlock(sp.csr_array(A), filled, CPU), shift, scale)
    return operator, matrix_of(columns, shift, scale)


def centred_without_filled(scaled):
    return centred(scaled, n_columns=7)


def centred_as_on_a_card(scaled):
    operator, Z = centred(scaled)
    block = operator.block
    sparse = sp.csr_array(table() * (~np.isin(np.arange(9), block.index)))
    block.matrix = OnDevice.of(sparse, CPU)
    return operator, Z


def batch(scaled, intercept=True):
    A = table()
    columns = torch.from_numpy(A)
    shift, scale = measured(columns, scaled)
    operator = SparseBatch.of(sp.csr_array(A), shift, scale, intercept)
    return operator, matrix_of(columns, shift, scale, intercept)


def batch_without_intercept(scaled):
    return batch(scaled, intercept=False)


def unformed(scaled, least=1):
    """Terms of degree 3 of three columns."""
    terms = terms_of(degrees_of((least, 3), 3))
    X = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (N_ROWS, 3)))
    made = torch.stack([(X ** torch.from_numpy(k.astype(float))).prod(1) for k in terms.powers], 1)
    every = torch.stack([(X ** torch.from_numpy(k.astype(float))).prod(1) for k in all_powers()], 1)
    n_lower = terms.top.n_lower
    operator = UnformedTerms(
        terms, every[:, :n_lower].T.contiguous(), (X**3).T.contiguous(), *measured(made, scaled)
    )
    return operator, matrix_of(made, *measured(made, scaled))


def all_powers():
    return terms_of(degrees_of(3, 3)).powers


def unformed_above_degree_one(scaled):
    return unformed(scaled, least=2)


OPERATORS = [
    dense,
    shifted,
    centred,
    centred_without_filled,
    centred_as_on_a_card,
    batch,
    batch_without_intercept,
    unformed,
    unformed_above_degree_one,
]
every_operator = pytest.mark.parametrize("make", OPERATORS)
scaled_or_not = pytest.mark.parametrize("scaled", [False, True])


def assert_close(found, expected, operator, Z):
    """Compare sums over the rows: each rounds what it adds up."""
    # A batch takes the mean of years from them only after it has multiplied them.
    size = 2020.0**2 if isinstance(operator, SparseBatch) else 1 + float(Z.abs().max()) ** 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=4 * EPS * len(Z) * size)


@every_operator
@scaled_or_not
def test_an_operator_multiplies_like_its_matrix(make, scaled):
    operator, Z = make(scaled)
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(Z.shape[1], 2, generator=generator, dtype=torch.float64)
    s = torch.rand(N_ROWS, 3, generator=generator, dtype=torch.float64)
    assert (len(operator), operator.width) == Z.shape
    assert_close(operator @ v, Z @ v, operator, Z)
    assert_close(operator.T @ s, Z.T @ s, operator, Z)
    assert_close(operator.to_dense(), Z, operator, Z)


@every_operator
@scaled_or_not
@pytest.mark.parametrize("weighted", [False, True])
def test_an_operator_has_the_sums_of_its_matrix(make, scaled, weighted):
    operator, Z = make(scaled)
    features = Z[:, : Z.shape[1] - operator.intercept]
    weight = torch.rand(N_ROWS, generator=torch.Generator().manual_seed(1)).double()
    counts = weight if weighted else torch.ones(N_ROWS).double()
    weight = weight if weighted else None
    assert_close(operator.gram(weight), Z.T @ (counts[:, None] * Z), operator, Z)
    assert_close(operator.column_squares(weight), counts @ features**2, operator, Z)


@every_operator
@scaled_or_not
def test_an_operator_has_the_sizes_of_its_matrix(make, scaled):
    operator, Z = make(scaled)
    features = Z[:, : Z.shape[1] - operator.intercept]
    unit = torch.linspace(0.5, 2, Z.shape[1]).double()[:, None]
    assert_close(operator.max_abs(), features.abs().amax(0), operator, Z)
    assert_close(operator.row_squares(), (features**2).sum(1), operator, Z)
    with_units = (features * unit[: features.shape[1]].T) ** 2
    assert_close(operator.row_squares(unit), with_units.sum(1), operator, Z)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_a_processor_multiplies_by_the_very_indices(dtype):
    A = sp.random(N_ROWS, 7, 0.2, random_state=0, format="csr")
    A.data = np.round(9 * A.data).astype(dtype)
    matrix = OnHost(A)
    column, value = matrix.entries
    assert np.shares_memory(matrix._matrix.indices, A.indices)
    assert np.shares_memory(value.numpy(), A.data) == (dtype == np.float64)
    assert column.tolist() == A.indices.tolist()
    v = torch.ones(7, 1, dtype=torch.float64)
    assert (matrix @ v)[:, 0].tolist() == A.toarray().sum(1).tolist()


def test_a_product_of_few_columns_reads_no_others():
    operator, Z = shifted(scaled=False)
    v = torch.zeros(10, 2, dtype=torch.float64)
    v[3], v[-1] = 2.0, 1.0
    operator.X[:, 4] = torch.nan
    assert_close(operator @ v, Z[:, [3, 9]] @ v[[3, 9]], operator, Z)
    v[:] = 0
    assert (operator @ v).tolist() == torch.zeros(N_ROWS, 2).tolist()


def test_a_batch_is_split_into_rows():
    operator, Z = batch(scaled=True)
    v = torch.rand(Z.shape[1], 2, generator=torch.Generator().manual_seed(0)).double()
    assert_close(torch.cat([part @ v for part in operator.split(7)]), Z @ v, operator, Z)


def test_every_operator_is_tested():
    tested = {type(make(False)[0]) for make in OPERATORS}
    assert tested == set(DesignOperator.__subclasses__())
