"""A pretended pair of cards that live on the processor, to find mistakes with devices without one.

``pytest -p tests.system.pretend_device`` makes its process believe in two NVIDIA cards, for good.
A tensor "on a card" is a wrapper around one of the processor, which says that it is elsewhere. So
there are the answers of a processor, and the errors of a card, and more:

- an operation on tensors of two devices raises, as does one without room (``LIMIT`` bytes a card);
- memory that is not written yet is NaN, and so is what another stream wrote that was not waited
  for. What a card would compute with overwritten memory or pinned memory is noted in ``MISTAKES``;
- ``COUNTS`` has the kernels, the copies and the waits of the host for a card.

Autograd does not go with it: callable losses are left out. What only a card can tell is not here
either: speed, and which operations it has no kernel for.
"""

import collections
import contextlib
import os
import threading
import weakref
import zlib

import numpy as np
import pytest
import torch

TESTED = ("2.13",)  # versions of torch whose private parts this is made for
N_CARDS, LIMIT = 2, 2 << 30
WORKSPACE = 8_519_680  # bytes that a first product takes on a stream, and keeps
COUNTS: collections.Counter = collections.Counter()
MISTAKES: list[str] = []

_LOCK = threading.RLock()
_HERE = threading.local()  # the current card and streams of a thread
_PINNED: dict[int, int] = {}  # the first and last byte of each piece of pinned memory
_PID = os.getpid()
_REAL_TO, _REAL_EMPTY, _REAL_TENSOR = torch.Tensor.to, torch.empty, torch.tensor
_REAL_CSR, _REAL_DLPACK = torch.sparse_csr_tensor, torch.from_dlpack
# What makes the host wait until a card is done, for an error or to know a size.
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}
_WAITS |= {"_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_lstsq", "linalg_eig"}
_WAITS |= {"unique_dim", "unique_consecutive", "repeat_interleave", "bincount", "linalg_ldl_factor"}
_TAKE_SCALARS = {"where", "fill_", "masked_fill", "masked_fill_", "index_put_", "clamp"}
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot", "addmv_", "addmm_"}


def count(**numbers):
    with _LOCK:
        COUNTS.update(numbers)


class Card:
    """The memory and the streams of a card."""

    def __init__(self, index):
        self.index, self.device = index, torch.device("cuda", index)
        self.allocated = self.peak = 0
        self.limit, self.workspaces = LIMIT, set()
        self.streams: weakref.WeakSet = weakref.WeakSet()
        self.default = Stream(self.device)
        self.streams.add(self.default)

    def allocate(self, n_bytes):
        if os.getpid() != _PID:
            raise RuntimeError(
                "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
                "you must use the 'spawn' start method"
            )
        with _LOCK:
            self.check_room(n_bytes)
            self.allocated += n_bytes
            self.peak = max(self.peak, self.allocated)

    def check_room(self, n_bytes):
        if self.allocated + n_bytes > self.limit:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {n_bytes}.")

    def free(self, n_bytes):
        with _LOCK:
            self.allocated -= n_bytes

    def synchronize(self):
        """Wait for all streams."""
        count(waits=1)
        for stream in list(self.streams):
            stream.finish(stream.record_event())

    @property
    def stream(self):
        """The current stream of this thread."""
        return _HERE.__dict__.setdefault("streams", {}).get(self.index, self.default)


class Stream:
    """What a card does in order. It need not have done anything that nobody has waited for."""

    def __init__(self, device=None, priority=0):
        self.device = _indexed(torch.device("cuda") if device is None else torch.device(device))
        self.tick, self.done = 0, 0  # operations so far, and those that the host knows are done
        self.seen: dict = {}  # other streams, and how many of their operations are done before ours
        self.unfinished: list = []  # calls for when the host knows that an operation is done
        count(streams=1)
        if CARDS[self.device.index :]:
            CARDS[self.device.index].streams.add(self)

    def begin(self):
        with _LOCK:
            self.tick += 1
            return self.tick

    def knows(self, other, tick):
        return other is self or max(self.seen.get(other, 0), other.done) >= tick

    def record_event(self, event=None):
        event = event or Event()
        event.stream, event.tick, event.seen = self, self.tick, dict(self.seen)
        return event

    def wait_event(self, event):
        if event.stream is not None:
            for stream, tick in [*event.seen.items(), (event.stream, event.tick)]:
                self.seen[stream] = max(self.seen.get(stream, 0), tick)

    def wait_stream(self, stream):
        self.wait_event(stream.record_event())

    def synchronize(self):
        count(waits=1)
        self.finish(self.record_event())

    def finish(self, event):
        """Note that the host knows what happened before an event to be done."""
        with _LOCK:  # what is found to be finished is looked at before another thread goes on
            for stream, tick in [*event.seen.items(), (event.stream, event.tick)]:
                stream.done = max(stream.done, tick)
                waiting, stream.unfinished = stream.unfinished, []
                for at, call in waiting:
                    if at > stream.done:
                        stream.unfinished.append((at, call))
                    else:
                        call()

    def query(self):
        return self.done >= self.tick


class Event:
    """A place in a stream."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False):
        self.stream, self.tick, self.seen = None, 0, {}

    def record(self, stream=None):
        (stream or card_of(None).stream).record_event(self)

    def wait(self, stream=None):
        (stream or card_of(None).stream).wait_event(self)

    def synchronize(self):
        if self.stream is not None:
            count(waits_for_events=1)
            self.stream.finish(self)

    def query(self):
        return self.stream is None or self.stream.done >= self.tick


class Memory:
    """A piece of memory of a card, with who wrote to it and who reads it."""

    def __init__(self, card, n_bytes):
        self.card, self.n_bytes = card, -(-n_bytes // 512) * 512
        self.n_allocated = 0
        card.allocate(self.n_bytes)
        self.n_allocated = self.n_bytes
        self.owner = card.stream
        self.written, self.used = (self.owner, 0), {}
        self.recorded: set = set()

    def read_by(self, stream, tick):
        """Return whether what a stream reads here is there."""
        self.used[stream] = tick
        return stream.knows(*self.written)

    def written_by(self, stream, tick):
        for other, at in self.used.items():
            if not stream.knows(other, at):
                MISTAKES.append("memory was overwritten while another stream used it")
        self.written = stream, tick
        self.used[stream] = tick

    def __del__(self):
        self.card.free(self.n_allocated)
        for stream, tick in getattr(self, "used", {}).items():
            if stream not in self.recorded and not self.owner.knows(stream, tick):
                MISTAKES.append("memory was freed while a stream that is not its own used it")


class CardTensor(torch.Tensor):
    """A tensor that says that it is on a card."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, data, card, memory=None):
        form = {"layout": data.layout, "dtype": data.dtype, "device": card.device}
        if data.layout == torch.strided:
            form |= {"strides": data.stride(), "storage_offset": data.storage_offset()}
        tensor = torch.Tensor._make_wrapper_subclass(cls, data.size(), **form)
        tensor.data_here, tensor.card = data, card
        tensor.memory = memory or Memory(card, _n_bytes(data))
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name == "copy_" or (name == "_to_copy" and "cpu" in str(kwargs.get("device"))):
            copied = _copied(args, kwargs)
            if copied is not None:
                return copied
        if torch.device(kwargs.get("device") or "cuda").type == "cpu":
            return func(*_data(args), **kwargs)  # such as new_empty, which reads no numbers
        scalars = torch.Tag.pointwise in func.tags or name in _TAKE_SCALARS
        returned = [value.alias_info for value in func._schema.returns]
        if returned and all(info and not info.is_write for info in returned):
            return _wrapped(func(*_data(args), **_data(kwargs)), _card_of(name, args, kwargs), args)
        return _launched(name, func, args, kwargs, _written(func, args, kwargs), scalars)

    # Methods that torch binds with a guard of the device, which is not there.
    def item(self):
        return _fetched(self).item()

    def tolist(self):
        return _fetched(self).tolist()

    def __bool__(self):
        return bool(_fetched(self))

    def __int__(self):
        return int(_fetched(self))

    __index__ = __int__

    def __float__(self):
        return float(_fetched(self))

    def __getitem__(self, key):
        key, plain = _at_card(key, self.card)
        if plain:
            return _wrapped(self.data_here[key], self.card, (self,))
        return _launched("index", lambda data, key: data[key], (self, key), {}, [])

    def __setitem__(self, key, value):
        key, _ = _at_card(key, self.card, mask_waits=isinstance(value, torch.Tensor))
        if isinstance(value, torch.Tensor) and value.ndim and not isinstance(value, CardTensor):
            value = value.to(self.device)  # as torch does
        _launched("index_put_", _assign, (self, key, value), {}, [self], scalars=True)

    def __repr__(self):
        return f"CardTensor({self.data_here}, device={self.device})"

    __str__ = __repr__

    def __format__(self, spec):
        return format(_fetched(self).item(), spec)

    def __invert__(self):
        return torch.bitwise_not(self)

    def copy_(self, other, non_blocking=False):
        return torch.ops.aten.copy_(self, other, non_blocking)

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy")
        return _fetched(self).numpy()

    def contiguous(self, memory_format=torch.contiguous_format):
        return self if self.is_contiguous() else self.clone(memory_format=memory_format)

    def nonzero(self, as_tuple=False):
        found = _launched("nonzero", torch.nonzero, (self,), {}, [])
        return found.unbind(1) if as_tuple else found

    def to_dense(self):
        return _launched("to_dense", lambda data: data.to_dense(), (self,), {}, [])

    def record_stream(self, stream):
        self.memory.recorded.add(stream)


def _assign(data, key, value):
    data[key] = value


def _n_bytes(data):
    if data.layout == torch.strided:
        return data.untyped_storage().nbytes()
    parts = data.crow_indices(), data.col_indices(), data.values()
    return sum(part.numel() * part.element_size() for part in parts)


def _flat(value):
    """Yield the tensors in nested lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)


def _mapped(change, value):
    """Return nested lists with the tensors on a card changed."""
    if isinstance(value, dict):
        return {name: _mapped(change, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_mapped(change, part) for part in value])
    return change(value) if isinstance(value, CardTensor) else value


def _data(value):
    return _mapped(lambda tensor: tensor.data_here, value)


def _card_of(name, args, kwargs, written=(), scalars=False):
    """Return the card of an operation; raise if it mixes devices."""
    tensors = list(_flat([*args, *kwargs.values()]))
    cards = {tensor.card for tensor in tensors if isinstance(tensor, CardTensor)}
    alone = [tensor for tensor in tensors if not isinstance(tensor, CardTensor)]
    free = scalars and all(t.ndim == 0 and not any(t is w for w in written) for t in alone)
    if len(cards) > 1 or (alone and not free):
        devices = ", ".join(sorted({str(tensor.device) for tensor in tensors}))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found {devices} in {name}"
        )
    return cards.pop()


def _written(func, args, kwargs):
    """Return the tensors that an operation writes to."""
    if not func._schema.is_mutable:
        return []
    given = dict(zip([argument.name for argument in func._schema.arguments], args, strict=False))
    writes = [a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
    return list(_flat([(given | kwargs).get(name) for name in writes]))


def _launched(name, func, args, kwargs, written, scalars=False):
    """Return the outcome of an operation that the current stream of a card does."""
    card = _card_of(name, args, kwargs, written, scalars)
    stream = card.stream
    if name in _WAITS:
        stream.synchronize()
    if name in _PRODUCTS and stream not in card.workspaces:
        card.workspaces.add(stream)
        card.allocate(WORKSPACE)
    if "device" in kwargs:
        kwargs = kwargs | {"device": "cpu", "pin_memory": None}
    tick = stream.begin()
    count(kernels=1)
    targets = {id(tensor.memory) for tensor in written}

    def read(tensor):
        """Return the numbers that the stream reads: NaN where it did not wait for them."""
        there = tensor.memory.read_by(stream, tick) or not tensor.is_floating_point()
        if there or id(tensor.memory) in targets:
            return tensor.data_here
        return torch.full_like(tensor.data_here, torch.nan)

    for tensor in written:
        tensor.memory.written_by(stream, tick)
    out = _wrapped(func(*_mapped(read, args), **_mapped(read, kwargs)), card, args, kwargs)
    for tensor in _flat(out):
        if id(tensor.memory) not in targets:
            tensor.memory.written_by(stream, tick)
    return out


def _wrapped(out, card, args, kwargs=None):
    """Return what an operation on the numbers returned as tensors on a card."""
    given = [t for t in _flat([args, list((kwargs or {}).values())]) if isinstance(t, CardTensor)]

    def wrap(data):
        for tensor in given:
            if data is tensor.data_here:
                return tensor
        for tensor in given:
            if torch.strided == data.layout == tensor.data_here.layout and _shares(
                data, tensor.data_here
            ):
                return CardTensor(data, card, tensor.memory)
        return CardTensor(data, card)

    if isinstance(out, list | tuple):
        return type(out)([wrap(part) if isinstance(part, torch.Tensor) else part for part in out])
    return wrap(out) if isinstance(out, torch.Tensor) else out


def _shares(data, other):
    if not torch.strided == data.layout == other.layout:
        return False
    return data.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _at_card(key, card, mask_waits=True):
    """Return an index with its tensors on a card, and whether it has none; count what waits."""
    parts = list(key) if isinstance(key, tuple) else [key]
    plain = not any(isinstance(part, torch.Tensor | list | np.ndarray) for part in parts)
    for i, part in enumerate(parts):
        if isinstance(part, list | np.ndarray):
            part = parts[i] = torch.as_tensor(part)
        if isinstance(part, torch.Tensor):
            if not isinstance(part, CardTensor):
                part = parts[i] = part.to(card.device)
            if part.dtype == torch.bool and mask_waits:  # for how many there are
                card.stream.synchronize()
    return (tuple(parts) if isinstance(key, tuple) else parts[0]), plain


def _fetched(tensor):
    """Return the numbers of a tensor in the memory of the host, which waits for them."""
    stream = tensor.card.stream
    tick = stream.begin()
    there = tensor.memory.read_by(stream, tick) or not tensor.is_floating_point()
    stream.synchronize()
    count(copies_to_host=1, bytes_to_host=tensor.numel() * tensor.element_size())
    return tensor.data_here if there else torch.full_like(tensor.data_here, torch.nan)


def _copied(args, kwargs):
    """Return the outcome of a copy between host and card; None for one on a card."""
    if len(args) == 1:  # to a new tensor
        data = _fetched(args[0])
        return torch.empty_like(data).copy_(data).to(kwargs.get("dtype") or data.dtype)
    target, source, *later = args
    later = bool(later and later[0]) or kwargs.get("non_blocking", False)
    if not isinstance(target, CardTensor):
        target.copy_(_fetched(source))
        return target
    if isinstance(source, CardTensor):
        return None
    stream = target.card.stream
    tick = stream.begin()
    target.memory.written_by(stream, tick)
    target.data_here.copy_(source)
    n_bytes = source.numel() * source.element_size()
    count(copies_to_card=1, bytes_to_card=n_bytes)
    if not later or not is_pinned(source):
        if source.numel():
            stream.synchronize()
        return target
    before = _checksum(source)

    def check():
        if _checksum(source) != before:
            MISTAKES.append("pinned memory was overwritten before it was copied")

    with _LOCK:
        stream.unfinished.append((tick, check))
    return target


def _checksum(tensor):
    return zlib.crc32(tensor.contiguous().numpy())


def _made(op, *args, **kwargs):
    """Return what a factory makes on a card, where memory that is not written yet is NaN."""
    card = card_of(kwargs.get("device"))
    card.check_room(_n_bytes(op(*args, **(kwargs | {"device": "meta", "pin_memory": None}))))
    out = op(*args, **(kwargs | {"device": "cpu", "pin_memory": None}))
    if op.overloadpacket.__name__.startswith("empty"):
        if out.is_floating_point():
            out.fill_(torch.nan)
    else:
        count(kernels=1)
    return CardTensor(out, card)


# --- what torch.cuda has ---


def current_device():
    return getattr(_HERE, "device", 0)


def _indexed(device):
    """Return a device with the number of the current card where it has none."""
    if isinstance(device, str | torch.device) and str(device).startswith("cuda"):
        device = torch.device(device)
        return torch.device("cuda", current_device()) if device.index is None else device
    return device


def card_of(device):
    """Return a card from a device, a number, or None for the current one."""
    index = device if isinstance(device, int) else _indexed(device or "cuda").index
    if index >= N_CARDS:
        raise RuntimeError(f"CUDA error: invalid device ordinal (cuda:{index})")
    return CARDS[index]


def set_device(device):
    _HERE.device = card_of(device).index


class CurrentDevice(contextlib.ContextDecorator):
    """``torch.cuda.device``."""

    def __init__(self, device):
        self.index = None if device is None else card_of(device).index

    def __enter__(self):
        self.before = current_device()
        _HERE.device = self.before if self.index is None else self.index

    def __exit__(self, *exception):
        _HERE.device = self.before


class CurrentStream(CurrentDevice):
    """``torch.cuda.stream``."""

    def __init__(self, stream):
        super().__init__(None if stream is None else stream.device)
        self.stream = stream

    def __enter__(self):
        super().__enter__()
        if self.stream is not None:
            self.outer = CARDS[self.index].stream
            _HERE.streams[self.index] = self.stream

    def __exit__(self, *exception):
        if self.stream is not None:
            _HERE.streams[self.index] = self.outer
        super().__exit__(*exception)


def set_limit(fraction, device=None):
    card_of(device).limit = fraction * LIMIT


def reset_peak(device=None):
    card_of(device).peak = card_of(device).allocated


def to(tensor, *args, **kwargs):
    """Like ``Tensor.to``: a card without a number is the current one."""
    args, kwargs = [*map(_indexed, args)], {k: _indexed(v) for k, v in kwargs.items()}
    target = next((v for v in [*args, *kwargs.values()] if isinstance(v, torch.device)), None)
    if _data(tensor).layout != torch.strided and target is not None and target.type == "cuda":
        card = card_of(target)
        count(copies_to_card=1, bytes_to_card=_n_bytes(tensor), waits=1)
        return CardTensor(_data(tensor), card)
    return _REAL_TO(tensor, *args, **kwargs)


def sparse_csr_tensor(rows, columns, values, **kwargs):
    made = _REAL_CSR(*_data([rows, columns, values]), **kwargs)
    return CardTensor(made, values.card) if isinstance(values, CardTensor) else made


class Generator(torch.Generator):
    """One of the processor, whichever device it is for."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


def from_dlpack(array, **kwargs):
    return array if isinstance(array, CardTensor) else _REAL_DLPACK(array, **kwargs)


def pin_memory(tensor):
    """Like ``Tensor.pin_memory``; ``_PINNED`` knows the piece for as long as it is there."""
    if is_pinned(tensor):
        return tensor
    count(pinned=1, bytes_pinned=tensor.numel() * tensor.element_size())
    piece = np.empty(max(tensor.numel() * tensor.element_size(), 1), np.uint8)
    start = piece.ctypes.data
    _PINNED[start] = start + piece.nbytes
    weakref.finalize(piece, _PINNED.pop, start)
    flat = torch.from_numpy(piece)[: tensor.numel() * tensor.element_size()].view(tensor.dtype)
    return flat.as_strided(tensor.shape, torch.empty_like(tensor, device="meta").stride()).copy_(
        tensor
    )


def is_pinned(tensor):
    at = 0 if isinstance(tensor, CardTensor) else tensor.data_ptr()
    return any(start <= at < stop for start, stop in list(_PINNED.items()))


def empty(*size, pin_memory=False, **kwargs):
    made = _REAL_EMPTY(*size, **kwargs)
    return made.pin_memory() if pin_memory else made


def tensor(data, device=None, **kwargs):
    made = _REAL_TENSOR(data, **kwargs)
    return made if device is None else made.to(device)


def install():
    """Make this process believe in cards; return False where torch is not of a tested version."""
    if torch.cuda.is_available() or not torch.__version__.startswith(TESTED):
        return False
    CARDS.extend(Card(index) for index in range(N_CARDS))
    memory = collections.namedtuple("Properties", "total_memory name major minor")
    stubs = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: N_CARDS,
        "current_device": current_device,
        "set_device": set_device,
        "device": CurrentDevice,
        "Stream": Stream,
        "Event": Event,
        "stream": CurrentStream,
        "current_stream": lambda device=None: card_of(device).stream,
        "default_stream": lambda device=None: card_of(device).default,
        "synchronize": lambda device=None: card_of(device).synchronize(),
        "memory_allocated": lambda device=None: card_of(device).allocated,
        "max_memory_allocated": lambda device=None: card_of(device).peak,
        "reset_peak_memory_stats": reset_peak,
        "empty_cache": lambda: None,
        "mem_get_info": lambda device=None: (LIMIT - card_of(device).allocated, LIMIT),
        "get_device_properties": lambda device=None: memory(LIMIT, "a pretended card", 0, 0),
        "get_device_name": lambda device=None: "a pretended card",
        "set_per_process_memory_fraction": set_limit,
    }
    for name, stub in stubs.items():
        setattr(torch.cuda, name, stub)
    torch.Tensor.to, torch.Tensor.pin_memory, torch.Tensor.is_pinned = to, pin_memory, is_pinned
    torch.Tensor.cuda = lambda tensor, device=None, non_blocking=False: tensor.to(
        card_of(device).device, non_blocking=non_blocking
    )
    torch.empty, torch.tensor, torch.sparse_csr_tensor = empty, tensor, sparse_csr_tensor
    torch.from_dlpack = from_dlpack
    torch.Generator = Generator
    _LIBRARY.fallback(_made, "CUDA")
    return True


CARDS: list[Card] = []
_LIBRARY = torch.library.Library("_", "IMPL")
INSTALLED = False


def pytest_configure():
    """Install, where pytest has this as a plugin; before it imports the tests."""
    global INSTALLED
    INSTALLED = install()


@pytest.fixture(autouse=True)
def no_mistakes():
    """Fail the tests that leave mistakes."""
    MISTAKES.clear()
    yield
    assert MISTAKES == []
