"""Wrappers that take the place of an array in a pickle, whose data are elsewhere: behind the opcode, or in a separate file.

Three classes, each of which is replaced by its array when BUILD has given it its state:

- an *inline* array: dtype, shape and order in the wrapper, its raw bytes right behind the BUILD
  opcode, aligned by padding whose length is the first byte; of objects, a pickle of its own;
- a *satellite*: the name of an NPY file in the same folder;
- a *compressed satellite*: the parts of ``ndarray.__reduce__`` in the wrapper, the raw bytes
  compressed in a file in the same folder.

Sources: joblib's ``numpy_pickle.py`` (``NumpyArrayWrapper.read_array``, since 0.10; padding since
1.2) and ``numpy_pickle_compat.py`` (``NDArrayWrapper``, ``ZNDArrayWrapper``, ``read_zfile``).
scikit-learn kept a copy of the library as ``sklearn.externals.joblib`` from 0.4 to 0.22.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Cursor, Source
from persist._wire.compression.zfile import unpacked
from persist._wire.npy.npy import read_array
from persist._wire.pickle import numpy_rebuild, stdlib_rebuild
from persist._wire.pickle.handlers import INERT, Finisher
from persist._wire.pickle.machine import Machine
from persist.errors import DamagedFileError, FormatError, LimitError
from persist.tree import Global, LazyArray, Record

__all__ = ["INLINE", "SATELLITE", "Wrappers"]

_MODULES = (
    "joblib.numpy_pickle",
    "joblib.numpy_pickle_compat",
    "sklearn.externals.joblib.numpy_pickle",
    "sklearn.externals.joblib.numpy_pickle_compat",
)
INLINE = frozenset(f"{module}.NumpyArrayWrapper" for module in _MODULES)
SATELLITE = frozenset(
    f"{module}.{name}" for module in _MODULES for name in ("NDArrayWrapper", "ZNDArrayWrapper")
)

_PLAIN = {**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH}
_NEIGHBOUR = 4096  # bytes that a satellite counts for, so that files that name many end somewhere
_ARRAY = "numpy.core.multiarray._reconstruct"
_NUMBERED = regex(r"_\d+\.npy(?:\.z)?\Z")


class Wrappers:
    """Replaces the wrappers of one pickle, and keeps account of their files.

    Args:
        source: the pickle, whose neighbours the satellites are.

    Attributes:
        files: names of the satellites that were found, in the order of the file.
        damage: what is missing or broken, in words; their wrappers stay records.
    """

    def __init__(self, source: Source) -> None:
        self.files: list[str] = []
        self.damage: list[str] = []
        self._source = source
        self._known: dict[str, object] = {}

    @property
    def finish(self) -> dict[str, Finisher]:
        """By dotted name, what becomes of a wrapper that has its state."""
        table: dict[str, Finisher] = dict.fromkeys(INLINE, inline)
        table.update(dict.fromkeys(SATELLITE, self.satellite))
        return table

    def satellite(self, machine: Machine, record: Record) -> object:
        """Return the array of a satellite, or INERT where it is not there or is broken."""
        fields = record.fields()
        name = fields.get("filename")
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")
        if not isinstance(name, str):
            return INERT
        if record.cls.name == "ZNDArrayWrapper":
            parts = fields.get("init_args"), fields.get("state")
            return self._read(name, lambda found: _compressed(machine, found, *parts))
        subclass = fields.get("subclass")
        if name not in self._known:
            self._known[name] = self._read(name, lambda found: _npy(machine, found))
        return _as_subclass(self._known[name], subclass)

    def _read(self, name: str, read: Callable[[Source], Any]) -> object:
        found = self._find(name)
        if found is None:
            self._report(
                f"{name} is missing, which holds an array of it; put it next to the file, under "
                "the name that it was saved with"
            )
            return INERT
        try:
            value = read(found)
        except LimitError:
            raise
        except FormatError as error:
            self._report(f"the array in {name} cannot be read ({error.what.rstrip('.')})")
            return INERT
        if value is INERT:
            self._report(f"{name} does not hold the array that the file names")
        elif found.basename not in self.files:
            self.files.append(found.basename)
        return value

    def _report(self, what: str) -> None:
        if what not in self.damage:
            self.damage.append(what)

    def _find(self, name: str) -> Source | None:
        """The satellite of that name; or of that number next to a file that was renamed with its own."""
        self._source.spend(_NEIGHBOUR)
        name = re.split(r"[/\\]", name)[-1]
        found = self._source.sibling(name)
        number = _NUMBERED.search(name)
        if found is None and number is not None and self._source.basename:
            found = self._source.sibling(self._source.basename + number[0])
        return found if found is not None and found.kind == "file" else None


# Inline.


def inline(machine: Machine, record: Record) -> object:
    """Return the array whose bytes stand behind the BUILD of its wrapper, and pass over them.

    Raises:
        DamagedFileError: the wrapper does not say what is there.
    """
    fields = record.fields()
    dtype: Any = fields.get("dtype")
    shape: Any = fields.get("shape")
    order = fields.get("order", "C")
    if not isinstance(dtype, np.dtype) or not _is_shape(shape) or order not in ("C", "F"):
        _refuse(machine, f"it states dtype {dtype!r:.80}, shape {shape!r:.80}, order {order!r:.20}")
    if dtype.hasobject:
        return _as_subclass(_pickled(machine), fields.get("subclass"))
    if fields.get("numpy_array_alignment_bytes") is not None:
        machine.skip(machine.take(1)[0])
    left = machine.source.size - machine.tell()
    nbytes = dtype.itemsize * _product(shape)
    if nbytes > left:
        raise DamagedFileError(
            f"an array of dtype {dtype} and shape {tuple(shape)} takes {nbytes:,} bytes, "
            f"but {left:,} are left.",
            file=machine.source.name,
            where=f"offset {machine.tell()}",
            remedy="The file is truncated: copy it again from where it came from.",
            truncated=True,
        )
    array = machine.array(dtype, tuple(int(extent) for extent in shape), order)
    return _as_subclass(array, fields.get("subclass"))


def _pickled(machine: Machine) -> object:
    """An array of objects: a whole pickle by the plain pickler, without wrappers in it."""
    inner = machine.inner(finish=_PLAIN)
    cursor = Cursor(machine.source, machine.tell())
    try:
        value = inner.load(cursor)
    finally:  # who probes a file asks how far it came
        _account(machine, inner)
    machine.skip(cursor.offset - machine.tell())
    return value


def _account(machine: Machine, inner: Machine) -> None:
    machine.steps = max(machine.steps, inner.steps)
    machine.has_py2_str = machine.has_py2_str or inner.has_py2_str


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple | list) and all(
        isinstance(extent, int | np.integer) and extent >= 0 for extent in shape
    )


def _product(shape: Any) -> int:
    count = 1
    for extent in shape:
        count *= int(extent)
    return count


def _as_subclass(value: object, subclass: object) -> object:
    """A matrix as one; every other class that is wrapped (ndarray, memmap) is an array."""
    is_matrix = isinstance(subclass, Global) and subclass.name == "matrix"
    if not is_matrix or not isinstance(value, np.ndarray | LazyArray) or len(value.shape) != 2:
        return value
    return np.asarray(value).view(np.matrix)


def _refuse(machine: Machine, what: str) -> NoReturn:
    raise DamagedFileError(
        f"a wrapper does not say which array follows: {what}.",
        file=machine.source.name,
        where=f"offset {machine.tell()}",
        remedy="The file is damaged: copy it again from where it came from.",
    )


# Satellites.


def _npy(machine: Machine, found: Source) -> Any:
    """The array of an NPY file; one of objects is a pickle, in which no wrappers stand."""
    made: list[Machine] = []

    def factory(source: Source) -> Machine:
        made.append(machine.inner(source, _PLAIN))
        return made[0]

    value = read_array(Cursor(found), factory)
    for inner in made:
        _account(machine, inner)
    return value


def _compressed(machine: Machine, found: Source, made_with: object, state: object) -> object:
    """What ``ndarray.__reduce__`` said, whose last part, the raw bytes, is in the file."""
    if not isinstance(made_with, tuple) or not made_with or not isinstance(state, tuple):
        return INERT
    cls = made_with[0]
    if not isinstance(cls, Global):
        return INERT
    inner = unpacked(found)
    data = inner.read(0, inner.size)
    module, _, last = _ARRAY.rpartition(".")
    record = Record(cls, (*state, data), kind="reduce", maker=Global(module, last), args=made_with)
    try:
        return numpy_rebuild.FINISH[_ARRAY](machine, record)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        return INERT
