"""One checkpoint of several processes: each writes a part, and rank 0 names the parts in the file of the step.

A part is ``step-0000001200.rank-00002-of-00004.<run>.<number>.persist``: its name is used once, so that no part
is ever replaced. The file of the step, ``step-0000001200.persist``, is written last and lists one part of each
rank. A step whose file is missing, or lists a part that is missing, does not exist for readers. Parts are
assigned to one start of the program by a text that all its processes share, since the folder may contain parts
of an earlier start that was killed in the middle of the same step.

Processes exchange nothing but names in the folder: rank 0 waits for the parts, the others wait for
the file of the step.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from persist._runtime.lazy_regex import regex
from persist._wire.base.urls import shown
from persist.errors import PersistError

__all__ = ["Part", "Ranks", "parts_in", "refuse_parts"]

_PART = regex(r"step-(\d{10,})\.rank-(\d{5,})-of-(\d{5,})\.([0-9a-f]{12})\.[0-9a-f]{12}\.persist")
_OF_RANK = regex(r"\.step-\d{10,}\.rank-(\d{5,})-of-")  # the temporary file of a part


class Part(NamedTuple):
    """What the name of a part says."""

    name: str
    step: int
    rank: int
    ranks: int
    run: str


class _Folder(Protocol):
    def names(self) -> list[str]: ...

    def remove(self, name: str) -> None: ...


def parts_in(names: Iterable[str]) -> list[Part]:
    """Return the parts among the names in a folder."""
    found = ((name, _PART.fullmatch(name)) for name in names)
    return [
        Part(name, int(match[1]), int(match[2]), int(match[3]), match[4])
        for name, match in found
        if match
    ]


class Ranks:
    """Which of the processes of a run this one is.

    Args:
        rank: from 0 to ``ranks - 1``.
        ranks: how many processes there are.
        run: a text that all processes of this start share, and no other start does.
        timeout: seconds to wait for the other processes.

    Raises:
        ValueError: one of them is missing or does not fit the others.
    """

    def __init__(
        self, rank: int | None, ranks: int | None, run: str | None, timeout: float
    ) -> None:
        if rank is None or ranks is None or not run:
            raise ValueError(
                f"rank is {rank}, ranks is {ranks}, run is {run!r}. All three were expected: the number of this "
                "process, how many there are, and a text that all processes of this start share and no "
                "other start does (a job's id with its restart count, or a random text that rank 0 broadcasts)."
            )
        if not 0 <= rank < ranks:
            raise ValueError(
                f"rank is {rank}, ranks is {ranks}. A rank from 0 to {ranks - 1} was expected."
            )
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}. A positive number of seconds was expected.")
        self.rank = rank
        self.count = ranks
        self.run = hashlib.sha256(run.encode()).hexdigest()[:12]
        self.timeout = timeout

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files of steps and removes superseded ones."""
        return self.rank == 0

    @property
    def lock(self) -> str:
        """The name of this process's lock; rank 0 has that of a run of one process."""
        return ".writer.lock" if self.is_first else f".writer-{self.rank:05d}.lock"

    def owns(self, unfinished: str) -> bool:
        """Return whether a killed predecessor of this process left a temporary file.

        Files of ranks that this run does not have, and of steps, belong to rank 0.
        """
        match = _OF_RANK.match(unfinished)
        rank = int(match[1]) if match else 0
        return (rank if rank < self.count else 0) == self.rank

    def new_name(self, step: int) -> str:
        """Return a name for a part of this process that was never used."""
        number = os.urandom(6).hex()
        return (
            f"step-{step:010d}.rank-{self.rank:05d}-of-{self.count:05d}.{self.run}.{number}.persist"
        )

    def remove_mine(self, folder: _Folder, step: int, listed: Sequence[str]) -> None:
        """Remove this process's parts of a step that its file does not list."""
        for part in self._of_step(folder.names(), step):
            if part.rank == self.rank and part.name not in listed:
                folder.remove(part.name)

    def collect(self, folder: _Folder, step: int, listed: Sequence[str], place: str) -> list[str]:
        """Wait until each rank has written its part; return their names by rank.

        Args:
            folder: where they appear.
            step: its number.
            listed: the parts that the present file of the step lists: those of an earlier save.
            place: what a message names.

        Raises:
            PersistError: a part did not come in time.
        """
        # A process whose time is over removes its part: it is not the one that is missing.
        seen: set[int] = set()
        for _ in self._looks():
            parts = self._of_step(folder.names(), step)
            found = {part.rank: part.name for part in parts if part.name not in listed}
            if len(found) == self.count:
                return [found[rank] for rank in range(self.count)]
            seen.update(found)
        missing = [str(rank) for rank in range(self.count) if rank not in seen]
        if not missing:
            raise self._late(step, place, "not all parts were there at the same time")
        raise self._late(step, place, f"no part came from rank {', '.join(missing)}")

    def wait_for(self, is_listed: Callable[[], bool], step: int, place: str) -> None:
        """Wait until the file of a step lists the part of this process.

        Raises:
            PersistError: it did not come in time.
        """
        for _ in self._looks():
            if is_listed():
                return
        raise self._late(step, place, "rank 0 has not completed it")

    def refuse_others(self, parts: Sequence[str], step: int, place: str) -> None:
        """Refuse to restore a step that another number of processes wrote.

        Raises:
            PersistError: it is one.
        """
        if len(parts) != self.count:
            remedy = (
                _remedy(len(parts), place)
                if parts
                else f"Load the same state in each process: Checkpoints({shown(os.path.dirname(place))!r}).restore({step})."
            )
            raise _other(len(parts) or 1, self.count, step, place, remedy)

    def _of_step(self, names: Iterable[str], step: int) -> list[Part]:
        return [
            part
            for part in parts_in(names)
            if (part.step, part.run, part.ranks) == (step, self.run, self.count)
        ]

    def _looks(self) -> Iterator[None]:
        """Yield each time that it is worth looking again, until time is over."""
        end, pause = time.monotonic() + self.timeout, 0.002
        while True:
            yield
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.5)

    def _late(self, step: int, place: str, what: str) -> PersistError:
        return PersistError(
            f"step {step} was not saved: {what} within {self.timeout:g} seconds.",
            file=shown(place),
            remedy="Look in the output of the other processes for what ended or delays them. The steps before are intact; "
            "timeout= waits longer.",
        )


def refuse_parts(parts: Sequence[str], step: int, place: str) -> None:
    """Refuse to restore a step of several processes in a run of one.

    Raises:
        PersistError: it is one.
    """
    if parts:
        raise _other(len(parts), 1, step, place, _remedy(len(parts), place))


def _remedy(count: int, place: str) -> str:
    folder = os.path.dirname(place)
    return (
        f"Start {count} processes, each with Checkpoints({shown(folder)!r}, rank=..., ranks={count}, run=...). The "
        f"part of one rank alone is a file that persist.load takes; {shown(place)} lists them."
    )


def _other(wrote: int, here: int, step: int, place: str, remedy: str) -> PersistError:
    return PersistError(
        f"step {step} was saved by {_processes(wrote)}, and this run has {here}. A state that is spread over "
        "processes can only be restored by as many as saved it.",
        file=shown(place),
        remedy=remedy,
    )


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"
