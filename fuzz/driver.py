"""How one target is fuzzed: guided by coverage with atheris, else by mutation of its seeds alone."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import mmap
import os
import pkgutil
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
sys.path[:0] = [str(HERE), str(TOP / "tests"), str(TOP / "tests" / "hostile"), str(TOP)]
LARGEST = 200_000  # bytes of an input
_GUIDED = ("persist._wire", "persist.readers", "persist._container.reading", "persist._trees")


def has_atheris() -> bool:
    """Whether fuzzing can be guided by coverage here."""
    return importlib.util.find_spec("atheris") is not None


def instrument() -> None:
    """Import what reads files, instrumented for coverage; nothing of persist may be imported before."""
    import atheris

    with atheris.instrument_imports(include=list(_GUIDED)):
        import persist
        import persist._api.load

        for module in pkgutil.walk_packages(persist.__path__, "persist."):
            if module.name.startswith(_GUIDED):
                importlib.import_module(module.name)


class Counter:
    """A number in memory that a forked process shares with its parent, however it ends."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def add(self) -> None:
        self._memory[:8] = (self.value + 1).to_bytes(8, "little")

    @property
    def value(self) -> int:
        return int.from_bytes(self._memory[:8], "little")


def guided(name: str, target: Any, words: list[str], counter: Counter) -> None:
    """Fuzz with atheris, after `instrument`; ends the process.

    Args:
        name: of the target.
        target: what is run.
        words: options of libFuzzer, and folders.
        counter: of the executions.
    """
    import atheris
    import mutations
    import targets

    def run(data: bytes) -> None:
        counter.add()
        targets.watched(target, data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return mutations.mutated(data, chance, most)

    atheris.Setup([name, *words], run, custom_mutator=mutate)
    atheris.Fuzz()


def plain(name: str, target: Any, seconds: float, seed: int, crashes: str, counter: Counter) -> int:
    """Mutate seeds without guidance; return the exit code."""
    import mutations
    import targets

    chance, data = random.Random(f"{seed} {name}"), b""
    end = time.monotonic() + seconds
    try:
        for data in target.seeds:
            targets.watched(target, data)
            counter.add()
        while time.monotonic() < end:
            data = mutations.mutated(chance.choice(target.seeds), chance, LARGEST)
            targets.watched(target, data)
            counter.add()
    except BaseException:
        traceback.print_exc()
        path = f"{crashes}/crash-{name}-{hashlib.sha1(data).hexdigest()}"
        Path(path).write_bytes(data)
        print(f"{path} is a finding", flush=True)
        return 1
    return 0


def again(target: Any, files: list[str]) -> int:
    """Run files once each, to look at a finding; what is raised comes out."""
    import targets

    for file in files:
        targets.watched(target, Path(file).read_bytes())
        print(f"{file}: nothing is found")
    return 0


def options(corpus: str, seconds: float, seed: int, crashes: str, name: str) -> list[str]:
    """The options of libFuzzer for a run of some seconds of the clock."""
    os.makedirs(corpus, exist_ok=True)
    return [
        corpus, f"-max_total_time={max(int(seconds), 1)}", f"-seed={seed}", f"-max_len={LARGEST}",
        "-timeout=300", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=0", "-detect_leaks=0",
        f"-artifact_prefix={crashes}/crash-{name}-",
    ]  # fmt: skip


def store_seeds(target: Any, corpus: str) -> None:
    """Put the seeds of a target into the folder that libFuzzer begins with."""
    os.makedirs(corpus, exist_ok=True)
    for data in target.seeds:
        Path(corpus, hashlib.sha1(data).hexdigest()).write_bytes(data)
