"""What could not be made of a file: noted while it is built, reported when all is."""

from __future__ import annotations

import enum
import sys
import warnings
from collections.abc import Callable
from typing import Any

from persist._instances.builtin_bases import builtin_of
from persist._objects.names import Names
from persist._objects.trust import (
    Missing,
    Trust,
    constant_call,
    missing_below,
    refused,
)
from persist._torch_modules.reviving import prepare
from persist._upgrade.plan import located
from persist.errors import (
    OpaqueWarning,
    PersistError,
    RestoreError,
    SchemaError,
    UnknownSchemaError,
)
from persist.registry import Registry
from persist.registry._declarations import user_stacklevel
from persist.registry._enums import class_here, lost_member
from persist.registry._rebuilds import is_installed
from persist.tree import (
    ABSENT,
    Global,
    Record,
)

__all__ = ["Reports"]


def _can_be_declared(cls: object) -> bool:
    try:
        return isinstance(cls, type) and builtin_of(cls) is not None
    except SchemaError:
        return False


class Reports(Names):
    """Notes records and names that stay as they are, and reports them with a remedy."""

    def __init__(
        self,
        registry: Registry,
        trust: Trust,
        file: str | None,
        is_known: Callable[[Record], bool],
        *,
        live: bool,
    ) -> None:
        super().__init__(registry, trust, file, live=live)
        self._is_known = is_known
        self._reasons: dict[str, str] = {}  # class that no object could be made of -> why
        self._inside = (
            0  # records of a library that a pack reads: their contents are not ours to report
        )
        self._is_in_record = (
            0  # depth in records that stay: they are reported, their contents are not
        )
        self._opaque: dict[str, tuple[Record, str, int, bool]] = {}
        self._named: dict[str, str] = {}  # name without a value -> path of its first use
        self._held_back: dict[int, Record] = {}  # trusted, and not made because parts are missing
        self._missing = Missing()

    def hold_back(self, tree: object) -> None:
        """Find the trusted records that cannot be made whole, before anything is made."""
        if not self._trust and not self._makes_modules and not self._makes_instances:
            return
        prepare(tree, self._trusted_class, self._registry)

        def is_trusted(record: Record) -> bool:
            return self._class_of(record)[1] == "trusted"

        found = refused(tree, is_trusted, self._is_inert)
        self._held_back = {id(record): record for record in found}
        self._missing = missing_below(found, self._is_inert)

    def _guarded(self, record: Record, path: str, act: Callable[[], object]) -> object:
        """Run code of a user's class, and add the place to the error that it raises."""
        cure = "declare the class" if record.version is None else "count version= up"
        return self._reporting(
            located(record.qualname, path),
            f"If its state is an older one, {cure} and register a migration.",
            act,
        )

    def _reporting(self, where: str, remedy: str, act: Callable[[], object]) -> object:
        try:
            return act()
        except PersistError as error:
            raise error.at(file=self._file, where=where) from error.__cause__
        except Exception as error:
            raise RestoreError(
                f"its class raised {type(error).__name__}: {error}.",
                file=self._file,
                where=where,
                remedy=remedy,
            ) from error

    def _global(self, named: Global) -> Any:
        """The class, function or constant that a name is declared to mean, else the inert name."""
        value = self._value_named(named)
        if value is not ABSENT:
            return value
        if not self._is_in_record:
            self._named.setdefault(named.qualname, self.path)
        return named

    def _note_opaque(self, record: Record) -> bool:
        """Note a class that stays a record; return whether a pack looks into it."""
        if self._inside:
            return False
        is_reported = record.qualname in (*self._missing.classes, *self._missing.calls)
        if id(record) in self._held_back or is_reported:
            return False  # reported together with the missing parts
        known = self._is_known(record)
        noted = self._opaque.get(record.qualname)
        first, path, count, _ = noted or (record, self.path, 0, known)
        self._opaque[record.qualname] = (first, path, count + 1, known)
        return known

    def report(self, strict: bool) -> None:
        """Warn about classes that stayed records, with the remedy; an error if strict."""
        self._refuse_opaque(strict)
        self._report_held_back()
        self._report_names()
        for name, (record, path, count, known) in self._opaque.items():
            if name in self._reasons:
                warnings.warn(
                    f"{self._file or 'the file'}{f', at {path!r}' if path else ''}: {name} stayed a "
                    f"record, since no object of it can be made: {self._reasons[name]}. "
                    "persist.open(...).arrays and .scalars give what is inside.",
                    OpaqueWarning,
                    stacklevel=user_stacklevel(),
                )
                continue
            many = f"{count} instances" if count > 1 else "an instance"
            place = f" (the first at {path!r})" if path else ""
            warnings.warn(
                f"{self._file or 'the file'}: {name} is not declared here; {many}{place} "
                f"stayed a record, with every field as it is in the file. "
                f"{self._cure(record, known)}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _refuse_opaque(self, strict: bool) -> None:
        if not strict:
            return
        if self._held_back:
            raise UnknownSchemaError(
                self._text_of_held_back(),
                file=self._file,
                remedy=self._missing.cure(self._trust.names),
                names=[*self._missing.classes, *self._missing.calls, *self._missing.names],
            )
        if self._opaque:
            shown = ", ".join(
                f"{name} (at {seen[1]!r}{f': {self._reasons[name]}' if name in self._reasons else ''})"
                for name, seen in self._opaque.items()
            )
            raise UnknownSchemaError(
                f"of {len(self._opaque)} classes no objects can be made here: {shown}.",
                file=self._file,
                remedy="persist.open(...).arrays gives what is inside."
                if self._opaque.keys() <= self._reasons.keys()
                else "Import the modules that declare them, or see `persist explain`.",
                names=list(self._opaque),
            )

    def _text_of_held_back(self) -> str:
        names = list(dict.fromkeys(record.qualname for record in self._held_back.values()))
        one = len(names) == 1
        how = "trusted" if self._trust else "known"
        return (
            f"{', '.join(names)} {'is' if one else 'are'} {how}, but stayed "
            f"{'a record' if one else 'records'}, since parts of {'it' if one else 'them'} cannot be "
            f"made: {self._missing.text()}."
        )

    def _report_held_back(self) -> None:
        if self._held_back:
            warnings.warn(
                f"{self._file or 'the file'}: {self._text_of_held_back()} "
                f"{self._missing.cure(self._trust.names)}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _report_names(self) -> None:
        """Warn about names of functions, classes and members of enums that have no value here."""
        for name, path in self._named.items():
            owner = class_here(name.rpartition(".")[0])
            if isinstance(owner, enum.EnumMeta):
                error = lost_member(owner, name)
                text = f"{error.what} {error.remedy}"
            else:
                text = (
                    f"{name} stayed a name: the function, class or constant is not declared here. "
                    f"Import the module that declares it, or call {constant_call(name)}."
                )
            warnings.warn(
                f"{self._file or 'the file'}{f', at {path!r}' if path else ''}: {text}",
                OpaqueWarning,
                stacklevel=user_stacklevel(),
            )

    def _library_wanted(self, name: str) -> str:
        """The package without which no object of a class is made, though a pack knows how; or ""."""
        if not self._live:
            return ""
        listed = self._registry._rebuild_listed(self._registry.resolve(name))
        return "" if listed is None or is_installed(listed.library) else listed.distribution

    def _cure(self, record: Record, known: bool) -> str:
        """The remedy for a class that stayed a record."""
        name, module = record.qualname, record.cls.module
        missing = missing_below(record, self._is_inert)
        parts = []
        library = self._library_wanted(name)
        if known:
            parts.append("persist.open(...).arrays gives what is inside as plain arrays")
        if library:
            parts.append(f"with {library} installed, an object of it is made")
        elif known:
            pass
        elif module and module not in ("__main__", "matlab") and module not in sys.modules:
            parts.append(f"`import {module}` first if it declares the class")
        elif _can_be_declared(class_here(name)):
            parts.append("declare it with persist.register or persist.Versioned")
        if module == "matlab":  # the name that our reader gives to what MATLAB's own classes are
            parts.append(
                "MATLAB alone makes objects of its classes; persist.open(...).tree shows the fields"
            )
        elif not known and not library:
            parts.append(f"persist.alias({name!r}, NewClass) if it moved")
        if missing.classes and not missing.calls and not (known or library or module == "matlab"):
            names = dict.fromkeys((name, *self._trust.names, *missing.classes))
            calls = "".join(f" and {constant_call(one)}" for one in missing.names)
            parts.append(f"trust=[{', '.join(map(repr, names))}]{calls} to make it as pickle would")
        return f"{'; or '.join(part for part in ('; '.join(parts[:-1]), parts[-1]) if part)}."
