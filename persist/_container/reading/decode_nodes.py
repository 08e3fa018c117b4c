"""What the nodes of a graph mean: for each kind, how its value is made, or made empty and filled.

Specified in ``docs/container.md``, section 6. `persist._container.reading.decode` walks the table.
"""

from __future__ import annotations

import array as array_module
import datetime
import math
import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from persist._container import dtypes
from persist._container.layout import FACTORIES
from persist._container.reading.tables import run_of
from persist._wire.base.c_recursion import MOST
from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import decodable, decoded, decoded_dtype, missing_name
from persist.tree import (
    ABSENT,
    Global,
    LazyArray,
    PersistentRef,
    Record,
    are_attributes,
    typed_array,
)
from persist.typing import Array

if TYPE_CHECKING:
    from persist._container.reading.decode import Decoder

__all__ = ["FILLERS", "MAKERS", "SHELLS", "Node", "global_of", "number_of"]

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_NAMED = {name: kind for kind, name in FACTORIES.items()}


def number_of(value: object, count: int) -> int:
    """Return a number that must be one of so many."""
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"there is no member {value!r}")
    return value


def global_of(pair: Iterable[object]) -> Global:
    """Return the `Global` of a pair of module and name."""
    module, name = pair
    if not (isinstance(module, str) and isinstance(name, str)):
        raise TypeError("the name of a class is no text")
    return Global(module, name)


Node: TypeAlias = list[Any]
"""A node as JSON has it, not yet checked: its kind, then numbers, texts and cells."""

_T = TypeVar("_T")
_Filler = TypeVar("_Filler", bound=Callable[..., None])
Maker = Callable[["Decoder", Node], Any]
MAKERS: dict[str, Maker] = {}
SHELLS: dict[str, Maker] = {}
FILLERS: dict[str, Callable[[Decoder, Any, Node], None]] = {}


def _makes(*kinds: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        MAKERS.update(dict.fromkeys(kinds, maker))
        return maker

    return register


def _fills(shell: Maker, *kinds: str) -> Callable[[_Filler], _Filler]:
    """Register a container: how it is made empty, and how it is filled."""

    def register(filler: _Filler) -> _Filler:
        def make(decoder: Decoder, node: Node) -> object:
            value = shell(decoder, node)
            filler(decoder, value, node)
            return value

        for kind in kinds:
            MAKERS[kind] = make
            SHELLS[kind] = shell
            FILLERS[kind] = filler
        return filler

    return register


# Containers.


@_fills(lambda decoder, node: [], "list")
def _fill_list(decoder: Decoder, value: list[object], node: Node) -> None:
    value.extend(decoder.cells(node, 1))


@_makes("listrun")
def _list_run(decoder: Decoder, node: Node) -> object:
    _, first, count = node
    return run_of(decoder, first, count)


@_makes("dictrun")
def _dict_run(decoder: Decoder, node: Node) -> object:
    _, layout, first, count = node
    return dict(zip(decoder.layouts[layout], run_of(decoder, first, count), strict=True))


@_makes("tuple")
def _tuple(decoder: Decoder, node: Node) -> object:
    return tuple(decoder.cells(node, 1))


@_fills(lambda decoder, node: {}, "dict")
def _fill_dict(decoder: Decoder, value: dict[object, object], node: Node) -> None:
    value.update(zip(decoder.layouts[node[1]], decoder.cells(node, 2), strict=True))


@_fills(lambda decoder, node: {}, "map")
def _fill_map(decoder: Decoder, value: dict[object, object], node: Node) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 1))


def _set_pairs(decoder: Decoder, value: dict[object, Any], cells: list[object]) -> None:
    keys = decoder.hashable(cells[::2])
    dict.update(value, zip(keys, cells[1::2], strict=True))
    if len(value) != len(keys):
        raise ValueError("a dict has a key twice")


@_fills(lambda decoder, node: OrderedDict(), "OrderedDict")
def _fill_ordered(decoder: Decoder, value: OrderedDict[object, object], node: Node) -> None:
    cells = decoder.cells(node, 1)
    for key, item in zip(decoder.hashable(cells[1::2]), cells[2::2], strict=True):
        value[key] = item
    if cells[0] is not None:
        if not are_attributes(cells[0], OrderedDict):
            raise ValueError("attributes of an OrderedDict that it cannot have")
        vars(value).update(cells[0])


@_fills(lambda decoder, node: Counter(), "Counter")
def _fill_counter(decoder: Decoder, value: Counter[object], node: Node) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 1))


@_fills(lambda decoder, node: defaultdict(node[1] and _NAMED[node[1]]), "defaultdict")
def _fill_default(decoder: Decoder, value: defaultdict[object, object], node: Node) -> None:
    _set_pairs(decoder, value, decoder.cells(node, 2))


@_fills(lambda decoder, node: set(), "set")
def _fill_set(decoder: Decoder, value: set[object], node: Node) -> None:
    value.update(decoder.hashable(decoder.cells(node, 1)))


@_makes("frozenset")
def _frozenset(decoder: Decoder, node: Node) -> object:
    return frozenset(decoder.hashable(decoder.cells(node, 1)))


@_fills(lambda decoder, node: deque(maxlen=node[1]), "deque")
def _fill_deque(decoder: Decoder, value: deque[object], node: Node) -> None:
    value.extend(decoder.cells(node, 2))


# Records and names.


@_fills(lambda decoder, node: decoder.shapes[node[1]].record({}), "record")
def _fill_record(decoder: Decoder, value: Record, node: Node) -> None:
    fields = decoder.shapes[node[1]].fields
    value.state.update(zip(fields, decoder.cells(node, 2), strict=True))


@_fills(lambda decoder, node: decoder.shapes[node[1]].record(ABSENT), "object")
def _fill_object(decoder: Decoder, value: Record, node: Node) -> None:
    args, kwargs, listitems, pairs, *state = decoder.cells(node, 2)
    value.args = _of(tuple, args, ())
    value.kwargs = _of(dict, kwargs, {})
    value.listitems = _of(list, listitems, [])
    items = _of(list, pairs, [])
    value.dictitems = list(zip(items[::2], items[1::2], strict=True))
    if state:
        (value.state,) = state


def _of(kind: type[_T], value: object, empty: _T) -> _T:
    if value is None:
        return empty
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} is given for a {kind.__name__}")
    return value


@_makes("stateof")
def _state_of(decoder: Decoder, node: Node) -> object:
    record = decoder.cell(node[1])
    if type(record) is not Record:
        raise TypeError("the state of what is no record")
    return record.state


@_makes("global")
def _named(decoder: Decoder, node: Node) -> object:
    return global_of(decoder.cells(node, 1))


@_fills(lambda decoder, node: PersistentRef(None), "persistent")
def _fill_persistent(decoder: Decoder, value: PersistentRef, node: Node) -> None:
    value.pid = decoder.cell(node[1])


# Numbers, text and bytes.


@_makes("int")
def _int(decoder: Decoder, node: Node) -> object:
    return int(node[1], 16)


@_makes("float")
def _float(decoder: Decoder, node: Node) -> object:
    return _from_bits(node[1])


def _from_bits(text: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(text))[0])


@_makes("complex")
def _complex(decoder: Decoder, node: Node) -> object:
    return complex(_from_bits(node[1]), _from_bits(node[2]))


@_makes("str")
def _str(decoder: Decoder, node: Node) -> object:
    return bytes.fromhex(node[1]).decode("utf-8", "surrogatepass")


@_makes("bytes", "bytearray")
def _bytes(decoder: Decoder, node: Node) -> object:
    kind = bytes if node[0] == "bytes" else bytearray
    if type(node[1]) is str:
        return kind.fromhex(node[1])
    array = decoder.raw(node)
    if array.dtype != np.uint8 or array.ndim != 1:
        raise TypeError(f"bytes are an array of {array.dtype}")
    return kind(array.data)


@_makes("array.array")
def _array_array(decoder: Decoder, node: Node) -> object:
    code = node[1]
    if type(node[2]) is not int:
        return typed_array(code, decoder.cell(node[2]))
    values = decoder.raw(node)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise TypeError(f"an array.array is an array of {values.dtype}")
    result = typed_array(code)
    if from_text(code) == values.dtype:
        result.frombytes(values.tobytes())
        return result
    try:
        return array_module.array(code, values.tolist())
    except OverflowError:  # a type code that is wider where the file was written
        return array_module.array("q" if values.dtype.kind == "i" else "Q", values.tolist())


@_makes("range")
def _range(decoder: Decoder, node: Node) -> object:
    return range(*decoder.cells(node, 1))


@_makes("slice")
def _slice(decoder: Decoder, node: Node) -> object:
    start, stop, step = decoder.cells(node, 1)
    depth = 1 + max(decoder.slices.get(id(part), 0) for part in (start, stop, step))
    if depth > MOST:  # which CPython frees by recursion
        raise ValueError(f"slices of slices, more than {MOST} deep")
    made = slice(start, stop, step)
    decoder.slices[id(made)] = depth
    return made


# The standard library's values.


@_makes("date")
def _date(decoder: Decoder, node: Node) -> object:
    return datetime.date(*node[1:])


@_makes("time", "datetime")
def _time(decoder: Decoder, node: Node) -> object:
    kind: Any = datetime.time if node[0] == "time" else datetime.datetime
    parts: list[Any]
    *parts, fold, zone = decoder.cells(node, 1)
    if type(zone) is Record:  # a zone that this machine does not know
        return Record(f"datetime.{node[0]}", kind="reduce", args=(*parts, zone))
    return kind(*parts, zone, fold=fold)


@_makes("timedelta")
def _timedelta(decoder: Decoder, node: Node) -> object:
    return datetime.timedelta(*node[1:])


@_makes("timezone")
def _timezone(decoder: Decoder, node: Node) -> object:
    days, seconds, micros, name = decoder.cells(node, 1)
    delta = datetime.timedelta(days, seconds, micros)
    if name is None:
        return datetime.timezone(delta) if delta else datetime.UTC
    return datetime.timezone(delta, name)


@_makes("ZoneInfo")
def _zone_info(decoder: Decoder, node: Node) -> object:
    if not isinstance(node[1], str) or not _ZONE.fullmatch(node[1]):
        raise ValueError(f"a zone named {node[1]!r}")
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(node[1])
    except (zoneinfo.ZoneInfoNotFoundError, OSError):  # a folder of zones is an OSError
        return Record("zoneinfo.ZoneInfo", kind="reduce", args=(node[1],))


@_makes("Decimal")
def _decimal(decoder: Decoder, node: Node) -> object:
    from decimal import Decimal

    return Decimal(node[1])


@_makes("Fraction")
def _fraction(decoder: Decoder, node: Node) -> object:
    import fractions

    return fractions.Fraction(*decoder.cells(node, 1))


@_makes("UUID")
def _uuid(decoder: Decoder, node: Node) -> object:
    import uuid

    return uuid.UUID(node[1])


_PATHS: dict[str, type[PurePath]] = {
    kind.__name__: kind for kind in (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
}


@_makes(*_PATHS)
def _path(decoder: Decoder, node: Node) -> object:
    """A path of another kind of machine is a pure path here."""
    text = decoder.cell(node[1])
    try:
        return _PATHS[node[0]](text)
    except NotImplementedError:
        return _PATHS[f"Pure{node[0]}"](text)


_CONSTANTS = {
    "Ellipsis": ...,
    "NotImplemented": NotImplemented,
}


@_makes("constant")
def _constant(decoder: Decoder, node: Node) -> object:
    # NumPy imports its masked arrays when they are first asked for.
    return np.ma.masked if node[1] == "numpy.ma.masked" else _CONSTANTS[node[1]]


# NumPy's scalars and dtypes.


@_makes("scalar")
def _scalar(decoder: Decoder, node: Node) -> object:
    dtype, data = decoder.dtype(node[1]), bytes.fromhex(node[2])
    if dtype.hasobject or len(data) != dtype.itemsize:
        raise ValueError(f"{len(data)} bytes are given for a scalar of {dtype}")
    if dtypes.is_long_double(dtype) and decoder.arrays.foreign is not None:
        return decoder.arrays.double(np.frombuffer(data, np.dtype((np.void, len(data)))), dtype)[0]
    value = np.frombuffer(bytearray(data), dtype)[0] if data else np.zeros((), dtype)[()]
    if missing_name(dtype):
        array = np.asarray(value).view(dtype)
        return decoded(array)[()] if decoded_dtype(dtype) != dtype else decodable(array)
    return value


@_makes("str_")
def _str_(decoder: Decoder, node: Node) -> object:
    text = decoder.cell(node[1])
    if not isinstance(text, str):
        raise TypeError(f"a {type(text).__name__} is given for text")
    return np.str_(text)


@_makes("bytes_")
def _bytes_(decoder: Decoder, node: Node) -> object:
    return np.bytes_(bytes.fromhex(node[1]))


@_makes("void")
def _void(decoder: Decoder, node: Node) -> object:
    array = decoder.cell(node[1])
    if not isinstance(array, np.ndarray) or array.ndim:
        raise TypeError("a scalar is no array of no axes")
    return array[()]


@_makes("dtype")
def _dtype(decoder: Decoder, node: Node) -> object:
    return dtypes.from_description(node[1])


# Arrays.


def _shape_of(shape: Any) -> tuple[int, ...]:
    if len(shape) > 64 or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError(f"a shape is {shape!r}")
    return tuple(shape)


@_makes("view")
def _view(decoder: Decoder, node: Node) -> object:
    _, number, dtype, shape, strides, offset = node
    if type(offset) is not int or not all(type(stride) is int for stride in strides or ()):
        raise TypeError("an offset or a stride is no number")
    number = number_of(number, len(decoder.arrays))
    view = decoder.arrays.view(
        number,
        None if dtype is None else decoder.dtype(dtype),
        None if shape is None else _shape_of(shape),
        None if strides is None else tuple(strides),
        offset,
    )
    return decodable(view)


def _empty_objects(decoder: Decoder, node: Node) -> object:
    shape = _shape_of(node[1])
    if math.prod(shape) != len(node) - 3:
        raise ValueError(f"{len(node) - 3} cells are given for an array of shape {shape}")
    return np.empty(shape, object, order="F" if node[2] == "F" else "C")


@_fills(_empty_objects, "objects")
def _fill_objects(decoder: Decoder, value: Array, node: Node) -> None:
    flat = np.empty(value.size, object)
    for index, item in enumerate(decoder.cells(node, 3)):
        flat[index] = item
    value[...] = flat.reshape(value.shape)


@_makes("strings")
def _strings(decoder: Decoder, node: Node) -> object:
    dtype, shape, cells = decoder.dtype(node[1]), _shape_of(node[2]), decoder.cells(node, 3)
    if not dtypes.is_strings(dtype) or math.prod(shape) != len(cells):
        raise ValueError(f"{len(cells)} cells are given for an array of {dtype} and shape {shape}")
    if any(isinstance(cell, list | tuple | np.ndarray | Record) for cell in cells):
        raise TypeError("an array of text contains a value that is not text")
    return np.array(cells, dtype).reshape(shape)


def _empty_fields(decoder: Decoder, node: Node) -> object:
    dtype, shape, columns = decoder.dtype(node[1]), _shape_of(node[2]), decoder.cells(node, 3)
    if not all(column.shape[: len(shape)] == shape for column in columns) or not columns:
        raise ValueError(f"the fields of an array are not of its shape {shape}")
    is_wide = dtype.itemsize > 1 << 16  # more than the columns are, perhaps
    if is_wide or any(0 in getattr(column, "strides", (0,)) for column in columns):
        decoder.copies(math.prod(shape) * dtype.itemsize)
    return np.empty(shape, dtype)


@_fills(_empty_fields, "fields")
def _fill_fields(decoder: Decoder, value: Array, node: Node) -> None:
    plain = value.view(np.ndarray)
    for name, column in zip(value.dtype.names or (), decoder.cells(node, 3), strict=True):
        plain[name] = np.asarray(column)


@_makes("masked")
def _masked(decoder: Decoder, node: Node) -> object:
    data, mask, fill, hard = decoder.cells(node, 1)
    data = data.read() if isinstance(data, LazyArray) else data
    mask = np.ma.nomask if mask is None else np.asarray(mask)
    array = np.ma.MaskedArray(data, mask=mask, hard_mask=bool(hard))
    if mask is not np.ma.nomask:
        if mask.shape != data.shape:
            raise ValueError("a mask is of another shape than its data")
        array._mask = mask  # type: ignore[attr-defined]  # itself, where the constructor may copy
    if isinstance(fill, list | tuple):
        raise TypeError("a fill value of many items")
    if fill is not None:
        array._fill_value = np.asarray(fill)  # type: ignore[attr-defined]
    return array


_CLASSES: dict[str, type[Array]] = {
    "matrix": np.matrix,
    "recarray": np.recarray,
}


@_makes(*_CLASSES)
def _seen_as(decoder: Decoder, node: Node) -> object:
    return np.asarray(decoder.cell(node[1])).view(_CLASSES[node[0]])
