"""Every example of the docs runs: Python blocks as one script a page, commands as a user types them.

A page's blocks run in a process and a folder of their own, in which ``persist demo .`` has written the genuine old
files that the pages use. A ``text`` block after a
``python`` block says what was printed. In a ``console`` block a line that begins with ``$`` is run, and what
follows is its output; ``...`` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]

pytestmark = pytest.mark.packs


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    text: str
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page; ``kind`` is all that stands behind the fence."""
    fence = re.compile(r"^( *)```(.*?)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    text = page.read_text()
    for match in fence.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(match[2].strip(), textwrap.dedent(match[3]), line)


RUN = [page for page in PAGES if any(b.kind in ("python", "console") for b in blocks_of(page))]


def agrees(wanted: str, got: str) -> bool:
    """Whether an output is as the page has it; ``...`` stands for anything."""
    pattern = r".*?".join(re.escape(part) for part in wanted.strip().split("..."))
    return re.fullmatch(pattern, got.strip(), re.DOTALL) is not None


class Runner:
    """Runs the blocks of one page, one after another."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self.names: dict[str, Any] = vars(sys.modules["__main__"])
        self.printed = ""

    def run(self, block: Block) -> None:
        if block.kind == "python":
            self.python(block)
        elif block.kind == "console":
            self.console(block)
        elif block.kind == "text" and self.printed:
            self.compare(block, block.text, self.printed)
            self.printed = ""

    def compare(self, block: Block, wanted: str, got: str) -> None:
        if not agrees(wanted, got):
            sys.exit(f"line {block.line}: the page has\n{wanted}\nbut it printed\n{got}")

    def python(self, block: Block) -> None:
        # So that a traceback, and attrs, see the lines of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.names)
        self.printed = out.getvalue()

    def console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, wanted = part.partition("\n")
            words = shlex.split(line, comments=True)
            if words[0] != "persist":
                continue  # set-up that is reported, not run
            call = "import sys; from persist._cli import main; sys.exit(main())"
            run = subprocess.run(
                [sys.executable, "-c", call, *words[1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if wanted.strip():
                self.compare(block, wanted, run.stdout)
            if run.returncode and "# fails" not in line:
                sys.exit(f"line {block.line}: `{line}` ended with {run.returncode}\n{run.stdout}")


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(TOP).as_posix())
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    import persist
    from persist import demo

    demo.write(tmp_path)  # what a reader has who follows the page
    found = [str(Path(persist.__file__).parents[1])]
    run = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *found])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{page.name}: {run.stderr}"


# The pages themselves.


@pytest.mark.parametrize("library", ["asdf"])
def test_the_blocks_that_need_a_library_run(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library)
    found = [
        block for page in PAGES for block in blocks_of(page) if block.kind == f"python {library}"
    ]
    assert found
    monkeypatch.chdir(tmp_path)
    for block in found:
        exec(compile(block.text, "docs", "exec"), {})


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_index() -> None:
    docs = TOP / "docs"
    reached: set[Path] = set()
    todo = [docs / "index.md"]
    while todo:
        page = todo.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()):
            if "://" not in target:
                todo.append((page.parent / target).resolve())
    assert set(docs.rglob("*.md")) <= reached


def test_every_block_says_what_it_is() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            assert block.kind, f"{page.name}, line {block.line}: a block without a language"


@pytest.mark.checkout
def test_the_page_of_formats_is_current() -> None:
    sys.path.insert(0, str(TOP / "docs"))
    try:
        import make_formats
    finally:
        sys.path.remove(str(TOP / "docs"))
    page = (TOP / "docs" / "formats.md").read_text()
    assert page == make_formats.page(), "run: python docs/make_formats.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the checks run in copies of the process")
def test_the_comparison_is_what_its_checks_show() -> None:
    """In a process of its own: `persist lock` and `check` see every class that other tests declare."""
    code = """if True:
        import sys, make_comparison
        assert {*range(1, 132)} == make_comparison.comparison_checks.ROWS.keys()
        sys.stdout.write(make_comparison.page())
    """
    env = os.environ | {"PYTHONPATH": str(TOP / "docs"), "PYTHONIOENCODING": "utf-8"}
    made = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, encoding="utf-8", check=True
    )
    data = json.loads((TOP / "docs" / "comparison.json").read_text())
    assert [row["number"] for row in data["rows"]] == list(range(1, 132))
    page = (TOP / "docs" / "comparison.md").read_text()
    assert page == made.stdout, "run: python docs/make_comparison.py"


@pytest.mark.checkout
def test_the_table_of_estimators_is_current() -> None:
    sys.path.insert(0, str(TOP / "docs"))
    try:
        import make_sklearn
    finally:
        sys.path.remove(str(TOP / "docs"))
    page = (TOP / "docs" / "howto" / "sklearn.md").read_text()
    assert page == make_sklearn.page(), "run: python docs/make_sklearn.py"


@pytest.mark.checkout
def test_the_files_of_the_demo_are_current() -> None:
    sys.path.insert(0, str(TOP / "docs"))
    try:
        import make_demo
    finally:
        sys.path.remove(str(TOP / "docs"))
    with zipfile.ZipFile(TOP / "persist" / "demo" / "files.zip") as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    wanted = {name: path.read_bytes() for name, path in make_demo.members().items()}
    assert found == wanted, "run: python docs/make_demo.py"


@pytest.mark.parametrize("command", [["persist", "demo"], ["persist.demo"]])
def test_the_first_example_runs_when_it_is_copied(command: list[str], tmp_path: Path) -> None:
    """README's block, in the folder that the demo writes, as a reader does it."""
    import persist

    env = {**os.environ, "PYTHONPATH": str(Path(persist.__file__).parents[1])}
    reported = [sys.executable, "-m", *command, "."]
    subprocess.run(reported, cwd=tmp_path, env=env, check=True, capture_output=True)
    subprocess.run(
        reported, cwd=tmp_path, env=env, check=True, capture_output=True
    )  # again: the same
    block = next(b for b in blocks_of(TOP / "README.md") if b.kind == "python")
    (tmp_path / "copied.py").write_text(
        block.text + "\nprint(type(net).__name__, net.activation)\n"
    )
    run = subprocess.run(
        [sys.executable, "copied.py"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    # In a script the class belongs to __main__, which saving refuses with the way out.
    assert "FileNotFoundError" not in run.stderr
    assert (run.returncode, run.stdout, run.stderr) == (0, "LogReg softmax\n", "")


def test_the_demo_overwrites_nothing(tmp_path: Path) -> None:
    from persist import PersistError, demo

    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "logreg_v1.pkl").write_text("mine")
    with pytest.raises(PersistError, match="exists already"):
        demo.write(tmp_path)
    assert (tmp_path / "runs" / "logreg_v1.pkl").read_text() == "mine"
    assert not (tmp_path / "corpus").exists()


def test_the_reference_names_every_public_name() -> None:
    import persist

    text = (TOP / "docs" / "reference.md").read_text()
    for name in persist.__all__:
        assert re.search(rf"\b{re.escape(name)}\b", text), f"reference.md does not name {name}"
    for limit in re.findall(r'"(\w+)"', str(_limits())):
        assert f"`{limit}`" in text, f"reference.md does not name the limit {limit}"


def test_the_api_reference_has_every_public_name() -> None:
    """Modules are taken as a whole; of `persist` each name has its place on a page."""
    import persist

    pages = [page.read_text() for page in sorted((TOP / "docs" / "api").glob("*.md"))]
    entries = re.findall(r"^\.\. auto\w+:: (?:persist\.)?(\S+)", "\n".join(pages), re.MULTILINE)
    modules = {"errors", "ops", "registry"}  # `persist.registry` by its classes
    for name in set(persist.__all__) - modules - {"PersistError", "__version__"}:
        assert name in entries, f"docs/api/ has no directive for persist.{name}"
    assert {"errors", "ops", "tree", "testing", "readers.base", "packs"} <= set(entries)


def _limits() -> list[str]:

    from persist._wire.base.source import Limits

    return [f'"{name}"' for name in Limits._fields]


def test_the_changelog_names_this_version() -> None:
    import persist

    assert f"## {persist.__version__}" in (TOP / "docs" / "changelog.md").read_text()


if __name__ == "__main__":
    runner = Runner(Path(sys.argv[1]))
    for found in blocks_of(runner.page):
        runner.run(found)
