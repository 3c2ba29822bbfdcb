"""All private names of scikit-learn that we use, in one place for when they change."""

from typing import Any

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._array_api import _is_numpy_namespace as is_numpy_namespace
from sklearn.utils._array_api import check_same_namespace, get_namespace_and_device, move_to
from sklearn.utils._metadata_requests import _raise_for_params as raise_for_params
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "OWN_ATTRIBUTES",
    "Interval",
    "Options",
    "StrOptions",
    "check_feature_names_in",
    "check_same_namespace",
    "check_sample_weight",
    "fit_context",
    "get_namespace_and_device",
    "has_callbacks",
    "is_numpy_namespace",
    "move_to",
    "raise_for_params",
    "routing_enabled",
    "safe_indexing",
    "validate_parameter_constraints",
    "validate_params",
]

# Attributes that scikit-learn itself sets on an estimator: during a fit, and for its callbacks.
OWN_ATTRIBUTES = {
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
}


def has_callbacks(estimator: Any) -> bool:
    """Return whether any callbacks are set."""
    return bool(getattr(estimator, "_skl_callbacks", None))
