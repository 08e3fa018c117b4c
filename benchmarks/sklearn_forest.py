"""A random forest from a joblib file: `persist.load` and `joblib.load` in turn, CPU seconds and their ratio.

    python benchmarks/sklearn_forest.py [--trees 100] [--nodes 10000] [--rounds 5]

Needs scikit-learn. The issue wants at most 1.5.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import RandomForestRegressor

import persist


def cpu(function: Callable[[], object]) -> float:
    """The CPU seconds of one call."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    samples = int(args.nodes / 1.26)  # a bootstrap of n distinct values grows about 1.26 n nodes
    x, y = rng.normal(size=(samples, 5)), rng.normal(size=samples)
    forest = RandomForestRegressor(args.trees, random_state=0, max_features=1).fit(x, y)
    counts = [one.tree_.node_count for one in forest.estimators_]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forest.joblib"
        joblib.dump(forest, path)
        ours, theirs = [], []
        for _ in range(args.rounds):
            theirs.append(cpu(lambda: joblib.load(path)))
            ours.append(cpu(lambda: persist.load(path)))
        assert np.array_equal(persist.load(path).predict(x), forest.predict(x))
        size = path.stat().st_size
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{args.trees} trees of about {int(np.mean(counts)):,} nodes, {size / 2**20:.0f} MiB")
    print(
        f"persist.load {statistics.median(ours):.3f} s, joblib.load {statistics.median(theirs):.3f} s: {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
