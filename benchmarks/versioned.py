"""How fast `Versioned` is in plain pickle and in `persist.load`, beside what one writes by hand.

    python benchmarks/versioned.py                  prints the ratios
    python benchmarks/versioned.py --quick          fewer objects, fewer rounds

Ours and its rival run in turn, round by round, in one process, with the same collector settings;
a figure is the ratio of the medians of the process's own CPU time. The rivals:

- *tuple*: ``__getstate__`` returns a tuple that begins with the version, ``__setstate__`` tests it;
- *dict*: the state is a dict with a key ``_version``, upgraded by ``if version < 2: ...``, as people write it.
"""

from __future__ import annotations

import argparse
import gc
import io
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

import persist
from persist._upgrade import records as upgrade_records
from persist.tree import Global, Record

Work = Callable[[], Any]


class Tuple:
    """Today's class by hand: the fastest way that people write."""

    def __init__(self, number: int, rate: float, name: str, at: tuple[int, int]) -> None:
        self.number, self.rate, self.name, self.at = number, rate, name, at

    def __getstate__(self) -> Any:
        return (3, self.number, self.rate, self.name, self.at)

    def __setstate__(self, state: Any) -> None:
        version = state[0]
        if version != 3:
            raise ValueError(f"version {version}")
        _, self.number, self.rate, self.name, self.at = state


class Dict:
    """Today's class by hand, with a version in its dict; versions 1 and 2 are upgraded."""

    version = 3

    def __init__(self, number: int, rate: float, name: str, at: tuple[int, int]) -> None:
        self.number, self.rate, self.name, self.at = number, rate, name, at

    def __getstate__(self) -> Any:
        state = self.__dict__.copy()
        state["_version"] = self.version
        return state

    def __setstate__(self, state: Any) -> None:
        version = state.pop("_version", 1)
        if version < 2:
            state["number"] = state.pop("n")
        if version < 3:
            state["rate"] = state["rate"] / 100.0
            state["name"] = state.pop("label")
        self.__dict__.update(state)


class Ours(persist.Versioned, version=3, schema="bench.Ours"):
    """The same, declared."""

    persistent = ("number", "rate", "name", "at")

    def __init__(self, number: int, rate: float, name: str, at: tuple[int, int]) -> None:
        self.number, self.rate, self.name, self.at = number, rate, name, at


@persist.migration(Ours, 1)
def name_the_number(state: Any) -> Any:
    state["number"] = state.pop("n")
    return state


@persist.migration(Ours, 2)
def as_a_fraction(state: Any) -> Any:
    state["rate"] = state["rate"] / 100.0
    state["name"] = state.pop("label")
    return state


class Stepped(persist.Versioned, version=3, schema="bench.Stepped"):
    """The same, with ready-made steps."""

    persistent = ("number", "rate", "name", "at")


persist.migration(Stepped, 1, persist.ops.rename("n", "number"))
persist.migration(
    Stepped,
    2,
    persist.ops.convert("rate", lambda rate: rate / 100.0),
    persist.ops.rename("label", "name"),
)


def made(cls: type, count: int) -> list[Any]:
    return [cls(n, n * 0.37, f"object {n}", (n, n + 1)) for n in range(count)]  # type: ignore[call-arg]


def old_envelopes(cls: type, count: int) -> bytes:
    """What `pickle` wrote of ``count`` instances when the class was at version 1."""
    schema = f"bench.{cls.__name__}"
    header = ("persist.envelope", 1, ((schema, 1, "", "fields", ("n", "rate", "label", "at")),))
    named = Global(cls.__module__, cls.__qualname__)
    records = [
        Record(named, (header, (n, n * 37.0, f"object {n}", (n, n + 1))), kind="newobj")
        for n in range(count)
    ]
    file = io.BytesIO()
    persist.save(records, file, format="pickle", protocol=5)
    return file.getvalue()


def bare_dicts(count: int) -> bytes:
    """What it wrote before the class was versioned: a plain dict, and nothing tells the version."""
    named = Global(Ours.__module__, Ours.__qualname__)
    records = [
        Record(named, {"n": n, "rate": n * 37.0, "label": f"object {n}", "at": (n, n + 1)}, kind="newobj")
        for n in range(count)
    ]  # fmt: skip
    file = io.BytesIO()
    persist.save(records, file, format="pickle", protocol=5)
    return file.getvalue()


def old_dicts(count: int) -> bytes:
    objects = []
    for n in range(count):
        obj = Dict.__new__(Dict)
        obj.__dict__.update(n=n, rate=n * 37.0, label=f"object {n}", at=(n, n + 1))
        objects.append(obj)
    Dict.version = 1
    try:
        return pickle.dumps(objects, 5)
    finally:
        Dict.version = 3


def old_records(cls: type, count: int) -> list[Record]:
    named = Global(f"{cls.__module__}", cls.__qualname__)
    return [
        Record(named, {"n": n, "rate": n * 37.0, "label": f"object {n}", "at": (n, n + 1)}, version=1)
        for n in range(count)
    ]  # fmt: skip


def timed(work: Work) -> float:
    gc.collect()
    start = time.process_time()
    kept = work()
    passed = time.process_time() - start
    del kept
    return passed


def compare(name: str, count: int, rounds: int, wanted: str, ours: Work, rival: Work) -> float:
    """Run both in turn; print the ratio of the medians, and what one object costs."""
    own: list[float] = []
    other: list[float] = []
    for number in range(rounds + 1):
        first, second = timed(ours), timed(rival)
        if number:  # the first round warms up
            own.append(first)
            other.append(second)
    mine, theirs = statistics.median(own), statistics.median(other)
    ratio = mine / theirs
    print(
        f"| {name} | {mine / count * 1e6:.2f} us | {theirs / count * 1e6:.2f} us | {ratio:.2f} "
        f"| {wanted} |",
        flush=True,
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer objects, fewer rounds")
    args = parser.parse_args()
    count, rounds = (5_000, 5) if args.quick else (100_000, 5)
    print("| work | ours, an object | by hand | ratio | wanted |\n|---|---|---|---|---|")
    ours, tuples, dicts = made(Ours, count), made(Tuple, count), made(Dict, count)
    data, tuple_data, dict_data = (pickle.dumps(objects, 5) for objects in (ours, tuples, dicts))
    functions, steps, olds = (
        old_envelopes(Ours, count),
        old_envelopes(Stepped, count),
        old_dicts(count),
    )
    bare = bare_dicts(count)
    rows: list[tuple[str, str, Work, Work]] = [
        ("dump, beside tuple", "1.05", lambda: pickle.dumps(ours, 5), lambda: pickle.dumps(tuples, 5)),
        ("load, beside tuple", "1.25", lambda: pickle.loads(data), lambda: pickle.loads(tuple_data)),
        ("load, beside dict", "0.5", lambda: pickle.loads(data), lambda: pickle.loads(dict_data)),
        (
            "load version 1 as 3, two functions, beside dict", "1.0",
            lambda: pickle.loads(functions), lambda: pickle.loads(olds),
        ),
        (
            "load version 1 as 3, ready-made steps, beside dict", "1.0",
            lambda: pickle.loads(steps), lambda: pickle.loads(olds),
        ),
        (
            "load plain dicts of version 1 as 3, two functions, beside dict", "",
            lambda: pickle.loads(bare), lambda: pickle.loads(olds),
        ),
    ]  # fmt: skip
    for name, wanted, own, other in rows:
        for collected in (True, False):
            gc.enable() if collected else gc.disable()
            compare(f"{name}{'' if collected else ' (gc off)'}", count, rounds, wanted, own, other)
    gc.enable()
    few = count // 5
    few_olds = old_dicts(few)
    for cls in (Ours, Stepped):
        records = old_records(cls, few)
        compare(
            f"upgrade a tree of {cls.__name__} records, beside the dict's load",
            few,
            max(rounds // 2, 3),
            "",
            lambda records=records: upgrade_records.upgrade(records),  # type: ignore[misc]
            lambda: pickle.loads(few_olds),
        )


if __name__ == "__main__":
    import versioned  # classes of a script that runs are no classes of a module

    versioned.main()
