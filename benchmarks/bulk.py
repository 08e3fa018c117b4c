"""How long jobs over many files take, beside loops written by hand, in CPU time; and what the coordinator costs.

python benchmarks/bulk.py [survey] [upgrade] [workers] [coordinator] [resume] [--files N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bulk_classes  # noqa: F401  (declares the class of the files)
from survey import files_in

import persist
from persist import bulk
from persist.bulk import _engine
from persist.bulk._plan import Plan
from persist.bulk._worker import Done


def cpu() -> float:
    """Seconds of the processor, of this process and of its children that ended."""
    return sum(os.times()[:4])


def pairs(
    name: str, base: Callable[[], None], ours: Callable[[], None], limit: float, rounds: int
) -> None:
    """Run both in turn, and print the median of the ratios."""
    ratios, times = [], []
    for _ in range(rounds):
        start = cpu()
        base()
        middle = cpu()
        ours()
        end = cpu()
        ratios.append((end - middle) / (middle - start))
        times.append((middle - start, end - middle))
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{name}: {first:.2f} s by hand, {second:.2f} s ours; ratio {statistics.median(ratios):.2f} "
        f"(at most {limit})"
    )


def survey(folder: Path, files: list[str], rounds: int) -> None:
    """A survey beside a loop that opens each file."""

    def base() -> None:
        for file in files:
            with persist.open(file):
                pass

    def ours() -> None:
        with bulk.plan(folder / "in", "survey") as plan:
            for _ in bulk.run(plan):
                pass
            assert plan.survey().files == len(files)

    pairs(f"survey of {len(files):,}", base, ours, 1.5, rounds)


def upgrade(folder: Path, files: list[str], rounds: int) -> None:
    """An upgrade with its ledger beside a loop of load and save."""
    count = 0

    def base() -> None:
        out = folder / f"hand{count}"
        out.mkdir()
        for file in files:
            persist.save(persist.load(file), out / f"{os.path.basename(file)}.persist")

    def ours() -> None:
        nonlocal count
        ledger = folder / f"{count}.ledger"
        with bulk.plan(folder / "in", "upgrade", to=folder / f"out{count}", ledger=ledger) as plan:
            for event in bulk.run(plan):
                assert event.status == "upgraded", event
        count += 1

    pairs(f"upgrade of {len(files):,}, with a ledger", base, ours, 1.8, rounds)


def workers(folder: Path, files: list[str], rounds: int) -> None:
    """Two processes beside one, in time of the clock: two idle cores are needed."""
    ratios = []
    for number in range(rounds):
        took = []
        for executor in (None, 2):
            out = folder / f"w{number}-{executor}"
            start = time.perf_counter()
            with bulk.plan(folder / "in", "upgrade", to=out) as plan:
                for _ in bulk.run(plan, executor):
                    pass
            took.append(time.perf_counter() - start)
        ratios.append(took[0] / took[1])
    load = os.getloadavg()[0]
    print(
        f"two workers beside one, {len(files):,} files: {statistics.median(ratios):.2f} times as fast "
        f"(at least 1.7, on two idle cores; the load is {load:.1f})"
    )


def inventory(folder: Path, count: int) -> Path:
    """A list of files that need not exist, for what the coordinator alone costs."""
    path = folder / "list.csv"
    with path.open("w") as file:
        file.write("path,size,mtime\n")
        for number in range(count):
            file.write(f"s3://bucket/{number // 1000:04}/run{number:07}.pkl,4000,1700000000\n")
    return path


def synthetic(plan: Plan, job: object, executor: object) -> object:
    """Answers as workers give them, without any work."""
    _, count, size = plan._totals()
    facts = '{"versions": [["lab.Net", "lab.Net", 1, 3, 2]], "steps": [["lab.Net", 1, 2, "0123456789abcdef"]]}'
    known = plan._fingerprints.of(["lab.Net"])
    for batch in _engine.batches(plan._works(absolute=False), count, size, 8):
        yield [
            Done(work.number, "upgraded", "well", "pickle", "0" * 64, 0.01, "", "", 4000, "1" * 64,
                 '["lab.Net"]', known, facts, None)
            for work in batch.works
        ], None  # fmt: skip


def coordinator(folder: Path, count: int) -> None:
    """What a million files cost the process that holds the ledger."""
    listed = bulk.Inventory(inventory(folder, count))
    _engine.answers, genuine = synthetic, _engine.answers  # type: ignore[assignment]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = cpu()
    with bulk.plan(listed, "upgrade", to=folder / "far", ledger=folder / "far.ledger") as plan:
        planned = cpu() - start
        done = sum(1 for _ in bulk.run(plan))
    took = cpu() - start
    _engine.answers = genuine
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = (folder / "far.ledger").stat().st_size
    assert done == count
    print(
        f"coordinator, {count:,} files: {took / count * 1e6:.1f} us a file ({planned / count * 1e6:.1f} of it "
        f"to plan) = {100 * took / count * 1000:.1f} % of a core for 1,000 files/s (at most 3 %); peak memory "
        f"{peak / 1024:.0f} MiB (at most 200; {before / 1024:.0f} before); ledger {size / count:.0f} bytes a file"
    )


def resume(folder: Path, count: int) -> None:
    """How long it takes to go on after all but the last files of a run are done."""
    listed = bulk.Inventory(inventory(folder, count))
    _engine.answers, genuine = synthetic, _engine.answers  # type: ignore[assignment]
    ledger = folder / "resumed.ledger"
    with bulk.plan(listed, "upgrade", to=folder / "far", ledger=ledger) as plan:
        for event in bulk.run(plan):
            if event.done == count - 500:
                break
    _engine.answers = genuine
    start, clock = cpu(), time.perf_counter()
    with bulk.plan(listed, "upgrade", to=folder / "far", ledger=ledger) as plan:
        assert plan.is_resumed
        next(plan._works(absolute=False))
        print(
            f"resume at {count:,} files: {cpu() - start:.1f} s of CPU, {time.perf_counter() - clock:.1f} s of "
            f"the clock until the first of {plan.pending:,} files goes on (at most 20)"
        )


def main() -> None:
    """Measure what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ("survey", "upgrade", "workers", "coordinator", "resume")
    parser.add_argument("what", nargs="*", choices=[[], *names], default=[])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    what = args.what or names
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "coordinator" in what:  # first, since the peak of memory is that of the process
            coordinator(folder, args.listed)
        if "resume" in what:
            resume(folder, args.listed)
        if {"survey", "upgrade", "workers"}.intersection(what):
            (folder / "in").mkdir()
            files = files_in(folder / "in", args.files)
            if "survey" in what:
                survey(folder, files, args.rounds)
            if "upgrade" in what:
                upgrade(folder, files, args.rounds)
            if "workers" in what:
                workers(folder, files, args.rounds)


if __name__ == "__main__":
    main()
