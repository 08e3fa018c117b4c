"""What a value of a tree looks like: the leaf at its own path, and the steps to its children.

`PackView` asks the packs, so that the objects of a framework look like the values that they
contain. `persist._trees.paths` makes natural paths of the steps.
"""

from __future__ import annotations

import array as array_module
import contextvars
import datetime
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from persist._envelope import unwrap
from persist._runtime.printing import is_deep
from persist.errors import FormatError, LimitError, PersistError
from persist.tree import (
    ABSENT,
    PRIMITIVES,
    LazyArray,
    PersistentRef,
    Record,
    View,
    is_slots_pair,
    key_of,
    step_of,
)
from persist.typing import Array

__all__ = [
    "RECORD_STEP",
    "PackView",
    "Steps",
    "is_array",
    "is_flat",
    "is_lost",
    "is_masked",
    "is_series",
    "spending",
]

Steps = list[tuple[str, Any]]

_NOTES = 50  # notes of packs that are kept, since a file may have many unusual records
_BUILT = 32  # nested "built" records that are followed
# Raised inside a pack if a record has other parts than any release of its class has written.
_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

IN_STRUCTURE = frozenset(("_metadata",))  # attributes of a state dict that are no steps of a path
_KEYS = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    np.generic,
    datetime.date,
    datetime.timedelta,
)
# The step from a value that a pack presents to its record as stored in the file. It is followed on
# request, but not listed.
RECORD_STEP = "~record"
# First bytes of files that may be embedded as bytes: pickles of protocol 2 to 5, NPY, ZIP, gzip.
_FILES = (
    b"\x80\x02",
    b"\x80\x03",
    b"\x80\x04",
    b"\x80\x05",
    b"\x93NUMPY",
    b"PK\x03\x04",
    b"\x1f\x8b",
)
HOLDERS = frozenset((list, tuple, dict))
_PLAIN_OR_HOLDERS = PRIMITIVES | HOLDERS
_WIDE = 32  # items of a container whose answer is kept
_ITEMS = (*PRIMITIVES, complex, np.number, np.bool_)  # of a sequence that is one leaf
SCALARS = (str, bytes, bytearray, int, float, complex, bool, type(None), np.generic)


def is_masked(value: Any) -> TypeGuard[np.ma.MaskedArray[Any, Any]]:
    """Return whether a value is a masked array, without importing `numpy.ma` for the test."""
    return "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray)


def is_array(value: object) -> bool:
    """Whether a leaf is an array (a 0-d array is an array, a scalar is not)."""
    return isinstance(value, np.ndarray | LazyArray | array_module.array)


def ends(value: object) -> bool:
    """Whether a value is an array without objects in it: the common case in a large file."""
    if type(value) is np.ndarray:
        return not value.dtype.hasobject
    return isinstance(value, LazyArray)


def _uncounted(count: int) -> None:
    """Count nothing: there is no file whose limits apply."""


_SPENDING: contextvars.ContextVar[Callable[[int], None]] = contextvars.ContextVar(
    "spending", default=_uncounted
)


def spending() -> Callable[[int], None]:
    """Return what counts the bytes that a pack makes, for the file whose record it is asked about.

    A record of a hundred bytes can state a range of any length, so a pack calls it before it
    makes more than the record itself holds. It raises `LimitError` when all records of the file
    together make more than the limits of the file allow. A value that is made later keeps it.
    """
    return _SPENDING.get()


class PackView:
    """Returns the leaf and the children of a value, as the packs present it.

    Args:
        views: returns the `View` (or tree value) of a record, or None if no
            pack handles it.
        opener: reads bytes that contain an embedded file, and returns its tree.
        spend: counts bytes that a pack makes against the limits of the file, and raises
            `LimitError` beyond them; None counts nothing.
    """

    def __init__(
        self,
        views: Callable[[Record, PackView], Any] | None = None,
        opener: Callable[[bytes, str], Any] | None = None,
        spend: Callable[[int], None] | None = None,
    ) -> None:
        self._views = views
        self._opener = opener
        self._spend = spend or _uncounted
        self.tables: dict[int, tuple[Any, dict[str, Any]]] = {}
        self.notes: list[str] = []
        self._inside: dict[int, tuple[bytes, object]] = {}
        self._steps: dict[int, tuple[object, object, Steps]] = {}
        self._seen_through: dict[int, tuple[object, object]] = {}

    @property
    def has_views(self) -> bool:
        """Whether any packs are used."""
        return self._views is not None

    def note(self, text: str) -> None:
        """Keep a note, for example that a pack shows a record as stored because it does not fit."""
        if text not in self.notes and len(self.notes) < _NOTES:
            self.notes.append(text)

    def open(self, data: bytes, name: str) -> Any:
        """Return the tree of a file that is embedded as bytes in this one (for packs).

        Args:
            data: the bytes of the embedded file.
            name: a name for it, for error messages.

        Raises:
            FormatError: no reader can read it.
        """
        if self._opener is None:
            raise FormatError(f"{name} cannot be opened here.")
        return self._opener(data, name)

    def inside(self, data: bytes) -> Any:
        """Return the tree of an embedded file, or the bytes themselves if they are not a file.

        Only bytes that begin like a pickle, a NumPy file, a ZIP or a gzip are tried.
        """
        known = self._inside.get(id(data))
        if known is not None:
            return known[1]
        value: Any = data
        if self._opener is not None and data.startswith(_FILES):
            try:
                value = self._opener(data, "bytes in it")
            except (FormatError, LimitError):
                value = data
        self._inside[id(data)] = (data, value)
        return value

    def through(self, value: object) -> Any:
        """Return a value as the packs present it; values other than records are returned as is."""
        for _ in range(64):
            if not isinstance(value, Record) or self._views is None:
                return value
            known = self._seen_through.get(id(value))
            if known is None:
                seen = self._ask(value)
                known = self._seen_through[id(value)] = (value, value if seen is None else seen)
            if known[1] is value:
                return value
            value = known[1]
        return value

    def _ask(self, record: Record) -> Any:
        """The packs' view of a record; None, with a note, if its parts do not fit together."""
        assert self._views is not None
        mark = _SPENDING.set(self._spend)
        try:
            return self._views(record, self)
        except PersistError:
            raise
        except _FAULTS as error:
            self.note(
                f"a {record.qualname[:200]} is shown as its record: "
                f"its parts do not fit together ({type(error).__name__})"
            )
            return None
        finally:
            _SPENDING.reset(mark)

    def look(self, value: object) -> tuple[object, Steps]:
        """Return (the leaf at the value's own path or ABSENT, the steps to its children)."""
        if ends(value):
            return value, []
        value = self.through(value)
        known = self._steps.get(id(value))
        if known is not None and known[0] is value:
            return known[1], known[2]
        leaf, steps = self._look(value)
        if not isinstance(value, SCALARS):
            self._steps[id(value)] = (value, leaf, steps)
        return leaf, steps

    def _look(self, value: object) -> tuple[Any, Steps]:
        if isinstance(value, Record):
            return self._record(value)
        if isinstance(value, View):
            return self._view(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, dict):
            return self._dict(value)
        if isinstance(value, list | tuple | deque):
            if not len(value):
                return [] if isinstance(value, deque) else value, []
            if is_series(value):
                return value, []
            return ABSENT, [(str(index), item) for index, item in enumerate(value)]
        if isinstance(value, PersistentRef):
            return ABSENT, []
        return value, _zone_steps(value) if isinstance(value, datetime.tzinfo) else []

    def raw(self, record: Record) -> tuple[Any, Steps]:
        """Return the leaf and the steps of a record as stored in the file, without the packs."""
        return self._record(record)

    def key_seen(self, key: object) -> object:
        """Return a dict's key as the packs present it; an instance of a plain value as that value."""
        if isinstance(key, Record):
            seen = self.through(key)
            if isinstance(seen, View) and isinstance(seen.value, _KEYS):
                seen = seen.value
            return seen if isinstance(seen, _KEYS) else key
        if isinstance(key, tuple) and any(isinstance(item, Record | tuple) for item in key):
            return key if is_deep(key) else tuple(map(self.key_seen, key))
        return key

    def _dict(self, value: dict[object, object]) -> tuple[Any, Steps]:
        if all(type(key) in PRIMITIVES for key in value):
            return _dict(value)
        steps: Steps = []
        for key, item in value.items():
            own = self.key_seen(key)
            steps.append((step_of(own), item))
            if is_lost(own):  # the step is ambiguous, so the key gets a path next to the value's
                steps.append((f"{step_of(own)}~key", key))
        if isinstance(value, OrderedDict) and vars(value):
            steps += [(name, item) for name, item in vars(value).items() if name != "_metadata"]
        return (value, []) if not steps else (ABSENT, _distinct(steps))

    def _view(self, view: View) -> tuple[Any, Steps]:
        if view.value is ABSENT:
            return ABSENT, list(view.parts.items())
        if view.whole:
            return view.value, list(view.parts.items())
        leaf, steps = self.look(view.value)
        return leaf, _distinct([*steps, *view.parts.items()])

    def _array(self, array: Array) -> tuple[Any, Steps]:
        if is_masked(array):
            steps: Steps = [("mask", np.ma.getmaskarray(array))]
            if array._fill_value is not None:  # type: ignore[attr-defined]
                steps.append(("fill_value", np.asarray(array._fill_value)[()]))  # type: ignore[attr-defined]
            _, items = self._array(np.asarray(array.data))  # an array of objects has steps, too
            return array.data, _distinct([*items, *steps])
        if not array.dtype.hasobject or array.dtype.kind == "T":
            return array, []
        array = np.asarray(array)  # the rows of a matrix are matrices: an endless recursion
        if array.dtype.names is not None:
            return self._object_fields(array)
        if array.ndim == 0:  # transparent: its object is shown in its place
            return self.look(array[()])
        if not array.size:
            return array, []
        if array.ndim == 1:
            return ABSENT, [(str(index), item) for index, item in enumerate(array)]
        return ABSENT, [(str(index), array[index]) for index in range(len(array))]

    def _object_fields(self, array: Array) -> tuple[object, Steps]:
        names = array.dtype.names or ()
        if array.ndim == 0:
            row = array[()]
            return ABSENT, [(name, row[name]) for name in names]
        return ABSENT, [(name, array[name]) for name in names]  # by column, like a table

    def _record(self, record: Record) -> tuple[object, Steps]:
        if record.kind == "built":
            return self._built(record)
        leaf: Any = ABSENT
        steps: Steps = []
        state = record.state
        array = _subclass_array(record)
        if array is not None:
            leaf, rest, prefix = array
            if leaf.dtype.hasobject:
                leaf, steps = self._array(leaf)
            steps = [*steps, *_mask_steps(record)]
            steps += [(f"{prefix}/{index}" if prefix else index, item) for index, item in rest]
            state = ABSENT
        steps += _state_steps(record, state)
        steps += _argument_steps(record)
        steps += [(str(index), item) for index, item in enumerate(record.listitems)]
        steps += [(step_of(key), item) for key, item in record.dictitems]
        return leaf, _distinct(steps)

    def _built(self, record: Record) -> tuple[object, Steps]:
        """A value to which BUILD applied a state that it cannot hold: show the value and the state."""
        below, depth = record.args[0], 0
        while isinstance(below, Record) and below.kind == "built" and depth < _BUILT:
            below, depth = below.args[0], depth + 1
        if depth == _BUILT:  # no writer nests them this deep: show each level with its arguments
            steps = [("args/0", record.args[0])]
            return ABSENT, _distinct([*steps, *_state_steps(record, record.state)])
        leaf, steps = self.look(record.args[0])
        return leaf, _distinct([*steps, *_state_steps(record, record.state)])


def is_lost(key: object) -> bool:
    """Whether the step of a dict's key contains only a part of the key."""
    if isinstance(key, Record):
        return key_of(key) is ABSENT
    if not isinstance(key, tuple | frozenset):
        return False
    return is_deep(key) or any(map(is_lost, key))


def is_series(value: object) -> bool:
    """Whether a sequence is one leaf: its items are plain values of one type.

    A history of losses or a shape is one value for whoever looks at a file. Its items can still
    be asked for by their paths.
    """
    if not isinstance(value, list | tuple | deque) or not value:
        return False
    kinds = {*map(type, value)}
    return len(kinds) == 1 and issubclass(kinds.pop(), _ITEMS)


def item_of(series: Any, step: str) -> object:
    """The item of a series by its index as text; ABSENT if there is none."""
    if not step.isascii() or not step.isdigit() or len(step) > 10 or str(int(step)) != step:
        return ABSENT
    return series[int(step)] if int(step) < len(series) else ABSENT


def _is_plain_holder(value: Any) -> bool:
    """Whether a container holds plain values only."""
    if type(value) is dict:
        return {*map(type, value.values())} <= PRIMITIVES and is_flat(value)
    return {*map(type, value)} <= PRIMITIVES


def holds_none(value: Any, known: dict[int, bool]) -> bool:
    """Whether a container holds plain values, and containers of plain values, only.

    There are no arrays and no views below it then. Deeper containers are not looked into.

    Args:
        value: any value.
        known: the answers for wide containers, by id, since many others may share one.
    """
    kind = type(value)
    if kind is dict:
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    kinds = {*map(type, items)}
    if kinds <= PRIMITIVES:
        return kind is not dict or is_flat(value)
    if not kinds <= _PLAIN_OR_HOLDERS or (kind is dict and not is_flat(value)):
        return False
    for item in items:
        if type(item) in HOLDERS:
            if len(item) < _WIDE:
                found = _is_plain_holder(item)
            else:
                maybe = known.get(id(item))
                found = known[id(item)] = _is_plain_holder(item) if maybe is None else maybe
            if not found:
                return False
    return True


def is_flat(value: dict[object, object]) -> bool:
    """Whether all keys of a dict are plain."""
    return {*map(type, value)} <= PRIMITIVES


def _dict(value: dict[object, object]) -> tuple[Any, Steps]:
    steps = [(step_of(key), item) for key, item in value.items()]
    if isinstance(value, OrderedDict) and vars(value):
        # The versions of modules in a state dict (`_metadata`) are part of the structure.
        steps += [(name, item) for name, item in vars(value).items() if name != "_metadata"]
    return (value, []) if not steps else (ABSENT, _distinct(steps))


def _distinct(steps: Steps) -> Steps:
    """Append ``~2`` to the second of two equal steps, so that none is lost."""
    if len({step for step, _ in steps}) == len(steps):
        return steps
    taken: dict[str, int] = {}
    result: Steps = []
    for step, item in steps:
        count = taken[step] = taken.get(step, 0) + 1
        result.append((step if count == 1 else f"{step}~{count}", item))
    return result


def _state_steps(record: Record, state: Any) -> Steps:
    if state is ABSENT:
        return []
    envelope = unwrap(state)
    if envelope is not None:
        return [(step_of(name), item) for name, item in envelope.fields().items()]
    if isinstance(state, dict):
        return [(step_of(name), item) for name, item in state.items()]
    if (
        is_slots_pair(state) and state[1] is not None
    ):  # a pair defined by the class may end with None
        return [(step_of(name), item) for name, item in record.fields().items()]
    if isinstance(state, tuple | list):
        return [(f"state/{index}", item) for index, item in enumerate(state)]
    return [("state", state)] if state is not None else []


def _argument_steps(record: Record) -> Steps:
    args = record.args
    is_subclass = record.maker is not None and record.maker.qualname == _ARRAY_SUBCLASS
    if is_subclass and _subclass_array(record):
        return []
    if record.kind == "reconstructor" and len(args) == 2:
        base, value = args
        name = getattr(base, "name", "")
        if name == "object":
            return []
        if name in ("list", "dict") and isinstance(value, list | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return [(step_of(key), item) for key, item in items]
        return [("args/0", value)]
    if record.kind == "called" and len(args) == 2 and isinstance(args[1], tuple):
        called = [(f"args/{index}", item) for index, item in enumerate(args[1])]
        return [*called, ("callable", args[0])]
    steps = [(f"args/{index}", item) for index, item in enumerate(args)]
    return steps + [(f"kwargs/{step_of(key)}", item) for key, item in record.kwargs.items()]


def _zone_steps(zone: datetime.tzinfo) -> Steps:
    """The constructor arguments of a time zone that is a value by itself."""
    key = getattr(zone, "key", None)
    if key is not None:
        return [("args/0", key)]
    made = zone.__getinitargs__() if isinstance(zone, datetime.timezone) else ()  # type: ignore[attr-defined]
    return [(f"args/{index}", item) for index, item in enumerate(made)]


# The function by which pickles name a subclass of ndarray that derives from `Versioned`.
_ARRAY_SUBCLASS = "persist.versioned._array"
_MASKED_MAKERS = ("_mareconstruct", "_mrreconstruct")
_MAKERS = ("_reconstruct", *_MASKED_MAKERS)


def _mask_steps(record: Record) -> Steps:
    """The mask of a subclass of masked array, and its fill value if the file has one."""
    if record.maker is None or record.maker.name not in _MASKED_MAKERS:
        return []
    from persist._wire.pickle.numpy_rebuild import mask_of_parts

    state = record.state
    inner = state[0] if isinstance(state, tuple) and isinstance(state[0], tuple) else state
    mask = mask_of_parts(inner)
    steps: Steps = [] if mask is None else [("mask", mask)]
    if mask is not None and inner[6] is not None:
        fill = inner[6]  # nested lists are no fill value; asarray() could make them huge
        steps.append(
            ("fill_value", fill if isinstance(fill, list | tuple) else np.asarray(fill)[()])
        )
    return steps


def _subclass_array(record: Record) -> tuple[object, Steps, str] | None:
    """The array of an ndarray subclass, the rest of its state tuple, and the prefix of that rest."""
    maker = record.maker
    if maker is not None and maker.qualname == _ARRAY_SUBCLASS and len(record.args) == 2:
        if not isinstance(record.args[1], np.ndarray | LazyArray):
            return None
        return record.args[1], _state_steps(record, record.state), ""
    if maker is None or maker.name not in _MAKERS:
        return None
    state = record.state
    nested = isinstance(state, tuple) and bool(state) and isinstance(state[0], tuple)
    inner = state[0] if nested else state
    array = _array_in(inner)
    if array is None:
        return None
    first = 1 if nested else 5
    return array, [(str(index), state[index]) for index in range(first, len(state))], "state"


def _array_in(state: object) -> object:
    from persist._wire.pickle.numpy_rebuild import array_of_parts

    return array_of_parts(state)
