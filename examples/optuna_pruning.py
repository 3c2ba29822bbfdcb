"""A search by Optuna, which ends fits early that go nowhere.

Run it with ``python examples/optuna_pruning.py``; it needs ``pip install optuna``. A callback of
scikit-learn is called at each epoch of a stochastic fit with a model of that epoch. It tells Optuna
how good that model is on samples that were set aside, and ends the fit where Optuna asks for it.

To choose alpha for squared error alone takes no search of this kind: ``TorchSGDRegressorCV`` makes
all models of all folds in a pass over the samples.
"""

import optuna
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from skorchlite import TorchSGDRegressor

N_TRIALS, N_EPOCHS = 20, 30


class Pruning:
    """Tells a trial the score of each epoch, and ends the fit where the trial is to be pruned.

    Parameters
    ----------
    trial : optuna.Trial
    X_val, y_val : ndarray
        What the models are scored on.
    """

    def __init__(self, trial, X_val, y_val):
        self.trial, self.X_val, self.y_val = trial, X_val, y_val

    def setup(self, estimator, context):
        self.epoch, self.pruned = 0, False

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name != "iteration" or fitted_estimator is None:
            return False
        self.trial.report(fitted_estimator.score(self.X_val, self.y_val), self.epoch)
        self.epoch += 1
        self.pruned = self.trial.should_prune()
        return self.pruned


def objective(trial, X, y, X_val, y_val):
    """Return R2 of the model that a trial suggests."""
    pruning = Pruning(trial, X_val, y_val)
    model = TorchSGDRegressor(
        loss="huber",
        epsilon=trial.suggest_float("epsilon", 1.0, 100.0, log=True),
        penalty="l2",
        alpha=trial.suggest_float("alpha", 1e-8, 1e-1, log=True),
        learning_rate="invscaling",
        eta0=trial.suggest_float("eta0", 1e-4, 1.0, log=True),
        batch_size=16,
        max_iter=N_EPOCHS,
        tol=None,
        random_state=0,
    )
    model.set_callbacks(pruning).fit(X, y)
    if pruning.pruned:
        raise optuna.TrialPruned
    return model.score(X_val, y_val)


def main(n_trials=N_TRIALS):
    """Search, print what was found, and return the study."""
    X, y = load_diabetes(return_X_y=True)
    X, X_val, y, y_val = train_test_split(X, y, random_state=0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=3),
    )
    study.optimize(lambda trial: objective(trial, X, y, X_val, y_val), n_trials)
    states = [trial.state.name for trial in study.trials]
    print({state: states.count(state) for state in sorted(set(states))})
    print(f"R2 {study.best_value:.3f} with {study.best_params}")
    return study


if __name__ == "__main__":
    main()
