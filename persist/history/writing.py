"""Steps and versions written into source files, by small edits at known places.

Everything else in a file stays as it is, byte for byte.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from pathlib import Path
from typing import Any

import attrs

from persist.errors import PersistError
from persist.history.drafting import Draft
from persist.history.locking import layout_of_schema
from persist.history.project import Project

__all__ = ["Edit", "edits_of", "test_of", "write_layouts"]


@attrs.define
class Edit:
    """One source file before and after.

    Attributes:
        path: the file.
        before: its text.
        after: its text as it is to be.
    """

    path: Path
    before: str
    after: str

    def diff(self, name: str) -> str:
        """Return the difference as a unified diff."""
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), name, name, lineterm=""
        )
        return "\n".join(lines)

    def write(self) -> None:
        """Write the file, with the line ends that it has."""
        raw = self.path.read_bytes() if self.path.exists() else b""
        ends = "\r\n" if b"\r\n" in raw else "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.after, encoding="utf-8", newline=ends)


def edits_of(drafts: list[Draft]) -> list[Edit]:
    """Return the edits that bring the drafts' steps and versions into their source files.

    Raises:
        PersistError: a class's source cannot be edited; with what to do by hand.
    """
    edits: dict[Path, Edit] = {}
    for draft in drafts:
        path = _source_file(draft)
        edit = edits.get(path)
        if edit is None:
            text = _text_of(path)
            edit = edits[path] = Edit(path, text, text)
        edit.after = _with_step(edit.after, draft, path)
        if draft.counts:
            edit.after = _with_version(edit.after, draft, path)
    return list(edits.values())


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PersistError(
            f"it is not UTF-8 ({error}).", file=str(path), remedy="Write the step by hand."
        ) from error


def _source_file(draft: Draft) -> Path:
    cls = draft.schema.cls
    try:
        found = inspect.getsourcefile(cls) if cls is not None else None
    except TypeError:
        found = None
    if found is None or not Path(found).is_file():
        raise PersistError(
            f"the source of {draft.schema.qualname} cannot be found.",
            remedy=f"Count its version by hand, and register the step: {_call(draft, 'persist')}",
        )
    return Path(found)


class _Source:
    """A source text with its tree, for edits at the places of nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self.tree = ast.parse(text)

    def at(self, line: int, column: int) -> int:
        """The offset of a node's place; columns count UTF-8 bytes."""
        before = sum(len(one) for one in self.lines[: line - 1])
        return before + len(self.lines[line - 1].encode()[:column].decode())

    def start(self, node: Any) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: Any) -> int:
        return self.at(node.end_lineno, node.end_col_offset)

    def class_of(self, qualname: str) -> ast.ClassDef | None:
        body: list[ast.stmt] = self.tree.body
        found = None
        for name in qualname.split("."):
            found = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)
            if found is None:
                return None
            body = found.body
        return found

    def top_of(self, line: int) -> ast.stmt | None:
        """The statement at the top of the module in which a line is."""
        for node in self.tree.body:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            if first <= line <= (node.end_lineno or line):
                return node
        return None


# The version.


def _with_version(text: str, draft: Draft, path: Path) -> str:
    source = _Source(text)
    cls = draft.schema.cls
    assert cls is not None
    node = source.class_of(cls.__qualname__)
    head: ast.ClassDef | ast.Call | None = node
    registered = _register_call(source, cls.__name__)
    if registered is not None:
        head = registered
    if head is None:
        raise _by_hand(draft, path, "its class statement is not there")
    keyword = next((one for one in head.keywords if one.arg == "version"), None)
    edits: list[tuple[int, int, str]] = []
    if keyword is None:
        last = [
            *(head.bases if isinstance(head, ast.ClassDef) else head.args),
            *(k.value for k in head.keywords),
        ]
        if not last:
            raise _by_hand(draft, path, "its head has no bases")
        end = max(map(source.end, last))
        edits.append((end, end, f", version={draft.to}"))
    elif isinstance(keyword.value, ast.Constant) and type(keyword.value.value) is int:
        edits.append((source.start(keyword.value), source.end(keyword.value), str(draft.to)))
    else:
        raise _by_hand(
            draft, path, f"its version is {ast.unparse(keyword.value)}, which is no number"
        )
    layout = next((one for one in head.keywords if one.arg == "layout"), None)
    if layout is not None and isinstance(layout.value, ast.Constant):
        edits.append(
            (source.start(layout.value), source.end(layout.value), f'"{draft.new.fingerprint}"')
        )
    return _edited(text, edits)


def _register_call(source: _Source, name: str) -> ast.Call | None:
    for node in ast.walk(source.tree):
        is_about = isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]) == name
        if not is_about or not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func).rpartition(".")[2] == "register":
            return node
    return None


def _by_hand(draft: Draft, path: Path, why: str) -> PersistError:
    return PersistError(
        f"the version of {draft.schema.qualname} cannot be counted up: {why}.",
        file=str(path),
        remedy=f"Set it to {draft.to} by hand, and run `persist draft` again: it writes the step.",
    )


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


# The step.


def _with_step(text: str, draft: Draft, path: Path) -> str:
    source = _Source(text)
    cls = draft.schema.cls
    assert cls is not None
    after = source.class_of(cls.__qualname__)
    if after is None:
        raise _by_hand(draft, path, "its class statement is not there")
    last: ast.stmt = source.top_of(after.lineno) or after
    for node in source.tree.body:  # behind the class's other steps, and its registration
        if node.lineno > last.lineno and _is_about(node, cls.__name__, draft.schema.name):
            last = node
    module, more = _name_of_persist(source)
    code = _code(draft, module)
    end = source.at(last.end_lineno or 1, 0) + len(source.lines[(last.end_lineno or 1) - 1])
    glue = "" if text[:end].endswith("\n") else "\n"
    rest = text[end:].lstrip("\n")
    text = f"{text[:end]}{glue}\n\n{code}" + (f"\n\n{rest}" if rest else "")
    return _with_import(text) if more else text


def _is_about(node: ast.stmt, name: str, schema: str) -> bool:
    """Whether a statement registers something for a class: a step, a stamp."""
    calls: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef):
        calls = list(node.decorator_list)
    elif isinstance(node, ast.Expr):
        calls = [node.value]
    for call in calls:
        if isinstance(call, ast.Call) and call.args:
            first = call.args[0]
            is_name = isinstance(first, ast.Name) and first.id == name
            if is_name or (isinstance(first, ast.Constant) and first.value == schema):
                return True
    return False


def _name_of_persist(source: _Source) -> tuple[str, bool]:
    """How the module calls ``persist``, and whether it has to import it."""
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "persist":
                    return alias.asname or "persist", False
    return "persist", True


def _with_import(text: str) -> str:
    source = _Source(text)
    imports = [n for n in source.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if not imports:
        return f"import persist\n\n{text}"
    end = source.end(imports[-1])
    return f"{text[:end]}\nimport persist{text[end:]}"


def _call(draft: Draft, module: str) -> str:
    assert draft.schema.cls is not None
    name = draft.schema.cls.__qualname__
    to = f", to={draft.to}" if draft.to != draft.start + 1 else ""
    calls = [f"{module}.ops.{call}" for call in draft.calls]
    line = f"{module}.migration({name}, {draft.start}, {', '.join(calls)}{to})"
    if len(line) <= 88:
        return line
    inner = "".join(
        f"    {part},\n" for part in (name, draft.start, *calls, *([to[2:]] if to else []))
    )
    return f"{module}.migration(\n{inner})"


def _code(draft: Draft, module: str) -> str:
    """The step as a person would write it: ready-made steps, or a function with what is open."""
    summary = f"Version {draft.to}: {draft.summary}."
    if not draft.questions and draft.calls:
        return f"# {summary}\n{_call(draft, module)}\n"
    assert draft.schema.cls is not None
    cls = draft.schema.cls
    to = f", to={draft.to}" if draft.to != draft.start + 1 else ""
    stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower().strip("_")
    lines = [
        f"@{module}.migration({cls.__qualname__}, {draft.start}{to})",
        f"def {stem}_{draft.start}_to_{draft.to}(state):",
        f'    """{summary}"""',
    ]
    packed = [call for call in draft.calls if call.startswith("pack(")]
    for call in draft.calls:
        if call not in packed:
            lines.append(f"    state = {module}.ops.{call}.apply(state)")
    if not draft.questions:
        lines.append("    return state")
        return "\n".join(lines) + "\n"
    for question in draft.questions:
        lines += [
            "    raise NotImplementedError(",
            f"        {_text(f'{draft.schema.name} {draft.start} to {draft.to}, to be filled in: {question}.')}",
            "    )",
        ]
    lines += [f"    # return {module}.ops.{call}.apply(state)" for call in packed] or [
        "    # return state"
    ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return f'"{text}"' if '"' not in text and "\\" not in text else repr(text)


def test_of(project: Project, draft: Draft) -> Edit:
    """Return the edit that adds a test of the step: a golden file of the old version loads."""
    path = project.golden_path.parent / "test_migrations.py"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    assert draft.schema.cls is not None
    stem = re.sub(
        r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", draft.schema.cls.__name__)
    ).lower()
    name = f"test_{stem}_{draft.start}_to_{draft.to}"
    if f"def {name}(" in before:
        return Edit(path, before, before)
    head = before or '"""Old files load as today\'s classes."""\n\nimport persist.testing\n'
    code = (
        f"\n\ndef {name}():\n"
        f'    """Version {draft.to}: {draft.summary}."""\n'
        f"    persist.testing.check_golden({draft.schema.name!r}, version={draft.start})\n"
    ).replace("'", '"')
    return Edit(path, before, head.rstrip("\n") + "\n" + code)


test_of.__test__ = False  # type: ignore[attr-defined] # it makes tests, and is none


# Layouts.


def write_layouts(project: Project) -> list[str]:
    """Put ``layout=`` into the head of each class of a project; return what was done, in words."""
    registry = project.load()
    done = []
    for schema in project.schemas():
        cls = schema.cls
        if cls is None or cls in registry._registered:
            continue
        path = Path(inspect.getsourcefile(cls) or "")
        if not path.is_file():
            continue
        text = _text_of(path)
        source = _Source(text)
        node = source.class_of(cls.__qualname__)
        mark = layout_of_schema(schema, registry).fingerprint
        if node is None or not node.bases or not mark:
            continue
        keyword = next((one for one in node.keywords if one.arg == "layout"), None)
        if keyword is not None:
            edit = (source.start(keyword.value), source.end(keyword.value), f'"{mark}"')
        else:
            end = max(map(source.end, [*node.bases, *(one.value for one in node.keywords)]))
            edit = (end, end, f', layout="{mark}"')
        after = _edited(text, [edit])
        if after != text:
            Edit(path, text, after).write()
            done.append(f"{project.shown(path)}: {cls.__qualname__} has layout={mark!r}")
    return done
