"""What ``progress=`` costs: a load and a save with a function, and without one against another checkout.

    python benchmarks/progress.py [--other CHECKOUT] [--rounds N]

Each is run in turn in a process of its own, in CPU time; ratios of medians are printed. ``--other`` is a
checkout of a commit without the keyword, which shows what it costs a program that does not use it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHILD = """
import pickle, sys, tempfile, time
import numpy as np
import persist
count, words = 0, {}
if sys.argv[1] == "with":
    def report(event):
        global count
        count += 1
    words = {"progress": report}
data = pickle.dumps([{"a": i, "b": str(i), "c": [1.5, None]} for i in range(60_000)])
small = pickle.dumps({"a": 1})
tree = {f"layer.{i}.weight": np.ones(40) for i in range(20_000)}
took = {}
def timed(name, work, times=1):
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    took[name] = (time.process_time() - began) / times
with tempfile.TemporaryDirectory() as folder:
    timed("load a pickle of 180,000 objects", lambda: persist.load(data, **words))
    timed("load a pickle of one object", lambda: persist.load(small, **words), 300)
    timed("save 20,000 arrays", lambda: persist.save(tree, folder + "/a.persist", durable=False, **words))
    timed("load 20,000 arrays", lambda: persist.load(folder + "/a.persist", **words))
for name, seconds in took.items():
    print(name, seconds, sep="\\t")
"""


def whole(checkout: Path, folder: Path) -> Path:
    """Copy the package of a checkout with its packs inside, as an installed one has them."""
    shutil.copytree(
        checkout / "persist", folder / "persist", ignore=shutil.ignore_patterns("migrations")
    )
    shutil.copytree(checkout / "migrations", folder / "persist" / "migrations")
    return folder


def child(checkout: Path, way: str, folder: str) -> dict[str, float]:
    """Return the CPU seconds of each job in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, way],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {name: float(seconds) for name, seconds in lines}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--other", type=Path, help="a checkout without the keyword")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    ways = {"without": (ROOT, "without"), "with": (ROOT, "with")}
    if args.other is not None:
        ways["before"] = (args.other.resolve(), "without")
    taken: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        kept = {way: Path(folder, "without" if way == "with" else way) for way in ways}
        ways = {
            way: (kept[way] if kept[way].exists() else whole(checkout, kept[way]), word)
            for way, (checkout, word) in ways.items()
        }
        for _ in range(args.rounds):
            for way, (checkout, word) in ways.items():
                for name, seconds in child(checkout, word, folder).items():
                    taken[way].setdefault(name, []).append(seconds)
    for name, own in taken["without"].items():
        base = statistics.median(own)
        text = f"{name:36} {base * 1e3:8.3f} ms without a function"
        text += f", {statistics.median(taken['with'][name]) / base:.2f} x with one"
        if args.other is not None:
            text += f", {base / statistics.median(taken['before'][name]):.2f} x the other checkout"
        print(text)


if __name__ == "__main__":
    main()
