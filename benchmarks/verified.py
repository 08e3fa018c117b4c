"""What checking costs: a mapped container loaded and read, by default, ``verify="lazy"`` and ``verify="never"``.

    python benchmarks/verified.py [--mebibytes N] [--rounds N]

Each is run in turn in one process, in CPU time; the ratio of medians to ``verify="never"`` is printed. Small members
(64 KiB) are checked by default when their arrays are made, large ones (8 MiB) with ``verify="lazy"`` when they are first touched.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import persist

WAYS = {"never": "never", "default": None, "lazy": "lazy"}


def read(path: Path, verify: str | None) -> float:
    """Load a file and add up all its arrays; return the CPU seconds."""
    began = time.process_time()
    tree = persist.load(path, verify=verify)
    for array in tree.values():
        np.asarray(array).sum()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mebibytes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for kind, size in (("64 KiB", 1 << 16), ("8 MiB", 8 << 20)):
            path = Path(name) / "net.persist"
            count = (args.mebibytes << 20) // size
            chance = np.random.default_rng(1)
            persist.save(
                {f"w{n}": chance.standard_normal(size // 8) for n in range(count)}, path, digest=False, durable=False
            )  # fmt: skip
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(args.rounds):
                for way, verify in WAYS.items():
                    times[way].append(read(path, verify))
            base = statistics.median(times["never"])
            for way, taken in times.items():
                ratio = statistics.median(taken) / base
                print(
                    f"{count:5} arrays of {kind}, verify={way}: {statistics.median(taken) * 1e3:7.1f} ms, {ratio:.2f} x never"
                )


if __name__ == "__main__":
    main()
