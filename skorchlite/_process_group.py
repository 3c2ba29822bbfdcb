"""Sums over the processes of a group, as ``torchrun`` starts them; all use of torch.distributed.

One rank decides: it runs the solver, and sends each pass to the others, whose sums come back by a
reduction. The others serve until they get the outcome. So ranks cannot drift apart where processors
round differently, as replicas of the solver might.
"""

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
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor

from ._exceptions import LostRankError

_TIMEOUT = timedelta(minutes=30)  # as torch has it; a pass may be long
_PASS, _OUTCOME = b"p", b"o"
_PACKET, _SIZE = 4096, 8  # bytes: of the first packet of a message; of the size that it tells
_NUMBERS = count()  # of the groups that this process made, as they have in every other


class _NoDefault:
    """Stands for the default group where there is none."""


_NO_DEFAULT = _NoDefault()
_KEPT: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # the connections, by the default group
atexit.register(_KEPT.clear)  # their threads must end before the interpreter does


class Ranks:
    """The ranks of the process group or, where there is none, of the environment of torchrun.

    They talk over connections of their own, and leave torch without a default group where it has
    none. Connections are kept for the next fit, as to meet and to part takes longer than many a
    fit; an error ends them, so that no rank waits for one that gave up.

    Parameters
    ----------
    alike : sequence of object
        What every rank has of its own accord, and which therefore need not travel: functions that
        cannot be pickled may be among them.
    """

    def __init__(self, alike: Sequence[Any] = ()):
        self.alike = alike
        self.sources: dict[str, Any] = {}
        self.error: BaseException | None = None  # of this rank, with its traceback
        self.awaited = False  # whether the others wait for what the first rank asks next

    def __enter__(self) -> "Ranks":
        if not dist.is_available():
            raise ValueError(
                "distributed=True needs torch.distributed, which this build of torch is without."
            )
        # Sums travel from card to card where the processes were set up for that.
        self.on_card = dist.is_initialized() and dist.get_backend() == "nccl"
        self.default = dist.group.WORLD or _NO_DEFAULT
        self.group: Any = _KEPT.pop(self.default, None) or _connected()
        self.rank, self.n_ranks = self.group.rank(), self.group.size()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            _KEPT[self.default] = self.group
            return
        try:
            if self.awaited:
                self.release(error)
        finally:
            if self.default is not _NO_DEFAULT:
                dist.destroy_process_group(self.group)
            del self.group  # closes its connections

    def agree(self, what: Any, error: Exception | None) -> list[Any]:
        """Return what every rank has to say; raise on all where one has an error."""
        with _watching():
            said = self._everyone((what, _picklable(error)))
        if error is not None:
            raise error
        for rank, (_, other) in enumerate(said):
            if other is not None:
                raise _of_rank(rank, other)
        return [what for what, _ in said]

    def share(self, sources: dict[str, Any]) -> dict[str, "RankPartitions"]:
        """Make the row sources of this rank known; return all ranks' for the first one to ask."""
        self.sources, self.awaited = sources, self.rank == 0
        return {name: RankPartitions(self, name) for name in sources}

    def total(self, name: str, add_up: Callable[[Any], tuple]) -> tuple:
        """Return ``add_up(rows)``, added over the ranks; only the first rank calls it."""
        message = self._packed(_PASS, (name, add_up))
        # An interrupt that comes between two messages leaves no way to tell the others: they learn
        # of it when the connections close.
        self.awaited = False
        with _watching():
            self._broadcast(message)
            sums, failed = self._reduced(lambda: add_up(self.sources[name]))
        self.awaited = True
        if failed is not None:
            raise failed from self.error
        assert sums is not None
        return sums

    def serve(self) -> Any:
        """Do what the first rank asks for, until it has an outcome; return that."""
        while True:
            with _watching():
                message = self._broadcast(None)
            if message[:1] == _PASS:
                with _watching():
                    self._reduced(partial(self._answer, message))
                continue
            outcome = self._unpacked(message)
            if isinstance(outcome, BaseException):
                raise outcome from self.error
            return outcome

    def _answer(self, message: bytes) -> tuple:
        name, add_up = self._unpacked(message)
        return add_up(self.sources[name])

    def release(self, outcome: Any) -> None:
        """Send the outcome to the other ranks, or the error that ends the work."""
        if isinstance(outcome, BaseException):
            outcome = _picklable(outcome)
        message = self._packed(_OUTCOME, outcome)
        self.awaited = False
        with _watching():
            self._broadcast(message)

    def _reduced(self, make: Callable[[], tuple]) -> tuple[tuple | None, BaseException | None]:
        """Return the sums of all ranks, and the error of one; the other ranks have no sums."""
        sums: tuple = ()
        self.error = None
        try:
            sums = make()
        except BaseException as error:  # an interrupt of one is to end the fit of all
            self.error = error
        failed = self._first_error(self.error)
        return (self._added(sums) if failed is None else None), failed

    def _first_error(self, error: BaseException | None) -> BaseException | None:
        """Return the error of the first rank that has one."""
        failed = torch.tensor([float(error is not None)])
        self.group.allreduce([failed]).wait()
        if not failed.item():
            return None
        errors = enumerate(self._everyone(_picklable(error)))
        return next(_of_rank(rank, other) for rank, other in errors if other is not None)

    def _added(self, sums: tuple) -> tuple | None:
        """Return the sums of all ranks on the first, None on the others."""
        numbers = [part for part in sums if not isinstance(part, list)]
        lists = [part for part in sums if isinstance(part, list)]
        flat = torch.zeros(0, dtype=torch.float64)
        if numbers:
            # Of a float as_tensor alone would make single precision.
            flat = torch.cat(
                [torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in numbers]
            )
            flat = self._sum(flat)
        gathered = self._gathered(lists) if lists else []
        if self.rank:
            return None
        shares = iter(flat.split([torch.as_tensor(part).numel() for part in numbers]))
        joined = iter([list(chain(*parts)) for parts in zip(*gathered, strict=True)])
        return tuple(
            next(joined) if isinstance(part, list) else _like(part, next(shares)) for part in sums
        )

    # --- what travels ---

    def _sum(self, flat: Tensor) -> Tensor:
        """Return the sum over the ranks, on the first."""
        if self.on_card:
            flat = flat.cuda()
            dist.reduce(flat, dst=0)
            return flat.cpu()
        self.group.reduce(flat, root=0).wait()
        return flat

    def _packed(self, what: bytes, message: Any) -> bytes:
        packed = io.BytesIO()
        packed.write(what)
        _Pickler(packed, self.alike).dump(message)
        return packed.getvalue()

    def _unpacked(self, packed: bytes) -> Any:
        return _Unpickler(io.BytesIO(packed[1:]), self.alike).load()

    def _broadcast(self, content: bytes | None) -> bytes:
        """Return the bytes that the first rank has."""
        return _carried(content, lambda packet: self.group.broadcast(packet, root=0))

    def _gathered(self, mine: Any) -> list[Any]:
        """Return what every rank has, on the first; it need not be alike in size."""
        if self.rank:
            _carried(pickle.dumps(mine), lambda packet: self.group.send([packet], 0, 0))
            return []
        gathered = [mine]
        for rank in range(1, self.n_ranks):
            receive = partial(self._receive, rank=rank)
            gathered.append(pickle.loads(_carried(None, receive)))
        return gathered

    def _receive(self, packet: Tensor, rank: int) -> Any:
        return self.group.recv([packet], rank, 0)

    def _everyone(self, mine: Any) -> list[Any]:
        """Return what every rank has, on all."""
        gathered = self._gathered(mine)
        return pickle.loads(self._broadcast(None if self.rank else pickle.dumps(gathered)))


class RankPartitions:
    """The rows that all ranks have under a name."""

    def __init__(self, ranks: Ranks, name: str):
        self.ranks, self.name = ranks, name

    def total(self, add_up: Callable[[Any], tuple], among: Sequence[int] | None = None) -> tuple:
        """Return ``add_up(rows)``, added over the ranks, all of which take part."""
        return self.ranks.total(self.name, add_up)

    def outlined(self, add_up: Callable[[Any], tuple]) -> tuple:
        """Return the same: each rank alone knows of its rows."""
        return self.total(add_up)


def _connected() -> Any:
    """Return a group of all processes of the default one, or that the environment tells of."""
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
    return dist.ProcessGroupGloo(store, rank, size, _TIMEOUT)


@cache
def _rendezvous() -> tuple[Any, int, int]:
    return next(dist.rendezvous("env://", timeout=_TIMEOUT))


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
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))


def _carried(content: bytes | None, carry: Callable[[Tensor], Any]) -> bytes:
    """Return the bytes that one side has, which ``carry`` sends or, where None, receives.

    The first packet tells how many there are, and is all that most messages need.
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
