"""A survey: which classes, layouts, versions and writers files have, and what a load would do."""

from __future__ import annotations

import html.parser
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._cli import main
from persist.errors import PersistError
from persist.registry import Registry
from persist.survey import Survey, survey
from persist.survey._lines import as_lines, from_lines


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.iterdir())


@pytest.mark.packs
def test_four_generations_of_a_class(evolution: Path) -> None:
    found = survey(_files(evolution))
    assert found.files == 4
    assert found.formats == {"pickle": 4}
    assert found.outcomes == {"no class": 4}
    assert found.dates == ("2012-05-01", "2019-08-01")
    first, second, third, fourth = found.rows
    assert [row.name for row in found.rows[:3]] == ["logreg.LogReg"] * 3
    assert fourth.name == "mylab.models.linear.SoftmaxClassifier"
    assert first.layout == "a tuple of 2 (0: <f8 (6, 3), 1: <f8 (3))"
    assert sorted(field.name for field in second.fields) == ["bias", "weights"]
    assert third.layout == "weights: <f8 (6, 3), bias: <f8 (3), activation: str, version: int"
    assert (first.oldest, first.newest, first.count, first.files) == (
        "2012-05-01",
        "2012-05-01",
        1,
        1,
    )
    assert first.example.endswith("logreg_v1.pkl")
    assert first.writer == "python 2; numpy older than 2.0"
    assert "3.4 or later" in fourth.writer
    (pair,) = found.pairs
    assert (pair.old, pair.new) == ("logreg.LogReg", "mylab.models.linear.SoftmaxClassifier")
    assert "4 of 5 fields in common: activation, bias, version, weights" in pair.reasons
    assert any(reason.startswith("files of the one end 2016-07-01") for reason in pair.reasons)


def test_shapes_and_kinds_are_of_all_records(tmp_path: Path, old: Any) -> None:
    for number, state in enumerate(
        (
            {"w": np.zeros((3, 4)), "n": 1},
            {"w": np.zeros((5, 4), "f4"), "n": None},
            {"n": "x", "w": np.zeros(2)},
        )
    ):
        (tmp_path / f"{number}.pkl").write_bytes(old.pickled("lab", "Layer", state))
    (row,) = survey(_files(tmp_path)).rows
    assert row.layout == "w: <f8 or <f4 (...), n: int | None | str"
    assert (row.count, row.files) == (3, 3)
    (row,) = survey(_files(tmp_path)[:2]).rows
    assert row.layout == "w: <f8 or <f4 (?, 4), n: int | None"


LAB = """
class Layer(persist.Versioned, version=3, schema="surveylab.Layer", registry=registry):
    persistent = ("weights",)
registry.migration(Layer, 2, persist.ops.rename("W", "weights"))
"""


def _layer(registry: Registry, text: str = LAB) -> Any:
    space: dict[str, Any] = {"persist": persist, "registry": registry, "__name__": "surveylab"}
    exec(text, space)
    return space["Layer"]


def test_what_a_load_would_do(tmp_path: Path) -> None:
    registry = Registry("survey")
    layer = _layer(registry)
    made = layer()
    made.weights = 1.0
    persist.save(made, tmp_path / "a-today.persist", registry=registry)
    for name, version, state in (("b-old", 2, {"W": 1}), ("c-gap", 1, {"U": 1}), ("d-newer", 9, {"weights": 1}),
                                 ("e-fails", 2, {"V": 1})):  # fmt: skip
        record = persist.Record("surveylab.Layer", state, version=version)
        persist.save(record, tmp_path / f"{name}.persist", registry=Registry("other"))
    persist.save({"x": np.zeros(3)}, tmp_path / "f-plain.persist")
    found = survey(_files(tmp_path), registry=registry)
    by_example = {Path(row.example).stem: row for row in found.rows}
    assert {name: row.outcome for name, row in by_example.items()} == {
        "a-today": "as today", "b-old": "upgraded", "c-gap": "no step", "d-newer": "newer", "e-fails": "fails",
        "f-plain": "plain",
    }  # fmt: skip
    assert by_example["b-old"].outcome_text == "upgraded by 1 step"
    assert "no migration leads from version 1 to 2" in by_example["c-gap"].reason
    assert "there is no 'W'" in by_example["e-fails"].reason
    assert (by_example["a-today"].version, by_example["a-today"].how) == (3, "record")
    assert by_example["a-today"].schema == "surveylab.Layer"
    # What a load says of each file is what the survey says.
    for name, row in by_example.items():
        path = tmp_path / f"{name}.persist"
        if row.outcome in ("as today", "upgraded", "plain"):
            persist.load(path, registry=registry)
        else:
            with pytest.raises(PersistError):
                persist.load(path, registry=registry)


def test_a_stamp_tells_the_version(tmp_path: Path, old: Any) -> None:
    registry = Registry("survey stamps")
    layer = _layer(registry)
    registry.stamp(layer)(lambda state: 2 if "W" in state else 3)
    (tmp_path / "a.pkl").write_bytes(old.pickled("surveylab", "Layer", {"W": 1}))
    (row,) = survey(_files(tmp_path), registry=registry).rows
    assert (row.version, row.outcome) == (2, "upgraded")
    assert row.how.startswith("stamp by")


def test_records_of_one_file_are_counted_as_one_file(tmp_path: Path) -> None:
    record = persist.Record("lab.A", {"x": 1})
    other = persist.Record("lab.B", {"x": 1, "y": record})
    persist.save([record, other, {"k": persist.Record("lab.A", {"x": 2})}], tmp_path / "a.persist")
    found = survey(_files(tmp_path))
    assert {row.name: (row.count, row.files) for row in found.rows} == {
        "lab.A": (2, 1),
        "lab.B": (1, 1),
    }
    assert found.pairs == []  # both are in one file


def test_damaged_and_foreign_files_are_counted(tmp_path: Path, old: Any) -> None:
    whole = old.pickled("lab", "A", {"x": 1})
    (tmp_path / "a.pkl").write_bytes(whole)
    for number in range(7):
        (tmp_path / f"cut{number}.pkl").write_bytes(whole[: -3 - number])
    (tmp_path / "notes.txt").write_text("These are notes.\n")
    found = survey(_files(tmp_path))
    assert (found.files, found.damaged, found.unknown) == (1, 7, 1)
    assert sum(len(problem.examples) for problem in found.problems) <= 7
    assert all(len(problem.examples) <= 5 for problem in found.problems)


def test_a_class_whose_attributes_are_data_has_one_row(tmp_path: Path) -> None:
    records = [persist.Record("lab.Table", {f"key{number}": number}) for number in range(300)]
    persist.save(records, tmp_path / "a.persist")
    found = survey(_files(tmp_path))
    assert len(found.rows) <= 41
    assert sum(row.count for row in found.rows) == 300


def test_a_survey_survives_json(evolution: Path, old: Any) -> None:
    (evolution / "bad.pkl").write_bytes(old.pickled("lab", "A", {})[:-2])
    found = survey(_files(evolution))
    again = Survey.from_json(json.loads(json.dumps(found.as_json())))
    assert again.as_json() == found.as_json()


@pytest.mark.parametrize("said", [
    {}, [], None, {"survey": 2}, {"survey": 1}, {"survey": 1, "roots": [], "rows": [{}]},
])  # fmt: skip
def test_what_is_no_survey_is_refused(said: Any) -> None:
    with pytest.raises(PersistError, match="persist survey"):
        Survey.from_json(said)


@pytest.mark.parametrize(("key", "value"), [
    ("version", "1; import os"), ("base", "dict, metaclass=x"), ("form", "x"), ("outcome", "x"), ("name", 3),
    ("count", "many"), ("version", True),
])  # fmt: skip
def test_a_survey_that_was_altered_is_refused(evolution: Path, key: str, value: Any) -> None:
    said = survey(_files(evolution)).as_json()
    Survey.from_json(said)
    said["rows"][0][key] = value
    with pytest.raises(PersistError, match="the survey is damaged"):
        Survey.from_json(said)


# The command.


def test_the_table(evolution: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", str(evolution)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("4 files read (")
    assert lines[2] == "dates: 2012-05-01 to 2019-08-01, by modification of the files"
    assert lines[3] == "4 records of 2 classes"
    assert "logreg.LogReg → mylab.models.linear.SoftmaxClassifier" in said
    assert said.index("logreg.LogReg") < said.index("mylab.models")


def test_json_lines(evolution: Path, capsys: pytest.CaptureFixture[str], old: Any) -> None:
    (evolution / "cut.pkl").write_bytes(old.pickled("lab", "A", {"x": 1})[:-3])
    assert main(["survey", str(evolution), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    *rows, damaged = lines
    assert [row["oldest"] for row in rows] == [
        "2012-05-01",
        "2014-06-01",
        "2016-07-01",
        "2019-08-01",
    ]
    assert [row["class"] for row in rows] == [
        *["logreg.LogReg"] * 3,
        "mylab.models.linear.SoftmaxClassifier",
    ]
    assert rows[0]["layout"] == "a tuple of 2 (0: <f8 (6, 3), 1: <f8 (3))"
    assert rows[0]["renamed_to"]["class"] == "mylab.models.linear.SoftmaxClassifier"
    assert {row["today"] for row in rows} == {"the class is not known: it stays a record"}
    assert (damaged["outcome"], damaged["files"]) == ("damaged", 1)
    assert damaged["example"].endswith("cut.pkl")


def test_lines_are_the_survey(evolution: Path, old: Any) -> None:
    both = [persist.Record("lab.A", {"x": 1}), persist.Record("lab.A", {"y": 1})]
    persist.save(both, evolution / "both.persist")
    (evolution / "cut.pkl").write_bytes(old.pickled("lab", "A", {"x": 1})[:-3])
    found = survey(_files(evolution))
    assert found.together
    lines = json.loads(json.dumps(list(as_lines(found))))
    assert from_lines(lines).as_json() == found.as_json()
    for key in ("outcome", "survey", "with", "class"):
        with pytest.raises(PersistError, match="no lines of a survey"):
            from_lines([{k: v for k, v in lines[0].items() if k != key}])


def test_a_damaged_file_makes_the_status_1(
    evolution: Path, capsys: pytest.CaptureFixture[str], old: Any
) -> None:
    assert main(["survey", str(evolution / "none")]) == 1
    assert "there is no such file or folder" in capsys.readouterr().err
    (evolution / "bad.pkl").write_bytes(old.pickled("lab", "A", {})[:-2])
    assert main(["survey", str(evolution)]) == 1
    assert "cannot be read\n    1 file: " in capsys.readouterr().out


def test_declared_classes_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, old: Any
) -> None:
    (tmp_path / "surveymodule.py").write_text(
        "import persist\n@persist.migration('surveyed.A', 1)\ndef to_2(state): return state\n"
    )
    (tmp_path / "a.pkl").write_bytes(old.pickled("surveyed", "A", {"x": 1}))
    monkeypatch.chdir(tmp_path)
    assert main(["survey", "a.pkl", "--import", "surveymodule.py"]) == 0
    assert "today: upgraded by 1 step" in capsys.readouterr().out
    assert main(["survey", "a.pkl", "--import", "nothing_of_that_name"]) == 2


class _Tags(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


HOSTILE = '<script>alert(1)</script><img src=x onerror="x">\'&"\x1b[31m\u202e'


def test_a_page_escapes_what_files_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: Any
) -> None:
    (tmp_path / "a.pkl").write_bytes(old.pickled(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({HOSTILE: 1}))
    page = tmp_path / "out.html"
    assert (
        main(["survey", str(tmp_path / "a.pkl"), str(tmp_path / "b.pkl"), "--html", str(page)]) == 0
    )
    text = page.read_text(encoding="utf-8")
    found = _Tags()
    found.feed(text)
    assert not {"script", "img", "link", "iframe", "a"} & {*found.tags}
    assert not {"src", "href", "onerror"} & {*found.attributes}
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    for said in (text, capsys.readouterr().out):
        assert "\x1b" not in said
        assert "\u202e" not in said


def test_a_page_has_all_of_the_table(evolution: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    main(["survey", str(evolution), "--html", str(page)])
    text = page.read_text(encoding="utf-8")
    for part in ("logreg.LogReg", "mylab.models.linear.SoftmaxClassifier", "2012-05-01", "logreg_v1.pkl",
                 "4 of 5 fields in common", "a tuple of 2 (0: &lt;f8 (6, 3), 1: &lt;f8 (3))"):  # fmt: skip
        assert part in text


def test_dates_are_those_of_the_files(tmp_path: Path, old: Any) -> None:
    for name, date in (("a", "2001-02-03"), ("b", "2010-11-12")):
        (tmp_path / f"{name}.pkl").write_bytes(old.pickled("lab", "A", {"x": 1}))
        old.dated(tmp_path / f"{name}.pkl", date)
    (row,) = survey(_files(tmp_path)).rows
    assert (row.oldest, row.newest) == ("2001-02-03", "2010-11-12")
