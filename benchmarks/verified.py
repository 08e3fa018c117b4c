"""What checking costs: a mapped container loaded and read, by default, ``verify="lazy"`` and ``verify="never"``.

    python benchmarks/verified.py [--rounds N]

Each is run in turn in one process, in CPU time; the ratio of medians to ``verify="never"`` is printed. All arrays of a
file of at most 64 MiB are checked by default when they are made, of a longer one those of at most 1 MiB. What is read is
added up (one pass over the memory), or converted to float32 (as a program does that computes in it).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import persist

WAYS = {"never": "never", "default": None, "lazy": "lazy"}
USES = {"added up": np.sum, "converted": lambda array: array.astype(np.float32)}
FILES = (("64 KiB", 1 << 16, 48), ("8 MiB", 8 << 20, 48), ("8 MiB", 8 << 20, 192))


def read(path: Path, verify: str | None, use: Callable[[Any], object]) -> float:
    """Load a file and use all its arrays; return the CPU seconds."""
    began = time.process_time()
    tree = persist.load(path, verify=verify)
    for array in tree.values():
        use(np.asarray(array))
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print("| file | used | never, ms | default | lazy |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for kind, size, mebibytes in FILES:
            path = Path(name) / "net.persist"
            count = (mebibytes << 20) // size
            chance = np.random.default_rng(1)
            persist.save(
                {f"w{n}": chance.standard_normal(size // 8) for n in range(count)}, path, digest=False, durable=False
            )  # fmt: skip
            for said, use in USES.items():
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                for _ in range(rounds):
                    for way, verify in WAYS.items():
                        times[way].append(read(path, verify, use))
                never, default, lazy = (statistics.median(taken) for taken in times.values())
                print(
                    f"| {count:,} x {kind} | {said} | {never * 1e3:.1f} | {default / never:.2f} x | {lazy / never:.2f} x |"
                )


if __name__ == "__main__":
    main()
