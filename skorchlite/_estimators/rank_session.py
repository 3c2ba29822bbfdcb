"""A fit over the rows of all ranks of a process group."""

from collections.abc import Callable
from typing import Any

from .._compat import OWN_ATTRIBUTES
from .._inputs.fit_data import Data
from .._inputs.user_input import Input
from .._process_group import Ranks
from .._sources.partitioned import PartitionedRows
from .._sources.prefetch import computing
from .._sources.row_source import Rows


def over_all_ranks(
    estimator: Any, given: Input, read: Callable[[], Data], work: Callable[[Data], Any]
) -> Any:
    """Return ``work(read())``; if distributed, over the rows of all ranks.

    The first rank works. The others return None, with an estimator like that of the first.
    """
    if not estimator.distributed:
        data = read()
        with computing(data.n_entries):
            return work(data)
    given.check_ranks_can_read("X")
    with Ranks[Rows](alike=(estimator.loss,)) as ranks:
        data = _agreed(ranks, read)
        sources = {"rows": data.rows, "validation": data.validation}
        with computing(data.n_entries):
            shared = ranks.offer({name: rows for name, rows in sources.items() if rows})
            if ranks.rank:
                vars(estimator).update(ranks.serve())
                return None
            of_all = {name: PartitionedRows(partitions) for name, partitions in shared.items()}
            data.rows, data.validation = of_all["rows"], of_all.get("validation")
            result = work(data)
            own = {*estimator.get_params(deep=False), *OWN_ATTRIBUTES}
            ranks.release({k: v for k, v in vars(estimator).items() if k not in own})
            return result


def of_all_ranks(estimator: Any, mine: Any) -> list[Any]:
    """Return what each rank passes here, on all of them; of one process if not distributed."""
    if not estimator.distributed:
        return [mine]
    with Ranks[Rows](alike=(estimator.loss,)) as ranks:
        return ranks.agree(mine, None)


def _agreed(ranks: Ranks[Rows], read: Callable[[], Data]) -> Data:
    """Return the data of this rank, which all ranks have in the same form."""
    data, mine, error = None, None, None
    try:
        data = read()
        n_rows = data.rows.counted
        held = data.validation
        # To count those of a stream would read it, and it has been seen to have some.
        n_held = None if held is None else 1 if held.counted is None else held.counted
        mine = data.form, data.single, n_held, n_rows
    except Exception as failure:
        error = failure
    said = ranks.agree(mine, error)
    assert data is not None
    forms = [form for form, *_ in said]
    sizes = [n_held for *_, n_held, _ in said]
    validated = [n_held is not None for n_held in sizes]
    if len(set(forms)) > 1 or len(set(validated)) > 1:
        raise ValueError(
            "The data of the ranks does not go together: (n_features, n_targets, y has one "
            f"dimension, there are weights) is {forms}, from the first rank to the last, and there "
            f"is validation data on {validated}."
        )
    counts = [n_rows for *_, n_rows in said]
    if not any(count is None or count for count in counts) or (all(validated) and not any(sizes)):
        raise ValueError(
            "Found array with 0 sample(s) on every rank while a minimum of 1 is required."
        )
    data.rows.first = sum(count or 0 for count in counts[: ranks.rank])
    data.single = all(single for _, single, *_ in said)
    return data
