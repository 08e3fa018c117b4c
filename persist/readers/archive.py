"""A tar, or a ZIP of several files: the readable files, each under its path.

Written by  people, and programs that pack a run: AllenNLP's ``model.tar.gz``, NeMo's ``.nemo``,
            the ``.zip`` of Stable Baselines 3, archives of a folder of checkpoints.
Evidence    ``allennlp/models/archival.py``; ``stable_baselines3/common/save_util.py``;
            the grammars of tar and ZIP in `persist._wire`.
Traps       Many formats are ZIP files, and torch's first one was a tar: this reader is
            asked only if no other claims the file. Files in it may need each other, as they do in a
            folder.
            A link in a tar gives the same object as its target; ``structure`` names both.
Gives       A dict by path of the content of each file; JSON is parsed, and short text is given as
            text. Files that no reader claims (pictures, code) are listed in ``structure`` as
            ``others``, and by ``inspect`` as not read.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable
from typing import Any

from persist._wire.archives import tar
from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist.errors import FormatError, LimitError, UnknownFormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["ArchiveReader"]

_MOST = 10_000  # largest number of files in an archive
_SHOWN = 4
_LARGEST_TEXT = 16 << 20  # bytes of a member in JSON
_LONGEST_TEXT = 1 << 20  # bytes of a member that is text
_CHAIN = 16  # length of a chain of links
_MACOS = ("__MACOSX/", "._")  # files that macOS adds

Files = dict[str, Callable[[], Source]]


class ArchiveReader(Reader):
    """Archives of independent files."""

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
        links: dict[str, str] = {}
        files = (
            _in_tar(source, damage, links) if is_tar else _in_zip(source, options.verify == "lazy")
        )
        if len(files) > _MOST:
            raise LimitError(
                f"the archive holds {len(files):,} files, more than the limit of {_MOST:,}.",
                file=source.name,
                remedy="Unpack it, and open what is inside.",
            )
        folders = _folders(files)
        tree: dict[str, object] = {}
        structures: dict[str, object] = {}
        others: list[str] = []
        content = Content(tree, damage=damage)
        for name, take in files.items():
            inner = _opened(name, take, folders, options, damage)
            if inner is None:
                others.append(name)
                continue
            tree[name] = inner.tree
            structures[name] = inner.structure
            damage += [f"{name}: {note}" for note in inner.damage]
            content.globals |= inner.globals
            content.writer.update(inner.writer)
        if tree:
            others = [name for name in others if not _as_text(name, files, tree, source)]
        _add_links(tree, links, others, damage)
        if not tree:
            raise _unknown(source, "tar" if is_tar else "ZIP", list(files), damage)

        def structure() -> dict[str, Any]:
            parts = {name: part() if callable(part) else part for name, part in structures.items()}
            link_entry = {"links": links} if links else {}
            kind = "tar" if is_tar else "zip"
            return {"container": kind, "files": parts, "others": others, **link_entry}

        content.structure = structure
        return content


def _opened(
    name: str,
    take: Callable[[], Source],
    folders: dict[str, Files],
    options: Options,
    damage: list[str],
) -> Content | None:
    """Open one file; None if no reader claims it. Errors are reported in ``damage``."""
    if options.open_nested is None:
        raise FormatError("nested files cannot be opened here.", where=f"member {name!r}")
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


def _as_text(name: str, files: Files, tree: dict[str, object], source: Source) -> bool:
    """Add a member to the tree if it is JSON or short text; return whether it was."""
    try:
        found = files[name]()
    except FormatError:
        return False
    if not 0 < found.size <= _LARGEST_TEXT:
        return False
    data = found.read(0, found.size)
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        source.spend(8 * found.size)
        try:
            tree[name] = json.loads(data.decode("utf-8-sig"))
            return True
        except (ValueError, RecursionError):
            pass
    if found.size > _LONGEST_TEXT:
        return False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    if not all(char.isprintable() or char in "\r\n\t" for char in text):
        return False
    tree[name] = text
    return True


def _add_links(
    tree: dict[str, object], links: dict[str, str], others: list[str], damage: list[str]
) -> None:
    """Add the target of each link under the link's name; report links without a target."""
    for name, target in links.items():
        for _ in range(_CHAIN):  # links to links
            target = links.get(target, target)
        if target in tree:
            tree.setdefault(name, tree[target])
        elif target in others:
            others.append(name)
        elif not any(other.startswith(f"{target}/") for other in (*tree, *others)):
            damage.append(f"{name} is a link to {target}, which is not in the archive")


def _in_tar(source: Source, damage: list[str], links: dict[str, str]) -> Files:
    files: Files = {}
    for member in tar.members(source, 4 * _MOST, damage):
        if member.name.rpartition("/")[2].startswith(_MACOS):
            continue
        if member.link:
            folder = posixpath.dirname(member.name) if member.link == "symbolic" else ""
            links[member.name] = posixpath.normpath(posixpath.join(folder, member.target))
            continue
        if not member.is_whole:
            damage.append(f"{member.name} has {member.size:,} bytes, beyond the end of the archive")
            continue
        files[member.name] = functools.partial(tar.whole, source, member)
    return files


def _in_zip(source: Source, verify: bool) -> Files:
    directory = ZipDirectory.of(source) if source.kind == "file" else None
    if directory is None:
        return {}
    return {
        member.name: functools.partial(directory.open, member, verify)
        for member in directory.members
        if not member.is_folder
        and not member.name.startswith(_MACOS)
        and not member.name.endswith("/.DS_Store")
    }


def _unknown(source: Source, kind: str, names: list[str], damage: list[str]) -> UnknownFormatError:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    held = f"of {len(names):,} files: {shown}{more}" if names else "without files"
    why = f" ({damage[0]})" if damage else ""
    if any(posixpath.basename(name) in (".zgroup", ".zarray", "zarr.json") for name in names):
        return UnknownFormatError(
            f"this is Zarr in a {kind} archive {held}.",
            file=source.name,
            remedy="Read it with the library zarr: zarr.open(path) in a ZIP, else unpack it first.",
        )
    return UnknownFormatError(
        f"this is a {kind} archive {held}; no reader can read any of them{why}.",
        file=source.name,
        remedy="docs/formats.md lists the formats that can be read; unpack the archive for any other.",
    )
