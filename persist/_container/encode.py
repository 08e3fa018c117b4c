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

import attrs
import numpy as np

from persist._container import dtypes
from persist._container.members import Item, Members, place
from persist._container.names import distinct
from persist._container.text import bits, graph_text
from persist._envelope import CODEC, FIELDS, Envelope, unwrap
from persist.errors import FormatError
from persist.tree import ABSENT, Global, LazyArray, PersistentRef, Record, is_slots_pair, step_of

__all__ = ["FACTORIES", "Graph", "encode"]

ATOMS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
_PLAIN = frozenset({np.ndarray})
_MANY = 8  # arrays from which on they are looked at together
_IN_LINE = 1024  # bytes from which on they are a member
FACTORIES: dict[Any, str] = {
    kind: kind.__name__
    for kind in (list, dict, int, float, set, str, tuple, bool, bytes, frozenset, complex)
}

Cell = Any
Stepper = Callable[["_Frame", int], "str | None"]


@attrs.define
class Graph:
    """A tree as it is written.

    Attributes:
        text: of ``graph.json``.
        members: the arrays that are stored.
        kept: what must live until all is written.
        globals: dotted names that the tree mentions.
        has_long_double: whether an array or scalar is bound to a machine.
    """

    text: bytes
    members: Members
    kept: list[Any]
    globals: set[str]
    has_long_double: bool


class _Frame:
    """A container whose parts are being encoded."""

    # What few frames need; an instance has it when it is set.
    is_late = False
    prefix: str | None = None
    hint: tuple[int, Stepper] | None = None

    def __init__(
        self,
        parent: _Frame | None,
        cells: list[Any],
        parts: Iterator[Any],
        stepper: Stepper,
        keys: Any = None,
        immutable: bool = False,
    ) -> None:
        self.parent = parent
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


def _by_index(frame: _Frame, place: int) -> str | None:
    return str(place)


def _by_key(frame: _Frame, place: int) -> str | None:
    return frame.keys[place]  # type: ignore[no-any-return]


def _by_pair(frame: _Frame, place: int) -> str | None:
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(distinct([step_of(key) for key in frame.keys]))
    step: str = frame.keys[place // 2]
    return step if place % 2 else f"{step}/key"


class _Steps(list[str]):
    """Keys that were made steps already."""


def _through(frame: _Frame, place: int) -> str | None:
    return None


def _by_record(frame: _Frame, place: int) -> str | None:
    record: Record = frame.keys
    if place == 0:
        return None if record.kind == "reconstructor" else "args"
    if place == 1:
        return "kwargs"
    if place in (2, 3) or isinstance(record.state, dict) or is_slots_pair(record.state):
        return None
    return None if unwrap(record.state) is not None else "state"


def _by_layer(frame: _Frame, place: int) -> str | None:
    """An envelope's values: fields go by their names, what a codec gave as a state does."""
    envelope: Envelope = frame.keys
    is_codec = place > 0 and envelope.layers[place - 1].kind == CODEC
    return "state" if is_codec and not isinstance(envelope.values[place - 1], dict) else None


def _by_base(frame: _Frame, place: int) -> str | None:
    """``copyreg._reconstructor``'s arguments: a base class, and what it holds."""
    return None if place and type(frame.keys[1]) in (list, dict) else f"args/{max(place - 1, 0)}"


def _by_place(frame: _Frame, place: int) -> str | None:
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(
            "/".join(map(str, at)) for at in np.ndindex(*frame.keys)
        )  # the index in each axis
    return frame.keys[place] or None


def _by_mask(frame: _Frame, place: int) -> str | None:
    return (None, "mask", "fill_value")[place]


class _Encoder:
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
        self.globals: set[str] = set()
        self.dtypes: dict[Any, Any] = {}
        self.has_long_double = False

    # The walk.

    def walk(self, root: Any) -> Cell:
        frame = _Frame(None, [], iter((root,)), _through)
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
                    return cells[0]
                self.complete(frame)
                if frame.ref[0] in pending:
                    outer.is_late = True
                frame = outer

    def complete(self, frame: _Frame) -> None:
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

    def add(self, frame: _Frame, value: Any, node: list[Any]) -> None:
        """Add a node that has no parts of its own."""
        ref = self.memo[id(value)] = [len(self.nodes)]
        self.nodes.append(node)
        frame.cells.append(ref)

    def add_arrays(
        self, frame: _Frame, value: Any, head: list[Any], steps: Any, arrays: list[Any]
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

    def path(self, frame: _Frame, place: int) -> str:
        """The path of a part, by its place in the frame."""
        if frame.prefix is None:
            outer = frame.parent
            frame.prefix = (
                "" if outer is None else self.path(outer, len(outer.cells) - outer.skip - 1)
            )
        step = frame.stepper(frame, place)
        if step is None:
            return frame.prefix
        return f"{frame.prefix}/{step}" if frame.prefix else step

    def opener_of(self, value: Any, frame: _Frame) -> Opener:
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

    def shape(self, record: Record, fields: int | None) -> int:
        cls, maker = record.cls, record.maker
        key: tuple[Any, ...] = (cls.module, cls.name, record.kind, record.version, fields)
        if maker is not None:
            key += (maker.module, maker.name)
        number = self.shapes.get(key)
        if number is None:
            number = self.shapes[key] = len(self.shape_list)
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


Opener = Callable[[_Encoder, _Frame, Any], "_Frame | None"]
_OPENERS: dict[Any, Opener] = {}


def _opens(*kinds: Any) -> Callable[[Opener], Opener]:
    def register(opener: Opener) -> Opener:
        _OPENERS.update(dict.fromkeys(kinds, opener))
        return opener

    return register


# Containers.


@_opens(list)
def _list(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    if ATOMS.issuperset(map(type, value)):
        encoder.add(frame, value, ["list", *value])
        return None
    if (
        len(value) >= _MANY
        and _PLAIN.issuperset(map(type, value))
        and encoder.add_arrays(frame, value, ["list"], range(len(value)), value)
    ):
        return None
    return _Frame(frame, ["list"], iter(value), _by_index)


@_opens(tuple)
def _tuple(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    if ATOMS.issuperset(map(type, value)):
        encoder.add(frame, value, ["tuple", *value])
        return None
    stepper: Stepper = _by_index
    keys = None
    if frame.hint is not None and frame.hint[0] == id(value):
        stepper, keys = frame.hint[1], value
        if stepper is _by_layer:
            keys = unwrap(value)
    elif frame.stepper is _by_layer and (place := len(frame.cells) - frame.skip):
        layer = frame.keys.layers[place - 1]
        if layer.kind == FIELDS:
            stepper, keys = _by_key, layer.names
    return _Frame(frame, ["tuple"], iter(value), stepper, keys, immutable=True)


@_opens(dict)
def _dict(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    keys = tuple(value)
    layout = encoder.layout(keys)
    if layout is None:
        return _Frame(frame, ["map"], chain.from_iterable(value.items()), _by_pair, keys)
    if ATOMS.issuperset(map(type, value.values())):
        encoder.add(frame, value, ["dict", layout, *value.values()])
        return None
    if (
        len(value) >= _MANY
        and _PLAIN.issuperset(map(type, value.values()))
        and encoder.add_arrays(frame, value, ["dict", layout], keys, list(value.values()))
    ):
        return None
    return _Frame(frame, ["dict", layout], iter(value.values()), _by_key, keys)


@_opens(set, frozenset)
def _set(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    items = list(value)
    if len(set(map(type, items))) == 1 and type(items[0]) in (int, str, bytes):
        items.sort()  # equal trees give equal bytes
    kind = type(value).__name__
    return _Frame(frame, [kind], iter(items), _by_index, None, kind == "frozenset")


@_opens(deque)
def _deque(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    return _Frame(frame, ["deque", value.maxlen], iter(value), _by_index)


@_opens(OrderedDict)
def _ordered_dict(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    keys = [None, *value]
    attributes = encoder.fresh(dict(vars(value))) if vars(value) else None
    parts = chain((attributes,), chain.from_iterable(OrderedDict.items(value)))
    return _Frame(frame, ["OrderedDict"], parts, _by_late_pair, keys)


def _by_late_pair(frame: _Frame, place: int) -> str | None:
    """Attributes first, then keys and values."""
    if not place:
        return None
    if not isinstance(frame.keys, _Steps):
        frame.keys = _Steps(distinct([step_of(key) for key in frame.keys[1:]]))
    step: str = frame.keys[(place - 1) // 2]
    return f"{step}/key" if place % 2 else step


@_opens(Counter)
def _counter(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    keys = tuple(value)
    return _Frame(frame, ["Counter"], chain.from_iterable(dict.items(value)), _by_pair, keys)


@_opens(defaultdict)
def _defaultdict(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
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
    return _Frame(frame, cells, parts, _by_pair, tuple(value))


# Records and names.


@_opens(Record)
def _record(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    state = value.state
    if (
        type(state) is dict
        and not (value.args or value.kwargs or value.listitems or value.dictitems)
        and id(state) not in encoder.memo
    ):
        keys = tuple(state)
        layout = encoder.layout(keys)
        if layout is not None:
            cells: list[Any] = ["record", encoder.shape(value, layout)]
            if encoder.is_quick(state.values(), cells):
                ref = encoder.memo[id(value)] = [len(encoder.nodes)]
                encoder.memo[id(state)] = _StateOf(ref)
                encoder.nodes.append(cells)
                frame.cells.append(ref)
                return None
            del cells[2:]
            inner = _Frame(frame, cells, iter(state.values()), _by_key, keys)
            encoder.memo[id(state)] = _StateOf(inner.ref)
            return inner
    return _object(encoder, frame, value)


def _object(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame:
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
    inner = _Frame(frame, ["object", encoder.shape(value, None)], iter(parts), _by_record, value)
    if value.kind == "reconstructor" and len(value.args) == 2:
        inner.hint = (id(value.args), _by_base)
    elif is_slots_pair(state):
        inner.hint = (id(state), _through)
    elif unwrap(state) is not None:
        inner.hint = (id(state), _by_layer)
    return inner


class _PairList(list[Any]):
    """Keys and values, one behind the other, of the items that were set on a record."""


@_opens(_PairList)
def _pair_list(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    return _Frame(frame, ["list"], iter(value), _by_pair, value[::2])


@_opens(Global)
def _global(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    encoder.globals.add(value.qualname)
    encoder.add(frame, value, ["global", value.module, value.name])
    return None


@_opens(PersistentRef)
def _persistent(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    return _Frame(frame, ["persistent"], iter((value.pid,)), _through)


# Arrays.


def _item(encoder: _Encoder, frame: _Frame, array: Any, head: list[Any] | None = None) -> None:
    path = encoder.path(frame, len(frame.cells) - frame.skip)
    if array.dtype.isbuiltin != 1:
        encoder.dtype_text(array.dtype)  # its node, if it needs one, comes before the array's
    encoder.items.append(Item(len(encoder.nodes), path, array, head))


@_opens(np.ndarray)
def _array(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, value)
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])  # filled in when all arrays are known
    return None


@_opens(LazyArray)
def _lazy(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, encoder.fresh(value.read()))
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])
    return None


def _read(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    return _array(encoder, frame, encoder.fresh(value.read()))


def _object_array(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    shape = list(value.shape)
    if dtypes.is_strings(value.dtype):
        dtype = encoder.dtype_text(value.dtype)
        parts = iter(value.reshape(-1).tolist())
        return _Frame(frame, ["strings", dtype, shape], parts, _by_place, value.shape)
    if value.dtype.names is not None:
        dtype = encoder.dtype_text(value.dtype)
        plain = encoder.fresh(value.view(np.ndarray))
        columns = encoder.fresh([plain[name] for name in value.dtype.names])
        return _Frame(frame, ["fields", dtype, shape], iter(columns), _by_key, value.dtype.names)
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    parts = iter(encoder.fresh(value.reshape(-1).tolist()))
    return _Frame(frame, ["objects", shape, order], parts, _by_place, value.shape)


@_opens(np.ma.MaskedArray)
def _masked(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    mask = np.ma.getmask(value)
    fill = value._fill_value
    parts = (
        encoder.fresh(np.ma.getdata(value, subok=True)),
        None if mask is np.ma.nomask else encoder.fresh(mask),
        None if fill is None else encoder.fresh(np.array(fill)),
        bool(value.hardmask),
    )
    return _Frame(frame, ["masked"], iter(parts), _by_mask)


@_opens(np.matrix, np.recarray)
def _seen_as(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    plain = encoder.fresh(value.view(np.ndarray))
    return _Frame(frame, [type(value).__name__], iter((plain,)), _through)


@_opens(np.ma.core.MaskedConstant, type(...), type(NotImplemented))
def _constant(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    name = "numpy.ma.masked" if value is np.ma.masked else repr(value)
    encoder.add(frame, value, ["constant", name])
    return None


@_opens(bytes, bytearray)
def _bytes(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    kind = type(value).__name__
    if len(value) < _IN_LINE:
        encoder.add(frame, value, [kind, value.hex()])
    else:
        _item(encoder, frame, np.frombuffer(bytes(value), np.uint8), [kind])
        encoder.add(frame, value, [])
    return None


@_opens(array_module.array)
def _array_array(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    code = value.typecode
    if code in "uw":
        return _Frame(frame, ["array.array", code], iter((value.tounicode(),)), _through)
    _item(encoder, frame, np.array(value, np.dtype(code)), ["array.array", code])
    encoder.add(frame, value, [])
    return None


# NumPy's scalars and dtypes.


@_opens(*(kind for kind in np.sctypeDict.values() if kind is not np.object_))
def _scalar(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    if isinstance(value, np.str_):
        return _Frame(frame, ["str_"], iter((str.__str__(value),)), _through)
    if isinstance(value, np.bytes_):
        encoder.add(frame, value, ["bytes_", bytes(value).hex()])
        return None
    if value.dtype.hasobject:
        array = np.empty((), value.dtype)
        array[()] = value
        return _Frame(frame, ["void"], iter((encoder.fresh(array),)), _through)
    dtype = encoder.dtype_text(value.dtype)
    encoder.add(frame, value, ["scalar", dtype, value.tobytes().hex()])
    return None


def _dtype(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
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
        def opener(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
            encoder.add(frame, value, make(value))
            return None

        _opens(*kinds)(opener)
        return make

    return register


@_leaf(complex)
def _complex(value: Any) -> list[Any]:
    return ["complex", bits(value.real), bits(value.imag)]


@_leaf(range)
def _range(value: Any) -> list[Any]:
    return ["range", value.start, value.stop, value.step]


@_opens(slice)
def _slice(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    parts = (value.start, value.stop, value.step)
    return _Frame(frame, ["slice"], iter(parts), _by_index, None, immutable=True)


@_leaf(datetime.date)
def _date(value: Any) -> list[Any]:
    return ["date", value.year, value.month, value.day]


@_opens(datetime.datetime)
def _datetime(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    date = [value.year, value.month, value.day]
    head = ["datetime", *date, value.hour, value.minute, value.second, value.microsecond]
    return _Frame(frame, [*head, value.fold], iter((value.tzinfo,)), _through)


@_opens(datetime.time)
def _time(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
    head = ["time", value.hour, value.minute, value.second, value.microsecond, value.fold]
    return _Frame(frame, head, iter((value.tzinfo,)), _through)


@_leaf(datetime.timedelta)
def _timedelta(value: Any) -> list[Any]:
    return ["timedelta", value.days, value.seconds, value.microseconds]


@_leaf(datetime.timezone)
def _timezone(value: Any) -> list[Any]:
    delta, *name = value.__getinitargs__()
    return ["timezone", delta.days, delta.seconds, delta.microseconds, name[0] if name else None]


@_opens(zoneinfo.ZoneInfo)
def _zone_info(encoder: _Encoder, frame: _Frame, value: Any) -> _Frame | None:
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


# From the table to the file.


def encode(tree: Any, name: str = "") -> Graph:
    """Return a tree as the graph and the arrays that a container holds.

    Args:
        tree: see `persist.tree`.
        name: of the target, for errors.

    Raises:
        FormatError: something in it is no value of a tree, with its path.
    """
    encoder = _Encoder(name)
    root = encoder.walk(tree)
    members = place(encoder.items, encoder.nodes, encoder.dtype_text)
    refs = [*encoder.memo.values(), *encoder.dtypes.values()]
    text = graph_text(
        encoder.layout_list, encoder.shape_list, encoder.nodes, root,
        [ref for ref in refs if type(ref) is list],
    )  # fmt: skip
    kept = [encoder.items, encoder.kept]
    return Graph(text, members, kept, encoder.globals, encoder.has_long_double)
