"""A layer between the library and the operating system: what it asks is counted, fails, is recorded.

`Faults` lets one call fail, or all from one on. `Disk` records what a folder held after each call, and
what of it was synced, and says in which states a loss of power may leave it.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persist._container.writing import atomic

CALLS = (
    "fsync", "fdatasync", "replace", "fchmod", "write", "writev", "pwrite", "pwritev", "sendfile",
    "copy_file_range", "ftruncate", "posix_fallocate", "unlink", "rename", "link", "symlink", "truncate",
)  # fmt: skip
BLOCK = 4096  # bytes that reach a disk together, or not


class Faults:
    """Counts what is asked of the system, and lets calls fail.

    Attributes:
        count: of the calls so far.
        at: number of the call that fails; 0 for none.
        is_lasting: whether all later calls fail, too, as on a disk that is gone.
        seen: names of the calls.
        after: called with the name and the arguments of each call that succeeded.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = errno.EIO) -> None:
        self.count = 0
        self.at = 0
        self.is_lasting = False
        self.code = code
        self.seen: list[str] = []
        self.after: Callable[[str, tuple[Any, ...]], None] | None = None
        for name in CALLS:
            if hasattr(os, name):
                monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))
        monkeypatch.setattr(atomic, "open", self._opened, raising=False)

    def start(self, at: int, *, is_lasting: bool = False) -> None:
        """Count from here on, and let the call of that number fail."""
        self.count, self.at, self.is_lasting, self.seen = 0, at, is_lasting, []

    def hit(self, name: str) -> None:
        self.count += 1
        self.seen.append(name)
        if self.count == self.at or (self.is_lasting and 0 < self.at < self.count):
            raise OSError(self.code, f"injected into {name}")

    def done(self, name: str, *args: Any) -> None:
        if self.after is not None:
            self.after(name, args)

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **options: Any) -> Any:
            self.hit(name)
            result = call(*args, **options)
            self.done(name, *args)
            return result

        return one

    def _opened(self, file: Any, mode: str, buffering: int = -1) -> Any:
        faults = self
        faults.done("open", file)

        class Faulty(io.FileIO):
            def write(self, data: Any, /) -> Any:
                try:
                    faults.hit("FileIO.write")
                except OSError:
                    super().write(memoryview(data).cast("B")[: max(len(data) // 2, 1)])
                    raise  # half of it is on the disk
                written = super().write(data)
                faults.done("FileIO.write")
                return written

            def close(self) -> None:
                is_open = not self.closed
                super().close()
                if is_open:
                    faults.hit("FileIO.close")

        return Faulty(file, mode.replace("b", ""))


class Disk:
    """What a loss of power may leave of a folder.

    Of a file's bytes any set of the blocks that were changed since its last sync may be there, and any
    length between; changes of names since the last sync of the folder may be there up to any one, and
    are not held back by the bytes of the files: the weakest order that file systems give.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inodes: dict[
            int, list[bytes]
        ] = {}  # the contents since the last sync, that one first
        self._names: list[dict[str, int]] = []  # likewise, the names
        self.points = 0
        self._look()
        self._sync_all()

    def _sync_all(self) -> None:
        self._names = self._names[-1:]
        self._inodes = {inode: contents[-1:] for inode, contents in self._inodes.items()}

    def note(self, name: str, args: tuple[Any, ...]) -> None:
        """Look at the folder after a call: for `Faults.after`."""
        self.points += 1
        self._look()
        if name in ("fsync", "fdatasync"):
            status = os.fstat(args[0])
            if os.path.samestat(status, os.stat(self.folder)):
                self._names = self._names[-1:]
            elif status.st_ino in self._inodes:
                self._inodes[status.st_ino] = self._inodes[status.st_ino][-1:]

    def _look(self) -> None:
        names = {}
        for path in self.folder.iterdir():
            inode = path.stat().st_ino
            names[path.name] = inode
            contents = self._inodes.setdefault(inode, [b""])
            if contents[-1] != (data := path.read_bytes()):
                contents.append(data)
        if not self._names or self._names[-1] != names:
            self._names.append(names)

    def states(self, random: random.Random, most: int) -> Iterator[dict[str, bytes]]:
        """Yield what the folder may hold after a loss of power at this moment.

        Args:
            random: chooses blocks.
            most: sets of blocks that are tried for each file, beside none, all, and all but one.
        """
        for names in self._names:
            choices = [list(_contents(self._inodes[inode], random, most)) for inode in names.values()]  # fmt: skip
            for contents in itertools.islice(itertools.product(*choices), 200):
                yield dict(zip(names, contents, strict=True))


def _contents(history: list[bytes], random: random.Random, most: int) -> Iterator[bytes]:
    """What of a file's changes since its last sync may be on the disk."""
    before, now = history[0], history[-1]
    yield now
    if before == now:
        return
    yield before
    size = max(len(before), len(now))
    old, new = before.ljust(size, b"\0"), now.ljust(size, b"\0")
    dirty = [at for at in range(0, size, BLOCK) if old[at : at + BLOCK] != new[at : at + BLOCK]]
    sets = [set(dirty[:n]) for n in random.sample(range(len(dirty)), min(most, len(dirty)))]
    sets += [set(dirty) - {at} for at in random.sample(dirty, min(most, len(dirty)))]
    sets += [{at for at in dirty if random.random() < 0.5} for _ in range(most)]
    for chosen in sets:
        made = bytearray(old)
        for at in chosen:
            made[at : at + BLOCK] = new[at : at + BLOCK]
        # The length may be on the disk without the bytes, which are zeros then, or the other way round.
        yield bytes(made[: random.choice([len(now), len(now), max(chosen, default=0) + BLOCK])])
