"""The user's own knowledge on the command line: modules to import, folders of migrations."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from persist.errors import PersistError

if TYPE_CHECKING:  # imported when it is needed, so that `--help` is quick
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
        help="import a module that declares your classes and migrations; may be repeated",
    )
    parser.add_argument(
        "--migrations",
        metavar="FOLDER",
        action="append",
        default=[],
        help="a folder of such modules, each with a registry named 'pack' or none; may be repeated",
    )


def registry_of(args: argparse.Namespace) -> Registry:
    """Import what the command line names, and return the registry that knows it.

    Raises:
        PersistError: a module or folder cannot be imported.
    """
    from persist.registry import Registry, default_registry

    here = os.getcwd()
    if args.imports and here not in sys.path:
        sys.path.insert(0, here)
    for name in args.imports:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a user's module raises
            raise PersistError(
                f"--import {name}: {type(error).__name__}: {error}.",
                remedy="Name a module that Python can import from here.",
            ) from error
    packs = [pack for folder in args.migrations for pack in _packs_in(Path(folder))]
    if not packs:
        return default_registry
    return Registry("command line", parents=(default_registry, *packs))


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
        # A pack may be called like the library that it knows; that name stays the library's.
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
