"""Kill processes that replace a file, at random moments, and see what they leave.

``python tests/container/killing.py COUNT SEED OPERATION...`` prints one JSON object: how many were killed,
how many of them while their temporary file was there, and how often the old state and the new one were found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from operations import OPERATIONS, Operation, unfinished


def killed(operation: Operation, count: int, chance: random.Random) -> dict[str, int]:
    """Kill so many processes; return the counts.

    Raises:
        AssertionError: a process left what is neither the old state nor the new one, or took back what it
            had reported to be done; or what it left is there after the next save.
    """
    counts = {"killed": 0, "unfinished": 0, "old": 0, "new": 0, "finished": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        took = _duration(operation, folder)
        while counts["killed"] < count:
            _emptied(folder)
            operation.prepare(folder)
            has_reported, was_killed = _one(operation, folder, chance.random() * 1.2 * took)
            counts["killed" if was_killed else "finished"] += 1
            counts["unfinished"] += bool(unfinished(folder))
            state = operation.state(folder)
            assert state == "new" or not has_reported, "what was reported to be done is not there"
            counts[state] += was_killed
            if state == "old":
                operation.act(folder)
                assert operation.state(folder) == "new"
                assert not unfinished(folder)
    return counts


def _duration(operation: Operation, folder: Path) -> float:
    """The shortest of three runs, each in a process of its own: seconds."""
    times = []
    for _ in range(3):
        _emptied(folder)
        operation.prepare(folder)
        begin = time.perf_counter()
        assert _one(operation, folder, None) == (True, False)
        times.append(time.perf_counter() - begin)
    return min(times)


def _one(operation: Operation, folder: Path, after: float | None) -> tuple[bool, bool]:
    """Act in a process that is killed after so many seconds; whether it reported the end, was killed."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            operation.act(folder)
            os.write(here, b"!")
        finally:
            os._exit(0)
    os.close(here)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    has_reported = os.read(there, 1) == b"!"
    os.close(there)
    return has_reported, os.WIFSIGNALED(status)


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


if __name__ == "__main__":
    words = sys.argv[3:] or list(OPERATIONS)
    sums: dict[str, int] = {}
    for number, word in enumerate(words):
        found = killed(OPERATIONS[word], int(sys.argv[1]), random.Random(f"{sys.argv[2]} {number}"))
        sums = {key: sums.get(key, 0) + value for key, value in found.items()}
    print(json.dumps(sums))
