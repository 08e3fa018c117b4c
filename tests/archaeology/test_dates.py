"""Which commits can have written a file: on genuine files of four generations, and on small ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import persist
from persist._cli import main
from persist.archaeology import Dated, History, date, history_of

if TYPE_CHECKING:
    from tests.archaeology.conftest import Repo

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"

# The source of the class whose files are in the corpus, as it was written in 2012 and later.
GENERATIONS = {
    "2012": {
        "logreg.py": """
import cPickle

class LogReg(object):
    def __init__(self, rng, n_in, n_out):
        print "building", n_in
        self.W = theano.shared(zeros((n_in, n_out)))
        self.b = theano.shared(zeros(n_out))

    def __getstate__(self):
        return (self.W.get_value(), self.b.get_value())

    def __setstate__(self, state):
        W, b = state
        self.W = theano.shared(W)
        self.b = theano.shared(b)
""",
    },
    "2014": {
        "logreg.py": """
class LogReg(object):
    def __init__(self, rng, n_in, n_out):
        self.weights = rng.uniform(size=(n_in, n_out))
        self.bias = zeros(n_out)

    def __setstate__(self, state):
        if isinstance(state, tuple):
            W, b = state
            self.weights = W
            self.bias = b
        else:
            self.__dict__ = state
""",
    },
    "2016": {
        "logreg.py": """
class LogReg(object):
    version = 3

    def __init__(self, rng, n_in, n_out, activation="softmax"):
        self.weights = rng.uniform(size=(n_in, n_out))
        self.bias = zeros(n_out)
        self.activation = activation
        self.version = LogReg.version
""",
    },
    "2019": {
        "logreg.py": None,
        "mylab/models/linear.py": """
class SoftmaxClassifier:
    def __init__(self, n_in, n_out, classes, activation="softmax"):
        self.weights = np.zeros((n_in, n_out))
        self.bias = np.zeros(n_out)
        self.activation = activation
        self.version = 4
        self.classes = list(classes)
""",
    },
}


@pytest.fixture
def project(repo: Repo) -> Repo:
    for year, files in GENERATIONS.items():
        repo.commit(files, year)
        repo.commit({"notes.txt": year}, f"{year} notes")
    return repo


def generation(number: int) -> Path:
    (path,) = (CORPUS / f"pickle-evolution-gen{number}").glob("*.pkl")
    return path


def dated(source: Any, history: History) -> Dated:
    with persist.open(source) as file:
        return date(file, history)


@pytest.mark.parametrize(("number", "year"), [*enumerate(GENERATIONS, 1)])
def test_genuine_files(project: Repo, number: int, year: str) -> None:
    found = dated(generation(number), history_of(project.path))
    (span,) = found.spans
    assert (span.first.subject, span.last.subject, span.count) == (year, f"{year} notes", 2)
    assert (span.until is None) == (year == "2019")
    assert found.has_head == (year == "2019")
    assert not found.foreign


def test_the_command(project: Repo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["date", str(generation(2)), "--git", str(project.path)]) == 0
    said = capsys.readouterr().out
    assert "fits logreg.LogReg in logreg.py" in said
    assert "2 commits; until " in said
    assert main(["survey", str(generation(2)), "--git", str(project.path)]) == 0
    assert capsys.readouterr().out == said
    assert main(["date", str(generation(1)), "--git", str(project.path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["commits"] == 2
    assert said["classes"][0]["fits"][0]["layout"] == "a tuple of 2 (W, b)"
    (tmp_path / "other.pkl").write_bytes(pickle.dumps([1, 2]))
    assert main(["date", str(tmp_path / "other.pkl"), "--git", str(project.path)]) == 1
    assert "nothing in it is of a class in the history" in capsys.readouterr().out
    assert main(["date", str(generation(1)), "--git", str(tmp_path)]) == 2
    assert "git cannot read it" in capsys.readouterr().err


def test_the_table(project: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", "--git", str(project.path)]) == 0
    said = capsys.readouterr().out
    assert "8 commits, 2012-01-02 to 2012-01-09" in said
    assert "1 class in 4 layouts" in said
    for part in (
        "    1  a tuple of 2 (W, b)\n", 'step: unpack("W", "b"); rename({"W": "weights", "b": "bias"})',
        "and __setstate__ puts it into self.weights", "    2  weights, bias\n", "as mylab.models.linear.SoftmaxClassifier",
        "to be filled in: what 'classes' was in states of version 3",
    ):  # fmt: skip
        assert part in said
    assert main(["survey", "--git", str(project.path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4]
    assert {line["today"] for line in lines} == {"mylab.models.linear.SoftmaxClassifier"}
    assert lines[1]["step"]["calls"] == [
        'unpack("W", "b")',
        'rename({"W": "weights", "b": "bias"})',
    ]
    assert main(["survey"]) == 2
    assert "name a file or folder" in capsys.readouterr().err


def record(name: str, state: Any) -> bytes:
    """A pickle of an instance of a class that is not here."""
    module, _, last = name.rpartition(".")
    texts = b"".join(
        b"X" + len(part).to_bytes(4, "little") + part.encode() for part in (module, last)
    )
    return b"\x80\x04" + texts + b"\x93)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."


def subjects(found: Dated) -> list[tuple[str, str]]:
    return [(span.first.subject, span.last.subject) for span in found.spans]


def test_attributes_of_bases(repo: Repo) -> None:
    base = "class Base(Root):\n    def __init__(self):\n        self.{} = 1\n"
    own = "from lab.base import Base\nclass Net(Base):\n    def __init__(self):\n        self.{} = 1\n"
    root = "class Root(object):\n    def __init__(self):\n        self.r = 1\n"
    repo.commit({"lab/base.py": base.format("x") + root, "lab/net.py": own.format("a")}, "one")
    repo.commit({"lab/base.py": base.format("y") + root}, "two")
    repo.commit({"lab/net.py": own.format("b")}, "three")
    history = history_of(repo.path)
    for state, expected in (
        ({"r": 1, "x": 1, "a": 1}, "one"),
        ({"r": 1, "y": 1, "a": 1}, "two"),
        ({"r": 1, "y": 1, "b": 1}, "three"),
    ):
        assert subjects(dated(record("lab.net.Net", state), history)) == [(expected, expected)]
    found = dated(record("lab.net.Net", {"r": 1, "x": 1, "b": 1}), history)
    assert found.spans == ()
    assert found.found[0].nearest is not None


def test_all_classes_of_a_file_count(repo: Repo, tmp_path: Path) -> None:
    text = "class A:\n    def __init__(self):\n        self.{} = 1\nclass B:\n    def __init__(self):\n        self.{} = 1\n"
    for first, second in (("a", "b"), ("c", "b"), ("c", "d")):
        repo.commit({"m.py": text.format(first, second)}, first + second)
    history = history_of(repo.path)
    persist.save(
        [persist.Record("m.A", {"c": 1}), persist.Record("m.B", {"b": 1})], tmp_path / "a.persist"
    )
    assert subjects(dated(tmp_path / "a.persist", history)) == [("cb", "cb")]
    persist.save(
        [persist.Record("m.A", {"a": 1}), persist.Record("m.B", {"d": 1})], tmp_path / "b.persist"
    )
    mixed = dated(tmp_path / "b.persist", history)
    assert mixed.spans == ()
    assert [len(one.spans) for one in mixed.found] == [1, 1]


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("@attr.s\nclass A:\n    x = attr.ib()\n    y = attr.ib()\n", {"x": 1, "y": 2}),
        ("@attrs.define\nclass A:\n    x: int\n    y: int\n", (1, 2)),
        ("@dataclass(slots=True)\nclass A:\n    x: int\n    y: int\n", [1, 2]),
        ("class A:\n    __slots__ = ['x', 'y']\n", (None, {"x": 1})),
        ("class A:\n    def __init__(self):\n        self.__w = 1\n", {"_A__w": 1}),
        ("class A:\n    def __init__(self, **kw):\n        self.x = 1\n        vars(self).update(kw)\n", {"x": 1, "z": 2}),
        ("class A(nn.Module):\n    def __init__(self):\n        self.x = 1\n", {"x": 1, "_modules": 2}),
        ("class A:\n    def __getstate__(self):\n        return pack(self)\n", {"anything": 1}),
    ],
)  # fmt: skip
def test_kinds_of_classes(repo: Repo, source: str, state: Any) -> None:
    repo.commit({"src/lab/a.py": source}, "one")
    repo.commit(
        {"src/lab/a.py": "class A:\n    def __init__(self):\n        self.q = self.p = 1\n"}, "two"
    )
    history = history_of(repo.path)
    assert subjects(dated(record("lab.a.A", state), history)) == [("one", "one")]
    assert subjects(dated(record("__main__.A", state), history)) == [("one", "one")]
    found = dated(record("elsewhere.A", state), history)
    assert found.found[0].is_loose
    assert dated(record("lab.a.B", state), history).foreign == ("lab.a.B",)


def test_versions_that_files_state(repo: Repo, tmp_path: Path) -> None:
    text = 'class A(persist.Versioned, version={}, schema="old.A"):\n    persistent = ("w",)\n'
    for version in (1, 2, 3):
        repo.commit({"m.py": text.format(version)}, f"version {version}")
    persist.save(persist.Record("old.A", {"w": 1}, version=2), tmp_path / "a.persist")
    found = dated(tmp_path / "a.persist", history_of(repo.path))
    assert subjects(found) == [("version 2", "version 2")]
    assert not found.found[0].is_loose
