"""Classes of a lab, and old files of them: imported by the tests and by their workers."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np

import persist


class Net(persist.Versioned, version=3, schema="bulk.Net"):
    """Version 1 had W and no rate, version 2 had W."""

    persistent = ("weights", "rate")


persist.alias("old_bulk_lab.Net", Net)
persist.migration(Net, 1, persist.ops.add("rate", 0.5))
persist.migration(Net, 2, persist.ops.rename("W", "weights"))


@persist.stamp(Net)
def by_fields(state: dict[str, object]) -> int:
    return 3 if "weights" in state else 2 if "rate" in state else 1


def write_old(path: Path, number: int) -> None:
    """Write what the old lab wrote: a pickle of protocol 2 whose class is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = pickle.dumps({"W": np.full((2, 3), number, "f8"), "rate": number / 10}, 2)[2:-1]
    path.write_bytes(b"\x80\x02cold_bulk_lab\nNet\n)\x81" + state + b"b.")


def write_many(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number % 3}" / f"run{number:03}.pkl" for number in range(count)]
    for number, path in enumerate(paths):
        write_old(path, number)
    return paths


def length(path: str) -> int:
    """A function of the user's."""
    return os.path.getsize(path)


def counted(path: str) -> object:
    """A generator, which no other process can get."""
    return (number for number in range(3))


def dies(path: str) -> str:
    """Ends its process for one file."""
    if "killer" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.basename(path)


def dies_once(path: str) -> str:
    """Ends its process the first time it sees one file, as a machine that is switched off would."""
    mark = Path(f"{path}.seen")
    if "unlucky" in path and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.basename(path)


def slow(path: str) -> str:
    time.sleep(0.02)
    return os.path.basename(path)
