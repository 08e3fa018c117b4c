"""The history of a repository: layouts with their commits, renames, and everything that git can hold."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from persist.archaeology import History, history_of
from persist.archaeology._chain import chain
from persist.archaeology._classes import Reader
from persist.errors import PersistError

if TYPE_CHECKING:
    from tests.archaeology.conftest import Repo


def class_of(name: str, *fields: str, more: str = "") -> str:
    body = "".join(f"        self.{field} = {field}\n" for field in fields) or "        pass\n"
    return f"class {name}:\n    def __init__(self, {', '.join(fields)}):\n{body}{more}"


def lines(history: History) -> list[tuple[str, str, list[tuple[str, str, int]]]]:
    """Each run: its name, its layout, and its spans as subjects of commits."""
    return [
        (run.name, str(run.source),
         [(span.first.subject, span.last.subject, span.count) for span in history.spans(history.bits(run))])
        for run in history.runs
    ]  # fmt: skip


def test_a_field_is_renamed(repo: Repo) -> None:
    repo.commit({"lab/nets.py": class_of("Layer", "W", "b")}, "one")
    repo.commit({"README": "x"}, "two")
    repo.commit({"lab/nets.py": class_of("Layer", "weights", "b")}, "three")
    repo.commit({"lab/nets.py": class_of("Layer", "weights", "b") + "# comment\n"}, "four")
    history = history_of(repo.path)
    assert lines(history) == [
        ("lab.nets.Layer", "W, b", [("one", "two", 2)]),
        ("lab.nets.Layer", "weights, b", [("three", "four", 2)]),
    ]
    first, second = (history.spans(history.bits(run))[0] for run in history.runs)
    assert first.until is not None
    assert first.until.subject == "three"
    assert second.until is None
    (runs,) = history.classes()
    _, today = chain(runs)
    assert today.step is not None
    assert today.step.calls == ('rename("W", "weights")',)


def test_a_class_and_its_file_are_renamed(repo: Repo) -> None:
    repo.commit(
        {"logreg.py": class_of("LogReg", "W", "b"), "other.py": class_of("Other", "x")}, "one"
    )
    repo.commit({"logreg.py": class_of("LogisticRegression", "W", "b", "activation")}, "two")
    repo.commit(
        {
            "logreg.py": None,
            "lab/linear.py": class_of("LogisticRegression", "W", "b", "activation"),
        },
        "three",
    )
    # A copy first, and the original is removed later.
    repo.commit({"lab/models.py": class_of("LogisticRegression", "W", "b", "activation")}, "four")
    repo.commit({"lab/linear.py": "from lab.models import LogisticRegression\n"}, "five")
    history = history_of(repo.path)
    by_size = sorted(history.classes(), key=len)
    assert [run.name for run in by_size[-1]] == [
        "logreg.LogReg", "logreg.LogisticRegression", "lab.linear.LogisticRegression", "lab.models.LogisticRegression",
    ]  # fmt: skip
    assert [run.name for run in by_size[0]] == ["other.Other"]
    assert by_size[-1][1].reasons
    assert "both are called LogisticRegression, moved from logreg.py" in by_size[-1][2].reasons
    first, second = chain(by_size[-1])
    assert [str(one.source) for one in (first, second)] == ["W, b", "W, b, activation"]
    assert len(second.runs) == 3


def test_code_is_evidence(repo: Repo) -> None:
    old = "    def __getstate__(self):\n        return self.W, self.b\n    def __setstate__(self, s):\n        self.W, self.b = s\n"
    new = (
        "    def __setstate__(self, state):\n        if isinstance(state, tuple):\n            p, q = state\n"
        "            self.kernel = p\n            self.offset = q\n"
    )
    repo.commit({"a.py": class_of("Net", "W", "b", more=old)})
    repo.commit({"a.py": class_of("Net", "kernel", "offset", more=new)})
    (runs,) = history_of(repo.path).classes()
    first, second = chain(runs)
    assert str(first.source) == "a tuple of 2 (W, b)"
    assert second.step is not None
    assert second.step.calls == ('unpack("W", "b")', 'rename({"W": "kernel", "b": "offset"})')
    assert any(
        "item 0 of the state went into self.W" in reason
        for reason in second.step.guesses[0].reasons
    )


def test_a_layout_that_comes_back(repo: Repo) -> None:
    for fields in (("a",), ("a", "b"), ("a",)):
        repo.commit({"m.py": class_of("A", *fields)}, ",".join(fields))
    (runs,) = history_of(repo.path).classes()
    assert [len(one.runs) for one in chain(runs)] == [2, 1]


def test_branches_and_merges(repo: Repo) -> None:
    repo.commit({"m.py": class_of("A", "a"), "n.py": "\n"}, "one")
    repo.git("checkout", "-q", "-b", "side")
    repo.commit({"m.py": class_of("A", "a", "x")}, "side one")
    repo.commit({"m.py": class_of("A", "a", "b")}, "side two")
    repo.git("checkout", "-q", "main")
    repo.commit({"n.py": "# more\n"}, "two")
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    repo.git("checkout", "-q", "-b", "open")
    repo.commit({"m.py": class_of("A", "z")}, "open")
    repo.git("tag", "v1")
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "open")
    history = history_of(repo.path)
    found = {layout: spans for _, layout, spans in lines(history)}
    assert found["a, x"] == [("side one", "side one", 1)]
    assert found["a, b"] == [("side two", "merge", 2)]
    assert found["z"] == [("open", "open", 1)]
    assert found["a"][0][2] == 2
    assert history.has_head(
        history.bits(next(run for run in history.runs if str(run.source) == "a, b"))
    )


LAYOUTS = [(), ("a",), ("a", "b"), ("c",), ("a", "c")]


def random_stream(chance: random.Random, count: int) -> bytes:
    """Commits with any parents that set files to any layouts, for ``git fast-import``."""
    parts = []
    for mark in range(1, count + 1):
        parents = chance.sample(
            range(1, mark), min(mark - 1, chance.choice([0, 1, 1, 1, 1, 2, 2, 3]))
        )
        parts.append(f"reset refs/heads/b{mark}\n".encode())
        parts.append(
            f"commit refs/heads/b{mark}\nmark :{mark}\ncommitter A <a@b> {mark} +0000\ndata 1\nx\n".encode()
        )
        for word, parent in zip(["from", "merge", "merge"], parents, strict=False):
            parts.append(f"{word} :{parent}\n".encode())
        for path in chance.sample(["a.py", "p/b.py", "c.py"], chance.choice([0, 1, 1, 2])):
            if chance.random() < 0.15:
                parts.append(f"D {path}\n".encode())
                continue
            names = chance.sample(["A", "B"], chance.choice([1, 2]))
            text = "".join(class_of(name, *chance.choice(LAYOUTS)) for name in names).encode()
            parts.append(f"M 100644 inline {path}\ndata {len(text)}\n".encode() + text + b"\n")
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(4))
def test_the_commits_of_each_layout_are_those_whose_trees_have_it(repo: Repo, seed: int) -> None:
    repo.git("fast-import", "--quiet", data=random_stream(random.Random(seed), 40))
    repo.git("symbolic-ref", "HEAD", "refs/heads/b40")
    history = history_of(repo.path)
    expected: dict[tuple[str, str, str], set[str]] = {}
    contents: dict[str, bytes] = {}
    for commit in history.commits:
        for line in repo.git("ls-tree", "-r", commit.name).splitlines():
            head, _, path = line.partition("\t")
            blob = head.split()[2]
            if blob not in contents:
                contents[blob] = repo.git("cat-file", "blob", blob).encode()
            for one in Reader().read(contents[blob]) or ():
                expected.setdefault((path, one.name, str(one.layout)), set()).add(commit.name)
    found: dict[tuple[str, str, str], set[str]] = {}
    for run in history.runs:
        names = {history.commits[place].name for place in history.places(history.bits(run))}
        key = (run.path, run.source.name, str(run.source.layout))
        assert not names & found.get(key, set())  # no commit is in two runs of one layout
        found.setdefault(key, set()).update(names)
    assert found == expected
    for run in history.runs:
        assert (
            sum(span.count for span in history.spans(history.bits(run)))
            == history.bits(run).bit_count()
        )


def test_a_shallow_clone(repo: Repo, tmp_path: Path) -> None:
    for fields in (("a",), ("a", "b"), ("a", "b", "c")):
        repo.commit({"m.py": class_of("A", *fields)}, ",".join(fields))
    repo.git("clone", "-q", "--depth", "2", f"file://{repo.path}", str(tmp_path / "clone"))
    history = history_of(tmp_path / "clone")
    assert history.is_shallow
    assert [layout for _, layout, _ in lines(history)] == ["a, b", "a, b, c"]


def test_links_submodules_and_odd_names(repo: Repo, tmp_path: Path) -> None:
    repo.commit(
        {
            'ä "quoted"\t.py': class_of("A", "a"),
            "lab/x.py": "# coding: latin-1\n# \xe4\n".encode("latin-1"),
        }
    )
    os.symlink('ä "quoted"\t.py', repo.path / "link.py")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub.py")
    repo.git("commit", "-q", "-m", "submodule")
    repo.commit(
        {
            "b\n.py": class_of("B", "b"),
            "bad.py": "class A(:\n" * 200,
            "lone\udcff.py": class_of("C", "c"),
        },
        "mergé ü",
    )
    history = history_of(repo.path)
    assert {run.path for run in history.runs} == {'ä "quoted"\t.py', "b\n.py", "lone\udcff.py"}
    assert history.links == 2
    assert history.unread == {"bad.py": 1}
    assert history.commits[-1].subject == "mergé ü"


def test_a_file_that_becomes_a_link(repo: Repo) -> None:
    repo.commit({"m.py": class_of("A", "a")}, "file")
    (repo.path / "m.py").unlink()
    os.symlink("elsewhere", repo.path / "m.py")
    repo.commit({}, "link")
    assert lines(history_of(repo.path)) == [("m.A", "a", [("file", "file", 1)])]


def test_the_environment_of_a_hook_does_not_matter(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"m.py": class_of("A", "a")})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert len(history_of(repo.path).runs) == 1


@pytest.mark.parametrize("what", ["nothing", "no commit", "no folder"])
def test_what_is_no_repository(tmp_path: Path, repo: Repo, what: str) -> None:
    folder = {
        "nothing": tmp_path / "empty",
        "no commit": repo.path,
        "no folder": tmp_path / "none",
    }[what]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PersistError, match="Name the folder of a git repository"):
        history_of(folder)


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PersistError, match="Install git"):
        history_of(tmp_path)


def test_contents_are_parsed_once(repo: Repo, cache: Path) -> None:
    repo.commit({"m.py": class_of("A", "a"), "bad.py": "class A(:\n" * 200})
    first = history_of(repo.path)
    assert (first.contents, first.parsed) == (2, 2)
    repo.commit({"m.py": class_of("A", "a", "b")})
    second = history_of(repo.path)
    assert (second.contents, second.parsed) == (3, 1)
    assert second.unread == {"bad.py": 1}
    assert lines(second) == lines(history_of(repo.path, remember=False))
    (cache / "layouts.sqlite").write_bytes(b"no database" * 100)
    assert lines(history_of(repo.path)) == lines(second)
    (cache / "layouts.sqlite").unlink()
    history_of(repo.path)
    with sqlite3.connect(cache / "layouts.sqlite") as data:
        data.execute("update layouts set said = '[[3]]'")
    assert lines(history_of(repo.path)) == lines(second)


def test_a_memory_that_cannot_be_written(repo: Repo, cache: Path) -> None:
    repo.commit({"m.py": class_of("A", "a")})
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert len(history_of(repo.path).runs) == 1
