"""What of the arguments of a search's ``fit`` goes to the splitter, and what to the scorer."""

from typing import Any

from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from ..._compat import raise_for_params, routing_enabled


class RoutedSearch:
    """Metadata routing of an estimator with the parameters ``cv`` and ``scoring``."""

    cv: Any
    scoring: Any

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata goes where; see scikit-learn's user guide.

        Returns
        -------
        routing : MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="split")
        if not isinstance(self.cv, str):
            router.add(splitter=check_cv(self.cv), method_mapping=mapping)
        if self.scoring is not None:
            mapping = MethodMapping().add(caller="fit", callee="score")
            router.add(scorer=self._scorer(), method_mapping=mapping)
        return router

    def _scorer(self) -> Any:
        return check_scoring(self, scoring=self.scoring)

    def _routed(self, params: dict[str, Any], sample_weight: Any) -> tuple[dict, dict]:
        """Return what goes to the splitter, and to the scorer."""
        raise_for_params(params, self, "fit", allow=["groups"])
        given = {name: value for name, value in params.items() if value is not None}
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if routing_enabled():
            routed = process_routing(self, "fit", **given, **weights)
            split = {} if isinstance(self.cv, str) else routed.splitter.split
            return split, {} if self.scoring is None else routed.scorer.score
        if self.scoring is None:
            return given, {}
        # As in GridSearchCV, weights go to a scorer that takes them.
        takes = getattr(self._scorer(), "_accept_sample_weight", lambda: False)
        return given, weights if takes() else {}
