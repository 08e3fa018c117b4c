"""The README: ten lines that say what this is for, and the main job in twenty."""

from __future__ import annotations

import json
import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_it_says_in_ten_lines_what_this_is_for() -> None:
    purpose = README.partition("## The main job")[0].removeprefix("# persist")
    lines = [line for line in purpose.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 12


def test_the_main_job_is_shown_in_twenty_lines() -> None:
    job = re.search(r"## The main job\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert job is not None
    code = re.findall(r"^```python\n(.*?)^```", job[1], re.MULTILINE | re.DOTALL)
    lines = [line for block in code for line in block.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 20
    for name in ("persist.Versioned", "persist.migration", "persist.alias", "persist.load"):
        assert name in "\n".join(code)


def test_it_tells_how_to_try_it() -> None:
    for words in ("make demo", "make test", "docs/tutorial.md", "pip install persist-state"):
        assert words in README


# Line of the table -> rows of docs/comparison.json; the columns of which both know are compared.
ROWS = {
    "opens files of classes that are gone": 58,
    "runs nothing of the file": 106,
    "versions and migration steps of classes": 22,
    "reads files of other frameworks": 129,
    "several arrays read by NumPy alone": 76,
}


def test_the_table_says_what_the_comparison_shows() -> None:
    docs = Path(__file__).parents[2] / "docs"
    data = json.loads((docs / "comparison.json").read_text(encoding="utf-8"))
    rows = {row["number"]: row["rivals"] for row in data["rows"]}
    shown = {
        int(match[1]): match[2]
        for match in re.finditer(
            r"^\| (\d+) \| .*? \| ([●◐·]) \|", (docs / "comparison.md").read_text(), re.MULTILINE
        )
    }
    lines = re.findall(r"^\| ([a-z][^|]*) \|(.*)\|$", README, re.MULTILINE)
    table = {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}
    assert table.keys() == ROWS.keys()
    for name, number in ROWS.items():
        ours, *_, asdf, skops = table[name]
        assert (ours == "yes") == (shown[number] == "●"), name
        for cell, library in ((asdf, "ASDF"), (skops, "skops")):
            found = rows[number][data["rivals"].index(library)]
            wanted = cell if cell in ("yes", "no") else "part"  # a word that says which part
            if cell != "of tags":  # ASDF has versions of tags, and no steps of classes
                assert wanted == found, f"{name}: {library}"
