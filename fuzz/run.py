"""Fuzz all targets, or some: ``python fuzz/run.py --seconds 300 --seed 1 [--jobs N] [TARGET...]``.

The seconds are of the clock, for all targets together. ``--corpus DIR`` keeps what gave new coverage for the next run. Findings
are written to ``--crashes``, and the exit code is 1 if there was one. ``python fuzz/run.py TARGET --files FILE...`` runs a finding
again. With atheris fuzzing is guided by coverage; where it is not installed, or with ``--plain``, seeds are mutated without
guidance, and a line says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import driver

import counting  # isort: skip  # in tests/, which driver puts on the path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--corpus")
    parser.add_argument("--crashes", default="fuzz-findings")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("--files", nargs="+", help="run these once each instead")
    args = parser.parse_args()
    is_guided = driver.has_atheris() and not (args.plain or args.list or args.files)
    if is_guided:
        driver.instrument()
    elif not (args.list or args.files):
        print("without atheris: seeds are mutated without guidance by coverage", flush=True)
    import targets

    known = targets.targets()
    names = args.targets or list(known)
    if args.list:
        print("\n".join(names))
        return 0
    targets.install()
    if args.files:
        return driver.again(known[names[0]], args.files)
    os.makedirs(args.crashes, exist_ok=True)
    seconds = max(args.seconds * args.jobs / len(names), 1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        return _all(names, known, args, is_guided, seconds, folder)
    finally:
        shutil.rmtree(folder)


def _all(
    names: list[str],
    known: dict[str, object],
    args: argparse.Namespace,
    is_guided: bool,
    seconds: float,
    folder: Path,
) -> int:
    """Fuzz each target in a process of its own, a few at a time; 1 if there was a finding."""
    waiting, running, total, clean, failed = list(names), {}, 0, 0, []
    while waiting or running:
        while waiting and len(running) < args.jobs:
            name = waiting.pop(0)
            sys.stdout.flush()
            counter = driver.Counter()
            child = os.fork()
            if not child:
                _child(name, known[name], args, is_guided, seconds, folder, counter)
            running[child] = name, counter
        child, status = os.wait()
        name, counter = running.pop(child)
        text = (folder / f"{name}.log").read_text("utf-8", "replace")
        count = counter.value
        total += count
        if status or not count:
            failed.append(name)
            print(f"== {name}: status {status} after {count} executions\n{text[-4000:]}")
        else:
            clean += count
            print(f"{name}: {count} executions", flush=True)
    counting.note("fuzz executions: nothing but PersistError came out", clean)
    print(f"{len(names)} targets, {total:,} executions, {len(failed)} with findings {failed or ''}")
    return 1 if failed else 0


def _child(
    name: str,
    target: object,
    args: argparse.Namespace,
    is_guided: bool,
    seconds: float,
    folder: Path,
    counter: driver.Counter,
) -> None:
    """Fuzz one target in this forked process, which ends here."""
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        if is_guided:
            corpus = str(Path(args.corpus or folder) / name)
            driver.store_seeds(target, corpus)
            words = driver.options(corpus, seconds, args.seed, args.crashes, name)
            driver.guided(name, target, words, counter)
            status = 0
        else:
            status = driver.plain(name, target, seconds, args.seed, args.crashes, counter)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
