"""A wide frame of numbers: `persist.save`, ``DataFrame.to_pickle`` and ``to_parquet`` in turn, and the loads.

    python benchmarks/frames.py [--rows 20000] [--columns 500] [--rounds 7]

Needs pandas, and pyarrow for Parquet. CPU seconds; ratios of medians.
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
import pandas as pd

import persist


def cpu(function: Callable[[], object]) -> float:
    """The CPU seconds of one call."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def frames(rows: int, columns: int) -> dict[str, Any]:
    """Frames of one dtype and of two in turn."""
    rng = np.random.default_rng(0)
    names = [f"sensor_{number}" for number in range(columns)]
    plain = pd.DataFrame(rng.normal(size=(rows, columns)), columns=names)
    mixed = plain.copy()
    for name in names[::2]:
        mixed[name] = (mixed[name] * 1000).astype("int32")
    return {"float64": plain, "float64 and int32": mixed}


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for title, frame in frames(args.rows, args.columns).items():
            saves: dict[str, Callable[[], object]] = {
                "persist": lambda frame=frame: persist.save(frame, path / "f.persist"),
                "pickle": lambda frame=frame: frame.to_pickle(path / "f.pkl"),
                "parquet": lambda frame=frame: frame.to_parquet(path / "f.parquet"),
            }
            loads: dict[str, Callable[[], object]] = {
                "persist": lambda: persist.load(path / "f.persist"),
                "pickle": lambda: pd.read_pickle(path / "f.pkl"),
                "parquet": lambda: pd.read_parquet(path / "f.parquet"),
            }
            size = frame.memory_usage(index=False).sum() / 2**20
            print(f"{title}: {args.rows:,} rows, {args.columns} columns, {size:.0f} MiB")
            for what, functions in (("save", saves), ("load", loads)):
                times: dict[str, list[float]] = {name: [] for name in functions}
                for _ in range(args.rounds):
                    for name, function in functions.items():
                        times[name].append(cpu(function))
                medians = {name: statistics.median(found) for name, found in times.items()}
                ratios = ", ".join(
                    f"{name} {one:.3f} s ({medians['persist'] / one:.2f})"
                    for name, one in medians.items()
                )
                print(f"  {what}: {ratios}")
            pd.testing.assert_frame_equal(persist.load(path / "f.persist"), frame)


if __name__ == "__main__":
    main()
