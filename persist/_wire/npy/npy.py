"""The NPY format: a header that is a Python literal, then the raw array or a pickle.

After ``numpy/lib/format.py`` (NEP 1; versions 1.0, 2.0 of NumPy 1.9 for long
headers, 3.0 of NumPy 1.17 for UTF-8 field names). The header is parsed by a
small grammar of its own, without recursion and without ``eval``: NumPy before
1.13 evaluated it. It also takes what Python 2 wrote (``2L``) and what NumPy 2
wrote for NumPy integers in a shape (``np.int64(3)``, numpy#28334).

Object arrays hold a pickle, which goes through the pickle machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from persist._runtime.lazy_regex import regex
from persist._wire.base import dtype_text
from persist._wire.base.source import Cursor, Source
from persist.errors import DamagedFileError, PersistError
from persist.tree import LazyArray
from persist.typing import Array, DType

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine

__all__ = ["MAGIC", "Header", "header_bytes", "plain_machine", "read_array", "read_header"]

MAGIC = b"\x93NUMPY"

# (major, minor) -> bytes of the header's length, its encoding.
_VERSIONS = {(1, 0): (2, "latin-1"), (2, 0): (4, "latin-1"), (3, 0): (4, "utf-8")}
_KEYS = {"descr", "fortran_order", "shape"}
_DEPTH = 64  # levels of nesting in a header; NumPy's own constructor recurses
_ALIGNMENT = 64


class Header(NamedTuple):
    """What is before the data of one NPY array.

    Attributes:
        dtype: of the array.
        shape: of the array.
        is_fortran: whether the first axis runs fastest in the file.
        version: (major, minor) of the format.
        text: the literal as it is in the file.
        length: bytes from the magic to the data.
    """

    dtype: DType
    shape: tuple[int, ...]
    is_fortran: bool
    version: tuple[int, int]
    text: str
    length: int

    @property
    def order(self) -> str:
        """``"F"`` or ``"C"``."""
        return "F" if self.is_fortran else "C"

    @property
    def nbytes(self) -> int:
        """Bytes of the raw data (of no meaning for objects)."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_array(
    cursor: Cursor,
    machine_factory: Callable[[Source], Machine] | None = None,
    header: Header | None = None,
) -> Array | LazyArray | Any:
    """Read the array that comes next, without reading its data where it is raw.

    Args:
        cursor: is at the magic, or behind ``header``; left behind the array.
        machine_factory: returns the machine that reads object arrays; without it
            one that knows the plain values and NumPy's.
        header: where it was read already.

    Returns:
        A view of the map, a `LazyArray`, or for objects what the pickle holds.

    Raises:
        DamagedFileError: the header or the data is not what the format asks.
    """
    header = header or read_header(cursor)
    if not header.dtype.hasobject:
        return cursor.array(header.dtype, header.shape, header.order)
    machine = (machine_factory or plain_machine)(cursor.source)
    return machine.load(cursor)


def plain_machine(source: Source, **options: Any) -> Machine:
    """Return the machine that reads pickles of plain values and of NumPy's; with options of `Machine`."""
    from persist._wire.pickle import numpy_rebuild, stdlib_rebuild
    from persist._wire.pickle.machine import Machine

    return Machine(
        source,
        rebuild={**stdlib_rebuild.REBUILD, **numpy_rebuild.REBUILD},
        finish={**stdlib_rebuild.FINISH, **numpy_rebuild.FINISH},
        **options,
    )


def read_header(cursor: Cursor) -> Header:
    """Read the header that comes next, and leave the cursor at the data.

    Raises:
        DamagedFileError: it is none, or says what cannot be.
    """
    start = cursor.offset
    magic = cursor.read(min(len(MAGIC), cursor.left))
    if magic != MAGIC:
        cursor.offset = start
        raise cursor.damaged(f"an NPY array should begin here, not {magic!r}.")
    version = (cursor.u8(), cursor.u8())
    if version not in _VERSIONS:
        raise cursor.damaged(
            f"the NPY version is {version[0]}.{version[1]}.", "Versions 1.0, 2.0 and 3.0 are known."
        )
    width, encoding = _VERSIONS[version]
    length = cursor.u16() if width == 2 else cursor.u32()
    place = Cursor(cursor.source, cursor.offset)
    try:
        text = cursor.read(length).decode(encoding)
        dtype, shape, is_fortran = _usual(text) or _checked(_literal(text))
    except PersistError:
        raise
    except (TypeError, ValueError, OverflowError, SyntaxError, KeyError, MemoryError) as error:
        raise place.damaged(
            f"the NPY header cannot be understood ({_brief(error)}).",
            "A dict of descr, fortran_order and shape was expected. "
            "Copy the file again from where it came from.",
        ) from error
    return Header(dtype, shape, is_fortran, version, text.rstrip(), cursor.offset - start)


# What NumPy itself writes for an array without fields: read in one step, 20,000 of them in a file.
_USUAL = regex(
    r"\{'descr': '([<>|][A-Za-z]\d{1,9})', 'fortran_order': (False|True), "
    r"'shape': \(((?:\d{1,18}L?, ?)*(?:\d{1,18}L?)?)\), \} *\n?"
)


def _usual(text: str) -> tuple[DType, tuple[int, ...], bool] | None:
    """Return what a header of the usual form says, or None where the grammar has to read it."""
    match = _USUAL.fullmatch(text)
    if match is None:
        return None
    descr, is_fortran, extents = match.groups()
    numbers = extents.replace("L", "").split(",")
    if numbers[-1].strip():
        if len(numbers) == 1:
            return None  # "(3)" is no tuple
    else:
        del numbers[-1]
    if len(numbers) > 64:
        return None
    return dtype_text.from_text(descr), tuple(map(int, numbers)), is_fortran == "True"


def _brief(error: BaseException) -> str:
    text = str(error)
    return text if len(text) < 200 else f"{text[:200]}..."


def _checked(fields: object) -> tuple[DType, tuple[int, ...], bool]:
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        found = sorted(map(str, fields))[:6] if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f"its keys are {found}")
    shape, is_fortran = fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(extent) is int for extent in shape):
        raise ValueError(f"its shape is {shape!r}")
    if any(extent < 0 for extent in shape) or len(shape) > 64:
        raise ValueError(f"its shape is {shape!r}")
    if type(is_fortran) is not bool:
        raise ValueError(f"its fortran_order is {is_fortran!r}")
    return dtype_of(fields["descr"]), shape, is_fortran


# The dtype.


def dtype_of(descr: object) -> DType:
    """Return the dtype that an NPY header's ``descr`` means.

    As ``numpy.lib.format.descr_to_dtype``: text; (descr, shape) of a subarray; a
    list of fields, of which a nameless one of void type is padding.

    Raises:
        TypeError, ValueError: it means none.
    """
    if isinstance(descr, str):
        return dtype_text.from_text(descr)
    if isinstance(descr, tuple):
        if len(descr) != 2:
            raise ValueError(f"descr {descr!r}")
        return dtype_text.subarray(dtype_of(descr[0]), _extents(descr[1]))
    if not isinstance(descr, list):
        raise TypeError(f"descr {descr!r}")
    if len(descr) > dtype_text.MOST_FIELDS:
        raise ValueError(f"a dtype of {len(descr):,} fields")
    spec: dict[str, Any] = {"names": [], "formats": [], "titles": [], "offsets": []}
    offset = 0
    for field in descr:
        if not isinstance(field, tuple) or len(field) not in (2, 3):
            raise ValueError(f"field {field!r}")
        form = dtype_of(field[1])
        if len(field) == 3:
            form = dtype_text.subarray(form, _extents(field[2]))
        if not (field[0] == "" and form.type is np.void and form.names is None):
            title, name = field[0] if isinstance(field[0], tuple) else (None, field[0])
            if not isinstance(name, str):
                raise TypeError(f"field name {name!r}")
            for key, value in zip(spec, (name, form, title, offset), strict=True):
                spec[key].append(value)
        offset += form.itemsize
    return dtype_text.structured(itemsize=offset, **spec)


def _extents(shape: object) -> tuple[int, ...]:
    shape = (shape,) if type(shape) is int else shape
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"subarray shape {shape!r}")
    return shape


# The literal: dict, list, tuple, text, integers, True, False, None; nothing else.

_TOKEN = regex(
    r"""\s*(?:
        (?P<text>[bBuU]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))
      | (?P<scalar>(?:np|numpy)\.u?int\d{0,2}\(\s*(?P<inner>[+-]?\d{1,40})\s*\))
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]{1,32}|\d{1,40}))[lL]?(?![\w.])
      | (?P<word>True|False|None)\b
      | (?P<open>[\[({])
      | (?P<close>[\])}])
      | (?P<mark>[,:])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"True": True, "False": False, "None": None}
_PAIRS = {"]": "[", ")": "(", "}": "{"}


def _literal(text: str) -> object:
    """Return what a header's literal means; iterative, in time linear in its length."""
    stack: list[tuple[str, list[object], int]] = []  # bracket, items, commas
    kind, commas = "", 0
    items: list[Any] = []
    is_due = True  # whether a value may come next
    at, end = 0, len(text.rstrip())
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"{text[at : at + 20]!r} at character {at}")
        at = token.end()
        found, what = token.lastgroup, token.group().strip()
        if found == "open" and is_due:
            stack.append((kind, items, commas))
            if len(stack) > _DEPTH:
                raise ValueError(f"it nests deeper than {_DEPTH}")
            kind, items, commas = what, [], 0
        elif found == "close":
            if kind != _PAIRS[what]:
                raise ValueError(f"{what!r} closes {kind!r}")
            value = _closed(kind, items, commas)
            kind, items, commas = stack.pop()
            items.append(value)
            is_due = False
        elif found == "mark" and kind and not is_due:
            commas += what == ","
            items.extend([_COLON] if what == ":" else [])
            is_due = True
        elif is_due and found not in ("mark", "open"):
            items.append(_value(token, what))
            is_due = False
        else:
            raise ValueError(f"{what!r} at character {token.start()}")
    if stack or len(items) != 1:
        raise ValueError("it is not closed" if stack else "it is no single value")
    return items[0]


_COLON = object()


def _closed(kind: str, items: list[Any], commas: int) -> object:
    if kind == "{":
        if len(items) % 3 or any(mark is not _COLON for mark in items[1::3]):
            raise ValueError("it is no dict")
        keys = items[0::3]
        if any(type(key) is not str for key in keys) or len(set(keys)) != len(keys):
            raise ValueError(f"its keys are {keys!r}")
        return dict(zip(keys, items[2::3], strict=True))
    if _COLON in items:
        raise ValueError("a colon is outside a dict")
    if kind == "[":
        return items
    return items[0] if len(items) == 1 and not commas else tuple(items)


def _value(token: re.Match[str], what: str) -> object:
    if token["text"] is not None:
        return _unescaped(what)
    if token["word"] is not None:
        return _WORDS[what]
    number = token["inner"] or token["number"]
    return int(number, 0) if "x" in number.lower() else int(number)


_ESCAPE = regex(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}


def _unescaped(literal: str) -> str:
    body = literal.lstrip("bBuU")[1:-1]
    return _ESCAPE.sub(_escape, body) if "\\" in body else body


def _escape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    if code in "\\'\"":
        return code
    return _ESCAPES[code]


# Writing.


def header_bytes(
    dtype: DType, shape: tuple[int, ...], fortran: bool = False, alignment: int = _ALIGNMENT
) -> bytes:
    """Return the magic, version and header for an array, of the least version that can hold it.

    Args:
        dtype: of the array.
        shape: of the array.
        fortran: whether its first axis runs fastest.
        alignment: the data begins at a multiple of so many bytes.
    """
    fields = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": bool(fortran),
        "shape": tuple(int(extent) for extent in shape),
    }
    text = "{" + "".join(f"{key!r}: {value!r}, " for key, value in sorted(fields.items())) + "}"
    for (major, minor), (width, encoding) in _VERSIONS.items():
        try:
            body = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        start = len(MAGIC) + 2 + width
        length = -(-(start + len(body) + 1) // alignment) * alignment - start
        if length < 1 << (8 * width):
            body = body.ljust(length - 1) + b"\n"
            return MAGIC + bytes((major, minor)) + length.to_bytes(width, "little") + body
    raise DamagedFileError(f"an NPY header of {len(text):,} characters cannot be written.")
