"""The rename tables: whole, proved where a library is installed, and what they deduce."""

from __future__ import annotations

import importlib
import importlib.resources
from pathlib import Path

import pytest

import persist
from persist.packs import _gather, _renames

FOLDER = importlib.resources.files("persist.migrations")
TABLES = sorted(
    item.name.removesuffix(".tsv") for item in FOLDER.iterdir() if item.name.endswith(".tsv")
)
CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.mark.parametrize("library", TABLES)
def test_a_table_is_whole_and_its_pack_teaches_it(library: str) -> None:
    rows = _renames.load(f"persist.migrations.{library}")
    assert rows
    assert all(row.evidence for row in rows), "every row states how it is known"
    pack = importlib.import_module(f"persist.migrations.{library}").pack
    for row in rows:
        if row.kind == "move" and not row.is_prefix:
            assert pack.resolve(row.old) != row.old, row.old


@pytest.mark.parametrize("library", TABLES)
def test_what_changed_its_meaning_is_never_renamed_silently(library: str) -> None:
    rows = _renames.load(f"persist.migrations.{library}")
    exact = {row.old for row in rows if row.kind == "move"}
    pack = importlib.import_module(f"persist.migrations.{library}").pack
    for row in rows:
        if row.kind == "semantic" and row.old not in exact:
            assert row.new == row.old or pack.resolve(row.old) != row.new, row.old


def test_a_name_tells_the_release() -> None:
    rows = _renames.load("persist.migrations.sklearn")
    old = _renames.written_by(rows, ["sklearn.tree.tree.DecisionTreeRegressor"])
    assert old == (None, ("0.22", "sklearn.tree.tree.DecisionTreeRegressor"))
    new = _renames.written_by(rows, ["sklearn.tree._classes.DecisionTreeRegressor"])
    assert new == (("0.22", "sklearn.tree._classes.DecisionTreeRegressor"), None)
    assert _gather.written_by(["lab.Net", "numpy.ndarray"]) == []


def test_inspecting_a_file_says_which_releases_wrote_it_and_why() -> None:
    case = CORPUS / "sklearn" / "sklearn-0.20.4-py27-tree-pickle-p0"
    file = persist.open(next(path for path in case.iterdir() if path.suffix != ".json"))
    (reported,) = [text for text in file.evidence if text.startswith("sklearn")]
    assert "older than 0.22" in reported
    assert "sklearn.tree.tree.DecisionTreeRegressor" in reported
    assert reported in str(file)
