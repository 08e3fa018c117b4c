"""What a name in a file means here: a class, a function, a constant, or nothing."""

from __future__ import annotations

import enum
import importlib
from typing import Any

from persist._objects.trust import (
    Trust,
    constant_call,
    is_made_by_its_class,
)
from persist._torch_modules.classes import is_torchs_own
from persist._torch_modules.reviving import function_named
from persist._trees import numpy_random
from persist._trees.driver import Driver
from persist.errors import (
    RestoreError,
    UnknownSchemaError,
    UntrustedError,
)
from persist.registry import Registry
from persist.registry._enums import attribute_of, class_here, member_named, member_of
from persist.registry._rebuilds import Rebuild
from persist.tree import (
    ABSENT,
    Global,
    Record,
)

__all__ = ["CONSTANT", "Names"]

_MODULE = "torch.nn.modules.module.Module"
CONSTANT = "persist.versioned._constant"  # how a plain pickle of ours spells a constant


class Names(Driver):
    """Finds the classes and values that names of a file mean; imports only what the user trusts or a pack lists."""

    def __init__(self, registry: Registry, trust: Trust, file: str | None, *, live: bool) -> None:
        super().__init__()
        self._registry = registry
        self._trust = trust
        self._file = file
        self._live = live
        self._classes: dict[Global, Any] = {}
        self._values: dict[Global, tuple[Any]] = {}  # the values of names
        self._rebuilds: dict[str, Rebuild | None] = {}

    @property
    def _makes_modules(self) -> bool:
        """Whether modules of torch's own classes are made: its pack is asked, and torch is installed."""
        return self._live and self._registry.importable_for(_MODULE) is not None

    @property
    def _makes_instances(self) -> bool:
        """Whether the file names a class of the standard library whose instances are made."""
        return any(one.makes_instances for one in self._registry._line())

    def _trusted_class(self, record: Record) -> object:
        cls, how = self._class_of(record)
        return cls if how == "trusted" else None

    def _is_inert(self, value: Any) -> bool:
        """True if a record or a name is left as it is."""
        if type(value) is Global:
            return self._value_named(value) is ABSENT
        if value.cls.qualname == CONSTANT and len(value.args) == 1:
            name = value.args[0]
            return type(name) is not str or self._registry.constant_named(name) is ABSENT
        if self._class_of(value)[0] is not None or numpy_random.is_random(value):
            return False
        if self._rebuild_of(value) is not None:
            return False
        return member_of(value, self._registry) is ABSENT

    def _rebuild_of(self, record: Record) -> Rebuild | None:
        name = record.qualname
        if name not in self._rebuilds:
            self._rebuilds[name] = self._rebuild_named(record)
        return self._rebuilds[name]

    def _rebuild_named(self, record: Record) -> Rebuild | None:
        """How a pack makes objects of a record's class; None where ``trust=`` is to make them.

        That is so if the user trusts the class, and the pack does not know the installed release.
        """
        found = self._registry.rebuild_for(self._registry.resolve(record.qualname))
        if found is not None and not (self._live or found.always):
            return None
        if found is not None and self._trust and self._class_of(record)[1] == "trusted":
            try:
                found.requires()
            except RestoreError:
                return None
        return found

    def _class_of(self, record: Record) -> tuple[Any, str]:
        known = self._classes.get(record.cls)
        if known is None:
            known = self._classes[record.cls] = self._find(record)
        if known[1] == "trusted":
            if isinstance(known[0], enum.EnumMeta):
                return self._trusted_member(record)
            if not is_made_by_its_class(record):
                return None, "opaque"
        if known[1] == "declared" and record.version is None:  # not upgraded: migrate=False
            return None, "opaque"
        return known

    def _find(self, record: Record) -> tuple[Any, str]:
        qualname = record.qualname
        cls = self._registry.class_for(qualname)
        if cls is not None:
            return cls, "declared"
        if self._trust.has_exactly(qualname):
            return self._imported(record.cls), "trusted"
        listed = self._registry.importable_for(self._registry.resolve(qualname))
        if listed is not None and (self._makes_modules or listed.instances):
            found = self._declared_importable(record.cls)
            if isinstance(found, type) and (listed.instances or is_torchs_own(found)):
                return found, "trusted"
        if self._trust.has_pattern_of(qualname):
            found = class_here(qualname)
            # Where it is at home, too: a module imports others' classes.
            home = f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else ""
            if home and self._trust.has_pattern_of(home):
                return found, "trusted"
        return None, "opaque"

    def _trusted_member(self, record: Record) -> tuple[object, str]:
        """The member of an enum that is trusted, and so was imported."""
        found = member_of(record, self._registry)
        return (None, "opaque") if found is ABSENT else (found, "member")

    def _imported(self, named: Global) -> type:
        """Import the class that ``trust`` names exactly."""
        found = self._import(named)
        if isinstance(found, type):
            return found
        is_class = (
            "which is not there" if found is None else f"a {type(found).__name__}, not a class"
        )
        cure = f"Call {constant_call(named.qualname)}, if it is used as a value; "
        raise UntrustedError(
            f"trust= names {named.qualname!r}, {is_class}.",
            file=self._file,
            where=self.path or None,
            remedy=f"{'' if found is None else cure}"
            f"{'only' if found is not None else 'Only'} classes are made of what a file says, and "
            "functions are never called: without this name in trust=, its records stay.",
            names=[named.qualname],
        )

    def _import(self, named: Global) -> object:
        """What a trusted name means; its module is imported, however the file parts the name."""
        module, _, name = named.qualname.rpartition(".")
        first: Exception | None = None
        while module:
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                first = first or error
                if not error.name or not f"{module}.".startswith(f"{error.name}."):
                    break  # it is there, and lacks something else
            except (Exception, SystemExit) as error:  # importing a module may raise anything
                first = RuntimeError(f"{type(error).__name__}: {error}")
                break
            else:
                return attribute_of(found, name)
            module, _, last = module.rpartition(".")
            name = f"{last}.{name}"
        raise UnknownSchemaError(
            f"trust= names {named.qualname!r}, and its module cannot be imported: {first}.",
            file=self._file,
            where=self.path or None,
            remedy="Put it on the path, or let persist.alias(old, new) say where it is today.",
            names=[named.qualname],
        ) from first

    def _value_named(self, named: Global) -> object:
        """The value of a name, or ABSENT; looked up once."""
        known = self._values.get(named)
        if known is None:
            known = self._values[named] = (self._found_value(named),)
        return known[0]

    def _found_value(self, named: Global) -> object:
        value = self._registry.constant_named(named.qualname)
        if value is not ABSENT:
            return value
        found = class_here(named.qualname)  # pickles hold where a constant is imported from
        if found is not None and self._registry.constant_name(found) is not None:
            return found
        cls = self._registry.class_for(named.qualname) or self._registry._enum_for(named.qualname)
        if cls is not None:
            return cls
        if (value := self._declared_importable(named)) is not ABSENT:
            return value
        if self._trust.has_exactly(named.qualname):
            return self._imported(named)
        if self._trust or self._makes_modules:
            function = function_named(named.module, named.name)
            if function is not None:
                return function
        if self._trust.has_exactly(named.qualname.rpartition(".")[0]):  # of a member, its enum
            self._import(named)
        return member_named(named.qualname, self._registry)

    def _declared_importable(self, named: Global) -> object:
        """The value of a name that a pack lists as importable; ABSENT for any other name."""
        name = self._registry.resolve(named.qualname)
        listed = self._registry.importable_for(name)
        if listed is None or not (self._live or listed.always):
            return ABSENT
        if listed.substitute is not ABSENT:
            return listed.substitute
        module, _, last = name.rpartition(".")
        try:
            return getattr(importlib.import_module(module), last, ABSENT)
        except ImportError:  # the installed release has no such module
            return ABSENT
