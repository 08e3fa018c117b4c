"""Write docs/comparison.md: ``python docs/make_comparison.py`` runs the checks of every row.

What other libraries do is data in ``comparison.json``; the column of persist is what the checks in
``comparison_checks.py`` show, at the time of writing. ``python docs/make_comparison.py 94 131``
runs the checks of these rows, and shows what fails.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comparison_checks

FOLDER = Path(__file__).parent
TARGET = FOLDER / "comparison.md"
SIGNS = {"yes": "●", "part": "◐", "no": "·"}

HEAD = """# The features, row by row

*Made by `python docs/make_comparison.py`, which runs the checks of `docs/comparison_checks.py`; a test says when it is old.*

131 features of libraries that keep data loadable over years: ● whole, ◐ partly, · not. The column of persist is what the checks
show: whole where all checks of the row pass, partly where some do. That of the others is from their sources and documentation in
November 2026.

| column | libraries |
|---|---|
"""


def checked(check: Callable[[], None]) -> str:
    """Run one check in an empty folder of its own; return "" or the traceback."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            return comparison_checks.apart(lambda: run_one(check))
        finally:
            os.chdir(before)


def warm() -> None:
    """Import what many checks use before the process is copied for each of them."""
    import importlib

    import persist
    from persist._cli import verb_names

    for name in verb_names():
        importlib.import_module(f"persist._cli.{name}")
    for name in ("_each", "_knowledge", "_out", "_project", "_reading"):
        importlib.import_module(f"persist._cli.{name}")
    m = comparison_checks.module("class A(persist.Versioned, version=2):\n  persistent = ('a',)")
    persist.migration(m.A, 1, persist.ops.rename("x", "a"))
    persist.load(comparison_checks.raw(f"{m.__name__}.A", {"x": 1}), assume_version=1)
    comparison_checks.again(comparison_checks.make(m.A, a=[1, 2.0]))


def run_one(check: Callable[[], None]) -> str:
    """Run one check here; return "" or the traceback."""
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ""


def status(checks: list[Callable[[], None]]) -> str:
    """Return "yes", "part" or "no"."""
    passed = [not checked(check) for check in checks]
    if not any(passed):
        return "no"
    return "yes" if all(passed) else "part"


def page() -> str:
    """Return the whole page."""
    warm()
    data: dict[str, Any] = json.loads((FOLDER / "comparison.json").read_text())
    names = data["rivals"]
    letters = "ABCDEFGHIJ"
    parts = [
        HEAD,
        *(f"| {letter} | {name} |\n" for letter, name in zip(letters, names, strict=True)),
    ]
    ours = {row["number"]: status(comparison_checks.ROWS[row["number"]]) for row in data["rows"]}
    counts = {word: list(ours.values()).count(word) for word in SIGNS}
    parts.append(
        f"\npersist: {counts['yes']} whole, {counts['part']} partly, {counts['no']} not, of {len(ours)}.\n"
    )
    group = ""
    for row in data["rows"]:
        if row["group"] != group:
            group = row["group"]
            parts.append(f"\n## {group}\n\n| | feature | persist | {' | '.join(letters)} |\n")
            parts.append(f"|--:|---|:-:|{':-:|' * len(letters)}\n")
        signs = " | ".join(SIGNS[word] for word in row["rivals"])
        number = row["number"]
        parts.append(f"| {number} | {row['feature']} | {SIGNS[ours[number]]} | {signs} |\n")
    return "".join(parts)


def main(numbers: list[str]) -> None:
    """Write the page, or run the checks of some rows."""
    if not numbers:
        TARGET.write_text(page())
        return
    warm()
    wanted = (
        [int(number) for number in numbers]
        if numbers != ["all"]
        else sorted(comparison_checks.ROWS)
    )
    for number in wanted:
        for check in comparison_checks.ROWS[number]:
            fault = checked(check)
            print(number, "fails:\n" + fault if fault else "passes")


if __name__ == "__main__":
    main(sys.argv[1:])
