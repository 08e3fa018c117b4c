"""One process of a run of several, started by tests: saves and restores its part."""

from __future__ import annotations

import contextlib
import os
import signal
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np

import persist


def state(rank: int, step: int, run: str) -> dict[str, Any]:
    return {"w": np.full(1000, rank * 1000.0 + step), "rank": rank, "step": step, "run": run}


def work(
    rank: int,
    ranks: int,
    folder: str,
    run: str,
    steps: list[int],
    options: dict[str, Any],
    killed_at: int | None,
    answers: Queue[Any],
    ready: Barrier,
) -> None:
    """Save steps, each after the last; the process may kill itself where it would save one."""
    ready.wait(60)  # interpreters start at different speeds
    try:
        with persist.Checkpoints(
            folder, rank=rank, ranks=ranks, run=run, durable=False, **options
        ) as runs:
            for step in steps:
                if step == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                runs.save(step, state(rank, step, run), metrics={"loss": abs(step - 2)})
            runs.wait()
            found = {}
            for step in runs.steps():
                with contextlib.suppress(FileNotFoundError):  # rank 0 has just removed it
                    found[step] = runs.restore(step)
            answers.put((rank, {step: (x["rank"], x["run"]) for step, x in found.items()}))
    except persist.errors.PersistError as error:
        answers.put((rank, str(error)))
