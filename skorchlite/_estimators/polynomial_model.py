"""What every fitted polynomial has, and the columns that it is linear in."""

from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._compat import Interval, StrOptions, check_feature_names_in
from .._inputs.conversion import array_like, to_numpy
from .._polynomials.basis import Basis
from .._polynomials.extrapolation import OUTSIDE, BoundedRows
from .._polynomials.families import FAMILIES
from .._polynomials.numpy_polynomials import numpy_polynomials
from .._polynomials.sampling import SAMPLE_ROWS
from .._polynomials.sensitivity import total_indices
from .._polynomials.term_names import term_name
from .._polynomials.undetermined_terms import cause
from .base import TorchRegressor
from .polynomial_terms import PolynomialTerms, expanded
from .sklearn_models import polynomial_model


class PolynomialModel(TorchRegressor):
    """A regressor whose columns are the terms of a polynomial in those of X."""

    _basis: Basis

    _term_constraints: dict = {
        "degree": [Interval(Integral, 1, None, closed="left"), tuple, list, np.ndarray],
        "interaction_only": ["boolean"],
        "basis": [StrOptions(set(FAMILIES))],
        "extrapolation": [StrOptions({"allow", *OUTSIDE})],
    }

    def get_feature_names_out(self, input_features=None):
        """Return the names of the terms, in the order of ``coef_``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None for ``feature_names_in_``, or x0, x1, ... where the data
            had no names.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (`n_output_features_`,)
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        return np.array(
            [term_name(self._basis.caller, powers, names) for powers in self._basis.powers],
            dtype=object,
        )

    @property
    def feature_importances_(self):
        """How much the predictions vary with each column; see the class."""
        check_is_fitted(self)
        coef, _ = map(to_numpy, self._basis_solution)
        return total_indices(self._basis, coef)

    def to_polynomial(self) -> Any:
        """Return the model as an object of ``numpy.polynomial``.

        It is for one column of X, and is of the class that ``basis`` names: ``Polynomial``,
        ``Chebyshev``, ``Legendre`` or ``Hermite``. Its domain is ``domain_[0]`` and its window
        [-1, 1], for powers too, so that it keeps digits that the powers of the column as it is,
        which ``convert()`` of a ``Polynomial`` has, may lose. It has ``deriv()``, ``integ()``,
        ``roots()``, and arithmetic. Where the data leaves most of its domain empty, or for a high
        degree in powers and Hermite's, ``predict`` is more precise.

        Returns
        -------
        polynomial : object of numpy.polynomial, or list of them
            A list, one for each target, where y was 2-d.

        Raises
        ------
        ValueError
            If X had several columns.

        Examples
        --------
        >>> import numpy as np
        >>> from skorchlite import TorchPolyRegressor
        >>> x = np.linspace(0, 4, 20)
        >>> model = TorchPolyRegressor(degree=2).fit(x[:, None], (x - 1) * (x - 3))
        >>> polynomial = model.to_polynomial()
        >>> polynomial.domain
        array([0., 4.])
        >>> polynomial.roots().round(9)
        array([1., 3.])
        >>> polynomial.deriv()(2.0).round(9) + 0.0
        np.float64(0.0)
        """
        check_is_fitted(self)
        if self.n_features_in_ != 1:
            raise ValueError(
                f"numpy.polynomial has polynomials of one column, and X had {self.n_features_in_}."
            )
        polynomials = numpy_polynomials(
            self._basis,
            *map(to_numpy, self._basis_solution),
            *getattr(self, "feature_names_in_", ["x"]),
        )
        return polynomials if np.ndim(self.intercept_) else polynomials[0]

    @property
    def _term_names(self):
        return self.get_feature_names_out()

    @property
    def _given_degree(self):
        """The degree as the user asks for it, for messages."""
        return self.degree

    @property
    def powers_(self):
        """The exponent, or degree, of each column in each term."""
        powers = self._basis.powers
        return array_like(powers, self.coef_)

    def _columns(self, stochastic):
        squared = self.loss == "squared_error"
        # Steps along gradients of squared error are in columns that differ in scale alone.
        scaled = self.solver == "gradient" and squared
        return PolynomialTerms(
            degree=self.degree,
            interaction_only=self.interaction_only,
            family=self.basis,
            fit_intercept=self.fit_intercept,
            penalty=self._penalty(),
            penalised=self.penalty is not None or self.positive,
            stochastic=stochastic,
            unscaled=stochastic and self.preconditioner is None,
            least_squares=squared and not stochastic,
            any_form=isinstance(self.loss, str) and not (scaled or stochastic),
        )

    def _coefficients(self, units, v, v_low, single):
        basis, found = units.basis, units.solution(v, v_low)
        if basis.penalty_root is not None:
            basis, found = basis.base, basis.in_base(*found)
        return {
            **super()._coefficients(units, v, v_low, single),
            "_basis": basis,
            "_basis_solution": found,
            "n_output_features_": len(basis.terms),
            "domain_": basis.domain,
        }

    def _as_sklearn(self):
        if self.extrapolation == "nan":
            raise ValueError(
                "scikit-learn has no step that makes predictions NaN outside of domain_, as "
                "extrapolation='nan' asks for. Set extrapolation='allow' or 'clip', or use "
                "to_module()."
            )
        return polynomial_model(
            self._basis,
            *map(to_numpy, self._basis_solution),
            single=not np.ndim(self.intercept_),
            clip=self.extrapolation == "clip",
            power=self._mean_power,
        )

    def _exported(self):
        return self._basis, *map(to_numpy, self._basis_solution)

    @property
    def _outside(self):
        return self.extrapolation

    def _linear_model(self, rows):
        return *map(to_numpy, self._basis_solution), expanded(rows, self._basis)

    def _in_domain(self, rows):
        if self.extrapolation == "allow":
            return rows
        used = self._basis.terms.used
        domain = np.where(used[:, None], to_numpy(self.domain_), [-np.inf, np.inf])
        return BoundedRows(rows, domain, self.extrapolation)

    def _warnings(self, solution):
        yield from super()._warnings(solution)
        sample, self._basis.sampled_rows = self._basis.sampled_rows, None
        known = self.rank_ is not None and not solution.objective.penalty.curvature
        if not known or sample is None or self.rank_ >= self.n_output_features_:
            return
        powers = self._basis.powers
        n_rows = len(sample) if len(sample) < SAMPLE_ROWS else self._n_rows
        found = cause(sample, n_rows, powers, self.fit_intercept, self.rank_)
        if found is not None:
            names = check_feature_names_in(self, None)
            reason, remedy = found.in_words(
                names, powers.max(0).tolist(), partial(term_name, self._basis.caller)
            )
            message = (
                f"The data determines {self.rank_} of the {self.n_output_features_} coefficients "
                f"that degree={self._given_degree} asks for: {reason}. Of all coefficients with "
                "the least loss, those of least norm are returned, as far as rounding lets them be "
                f"found. {remedy}, or use a penalty (penalty='l2')."
            )
            yield message, np.exceptions.RankWarning
