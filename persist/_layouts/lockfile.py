"""The lock file ``schemas.lock``: what every released version of each schema looked like.

TOML, one line for a field, sorted, so that differences are readable and two branches merge by line.
`persist lock` writes it, `persist check` compares it with the code.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from persist._layouts.description import ClassLayout, FieldLayout
from persist.errors import SchemaError

__all__ = ["FORM", "Lock", "LockedSchema", "LockedStep", "LockedVersion", "find_lock", "read_lock"]

FORM = 1
NAME = "schemas.lock"

_HEAD = """\
# What every released version of each schema looked like. Written by `persist lock`; commit it.
# `persist check` compares it with the code: a version that was released never changes again.
"""


@attrs.define
class LockedVersion:
    """One released version.

    Attributes:
        layout: its fields and fingerprint.
        release: of the package that released it; "" if not stated.
        date: when it was locked, ``2024-05-31``.
        releases: that write it, as declared, ``>=1.2,<2``; "" if not declared.
    """

    layout: ClassLayout
    release: str = ""
    date: str = ""
    releases: str = ""


@attrs.define
class LockedStep:
    """One released step.

    Attributes:
        source: hash of what it does: of its source without comments, or of the ready-made steps.
        text: what it does, in a line.
        ops: the ready-made steps as JSON, where they can be written so; else "".
        reversible: whether it says how to go back.
        doc: first line of its docstring.
    """

    source: str
    text: str = ""
    ops: str = ""
    reversible: bool = False
    doc: str = ""


@attrs.define
class LockedSchema:
    """One schema with its versions and steps.

    Attributes:
        name: of the schema.
        cls: dotted name of the class; "" for data alone.
        versions: number -> the version.
        steps: (from, to) -> the step.
        reserved: names of fields that must not come back.
        retired: whether the class was removed on purpose.
    """

    name: str
    cls: str = ""
    versions: dict[int, LockedVersion] = attrs.field(factory=dict)
    steps: dict[tuple[int, int], LockedStep] = attrs.field(factory=dict)
    reserved: tuple[str, ...] = ()
    retired: bool = False

    @property
    def latest(self) -> int:
        """The newest released version; 0 where there is none."""
        return max(self.versions, default=0)


@attrs.define
class Lock:
    """The contents of a lock file.

    Attributes:
        schemas: name -> schema.
        aliases: old dotted name -> where it leads.
        path: the file, if it is one.
    """

    schemas: dict[str, LockedSchema] = attrs.field(factory=dict)
    aliases: dict[str, str] = attrs.field(factory=dict)
    path: Path | None = None

    def to_toml(self) -> str:
        """Return the text of the file."""
        return "\n".join(_lines(self)) + "\n"

    def write(self, path: Path) -> None:
        """Write the file; a crash leaves the old one whole."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(self.to_toml(), encoding="utf-8", newline="\n")
        os.replace(temporary, path)


def _lines(lock: Lock) -> Iterator[str]:
    yield _HEAD
    yield f"format = {FORM}"
    for name in sorted(lock.schemas):
        schema = lock.schemas[name]
        head = f"schemas.{_key(name)}"
        yield f"\n[{head}]"
        yield f"class = {_text(schema.cls)}"
        if schema.retired:
            yield "retired = true"
        if schema.reserved:
            yield f"reserved = [{', '.join(map(_text, sorted(schema.reserved)))}]"
        for number in sorted(schema.versions):
            yield from _version_lines(head, number, schema.versions[number])
        for first, last in sorted(schema.steps):
            yield from _step_lines(head, first, last, schema.steps[first, last])
    if lock.aliases:
        yield "\n[aliases]"
        for old in sorted(lock.aliases):
            yield f"{_key(old)} = {_text(lock.aliases[old])}"


def _version_lines(head: str, number: int, version: LockedVersion) -> Iterator[str]:
    layout = version.layout
    yield f"\n[{head}.versions.{number}]"
    yield f"kind = {_text(layout.kind)}"
    yield f"fingerprint = {_text(layout.fingerprint)}"
    if layout.arities:
        yield f"arity = [{', '.join(map(str, layout.arities))}]"
    if version.release:
        yield f"release = {_text(version.release)}"
    if version.date:
        yield f"date = {_text(version.date)}"
    if version.releases:
        yield f"releases = {_text(version.releases)}"
    if layout.fields:
        yield f"[{head}.versions.{number}.fields]"
    for index, field in enumerate(layout.fields):
        parts = [f"at = {index}"] if layout.kind == "codec" else []
        if field.type:
            parts.append(f"type = {_text(field.type)}")
        if field.dtype:
            parts.append(f"dtype = {_text(field.dtype)}")
        if field.shape is not None:
            extents = (-1 if extent is None else extent for extent in field.shape)
            parts.append(f"shape = [{', '.join(map(str, extents))}]")
        if field.default:
            parts.append("default = true")
        inside = f" {', '.join(parts)} " if parts else ""
        yield f"{_key(field.name)} = {{{inside}}}"


def _step_lines(head: str, first: int, last: int, step: LockedStep) -> Iterator[str]:
    yield f"\n[{head}.steps.{_key(f'{first}-{last}')}]"
    yield f"source = {_text(step.source)}"
    if step.text:
        yield f"does = {_text(step.text)}"
    if step.doc:
        yield f"doc = {_text(step.doc)}"
    if step.ops:
        yield f"ops = {_text(step.ops)}"
    if step.reversible:
        yield "reversible = true"


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _text(text)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# Reading.


def read_lock(path: Path) -> Lock:
    """Read a lock file; an empty lock where there is none.

    Raises:
        SchemaError: it is no lock file, or of a later form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock(path=path)
    lock = parse_lock(text, str(path))
    lock.path = path
    return lock


def parse_lock(text: str, name: str) -> Lock:
    """Return the lock that a text holds.

    Raises:
        SchemaError: it holds none, or one of a later form.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(
            f"the lock file cannot be read: {error}.",
            file=name,
            remedy="If two branches released the same version, count one of them up by one; then resolve "
            "the conflict and run `persist lock` again.",
        ) from error
    form = said.get("format")
    if form != FORM:
        raise SchemaError(
            f"the lock file is of form {form!r}, and this program knows form {FORM}.",
            file=name,
            remedy="Install the release of persist that wrote it (pip install -U persist-state).",
        )
    try:
        schemas = {key: _schema(key, value) for key, value in said.get("schemas", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SchemaError(
            f"the lock file is damaged ({type(error).__name__}: {error}).",
            file=name,
            remedy="Take it from version control, and run `persist lock` again.",
        ) from error
    return Lock(schemas, dict(said.get("aliases", {})))


def _schema(name: str, said: dict[str, Any]) -> LockedSchema:
    found = LockedSchema(name, said.get("class", ""))
    found.retired = bool(said.get("retired", False))
    found.reserved = tuple(said.get("reserved", ()))
    for number, version in said.get("versions", {}).items():
        found.versions[int(number)] = _version(version)
    for key, step in said.get("steps", {}).items():
        first, _, last = key.partition("-")
        found.steps[int(first), int(last)] = LockedStep(
            step["source"], step.get("does", ""), step.get("ops", ""), step.get("reversible", False),
            step.get("doc", ""),
        )  # fmt: skip
    return found


def _version(said: dict[str, Any]) -> LockedVersion:
    fields = []
    for name, row in said.get("fields", {}).items():
        shape = row.get("shape")
        extents = None if shape is None else tuple(None if one < 0 else one for one in shape)
        fields.append(
            FieldLayout(
                name, row.get("type", ""), row.get("dtype", ""), extents, row.get("default", False)
            )
        )
    layout = ClassLayout(
        said["kind"], tuple(fields), tuple(said.get("arity", ())), said["fingerprint"]
    )
    return LockedVersion(
        layout, said.get("release", ""), said.get("date", ""), said.get("releases", "")
    )


def find_lock(start: str | os.PathLike[str] | None) -> Lock:
    """Return the lock file of the project in which a file lies; an empty one where none is found."""
    if start is None:
        return Lock()
    for folder in Path(start).absolute().parents:
        project = folder / "pyproject.toml"
        if (folder / NAME).is_file():
            return read_lock(folder / NAME)
        if project.is_file():
            with project.open("rb") as file:
                try:
                    said = tomllib.load(file).get("tool", {}).get("persist", {})
                except tomllib.TOMLDecodeError:
                    return Lock()
            return read_lock(folder / said["lock"]) if "lock" in said else Lock()
    return Lock()
