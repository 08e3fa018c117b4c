"""What a program declares: modules to import, folders of migrations. The same in every worker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from persist.errors import PersistError

if TYPE_CHECKING:
    from persist.registry import Registry

__all__ = ["modules_of", "registry_of"]


def registry_of(imports: Iterable[str], migrations: Iterable[str] = ()) -> Registry:
    """Import modules, and return the registry with their declarations.

    Args:
        imports: names of modules, or paths of their files.
        migrations: folders of modules, each with a registry named ``pack`` or none.

    Raises:
        PersistError: a module or folder cannot be imported.
    """
    from persist.registry import Registry, default_registry

    here = os.getcwd()
    imports = list(imports)
    if imports and here not in sys.path:
        sys.path.insert(0, here)
    for name in imports:
        try:
            _import(name)
        except PersistError:
            raise
        except Exception as error:  # whatever a user's module raises
            raise PersistError(
                f"--import {name}: {type(error).__name__}: {error}.",
                remedy="Name a module that Python can import from here.",
            ) from error
    packs = [pack for folder in migrations for pack in _packs_in(Path(folder))]
    if not packs:
        return default_registry
    return Registry("command line", parents=(default_registry, *packs))


def modules_of(registry: Registry) -> list[str]:
    """Return the modules that declare what a registry and its parents know, for workers to import.

    What is declared in a script that runs as ``__main__`` is left out.
    """
    names: set[str] = set()
    for schema in registry.schemas():
        if schema.cls is not None:
            names.add(schema.cls.__module__)
        names.update(step.module for step in registry.migrations(schema.name).values())
        names.update(stamp.origin.module for stamp in registry.stamps(schema.name))
    for one in registry._line():
        for alias in (*one._aliases.values(), *one._prefixes.values()):
            names.add("" if alias.origin is None else alias.origin.module)
    shipped = ("persist.", "builtins", "__main__", "_persist_migrations")
    return sorted(
        name for name in names if name and name in sys.modules and not name.startswith(shipped)
    )


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
