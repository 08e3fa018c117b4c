"""Declarations from the command line: modules to import, folders of migrations."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from persist.errors import PersistError

if TYPE_CHECKING:  # imported lazily, so that `--help` is fast
    from persist.registry import Registry

__all__ = ["add", "registry_of"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare ``--import`` and ``--migrations``."""
    parser.add_argument(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="import a module (its name, or the path of its file) that declares your classes and "
        "migrations; may be repeated",
    )
    parser.add_argument(
        "--migrations",
        metavar="FOLDER",
        action="append",
        default=[],
        help="a folder of such modules, each with a registry named 'pack' or none; may be repeated",
    )


def registry_of(args: argparse.Namespace) -> Registry:
    """Import the modules that the command line names, and return the registry with their declarations.

    Raises:
        PersistError: a module or folder cannot be imported.
    """
    from persist.registry import Registry, default_registry

    here = os.getcwd()
    if args.imports and here not in sys.path:
        sys.path.insert(0, here)
    for name in args.imports:
        try:
            _import(name)
        except PersistError:
            raise
        except Exception as error:  # whatever a user's module raises
            raise PersistError(
                f"--import {name}: {type(error).__name__}: {error}.",
                remedy="Name a module that Python can import from here.",
            ) from error
    packs = [pack for folder in args.migrations for pack in _packs_in(Path(folder))]
    if not packs:
        return default_registry
    return Registry("command line", parents=(default_registry, *packs))


def _import(name: str) -> None:
    """Import a module by its name, or by the path of its file."""
    if not name.endswith(".py") and os.sep not in name and "/" not in name:
        importlib.import_module(name)
        return
    path = Path(os.path.abspath(name))
    path = path / "__init__.py" if path.is_dir() else path
    if not path.is_file():
        raise PersistError(
            f"--import {name}: there is no such file.", remedy="Name a module, or a file of Python."
        )
    # Files name classes by the module name that programs import, so the import starts at the top package.
    parts = [] if path.stem == "__init__" else [path.stem]
    top = path.parent
    while (top / "__init__.py").is_file():
        parts.insert(0, top.name)
        top = top.parent
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    found = importlib.import_module(".".join(parts))
    if os.path.realpath(found.__file__ or "") != os.path.realpath(path):
        raise PersistError(
            f"--import {name}: another module has the name {found.__name__!r}: {found.__file__}.",
            remedy="Rename the file.",
        )


def _packs_in(folder: Path) -> list[Registry]:
    from persist.registry import Registry

    if not folder.is_dir():
        raise PersistError(
            f"--migrations {folder}: there is no such folder.",
            remedy="Name a folder of Python modules.",
        )
    packs = []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        # A pack may have the name of its library, which must stay importable under that name.
        name = f"_persist_migrations.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise PersistError(
                f"--migrations {path}: {type(error).__name__}: {error}.",
                remedy="The module must import without an error.",
            ) from error
        pack = getattr(module, "pack", None)
        if isinstance(pack, Registry):
            packs.append(pack)
    return packs
