"""The loops that others write in torch, as estimators."""

import torch
from sklearn.base import BaseEstimator
from torch.utils.data import DataLoader, TensorDataset


class LoaderLoop(BaseEstimator):
    """The loop that textbooks write: nn.Linear, a DataLoader, autograd, torch.optim.SGD."""

    def __init__(self, batch_size, learning_rate):
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def fit(self, X, y):
        """Run one epoch, in single precision as torch does unless told otherwise."""
        torch.manual_seed(0)
        data = TensorDataset(torch.tensor(X).float(), torch.tensor(y).float()[:, None])
        model, loss = torch.nn.Linear(X.shape[1], 1), torch.nn.MSELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=self.learning_rate)
        for X_part, y_part in DataLoader(data, self.batch_size, shuffle=True):
            value = loss(model(X_part), y_part)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        self.coef_ = model.weight.detach().numpy()[0]
        self.intercept_ = model.bias.item()
        return self


class SkorchEpoch(BaseEstimator):
    """One epoch of skorch's NeuralNetRegressor, which takes float32 and 2-d targets."""

    def __init__(self, batch_size, learning_rate):
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def fit(self, X, y):
        """Run one epoch."""
        from skorch import NeuralNetRegressor

        torch.manual_seed(0)
        net = NeuralNetRegressor(
            torch.nn.Linear,
            module__in_features=X.shape[1],
            module__out_features=1,
            max_epochs=1,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ).fit(X.astype("float32"), y.astype("float32")[:, None])
        self.coef_ = net.module_.weight.detach().numpy()[0]
        self.intercept_ = net.module_.bias.item()
        return self
