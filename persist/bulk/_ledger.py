"""The ledger: an SQLite file with what became of each file, written by the coordinator alone.

    runs       each call of the engine: job, options, when, whether it was finished or undone
    files      each file of a job, with what became of it last
    writes     each file that a run wrote, with the digest of what it wrote
    knowledge  the sets of classes that files name, with the fingerprint of what was declared of them
    parts      what a job collected over several files (a survey)

Rows of ``files`` are added when a run begins (state 0) and filled when a file is done (state 1), in
transactions of some thousands: a process that is killed leaves rows of state 0, and nothing in between.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persist._version import __version__
from persist.bulk._sources import Item
from persist.checkpoints._lock import Lock
from persist.errors import FormatError, PersistError

__all__ = ["Due", "Ledger", "Row", "Write", "is_ledger"]

_FORM = 1
_MAGIC = 0x70727374  # the application_id of the file: "prst"
_HEAD = b"SQLite format 3\0"
_TABLES = """
CREATE TABLE runs(
  id TEXT PRIMARY KEY, job TEXT NOT NULL, digest TEXT NOT NULL, options TEXT NOT NULL,
  persist TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, undone TEXT);
CREATE TABLE files(
  number INTEGER PRIMARY KEY, job TEXT NOT NULL, name TEXT NOT NULL, inside TEXT NOT NULL,
  named INTEGER NOT NULL, unit TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
  target TEXT, fresh INTEGER NOT NULL, seen TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0, run TEXT, options TEXT,
  status TEXT, verdict TEXT, format TEXT, digest TEXT, seconds REAL, kind TEXT, error TEXT,
  target_size INTEGER, target_digest TEXT, knowledge INTEGER, part INTEGER, facts TEXT,
  UNIQUE(job, name));
CREATE TABLE writes(
  run TEXT NOT NULL, number INTEGER NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
  before TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY(run, number)) WITHOUT ROWID;
CREATE TABLE knowledge(id INTEGER PRIMARY KEY, names TEXT UNIQUE NOT NULL, digest TEXT NOT NULL);
CREATE TABLE parts(id INTEGER PRIMARY KEY, job TEXT NOT NULL, data BLOB NOT NULL);
"""
_ADD = """
INSERT INTO files(job, name, inside, named, unit, size, mtime, target, fresh, seen)
VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT(job, name) DO UPDATE SET
  inside = excluded.inside, named = max(named * (seen = excluded.seen), excluded.named),
  unit = excluded.unit,
  state = (state AND options IS ?11 AND size = excluded.size AND mtime = excluded.mtime
           AND target IS excluded.target
           AND (run IS ?10 OR (?12 AND verdict <> 'failed' AND status NOT LIKE 'would%'))),
  fresh = CASE WHEN seen = excluded.seen THEN fresh ELSE excluded.fresh END,
  target = excluded.target, seen = excluded.seen, size = excluded.size, mtime = excluded.mtime
"""
_DONE = """
UPDATE files SET state = 1, run = ?, options = ?, status = ?, verdict = ?, format = ?, digest = ?,
  seconds = ?, kind = ?, error = ?, target_size = ?, target_digest = ?, knowledge = ?, part = ?,
  facts = ? WHERE number = ?
"""


class Row(NamedTuple):
    """One file of a ledger; the fields are the columns of the table."""

    number: int
    job: str
    name: str
    inside: str
    named: int
    unit: str
    size: int
    mtime: int
    target: str | None
    fresh: int
    run: str | None
    options: str | None
    status: str | None
    verdict: str | None
    format: str | None
    digest: str | None
    seconds: float | None
    kind: str | None
    error: str | None
    target_size: int | None
    target_digest: str | None
    knowledge: int | None
    facts: str | None


class Due(NamedTuple):
    """A file that is left to be done: the columns that the run needs, read a million times."""

    number: int
    name: str
    named: int
    unit: str
    size: int
    target: str | None
    fresh: int
    options: str | None
    status: str | None
    verdict: str | None
    format: str | None
    digest: str | None
    kind: str | None
    error: str | None
    target_size: int | None
    target_digest: str | None
    knowledge: int | None
    facts: str | None


class Write(NamedTuple):
    """A file that a run wrote.

    Attributes:
        run: the id of the run.
        number: of the file in the ledger.
        path: what was written.
        digest: SHA-256 of what was written.
        before: what was there: "nothing", "kept" (its original is kept by digest), "generation" (in the
            file itself), or "lost".
        source: SHA-256 of the source.
    """

    run: str
    number: int
    path: str
    digest: str
    before: str
    source: str


def is_ledger(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a ledger."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
    except OSError:
        return False
    return head.startswith(_HEAD) and head[68:72] == _MAGIC.to_bytes(4, "big")


class Ledger:
    """A ledger that is open.

    Args:
        path: of the file, which is made if it is missing; None keeps it in a temporary file.
        writes: open it as the coordinator of a run; False opens it for reading, also during a run.

    Raises:
        FormatError: the file is no ledger, or one of a later release.
        PersistError: another coordinator writes it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, writes: bool = True) -> None:
        self.path = None if path is None else Path(path)
        self._lock: Lock | None = None
        is_new = self.path is None or not self.path.exists() or not self.path.stat().st_size
        if not writes and is_new:
            raise FileNotFoundError(2, os.strerror(2), str(path))
        if not is_new and not is_ledger(path or ""):
            raise FormatError(
                "it is no ledger.", file=str(path), remedy="Give the file that --ledger made."
            )
        if writes and self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked(self.path)
        name = "" if self.path is None else os.fspath(self.path)
        if not writes:
            name = f"{self.path.absolute().as_uri()}?mode=ro"  # type: ignore[union-attr]
        try:
            self._base = sqlite3.connect(name, uri=not writes, isolation_level=None)
        except BaseException:
            self._release()
            raise
        try:
            self._begin(is_new=is_new, writes=writes)
        except BaseException:
            self.close()
            raise
        self.known_names: dict[str, int] = {}

    @staticmethod
    def _locked(path: Path) -> Lock:
        try:
            return Lock(path.with_name(f"{path.name}-lock"))
        except PersistError as error:
            raise PersistError(
                "another run writes this ledger.",
                file=str(path),
                remedy="Wait for it, or give this run a ledger of its own.",
            ) from error

    def _begin(self, *, is_new: bool, writes: bool) -> None:
        """Make the tables of a new ledger, or see that those of an old one are known."""
        self._base.execute("PRAGMA cache_size = -16000")
        if is_new:  # before the journal is a log of its own: the head of the file says what it is
            self._base.execute("PRAGMA page_size = 16384")  # rows of most of a kilobyte
            with self.transaction():
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA application_id = {_MAGIC}")
                self._base.execute(f"PRAGMA user_version = {_FORM}")
        if writes:
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
        (form,) = self._base.execute("PRAGMA user_version").fetchone()
        if form != _FORM:
            raise FormatError(
                f"it is a ledger of form {form}, and this release reads form {_FORM}.",
                file=str(self.path),
                remedy="Use the release of persist that wrote it.",
            )

    def close(self) -> None:
        """Close the file."""
        try:
            self._base.close()
        finally:
            self._release()

    def _release(self) -> None:
        """Let others write it. A lock file that cannot be removed is the next run's."""
        lock, self._lock = self._lock, None
        if lock is None or self.path is None:
            return
        if os.name != "nt":
            with contextlib.suppress(OSError):
                self.path.with_name(f"{self.path.name}-lock").unlink(missing_ok=True)
        lock.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Do what is done inside at once, or not at all."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    # The beginning and end of runs.

    def begin(self, job: str, digest: str, options: dict[str, object]) -> tuple[str, bool]:
        """Begin a run, or go on with the last one of the same job and options, if it was not finished.

        Returns:
            The run's id, and whether it goes on.
        """
        last = self._base.execute(
            "SELECT id, digest, options, finished, undone FROM runs WHERE job = ? "
            "ORDER BY started DESC, rowid DESC LIMIT 1",
            (job,),
        ).fetchone()
        text = json.dumps(options, default=str)
        if last is not None and last[1:] == (digest, text, None, None):
            return str(last[0]), True
        id = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._base.execute(
            "INSERT INTO runs VALUES(?, ?, ?, ?, ?, ?, NULL, NULL)",
            (id, job, digest, text, __version__, _now()),
        )
        return id, False

    def finish(self, run: str) -> None:
        """Note that nothing of a run is left to be done."""
        self._base.execute("UPDATE runs SET finished = ? WHERE id = ?", (_now(), run))

    def forget(self, numbers: list[int], run: str, *, is_undone: bool) -> None:
        """Let files count as never done.

        Args:
            numbers: of the files.
            run: the run that did them.
            is_undone: note that the whole run was undone.
        """
        with self.transaction():
            self._base.executemany(
                "UPDATE files SET state = 0, options = NULL WHERE number = ?",
                ((number,) for number in numbers),
            )
            self._base.executemany(
                "DELETE FROM writes WHERE run = ? AND number = ?",
                ((run, number) for number in numbers),
            )
            if is_undone:
                self._base.execute("UPDATE runs SET undone = ? WHERE id = ?", (_now(), run))

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, the oldest first."""
        names = ("id", "job", "digest", "options", "persist", "started", "finished", "undone")
        rows = self._base.execute(f"SELECT {', '.join(names)} FROM runs ORDER BY started, rowid")
        return [
            {**dict(zip(names, row, strict=True)), "options": json.loads(row[3])} for row in rows
        ]

    # Files of a run.

    def add(
        self,
        job: str,
        run: str,
        digest: str,
        items: Iterable[tuple[Item, str | None, bool]],
        *,
        by_time: bool = False,
    ) -> None:
        """Add the files of a run; what this run has done already stays done.

        Args:
            job: its name.
            run: its id.
            digest: of its options.
            items: each file, its target, and whether nothing is there yet.
            by_time: what an earlier run has done stays done, too, if size and time are the same.
        """
        with self.transaction():
            self._base.executemany(
                _ADD,
                (
                    (job, item.name, item.inside, item.is_named, item.note, item.size, item.mtime,
                     target, is_fresh, run, digest, by_time)
                    for item, target, is_fresh in items
                ),
            )  # fmt: skip

    def collisions(self, job: str, run: str, most: int) -> list[tuple[str, list[str]]]:
        """Return targets that several files of a run have, and these files."""
        rows = self._base.execute(
            "SELECT target, json_group_array(name) FROM files WHERE job = ? AND seen = ? "
            "AND target IS NOT NULL GROUP BY target HAVING count(*) > 1 LIMIT ?",
            (job, run, most),
        )
        return [(target, json.loads(names)) for target, names in rows]

    def totals(self, job: str, run: str) -> tuple[int, int, int]:
        """Return the numbers of files of a run and of those left to be done, and the bytes of these."""
        found = self._base.execute(
            "SELECT count(*), sum(state = 0), sum((state = 0) * max(size, 0)) FROM files "
            "WHERE job = ? AND seen = ?",
            (job, run),
        ).fetchone()
        return int(found[0]), int(found[1] or 0), int(found[2] or 0)

    def count(
        self, job: str, run: str, verdict: str, status: str | None = None, kind: str | None = None
    ) -> int:
        """Return how many files of a run have a verdict, and a status and a kind like these if given."""
        found = self._base.execute(
            "SELECT count(*) FROM files WHERE job = ?1 AND seen = ?2 AND state = 1 AND verdict = ?3 "
            "AND status = coalesce(?4, status) AND kind LIKE coalesce(?5, kind)",
            (job, run, verdict, status, kind),
        ).fetchone()
        return int(found[0])

    def pending(self, job: str, run: str, chunk: int = 1000) -> Iterator[Due]:
        """Yield the files of a run that are left to be done, in order."""
        last = -1
        while True:
            rows = self._base.execute(
                f"SELECT {', '.join(Due._fields)} FROM files NOT INDEXED WHERE number > ? AND job = ? AND seen = ? "
                "AND state = 0 ORDER BY number LIMIT ?",
                (last, job, run, chunk),
            ).fetchall()
            yield from map(Due._make, rows)
            if len(rows) < chunk:
                return
            last = rows[-1][0]

    def done(self, rows: Iterable[Sequence[Any]], writes: Iterable[Write] = ()) -> None:
        """Fill the rows of files that are done, and note what was written."""
        self._base.executemany(_DONE, rows)
        self._base.executemany("INSERT OR REPLACE INTO writes VALUES(?, ?, ?, ?, ?, ?)", writes)

    def writes(self, run: str) -> list[Write]:
        """Return what a run wrote."""
        rows = self._base.execute("SELECT * FROM writes WHERE run = ? ORDER BY number", (run,))
        return [Write._make(row) for row in rows]

    # What was known of the classes that a file names.

    def knowledge(self, names: str, digest: str) -> int:
        """Return the number of a set of names, as JSON, with what is declared of them."""
        found = self.known_names.get(names)
        if found is None:
            row = self._base.execute(
                "INSERT INTO knowledge(names, digest) VALUES(?1, ?2) "
                "ON CONFLICT(names) DO UPDATE SET digest = ?2 RETURNING id",
                (names, digest),
            ).fetchone()
            if len(self.known_names) > 100_000:
                self.known_names.clear()
            found = self.known_names[names] = int(row[0])
        return found

    def stale_knowledge(self, digest_of: Any) -> set[int]:
        """Return the numbers of sets of names of which something else is declared today; as JSON text."""
        rows = self._base.execute("SELECT id, names, digest FROM knowledge").fetchall()
        return {id for id, names, digest in rows if digest_of(names) != digest}

    def forget_stale(self, numbers: set[int]) -> None:
        """Let files whose classes are declared differently today count as never done."""
        for number in numbers:
            self._base.execute(
                "UPDATE files SET state = 0, options = NULL WHERE knowledge = ?", (number,)
            )
            self._base.execute("DELETE FROM knowledge WHERE id = ?", (number,))

    # Parts: what is collected over several files.

    def add_part(self, job: str, data: bytes) -> int:
        """Keep a part; return its number."""
        done = self._base.execute("INSERT INTO parts(job, data) VALUES(?, ?)", (job, data))
        return int(done.lastrowid or 0)

    def drop_parts(self, job: str, run: str) -> None:
        """Drop the parts that do not hold for a run, and let their files be done again.

        A part holds if each of its files is in the run, and none is left to be done.
        """
        bad = "SELECT part FROM files WHERE job = ?1 AND part IS NOT NULL AND (seen <> ?2 OR state = 0)"
        with self.transaction():
            self._base.execute(
                f"UPDATE files SET state = 0, part = NULL WHERE job = ?1 AND part IN ({bad})",
                (job, run),
            )
            self._base.execute(
                "DELETE FROM parts WHERE job = ?1 AND id NOT IN "
                "(SELECT part FROM files WHERE job = ?1 AND part IS NOT NULL)",
                (job,),
            )

    def parts(self, job: str) -> Iterator[bytes]:
        """Yield the parts of a job, in order."""
        for (data,) in self._base.execute(
            "SELECT data FROM parts WHERE job = ? ORDER BY id", (job,)
        ):
            yield data

    # Reading.

    def rows(
        self, where: str = "1", values: tuple[Any, ...] = (), order: str = "number"
    ) -> Iterator[Row]:
        """Yield rows; for reports."""
        query = f"SELECT {', '.join(Row._fields)} FROM files WHERE {where} ORDER BY {order}"
        for row in self._base.execute(query, values):
            yield Row._make(row)

    def query(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; for reports."""
        return self._base.execute(statement, values).fetchall()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
