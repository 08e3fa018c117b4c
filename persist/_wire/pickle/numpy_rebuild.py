"""How pickles spell NumPy's arrays, dtypes, scalars and ufuncs, of every release.

All is rebuilt from checked parts: shape, dtype and data must fit together
before NumPy sees them, and NumPy's own ``__setstate__`` is never called on what
a file says.

Sources: ``numpy/core/src/multiarray/methods.c`` (``array_reduce``,
``array_setstate``), ``descriptor.c`` (``arraydescr_reduce``,
``arraydescr_setstate``), ``numpy/ma/core.py`` (``__getstate__``,
``_mareconstruct``), ``numpy/core/numeric.py`` (``_frombuffer``), of NumPy 1.0
to 2.4. Python 2 dtypes read "O8"; ``numpy.core`` became ``numpy._core`` in 2.0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from persist._wire.base import dtype_text
from persist._wire.base.ml_dtypes import (
    EncodedArray,
    decodable,
    decoded,
    decoded_dtype,
    extended,
    missing_name,
)
from persist._wire.base.source import MIB, is_text_valid
from persist._wire.pickle.handlers import INERT, Finisher, Rebuilder
from persist._wire.pickle.machine import Machine
from persist.tree import Global, Record
from persist.typing import Array, DType

__all__ = ["FINISH", "REBUILD", "array_of_state"]

REBUILD: dict[str, Rebuilder] = {}
FINISH: dict[str, Finisher] = {}

_CORES = ("numpy.core", "numpy._core")


def _core(module: str, name: str) -> tuple[str, ...]:
    return tuple(f"{core}.{module}.{name}" for core in _CORES)


# dtypes


def _dtype(machine: Machine, args: tuple[object, ...]) -> object:
    """``dtype(code, align, copy)``: nothing but the kind is known before BUILD; that of a
    subclass of scalar (``numpy.record``) names the class instead."""
    return INERT


def _finish_dtype(machine: Machine, record: Record) -> object:
    """BUILD of a dtype: (version, byte order, subarray, names, fields, itemsize, alignment, flags,
    and datetime metadata)."""
    base = _code_of(machine, record.args)
    state = record.state
    if record.args and isinstance(record.args[0], Global) and record.args[0].module in _EXTENDED:
        return base
    if not isinstance(state, tuple) or len(state) < 5 or base is INERT:
        return INERT
    # Versions 0 and 1 (NumPy before 1.0) have no separate names of fields.
    version = state[0] if isinstance(state[0], int) else 0
    if version < 3 and len(state) in (5, 6, 7):
        return INERT
    order, subarray, names, fields = state[1], state[2], state[3], state[4]
    if subarray is not None:
        inner, shape = subarray
        shape = shape if isinstance(shape, tuple) else (shape,)
        return _bounded(machine, dtype_text.subarray(_checked(inner), _shape_of(shape)))
    if names is not None:
        return _bounded(machine, _structured(names, fields, state, base))
    if len(state) > 8 and base.kind in "mM" and state[8] is not None:
        base = _with_unit(base.kind, state[8])
    if base.kind in "USV" and isinstance(state[5], int) and state[5] >= 0:
        base = _sized(base, state[5])
    order = order.decode("ascii") if isinstance(order, bytes) else order
    return base.newbyteorder(order) if order in ("<", ">", "=") else base


def _code_of(machine: Machine, args: tuple[object, ...]) -> Any:
    """The dtype that a type code means; "O8", "O4", "f8", "V16", "b1", or a scalar class."""
    code = args[0] if args else None
    if isinstance(code, Global):
        if code.module in _EXTENDED:
            return extended(code.name)
        if code.name in ("record", "void") and code.module.partition(".")[0] == "numpy":
            return np.dtype(np.void)
        if code.name not in _SCALARS or code.module.partition(".")[0] != "numpy":
            return INERT
        return np.dtype(_SCALARS[code.name])
    if isinstance(code, bytes):
        code = code.decode("ascii")
    if not isinstance(code, str) or len(code) > 24:
        return INERT
    try:
        return dtype_text.from_text(code)
    except ValueError:
        return INERT


# Where the types are at home that NumPy lacks (jaxlib's releases had them before ml_dtypes).
_EXTENDED = frozenset(("ml_dtypes", "jaxlib.xla_extension"))

_SCALARS = {
    name: getattr(np, name)
    for name in (
        "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
        "float32", "float64", "complex64", "complex128", "longdouble", "clongdouble", "object_",
    )
}  # fmt: skip


def _with_unit(kind: str, metadata: Any) -> DType:
    """The unit of a datetime64 or timedelta64: (metadata dict, (unit, num, den, events))."""
    unit = metadata[1] if isinstance(metadata, tuple) and len(metadata) == 2 else metadata
    name = unit[0].decode("ascii") if isinstance(unit[0], bytes) else unit[0]
    number = unit[1]
    if name == "generic":
        return dtype_text.from_text(f"{kind}8")
    if name not in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "μs"):
        raise ValueError(f"unit {name!r}")
    return dtype_text.from_text(f"{kind}8[{int(number)}{name}]")


def _structured(names: Any, fields: Any, state: tuple[object, ...], base: DType) -> Any:
    formats, offsets, titles = [], [], []
    for name in names:
        field = fields[name]
        formats.append(_checked(field[0]))
        offsets.append(int(field[1]))
        titles.append(field[2] if len(field) > 2 else None)
    size = state[5] if isinstance(state[5], int) else 0
    parts = list(zip(offsets, formats, strict=True))
    if size <= 0:
        size = max((offset + form.itemsize for offset, form in parts), default=0)
    flags = state[7] if len(state) > 7 and isinstance(state[7], int) else 0
    return dtype_text.structured(
        [_text(name) for name in names],
        formats,
        offsets,
        size,
        titles,
        align=bool(flags & 0x80) and _is_aligned(parts),
        record=base.type is np.record,
    )


def _sized(dtype: DType, size: int) -> DType:
    """The dtype of text, bytes or void of that many bytes."""
    return dtype_text.from_text(f"{dtype.kind}{size // (4 if dtype.kind == 'U' else 1)}")


def _bounded(machine: Machine, dtype: DType) -> DType:
    """A dtype of dtypes, if they are not nested too deep (NumPy walks them by recursion) or many."""
    machine.steps += dtype_text.count_parts(dtype)
    return dtype


def _is_aligned(parts: list[tuple[int, DType]]) -> bool:
    return all(not form.alignment or offset % form.alignment == 0 for offset, form in parts)


def _text(name: object) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def _checked(value: object) -> DType:
    if isinstance(value, Record) and value.cls.qualname == "numpy.dtype":
        raise ValueError("a dtype without its state")
    if not isinstance(value, np.dtype):
        raise TypeError(f"a {type(value).__name__} is where a dtype was expected")
    return value


def _shape_of(shape: Any) -> tuple[int, ...]:
    are_plain = type(shape) is tuple and len(shape) <= 64 and {*map(type, shape)} <= {int}
    if are_plain and min(shape, default=0) >= 0:
        return shape  # type: ignore[no-any-return]
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, tuple | list) or len(shape) > 64:
        raise TypeError("no shape")
    if not all(isinstance(extent, int | np.integer) and extent >= 0 for extent in shape):
        raise ValueError(f"shape {shape}")
    return tuple(int(extent) for extent in shape)


# Arrays.


def _named_reconstruct(qualname: str) -> Rebuilder:
    """``_reconstruct(class, (0,), b'b')``: an array to be, whose BUILD says everything.

    Until then it is a record of that class, and stays one where the class is a
    subclass of one's own.
    """
    module, _, name = qualname.rpartition(".")
    maker = Global(module, name)

    def reconstruct(machine: Machine, args: tuple[object, ...]) -> object:
        if args and isinstance(args[0], Global):
            return Record(args[0], kind="reduce", maker=maker, args=args)
        return INERT

    return reconstruct


_PLAIN_CLASSES = {
    "ndarray": np.ndarray,
    "matrix": np.matrix,
    "recarray": np.recarray,
    "memmap": np.ndarray,
    "chararray": np.ndarray,
    "MaskedArray": np.ndarray,
}


def _finish_array(machine: Machine, record: Record) -> object:
    """BUILD of an array: (version, shape, dtype, is Fortran, data); a subclass of one's own stays
    a record, its array is the first five items of its state."""
    cls = record.args[0] if record.args else None
    if not isinstance(cls, Global) or cls.module.partition(".")[0] not in ("numpy", "numarray"):
        return INERT
    kind = _PLAIN_CLASSES.get(cls.name)
    if kind is None:
        return INERT
    array = array_of_state(machine, record.state)
    if array is INERT or kind is np.ndarray:
        return array
    if isinstance(array, EncodedArray):
        return INERT
    if kind is np.matrix and array.ndim != 2:
        return INERT
    if kind is np.recarray and array.dtype.names is not None:
        array = array.view(np.dtype((np.record, array.dtype)))
    return array.view(kind)


def array_of_state(machine: Machine, state: object) -> Any:
    """Return the array that a pickled state means, or INERT.

    Args:
        machine: the machine that read it (for Python 2 strings and limits).
        state: (version, shape, dtype, is Fortran, data); NumPy before 1.0
            leaves the version out. Data is bytes, or a list for objects.
    """
    if not isinstance(state, tuple) or len(state) < 4:
        return INERT
    if isinstance(state[0], int) and len(state) >= 5:
        shape, dtype, is_fortran, data = state[1:5]
    else:
        shape, dtype, is_fortran, data = state[:4]
    shape, dtype = _shape_of(shape), _checked(dtype)
    order = "F" if is_fortran else "C"
    if dtype.hasobject:
        return _object_array(shape, dtype, order, data)
    array = _raw_array(machine, shape, dtype, order, data)
    return array if array is INERT else decodable(array)


def _raw_array(
    machine: Machine, shape: tuple[int, ...], dtype: DType, order: Any, data: object
) -> Any:
    raw = data if isinstance(data, bytes | bytearray | memoryview) else machine.raw(data)
    if raw is None and isinstance(data, np.ndarray):
        raw = data.tobytes()
    if raw is None or math.prod(shape) * dtype.itemsize != len(raw):
        return INERT
    if not dtype.itemsize or not len(raw):
        return _of_nothing(shape, dtype, order)
    if machine.source.writable:
        raw = bytearray(raw)
    array = np.ndarray(shape, dtype, raw, order=order)
    return array if dtype.kind not in "UV" or is_text_valid(array) else INERT


_ROW = 1 << 12  # bytes of a row with objects; wider ones are few, or a lie
_EMPTY = 1 << 24  # items without bytes: a claim that costs the file nothing, but us work


def _of_nothing(shape: tuple[int, ...], dtype: DType, order: Any) -> object:
    """An array without data: no items, or items of no bytes (of which NumPy makes some of one)."""
    return np.zeros(shape, dtype, order=order) if math.prod(shape) <= _EMPTY else INERT


def _object_array(shape: tuple[int, ...], dtype: DType, order: Any, data: object) -> Any:
    """An array of objects, whose list is in C order whatever the array's order is.

    Source: ``_getlist_pkl`` and ``_setlist_pkl`` in ``methods.c``, which iterate in C order.
    """
    if not isinstance(data, list) or math.prod(shape) != len(data):
        return INERT
    if dtype.itemsize > _ROW and dtype.itemsize * len(data) > 64 * MIB:
        return INERT
    flat = np.empty(len(data), dtype)
    for index, item in enumerate(data):
        flat[index] = item if dtype.names is None else tuple(item)
    return np.asarray(flat.reshape(shape), order=order)


def _frombuffer(machine: Machine, args: tuple[object, ...]) -> object:
    """Protocol 5: (bytes, dtype, shape, order), and the axes' order since NumPy 2.1."""
    data, dtype, shape, order = args[:4]
    if order == "K" and len(args) > 4:  # the shape is that in memory; the axes are turned after
        array = _raw_array(machine, _shape_of(shape), _checked(dtype), "C", data)
        return INERT if array is INERT else decodable(array.transpose(_shape_of(args[4])))
    array = _raw_array(machine, _shape_of(shape), _checked(dtype), order, data)
    return array if array is INERT else decodable(array)


def _scalar(machine: Machine, args: tuple[object, ...]) -> object:
    """``scalar(dtype, bytes)``; of objects, the object itself."""
    dtype = _checked(args[0])
    if dtype.hasobject:
        return args[1] if len(args) == 2 and dtype.names is None else INERT
    data = machine.raw(args[1]) if len(args) == 2 else None
    if len(args) == 1:
        machine.source.spend_copies(dtype.itemsize)
        return np.zeros((), dtype)[()]
    if data is None or len(data) != dtype.itemsize:
        if data is not None and dtype.itemsize == 0:
            dtype = _sized(dtype, len(data))
        else:
            return INERT
    value = np.ndarray((), dtype, data) if len(data) else np.zeros((), dtype)
    if missing_name(dtype):
        return decoded(value)[()] if decoded_dtype(dtype) != dtype else decodable(value)
    return value[()] if is_text_valid(value) else INERT


def _created(machine: Machine, args: tuple[object, ...]) -> object:
    """dill's ``_create_array(function, arguments, state, attributes)``: what REDUCE and BUILD say
    elsewhere, in one call. The attributes are of use to subclasses of one's own only; with them,
    those stay as they are.

    Source: ``dill/_dill.py`` (``Pickler.save``, ``_create_array``), since 0.2.
    """
    function, made_with, state = args[:3]
    name = function.qualname if isinstance(function, Global) else ""
    if name not in FINISH or name not in REBUILD or not isinstance(made_with, tuple):
        return INERT
    record = REBUILD[name](machine, made_with)
    if not isinstance(record, Record):
        return INERT
    record.state = state
    value = FINISH[name](machine, record)
    return record if value is INERT and not any(args[3:]) else value


# Masked arrays.


def _finish_masked(machine: Machine, record: Record) -> object:
    """BUILD of a masked array: (1, shape, dtype, is Fortran, data, mask, fill value).

    Source: ``MaskedArray.__setstate__`` and ``_mareconstruct(class, baseclass, shape, type)``.
    """
    cls, base = record.args[:2]
    if not isinstance(cls, Global) or cls.qualname not in _MASKED:
        return INERT
    if not isinstance(base, Global) or base.name not in _PLAIN_CLASSES:
        return INERT
    state = record.state
    if not isinstance(state, tuple) or len(state) != 7:
        return INERT
    _, shape, dtype, is_fortran, _, mask, fill = state
    data = array_of_state(machine, state[:5])
    if data is INERT or isinstance(data, EncodedArray):
        return INERT
    order = "F" if is_fortran else "C"
    mask = _raw_array(
        machine, _shape_of(shape), np.ma.make_mask_descr(_checked(dtype)), order, mask
    )
    if mask is INERT:
        return INERT
    array = np.ma.MaskedArray(data, mask=mask)
    array._fill_value = _fill_of(fill, array.dtype)  # type: ignore[attr-defined]
    return array


def _fill_of(fill: object, dtype: DType) -> object:
    """The fill value as an array without axes; whatever else the file has there cannot be one."""
    if fill is None:
        return None
    if dtype.kind == "O":
        value = np.empty((), object)
        value[()] = fill
        return value
    if isinstance(fill, np.ndarray) and fill.size == 1:
        return np.array(fill.reshape(()), dtype=dtype)
    if (isinstance(fill, tuple) and dtype.names is None) or isinstance(fill, list | np.ndarray):
        raise TypeError("a fill value of many items")
    return np.array(fill, dtype=dtype)


_MASKED = (
    "numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray", "numpy.core.ma.MaskedArray",
    "numpy.ma.mrecords.MaskedRecords",
)  # fmt: skip


def _array_of_jax(machine: Machine, args: tuple[object, ...]) -> object:
    """``_reconstruct_array(function, arguments, state, aval)``: NumPy's own reduction of the values.

    ``aval`` holds ``weak_type``, a truth value about promotion, and up to 0.4 ``named_shape``;
    with anything else in it the array stays a record.

    Source: ``jax/_src/array.py`` (``ArrayImpl.__reduce__``), ``jax/_src/device_array.py`` before 0.4.
    """
    function, made_with, state, aval = args
    if not isinstance(aval, dict) or aval.get("named_shape") or aval.keys() - _OF_JAX:
        return INERT
    return _created(machine, (function, made_with, state, None))


_OF_JAX = {"weak_type", "named_shape"}


# Functions by name.


def _ufunc(machine: Machine, args: tuple[object, ...]) -> object:
    module, name = args
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 4096:
        return INERT
    return Global(module, name)


for _name in (*_core("multiarray", "_reconstruct"), *_core("_multiarray_umath", "_reconstruct")):
    REBUILD[_name] = _named_reconstruct(_name)
    FINISH[_name] = _finish_array
for _name in ("numpy.dtype", "numpy.dtypes.dtype", *_core("multiarray", "dtype")):
    REBUILD[_name] = _dtype
    FINISH[_name] = _finish_dtype
for _name in (*_core("multiarray", "scalar"), *_core("_multiarray_umath", "scalar")):
    REBUILD[_name] = _scalar
for _name in ("dill._dill._create_array", "dill.dill._create_array"):
    REBUILD[_name] = _created
# What JAX calls its arrays' maker, in each module where it has been.
for _name in (
    "jax._src.array._reconstruct_array",
    "jax._src.device_array.reconstruct_device_array",
    "jax._src.device_array._reconstruct_device_array",
    "jax.interpreters.xla.reconstruct_device_array",
    "jax.interpreters.xla._reconstruct_device_array",
):
    REBUILD[_name] = _array_of_jax
for _name in _core("numeric", "_frombuffer"):
    REBUILD[_name] = _frombuffer
for _name in (
    *_core("multiarray", "_ufunc_reconstruct"),
    "numpy.core._ufunc_reconstruct",
    "numpy._core._ufunc_reconstruct",
):
    REBUILD[_name] = _ufunc
for _name in (
    "numpy.ma.core._mareconstruct",
    "numpy.ma._mareconstruct",
    "numpy.core.ma._mareconstruct",
    "numpy.ma.mrecords._mrreconstruct",
):
    REBUILD[_name] = _named_reconstruct(_name)
    FINISH[_name] = _finish_masked
# The envelope of `Versioned` for subclasses of ndarray (docs/envelope.md): (class, array).
REBUILD["persist.versioned._array"] = _named_reconstruct("persist.versioned._array")


def _string_dtype(machine: Machine, args: tuple[object, ...]) -> object:
    """NumPy 2's ``StringDType(coerce[, na_object])``; before NumPy 2, such arrays hold objects."""
    made = getattr(getattr(np, "dtypes", None), "StringDType", None)
    if made is None:
        return np.dtype(object)
    missing = args[1:2]
    if len(args) not in (1, 2) or any(
        type(item) not in (type(None), float, str) for item in missing
    ):
        return INERT
    return made(coerce=bool(args[0]), **({"na_object": missing[0]} if missing else {}))


REBUILD["numpy._core._internal._convert_to_stringdtype_kwargs"] = _string_dtype


def mask_of_parts(state: tuple[object, ...]) -> Array | None:
    """Return the mask in the state of a subclass of masked array that is not here, or None."""
    if len(state) < 7 or not isinstance(state[2], np.dtype):
        return None
    return array_of_parts((*state[:2], np.ma.make_mask_descr(state[2]), state[3], state[5]))


def array_of_parts(state: object) -> Array | None:
    """Return the array in the state of an ndarray subclass that is not here, or None."""
    if not isinstance(state, tuple) or len(state) < 5 or not isinstance(state[2], np.dtype):
        return None
    data = state[4]
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    try:
        shape, dtype = _shape_of(state[1]), state[2]
        order: Any = "F" if state[3] else "C"
        if dtype.hasobject:
            array = _object_array(shape, dtype, order, data)
        elif isinstance(data, bytes | bytearray) and math.prod(shape) * dtype.itemsize == len(data):
            array = (
                np.ndarray(shape, dtype, data, order=order)
                if data
                else _of_nothing(shape, dtype, "C")
            )
        else:
            return None
    except (TypeError, ValueError):
        return None
    return None if array is INERT or not is_text_valid(array) else decodable(array)
