"""A class with a step that ends its process once."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import persist


class Net(persist.Versioned, version=2, schema="bulk_fatal.Net"):
    persistent = ("number", "rate")


persist.alias("old_fatal_lab.Net", Net)


@persist.stamp(Net)
def by_fields(state: dict[str, Any]) -> int:
    return 2 if "rate" in state else 1


@persist.migration(Net, 1)
def upgrade(state: dict[str, Any]) -> dict[str, Any]:
    mark = os.environ.get("BULK_FATAL", "")
    if mark and state["number"] == 5 and not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {**state, "rate": 0.5}


def write_many(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        state = pickle.dumps({"number": number}, 2)[2:-1]
        (folder / f"{number:02}.pkl").write_bytes(
            b"\x80\x02cold_fatal_lab\nNet\n)\x81" + state + b"b."
        )
