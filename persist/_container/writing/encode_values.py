"""How arrays, bytes and the standard library's values are encoded; `encode` has the containers.

``docs/container.md``, section 6, specifies the nodes.
"""

from __future__ import annotations

import array as array_module
import datetime
from collections.abc import Callable
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from persist._container import dtypes
from persist._container.writing.encode import (
    Encoder,
    Frame,
    Steps,
    by_index,
    by_key,
    opens,
    opens_like,
    opens_named,
    through,
)
from persist._container.writing.json_text import bits
from persist._container.writing.members import Item
from persist._wire.base.dtype_text import from_text
from persist._wire.base.ml_dtypes import encoded
from persist._wire.torch.quantized import storage_record
from persist._wire.torch.storage import Storage
from persist.errors import FormatError
from persist.tree import LazyArray
from persist.typing import Array, DType

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction
    from pathlib import PurePath
    from uuid import UUID
    from zoneinfo import ZoneInfo

__all__: list[str] = []

_IN_LINE = 1024  # bytes from which on they are a member


def _by_place(frame: Frame, place: int) -> str | None:
    if not isinstance(frame.keys, Steps):
        frame.keys = Steps(
            "/".join(map(str, at)) for at in np.ndindex(*frame.keys)
        )  # the index in each axis
    return frame.keys[place] or None


def _by_mask(frame: Frame, place: int) -> str | None:
    return (None, "mask", "fill_value")[place]


# Arrays.


def _item(
    encoder: Encoder, frame: Frame, array: Array | LazyArray, head: list[object] | None = None
) -> None:
    path = encoder.array_path(frame, len(frame.cells) - frame.skip)
    if array.dtype.isbuiltin != 1:
        encoder.dtype_text(array.dtype)  # its node, if it needs one, comes before the array's
    encoder.items.append(Item(len(encoder.nodes), path, array, head))


@opens_like(np.memmap)
@opens(np.ndarray)
def _array(encoder: Encoder, frame: Frame, value: Array) -> Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, value)
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])  # filled in when all arrays are known
    return None


@opens(LazyArray)
def _lazy(encoder: Encoder, frame: Frame, value: LazyArray) -> Frame | None:
    if value.dtype.hasobject:
        return _object_array(encoder, frame, encoder.fresh(value.read()))
    encoder.say(value.dtype)
    _item(encoder, frame, value)
    encoder.add(frame, value, [])
    return None


@opens_like(LazyArray)  # a tensor: read, it shows what memory it shares
def _read(encoder: Encoder, frame: Frame, value: LazyArray) -> Frame | None:
    record = getattr(value, "record", None)  # of a quantized tensor, whose numbers need its scale
    if record is None and isinstance(value, Storage):
        record = storage_record(value)
        if record is not None:
            encoder.fresh(record)
    if record is not None:
        known = encoder.memo.get(id(record))
        if known is None:
            return encoder.open(frame, record)
        frame.cells.append(known)
        return None
    return _array(encoder, frame, encoder.fresh(encoded(value)))


def _object_array(encoder: Encoder, frame: Frame, value: Array) -> Frame | None:
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


@opens_named("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
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
def _seen_as(encoder: Encoder, frame: Frame, value: Array) -> Frame | None:
    plain = encoder.fresh(value.view(np.ndarray))
    return Frame(frame, [type(value).__name__], iter((plain,)), through)


@opens(type(...), type(NotImplemented))
@opens_named("numpy.ma.MaskedConstant", "numpy.ma.core.MaskedConstant")
def _constant(encoder: Encoder, frame: Frame, value: object) -> Frame | None:
    name = "numpy.ma.masked" if isinstance(value, np.ndarray) else repr(value)
    encoder.add(frame, value, ["constant", name])
    return None


@opens(bytes, bytearray)
def _bytes(encoder: Encoder, frame: Frame, value: bytes | bytearray) -> Frame | None:
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
    _item(encoder, frame, np.array(value, from_text(code)), ["array.array", code])
    encoder.add(frame, value, [])
    return None


# NumPy's scalars and dtypes.


@opens_like(np.generic)
@opens(*(kind for kind in np.sctypeDict.values() if kind is not np.object_))
def _scalar(encoder: Encoder, frame: Frame, value: np.generic) -> Frame | None:
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


@opens_like(np.dtype)
def _dtype(encoder: Encoder, frame: Frame, value: DType) -> Frame | None:
    what = encoder.dtype_text(value)
    if type(what) is list:
        encoder.memo[id(value)] = what
        frame.cells.append(what)
    else:
        encoder.add(frame, value, ["dtype", what])
    return None


# The standard library's values.


_Make = TypeVar("_Make", bound=Callable[[Any], list[object]])


def _leaf(*kinds: type | str) -> Callable[[_Make], _Make]:
    """Register the function that makes a node without parts, for types or their dotted names."""

    def register(make: _Make) -> _Make:
        def opener(encoder: Encoder, frame: Frame, value: object) -> Frame | None:
            encoder.add(frame, value, make(value))
            return None

        opens(*(kind for kind in kinds if not isinstance(kind, str)))(opener)
        opens_named(*(kind for kind in kinds if isinstance(kind, str)))(opener)
        return make

    return register


@_leaf(complex)
def _complex(value: complex) -> list[object]:
    return ["complex", bits(value.real), bits(value.imag)]


@_leaf(range)
def _range(value: range) -> list[object]:
    return ["range", value.start, value.stop, value.step]


@opens(slice)
def _slice(encoder: Encoder, frame: Frame, value: slice) -> Frame | None:
    parts = (value.start, value.stop, value.step)
    return Frame(frame, ["slice"], iter(parts), by_index, None, immutable=True)


@_leaf(datetime.date)
def _date(value: datetime.date) -> list[object]:
    return ["date", value.year, value.month, value.day]


@opens(datetime.datetime)
def _datetime(encoder: Encoder, frame: Frame, value: datetime.datetime) -> Frame | None:
    date = [value.year, value.month, value.day]
    head = ["datetime", *date, value.hour, value.minute, value.second, value.microsecond]
    return Frame(frame, [*head, value.fold], iter((value.tzinfo,)), through)


@opens(datetime.time)
def _time(encoder: Encoder, frame: Frame, value: datetime.time) -> Frame | None:
    head = ["time", value.hour, value.minute, value.second, value.microsecond, value.fold]
    return Frame(frame, head, iter((value.tzinfo,)), through)


@_leaf(datetime.timedelta)
def _timedelta(value: datetime.timedelta) -> list[object]:
    return ["timedelta", value.days, value.seconds, value.microseconds]


@_leaf(datetime.timezone)
def _timezone(value: Any) -> list[object]:
    delta, *name = value.__getinitargs__()
    return ["timezone", delta.days, delta.seconds, delta.microseconds, name[0] if name else None]


@opens_named("zoneinfo.ZoneInfo")
def _zone_info(encoder: Encoder, frame: Frame, value: ZoneInfo) -> Frame | None:
    if value.key is None:
        raise FormatError(
            "a time zone that was read from a file has no name to be stored by.",
            file=encoder.name or None,
            remedy="Use zoneinfo.ZoneInfo(key), or a datetime.timezone.",
        )
    encoder.add(frame, value, ["ZoneInfo", value.key])
    return None


@_leaf("decimal.Decimal", PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
def _as_text(value: Decimal | PurePath) -> list[object]:
    return [type(value).__name__, str(value)]


@_leaf("uuid.UUID")
def _uuid(value: UUID) -> list[object]:
    return ["UUID", value.hex]


@_leaf("fractions.Fraction")
def _fraction(value: Fraction) -> list[object]:
    return ["Fraction", value.numerator, value.denominator]
