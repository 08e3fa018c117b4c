"""How long a survey of many small files takes, beside a loop that opens each: at most 1.5 times as long.

python benchmarks/survey.py [--files 20000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import pickle
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import persist
from persist.survey import Collector


def files_in(folder: Path, count: int) -> list[str]:
    """Write small pickles of a class that is not here, as old runs left them."""
    texts = b"".join(
        b"X" + len(text).to_bytes(4, "little") + text for text in (b"oldlab", b"Layer")
    )
    for number in range(count):
        state = {"W": np.full((4, 3), number, "f8"), "b": np.zeros(3), "name": f"run {number}"}
        body = pickle.dumps(state, 2)[2:-1]
        (folder / f"{number:06}.pkl").write_bytes(b"\x80\x04" + texts + b"\x93)\x81" + body + b"b.")
    return sorted(map(str, folder.iterdir()))


def opened(files: list[str]) -> None:
    """A loop that only opens each file."""
    for file in files:
        with persist.open(file):
            pass


def surveyed(files: list[str]) -> None:
    """The survey."""
    collector = Collector()
    for file in files:
        collector.add(file)
    assert collector.result().rows[0].count == len(files)


def main() -> None:
    """Measure both in turn, and print the ratio of their best times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ways: dict[str, Callable[[list[str]], None]] = {"open each": opened, "survey": surveyed}
    best: dict[str, float] = dict.fromkeys(ways, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        files = files_in(Path(folder), args.files)
        for _ in range(args.rounds):
            for name, way in ways.items():
                start = time.process_time()
                way(files)
                best[name] = min(best[name], time.process_time() - start)
    for name, seconds in best.items():
        print(f"{name:10} {seconds:7.2f} s of CPU for {args.files:,} files")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"ratio {best['survey'] / best['open each']:.2f} (at most 1.5); peak memory {peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
