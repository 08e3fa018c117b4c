"""Natural paths: names for the values inside a tree.

A path consists of steps joined by ``/``: keys, attributes, indices. ``in`` and ``[]``
walk the requested path only. All paths are listed on demand only, since shared
references and cycles can make them too many. Walkers are iterative, and a path ends
where it would enter a value that it already contains.

`PackView` returns the value at an object's own path (its *leaf*) and the steps to its
children. It asks the packs, so that the objects of a framework look like the values
that they contain.
"""

from __future__ import annotations

import array as array_module
import contextvars
import datetime
import functools
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Any, TypeGuard

import numpy as np

from persist._envelope import unwrap
from persist._runtime.printing import is_deep
from persist.errors import FormatError, LimitError, PersistError, UnknownPathError
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

__all__ = [
    "PackView",
    "PathMapping",
    "described",
    "is_array",
    "is_series",
    "shared_references",
    "spending",
    "step_of",
]

Steps = list[tuple[str, Any]]

_COMPLETIONS = 10_000  # paths that a notebook offers
_NOTES = 50  # notes of packs that are kept, since a file may have many unusual records
_BUILT = 32  # nested "built" records that are followed
_CHECK_AFTER = 1 << 17  # values visited before `_has_too_many_paths` is asked
_SPELLED = 1 << 28  # total characters of all listed paths, since deep files have long paths
# Raised inside a pack if a record has other parts than any release of its class has written.
_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

_IN_STRUCTURE = frozenset(("_metadata",))  # attributes of a state dict that are no steps of a path
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
_PLAIN_KINDS = PRIMITIVES
_HOLDERS = frozenset((list, tuple, dict))
_PLAIN_OR_HOLDERS = _PLAIN_KINDS | _HOLDERS
_WIDE = 32  # items of a container whose answer is kept
_ITEMS = (*PRIMITIVES, complex, np.number, np.bool_)  # of a sequence that is one leaf
_SCALARS = (str, bytes, bytearray, int, float, complex, bool, type(None), np.generic)


def is_masked(value: Any) -> TypeGuard[np.ma.MaskedArray[Any, Any]]:
    """Return whether a value is a masked array, without importing `numpy.ma` for the test."""
    return "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray)


def is_array(value: object) -> bool:
    """Whether a leaf is an array (a 0-d array is an array, a scalar is not)."""
    return isinstance(value, np.ndarray | LazyArray | array_module.array)


def _ends(value: Any) -> bool:
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
        self._inside: dict[int, tuple[bytes, Any]] = {}
        self._steps: dict[int, tuple[Any, Any, Steps]] = {}
        self._seen_through: dict[int, tuple[Any, Any]] = {}

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

    def through(self, value: Any) -> Any:
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

    def look(self, value: Any) -> tuple[Any, Steps]:
        """Return (the leaf at the value's own path or ABSENT, the steps to its children)."""
        if _ends(value):
            return value, []
        value = self.through(value)
        known = self._steps.get(id(value))
        if known is not None and known[0] is value:
            return known[1], known[2]
        leaf, steps = self._look(value)
        if not isinstance(value, _SCALARS):
            self._steps[id(value)] = (value, leaf, steps)
        return leaf, steps

    def _look(self, value: Any) -> tuple[Any, Steps]:
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

    def key_seen(self, key: object) -> Any:
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
        if all(type(key) in _PLAIN_KINDS for key in value):
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

    def _array(self, array: np.ndarray[Any, Any]) -> tuple[Any, Steps]:
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

    def _object_fields(self, array: np.ndarray[Any, Any]) -> tuple[Any, Steps]:
        names = array.dtype.names or ()
        if array.ndim == 0:
            row = array[()]
            return ABSENT, [(name, row[name]) for name in names]
        return ABSENT, [(name, array[name]) for name in names]  # by column, like a table

    def _record(self, record: Record) -> tuple[Any, Steps]:
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

    def _built(self, record: Record) -> tuple[Any, Steps]:
        """A value to which BUILD applied a state that it cannot hold: show the value and the state."""
        below, depth = record.args[0], 0
        while isinstance(below, Record) and below.kind == "built" and depth < _BUILT:
            below, depth = below.args[0], depth + 1
        if depth == _BUILT:  # no writer nests them this deep: show each level with its arguments
            steps = [("args/0", record.args[0])]
            return ABSENT, _distinct([*steps, *_state_steps(record, record.state)])
        leaf, steps = self.look(record.args[0])
        return leaf, _distinct([*steps, *_state_steps(record, record.state)])


def is_lost(key: Any) -> bool:
    """Whether the step of a dict's key contains only a part of the key."""
    if isinstance(key, Record):
        return key_of(key) is ABSENT
    if not isinstance(key, tuple | frozenset):
        return False
    return is_deep(key) or any(map(is_lost, key))


def is_series(value: Any) -> bool:
    """Whether a sequence is one leaf: its items are plain values of one type.

    A history of losses or a shape is one value for whoever looks at a file. Its items can still
    be asked for by their paths.
    """
    if not isinstance(value, list | tuple | deque) or not value:
        return False
    kinds = {*map(type, value)}
    return len(kinds) == 1 and issubclass(kinds.pop(), _ITEMS)


def _item_of(series: Any, step: str) -> Any:
    """The item of a series by its index as text; ABSENT if there is none."""
    if not step.isascii() or not step.isdigit() or len(step) > 10 or str(int(step)) != step:
        return ABSENT
    return series[int(step)] if int(step) < len(series) else ABSENT


def _is_plain_holder(value: Any) -> bool:
    """Whether a container holds plain values only."""
    if type(value) is dict:
        return {*map(type, value.values())} <= _PLAIN_KINDS and is_flat(value)
    return {*map(type, value)} <= _PLAIN_KINDS


def _holds_none(value: Any, known: dict[int, bool]) -> bool:
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
    if kinds <= _PLAIN_KINDS:
        return kind is not dict or is_flat(value)
    if not kinds <= _PLAIN_OR_HOLDERS or (kind is dict and not is_flat(value)):
        return False
    for item in items:
        if type(item) in _HOLDERS:
            if len(item) < _WIDE:
                found = _is_plain_holder(item)
            else:
                maybe = known.get(id(item))
                found = known[id(item)] = _is_plain_holder(item) if maybe is None else maybe
            if not found:
                return False
    return True


def is_flat(value: dict[Any, Any]) -> bool:
    """Whether all keys of a dict are plain."""
    return {*map(type, value)} <= _PLAIN_KINDS


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


def _subclass_array(record: Record) -> tuple[Any, Steps, str] | None:
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


def _array_in(state: Any) -> Any:
    from persist._wire.pickle.numpy_rebuild import array_of_parts

    return array_of_parts(state)


def unknown_path(name: str, names: list[str], file: str | None) -> UnknownPathError:
    """Return the error for a path that does not exist, with the most similar paths."""
    from difflib import get_close_matches

    last = name.rpartition("/")[2]
    near = [one for one in names if last and one.rpartition("/")[2] == last]
    near += get_close_matches(name, names[:10_000], 5, 0.5)
    shown = list(dict.fromkeys(near))[:5] or names[:5]
    if not names:
        cure = "There are no paths at all."
    elif near:
        cure = f"The nearest are: {', '.join(map(repr, shown))}."
    else:
        cure = f"There are {len(names):,}, the first of them: {', '.join(map(repr, shown))}."
    return UnknownPathError(
        f"nothing is at {name[:200]!r}.", file=file, remedy=cure, path=name, near=shown
    )


class PathMapping(Mapping[str, Any]):
    """The arrays, or the scalars, of a tree under their natural paths.

    ``name in names`` and ``names[name]`` walk that path only; iteration lists all paths.

    Args:
        tree: returns the tree; called on first use.
        looker: returns the leaf and the children of a value.
        wanted: whether a leaf belongs into this mapping.
        limit: the largest number of paths that are listed; more raise `LimitError`.
        file: the file's name, for errors.
        find: returns the value at a path without building the tree, or None if the tree is needed.
        each_once: list what is below a shared container only at its shortest path, in a time
            linear in the references of the file. False lists it at every path that leads to it,
            for formats that hold nothing but names and arrays.
    """

    def __init__(
        self,
        tree: Callable[[], Any],
        looker: PackView,
        wanted: Callable[[Any], bool],
        limit: int = 1_000_000,
        file: str | None = None,
        find: Callable[[str], Any] | None = None,
        *,
        each_once: bool = True,
    ) -> None:
        self._make = tree
        self._each_once = each_once
        self._find_without_tree = find
        self._looker = looker
        self._wanted = wanted
        self._limit = limit
        self._file = file
        self._listed: dict[str, Any] | None = None
        self._hoisted: dict[str, Any] | None = None
        self._barren: dict[
            int, bool
        ] = {}  # id of a container -> whether nothing in it holds arrays
        self._plain: dict[int, bool] = {}  # id of a wide container -> whether it is plain
        self._has_records = False  # found while all paths were walked

    @functools.cached_property
    def _tree(self) -> Any:
        return _as_root(self._make(), self._looker)

    def __getitem__(self, name: str) -> Any:
        found = self.get(name, ABSENT)
        if found is ABSENT:
            raise self._unknown(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value at a path, or the default."""
        if not isinstance(name, str):
            return default
        if self._listed is not None and name in self._listed:
            return self._listed[name]
        value = None if self._find_without_tree is None else self._find_without_tree(name)
        if value is not None:
            return value
        return next(self._find(name), default)

    def _unknown(self, name: Any) -> UnknownPathError:
        if not isinstance(name, str):
            return UnknownPathError(
                f"a path is a text, not a {type(name).__name__}.", file=self._file, path=name
            )
        try:
            names = list(self._list())
        except LimitError:
            names = []
        return unknown_path(name, names, self._file)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if self._find_without_tree is not None and self._find_without_tree(name) is not None:
            return True
        return any(True for _ in self._find(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._list())

    def __len__(self) -> int:
        return len(self._list())

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return list(islice(self._list(), _COMPLETIONS))
        except LimitError:
            return []

    def _repr_html_(self) -> str:
        from persist._trees.html import mapping_html
        from persist._trees.sparks import Sparks

        is_far = self._file is not None and "://" in self._file  # nothing is fetched to draw it
        return mapping_html(
            f"natural paths of {self._file or 'a tree'}", self, None if is_far else Sparks()
        )

    def __repr__(self) -> str:
        return f"<natural paths of {self._file or 'a tree'}>"

    def _find(self, name: str) -> Iterator[Any]:
        if self._listed is not None and name in self._listed:
            yield self._listed[name]
            return
        for leaf in self._walk_to(name):
            if self._wanted(leaf):
                yield leaf
        hoisted = self._all_hoisted()
        for own, value in hoisted.items():
            if name == own or name.startswith(f"{own}/"):
                for leaf in self._below(value, name[len(own) + 1 :] if name != own else ""):
                    if self._wanted(leaf):
                        yield leaf

    @functools.cached_property
    def _flat(self) -> dict[str, Any]:
        """The root if it is a dict with str keys, which then are paths themselves; else ``{}``.

        The state of a large network is a dict of 20,000 arrays. No steps are built for those.
        """
        root: dict[str, Any] = self._tree
        is_plain = type(root) is dict or (
            type(root) is OrderedDict and not vars(root).keys() - _IN_STRUCTURE
        )
        if not is_plain or {*map(type, root)} != {str} or "" in root:
            return {}
        return root

    @functools.cached_property
    def _arrays(self) -> dict[str, Any] | None:
        """All arrays of a flat root whose other values are plain, at most one level deep; else None."""
        arrays = {name: value for name, value in self._flat.items() if _ends(value)}
        if not arrays:
            return None
        others = [value for name, value in self._flat.items() if name not in arrays]
        below = [item for part in others if type(part) is dict for item in (*part, *part.values())]
        kinds = {type(item) for item in (*others, *below)}
        return arrays if kinds <= {dict, *PRIMITIVES} and dict not in map(type, below) else None

    def _array_of_flat_root(self, name: str) -> Any:
        """The array of a flat root under this name, if no other path can be equal; else None."""
        found = self._flat.get(name)
        if found is None or not _ends(found):
            return None
        cut = name.find("/")
        while cut >= 0:
            if name[:cut] in self._flat:
                return None
            cut = name.find("/", cut + 1)
        return found

    def _walk_to(self, name: str) -> Iterator[Any]:
        found = self._array_of_flat_root(name)
        if found is not None:
            yield found
            return
        yield from self._below(self._tree, name)
        base, mark, number = name.rpartition("~")
        if mark and number.isdigit() and int(number) > 1:
            # The path occurs at several places of the tree; "~2" selects the second.
            same = list(self._below(self._tree, base))
            yield from same[int(number) - 1 : int(number)]

    def _below(self, root: Any, name: str) -> Iterator[Any]:
        """Yield every leaf whose path from ``root`` is ``name`` (keys may hold slashes)."""
        todo: list[tuple[Any, str, tuple[int, ...]]] = [(root, name, ())]
        while todo:
            value, rest, passed = todo.pop()
            record = value
            value = self._looker.through(value)
            if id(value) in passed:
                continue
            if value is not record and (rest + "/").startswith(RECORD_STEP + "/"):
                leaf, steps = self._looker.raw(record)
                value, rest = record, rest[len(RECORD_STEP) + 1 :]
            else:
                leaf, steps = self._looker.look(value)
                if rest and isinstance(value, bytes):
                    value = self._looker.inside(value)
                    leaf, steps = self._looker.look(value)
            if not rest and leaf is not ABSENT:
                yield leaf
            if rest and is_series(leaf):
                step, _, below = rest.partition("/")
                item = _item_of(leaf, step)
                if item is not ABSENT:
                    todo.append((item, below, passed))
            found: list[tuple[Any, str, tuple[int, ...]]] = []
            table = self._table(value, steps) if steps else {}
            if not passed and rest and "" in table:  # an empty key of the root adds no slash
                found.append((table[""], rest, (id(value),)))
            passed = (*passed, id(value))
            found += [(item, below, passed) for item, below in _followed(table, rest)]
            if rest and not found and value is not record:  # as it is stored: as plans name it
                table = self._table(record, self._looker.raw(record)[1])
                found = [(item, below, passed) for item, below in _followed(table, rest)]
            todo += found

    def _table(self, value: Any, steps: Steps) -> dict[str, Any]:
        tables = self._looker.tables
        known = tables.get(id(value))
        if known is None or known[0] is not value:
            known = tables[id(value)] = (value, dict(steps))
        return known[1]

    def _list(self) -> dict[str, Any]:
        if self._listed is None and self._wanted is is_array:
            arrays = self._arrays
            self._listed = None if arrays is None or len(arrays) > self._limit else arrays
        if self._listed is None:
            found: dict[str, Any] = {}
            for path, leaf in self.walk():
                if not self._wanted(leaf):
                    continue
                if len(found) >= self._limit:
                    raise LimitError(
                        f"more than {self._limit:,} paths lead through it.",
                        file=self._file,
                        remedy='Ask for the paths you want, or raise limits={"paths": ...}.',
                    )
                found[path if path not in found else _free(found, path)] = leaf
            self._listed = found
        return self._listed

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Yield every (path, leaf) of either kind, in the order of the file."""
        done: set[int] = set()
        yield from self._walk("", self._tree, done)
        if not (self._has_records or isinstance(self._tree, View)):
            return  # only the view of a record hoists anything
        for own, value in self._all_hoisted().items():
            yield from self._walk(own, value, done)

    def _walk(self, start: str, root: Any, done: set[int]) -> Iterator[tuple[str, Any]]:
        """The same below a root; ``done`` are the containers that other roots have listed."""
        visited = spelled = 0
        most, look, through = 4 * self._limit, self._looker.look, self._looker.through
        above: set[int] = set()  # ids of the containers on the current path
        is_for_arrays = self._wanted is is_array
        barren = self._barren
        shortest = self._shortest(root) if self._each_once else None
        parents: list[tuple[str, Any, Iterator[tuple[str, Any]]]] = [
            ("", None, iter([(start, root)]))
        ]
        while parents:
            prefix, holder, steps = parents[-1]
            for step, value in steps:
                path = prefix + step
                visited += 1
                spelled += len(path)
                endless = (
                    shortest is None and visited == _CHECK_AFTER and self._has_too_many_paths(root)
                )
                if visited > most or spelled > _SPELLED or endless:
                    raise LimitError(
                        f"more than {most if endless else visited - 1:,} values would be "
                        f"visited, whose paths take more than {spelled - len(path):,} characters.",
                        file=self._file,
                        remedy='Ask for the paths you want, or raise limits={"paths": ...}.',
                    )
                if _ends(value):
                    yield path, value
                    continue
                if is_for_arrays and type(value) in _HOLDERS:
                    if id(value) not in barren:  # wide and shared: looked through once
                        barren[id(value)] = _holds_none(value, self._plain)
                    if barren[id(value)]:
                        continue
                if isinstance(value, Record):
                    self._has_records = True
                    value = through(value)
                if id(value) in above:
                    continue
                leaf, below = look(value)
                if leaf is not ABSENT:
                    yield path, leaf
                if below and shortest is not None:
                    is_first = holder is None or shortest.get(id(value)) == (id(holder), step)
                    below = below if is_first and id(value) not in done else []
                if below:
                    done.add(id(value))
                    above.add(id(value))
                    if not length_hint(steps):  # last child: free the prefix, to save memory
                        parents[-1] = ("", holder, steps)
                    parents.append((f"{path}/" if path else "", value, iter(below)))
                    break
            else:  # all children of the container are done
                parents.pop()
                above.discard(id(holder))

    def _shortest(self, root: Any) -> dict[int, tuple[int, str]]:
        """The last step of the shortest path to each container: (id of the one above, step).

        Found level by level, each container once; of several paths of one length, it is the
        first in the order of the file.
        """
        look, through = self._looker.look, self._looker.through
        is_for_arrays = self._wanted is is_array
        barren = self._barren
        found: dict[int, tuple[int, str]] = {}
        top = through(root)
        level, edges = [top], 0
        entered = {id(top)}
        while level:
            following = []
            for holder in level:
                steps = look(holder)[1]
                edges += len(steps)
                if edges > 4 * self._limit:
                    return found  # the walk itself reports that it is too much
                for step, value in steps:
                    if type(value) in _PLAIN_KINDS or id(value) in entered or _ends(value):
                        continue
                    if is_for_arrays and type(value) in _HOLDERS:
                        barren[id(value)] = _holds_none(value, self._plain)
                        if barren[id(value)]:
                            entered.add(id(value))  # wide and shared: looked through once
                            continue
                    value = through(value)
                    if id(value) in entered or isinstance(value, _SCALARS):
                        continue
                    entered.add(id(value))
                    found[id(value)] = (id(holder), step)
                    following.append(value)
            level = following
        return found

    def _has_too_many_paths(self, root: Any) -> bool:
        """Whether shared references multiply the paths beyond the limit; found without walking them.

        The paths below each value are counted once. Returns False if there may be a cycle, since
        the count is undefined then; the walk itself finds out.
        """
        most = 4 * self._limit
        counts: dict[int, int] = {}
        entered: set[int] = set()
        todo = [self._looker.through(root)]
        while todo:
            value = todo[-1]
            key = id(value)
            leaf, steps = self._looker.look(value)
            below = [
                through
                for _, item in steps
                if not isinstance(through := self._looker.through(item), _SCALARS)
            ]
            if key not in entered:
                entered.add(key)
                fresh = [item for item in below if id(item) not in counts]
                if any(id(item) in entered for item in fresh):
                    return False  # possibly a cycle
                if fresh:
                    todo += {id(item): item for item in fresh}.values()
                    continue
            todo.pop()
            if key not in counts:
                own = len(steps) - len(below) + (leaf is not ABSENT)
                counts[key] = own + sum(counts.get(id(item), 0) for item in below)
                if counts[key] > most:
                    return True
        return False

    def _all_hoisted(self) -> dict[str, Any]:
        """Values listed by their own name at the root; found once, by a walk over all objects."""
        if self._hoisted is None and (not self._looker.has_views or self._arrays is not None):
            self._hoisted = {}
        if self._hoisted is None:
            found: dict[int, tuple[str, Any]] = {}
            seen: set[int] = set()
            todo = [self._tree]
            while todo:
                value = todo.pop()
                if _ends(value):
                    seen.add(id(value))
                    continue
                if type(value) in _PLAIN_KINDS or id(value) in seen:
                    continue
                if _holds_none(value, self._plain):
                    seen.add(id(value))
                    continue
                value = self._looker.through(value)
                if isinstance(value, _SCALARS) or id(value) in seen:
                    continue
                seen.add(id(value))
                if isinstance(value, View):
                    items = value.hoisted() if callable(value.hoisted) else value.hoisted
                    for own, item in items:
                        found.setdefault(id(item), (own, item))
                todo += [item for _, item in reversed(self._looker.look(value)[1])]
            self._hoisted = {}
            for own, item in found.values():
                if id(self._looker.through(item)) not in seen:
                    self._hoisted[_free(self._hoisted, own)] = item
        return self._hoisted


def _followed(table: dict[str, Any], rest: str) -> Iterator[tuple[Any, str]]:
    """Yield the children on a path, each with the rest of the path (keys may hold slashes)."""
    if rest in table:
        yield table[rest], ""
    cut = rest.find("/")
    while cut >= 0:
        step = rest[:cut]
        if step in table:
            yield table[step], rest[cut + 1 :]
        cut = rest.find("/", cut + 1)


def _as_root(tree: object, looker: PackView) -> Any:
    """The root for naming: if its view has a value and parts, the value may get a name (`alone`)."""
    seen = looker.through(tree)
    if not isinstance(seen, View) or not seen.alone or seen.value is ABSENT:
        return tree
    return View(
        parts={seen.alone: seen.value, **seen.parts},
        hoisted=seen.hoisted,
        structure=seen.structure,
    )


def described(
    tree: Any, looker: PackView, most: int, keys: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the structure that each view describes, under the first path that leads to it.

    Args:
        tree: the tree.
        looker: returns the leaf and the children of a value.
        most: the largest number of values that are visited.
        keys: is filled with the classes of keys that are instances, by the path of their dict.
    """
    structures: dict[str, Any] = {}
    if not looker.has_views:
        return structures
    seen: set[int] = set()
    known: dict[int, bool] = {}
    # A value with its parents as a linked list: (the parents above, step).
    todo: list[tuple[tuple[Any, str] | None, Any]] = [(None, tree)]
    while todo and len(seen) < most:
        parents, value = todo.pop()
        if id(value) in seen:
            continue
        if _holds_none(value, known):
            seen.add(id(value))  # wide and shared: looked through once
            continue
        value = looker.through(value)
        if isinstance(value, _SCALARS) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, View) and value.structure is not None:
            structures[_path_of(parents)] = (
                value.structure() if callable(value.structure) else value.structure
            )
        steps = looker.look(value)[1]
        if keys is not None and isinstance(value, dict):
            records = [key.qualname for key in value if isinstance(key, Record)]
            for name in sorted(set(records)):
                path = _path_of(parents)
                keys[path] = f"{keys[path]}, {name}" if path in keys else name
        todo += [((parents, step), item) for step, item in reversed(steps)]
    return structures


def shared_references(tree: Any, looker: PackView, most: int) -> dict[str, str]:
    """Return further paths to containers that are listed at their shortest path only.

    Args:
        tree: the tree.
        looker: returns the leaf and the children of a value.
        most: the largest number of references that are followed.

    Returns:
        Path of a reference -> the shortest path of what it refers to; of at most 1,000.
    """
    found: dict[str, str] = {}
    top = _as_root(tree, looker)
    level = [looker.through(top)]
    above: dict[int, tuple[int, str]] = {}
    entered, edges = {id(level[0])}, 0
    empty: set[int] = set()  # sequences of plain values and the like, which are leaves
    while level and edges < most and len(found) < _REFERENCES:
        following = []
        for holder in level:
            for step, value in looker.look(holder)[1]:
                edges += 1
                if type(value) in _PLAIN_KINDS or id(value) in empty or _ends(value):
                    continue
                value = looker.through(value)
                if isinstance(value, _SCALARS) or id(value) in empty:
                    continue
                if id(value) not in entered:
                    if looker.look(value)[0] is not ABSENT:  # listed at every reference
                        empty.add(id(value))
                    entered.add(id(value))
                    above[id(value)] = (id(holder), step)
                    following.append(value)
                elif len(found) < _REFERENCES:
                    base = _spelled(above, id(holder))
                    found[f"{base}/{step}" if base else step] = _spelled(above, id(value))
        level = following
    return found


_REFERENCES = 1000


def _spelled(above: dict[int, tuple[int, str]], key: int) -> str:
    """The path of a container by the last steps to it and to those above it."""
    steps: list[str] = []
    while key in above:
        key, step = above[key]
        steps.append(step)
    return "/".join(reversed(steps))


def _path_of(parents: tuple[Any, str] | None) -> str:
    """The path of a linked list of parents; built on demand only, since paths may be long."""
    path: str | None = None
    steps: list[str] = []
    while parents is not None:
        parents, step = parents
        steps.append(step)
    for step in reversed(steps):
        path = f"{path}/{step}" if path else step
    return path or ""


def _free(taken: Mapping[str, object], path: str) -> str:
    if path not in taken:
        return path
    number = 2
    while f"{path}~{number}" in taken:
        number += 1
    return f"{path}~{number}"
