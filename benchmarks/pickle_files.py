"""How long a pickle of many small objects takes: here, in ``pickle``, in ``pickletools``.

    python benchmarks/pickle_files.py [--objects 100000] [--dicts 7000] [--rounds 5]

All ways take turns in one process, with the garbage collector off, on the same machine in the same
minute; what counts is the ratio in the last column, of each way's median to ours. ``pickle.loads``
is compiled and makes the objects; ``pickletools.genops`` is in Python, as we are, and only reads
the opcodes, as every scanner of pickles does.
"""

from __future__ import annotations

import argparse
import collections
import gc
import pickle
import pickletools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist

Way = tuple[str, Callable[[], Any]]


class Layer:
    """What a log of a run is full of."""

    def __init__(self, number: int) -> None:
        self.number, self.loss = number, number * 0.5
        self.name, self.shape = f"layer {number}", (number, number + 1)


def compare(title: str, size: int, ways: list[Way], rounds: int) -> None:
    """Let all ways take turns, and print the median of each."""
    times: dict[str, list[float]] = {name: [] for name, _ in ways}
    for _ in range(rounds):
        for name, way in ways:
            gc.collect()
            gc.disable()
            start = time.process_time()
            kept = way()
            times[name].append(time.process_time() - start)
            gc.enable()
            del kept
    print(f"\n{title}, {size / 1e6:.1f} MB")
    medians = {name: statistics.median(found) for name, found in times.items()}
    ours = medians[ways[0][0]]
    for name, seconds in medians.items():
        print(
            f"  {name:<24}{1e3 * seconds:>10.1f} ms{size / 1e6 / seconds:>9.1f} MB/s"
            f"{seconds / ours:>9.2f}"
        )


def measure(title: str, value: Any, rounds: int, protocols: tuple[int, ...] = (0, 2, 4)) -> None:
    """Write one graph in several protocols, and read it in every way."""
    for protocol in protocols:
        data = pickle.dumps(value, protocol)
        compare(
            f"{title}, protocol {protocol}",
            len(data),
            [
                ("persist.open", lambda data=data: persist.open(data).tree),  # type: ignore[misc]
                ("pickle.loads", lambda data=data: pickle.loads(data)),  # type: ignore[misc]
                (
                    "pickletools.genops",
                    lambda data=data: collections.deque(pickletools.genops(data), 0),  # type: ignore[misc]
                ),
            ],
            rounds,
        )


def small_files(count: int, rounds: int) -> None:
    """Open many small files, of three kinds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            state = {"loss": [0.1 * number] * 20, "rate": 0.1, "w": np.arange(16.0)}
            (folder / f"{number}.pkl").write_bytes(pickle.dumps(state, 2))
            np.save(folder / f"{number}.npy", state["w"])
            np.savez(folder / f"{number}.npz", w=state["w"])
        for kind, read in (
            ("pkl", lambda path: pickle.loads(path.read_bytes())),
            ("npy", np.load),
            ("npz", lambda path: dict(np.load(path))),
        ):
            paths = sorted(folder.glob(f"*.{kind}"))
            size = sum(path.stat().st_size for path in paths)
            compare(
                f"{count:,} small files, {kind}",
                size,
                [
                    ("persist.open", lambda paths=paths: [persist.open(p).tree for p in paths]),  # type: ignore[misc]
                    ("pickle or numpy", lambda paths=paths, read=read: list(map(read, paths))),  # type: ignore[misc]
                ],
                rounds,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--dicts", type=int, default=7_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    objects = [Layer(number) for number in range(options.objects)]
    measure(f"{options.objects:,} objects", objects, options.rounds)
    del objects
    nested = {
        str(run): {
            f"epoch {step}": {"loss": run / (step + 1), "at": [run, step, None], "best": True}
            for step in range(20)
        }
        for run in range(options.dicts)
    }
    measure(f"dicts of {options.dicts:,} runs", nested, options.rounds)
    del nested
    few = [np.arange(8.0) + number for number in range(10_000)]
    measure("10,000 arrays of 8 numbers", few, options.rounds, (2, 4))
    small_files(1000, options.rounds)
    arrays = {f"layer{number}": np.full(1 << 18, number, "f4") for number in range(100)}
    measure("100 arrays of 1 MiB", arrays, options.rounds, (2, 5))


if __name__ == "__main__":
    main()
