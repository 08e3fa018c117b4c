"""How pickles spell tensors and storages: by functions that rebuild them from parts.

A tensor's pickle names a function and gives it a storage, an offset, a shape and
strides; the name of the function shows the release. Tensors whose parts are all plain become a
`Tensor`; those that are more than that (quantized, sparse, of a class of one's own)
stay records with what the file says, and packs look through them.

Sources: ``torch/_utils.py``, ``torch/_tensor.py``, ``torch/nn/parameter.py`` of 0.1 to
2.13; ``torch/csrc/jit/serialization/pickler.cpp`` for TorchScript's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base.ml_dtypes import encoded, missing_name
from persist._wire.base.source import Source
from persist._wire.pickle import numpy_rebuild, stdlib_rebuild
from persist._wire.pickle.handlers import INERT, Finisher, Rebuilder
from persist._wire.pickle.machine import Machine
from persist._wire.torch.storage import Blob, Storage, Tensor, dtype_of, kind_of
from persist._wire.torch.tensor_opcodes import Phrases
from persist.errors import DamagedFileError, PersistError
from persist.tree import ABSENT, Global, LazyArray, Record

__all__ = ["FINISH", "REBUILD", "Origin", "machine_for", "rebuilt", "storage_of", "text_of"]

_SAID = regex(
    r"\('storage', <class '([\w.]+)'>, u?'([^']*)', u?'([^']*)', (\d{1,18})L?(?:, None)?\)"
)
_NOTHING = 1 << 20  # largest storage on the meta device (bytes) that is replaced by zeros

# Whole tensors. Each function takes what the pickle gives the one of the same name.


def _numbers(value: object) -> tuple[int, ...]:
    """A shape or strides: a tuple or list of integers, or the record of a ``torch.Size``."""
    if isinstance(value, Record) and value.cls.name == "Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, tuple | list) or not all(type(item) is int for item in value):
        raise TypeError("no shape")
    return tuple(value)


def _tensor(parts: tuple[Any, ...], **facts: Any) -> Tensor:
    storage, offset, shape, strides = parts
    shape, strides = _numbers(shape), _numbers(strides)
    if not isinstance(storage, Storage) or type(offset) is not int or len(shape) != len(strides):
        raise TypeError("no tensor")
    return Tensor(storage, offset, shape, strides, **facts)


def _turned(args: tuple[Any, ...], index: int) -> dict[str, bool]:
    """Which of the bits conj and neg are set; stored since torch 1.10."""
    bits = args[index] if len(args) > index and isinstance(args[index], dict) else None
    if not bits:
        return {}
    return {"is_conj": bool(bits.get("conj")), "is_neg": bool(bits.get("neg"))}


def _plain(*args: object) -> Any:
    """(storage, offset, shape, strides): before 0.4."""
    return _tensor(args)


def _plain_v2(*args: object) -> object:
    """(..., requires_grad, backward hooks, what else): from 0.4."""
    return _tensor(args[:4], requires_grad=bool(args[4]), **_turned(args, 6))


def _plain_v3(*args: object) -> object:
    """(..., requires_grad, hooks, dtype, what else): from 2.0, over a storage of bytes."""
    kind = kind_of(args[6].name) if isinstance(args[6], Global) else None
    if kind is None:
        return INERT
    return _tensor(args[:4], kind=kind, requires_grad=bool(args[4]), **_turned(args, 7))


def _parameter(*args: object) -> object:
    """(tensor, requires_grad, hooks)"""
    tensor, requires_grad = args[:2]
    if not isinstance(tensor, Tensor):
        return INERT
    return tensor.changed(requires_grad=bool(requires_grad), is_parameter=True)


_REBUILDERS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _plain,
    "torch._utils._rebuild_tensor_v2": _plain_v2,
    "torch._utils._rebuild_tensor_v3": _plain_v3,
    "torch._utils._rebuild_parameter": _parameter,
}


def rebuilt(name: str, args: tuple[object, ...]) -> object:
    """Return the tensor that a function of this dotted name would rebuild, or INERT.

    Raises:
        DamagedFileError: it does not lie within its storage.
    """
    rebuilder = _REBUILDERS.get(name)
    try:
        return INERT if rebuilder is None else rebuilder(*args)
    except PersistError:  # a ValueError, too
        raise
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError):
        return INERT


def _handler(name: str) -> Rebuilder:
    return lambda machine, args: rebuilt(name, args)


def _value(machine: Machine, args: tuple[object, ...]) -> object:
    """TorchScript says of a value of what type it is: ``build_intlist([1, 2])``."""
    return args[0] if args else INERT


_TYPED = (
    "build_intlist", "build_tensorlist", "build_doublelist", "build_boollist",
    "build_tensorlist_from_list", "restore_type_tag",
)  # fmt: skip

REBUILD: dict[str, Rebuilder] = {
    **stdlib_rebuild.REBUILD,
    **numpy_rebuild.REBUILD,
    **{name: _handler(name) for name in _REBUILDERS},
    **{f"torch.jit._pickle.{name}": _value for name in _TYPED},
}
FINISH: dict[str, Finisher] = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}


def machine_for(source: Source, origin: Origin, **settings: Any) -> Machine:
    """Return a machine that knows plain values, arrays and tensors, and asks ``origin`` for storages."""
    is_usual = settings.keys().isdisjoint(("rebuild", "persistent"))
    settings["rebuild"] = {**REBUILD, **settings.get("rebuild", {})}
    settings["finish"] = {**FINISH, **settings.get("finish", {})}
    machine = Machine(source, **{"persistent": origin.resolve, **settings})
    if is_usual:
        machine.phrase = Phrases(origin).read
    return machine


# Storages.


def text_of(value: object) -> str:
    """A key or a location: text, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def storage_of(kind: str, items: Any) -> Storage | None:
    """Return the storage that lists its elements (a plain pickle of 0.1 to 0.3), or None."""
    if isinstance(items, np.ndarray | LazyArray):  # as a container keeps it
        values, dtype = encoded(items), dtype_of(kind)
        if values.ndim != 1 or (values.dtype.kind, values.dtype.itemsize) != (
            dtype.kind,
            dtype.itemsize,
        ):
            return None
        values = np.ascontiguousarray(values, dtype)
        return Storage(Blob.of(values), kind, values.size)
    if not isinstance(items, list | tuple):
        return None
    try:
        dtype = dtype_of(kind)
        if missing_name(dtype):  # a bfloat16 is the upper half of a float32
            if kind != "bfloat16":
                return None
            halves = np.array(items, np.float32).view("<u4") >> 16
            values = halves.astype("<u2").view(dtype)
        else:
            values = np.array(items, dtype)
    except (TypeError, ValueError, OverflowError):
        return None
    return Storage(Blob.of(values), kind, values.size) if values.ndim == 1 else None


class Origin:
    """The storages of one file: made when a pickle first names them.

    Args:
        file: for errors.
        find: returns the bytes of a storage as (how many there are, what opens them), or
            None where there are none; None itself where they follow later.
        is_big: whether numbers in it are big-endian.
        damage: takes what is wrong and passed over; None where that is an error.

    Attributes:
        blobs: key -> the bytes of that storage, in the order in which they were named.
        sizes: key -> bytes an element has, from the first reference to it.
        made: (key, dtype) -> the storage seen as one of that dtype, where it is seen whole.
        sources: class -> the file and text of its source, which releases before 1.2 kept.
    """

    def __init__(
        self,
        file: Source,
        find: Callable[[str], tuple[int, Callable[[], Source]] | None] | None = None,
        is_big: bool = False,
        damage: list[str] | None = None,
    ) -> None:
        self.file = file
        self.is_big = is_big
        self.blobs: dict[str, Blob] = {}
        self.sizes: dict[str, int] = {}
        self.sources: dict[str, dict[str, str]] = {}
        self._find = find
        self._damage = damage
        self.made: dict[tuple[Any, ...], Storage] = {}

    def resolve(self, pid: object) -> Any:
        """Return the object of a persistent id: a storage, a class, or ABSENT."""
        if isinstance(pid, str):  # protocol 0 says the tuple by its text
            found = _SAID.fullmatch(pid)
            if found is None:
                return ABSENT
            return self.storage(Global("", found[1]), found[2], found[3], int(found[4]))
        if not isinstance(pid, tuple) or not pid:
            return ABSENT
        kind = text_of(pid[0])
        if kind == "module" and len(pid) == 4 and isinstance(pid[1], Global):
            return self._class(*pid[1:])
        if kind == "storage" and len(pid) >= 5:
            return self.storage(*pid[1:6])
        return ABSENT

    def _class(self, cls: Global, path: object, source: object) -> Global:
        if path is not None or source is not None:
            self.sources[cls.qualname] = {"file": text_of(path), "source": text_of(source)}
        return cls

    def storage(
        self, cls: object, key: object, location: object, count: object, view: object = None
    ) -> Storage:
        """Return the storage of a key, seen as one of that class; the same at every call."""
        kind = kind_of(cls.name.rpartition(".")[2]) if type(cls) is Global else None
        if kind is None or type(count) is not int or count < 0:
            raise self.damaged(
                f"storage {text_of(key)!r} is said to be a {cls} of {count!r} elements.",
                "A storage class of torch and a count are due.",
            )
        name = (text_of(key), kind, *(view if isinstance(view, tuple) else ()))
        known = self.made.get(name)
        if known is None:
            known = self.made[name] = self._new(name[0], kind, text_of(location), count, view)
        return known

    def _new(self, key: str, kind: str, location: str, count: int, view: object) -> Storage:
        size = dtype_of(kind).itemsize
        blob = self.blobs.get(key)
        if blob is None:
            fetch = self._fetch(key, kind, count * size, location)
            blob = Blob(key, count * size, fetch, location=location, is_big=self.is_big)
            self.blobs[key] = blob
            self.sizes[key] = size
        if count * size > blob.nbytes:
            raise self.damaged(
                f"storage {key!r} of {blob.nbytes:,} bytes is said to hold {count:,} elements of "
                f"{kind}.",
                "The file is damaged.",
            )
        return Storage(blob, kind, count) if view is None else self._part(blob, kind, count, view)

    def _fetch(
        self, key: str, kind: str, wanted: int, location: str
    ) -> Callable[[], Source] | None:
        """Find the bytes of a storage in the archive, enough of them."""
        if self._find is None:
            return None
        found = self._find(key)
        if found is not None and found[0] >= wanted:
            return found[1]
        if found is None and (location == "meta" or not wanted):
            there = bytes(wanted) if wanted <= _NOTHING else b""
            return lambda: self.file.nested(there, f"storage {key!r}")
        has = "is not in the archive" if found is None else f"has {found[0]:,} bytes"
        error = self.damaged(
            f"storage {key!r} {has}, where {wanted:,} bytes of {kind} are due.",
            "The file is incomplete: copy it again from where it came from.",
        )
        if self._damage is None:
            raise error
        self._damage.append(str(error))
        return None

    def _part(self, blob: Blob, kind: str, count: int, view: object) -> Storage:
        """A storage that is a part of another: (its own key, offset, count), before 1.0."""
        numbers = view[1:] if isinstance(view, tuple) and len(view) == 3 else ()
        if len(numbers) != 2 or not all(type(number) is int for number in numbers):
            raise self.damaged(
                f"storage {blob.key!r} is said to be seen as {str(view)[:80]!r}.",
                "A key, an offset and a count are due.",
            )
        offset, length = numbers
        if offset < 0 or length < 0 or offset + length > count:
            raise self.damaged(
                f"a part of storage {blob.key!r} begins at element {offset:,} and has {length:,}, "
                f"but there are {count:,}.",
                "The file is damaged.",
            )
        return Storage(blob, kind, length, offset * self.sizes[blob.key])

    def damaged(self, what: str, remedy: str) -> DamagedFileError:
        """Return the error that says what is wrong with a storage of this file."""
        return DamagedFileError(what, file=self.file.name, remedy=remedy)
