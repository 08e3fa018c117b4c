"""`repair`: what is whole of a damaged file, written into a new file; what is lost, listed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from persist._api.detect import readers
from persist._api.file import File, registry_or_default
from persist._api.open import open
from persist._api.provenance import appending
from persist._api.save import refuse_suffix, save, save_tree, tree_of, writer_of
from persist._runtime.gc_pause import collector_paused
from persist._trees.copier import Copier, is_holder
from persist.errors import FormatError, LimitError, PersistError
from persist.tree import ABSENT, LazyArray, Record

if TYPE_CHECKING:
    from persist.registry import Registry
    from persist.typing import Format, Openable

__all__ = ["Repair", "repair"]

_MOST = 1000  # losses that the history of a container lists


@attrs.frozen
class Repair:
    """What `repair` has written, and what was lost.

    Attributes:
        source: the damaged file.
        format: its format.
        target: the new file.
        target_format: the format of the new file.
        arrays: number of arrays in the new file.
        nbytes: bytes of these arrays.
        values: number of other values in the new file.
        damage: what was wrong with the damaged file, and what is lost of it as far as its names are known.
        lost: natural path -> reason, of the arrays that are known to be lost. In the new file a dict or the
            state of a record does not have them; where a place cannot be left out (in a list, say) it is None.
    """

    source: str
    format: str
    target: str
    target_format: str
    arrays: int
    nbytes: int
    values: int
    damage: list[str]
    lost: dict[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was wrong with the file."""
        return not self.damage and not self.lost

    def as_json(self) -> dict[str, Any]:
        """Return it as a value of JSON."""
        return {**attrs.asdict(self), "is_whole": self.is_whole}

    def __str__(self) -> str:
        from persist._trees.show import counted, size_text

        lines = [f"{self.source}: {self.format}, {'whole' if self.is_whole else 'damaged'}"]
        lines += [f"  {text}" for text in self.damage]
        lines += [f"  lost: {path or '(root)'}: {reason}" for path, reason in self.lost.items()]
        lines.append(
            f"{self.target}: {self.target_format}, {counted(self.arrays, 'array')} "
            f"({size_text(self.nbytes)}), {counted(self.values, 'value')}"
        )
        return "\n".join(lines)


def repair(
    source: Openable,
    target: str | os.PathLike[str],
    *,
    format: Format | str | None = None,
    durable: bool = True,
    storage_options: Mapping[str, object] | None = None,
    limits: Mapping[str, int] | None = None,
    registry: Registry | None = None,
) -> Repair:
    """Write what is whole of a damaged file into a new file, and list what is lost.

    Members of archives and containers are whole if they have the checksum that the file states for
    them. In formats without checksums (HDF5, NPY, legacy streams of PyTorch), what is there counts as whole.
    Nothing that the file names is imported or called. The source is never changed.

    Args:
        source: as for `open`.
        target: the new file, which is replaced if it exists.
        format: as for `save`; None is the one that the suffix of ``target`` belongs to, else "persist".
        durable: wait until the disk has it.
        storage_options, limits: as for `open`.
        registry: schemas and packs to look through; None is the default one.

    Returns:
        What was written and what is lost.

    Raises:
        FormatError: nothing of the file can be read, or the format cannot hold what can.
        LimitError: reading the file would pass the limits.
        PersistError: the target is the source.
    """
    path = os.fspath(target)
    _refuse_same(source, path)
    wanted = None if format is None else writer_of(format).name
    registry = registry_or_default(registry)
    with (
        collector_paused(),
        open(
            source,
            salvage=True,
            verify="always",
            storage_options=storage_options,
            limits=limits,
            registry=registry,
        ) as file,
    ):
        lost = _lost_paths(file)
        tree = _without_lost(file._written, lost)
        to = _format_of(path, file.format) if wanted is None else wanted
        _write(tree, file, path, to, lost, durable, registry)
        return Repair(
            file.name, file.format, path, to, *_counted(path, registry), list(file.damage), lost
        )


def _refuse_same(source: object, target: str) -> None:
    if isinstance(source, str | os.PathLike) and os.path.exists(target):
        name = os.fsdecode(os.fspath(source))
        if os.path.exists(name) and os.path.samefile(name, target):
            raise PersistError(
                "the new file would replace the damaged one, of which more may be recovered one day.",
                file=target,
                remedy="Give the new file another name.",
            )


def _format_of(target: str, source: str) -> str:
    """Return the format to write that the suffix of a file belongs to, else "persist".

    Of several, the one that the damaged file has, else the archive, which is what is written today.
    """
    suffix = os.path.splitext(target)[1].lower()
    able = [
        reader.name
        for reader in readers()
        if reader.writes and suffix in reader.suffixes and not reader.is_model | reader.is_prefix
    ]
    best = [name for name in able if name == source] or [n for n in able if n.endswith("-zip")]
    return (best or able or ["persist"])[0]


def _read(array: LazyArray) -> str:
    """Read an array; return why it is lost, or ""."""
    try:
        array.read()
    except LimitError:
        raise
    except FormatError as error:
        return error.what
    return ""


def _lost_paths(file: File) -> dict[str, str]:
    """Read all arrays; return natural path -> reason, of those that are lost."""
    lost: dict[str, str] = {}
    arrays = file._arrays_at_every_path
    for path in arrays:
        array = arrays[path]
        reason = _read(array) if isinstance(array, LazyArray) else ""
        if reason:
            lost[path] = reason
    return lost


def _without_lost(root: object, lost: dict[str, str]) -> object:
    """Take arrays that are lost out of a tree, in place.

    Args:
        root: the tree.
        lost: takes the reasons of those that have no natural path.
    """
    swap = Copier(lambda record, path: record)
    known, has_lost = {*lost.values()}, False
    for node in _holders(root):
        gone = [
            (key, reason)
            for key, child in _items(node)
            if isinstance(child, LazyArray) and (reason := _read(child))
        ]
        for key, reason in gone:
            has_lost = True
            if reason not in known:
                known.add(reason)
                lost[f"(array {len(lost)})"] = reason
            if isinstance(node, dict):
                del node[key]
        if gone and not isinstance(node, dict):
            for _, child in _items(node):
                if isinstance(child, LazyArray) and _read(child):
                    swap.replace(child, None)
    if isinstance(root, LazyArray) and _read(root):
        return None
    return swap.mended(root) if has_lost else root


def _holders(root: object) -> Iterator[object]:
    """Yield every container of a tree once; children are looked for when the next one is asked for."""
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if not is_holder(node) or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        todo.extend(child for _, child in _items(node))


def _items(node: Any) -> list[tuple[Any, Any]]:
    """The parts of a container; with its key where it is a dict."""
    if isinstance(node, dict):
        return [*node.items(), *((None, key) for key in node if isinstance(key, tuple | frozenset))]
    if type(node) is Record:
        parts: list[Any] = [] if node.state is ABSENT else [node.state]
        if not node.is_bare:
            parts += [node.args, *node.kwargs.values(), *node.listitems]
            parts += [part for pair in node.dictitems for part in pair]
        return [(None, part) for part in parts]
    if isinstance(node, np.ndarray):
        names = node.dtype.names
        views = [node] if names is None else [node[name] for name in names]
        return [(None, item) for view in views if view.dtype.hasobject for item in view.flat]
    return [(None, item) for item in node]


def _write(
    tree: Any,
    file: File,
    path: str,
    to: str,
    lost: dict[str, str],
    durable: bool,
    registry: Registry,
) -> None:
    """Write the tree that is left; a container states in its history what it was made of, and what is lost."""
    if to != "persist":
        save(tree, path, format=to, durable=durable, registry=registry)
        return
    refuse_suffix(path, to)
    is_ours = file.format == "persist"
    metadata = file.structure.get("metadata") if is_ours else None
    older = file.structure.get("schemas") if is_ours else None
    origin = {
        "name": os.path.basename(file.name),
        "format": file.format,
        "damage": file.damage[:_MOST],
        "lost": dict(itertools.islice(lost.items(), _MOST)),
    }
    save_tree(
        tree_of(tree, registry, columns=True),
        path,
        registry=registry,
        metadata=metadata,
        history=appending("repaired", origin, file.history),
        durable=durable,
        older_schemas=older or (),
    )


def _counted(path: str, registry: Registry) -> tuple[int, int, int]:
    """Read the new file; return the number of arrays, their bytes, and the number of other values."""
    with open(path, verify="always", registry=registry) as file:
        arrays = [np.asarray(array) for array in file.arrays.values()]
        return len(arrays), sum(array.nbytes for array in arrays), len(file.scalars)
