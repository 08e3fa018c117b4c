"""Tree -> graph: a flat table of nodes, and the arrays that it refers to.

One walk, depth first and without recursion; parts get their numbers before
wholes. Every value that may be shared has one cell ``[n]``, a list that all who
refer to it hold; its number is filled in when the value is complete. What the
nodes mean is said in ``docs/container.md``, section 6.
"""

from __future__ import annotations

import array as array_module
import datetime
import fractions
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import chain
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

import numpy as np

from persist._container import dtypes
from persist._container.members import Item
from persist._container.names import distinct
from persist._container.packs import Band
from persist._container.text import bits
from persist._envelope import CODEC, FIELDS, Envelope, unwrap
from persist.errors import FormatError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record, is_slots_pair, step_of

__all__ = [
    "ATOMS",
    "FACTORIES",
    "Encoder",
    "Frame",
    "by_index",
    "by_key",
    "opens",
    "plain_list",
    "through",
]

ATOMS: frozenset[type] = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
_PLAIN = frozenset({np.ndarray})
_MANY = 8  # arrays from which on they are looked at together
_IN_LINE = 1024  # bytes from which on they are a member
FACTORIES: dict[Any, str] = {
    kind: kind.__name__
    for kind in (list, dict, int, float, set, str, tuple, bool, bytes, frozenset, complex)
}

Cell = Any
Stepper = Callable[["Frame", int], "str | None"]


class Frame:
    """A container whose parts are being encoded."""

    # What few frames need; an instance has it when it is set.
    is_late = False
    prefix: str | None = None
    hint: tuple[int, Stepper] | None = None
    cells: list[Any]
    skip: int

    def __init__(
        self,
        parent: Frame | None,
        cells: list[Any],
        parts: Iterator[Any],
        stepper: Stepper,
        keys: Any = None,
        immutable: bool = False,
    ) -> None:
        self.parent = parent
        self.at: int = 0 if parent is None else len(parent.cells) - parent.skip  # its place there
        self.cells = cells
        self.skip = len(cells)
        self.parts = parts
        self.stepper = stepper
        self.keys = keys
        self.immutable = immutable
        self.ref: list[Any] = [None]


class _StateOf:
    """In the memo: a state that stands inside its record's node."""

    __slots__ = ("record",)

    def __init__(self, record: list[Any]) -> None:
        self.record = record


# Steps from a container to a part, by the part's place among its cells.


def by_index(frame: Frame, place: int) -> str | None:
    """The step to an item: its index."""
    return str(place)


def by_key(frame: Frame, place: int) -> str | None:
    """The step to a value: its key."""
    return frame.keys[place]  # type: ignore[no-any-return]


def _by_pair(frame: Frame, place: int) -> str | None:
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(distinct([step_of(key) for key in frame.keys]))
    step: str = frame.keys[place // 2]
    return step if place % 2 else f"{step}/key"


class _Steps(list[str]):
    """Keys that were made steps already."""


def through(frame: Frame, place: int) -> str | None:
    """No step: the part has the path of the whole."""
    return None


def _by_record(frame: Frame, place: int) -> str | None:
    record: Record = frame.keys
    if place == 0:
        return None if record.kind == "reconstructor" else "args"
    if place == 1:
        return "kwargs"
    if place in (2, 3) or isinstance(record.state, dict) or is_slots_pair(record.state):
        return None
    return None if unwrap(record.state) is not None else "state"


def _by_layer(frame: Frame, place: int) -> str | None:
    """An envelope's values: fields go by their names, what a codec gave as a state does."""
    envelope: Envelope = frame.keys
    is_codec = place > 0 and envelope.layers[place - 1].kind == CODEC
    return "state" if is_codec and not isinstance(envelope.values[place - 1], dict) else None


def _by_base(frame: Frame, place: int) -> str | None:
    """``copyreg._reconstructor``'s arguments: a base class, and what it holds."""
    return None if place and type(frame.keys[1]) in (list, dict) else f"args/{max(place - 1, 0)}"


def _by_place(frame: Frame, place: int) -> str | None:
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(
            "/".join(map(str, at)) for at in np.ndindex(*frame.keys)
        )  # the index in each axis
    return frame.keys[place] or None


def _by_mask(frame: Frame, place: int) -> str | None:
    return (None, "mask", "fill_value")[place]


class Encoder:
    """The walk over one tree.

    Args:
        name: of the target, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.kept: list[Any] = []  # what was made on the way: an id must not be given twice
        self.layouts: dict[tuple[str, ...], Any] = {}
        self.layout_list: list[tuple[str, ...]] = []
        self.shapes: dict[Any, int] = {}
        self.shape_list: list[dict[str, Any]] = []
        self.pending: set[int] = set()  # nodes that a reader cannot make when it meets them
        self.late: set[int] = set()
        self.items: list[Item] = []
        self.bands: list[Band] = []
        self.places: dict[int, tuple[Frame, int]] = {}  # shape -> where its first record stands
        self.globals: set[str] = set()
        self.dtypes: dict[Any, Any] = {}
        self.has_long_double = False

    # The walk.

    def walk(self, root: Any) -> Cell:
        return self.cells_of(Frame(None, [], iter((root,)), through))[0]

    def cells_of(self, frame: Frame) -> list[Cell]:
        """Encode the parts of a frame, and return their cells."""
        memo, pending, openers = self.memo, self.pending, _OPENERS
        while True:
            cells = frame.cells
            for value in frame.parts:
                kind = type(value)
                if kind in ATOMS:
                    cells.append(value)
                    continue
                ref = memo.get(id(value))
                if ref is not None:
                    if type(ref) is _StateOf:
                        ref = self.state_node(value, ref)
                    number = ref[0]
                    if number is None or number in pending:
                        frame.is_late = True
                    cells.append(ref)
                    continue
                opener = openers.get(kind) or self.opener_of(value, frame)
                inner = opener(self, frame, value)
                if inner is not None:
                    memo[id(value)] = inner.ref
                    cells.append(inner.ref)
                    frame = inner
                    break
            else:
                outer = frame.parent
                if outer is None:
                    return cells
                self.complete(frame)
                if frame.ref[0] in pending:
                    outer.is_late = True
                frame = outer

    def complete(self, frame: Frame) -> None:
        """All parts are there: the node gets its number."""
        number = len(self.nodes)
        cells = frame.cells
        if cells[0] == "fields" and not frame.is_late:
            frame.is_late = any(type(c) is list and c[0] in self.late for c in cells[frame.skip :])
        if frame.is_late:
            cells.insert(0, "late")
            self.late.add(number)
            if frame.immutable:
                self.pending.add(number)
        self.nodes.append(cells)
        frame.ref[0] = number

    def is_quick(self, values: Iterable[Any], cells: list[Any]) -> bool:
        """Add the cells of values that need no walk: plain ones, and what is complete already.

        Where it stops half way, what it has made is in the memo and no loss.
        """
        memo, pending, nodes = self.memo, self.pending, self.nodes
        for value in values:
            kind = type(value)
            if kind in ATOMS:
                cells.append(value)
                continue
            ref = memo.get(id(value))
            if ref is None:
                if kind is not tuple or not ATOMS.issuperset(map(type, value)):
                    return False
                ref = memo[id(value)] = [len(nodes)]
                nodes.append(["tuple", *value])
            elif type(ref) is _StateOf or ref[0] is None or ref[0] in pending:
                return False
            cells.append(ref)
        return True

    def add(self, frame: Frame, value: Any, node: list[Any]) -> None:
        """Add a node that has no parts of its own."""
        ref = self.memo[id(value)] = [len(self.nodes)]
        self.nodes.append(node)
        frame.cells.append(ref)

    def add_arrays(
        self, frame: Frame, value: Any, head: list[Any], steps: Any, arrays: list[Any]
    ) -> bool:
        """Add a container of nothing but arrays, none of them met before, all at once."""
        ids = list(map(id, arrays))
        if len(set(ids)) != len(ids) or not self.memo.keys().isdisjoint(ids):
            return False
        if not dtypes.SAID_BY_NPY.issuperset([array.dtype.char for array in arrays]):
            return False
        prefix = self.path(frame, len(frame.cells) - frame.skip)
        paths = [f"{prefix}/{step}" for step in steps] if prefix else list(map(str, steps))
        first = len(self.nodes)
        numbers = range(first, first + len(arrays))
        refs: list[Any] = [[number] for number in numbers]
        self.memo.update(zip(ids, refs, strict=True))
        self.items += map(Item, numbers, paths, arrays)
        self.nodes += [None] * len(arrays)  # filled in when all arrays are known
        self.add(frame, value, [*head, *refs])
        return True

    def state_node(self, state: Any, mark: _StateOf) -> list[Any]:
        ref = self.memo[id(state)] = [len(self.nodes)]
        number = mark.record[0]
        if number is None or number in self.pending:
            self.pending.add(len(self.nodes))
            self.late.add(len(self.nodes))
            self.nodes.append(["late", "stateof", mark.record])
        else:
            self.nodes.append(["stateof", mark.record])
        return ref

    def open(self, frame: Frame, value: Any) -> Frame | None:
        """Begin a value that was not met before; None where that is all of it."""
        opener = _OPENERS.get(type(value)) or self.opener_of(value, frame)
        inner = opener(self, frame, value)
        if inner is not None:
            self.memo[id(value)] = inner.ref
        return inner

    def path(self, frame: Frame, place: int) -> str:
        """The path of a part, by its place in the frame."""
        step = frame.stepper(frame, place)
        prefix = self.prefix(frame)
        if step is None:
            return prefix
        return f"{prefix}/{step}" if prefix else step

    def prefix(self, frame: Frame) -> str:
        """The path of the container whose parts a frame encodes."""
        unknown = []
        outer: Frame | None = frame
        while outer is not None and outer.prefix is None:
            unknown.append(outer)
            outer = outer.parent
        prefix = "" if outer is None else outer.prefix or ""
        for inner in reversed(unknown):
            if inner.parent is not None:
                step = inner.parent.stepper(inner.parent, inner.at)
                if step is not None:
                    prefix = f"{prefix}/{step}" if prefix else step
            inner.prefix = prefix
        return prefix

    def opener_of(self, value: Any, frame: Frame) -> Opener:
        if isinstance(value, np.generic):
            return _scalar
        if isinstance(value, np.dtype):
            return _dtype
        if isinstance(value, np.memmap):
            return _array
        if isinstance(value, LazyArray):  # a tensor: read, it shows what memory it shares
            return _read
        kind = type(value)
        where = self.path(frame, len(frame.cells) - frame.skip)
        raise FormatError(
            f"an object of class {kind.__module__}.{kind.__qualname__} cannot stand in a container.",
            file=self.name or None,
            where=f"at {where!r}" if where else "at the root",
            remedy="Register its class or turn it into plain values, arrays or a Record.",
        )

    # Layouts and shapes.

    def layout(self, keys: tuple[Any, ...]) -> int | None:
        """The number of a list of keys, or None where they are not all plain text."""
        if not _TEXT.issuperset(map(type, keys)):
            return None
        known = self.layouts.get(keys, self)
        if known is not self:
            return known  # type: ignore[no-any-return]
        number: int | None = len(self.layout_list)
        try:
            "".join(keys).encode()
        except UnicodeEncodeError:  # lone surrogates: such keys are cells
            number = None
        else:
            self.layout_list.append(keys)
        self.layouts[keys] = number
        return number

    def shape(self, frame: Frame, record: Record, fields: int | None) -> int:
        cls, maker = record.cls, record.maker
        key: tuple[Any, ...] = (cls.module, cls.name, record.kind, record.version, fields)
        if maker is not None:
            key += (maker.module, maker.name)
        number = self.shapes.get(key)
        if number is None:
            number = self.shapes[key] = len(self.shape_list)
            self.places[number] = (frame, len(frame.cells) - frame.skip)
            shape: dict[str, Any] = {
                "class": [cls.module, cls.name],
                "kind": record.kind,
                "version": record.version,
            }
            self.globals.add(cls.qualname)
            if maker is not None:
                shape["maker"] = [maker.module, maker.name]
                self.globals.add(maker.qualname)
            if fields is not None:
                shape["fields"] = fields
            self.shape_list.append(shape)
        return number

    def dtype_text(self, dtype: np.dtype[Any]) -> Any:
        """What stands for a dtype inside a node."""
        known = self.dtypes.get(id(dtype))
        if known is None:
            what = dtypes.describe(dtype)
            self.kept.append(dtype)
            self.has_long_double |= dtypes.is_long_double(dtype)
            if isinstance(what, dict):
                self.nodes.append(["dtype", what])
                what = [len(self.nodes) - 1]
            known = self.dtypes[id(dtype)] = what
        return known

    def say(self, dtype: np.dtype[Any]) -> None:
        """Describe a dtype before what refers to it, if it may be referred to."""
        if dtype.char not in dtypes.SAID_BY_NPY:
            self.dtype_text(dtype)

    def fresh(self, value: Any) -> Any:
        """Keep alive what was made on the way."""
        self.kept.append(value)
        return value


Opener = Callable[[Encoder, Frame, Any], "Frame | None"]
_OPENERS: dict[Any, Opener] = {}


def opens(*kinds: Any) -> Callable[[Opener], Opener]:
    """Register how values of these exact types are encoded."""

    def register(opener: Opener) -> Opener:
        _OPENERS.update(dict.fromkeys(kinds, opener))
        return opener

    return register


# Containers.


@opens(list)
def plain_list(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    """Begin a list; of arrays alone, all at once."""
    if ATOMS.issuperset(map(type, value)):
        encoder.add(frame, value, ["list", *value])
        return None
    if (
        len(value) >= _MANY
        and _PLAIN.issuperset(map(type, value))
        and encoder.add_arrays(frame, value, ["list"], range(len(value)), value)
    ):
        return None
    return Frame(frame, ["list"], iter(value), by_index)


@opens(tuple)
def _tuple(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    if ATOMS.issuperset(map(type, value)):
        encoder.add(frame, value, ["tuple", *value])
        return None
    stepper: Stepper = by_index
    keys = None
    if frame.hint is not None and frame.hint[0] == id(value):
        stepper, keys = frame.hint[1], value
        if stepper is _by_layer:
            keys = unwrap(value)
    elif frame.stepper is _by_layer and (place := len(frame.cells) - frame.skip):
        layer = frame.keys.layers[place - 1]
        if layer.kind == FIELDS:
            stepper, keys = by_key, layer.names
    return Frame(frame, ["tuple"], iter(value), stepper, keys, immutable=True)


@opens(dict)
def _dict(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    keys = tuple(value)
    layout = encoder.layout(keys)
    if layout is None:
        return Frame(frame, ["map"], chain.from_iterable(value.items()), _by_pair, keys)
    if ATOMS.issuperset(map(type, value.values())):
        encoder.add(frame, value, ["dict", layout, *value.values()])
        return None
    if (
        len(value) >= _MANY
        and _PLAIN.issuperset(map(type, value.values()))
        and encoder.add_arrays(frame, value, ["dict", layout], keys, list(value.values()))
    ):
        return None
    return Frame(frame, ["dict", layout], iter(value.values()), by_key, keys)


@opens(set, frozenset)
def _set(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    items = list(value)
    if len(set(map(type, items))) == 1 and type(items[0]) in (int, str, bytes):
        items.sort()  # equal trees give equal bytes
    kind = type(value).__name__
    return Frame(frame, [kind], iter(items), by_index, None, kind == "frozenset")


@opens(deque)
def _deque(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    return Frame(frame, ["deque", value.maxlen], iter(value), by_index)


@opens(OrderedDict)
def _ordered_dict(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    keys = [None, *value]
    attributes = encoder.fresh(dict(vars(value))) if vars(value) else None
    parts = chain((attributes,), chain.from_iterable(OrderedDict.items(value)))
    return Frame(frame, ["OrderedDict"], parts, _by_late_pair, keys)


def _by_late_pair(frame: Frame, place: int) -> str | None:
    """Attributes first, then keys and values."""
    if not place:
        return None
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(distinct([step_of(key) for key in frame.keys[1:]]))
    step: str = frame.keys[(place - 1) // 2]
    return f"{step}/key" if place % 2 else step


@opens(Counter)
def _counter(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    keys = tuple(value)
    return Frame(frame, ["Counter"], chain.from_iterable(dict.items(value)), _by_pair, keys)


@opens(defaultdict)
def _defaultdict(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    factory = value.default_factory
    if factory is not None and factory not in FACTORIES:
        raise FormatError(
            f"a defaultdict with the factory {factory!r} cannot stand in a container.",
            file=encoder.name or None,
            where=f"at {encoder.path(frame, len(frame.cells) - frame.skip)!r}",
            remedy=f"Use one of the built-in types {', '.join(FACTORIES.values())}.",
        )
    cells = ["defaultdict", None if factory is None else FACTORIES[factory]]
    parts = chain.from_iterable(value.items())
    return Frame(frame, cells, parts, _by_pair, tuple(value))


# Records and names.


@opens(Record)
def _record(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    state = value.state
    if (
        type(state) is dict
        and not (value.args or value.kwargs or value.listitems or value.dictitems)
        and id(state) not in encoder.memo
    ):
        keys = tuple(state)
        layout = encoder.layout(keys)
        if layout is not None:
            cells: list[Any] = ["record", encoder.shape(frame, value, layout)]
            if encoder.is_quick(state.values(), cells):
                ref = encoder.memo[id(value)] = [len(encoder.nodes)]
                encoder.memo[id(state)] = _StateOf(ref)
                encoder.nodes.append(cells)
                frame.cells.append(ref)
                return None
            del cells[2:]
            inner = Frame(frame, cells, iter(state.values()), by_key, keys)
            encoder.memo[id(state)] = _StateOf(inner.ref)
            return inner
    return _object(encoder, frame, value)


def _object(encoder: Encoder, frame: Frame, value: Any) -> Frame:
    state, pairs = value.state, None
    if value.dictitems:
        pairs = encoder.fresh(_PairList(part for pair in value.dictitems for part in pair))
    parts = [
        value.args if value.args else None,
        value.kwargs or None,
        value.listitems or None,
        pairs,
    ]
    if state is not ABSENT:
        parts.append(state)
    inner = Frame(
        frame, ["object", encoder.shape(frame, value, None)], iter(parts), _by_record, value
    )
    if value.kind == "reconstructor" and len(value.args) == 2:
        inner.hint = (id(value.args), _by_base)
    elif is_slots_pair(state):
        inner.hint = (id(state), through)
    elif unwrap(state) is not None:
        inner.hint = (id(state), _by_layer)
    return inner


class _PairList(list[Any]):
    """Keys and values, one behind the other, of the items that were set on a record."""


@opens(_PairList)
def _pair_list(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    return Frame(frame, ["list"], iter(value), _by_pair, value[::2])


@opens(Global)
def _global(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    encoder.globals.add(value.qualname)
    encoder.add(frame, value, ["global", value.module, value.name])
    return None


@opens(PersistentRef)
def _persistent(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    return Frame(frame, ["persistent"], iter((value.pid,)), through)


# Arrays.


def _item(encoder: Encoder, frame: Frame, array: Any, head: list[Any] | None = None) -> None:
    path = encoder.path(frame, len(frame.cells) - frame.skip)
    if array.dtype.isbuiltin != 1:
        encoder.dtype_text(array.dtype)  # its node, if it needs one, comes before the array's
    encoder.items.append(Item(len(encoder.nodes), path, array, head))


@opens(np.ndarray)
def _array(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, value)
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])  # filled in when all arrays are known
    return None


@opens(LazyArray)
def _lazy(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, encoder.fresh(value.read()))
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])
    return None


def _read(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    return _array(encoder, frame, encoder.fresh(value.read()))


def _object_array(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    shape = list(value.shape)
    if dtypes.is_strings(value.dtype):
        dtype = encoder.dtype_text(value.dtype)
        parts = iter(value.reshape(-1).tolist())
        return Frame(frame, ["strings", dtype, shape], parts, _by_place, value.shape)
    if value.dtype.names is not None:
        dtype = encoder.dtype_text(value.dtype)
        plain = encoder.fresh(value.view(np.ndarray))
        columns = encoder.fresh([plain[name] for name in value.dtype.names])
        return Frame(frame, ["fields", dtype, shape], iter(columns), by_key, value.dtype.names)
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    parts = iter(encoder.fresh(value.reshape(-1).tolist()))
    return Frame(frame, ["objects", shape, order], parts, _by_place, value.shape)


@opens(np.ma.MaskedArray)
def _masked(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    mask = np.ma.getmask(value)
    fill = value._fill_value
    parts = (
        encoder.fresh(np.ma.getdata(value, subok=True)),
        None if mask is np.ma.nomask else encoder.fresh(mask),
        None if fill is None else encoder.fresh(np.array(fill)),
        bool(value.hardmask),
    )
    return Frame(frame, ["masked"], iter(parts), _by_mask)


@opens(np.matrix, np.recarray)
def _seen_as(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    plain = encoder.fresh(value.view(np.ndarray))
    return Frame(frame, [type(value).__name__], iter((plain,)), through)


@opens(np.ma.core.MaskedConstant, type(...), type(NotImplemented))
def _constant(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    name = "numpy.ma.masked" if value is np.ma.masked else repr(value)
    encoder.add(frame, value, ["constant", name])
    return None


@opens(bytes, bytearray)
def _bytes(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    kind = type(value).__name__
    if len(value) < _IN_LINE:
        encoder.add(frame, value, [kind, value.hex()])
    else:
        _item(encoder, frame, np.frombuffer(bytes(value), np.uint8), [kind])
        encoder.add(frame, value, [])
    return None


@opens(array_module.array)
def _array_array(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    code = value.typecode
    if code in "uw":
        return Frame(frame, ["array.array", code], iter((value.tounicode(),)), through)
    _item(encoder, frame, np.array(value, np.dtype(code)), ["array.array", code])
    encoder.add(frame, value, [])
    return None


# NumPy's scalars and dtypes.


@opens(*(kind for kind in np.sctypeDict.values() if kind is not np.object_))
def _scalar(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    if isinstance(value, np.str_):
        return Frame(frame, ["str_"], iter((str.__str__(value),)), through)
    if isinstance(value, np.bytes_):
        encoder.add(frame, value, ["bytes_", bytes(value).hex()])
        return None
    if value.dtype.hasobject:
        array = np.empty((), value.dtype)
        array[()] = value
        return Frame(frame, ["void"], iter((encoder.fresh(array),)), through)
    dtype = encoder.dtype_text(value.dtype)
    encoder.add(frame, value, ["scalar", dtype, value.tobytes().hex()])
    return None


def _dtype(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    what = encoder.dtype_text(value)
    if type(what) is list:
        encoder.memo[id(value)] = what
        frame.cells.append(what)
    else:
        encoder.add(frame, value, ["dtype", what])
    return None


# The standard library's values.


def _leaf(*kinds: Any) -> Callable[[Callable[[Any], list[Any]]], Callable[[Any], list[Any]]]:
    """Register what makes the whole node, which has no parts."""

    def register(make: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
        def opener(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
            encoder.add(frame, value, make(value))
            return None

        opens(*kinds)(opener)
        return make

    return register


@_leaf(complex)
def _complex(value: Any) -> list[Any]:
    return ["complex", bits(value.real), bits(value.imag)]


@_leaf(range)
def _range(value: Any) -> list[Any]:
    return ["range", value.start, value.stop, value.step]


@opens(slice)
def _slice(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    parts = (value.start, value.stop, value.step)
    return Frame(frame, ["slice"], iter(parts), by_index, None, immutable=True)


@_leaf(datetime.date)
def _date(value: Any) -> list[Any]:
    return ["date", value.year, value.month, value.day]


@opens(datetime.datetime)
def _datetime(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    date = [value.year, value.month, value.day]
    head = ["datetime", *date, value.hour, value.minute, value.second, value.microsecond]
    return Frame(frame, [*head, value.fold], iter((value.tzinfo,)), through)


@opens(datetime.time)
def _time(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    head = ["time", value.hour, value.minute, value.second, value.microsecond, value.fold]
    return Frame(frame, head, iter((value.tzinfo,)), through)


@_leaf(datetime.timedelta)
def _timedelta(value: Any) -> list[Any]:
    return ["timedelta", value.days, value.seconds, value.microseconds]


@_leaf(datetime.timezone)
def _timezone(value: Any) -> list[Any]:
    delta, *name = value.__getinitargs__()
    return ["timezone", delta.days, delta.seconds, delta.microseconds, name[0] if name else None]


@opens(zoneinfo.ZoneInfo)
def _zone_info(encoder: Encoder, frame: Frame, value: Any) -> Frame | None:
    if value.key is None:
        raise FormatError(
            "a time zone that was read from a file has no name to be stored by.",
            file=encoder.name or None,
            remedy="Use zoneinfo.ZoneInfo(key), or a datetime.timezone.",
        )
    encoder.add(frame, value, ["ZoneInfo", value.key])
    return None


@_leaf(Decimal, PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
def _as_text(value: Any) -> list[Any]:
    return [type(value).__name__, str(value)]


@_leaf(uuid.UUID)
def _uuid(value: Any) -> list[Any]:
    return ["UUID", value.hex]


@_leaf(fractions.Fraction)
def _fraction(value: Any) -> list[Any]:
    return ["Fraction", value.numerator, value.denominator]
