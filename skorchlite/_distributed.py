"""Sums over the processes of a group, as ``torchrun`` starts them; all use of torch.distributed.

One rank decides: it runs the solver, and sends each pass to the others, whose sums come back by a
reduction. The others serve until they get the outcome. So ranks cannot drift apart where processors
round differently, which replicas of the solver might.
"""

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_TIMEOUT = timedelta(minutes=30)  # as torch has it; a pass may be long
_PASS, _OUTCOME = 0, 1


class LostRankError(RuntimeError):
    """A process of the group no longer answers."""


class Ranks:
    """The ranks of the process group, made from the environment of torchrun where there is none.

    Use it as a context: at its end the connections that it made are closed.

    Parameters
    ----------
    alike : sequence of object
        What every rank has of its own accord, and which therefore need not travel: functions that
        cannot be pickled may be among them.
    """

    def __init__(self, alike: Sequence[Any] = ()):
        self.alike = alike
        self.sources: dict[str, Any] = {}
        self.serving = False

    def __enter__(self) -> "Ranks":
        if not dist.is_available():
            raise ValueError(
                "distributed=True needs torch.distributed, which this build of torch is without."
            )
        self.own = not dist.is_initialized()
        if self.own:
            _init()
        self.group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        self.rank, self.n_ranks = dist.get_rank(), dist.get_world_size()
        # Sums travel from card to card where the processes were set up for that.
        self.on_card = dist.get_backend() == "nccl"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None and self.serving and not isinstance(error, LostRankError):
                self.release(error)
        finally:
            dist.destroy_process_group(self.group)
            if self.own:
                dist.destroy_process_group()

    def agree(self, what: Any, error: Exception | None) -> list[Any]:
        """Return what every rank has to say; raise on all where one has an error."""
        said: list[Any] = [None] * self.n_ranks
        with _watching():
            dist.all_gather_object(said, (what, _picklable(error)), group=self.group)
        if error is not None:
            raise error
        for rank, (_, other) in enumerate(said):
            if other is not None:
                raise _of_rank(rank, other)
        return [what for what, _ in said]

    def share(self, sources: dict[str, Any]) -> dict[str, "Place"]:
        """Make the row sources of this rank known; return all ranks' for the first one to ask."""
        self.sources, self.serving = sources, self.rank == 0
        return {name: Place(self, name) for name in sources}

    def total(self, name: str, add_up: Callable[[Any], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over the ranks; only the first rank calls it."""
        with _watching():
            self._send((_PASS, name, add_up))
        sums = self._reduced(name, add_up)
        assert sums is not None
        return sums

    def serve(self) -> Any:
        """Do what the first rank asks for, until it has an outcome; return that."""
        while True:
            with _watching():
                what, *request = self._received()
            if what == _OUTCOME:
                (outcome,) = request
                if isinstance(outcome, BaseException):
                    raise outcome
                return outcome
            self._reduced(*request)

    def release(self, outcome: Any) -> None:
        """Send the outcome to the other ranks, or the error that ends the work."""
        self.serving = False
        if isinstance(outcome, BaseException):
            outcome = _picklable(outcome)
        with _watching():
            self._send((_OUTCOME, outcome))

    def _reduced(self, name: str, add_up: Callable[[Any], tuple]) -> tuple | None:
        """Make the sums of this rank and add those of all; return them on the first."""
        sums: tuple = ()
        error: Exception | None = None
        try:
            sums = add_up(self.sources[name])
        except Exception as failure:
            error = failure
        with _watching():
            failed = self._first_error(error)
            if failed is None:
                return self._added(sums)
        if self.rank == 0:
            raise failed
        return None  # what comes of it is for the first rank to say

    def _first_error(self, error: Exception | None) -> BaseException | None:
        """Return the error of the first rank that has one."""
        failed = torch.tensor([float(error is not None)])
        dist.all_reduce(failed, group=self.group)
        if not failed.item():
            return None
        errors: list[Any] = [None] * self.n_ranks
        dist.all_gather_object(errors, _picklable(error), group=self.group)
        return next(_of_rank(i, other) for i, other in enumerate(errors) if other is not None)

    def _added(self, sums: tuple) -> tuple | None:
        """Return the sums of all ranks on the first, None on the others."""
        numbers = [part for part in sums if not isinstance(part, list)]
        lists = [part for part in sums if isinstance(part, list)]
        flat = torch.cat(
            [torch.as_tensor(part).double().reshape(-1) for part in numbers]
            or [torch.zeros(0, dtype=torch.float64)]
        )
        if len(flat):
            flat = self._sum(flat)
        gathered: list[Any] = []
        if lists:
            gathered = [None] * self.n_ranks
            into = gathered if self.rank == 0 else None
            dist.gather_object(lists, into, dst=0, group=self.group)
        if self.rank:
            return None
        shares = iter(flat.split([torch.as_tensor(part).numel() for part in numbers]))
        joined = iter([list(chain(*parts)) for parts in zip(*gathered, strict=True)])
        return tuple(
            next(joined) if isinstance(part, list) else _like(part, next(shares)) for part in sums
        )

    def _sum(self, flat: Tensor) -> Tensor:
        if self.on_card:
            flat = flat.cuda()
            dist.reduce(flat, dst=0)
            return flat.cpu()
        dist.reduce(flat, dst=0, group=self.group)
        return flat

    def _send(self, message: Any) -> None:
        packed = io.BytesIO()
        _Pickler(packed, self.alike).dump(message)
        content = torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(content)]), src=0, group=self.group)
        dist.broadcast(content, src=0, group=self.group)

    def _received(self) -> Any:
        size = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(size, src=0, group=self.group)
        content = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, src=0, group=self.group)
        return _Unpickler(io.BytesIO(content.numpy().tobytes()), self.alike).load()


class Place:
    """The rows that all ranks have under a name."""

    def __init__(self, ranks: Ranks, name: str):
        self.ranks, self.name = ranks, name

    def total(self, add_up: Callable[[Any], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over the ranks."""
        return self.ranks.total(self.name, add_up)


def _init() -> None:
    try:
        dist.init_process_group("gloo", timeout=_TIMEOUT)
    except ValueError as error:
        raise ValueError(
            "distributed=True needs the processes to know of each other, and the environment does "
            f"not tell ({error}). Start the script with 'torchrun --nproc-per-node N script.py', "
            "or call torch.distributed.init_process_group first."
        ) from error


@contextmanager
def _watching() -> Iterator[None]:
    """Say what it means when a collective operation fails."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            f"Another rank no longer answers: it has ended, or was silent for {_TIMEOUT}. The fit "
            "cannot go on without its rows; start all ranks again. "
            f"({str(error).splitlines()[0]})"
        ) from error


def _of_rank(rank: int, error: BaseException) -> BaseException:
    """Return an error with the rank that it comes from."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"[rank {rank}] {error.args[0]}", *error.args[1:])
    return error


def _picklable(error: BaseException | None) -> BaseException | None:
    """Return the error, or what can be said of it where it cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
    return error


def _like(part: Any, share: Tensor) -> Any:
    if isinstance(part, Tensor):
        return share.reshape(part.shape).to(part.dtype)
    return type(part)(share.item())


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, alike: Sequence[Any]):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.alike = alike

    def persistent_id(self, obj: Any) -> int | None:
        return next((i for i, other in enumerate(self.alike) if other is obj), None)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, alike: Sequence[Any]):
        super().__init__(file)
        self.alike = alike

    def persistent_load(self, pid: Any) -> Any:
        return self.alike[pid]
