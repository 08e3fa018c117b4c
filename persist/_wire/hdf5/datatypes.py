"""Map HDF5's datatypes to NumPy's, and convert elements of types that NumPy does not have.

After the format specification, section IV.A.2.d (versions 1 to 5 of the message,
classes 0 to 11). How a type that NumPy lacks is described follows h5py, which wrote
most files that are met: a compound of ``r`` and ``i`` is complex, an enum of
FALSE and TRUE is bool, an opaque of tag ``NUMPY:...`` is NumPy's own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from persist._wire.base import dtype_text
from persist._wire.hdf5 import unusual_numbers
from persist._wire.hdf5 import values as hdf5_values
from persist._wire.hdf5.cursor import Fields, Frame
from persist._wire.hdf5.object_headers import DATATYPE, shared
from persist.errors import DamagedFileError
from persist.typing import DType

__all__ = ["Type", "read_type"]

_DEPTH = 32

Array = np.ndarray[Any, Any]
Convert = Callable[[Array, Frame], Array]


@attrs.frozen
class Type:
    """One datatype.

    Attributes:
        raw: dtype of an element as stored in the file.
        dtype: an element as it is given.
        shape: axes that every element adds (an array type).
        convert: makes given elements of raw ones; None where they are the same.
        details: properties of the type that ``dtype`` cannot express: ``{"class": ...}``.
        kind: name of the class.
    """

    raw: DType
    dtype: DType
    shape: tuple[int, ...] = ()
    convert: Convert | None = None
    details: dict[str, Any] = attrs.Factory(dict)
    kind: str = ""

    @property
    def size(self) -> int:
        """Bytes of an element in the file."""
        return self.raw.itemsize * math.prod(self.shape)

    def given(self, raw: Array, frame: Frame) -> Array:
        """Return raw elements as they are given."""
        return raw if self.convert is None else self.convert(raw, frame)


def read_type(fields: Fields, depth: int = 0) -> Type:
    """Read a datatype message.

    Raises:
        FormatError: it cannot be, or NumPy has nothing like it.
    """
    if depth > _DEPTH:
        fields.damaged(f"a type is nested more than {_DEPTH} times")
    fields.frame.work()
    first = fields.byte()
    bits, size = fields.number(3), fields.number(4)
    kind, version = first & 0x0F, first >> 4
    if not 1 <= version <= 5 or kind >= len(_CLASSES):
        fields.damaged(f"there is no datatype class {kind} of version {version}")
    if not size or size > 0x7FFF_FFFF:
        fields.damaged(f"an element of {size:,} bytes cannot be")
    try:
        return _CLASSES[kind](fields, version, bits, size, depth)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, DamagedFileError):
            raise
        fields.damaged(f"NumPy has no such type ({str(error)[:120]})")


def committed(fields: Fields) -> Type:
    """Read a type that is stored in another object (a named type)."""
    return read_type(shared(fields, DATATYPE))


def _plain(dtype: Any, kind: str, details: dict[str, Any] | None = None) -> Type:
    dtype = dtype_text.from_text(dtype) if isinstance(dtype, str) else dtype
    return Type(dtype, dtype, details=details or {}, kind=kind)


def _integer(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    offset, precision = fields.number(2), fields.number(2)
    end, sign = "><"[not bits & 1], "ui"[bits >> 3 & 1]
    if size in (1, 2, 4, 8) and not offset and precision == 8 * size:
        return _plain(f"{end}{sign}{size}", "integer")
    details = {"class": "integer", "size": size, "precision": precision, "offset": offset}
    if size > 8:
        return _plain(f"V{size}", "integer", details)
    if not 0 < precision + offset <= 8 * size or not precision:
        fields.damaged(f"{precision} bits at {offset} do not fit {size} bytes")
    wide = next(width for width in (1, 2, 4, 8) if width >= size)
    convert = unusual_numbers.integers(end, sign, wide, offset, precision)
    raw, dtype = dtype_text.from_text(f"V{size}"), dtype_text.from_text(f"{sign}{wide}")
    return Type(raw, dtype, (), convert, details, "integer")


def _float(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    layout = unusual_numbers.Float(
        size=size,
        order="><"[not bits & 1] if not bits & 0x40 else "v",
        sign=bits >> 8 & 0xFF,
        norm=bits >> 4 & 3,
        offset=fields.number(2),
        precision=fields.number(2),
        exponent_at=fields.byte(),
        exponent=fields.byte(),
        mantissa_at=fields.byte(),
        mantissa=fields.byte(),
        bias=fields.number(4),
    )
    known = layout.dtype()
    if known is not None:
        return _plain(known, "float")
    details = {"class": "float", **attrs.asdict(layout)}
    if layout.is_extended:
        raw = dtype_text.from_text(f"V{size}")
        return Type(raw, np.dtype(np.longdouble), (), layout.extended, details, "float")
    if size > 8:
        return _plain(f"V{size}", "float", details)
    if not layout.is_sound:
        fields.damaged("the parts of a floating point type do not fit it")
    raw = dtype_text.from_text(f"V{size}")
    return Type(raw, np.dtype("f8"), (), layout.convert, details, "float")


def _time(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    fields.skip(2)
    return _unsigned(size, bits, "time", {"class": "time"})


def _bits(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    offset, precision = fields.number(2), fields.number(2)
    details = {"class": "bitfield", "offset": offset, "precision": precision}
    return _unsigned(size, bits, "bitfield", details)


def _unsigned(size: int, bits: int, kind: str, details: dict[str, object]) -> Type:
    if size in (1, 2, 4, 8):
        return _plain(f"{'><'[not bits & 1]}u{size}", kind, details)
    return _plain(f"V{size}", kind, details)


def _string(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    dtype = dtype_text.from_text(f"S{size}")
    details = {"class": "string", "charset": "UTF-8" if bits >> 4 & 0x0F else "ASCII"}
    pad = bits & 0x0F
    cut = {0: hdf5_values.cut_at_nul, 2: hdf5_values.cut_spaces}.get(pad)
    return Type(dtype, dtype, (), cut, details, "string")


def _opaque(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    tag = fields.take(min(bits & 0xFF, fields.left)).rstrip(b"\0").decode("latin-1")
    details = {"class": "opaque", "tag": tag}
    if tag.startswith("NUMPY:"):  # h5py.opaque_dtype
        dtype = dtype_text.from_text(tag[6:])
        if dtype.itemsize == size and not dtype.hasobject and dtype.kind in "mMV":
            return _plain(dtype, "opaque", details)
    return _plain(f"V{size}", "opaque", details)


def _compound(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    width = 4 if version < 3 else (size.bit_length() + 7) // 8
    names, offsets, types = [], [], []
    for _ in range(bits & 0xFFFF):
        names.append(fields.name(8 if version < 3 else 1))
        offsets.append(fields.number(width))
        extents: tuple[int, ...] = ()
        if version == 1:
            rank = fields.byte()
            fields.skip(3 + 4 + 4)
            extents = tuple(fields.number(4) for _ in range(4))[:rank]
        member = read_type(fields, depth + 1)
        types.append(attrs.evolve(member, shape=extents + member.shape) if extents else member)
        if offsets[-1] + types[-1].size > size:
            fields.damaged(f"member {names[-1]!r} passes the {size} bytes of its compound")
    if not names:
        return _plain(f"V{size}", "compound")
    if names == ["r", "i"] and (half := _is_complex(types, offsets, size)) is not None:
        return _plain(half.str.replace("f", "c")[:2] + str(size), "complex")
    raw = dtype_text.structured(
        names, [_member(one.raw, one.shape) for one in types], offsets, size
    )
    details = {name: one.details for name, one in zip(names, types, strict=True) if one.details}
    about = {"class": "compound", "members": details} if details else {}
    if all(one.convert is None for one in types):
        return Type(raw, raw, details=about, kind="compound")
    given = _packed(names, [_member(one.dtype, one.shape) for one in types])

    def convert(elements: Array, frame: Frame) -> Array:
        made = np.empty(elements.shape, given)
        for name, one in zip(names, types, strict=True):
            made[name] = one.given(elements[name], frame)
        return made

    return Type(raw, given, (), convert, about, "compound")


def _member(dtype: DType, shape: tuple[int, ...]) -> DType:
    return dtype_text.subarray(dtype, shape) if shape else dtype


def _packed(names: list[str], formats: list[DType]) -> DType:
    """A structure whose members follow each other without gaps."""
    ends = list(itertools.accumulate((form.itemsize for form in formats), initial=0))
    return dtype_text.structured(names, formats, ends[:-1], ends[-1])


def _is_complex(types: list[Type], offsets: list[int], size: int) -> DType | None:
    real, imaginary = types
    half = real.raw
    same = half == imaginary.raw and not real.shape and not imaginary.shape
    if not same or half.kind != "f" or half.itemsize not in (4, 8, 16) or real.convert:
        return None
    return half if offsets == [0, half.itemsize] and size == 2 * half.itemsize else None


def _reference(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    kind, wide = bits & 0x0F, fields.frame.wide
    if kind == 0 and size == wide:
        details = {"class": "reference", "to": "object"}
        raw = dtype_text.from_text(f"<u{wide}")
        return Type(raw, np.dtype(object), (), hdf5_values.objects, details, "reference")
    if kind == 1 and size == wide + 4:
        details = {"class": "reference", "to": "region"}
        raw = _packed(["address", "index"], [dtype_text.from_text(f"<u{wide}"), np.dtype("<u4")])
        return Type(raw, np.dtype(object), (), hdf5_values.regions, details, "reference")
    return _plain(f"V{size}", "reference", {"class": "reference", "type": kind})


def _enum(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    base = read_type(fields, depth + 1)
    count = bits & 0xFFFF
    names = [fields.name(8 if version < 3 else 1) for _ in range(count)]
    if base.size != size or base.raw.kind not in "iuV" or base.dtype.kind not in "iu":
        fields.damaged(f"an enum of {base.dtype} and {size} bytes cannot be")
    raw = np.frombuffer(fields.take(count * size), base.raw, count)
    values = base.given(raw, fields.frame).tolist()
    members = dict(zip(names, values, strict=True))
    details = {"class": "enum", "members": members}
    if size == 1 and members == {"FALSE": 0, "TRUE": 1}:
        return _plain("?", "enum", {})
    return attrs.evolve(base, details=details, kind="enum")


def _varying(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    base = read_type(fields, depth + 1)
    wide = fields.frame.wide
    if size != 8 + wide:
        fields.damaged(f"a value of varying length takes {8 + wide} bytes, not {size}")
    count, address = np.dtype("<u4"), dtype_text.from_text(f"<u{wide}")
    raw = _packed(["count", "address", "index"], [count, address, count])
    if bits & 0x0F == 1:
        charset = "UTF-8" if bits >> 8 & 0x0F else "ASCII"
        details: dict[str, object] = {"class": "string", "charset": charset, "length": "varying"}
        return Type(raw, np.dtype(object), (), hdf5_values.texts, details, "string")
    details = {"class": "sequence", "of": base.details or base.dtype.str}

    def convert(elements: Array, frame: Frame) -> Array:
        return hdf5_values.sequences(elements, frame, base.raw, base.shape, base.given)

    return Type(raw, np.dtype(object), (), convert, details, "sequence")


def _array(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    rank = fields.byte()
    fields.skip(3 if version < 3 else 0)
    extents = tuple(fields.number(4) for _ in range(rank))
    fields.skip(4 * rank if version < 3 else 0)
    base = read_type(fields, depth + 1)
    shape = extents + base.shape
    if base.raw.itemsize * math.prod(shape) != size or len(shape) > 32:
        fields.damaged(f"an array type of {extents} and {size} bytes cannot be")
    return attrs.evolve(base, shape=shape)


def _complex(fields: Fields, version: int, bits: int, size: int, depth: int) -> Type:
    base = read_type(fields, depth + 1)
    if base.raw.kind == "f" and base.raw.itemsize in (4, 8, 16) and 2 * base.size == size:
        return _plain(base.raw.str.replace("f", "c")[:2] + str(size), "complex")
    if base.shape or base.convert or 2 * base.size != size:
        fields.damaged(f"a complex type of {size} bytes of {base.dtype} cannot be")
    return _plain(_packed(["r", "i"], [base.raw, base.raw]), "complex", {"class": "complex"})


_CLASSES: tuple[Callable[[Fields, int, int, int, int], Type], ...] = (
    _integer, _float, _time, _string, _bits, _opaque, _compound, _reference, _enum, _varying,
    _array, _complex,
)  # fmt: skip
