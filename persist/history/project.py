"""The project: ``[tool.persist]`` of ``pyproject.toml``, and its modules, imported.

[tool.persist]
import = ["mylib.models"]       # modules that declare classes and steps
lock = "schemas.lock"
golden = "tests/golden"
path = ["src"]                  # folders to import from; the project's own and src by default
reuse = ["mylib.Layer.cache"]   # fields whose names came back on purpose
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from persist._layouts.checks import unchecked_heads
from persist._layouts.lockfile import Lock, read_lock
from persist.errors import PersistError, SchemaError
from persist.registry import Registry, default_registry
from persist.schema import Schema

__all__ = ["Project", "find_project"]

_PACKAGE = Path(__file__).parents[1]  # the folder of persist itself
_KEYS = {
    *("import", "lock", "golden", "path", "reuse", "release", "laws", "foundry"),
}  # fmt: skip


@attrs.define
class Project:
    """A project and its settings.

    Attributes:
        folder: where ``pyproject.toml`` is; the working directory where there is none.
        modules: that declare classes and steps.
        lock_path: the lock file.
        golden_path: the folder of golden files.
        has_golden: whether the settings name that folder.
        paths: folders to import from.
        reuse: fields whose names came back on purpose, ``schema.field``.
        release: of the package, where it is known.
        laws: whether the pytest plugin runs the laws.
        recipes: of the foundry, by name.
        is_imported: whether the modules have been imported.
    """

    folder: Path
    modules: list[str] = attrs.field(factory=list)
    lock_path: Path = attrs.field(default=Path("schemas.lock"))
    golden_path: Path = attrs.field(default=Path("tests/golden"))
    has_golden: bool = False
    paths: list[str] = attrs.field(factory=list)
    reuse: frozenset[str] = frozenset()
    release: str = ""
    laws: bool = False
    recipes: dict[str, object] = attrs.field(factory=dict)
    is_imported: bool = False

    def load(self) -> Registry:
        """Import the modules, and return the registry that knows their classes.

        Raises:
            PersistError: none are named, or one cannot be imported.
        """
        if self.is_imported:
            return default_registry
        for error in self.import_errors():
            raise error from error.__cause__
        return default_registry

    def import_errors(self) -> list[PersistError]:
        """Import the modules, and return what is wrong in them, one error for each module that fails.

        The place of an error is the line of the user's module. An error that a declaration raised (an
        alias with two targets, a step that is registered twice) has the fact ``declaration``.

        Raises:
            PersistError: no modules are named.
        """
        if self.is_imported:
            return []
        if not self.modules:
            raise PersistError(
                "no modules are named that declare your classes.",
                file=str(self.folder / "pyproject.toml"),
                remedy='Add a table [tool.persist] with import = ["yourpackage.models"], or name them with '
                "--import MODULE.",
            )
        for path in reversed(self.paths):
            if path not in sys.path:
                sys.path.insert(0, path)
        errors: dict[str, PersistError] = {}
        for name in self.modules:
            try:
                with unchecked_heads():  # reported by the check, and mended by a draft
                    importlib.import_module(name)
            except Exception as error:  # whatever a user's module raises
                made = self._import_error(name, error)
                errors.setdefault(str(made), made)
        self.is_imported = not errors
        return list(errors.values())

    def _import_error(self, name: str, error: Exception) -> PersistError:
        place, is_ours = _place_of(error)
        where = "" if place is None else f"{self.shown(place[0])}:{place[1]}"
        if is_ours and where:
            what = error.what if isinstance(error, PersistError) else f"{error}".rstrip(".") + "."
            inner = error.where if isinstance(error, PersistError) else None
            # An alias names its own line, which is the one of the traceback.
            is_place = bool(inner) and place is not None and str(inner).startswith(place[0])
            facts: dict[str, Any] = dict(error.facts) if isinstance(error, PersistError) else {}
            made = type(error) if isinstance(error, SchemaError) else SchemaError
            return made(
                f"{inner}: {what}" if inner and not is_place else what,
                where=where,
                remedy=(error.remedy if isinstance(error, PersistError) else "")
                or f"The declaration in {where} is refused: correct it there.",
                **{**facts, "declaration": True},
            ).with_traceback(error.__traceback__)
        is_missing = isinstance(error, ModuleNotFoundError) and name.startswith(error.name or "?")
        said = f"{type(error).__name__}: {error}".rstrip(".")
        made_here = PersistError(
            f"the module {name!r} cannot be imported: {said}.",
            file=str(self.folder / "pyproject.toml"),
            where=where or None,
            remedy=f"It is looked for in {', '.join(self.paths) or 'no folder of the project'} and where "
            'Python looks; path = ["..."] in [tool.persist] adds folders.'
            if is_missing
            else f"Correct {where or 'the module'}; `python -c 'import {name}'` must end without an error.",
        )
        made_here.__cause__ = error
        return made_here

    def schemas(self) -> list[Schema]:
        """Return the schemas that the project declares, by name; not those of its dependencies."""
        registry = self.load()
        return [schema for schema in registry.schemas() if self._is_ours(schema, registry)]

    def _is_ours(self, schema: Schema, registry: Registry) -> bool:
        if schema.cls is not None:
            return self.owns(schema.cls.__module__)
        steps = registry.migrations(schema.name).values()
        places = [step.module for step in steps]
        places += [stamp.origin.module for stamp in registry.stamps(schema.name)]
        return any(map(self.owns, places or [schema.qualname]))

    def owns(self, module: str) -> bool:
        """Whether a module belongs to the packages of the modules that are named."""
        tops = {name.partition(".")[0] for name in self.modules}
        return module.partition(".")[0] in tops

    def lock(self) -> Lock:
        """Return the lock file as it is; an empty one where there is none."""
        return read_lock(self.lock_path)

    def shown(self, path: str | os.PathLike[str]) -> str:
        """Return a path as a message has it: relative to the project where it lies in it."""
        try:
            return Path(path).absolute().relative_to(self.folder.absolute()).as_posix()
        except ValueError:
            return str(path)


def _place_of(error: Exception) -> tuple[tuple[str, int] | None, bool]:
    """Return the file and line of the user's code that raised an error, and whether it called us.

    Of a syntax error, the file and line that it names.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return (error.filename, error.lineno or 1), False
    place, is_ours = None, False
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith("<"):  # importlib's own frames
            continue
        if Path(frame.filename).is_relative_to(_PACKAGE):
            is_ours = True
            continue
        place, is_ours = (frame.filename, frame.lineno or 1), False
    return place, is_ours


def find_project(start: Path | None = None, imports: Iterable[str] = ()) -> Project:
    """Return the project of a folder: the next ``pyproject.toml`` upwards.

    Args:
        start: the folder; None is the working directory.
        imports: modules in addition to those that the settings name.

    Raises:
        SchemaError: the settings cannot be understood.
    """
    start = Path.cwd() if start is None else start
    found = next(
        (one for one in (start, *start.parents) if (one / "pyproject.toml").is_file()), None
    )
    folder = start if found is None else found
    said: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    if found is not None:
        place = found / "pyproject.toml"
        try:
            whole = tomllib.loads(place.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise SchemaError(
                f"it cannot be read: {error}.", file=str(place), remedy="Mend the TOML."
            ) from error
        said = whole.get("tool", {}).get("persist", {})
        _refuse_unknown(said, place)
    paths = [
        str(folder / path) for path in said.get("path", ("", "src")) if (folder / path).is_dir()
    ]
    release = said.get("release", whole.get("project", {}).get("version", ""))
    return Project(
        folder,
        list(dict.fromkeys((*said.get("import", ()), *imports))),
        folder / said.get("lock", "schemas.lock"),
        folder / said.get("golden", "tests/golden"),
        "golden" in said,
        paths,
        frozenset(said.get("reuse", ())),
        str(release),
        bool(said.get("laws", False)),
        dict(said.get("foundry", {})),
    )


def _refuse_unknown(said: dict[str, object], place: Path) -> None:
    unknown = sorted(said.keys() - _KEYS)
    if unknown:
        raise SchemaError(
            f"[tool.persist] has {', '.join(map(repr, unknown))}, which nobody knows.",
            file=str(place),
            remedy=f"It may have {', '.join(sorted(_KEYS))}.",
        )
    for key in ("import", "path", "reuse"):
        if isinstance(said.get(key, ()), str):
            raise SchemaError(
                f"[tool.persist] {key} is a text.",
                file=str(place),
                remedy=f'Give a list: {key} = ["{said[key]}"].',
            )
