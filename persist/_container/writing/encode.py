"""Encode a tree as a graph: a flat table of nodes, and the arrays that it refers to.

One depth-first walk without recursion; parts are numbered before the containers that hold them.
Every value that may be shared has one cell ``[n]``, a list that all references to it hold; its number
is filled in when the value is complete. ``docs/container.md``, section 6, specifies the nodes.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from persist._container import dtypes
from persist._container.layout import FACTORIES
from persist._container.names import distinct
from persist._container.writing.blocks import Band
from persist._container.writing.members import Item
from persist._envelope import CODEC, FIELDS, Envelope, unwrap
from persist.errors import FormatError
from persist.tree import (
    ABSENT,
    PRIMITIVES,
    Global,
    PersistentRef,
    Record,
    are_attributes,
    is_slots_pair,
    step_of,
)
from persist.typing import DType

__all__ = [
    "ATOMS",
    "Encoder",
    "Frame",
    "Steps",
    "by_index",
    "by_key",
    "opens",
    "opens_like",
    "opens_named",
    "plain_list",
    "through",
]

ATOMS: frozenset[type] = PRIMITIVES - {bytes}
_TEXT = frozenset({str})
_PLAIN = frozenset({np.ndarray})
_MANY = 8  # arrays from which on they are looked at together

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
        parts: Iterator[object],
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
    """Memo entry of a state that is stored inside its record's node."""

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
    if not isinstance(frame.keys, Steps):
        frame.keys = Steps(distinct([step_of(key) for key in frame.keys]))
    step: str = frame.keys[place // 2]
    return step if place % 2 else f"{step}/key"


class Steps(list[str]):
    """A cache of the steps of keys."""


def through(frame: Frame, place: int) -> str | None:
    """No step: the part has the path of its container."""
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
    """The steps of an envelope's values: names for fields, and those of a state for what a codec returned."""
    envelope: Envelope = frame.keys
    is_codec = place > 0 and envelope.layers[place - 1].kind == CODEC
    return "state" if is_codec and not isinstance(envelope.values[place - 1], dict) else None


def _by_base(frame: Frame, place: int) -> str | None:
    """The steps of the arguments of ``copyreg._reconstructor``: a base class, and its value."""
    return None if place and type(frame.keys[1]) in (list, dict) else f"args/{max(place - 1, 0)}"


class Encoder:
    """The walk over one tree.

    Args:
        name: of the target, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.kept: list[Any] = []  # keeps temporary objects alive, since the memo uses their ids
        self.layouts: dict[tuple[str, ...], Any] = {}
        self.layout_list: list[tuple[str, ...]] = []
        self.shapes: dict[Any, int] = {}
        self.shape_list: list[dict[str, Any]] = []
        self.pending: set[int] = set()  # nodes that a reader cannot make when it meets them
        self.late: set[int] = set()
        self.items: list[Item] = []
        self.bands: list[Band] = []
        self.places: dict[int, tuple[Frame, int]] = {}  # shape -> place of its first record
        self.globals: set[str] = set()
        self.dtypes: dict[Any, Any] = {}
        self.has_long_double = False

    # The walk.

    def walk(self, root: object) -> Cell:
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
        """Number the node of a frame whose parts are all encoded."""
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

    def is_quick(self, values: Iterable[Any], cells: list[object]) -> bool:
        """Add the cells of values that need no walk: plain values, and values that are encoded already.

        If it stops half way, its results are in the memo and are used later.
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

    def add(self, frame: Frame, value: object, node: list[object]) -> None:
        """Add a node without parts."""
        ref = self.memo[id(value)] = [len(self.nodes)]
        self.nodes.append(node)
        frame.cells.append(ref)

    def add_arrays(
        self, frame: Frame, value: object, head: list[object], steps: Any, arrays: list[Any]
    ) -> bool:
        """Add a container that holds only arrays, none of which was encoded before, at once."""
        ids = list(map(id, arrays))
        if len(set(ids)) != len(ids) or not self.memo.keys().isdisjoint(ids):
            return False
        if not dtypes.SAID_BY_NPY.issuperset([array.dtype.char for array in arrays]):
            return False
        prefix = self.array_path(frame, len(frame.cells) - frame.skip)
        paths = [f"{prefix}/{step}" for step in steps] if prefix else list(map(str, steps))
        first = len(self.nodes)
        numbers = range(first, first + len(arrays))
        refs: list[object] = [[number] for number in numbers]
        self.memo.update(zip(ids, refs, strict=True))
        self.items += map(Item, numbers, paths, arrays)
        self.nodes += [None] * len(arrays)  # filled in when all arrays are known
        self.add(frame, value, [*head, *refs])
        return True

    def state_node(self, state: object, mark: _StateOf) -> list[object]:
        ref = self.memo[id(state)] = [len(self.nodes)]
        number = mark.record[0]
        if number is None or number in self.pending:
            self.pending.add(len(self.nodes))
            self.late.add(len(self.nodes))
            self.nodes.append(["late", "stateof", mark.record])
        else:
            self.nodes.append(["stateof", mark.record])
        return ref

    def open(self, frame: Frame, value: object) -> Frame | None:
        """Begin a value that was not encoded before; return its frame, or None if it has no parts."""
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

    def array_path(self, frame: Frame, place: int) -> str:
        """Return the path of an array; a prefix may be completed at the end of the walk."""
        return self.path(frame, place)

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

    def opener_of(self, value: object, frame: Frame) -> Opener:
        named = _named(type(value))
        if named is not None:
            return named
        for base, opener in _LIKE:
            if isinstance(value, base):
                return opener
        kind = type(value)
        where = self.path(frame, len(frame.cells) - frame.skip)
        raise FormatError(
            f"an object of class {kind.__module__}.{kind.__qualname__} cannot be stored in a container.",
            file=self.name or None,
            where=f"at {where!r}" if where else "at the root",
            remedy="Register its class or turn it into plain values, arrays or a Record.",
        )

    # Layouts and shapes.

    def layout(self, keys: tuple[Any, ...]) -> int | None:
        """Return the number of a list of keys, or None if not all of them are plain text."""
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

    def dtype_text(self, dtype: DType) -> Any:
        """The text of a dtype inside a node."""
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

    def say(self, dtype: DType) -> None:
        """Encode a dtype before the node that refers to it, if the dtype can be referred to."""
        if dtype.char not in dtypes.SAID_BY_NPY:
            self.dtype_text(dtype)

    def fresh(self, value: object) -> Any:
        """Keep a temporary object alive, so that its id is not reused."""
        self.kept.append(value)
        return value


Opener = Callable[[Encoder, Frame, Any], "Frame | None"]
_OPENERS: dict[object, Opener] = {}


_NAMED: dict[str, Opener] = {}
_LIKE: list[tuple[type, Opener]] = []  # for subclasses without an exact entry


def opens_like(base: type) -> Callable[[Opener], Opener]:
    """Register how instances of subclasses of a class are encoded, unless the subclass is registered."""

    def register(opener: Opener) -> Opener:
        _LIKE.append((base, opener))
        return opener

    return register


def opens_named(*names: str) -> Callable[[Opener], Opener]:
    """Register how values of exact types are encoded by their dotted names.

    For those whose modules take long to import: until somebody else has imported one, none of its
    values can come.
    """

    def register(opener: Opener) -> Opener:
        _NAMED.update(dict.fromkeys(names, opener))
        return opener

    return register


def _named(kind: type) -> Opener | None:
    """Return the opener that is registered for the name of a type, if the type really is the one of that name."""
    opener = _NAMED.get(f"{kind.__module__}.{kind.__qualname__}")
    home = sys.modules.get(kind.__module__)
    if opener is not None and getattr(home, kind.__name__, None) is kind:
        _OPENERS[kind] = opener
        return opener
    return None


def opens(*kinds: type) -> Callable[[Opener], Opener]:
    """Register how values of these exact types are encoded."""

    def register(opener: Opener) -> Opener:
        _OPENERS.update(dict.fromkeys(kinds, opener))
        return opener

    return register


# Containers.


@opens(list)
def plain_list(encoder: Encoder, frame: Frame, value: list[object]) -> Frame | None:
    """Begin a list; a list of nothing but arrays is encoded at once."""
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
def _tuple(encoder: Encoder, frame: Frame, value: tuple[object, ...]) -> Frame | None:
    if ATOMS.issuperset(map(type, value)):
        encoder.add(frame, value, ["tuple", *value])
        return None
    stepper: Stepper = by_index
    keys: object = None
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
def _dict(encoder: Encoder, frame: Frame, value: dict[object, object]) -> Frame | None:
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
def _set(encoder: Encoder, frame: Frame, value: set[object] | frozenset[object]) -> Frame | None:
    items = list(value)
    if len(set(map(type, items))) == 1 and type(items[0]) in (int, str, bytes):
        items.sort()  # equal trees give equal bytes
    kind = type(value).__name__
    return Frame(frame, [kind], iter(items), by_index, None, kind == "frozenset")


@opens(deque)
def _deque(encoder: Encoder, frame: Frame, value: deque[object]) -> Frame | None:
    return Frame(frame, ["deque", value.maxlen], iter(value), by_index)


@opens(OrderedDict)
def _ordered_dict(
    encoder: Encoder, frame: Frame, value: OrderedDict[object, object]
) -> Frame | None:
    if not are_attributes(vars(value), OrderedDict):
        raise FormatError(
            "an OrderedDict has attributes that hide its own methods, or are no names.",
            file=encoder.name or None,
            where=f"at {encoder.path(frame, len(frame.cells) - frame.skip)!r}",
            remedy="Delete them, or make it a class of your own.",
        )
    keys = [None, *value]
    attributes = encoder.fresh(dict(vars(value))) if vars(value) else None
    parts = chain((attributes,), chain.from_iterable(OrderedDict.items(value)))
    return Frame(frame, ["OrderedDict"], parts, _by_late_pair, keys)


def _by_late_pair(frame: Frame, place: int) -> str | None:
    """Attributes first, then keys and values."""
    if not place:
        return None
    if not isinstance(frame.keys, Steps):
        frame.keys = Steps(distinct([step_of(key) for key in frame.keys[1:]]))
    step: str = frame.keys[(place - 1) // 2]
    return f"{step}/key" if place % 2 else step


@opens(Counter)
def _counter(encoder: Encoder, frame: Frame, value: Counter[object]) -> Frame | None:
    keys = tuple(value)
    return Frame(frame, ["Counter"], chain.from_iterable(dict.items(value)), _by_pair, keys)


@opens(defaultdict)
def _defaultdict(
    encoder: Encoder, frame: Frame, value: defaultdict[object, object]
) -> Frame | None:
    factory = value.default_factory
    if factory is not None and factory not in FACTORIES:
        raise FormatError(
            f"a defaultdict with the factory {factory!r} cannot be stored in a container.",
            file=encoder.name or None,
            where=f"at {encoder.path(frame, len(frame.cells) - frame.skip)!r}",
            remedy=f"Use one of the built-in types {', '.join(FACTORIES.values())}.",
        )
    cells = ["defaultdict", None if factory is None else FACTORIES[factory]]
    parts = chain.from_iterable(value.items())
    return Frame(frame, cells, parts, _by_pair, tuple(value))


# Records and names.


@opens(Record)
def _record(encoder: Encoder, frame: Frame, value: Record) -> Frame | None:
    state = value.state
    if (
        type(state) is dict
        and not (value.args or value.kwargs or value.listitems or value.dictitems)
        and id(state) not in encoder.memo
    ):
        keys = tuple(state)
        layout = encoder.layout(keys)
        if layout is not None:
            cells: list[object] = ["record", encoder.shape(frame, value, layout)]
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


def _object(encoder: Encoder, frame: Frame, value: Record) -> Frame:
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


class _PairList(list[object]):
    """The keys and values, alternating, of the items that were set on a record."""


@opens(_PairList)
def _pair_list(encoder: Encoder, frame: Frame, value: _PairList) -> Frame | None:
    return Frame(frame, ["list"], iter(value), _by_pair, value[::2])


@opens(Global)
def _global(encoder: Encoder, frame: Frame, value: Global) -> Frame | None:
    encoder.globals.add(value.qualname)
    encoder.add(frame, value, ["global", value.module, value.name])
    return None


@opens(PersistentRef)
def _persistent(encoder: Encoder, frame: Frame, value: PersistentRef) -> Frame | None:
    return Frame(frame, ["persistent"], iter((value.pid,)), through)
