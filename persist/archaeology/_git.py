"""Commits, what each changed, and the contents of files, read from git.

The program ``git`` is asked; no hook, filter or helper of the repository runs, and nothing is fetched.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from persist.errors import PersistError

__all__ = ["Change", "Commit", "Repository"]

_OFF = (
    "core.fsmonitor=false",
    "log.showSignature=false",
    "core.quotePath=false",
    "log.showRoot=true",
)
# What a hook or an outer command of git sets, and means another repository.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
)
_REGULAR = (b"100644", b"100755", b"100664")
_MOST_BYTES = 4 << 20  # of a source file; a longer one is generated, and left out


@attrs.frozen
class Change:
    """What a commit did to one file.

    Attributes:
        path: of the file.
        blob: the id of its new content; "" if it is gone, or no regular file.
    """

    path: str
    blob: str


@attrs.define
class Commit:
    """One commit.

    Attributes:
        name: its id.
        parents: places of its parents in the list of commits.
        time: when it was written, in seconds since 1970.
        subject: the first line of its message.
        changes: to source files, in comparison with its first parent.
    """

    name: str
    parents: tuple[int, ...]
    time: int
    subject: str
    changes: tuple[Change, ...] = ()


class Repository:
    """A git repository.

    Args:
        path: its folder, or one inside of it.

    Raises:
        PersistError: there is no git, or no repository that it may read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise PersistError(
                "there is no such folder.",
                file=str(path),
                remedy="Name the folder of a git repository.",
            )
        self.is_shallow = self._said("rev-parse", "--is-shallow-repository") == "true"
        self.links = 0  # symbolic links and submodules that were passed over

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        options = [part for setting in _OFF for part in ("-c", setting)]
        env = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        env |= {
            "LC_ALL": "C",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
        }
        try:
            return subprocess.Popen(
                ["git", *options, "--no-pager", "-C", str(self.path), *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
            )  # fmt: skip
        except FileNotFoundError:
            raise PersistError(
                "the program git is not here.",
                file=str(self.path),
                remedy="Install git (2.31 or newer).",
            ) from None

    def _said(self, *words: str) -> str:
        run = self._start(*words)
        out, err = run.communicate()
        self._refuse(run.returncode, err)
        return os.fsdecode(out).strip()

    def _refuse(self, status: int, err: bytes) -> None:
        if status:
            said = err.decode("utf-8", "replace").strip().removeprefix("fatal: ")
            raise PersistError(
                f"git cannot read it: {said or f'it ended with status {status}'}.".replace(
                    "..", "."
                ),
                file=str(self.path),
                remedy="Name the folder of a git repository that has a commit.",
            )

    def head(self) -> str:
        """Return the id of the commit that is checked out."""
        return self._said("rev-parse", "--verify", "HEAD^{commit}")

    def commits(self, suffixes: tuple[str, ...] = (".py", ".pyw")) -> list[Commit]:
        """Return all commits of HEAD, branches and tags, parents first, with what each did to source files.

        Args:
            suffixes: endings of the names of source files.
        """
        run = self._start(
            "log", "--topo-order", "--reverse", "--raw", "--no-abbrev", "--no-renames",
            "--diff-merges=first-parent", "--no-ext-diff", "--no-textconv", "--no-color", "--no-notes",
            "--encoding=UTF-8", "--format=format:%x01%H%x02%P%x02%at%x02%s",
            "HEAD", "--branches", "--tags", "--remotes", "--",
        )  # fmt: skip
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdin.close()
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda err=run.stderr: errors.append(err.read()))
        reader.start()
        found: list[Commit] = []
        places: dict[bytes, int] = {}
        changes: list[Change] = []
        endings = tuple(suffix.encode() for suffix in suffixes)
        for line in run.stdout:
            if line[:1] == b":":
                change = self._change(line.rstrip(b"\n"), endings)
                if change is not None:
                    changes.append(change)
            elif line[:1] == b"\x01":
                if found:
                    found[-1].changes = tuple(changes)
                changes = []
                name, parents, time, subject = line[1:].rstrip(b"\n").split(b"\x02", 3)
                # In a shallow clone, parents are missing; then the commit has all files as new ones.
                known = tuple(places[one] for one in parents.split() if one in places)
                places[name] = len(found)
                text = subject.decode("utf-8", "replace")
                found.append(Commit(name.decode(), known, _seconds(time), text))
        if found:
            found[-1].changes = tuple(changes)
        reader.join()
        status = run.wait()
        run.stdout.close()
        run.stderr.close()
        self._refuse(status, b"".join(errors))
        return found

    def _change(self, line: bytes, endings: tuple[bytes, ...]) -> Change | None:
        head, _, path = line.partition(b"\t")
        if path[:1] == b'"':
            path = _unquoted(path)
        if not path.endswith(endings):
            return None
        _, mode, _, blob, _ = head.split()
        if mode not in _REGULAR and blob.strip(b"0"):
            self.links += 1
            return Change(os.fsdecode(path), "")
        return Change(os.fsdecode(path), blob.decode() if blob.strip(b"0") else "")

    def contents(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield the content of each blob; None for one that is not here or too long."""
        wanted = list(blobs)
        if not wanted:
            return
        run = self._start("cat-file", "--batch", "--buffer")
        assert run.stdin is not None
        assert run.stdout is not None
        stdin = run.stdin

        def ask() -> None:
            try:
                for blob in wanted:
                    stdin.write(blob.encode() + b"\n")
                stdin.close()
            except BrokenPipeError:
                pass  # git ended: the answers say so

        writer = threading.Thread(target=ask, daemon=True)
        writer.start()
        try:
            for blob in wanted:
                head = run.stdout.readline().split()
                if len(head) == 3:
                    size = int(head[2])
                    data = run.stdout.read(size)
                    run.stdout.readline()
                    yield blob, data if head[1] == b"blob" and size <= _MOST_BYTES else None
                elif head:
                    yield blob, None  # missing
                else:
                    self._refuse(run.wait() or 1, run.stderr.read() if run.stderr else b"")
        finally:
            for pipe in (run.stdout, run.stderr):
                if pipe is not None:
                    pipe.close()
            if run.poll() is None:
                run.terminate()
            writer.join()
            run.wait()


def _seconds(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:  # a damaged commit
        return 0


def _unquoted(path: bytes) -> bytes:
    """The path that git wrote in quotes, in the way of C."""
    simple = {
        b"n": b"\n",
        b"t": b"\t",
        b"r": b"\r",
        b"a": b"\a",
        b"b": b"\b",
        b"f": b"\f",
        b"v": b"\v",
    }
    out, rest = bytearray(), path[1:-1]
    place = 0
    while place < len(rest):
        byte = rest[place : place + 1]
        if byte != b"\\":
            out += byte
            place += 1
        elif rest[place + 1 : place + 4].isdigit():
            out.append(int(rest[place + 1 : place + 4], 8) & 0xFF)
            place += 4
        else:
            following = rest[place + 1 : place + 2]
            out += simple.get(following, following)
            place += 2
    return bytes(out)
