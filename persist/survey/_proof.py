"""Does a drafted module load every file of its folder? It is imported, and each file loaded."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import attrs

from persist._api.load import load
from persist.errors import OpaqueWarning, PersistError, UnknownFieldWarning, UnknownFormatError

__all__ = ["Proof", "prove"]


@attrs.define
class Proof:
    """What came of loading files with a drafted module.

    Attributes:
        loaded: files of which every object of a drafted class was made.
        failed: file -> why it does not load.
        partly: file -> what stayed a record, or which fields were left out.
        unknown: files of no known format.
    """

    loaded: int = 0
    failed: dict[str, str] = attrs.field(factory=dict)
    partly: dict[str, str] = attrs.field(factory=dict)
    unknown: int = 0

    def __str__(self) -> str:
        count = self.loaded + len(self.partly)
        lines = [f"{count:,} file{'s' * (count != 1)} load with it"]
        for name, why in self.failed.items():
            lines.append(f"does not load: {name}: {why}")
        for name, why in self.partly.items():
            lines.append(f"loads in part: {name}: {why}")
        return "\n".join(lines)


def prove(module: Path, files: Iterable[str]) -> Proof:
    """Import a module from a file, and load files with what it declares.

    Raises:
        PersistError: it cannot be imported.
    """
    _import(module)
    proof = Proof()
    for name in files:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                load(name)
            except UnknownFormatError:
                proof.unknown += 1
                continue
            except (PersistError, OSError, MemoryError, RecursionError) as error:
                # The file is named once, in front.
                text = str(error).removeprefix(name).lstrip(":, ")
                proof.failed[name] = text or type(error).__name__
                continue
            except Exception as error:  # what the module's own code raises
                proof.failed[name] = f"{type(error).__name__}: {error}"
                continue
        notes = [
            str(one.message).removeprefix(name).lstrip(":, ").partition(". ")[0]
            for one in said
            if issubclass(one.category, OpaqueWarning | UnknownFieldWarning)
        ]
        if notes:
            proof.partly[name] = "; ".join(dict.fromkeys(notes))
        else:
            proof.loaded += 1
    return proof


def _import(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PersistError(
            f"{path.name!r} is no name of a module of Python.",
            file=str(path),
            remedy="Choose one that ends in .py.",
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the module raises
        del sys.modules[path.stem]
        raise PersistError(
            f"the module cannot be imported: {type(error).__name__}: {error}.",
            file=str(path),
            remedy="Correct it by hand; it was written as drafted.",
        ) from error
