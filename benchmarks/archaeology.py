"""How long the walk through the history of a repository takes: 10,000 commits in under a minute of CPU.

The repository is synthetic, made by ``git fast-import``: 120 modules of about 200 lines; each commit
changes a method, and one in eight the attributes of a class; one in 40 merges a branch.

python benchmarks/archaeology.py [--commits 10000]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import persist
from persist.archaeology import date, history_of

METHODS = 12
MODULES = 120


def module(number: int, fields: list[str], bodies: list[int]) -> str:
    """The source of one module: a class, its methods, and functions."""
    lines = [
        f'"""Module {number}."""',
        "",
        "import numpy as np",
        "",
        "",
        f"class Layer{number}:",
        '    """A layer."""',
        "",
    ]
    lines += [f"    def __init__(self, {', '.join(fields)}):"]
    lines += [f"        self.{name} = {name}" for name in fields]
    for place, body in enumerate(bodies):
        lines += ["", f"    def method_{place}(self, x):", f'        """Compute {body}."""']
        lines += [
            f"        y{step} = np.dot(x, self.{fields[0]}) + {body} * {step}" for step in range(6)
        ]
        lines += [
            "        if x is None:",
            "            return y0",
            f"        return y1 + y2 - {body}",
        ]
    for place in range(4):
        lines += ["", "", f"def helper_{place}(a, b):", f"    return a * {place} + b"]
    return "\n".join(lines) + "\n"


def stream(commits: int) -> Iterator[bytes]:
    """Yield the commands for ``git fast-import``."""
    chance = random.Random(5)
    fields = [[f"w{number}", "bias", "rate"] for number in range(MODULES)]
    bodies = [[chance.randrange(1000) for _ in range(METHODS)] for _ in range(MODULES)]

    def commit(mark: int, branch: str, parents: list[int], files: list[int]) -> bytes:
        head = f"commit refs/heads/{branch}\nmark :{mark}\ncommitter A <a@example.org> {1_300_000_000 + mark * 3600} +0000\n"
        parts = [head.encode(), f"data {len(str(mark))}\n{mark}\n".encode()]
        parts += [
            f"{word} :{parent}\n".encode()
            for word, parent in zip(("from", "merge"), parents, strict=False)
        ]
        for number in files:
            text = module(number, fields[number], bodies[number]).encode()
            parts.append(
                f"M 100644 inline lab/m{number}.py\ndata {len(text)}\n".encode() + text + b"\n"
            )
        return b"".join(parts)

    yield commit(1, "main", [], list(range(MODULES)))
    tip, mark = 1, 1
    while mark < commits:
        mark += 1
        number = chance.randrange(MODULES)
        if chance.random() < 1 / 8:
            fields[number] = [
                *fields[number][:2],
                f"{chance.choice('abcdef')}{mark}",
                *fields[number][3:5],
            ]
        else:
            bodies[number][chance.randrange(METHODS)] = chance.randrange(1000)
        if mark % 40 == 0:  # on a branch, and merged
            yield commit(mark, "side", [tip], [number])
            yield commit(mark + 1, "main", [tip, mark], [number])
            mark += 1
        else:
            yield commit(mark, "main", [tip], [number])
        tip = mark


def spent() -> float:
    """Seconds of CPU of this process and those that it started."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    """Make the repository, walk it twice, and date a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        path = Path(folder) / "repository"
        subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
        subprocess.run(
            ["git", "-C", str(path), "fast-import", "--quiet"],
            input=b"".join(stream(args.commits)),
            check=True,
        )
        for what in ("first walk", "second walk, contents known"):
            start, clock = spent(), time.perf_counter()
            history = history_of(path)
            print(
                f"{what}: {spent() - start:.1f} s of CPU, {time.perf_counter() - clock:.1f} s; {len(history.commits):,} "
                f"commits, {history.contents:,} contents ({history.parsed:,} parsed), {len(history.runs):,} runs"
            )
        start = spent()
        last = history.runs[-1]
        record = persist.Record(last.name, dict.fromkeys(last.source.required, 1.0))
        persist.save(record, f"{folder}/a.persist")
        with persist.open(f"{folder}/a.persist") as file:
            dated = date(file, history)
        assert dated.has_head
        print(f"dating a file: {spent() - start:.2f} s of CPU")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most")


if __name__ == "__main__":
    main()
