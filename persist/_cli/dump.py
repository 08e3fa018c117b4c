"""Write one value of a file, by its path: an array as npy, csv, txt or json, any other value as txt or json.

Without --out it is printed. Of a path that leads to a container, json writes every value below it.
In json, NaN and the infinities are the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.errors import PersistError

__all__ = ["add", "run", "value_at", "write_json"]

_FORMS = ("npy", "csv", "txt", "json")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from persist._cli import _reading

    parser.add_argument("file", metavar="FILE", help="a file, folder, prefix or URL")
    parser.add_argument(
        "path", metavar="PATH", help="path of the value, as `persist inspect --arrays` lists it"
    )
    parser.add_argument(
        "--to", choices=_FORMS, help="form; by default the suffix of --out, else txt"
    )
    parser.add_argument("--out", metavar="OUT", help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    _reading.add(parser)


def run(args: argparse.Namespace) -> int:
    """Write the value; 1 if it cannot be read or has no such form."""
    import persist
    from persist._cli import _reading
    from persist._cli._each import each

    def one(name: str) -> None:
        form = args.to or _form_of(args.out)
        with persist.open(name, **_reading.opening(args)) as file:
            value = value_at(file, args.path)
            write = _writer(value, form, file, args.path)
            _deliver(write, args, form)

    return each([args.file], one)


def _form_of(out: str | None) -> str:
    suffix = Path(out).suffix[1:].lower() if out else ""
    return suffix if suffix in _FORMS else "txt"


def value_at(file: File, path: str) -> Any:
    """Return the array or the other value at a path; of a container, its values by their paths.

    Raises:
        UnknownPathError: there is nothing; the message lists the nearest paths.
    """
    from persist._trees.paths import unknown_path

    for names in (file.arrays, file.scalars):
        if path in names:
            return names[path]
    every = [*file.arrays, *file.scalars]
    if path in ("(root)", "/"):
        return value_at(file, "") if "" in every else _Container(file, every, "")
    below = [one for one in every if not path or one.startswith(f"{path}/")]
    if below:
        return _Container(file, below, f"{path}/" if path else "")
    raise unknown_path(path, every, file.name)


class _Container:
    """The arrays and other values below a path."""

    def __init__(self, file: File, paths: list[str], prefix: str) -> None:
        self.paths = paths
        self._file = file
        self._prefix = prefix

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield the paths, relative to the container, and the values."""
        for path in self.paths:
            names = self._file.arrays if path in self._file.arrays else self._file.scalars
            yield path[len(self._prefix) :], names[path]


def _deliver(write: Callable[[IO[bytes]], None], args: argparse.Namespace, form: str) -> None:
    """Write to --out, which appears only when it is complete, or to standard output."""
    import io

    from persist._cli._out import plain
    from persist.errors import PersistError

    if args.out is None:
        if form == "npy" and sys.stdout.isatty():
            raise PersistError(
                "npy is binary, and standard output is a terminal.",
                file=args.file,
                remedy="Give --out FILE, or choose --to txt.",
            )
        if form != "npy":  # as text: a terminal must not get control characters
            held = io.BytesIO()
            write(held)
            text = held.getvalue().decode("utf-8")
            sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
            return
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    if Path(args.out).exists() and not args.force:
        raise PersistError(
            "it exists.", file=args.out, remedy="Give another --out, or --force to replace it."
        )
    from persist._container.writing.atomic import replacing

    with replacing(args.out) as out:
        write(out)


def _writer(value: object, form: str, file: File, path: str) -> Callable[[IO[bytes]], None]:
    """Return the function that writes a value in a form."""
    from persist._trees.pack_view import is_array

    if form == "json":
        return lambda out: write_json(value, out)
    if isinstance(value, _Container):
        shown = ", ".join(map(repr, value.paths[:5]))
        raise _unfit(file, path, f"it is a container of {len(value.paths):,} values", form,
                     f"Choose --to json, or one of its paths: {shown}.")  # fmt: skip
    if is_array(value):
        array = _readable(value)
        return lambda out: _ARRAYS[form](array, out, file, path)
    if form == "txt":
        return lambda out: _text(value, out)
    raise _unfit(
        file, path, f"it is no array, but {_kind(value)}", form, "Choose --to txt or json."
    )


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def _unfit(file: File, path: str, why: str, form: str, remedy: str) -> PersistError:
    from persist.errors import FormatError
    from persist.tree import at_path

    return FormatError(
        f"{why}, which {form} cannot hold.", file=file.name, where=at_path(path), remedy=remedy
    )


def _readable(value: object) -> object:
    """Return an array with a dtype that NumPy has itself: types of ml_dtypes become float32."""
    import numpy as np

    from persist._trees.stats import is_numeric

    if not hasattr(value, "dtype"):
        return np.asarray(value)
    if value.dtype.kind == "V" and value.dtype.names is None and is_numeric(value.dtype):
        print(f"persist: note: {value.dtype.name} is written as float32.", file=sys.stderr)
        return np.asarray(value).astype(np.float32)
    return value


def _npy(array: Any, out: IO[bytes], file: File, path: str) -> None:
    import numpy as np

    from persist._trees.pieces import blocks
    from persist._wire.npy.npy import header_bytes

    if array.dtype.hasobject:
        raise _unfit(file, path, "its elements are objects", "npy", "Choose --to json or txt.")
    out.write(header_bytes(array.dtype, tuple(array.shape)))
    for block in blocks(array):
        out.write(np.ascontiguousarray(block).tobytes())


def _csv(array: Any, out: IO[bytes], file: File, path: str) -> None:
    import csv
    import io

    if len(array.shape) > 2:
        raise _unfit(
            file, path, f"it has {len(array.shape)} axes", "csv", "Choose --to npy or json."
        )
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    if array.dtype.names is not None and len(array.shape) < 2:
        rows.writerow(array.dtype.names)
    for row in _rows(array):
        rows.writerow(map(_cell, row))
    text.detach()


def _txt(array: Any, out: IO[bytes], file: File, path: str) -> None:
    if len(array.shape) > 2:
        raise _unfit(
            file, path, f"it has {len(array.shape)} axes", "txt", "Choose --to npy or json."
        )
    if array.dtype.names is not None and len(array.shape) < 2:
        out.write(f"# {' '.join(map(_word, array.dtype.names))}\n".encode())
    for row in _rows(array):
        out.write(f"{' '.join(_word(_cell(item)) for item in row)}\n".encode())


_ARRAYS: dict[str, Callable[[Any, IO[bytes], Any, str], None]] = {
    "npy": _npy,
    "csv": _csv,
    "txt": _txt,
}


def _rows(array: Any) -> Iterator[tuple[object, ...]]:
    """Yield the rows of an array of at most two axes; of one axis, rows of one value."""
    from persist._trees.pieces import blocks

    width = array.shape[1] if len(array.shape) == 2 else 1
    if not width:
        yield from [()] * array.shape[0]
        return
    held: list[Any] = []
    for block in blocks(array):
        held += block.tolist() if block.dtype.kind not in "mM" else block.astype(str).tolist()
        while len(held) >= width:
            whole = len(held) // width * width
            for start in range(0, whole, width):
                row = held[start : start + width]
                is_fields = array.dtype.names is not None and width == 1
                yield tuple(row[0]) if is_fields and isinstance(row[0], tuple) else tuple(row)
            held = held[whole:]


def _cell(value: object) -> str:
    """Return a value as text; floats in the shortest form that reads back as the same number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _word(text: str) -> str:
    """Return a text as one word of a line."""
    import json

    is_word = bool(text) and text.isprintable() and not any(map(str.isspace, text))
    return text if is_word else json.dumps(text)


def _text(value: Any, out: IO[bytes]) -> None:
    from persist._runtime.printing import text_of
    from persist._trees.pack_view import is_series

    if isinstance(value, bytes | bytearray):
        out.write(bytes(value).decode("utf-8", "backslashreplace").encode() + b"\n")
    elif is_series(value):
        for item in value:
            out.write(f"{_word(_cell(item))}\n".encode())
    else:
        out.write(f"{text_of(value)}\n".encode("utf-8", "backslashreplace"))


def write_json(value: object, out: IO[bytes]) -> None:
    """Write a value, or all values of a container by their paths, as one JSON document."""
    import json

    held = (
        {path: _plain(item) for path, item in value.items()}
        if isinstance(value, _Container)
        else _plain(value)
    )
    out.write(json.dumps(held, allow_nan=False, ensure_ascii=True).encode() + b"\n")


def _plain(value: object) -> Any:
    """Return a value as JSON has it; numbers of any size are kept, other values become text."""
    import math

    import numpy as np

    from persist._trees.pack_view import is_array
    from persist._trees.show import leaf_text

    if is_array(value):
        array = np.asarray(_readable(value))
        names = array.dtype.names
        if names is not None:
            return {name: _plain(array[name]) for name in names}
        return _plain((array.astype(str) if array.dtype.kind in "mM" else array).tolist())
    if isinstance(value, np.generic):
        value = str(value) if value.dtype.kind in "mM" else value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, bytes):
        return _cell(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return leaf_text(value)
