"""How long an asynchronous save stops the program, beside one copy of the same bytes.

    python benchmarks/checkpoints.py              1 GiB
    python benchmarks/checkpoints.py --size 64    MiB

`Checkpoints.save(..., asynchronous=True)` and `numpy.copyto` into memory that is there take turns in
one process, on the clock; the ratio is that of the medians. Between two turns the thread that writes
comes to its end, so that nothing else runs. Files lie in memory (``/dev/shm``). The first save, which has
to get its memory from the operating system, is told apart, beside ``array.copy()``, which has to as well.
With ``--folder`` on a file system that shares blocks, also how long a save takes of which nothing, and
all, has changed, beside the same save that shares nothing.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist

MIB = 1 << 20


def timed(work: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    kept = work()
    passed = time.perf_counter() - start
    del kept
    return passed


def arrays_of(size: int, count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"w{n}": rng.integers(0, 255, size // count, "u1").view("<f4") for n in range(count)}


def pause(folder: Path, size: int, count: int, rounds: int) -> None:
    """Print the row of a state of so many arrays."""
    state = arrays_of(size, count)
    fresh = timed(lambda: {name: array.copy() for name, array in state.items()})
    there = {name: array.copy() for name, array in state.items()}
    own, base = [], []
    options: dict[str, Any] = {"keep_last": 1, "asynchronous": True, "durable": False}
    with persist.Checkpoints(folder / f"run{count}", **options) as runs:
        first = timed(lambda: runs.save(0, state))
        runs.wait()
        for step in range(1, rounds + 1):

            def copy() -> None:
                for name, array in state.items():
                    np.copyto(there[name], array)

            base.append(timed(copy))
            own.append(timed(lambda step=step: runs.save(step, state)))  # type: ignore[misc]
            runs.wait()
    one, other = statistics.median(own), statistics.median(base)
    print(
        f"| the pause of an asynchronous save of {count} x {size // count // MIB} MiB "
        f"| numpy.copyto: {other * 1e3:.0f} ms | {one / other:.2f} | 1.20 |\n"
        f"| the first one, into fresh memory | array.copy(): {fresh * 1e3:.0f} ms "
        f"| {first / fresh:.2f} | |",
        flush=True,
    )


def sharing(folder: Path, size: int, rounds: int) -> None:
    """Print what a clone of the last step saves, or costs."""
    from persist import _container

    state = arrays_of(size, 16)
    like, target = folder / "like", folder / "target"
    _container.write(state, like)
    changed = {name: (~array.view("u1")).view("<f4") for name, array in state.items()}
    for what, tree in (("nothing", state), ("everything", changed)):
        times: dict[Any, list[float]] = {None: [], like: []}
        for _ in range(rounds):
            for older, found in times.items():
                target.unlink(missing_ok=True)
                found.append(timed(lambda t=tree, o=older: _container.write(t, target, like=o)))  # type: ignore[misc]
        anew, shared = (statistics.median(found) for found in times.values())
        print(
            f"| save {size // MIB} MiB of which {what} has changed, shared | written anew: "
            f"{anew * 1e3:.0f} ms | {shared / anew:.2f} | |",
            flush=True,
        )
        target.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="on a file system that shares blocks")
    args = parser.parse_args()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        for count in (1, 256):
            pause(folder, args.size * MIB, count, args.rounds)
    finally:
        shutil.rmtree(folder)
    if args.folder:
        folder = Path(tempfile.mkdtemp(dir=args.folder))
        try:
            sharing(folder, args.size * MIB, args.rounds)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
