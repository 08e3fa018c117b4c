"""A tar, or a ZIP of several files: what of them can be read, each under its path.

Written by  people, and programs that pack a run: AllenNLP's ``model.tar.gz``, NeMo's ``.nemo``,
            the ``.zip`` of Stable Baselines 3, archives of a folder of checkpoints.
Evidence    ``allennlp/models/archival.py``; ``stable_baselines3/common/save_util.py``;
            the grammars of tar and ZIP in `persist._wire`.
Traps       Many formats are a ZIP themselves, and torch's first one was a tar: this reader is
            asked when no other knows the file. Files in it may need each other, as they do in a
            folder.
Gives       A dict by path: what each file holds. Those that no reader knows (texts, pictures)
            are named in ``structure``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from persist._wire.archives import tar
from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist.errors import FormatError, LimitError, UnknownFormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["ArchiveReader"]

_MOST = 10_000  # files of an archive that are looked at
_SHOWN = 4
_BESIDE = ("__MACOSX/", "._")  # what macOS adds

Files = dict[str, Callable[[], Source]]


class ArchiveReader(Reader):
    """Archives of files that stand each for itself."""

    name = "archive"
    suffixes = (".tar", ".tgz", ".tar.gz", ".nemo")
    is_last = True

    def claims(self, source: Source) -> str | None:
        if tar.is_tar(source):
            return "a tar archive"
        count = len(_in_zip(source, False))
        return f"a ZIP archive of {count:,} files" if count > 1 else None

    def read(self, source: Source, options: Options) -> Content:
        damage: list[str] = []
        is_tar = tar.is_tar(source)
        files = _in_tar(source, damage) if is_tar else _in_zip(source, options.verify == "lazy")
        if len(files) > _MOST:
            raise LimitError(
                f"the archive holds {len(files):,} files, and {_MOST:,} are looked at.",
                file=source.name,
                remedy="Unpack it, and open what is inside.",
            )
        folders = _folders(files)
        tree: dict[str, Any] = {}
        told: dict[str, Any] = {}
        others: list[str] = []
        content = Content(tree, damage=damage)
        for name, take in files.items():
            inner = _opened(name, take, folders, options, damage)
            if inner is None:
                others.append(name)
                continue
            tree[name] = inner.tree
            told[name] = inner.structure
            damage += [f"{name}: {note}" for note in inner.damage]
            content.globals |= inner.globals
            content.writer.update(inner.writer)
        if not tree:
            raise _unknown(source, "tar" if is_tar else "ZIP", list(files), damage)

        def structure() -> dict[str, Any]:
            parts = {name: part() if callable(part) else part for name, part in told.items()}
            return {"container": "tar" if is_tar else "zip", "files": parts, "others": others}

        content.structure = structure
        return content


def _opened(
    name: str,
    take: Callable[[], Source],
    folders: dict[str, Files],
    options: Options,
    damage: list[str],
) -> Content | None:
    """What one file holds; None of one that no reader knows. What is wrong with it is told."""
    if options.open_nested is None:
        raise FormatError("what is inside cannot be opened here.", where=f"member {name!r}")
    try:
        found = take()
        if not found.size:
            return None
        folder, _, last = name.rpartition("/")
        return options.open_nested(found.among(last, folders[folder]))
    except LimitError:
        raise
    except UnknownFormatError:
        return None
    except FormatError as error:
        damage.append(f"{name} could not be read: {error}")
        return None


def _folders(files: Files) -> dict[str, Files]:
    """The files of each folder, by their last name."""
    folders: dict[str, Files] = {}
    for name, take in files.items():
        folder, _, last = name.rpartition("/")
        folders.setdefault(folder, {})[last] = take
    return folders


def _in_tar(source: Source, damage: list[str]) -> Files:
    files: Files = {}
    for member in tar.members(source, 4 * _MOST):
        if member.name.rpartition("/")[2].startswith(_BESIDE):
            continue
        if not member.is_whole:
            damage.append(f"{member.name} has {member.size:,} bytes, beyond the end of the archive")
            continue
        files[member.name] = functools.partial(
            source.window, member.offset, member.size, f"member {member.name!r}"
        )
    return files


def _in_zip(source: Source, verify: bool) -> Files:
    directory = ZipDirectory.of(source) if source.kind == "file" else None
    if directory is None:
        return {}
    return {
        member.name: functools.partial(directory.open, member, verify)
        for member in directory.members
        if not member.is_folder
        and not member.name.startswith(_BESIDE)
        and not member.name.endswith("/.DS_Store")
    }


def _unknown(source: Source, kind: str, names: list[str], damage: list[str]) -> UnknownFormatError:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    held = f"of {len(names):,} files: {shown}{more}" if names else "without files"
    why = f" ({damage[0]})" if damage else ""
    return UnknownFormatError(
        f"this is a {kind} archive {held}; no reader can read one of them{why}.",
        file=source.name,
        remedy="If one of them belongs to a system that should be read, see docs/formats.md.",
    )
