"""How long `persist.load` takes for pickles of `Versioned` objects, compared with `pickle.loads`.

    python benchmarks/load_pickle.py                  prints the ratios
    python benchmarks/load_pickle.py --quick          fewer objects, fewer rounds

Ours and ``pickle.loads`` run in turn, round by round, in one process, with the collector as it is; a
figure is the ratio of the medians of the process's own CPU time. ``pickle.loads`` is compiled C and
runs the code that the file names; ours is pure Python, imports nothing and checks every opcode.

- *current*: 20,000 objects of the current version;
- *two steps*: as many objects of a version two ready-made steps older. The rival loads the same
  number of current objects, since pickle cannot upgrade any;
- *arrays*: the names of the arrays in a pickle of 90,000 plain values;
- *one record*: one small file opened and loaded, in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import io
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist
from persist import ops
from persist._envelope import FIELDS, Layer, seal
from persist.tree import Global, Record

Work = Callable[[], Any]
WANTED = {"current": 14.0, "two steps": 18.0, "arrays": 10.0, "one record": 0.3}


class Point(persist.Versioned, version=3, schema="bench.Point"):
    """A declared class as most are: plain fields."""

    persistent = ("number", "rate", "name", "at")

    def __init__(self, number: int, rate: float, name: str, at: tuple[int, int]) -> None:
        self.number, self.rate, self.name, self.at = number, rate, name, at


persist.migration(Point, 1, ops.rename("n", "number"))
persist.migration(Point, 2, ops.add("rate", 1.0))


def old_points(count: int) -> bytes:
    """What `pickle` wrote of as many points when the class was at version 1."""
    header = seal([Layer("bench.Point", 1, "", FIELDS, ("n", "name", "at"))])
    named = Global(Point.__module__, Point.__qualname__)
    records = [
        Record(named, (header, (n, f"point {n}", (n, n + 1))), kind="newobj") for n in range(count)
    ]
    file = io.BytesIO()
    persist.save(records, file, format="pickle", protocol=4)
    return file.getvalue()


def measure(ours: Work, rival: Work, rounds: int) -> tuple[float, float]:
    """The median of each, in seconds of CPU time."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, found in zip((ours, rival), times, strict=True):
            gc.collect()
            start = time.process_time()
            kept = work()
            found.append(time.process_time() - start)
            del kept
    return statistics.median(times[0]), statistics.median(times[1])


def objects(count: int) -> list[Point]:
    """Points of the current version."""
    return [Point(n, n * 0.5, f"point {n}", (n, n + 1)) for n in range(count)]


def plain_values(count: int) -> Any:
    """A log of a run: dicts of numbers and texts, and an array here and there."""
    runs = count // 9
    return {
        f"run {n}": {
            "loss": n * 0.5,
            "at": [n, n + 1, None],
            "name": f"run {n}",
            "best": True,
            "shape": (n, n),
            "epoch": np.full(2, n) if n % 1000 == 0 else n,
        }
        for n in range(runs)
    }


def report(name: str, ours: float, rival: float) -> None:
    """Print one figure beside what is wanted."""
    ratio = ours / rival
    print(
        f"{name:<14}{1e3 * ours:>10.2f} ms{1e3 * rival:>10.2f} ms{ratio:>8.1f} x   wanted", end=""
    )
    print(f" {WANTED[name]:.0f} x")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    count, rounds = (5_000, 3) if quick else (20_000, 7)
    current = pickle.dumps(objects(count), 4)
    older = old_points(count)
    assert [p.number for p in persist.load(older)] == list(range(count))
    print(f"{'':<14}{'ours':>13}{'pickle.loads':>13}")
    report(
        "current", *measure(lambda: persist.load(current), lambda: pickle.loads(current), rounds)
    )
    report(
        "two steps", *measure(lambda: persist.load(older), lambda: pickle.loads(current), rounds)
    )
    values = pickle.dumps(plain_values(90_000 if not quick else 22_500), 4)
    report(
        "arrays",
        *measure(lambda: list(persist.open(values).arrays), lambda: pickle.loads(values), rounds),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "one.pkl")
        path.write_bytes(pickle.dumps(objects(1)[0], 4))
        many = 200
        ours, rival = measure(
            lambda: [persist.load(path) for _ in range(many)],
            lambda: [pickle.loads(path.read_bytes()) for _ in range(many)],
            rounds,
        )
    milliseconds = 1e3 * ours / many
    print(f"{'one record':<14}{milliseconds:>10.2f} ms{1e3 * rival / many:>10.2f} ms   ", end="")
    print(f"       wanted {WANTED['one record']} ms")


if __name__ == "__main__":
    import load_pickle  # classes of a script that runs are no classes of a module

    load_pickle.main()
