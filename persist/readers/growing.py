"""A folder of arrays that grow.

Written by  ``persist.append``, in version 1 of this format.
Evidence    `persist._container.growing`: ``persist.json`` states the format and its version; each
            array is an NPY file under its natural path.
Traps       Another process may be writing: the header states how many rows are complete, and
            bytes behind them are none. A header that is just being overwritten may state more
            rows than there are bytes.
Gives       A dict of the arrays, nested by their paths.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from persist._wire.base.source import Source
from persist._wire.npy.npy import read_header
from persist.errors import DamagedFileError, FormatError, FutureVersionError, LimitError
from persist.readers.base import Content, Options, Reader

__all__ = ["GrowingReader"]

_MARK = "persist.json"
_LARGEST = 1 << 16  # bytes of the mark
_DEEPEST = 64  # folders in folders


class GrowingReader(Reader):
    """Folders of arrays that grow."""

    name = "persist-arrays"
    refines = ("series",)

    def claims(self, source: Source) -> str | None:
        return None if _mark(source) is None else f"a folder with {_MARK}"

    def read(self, source: Source, options: Options) -> Content:
        mark = _mark(source) or {}
        version = mark.get("version")
        if type(version) is not int or version < 1:
            raise DamagedFileError(
                f"its {_MARK} states version {version!r}.",
                file=source.name,
                remedy="Version 1 was expected. Copy the folder again from where it came from.",
            )
        if version > 1:
            raise FutureVersionError(
                f"its {_MARK} is of version {version!r}, and this program knows version 1.",
                file=source.name,
                remedy="A newer release of persist wrote it: install that one "
                "(pip install -U persist-state).",
            )
        damage: list[str] = []
        tree: dict[str, Any] = {}
        for path, file in _files(source, "", 0):
            holder = tree
            *outer, last = path.split("/")
            for step in outer:
                holder = holder.setdefault(step, {})
            try:
                holder[last] = _array(file)
            except LimitError:
                raise
            except FormatError as error:
                if not options.salvage:
                    raise
                damage.append(str(error))
        return Content(tree, structure={"arrays": sorted(tree)}, damage=damage)


def _mark(source: Source) -> dict[str, object] | None:
    if source.kind != "folder" or _MARK not in source.children():
        return None
    file = source.child(_MARK)
    if file is None or file.kind != "file" or file.size > _LARGEST:
        return None
    try:
        said = json.loads(bytes(file.read(0, file.size)))
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(said, dict) and said.get("format") == "persist-arrays"
    return said if is_ours else None


def _files(folder: Source, path: str, depth: int) -> Iterator[tuple[str, Source]]:
    """The NPY files of a folder and of those in it, with their natural paths."""
    if depth > _DEEPEST:
        raise LimitError(f"its folders are more than {_DEEPEST} deep.", file=folder.name)
    for name in folder.children():
        found = folder.child(name)
        if found is None:
            continue
        if found.kind == "folder":
            yield from _files(found, f"{path}{name}/", depth + 1)
        elif name.endswith(".npy"):
            yield f"{path}{name.removesuffix('.npy')}", found


def _array(file: Source) -> Any:
    """The rows of a file that are there; a header that is just being written may state more."""
    header = read_header(file.cursor())
    row = header.dtype.itemsize * math.prod(header.shape[1:])
    whole = (file.size - header.length) // row if row else header.shape[0]
    shape = (min(header.shape[0], whole), *header.shape[1:])
    return file.array(header.length, header.dtype, shape)
