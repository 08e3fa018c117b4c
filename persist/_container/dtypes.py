"""Dtypes in a container: stored as text, as a description, or as void with a name.

An NPY header cannot express all of a NumPy dtype: not the alignment flag,
``numpy.record``, overlapping fields, or the dtypes of ml_dtypes. For these the
graph stores a description, and the member has a void dtype.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from persist._wire.base import dtype_text
from persist._wire.base.ml_dtypes import find_extended, missing_name
from persist._wire.npy.npy import dtype_of
from persist.errors import FormatError, MissingExtraError
from persist.typing import DType

__all__ = [
    "SAID_BY_NPY",
    "describe",
    "from_description",
    "is_long_double",
    "is_strings",
    "member_dtype",
]

SAID_BY_NPY = frozenset("?bBhHiIlLqQefdFDSUMm")  # type characters: all of it, on any machine
_DEPTH = 60
_StringDType: Any = getattr(getattr(np, "dtypes", None), "StringDType", None)


def is_strings(dtype: DType) -> bool:
    """Whether a dtype is NumPy 2's StringDType."""
    return _StringDType is not None and isinstance(dtype, _StringDType)


def describe(dtype: DType) -> object:
    """Return the text or JSON object that describes a dtype completely.

    Raises:
        FormatError: a container cannot store the dtype.
    """
    if is_strings(dtype):
        return _describe_strings(dtype)
    if dtype.subdtype is not None:
        return {"base": describe(dtype.base), "shape": list(dtype.shape)}
    if dtype.names is not None and dtype.fields is not None:
        fields = []
        for name in dtype.names:
            form, offset, *title = dtype.fields[name]
            fields.append([name, describe(form), offset, title[0] if title else None])
        return {
            "fields": fields,
            "size": dtype.itemsize,
            "aligned": dtype.isalignedstruct,
            "record": dtype.type is np.record,
        }
    missing = missing_name(dtype)
    if missing:
        return {"name": f"ml_dtypes.{missing}"}
    if dtype.isbuiltin == 2:
        module = type(dtype).__module__ if dtype.type is np.void else dtype.type.__module__
        return {"name": f"{module.partition('.')[0]}.{dtype.name}"}
    if dtype.type is np.record:
        return {"fields": [], "size": dtype.itemsize, "aligned": False, "record": True}
    if not _is_said_by_text(dtype):
        raise FormatError(f"the dtype {dtype!r} cannot be stored in a container.")
    return dtype.str


def _is_said_by_text(dtype: DType) -> bool:
    try:
        return dtype_text.from_text(dtype.str) == dtype
    except ValueError:
        return False


def _describe_strings(dtype: Any) -> dict[str, object]:
    result: dict[str, object] = {"string": bool(dtype.coerce)}
    missing = getattr(dtype, "na_object", result)
    if missing is result:
        return result
    if missing is None or isinstance(missing, str):
        result["missing"] = missing
    elif isinstance(missing, float) and missing != missing:
        result["missing"] = ["nan"]
    else:
        raise FormatError(f"a string dtype with missing values {missing!r} cannot be stored.")
    return result


def from_description(what: Any, depth: int = 0) -> DType:
    """Return the dtype that `describe` described.

    Raises:
        MissingExtraError: the dtype belongs to a library that is not installed.
        TypeError, ValueError, KeyError: the description is invalid.
    """
    if depth > _DEPTH:
        raise ValueError(f"a dtype nests deeper than {_DEPTH}")
    if isinstance(what, str):
        return dtype_of(what)
    if "name" in what:
        return _named(what["name"])
    if "base" in what:
        shape = tuple(int(extent) for extent in what["shape"])
        return dtype_text.subarray(from_description(what["base"], depth + 1), shape)
    if "string" in what:
        return _strings(what)
    return _fields(what, depth)


def _named(name: str) -> DType:
    module, _, last = name.partition(".")
    if module != "ml_dtypes" or not last.replace("_", "").isalnum():
        raise ValueError(f"the dtype {name!r} is not known")
    try:
        return find_extended(last)  # without the library, an opaque dtype
    except KeyError:
        pass
    try:
        library = importlib.import_module("ml_dtypes")
        dtype: DType = np.dtype(getattr(library, last))
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(
            f"an array is of the dtype {name}, which is not installed.",
            remedy="Install it with: pip install --upgrade 'persist-state[torch]'; "
            "NumPy alone shows the bits (numpy.load of the same file).",
        ) from error
    if dtype.isbuiltin != 2:  # anything else in ml_dtypes would become a dtype of objects
        raise ValueError(f"the dtype {name!r} is not known")
    return dtype


def _strings(what: dict[str, object]) -> DType:
    if _StringDType is None:
        raise MissingExtraError(
            "an array is of NumPy 2's StringDType.",
            remedy="Install it with: pip install 'numpy>=2'",
        )
    coerce = bool(what["string"])
    if "missing" not in what:
        return _StringDType(coerce=coerce)  # type: ignore[no-any-return]
    missing = what["missing"]
    na_object = np.nan if missing == ["nan"] else missing
    return _StringDType(coerce=coerce, na_object=na_object)  # type: ignore[no-any-return]


def _fields(what: dict[str, Any], depth: int) -> DType:
    fields = what["fields"]
    return dtype_text.structured(
        [str(field[0]) for field in fields],
        [from_description(field[1], depth + 1) for field in fields],
        [int(field[2]) for field in fields],
        int(what["size"]),
        [field[3] for field in fields],
        align=bool(what["aligned"]),
        record=bool(what["record"]),
    )


def member_dtype(dtype: DType) -> DType:
    """Return the dtype of an array's NPY member: its own if NPY can express it, else void."""
    if dtype.isbuiltin == 1:
        return dtype
    void = np.dtype((np.void, dtype.itemsize))
    if dtype.isbuiltin == 2 or is_strings(dtype) or missing_name(dtype):
        return void
    if dtype.names is None:
        return dtype if _is_said_by_text(dtype) and dtype.type is not np.record else void
    try:
        again = dtype_of(np.lib.format.dtype_to_descr(dtype))
        return dtype if describe(again) == describe(dtype) else void
    except (ValueError, TypeError, FormatError, UserWarning):
        return void


def is_long_double(dtype: DType) -> bool:
    """Whether a dtype contains ``long double``, whose layout depends on the platform."""
    if dtype.fields is not None:
        return any(is_long_double(field[0]) for field in dtype.fields.values())
    if dtype.subdtype is not None:
        return is_long_double(dtype.base)
    return dtype.kind in "fc" and dtype.char in "gG"
