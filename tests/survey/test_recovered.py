"""`persist draft --from survey.json`: a module for files whose source is lost, and what it loads."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist.survey import Row, Survey
from persist.survey._forms import FieldSummary
from persist.survey._skeleton import skeleton

TOP = Path(__file__).parents[2]


def run(folder: Path, words: list[str], status: int) -> str:
    """Run Python in a folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PYTHONPATH": f"{TOP}:{folder}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


def command(folder: Path, line: str, status: int = 0) -> str:
    """Run the command in a folder; return what it printed."""
    call = "import sys; from persist._cli import main; sys.exit(main())"
    return run(folder, ["-c", call, *line.split()], status)


def recover(folder: Path, more: str = "", status: int = 0) -> str:
    """Survey a folder, and write the module beside it."""
    (folder.parent / "survey.json").write_text(
        command(folder.parent, f"survey {folder.name} --json")
    )
    return command(folder.parent, f"draft --from survey.json {more}", status)


def loaded(folder: Path, code: str) -> str:
    """Run code that has imported the module; every warning is an error."""
    head = "import warnings; warnings.simplefilter('error'); import pathlib, persist, recovered\n"
    return run(folder.parent, ["-c", head + code], 0)


def test_four_generations_become_one_class(evolution: Path) -> None:
    said = recover(evolution)
    assert said.startswith("recovered.py: 1 class, ")
    assert "taken as one class: logreg.LogReg → mylab.models.linear.SoftmaxClassifier" in said
    assert said.endswith("4 files load with it\n")
    # Every value is there, under the name that the newest file gives it.
    shown = loaded(evolution, """
for path in sorted(pathlib.Path("runs").iterdir()):
    made = persist.load(path)
    assert type(made) is recovered.SoftmaxClassifier
    print(made.weights.shape, made.bias.shape, made.activation, made.version, made.classes)
""")  # fmt: skip
    assert shown.splitlines() == [
        "(6, 3) (3,) None None None",
        "(6, 3) (3,) None None None",
        "(6, 3) (3,) softmax 3 None",
        "(6, 3) (3,) softmax 4 ['cat', 'dog', 'emu']",
    ]
    text = (evolution.parent / "recovered.py").read_text()
    assert "# guess: item 0 is 'weights', whose values are of the same kind and shape" in text
    assert 'persist.alias("logreg.LogReg", SoftmaxClassifier)' in text
    assert 'persist.migration(SoftmaxClassifier, 1, persist.ops.unpack("weights", "bias"))' in text


def test_classes_are_kept_apart_on_request(evolution: Path) -> None:
    said = recover(evolution, "--separate")
    assert said.startswith("recovered.py: 2 classes, ")
    assert "taken as one class" not in said
    assert "4 files load with it" in said


def test_a_module_is_not_replaced(evolution: Path) -> None:
    recover(evolution)
    assert "there is such a file already" in recover(evolution, "", 2)
    recover(evolution, "--force")
    recover(evolution, "--out other.py")
    said = recover(evolution, "--out third.py --dry-run")
    assert said.startswith('"""Classes of which the source is lost')
    assert not (evolution.parent / "third.py").exists()


def test_the_corpus_of_pickles(tmp_path: Path, old: Any) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for path in sorted(old.corpus.glob("pickle-py*/*")):
        if path.name != "expected.json" and path.is_file():
            shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    count = len(list(folder.iterdir()))
    said = recover(folder)
    assert f"\n{count} files load with it\n" in said
    assert "does not load" not in said
    # What it cannot draft is named, and is in the files that load in part.
    assert "not drafted: palette.Run: its values are arguments of a constructor" in said
    assert (
        "loads in part: runs/pickle-py36-p4-stdlib-enum-namedtuple-run.pkl: palette.Run is not declared"
        in said
    )


def test_fields_that_are_renamed_and_missing(tmp_path: Path, old: Any) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    states = {
        "2012-01-01": {"lr": 0.5, "cache": [1]},
        "2014-01-01": {"learning_rate": 0.25, "_Net__seed": 7},
        "2016-01-01": {"learning_rate": 0.125, "momentum": 0.9, "_Net__seed": 8},
    }
    for date, state in states.items():
        path = folder / f"{date}.pkl"
        path.write_bytes(old.pickled("lab.nets", "Net", state))
        old.dated(path, date)
    recover(folder)
    shown = loaded(folder, """
for path in sorted(pathlib.Path("runs").iterdir()):
    made = persist.load(path)
    print(made.learning_rate, made.momentum, made.cache, made._Net__seed)
""")  # fmt: skip
    assert shown.splitlines() == ["0.5 None [1] None", "0.25 None None 7", "0.125 0.9 None 8"]
    text = (tmp_path / "recovered.py").read_text()
    assert "# guess: 'lr' is called 'learning_rate': lr are the initials of learning_rate" in text
    assert "cache: list | None = None  # list; of version 1; no newer file has it" in text
    assert "momentum: float | None = None  # float; guess: None in states of versions 1, 2" in text


def test_two_layouts_in_one_file_are_one_version(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    records = [
        persist.Record("lab.Node", {"x": 1}),
        persist.Record("lab.Node", {"x": 2, "label": "b"}),
    ]
    persist.save(records, folder / "a.persist")
    recover(folder)
    text = (tmp_path / "recovered.py").read_text()
    assert 'class Node(persist.Versioned, version=1, schema="lab.Node"):' in text
    assert "label: str | None = None  # str; missing in some files" in text
    shown = loaded(folder, 'print([(n.x, n.label) for n in persist.load("runs/a.persist")])')
    assert shown == "[(1, None), (2, 'b')]\n"


def test_versions_that_files_state_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for version, state in ((3, {"W": 1.0}), (5, {"weights": 2.0}), (None, (3.0,))):
        record = persist.Record("lab.Layer", state, version=version)
        persist.save(record, folder / f"{version}.persist", registry=persist.Registry("other"))
    recover(folder)
    text = (tmp_path / "recovered.py").read_text()
    assert 'class Layer(persist.Versioned, version=5, schema="lab.Layer"):' in text
    assert "persist.migration(Layer, 3, persist.ops.rename({" in text
    assert ", to=5)" in text
    shown = loaded(
        folder, 'print([persist.load(p).weights for p in sorted(pathlib.Path("runs").iterdir())])'
    )
    assert shown == "[1.0, 2.0, 3.0]\n"


def test_other_states(tmp_path: Path, old: Any) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "a.pkl").write_bytes(old.pickled("lab", "Bare", [1, 2]))
    (folder / "b.pkl").write_bytes(old.pickled("lab", "Long", (1, 2, 3)))
    (folder / "c.pkl").write_bytes(
        old.pickled("lab", "Odd", {"min child": 1, "class": 2, "persistent": 3})
    )
    (folder / "d.pkl").write_bytes(
        old.pickled("lab", "dict", {"parent": 1, "_parent": 2, "list": [3], "x": [4]})
    )
    (folder / "e.pkl").write_bytes(old.pickled("lab", "Named", None, args=(1, 2)))
    said = recover(folder)
    assert "not drafted: lab.Named: its values are arguments" in said
    shown = loaded(folder, """
bare, long, odd, other = [persist.load(f"runs/{name}.pkl") for name in "abcd"]
print(bare.value, long.item_0, long.item_2, vars(odd)["min child"], vars(odd)["class"], odd.persistent)
print(type(other).__name__, other.parent, other._parent, other.list, other.x)
""")  # fmt: skip
    assert shown.splitlines() == ["[1, 2] 1 3 1 2 3", "Labdict 1 2 [3] [4]"]


def test_a_file_that_does_not_load_is_named(evolution: Path, old: Any) -> None:
    (evolution / "cut.pkl").write_bytes(old.pickled("lab", "A", {"x": 1})[:-2])
    command(evolution.parent, f"survey {evolution.name} --save survey.json", 1)
    said = command(evolution.parent, "draft --from survey.json", 1)
    assert "does not load: " in said
    assert "cut.pkl: " in said
    assert "4 files load with it" in said


def test_nothing_to_draft(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    persist.save({"x": np.zeros(3)}, folder / "a.persist")
    assert "there is nothing to draft" in recover(folder)


def test_a_survey_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "survey.json").write_text('{"survey": 99}')
    said = command(tmp_path, "draft --from survey.json", 2)
    assert "survey.json: the survey is of form 99" in said


# Names in files are text that a stranger chose: nothing of it becomes code.

EVIL = [
    '"""\nraise SystemExit(1)\n"""', "x\nraise SystemExit(2)", "a\\", '"', "'''", "{}", "%s", "\u2028import os",
    "__import__('os')", "#", "\ud800", "class", "f(", "A]", "\x0craise SystemExit(3)", "\r\nraise SystemExit(4)",
]  # fmt: skip


def _row(name: str, fields: list[str], form: str = "fields", **more: Any) -> Row:
    made = Row(
        name,
        "",
        form,
        [FieldSummary(field, ["int"]) for field in fields],
        "",
        None,
        "",
        "pickle",
        "",
    )
    return attrs.evolve(made, outcome="no class", count=1, files=1, **more)


def _is_inert(text: str) -> None:
    """Nothing in a module but imports, classes with fields, and calls of persist with literals."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            kinds = (ast.Expr, ast.AnnAssign)
            assert all(isinstance(one, kinds) for one in node.body)
            assert all(
                isinstance(one.value, ast.Constant)
                for one in node.body
                if isinstance(one, ast.Expr)
            )
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                assert ast.unparse(node.value).startswith(("persist.alias(", "persist.migration("))
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)
    names = {node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
             for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
             and isinstance(node.func, ast.Attribute | ast.Name)}  # fmt: skip
    assert names <= {"define", "field", "alias", "migration", "stamp", "unpack", "rename", "set", "isinstance",
                     "len"}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_name_becomes_code(data: st.DataObject) -> None:
    texts = st.sampled_from(EVIL) | st.text(max_size=12)
    name, other, root = data.draw(texts), data.draw(texts), data.draw(texts)
    fields = data.draw(st.lists(texts, max_size=4, unique=True))
    more = data.draw(st.lists(texts, max_size=4, unique=True))
    rows = [
        _row(f"{name}.A", fields, newest="2012-01-01"), _row(f"{name}.A", more, newest="2013-01-01"),
        _row(f"{name}.A", ["0", "1"], "tuple"), _row(other or "x", ["value"], "value"),
    ]  # fmt: skip
    made = skeleton(Survey([root], rows))
    _is_inert(made.text)
    compile(made.text, "recovered.py", "exec")


def test_evil_names_in_a_genuine_file(tmp_path: Path, old: Any) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number, name in enumerate(EVIL):
        (folder / f"{number:02}.pkl").write_bytes(old.pickled(name, name, {name: number, "x": 1}))
    said = recover(folder, status=0)
    assert f"{len(EVIL)} files load with it" in said
    _is_inert((tmp_path / "recovered.py").read_text())
