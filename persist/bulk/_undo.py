"""A run is undone: what it wrote is removed, what it replaced is brought back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from persist._wire.base.urls import is_url
from persist.bulk._ledger import Ledger, Write
from persist.bulk._origin import digest_of
from persist.bulk._originals import Originals
from persist.bulk._places import absolute, is_file, remove
from persist.errors import PersistError

__all__ = ["Undone", "undo_run"]


class Undone(NamedTuple):
    """What became of one file.

    Attributes:
        file: its path.
        status: "restored", "removed", "gone" (somebody removed it), or "left" with a reason.
        reason: why it was left as it is.
    """

    file: str
    status: str
    reason: str = ""


def undo_run(
    ledger: Ledger,
    run: str,
    only: tuple[str, ...] = (),
    storage_options: Mapping[str, object] | None = None,
) -> Iterator[Undone]:
    """Undo a run: each file that it wrote is removed, or becomes what it was before.

    A file that was changed since the run is left, and reported.

    Args:
        ledger: the ledger of the run.
        run: its id.
        only: folders and files; nothing else is touched. Then the run does not count as undone.
        storage_options: for fsspec, where the run wrote to URLs.

    Raises:
        PersistError: there is no such run, or it was undone already.
    """
    said = next((one for one in ledger.runs() if one["id"] == run), None)
    name = None if ledger.path is None else os.fspath(ledger.path)
    if said is None:
        known = ", ".join(one["id"] for one in ledger.runs()[-5:]) or "none"
        raise PersistError(
            f"there is no run {run!r}.", file=name, remedy=f"The last runs are: {known}."
        )
    if said["undone"]:
        raise PersistError(f"run {run} was undone already, {said['undone']}.", file=name)
    options: dict[str, Any] = said["options"]
    originals = Originals(options["originals"], run) if options.get("originals") else None
    is_clean = True
    restored: set[str] = set()
    writes = ledger.writes(run)
    undone: list[int] = []
    by_path = {absolute(write.path): write for write in writes}
    is_done = False
    try:
        for one in _restored(by_path, originals, only, storage_options):
            path = absolute(one.file)
            restored.add(path)
            if one.status == "left":
                is_clean = False
            elif path in by_path:
                undone.append(by_path[path].number)
            yield one
        for write in writes:
            if absolute(write.path) in restored or not _is_wanted(write.path, only):
                continue
            found = _undone(write, storage_options)
            if found.status == "left":
                is_clean = False
            else:
                undone.append(write.number)
            yield found
        if options.get("to") and not only and not is_url(options["to"]):
            _remove_empty(Path(options["to"]))
        is_done = is_clean and not only
    finally:  # also where it fails on the way: what is undone is not to be undone again
        ledger.forget(undone, run, is_undone=is_done)


def _is_wanted(path: str, only: tuple[str, ...]) -> bool:
    path = absolute(path)
    tops = [absolute(top).rstrip("/" if is_url(top) else os.sep) for top in only]
    return not tops or any(
        path == top or path.startswith(top + ("/" if is_url(top) else os.sep)) for top in tops
    )


def _restored(
    writes: dict[str, Write],
    originals: Originals | None,
    only: tuple[str, ...],
    storage: Mapping[str, Any] | None,
) -> Iterator[Undone]:
    """Bring back the files that the run replaced, as far as they are as the run left them."""
    if originals is None:
        return
    for path, digest in list(originals.replaced()):
        if not _is_wanted(path, only):
            continue
        found = digest_of(path, storage)[1] if is_file(path, storage) else ""
        if found == digest:
            originals.forget(path)
            if path in writes:  # an attempt before this one failed after it was brought back
                yield Undone(path, "restored")
            continue
        expected = writes[path].digest if path in writes else ""
        if found and expected and found != expected:
            yield Undone(path, "left", "it was changed after the run")
            continue
        try:
            originals.restore(path, digest, storage)
        except (PersistError, OSError) as error:
            yield Undone(path, "left", str(error))
            continue
        originals.forget(path)
        yield Undone(path, "restored")


def _undone(write: Write, storage: Mapping[str, object] | None) -> Undone:
    """Undo what was written, where no original is kept by its digest."""
    path = write.path
    if not is_file(path, storage):
        return Undone(path, "gone")
    if digest_of(path, storage)[1] != write.digest:
        return Undone(path, "left", "it was changed after the run")
    if write.before == "nothing":
        remove(path, storage)
        return Undone(path, "removed")
    if write.before != "generation":
        return Undone(path, "left", "what was there before was not kept")
    return _older(path, write)


def _older(path: str, write: Write) -> Undone:
    """Go back one generation of a container, and see that it is what it was."""
    from persist import _container

    try:
        _container.undo(path)
    except PersistError as error:
        return Undone(path, "left", str(error))
    if digest_of(path)[1] != write.source:
        return Undone(path, "left", "it went back one generation, which is not what it was before")
    return Undone(path, "restored")


def _remove_empty(top: Path) -> None:
    """Remove the empty folders that are left of a tree of new files."""
    for folder, _, _ in sorted(os.walk(top), key=lambda found: -len(found[0])):
        with contextlib.suppress(OSError):  # it is not empty
            os.rmdir(folder)
