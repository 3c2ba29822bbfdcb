"""Sums over the processes of a group, as ``torchrun`` starts them, by torch.distributed.

The first rank runs the solver. For each pass over the rows it sends the function to the others,
whose sums come back by a reduction; they serve until the outcome arrives. Replicas of the solver on
all ranks would need no messages, but could drift apart where processors round differently.
"""

# A build of torch may be without the names of torch.distributed that annotations use.
from __future__ import annotations

import atexit
import io
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from itertools import chain, count
from types import TracebackType
from typing import Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor

from ._exceptions import LostRankError

Source = TypeVar("Source")  # of rows
Said = TypeVar("Said")
Sums = tuple[Tensor | float | list[Any], ...]  # numbers are added, and lists joined

_TIMEOUT = timedelta(minutes=30)  # as torch has it; a pass may be long
_PASS, _OUTCOME = b"p", b"o"
_PACKET = 4096  # bytes of the first packet of a message
_SIZE = 8  # bytes of these that hold the size of the message
_NUMBERS = count()  # names the groups that this process makes, alike in all processes


class _NoDefault:
    """Stands for the default group where torch has none."""


_NO_DEFAULT = _NoDefault()
# Connections that are kept for the next fit, each with the default group that they were made for.
_KEPT: WeakKeyDictionary[object, dist.ProcessGroup] = WeakKeyDictionary()
atexit.register(_KEPT.clear)  # their threads must end before the interpreter does


# --- what ranks do together --------------------------------------------------------------


class Ranks(Generic[Source]):
    """The ranks of the process group or, where there is none, of the environment of torchrun.

    To use in a ``with`` statement, which closes the connections if an error ends it: so no rank
    waits for one that has given up.

    Parameters
    ----------
    alike : sequence of object
        Objects that every rank has itself, which are not sent: functions that cannot be pickled
        may be among them.
    """

    def __init__(self, alike: Sequence[object] = ()):
        self.alike = alike
        self.sources: dict[str, Source] = {}
        self.error: BaseException | None = None  # of this rank, with its traceback
        self.awaited = False  # whether the others wait for the next message of the first rank

    def __enter__(self) -> Ranks[Source]:
        self.channel = Channel()
        self.rank = self.channel.rank
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.channel.keep()
            return
        try:
            if self.awaited:
                self.release(error)
        finally:
            self.channel.close()

    def agree(self, what: Said | None, error: Exception | None) -> list[Said]:
        """Return what each rank passes here; raise the error on all ranks if one has an error."""
        said = self._everyone((what, _picklable(error)))
        if error is not None:
            raise error
        for rank, (_, other) in enumerate(said):
            if other is not None:
                raise _of_rank(rank, other)
        return [cast(Said, what) for what, _ in said]

    def offer(self, sources: dict[str, Source]) -> dict[str, RankPartitions[Source]]:
        """Name the row sources of this rank; return those of all ranks, for the first to use."""
        self.sources, self.awaited = sources, self.rank == 0
        return {name: RankPartitions(self, name) for name in sources}

    def total(self, name: str, add_up: Callable[[Source], Sums]) -> Sums:
        """Return ``add_up(rows)``, added over the ranks; only the first rank calls it."""
        message = _packed(_PASS, (name, add_up), self.alike)
        # After an interrupt between two messages the others cannot be sent the error: they end when
        # the connections close.
        self.awaited = False
        self.channel.broadcast(message)
        sums, failed = self._reduced(lambda: add_up(self.sources[name]))
        self.awaited = True
        if failed is not None:
            raise failed from self.error
        assert sums is not None
        return sums

    def serve(self) -> Any:
        """Make the passes that the first rank asks for; return the outcome that it ends with."""
        while True:
            message = self.channel.broadcast(None)
            if message[:1] == _PASS:
                self._reduced(partial(self._answer, message))
                continue
            outcome = _unpacked(message, self.alike)
            if isinstance(outcome, BaseException):
                raise outcome from self.error
            return outcome

    def _answer(self, message: bytes) -> Sums:
        name, add_up = _unpacked(message, self.alike)
        return add_up(self.sources[name])

    def release(self, outcome: object) -> None:
        """Send the other ranks the outcome, or the error that ends the fit."""
        if isinstance(outcome, BaseException):
            outcome = _picklable(outcome)
        message = _packed(_OUTCOME, outcome, self.alike)
        self.awaited = False
        self.channel.broadcast(message)

    def _reduced(self, make: Callable[[], Sums]) -> tuple[Sums | None, BaseException | None]:
        """Return the sums of all ranks, and the error of one; the other ranks have no sums."""
        sums: Sums = ()
        self.error = None
        try:
            sums = make()
        except BaseException as error:  # an interrupt of one rank ends the fit of all
            self.error = error
        failed = self._first_error(self.error)
        return (self._added(sums) if failed is None else None), failed

    def _first_error(self, error: BaseException | None) -> BaseException | None:
        """Return the error of the first rank that has one; None where none has."""
        if not self.channel.any(error is not None):
            return None
        errors = enumerate(self._everyone(_picklable(error)))
        return next(_of_rank(rank, other) for rank, other in errors if other is not None)

    def _added(self, sums: Sums) -> Sums | None:
        """Return the sums of all ranks on the first, None on the others."""
        numbers = [part for part in sums if not isinstance(part, list)]
        lists = [part for part in sums if isinstance(part, list)]
        # Without a dtype, as_tensor would round a float to single precision.
        flat = [torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in numbers]
        total = self.channel.sum(torch.cat(flat)) if flat else torch.zeros(0, dtype=torch.float64)
        gathered = self.channel.gather(pickle.dumps(lists)) if lists else []
        if self.rank:
            return None
        of_parts = iter(total.split([len(part) for part in flat]))
        of_ranks = map(pickle.loads, gathered)
        joined = iter([list(chain(*parts)) for parts in zip(*of_ranks, strict=True)])
        return tuple(
            next(joined) if isinstance(part, list) else _like(part, next(of_parts)) for part in sums
        )

    def _everyone(self, mine: Said) -> list[Said]:
        """Return what each rank passes here, on all."""
        return [pickle.loads(content) for content in self.channel.everyone(pickle.dumps(mine))]


class RankPartitions(Generic[Source]):
    """The rows that all ranks have under a name."""

    kept = True

    def __init__(self, ranks: Ranks[Source], name: str):
        self.ranks, self.name = ranks, name

    def total(self, add_up: Callable[[Source], Sums], among: Sequence[int] | None = None) -> Sums:
        """Return ``add_up(rows)``, added over the ranks, all of which take part."""
        return self.ranks.total(self.name, add_up)

    def outlined(self, add_up: Callable[[Source], Sums]) -> Sums:
        """Return the same as ``total``: each rank alone knows the shapes of its rows."""
        return self.total(add_up)


def _like(part: Tensor | float, total: Tensor) -> Tensor | float:
    """Return a total, which is flat, in the shape and type of what was added."""
    if isinstance(part, Tensor):
        return total.reshape(part.shape).to(part.dtype)
    return type(part)(total.item())


def _of_rank(rank: int, error: BaseException) -> BaseException:
    """Return an error with the rank that it comes from."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"[rank {rank}] {error.args[0]}", *error.args[1:])
    return error


# --- messages as bytes -------------------------------------------------------------------


def _picklable(error: BaseException | None) -> BaseException | None:
    """Return the error or, where it cannot be pickled, one with its text."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))


def _packed(kind: bytes, content: object, alike: Sequence[object]) -> bytes:
    """Return a message; objects that all ranks have are written as their number."""
    packed = io.BytesIO()
    packed.write(kind)
    _Pickler(packed, alike).dump(content)
    return packed.getvalue()


def _unpacked(message: bytes, alike: Sequence[object]) -> Any:
    return _Unpickler(io.BytesIO(message[1:]), alike).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, alike: Sequence[object]):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.alike = alike

    def persistent_id(self, obj: object) -> int | None:
        return next((i for i, other in enumerate(self.alike) if other is obj), None)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, alike: Sequence[object]):
        super().__init__(file)
        self.alike = alike

    def persistent_load(self, pid: int) -> object:
        return self.alike[pid]


# --- connections -------------------------------------------------------------------------


@contextmanager
def _watching() -> Iterator[None]:
    """Raise a LostRankError where a collective operation fails."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            f"Another rank no longer answers: it has ended, or was silent for {_TIMEOUT}. The fit "
            "cannot go on without its rows; start all ranks again. "
            f"({str(error).splitlines()[0]})"
        ) from error


class Channel:
    """The connections between the ranks, over which bytes and numbers travel.

    They are a group of their own, and no default group is set where torch has none. They are kept
    for the next fit, since connecting takes longer than many a fit.
    """

    def __init__(self) -> None:
        if not dist.is_available():
            raise ValueError(
                "distributed=True needs torch.distributed, which this build of torch is without."
            )
        # Sums go from card to card where the caller's default group does.
        self._on_card = dist.is_initialized() and dist.get_backend() == "nccl"
        self._default: object = dist.group.WORLD or _NO_DEFAULT
        kept = self._default in _KEPT
        self._group = _KEPT.pop(self._default) if kept else _connected()
        self.rank, self.n_ranks = self._group.rank(), self._group.size()

    def keep(self) -> None:
        """Leave the connections for the next fit."""
        _KEPT[self._default] = self._group

    def close(self) -> None:
        """End the connections."""
        if self._default is not _NO_DEFAULT:
            dist.destroy_process_group(self._group)
        del self._group

    @_watching()
    def any(self, flag: bool) -> bool:
        """Return whether the flag of any rank is set."""
        flags = torch.tensor([float(flag)])
        self._group.allreduce([flags]).wait()
        return bool(flags.item())

    @_watching()
    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sum of the ranks' numbers, on the first."""
        if self._on_card:
            numbers = numbers.cuda()
            dist.reduce(numbers, dst=0)
            return numbers.cpu()
        self._group.reduce(numbers, root=0).wait()
        return numbers

    @_watching()
    def broadcast(self, content: bytes | None) -> bytes:
        """Return the bytes of the first rank; the others pass None."""
        return _carried(content, lambda packet: self._group.broadcast(packet, root=0))

    @_watching()
    def gather(self, content: bytes) -> list[bytes]:
        """Return the bytes of every rank on the first; an empty list on the others."""
        if self.rank:
            _carried(content, lambda packet: self._group.send([packet], 0, 0))
            return []
        receive = [partial(self._receive, rank=rank) for rank in range(1, self.n_ranks)]
        return [content, *(_carried(None, carry) for carry in receive)]

    def _receive(self, packet: Tensor, rank: int) -> dist.Work:
        return self._group.recv([packet], rank, 0)

    def everyone(self, content: bytes) -> list[bytes]:
        """Return the bytes of every rank, on all."""
        gathered = self.gather(content)
        return pickle.loads(self.broadcast(None if self.rank else pickle.dumps(gathered)))


def _carried(content: bytes | None, carry: Callable[[Tensor], dist.Work]) -> bytes:
    """Send bytes by ``carry``, or receive them where ``content`` is None; return them.

    The first packet begins with their number. It has room for most messages.
    """
    sent = content or b""
    packet = bytearray(len(sent).to_bytes(_SIZE, "little") + sent[: _PACKET - _SIZE])
    first = torch.frombuffer(packet.ljust(_PACKET, b"\0"), dtype=torch.uint8)
    carry(first).wait()
    received = first.numpy().tobytes()
    n_rest = int.from_bytes(received[:_SIZE], "little") - (_PACKET - _SIZE)
    if n_rest <= 0:
        return received[_SIZE : _PACKET + n_rest]
    rest = torch.frombuffer(bytearray(sent[-n_rest:].ljust(n_rest, b"\0")), dtype=torch.uint8)
    carry(rest).wait()
    return received[_SIZE:] + rest.numpy().tobytes()


def _connected() -> dist.ProcessGroup:
    """Return a new group of the processes of the default group or, without one, of torchrun's."""
    if dist.is_initialized():
        return dist.new_group(backend="gloo", timeout=_TIMEOUT)
    missing = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - set(os.environ)
    if missing:
        raise ValueError(
            "distributed=True needs the processes to know of each other, and the environment does "
            f"not tell ({', '.join(sorted(missing))} not set). Start the script with 'torchrun "
            "--nproc-per-node N script.py', or call torch.distributed.init_process_group first."
        )
    store, rank, size = _rendezvous()
    store = dist.PrefixStore(f"skorchlite/{next(_NUMBERS)}", store)
    # A backend can do all that a group of torch can, but for its type.
    return dist.ProcessGroupGloo(store, rank, size, _TIMEOUT)  # type: ignore[return-value]


@cache
def _rendezvous() -> tuple[dist.Store, int, int]:
    return next(dist.rendezvous("env://", timeout=_TIMEOUT))
