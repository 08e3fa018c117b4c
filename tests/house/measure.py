"""Measure the code base: sizes, floors, density of comments and docstrings, words to avoid.

Run by ``make measure``. With a second argument, the figures of two checkouts side by side::

    python tests/house/measure.py [FOLDER [OTHER]]
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
# The dialect that the project's first year was written in; CI keeps it out (see pyproject.toml).
WORDS = ("told", "stands", "heir", "heirs", "road", "course", "untold", "beside")


def sources(top: Path) -> list[Path]:
    """The files that are shipped."""
    return sorted([*top.glob("persist/**/*.py"), *top.glob("migrations/**/*.py")])


def functions(tree: ast.AST) -> Iterator[tuple[ast.FunctionDef, int]]:
    """Each function with its length in lines, docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1
            yield node, lines - (doc.count("\n") + 1 if doc else 0)  # type: ignore[misc]


def docstring_lines(tree: ast.AST) -> int:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = (
        ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, owners)
    )
    return sum(doc.count("\n") + 1 for doc in docs if doc)


def comments(text: str) -> int:
    """Lines with a comment that is no instruction to a tool."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return sum(not re.match(r"#\s*(type:|noqa|fmt:|pragma)", comment) for comment in found)


def floors(top: Path) -> int:
    page = (top / "docs" / "architecture.md").read_text()
    block = re.search(r"^```floors\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return block[1].count("\n") if block else 0


def measure(top: Path) -> dict[str, float]:
    """All figures of a checkout, by name."""
    paths = sources(top)
    texts = {path: path.read_text() for path in paths}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = sum(text.count("\n") for text in texts.values())
    lengths = [length for tree in trees.values() for _, length in functions(tree)]
    folders = Counter(path.parent.relative_to(top).as_posix() for path in paths)
    shown = [entry for entry in (top / "persist").iterdir() if entry.name != "__pycache__"]
    words = " ".join(texts.values())
    figures: dict[str, float] = {
        "files": len(paths),
        "lines": lines,
        "entries of persist/": len(shown),
        "modules in the fullest folder": max(folders.values()),
        "lines of the floors page": floors(top),
        "longest file": max(text.count("\n") for text in texts.values()),
        "files over 500 lines": sum(text.count("\n") > 500 for text in texts.values()),
        "median function": statistics.median(lengths),
        "longest function": max(lengths),
        "functions over 60 lines": sum(length > 60 for length in lengths),
        "Any per 100 lines": 100 * len(re.findall(r"\bAny\b", words)) / lines,
        "comments per 100 lines": 100 * sum(map(comments, texts.values())) / lines,
        "docstring lines per 100 lines": 100 * sum(map(docstring_lines, trees.values())) / lines,
    }
    for word in WORDS:
        figures[f"the word {word!r}"] = len(re.findall(rf"\b{word}\b", words))
    return figures


def main(arguments: list[str]) -> None:
    tops = [Path(argument) for argument in arguments] or [TOP]
    columns = [measure(top) for top in tops]
    for name in columns[0]:
        print(f"{name:32}", *(f"{column[name]:12,.5g}" for column in columns))
    if len(tops) == 1:
        print()
        folders = Counter(path.parent.relative_to(tops[0]).as_posix() for path in sources(tops[0]))
        for folder, count in sorted(folders.items()):
            print(f"{folder:40}{count:5}")


if __name__ == "__main__":
    main(sys.argv[1:])
