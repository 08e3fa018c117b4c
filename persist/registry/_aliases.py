"""The part of a registry that maps names in old files to today's."""

from __future__ import annotations

import enum
from typing import Any, Self

from persist.errors import SchemaError
from persist.registry._classes import Classes
from persist.registry._declarations import Alias, Origin, call_site
from persist.registry._names import applied, imported
from persist.schema import dotted

__all__ = ["IMPORTED", "Aliases"]

IMPORTED = "a module has the class under this name"  # evidence of an alias that nobody gave


class Aliases(Classes):
    """Old dotted names, and prefixes of names, with the names that took their place."""

    def __init__(self, name: str, parents: tuple[Self, ...] = ()) -> None:
        super().__init__(name, parents)
        self._aliases: dict[str, Alias] = {}
        self._prefixes: dict[str, Alias] = {}
        self._alias_places: dict[str, tuple[tuple[str, Origin], ...]] = {}

    def alias(self, old: str, new: object, *, since: str = "", evidence: str = "") -> None:
        """Map an old dotted name to the current class, function or member of an enum.

        Args:
            old: the name in old files; ``oldlab.*`` for all that begin so. Of a member of an enum,
                ``lab.Color.OLD``, or ``lab.Color(3)`` for the value by which old pickles know it.
            new: the class, its dotted name or its schema's name; ``lab.*`` for a prefix; a member.
            since: the release that moved it.
            evidence: how that is known.

        Raises:
            SchemaError: the name leads elsewhere already. A cell that runs again, and a module
                that is loaded again, may say another target.
        """
        target = new if isinstance(new, str) else self._target(new)
        is_prefix = old.endswith(".*")
        if is_prefix:
            old, target = (
                old[:-1],
                target[:-1] if target.endswith(".*") else target.rstrip(".") + ".",
            )
        if not old or not target or target == ".":
            raise SchemaError(
                f"an alias leads from {old!r} to {target!r}.", remedy="Both are dotted names."
            )
        place = call_site(f"<alias {old}>")
        with self._changing():
            made = Alias(old, target, since, evidence, place)
            self._refuse_other_target(made, is_prefix)
            before = self._alias_places.get(old, ())
            kept = tuple(one for one in before if not place.replaces(one[1]))
            self._alias_places = {**self._alias_places, old: (*kept, (target, place))}
            if is_prefix:
                self._prefixes = {**self._prefixes, old: made}
            else:
                self._aliases = {**self._aliases, old: made}

    def _refuse_other_target(self, made: Alias, is_prefix: bool) -> None:
        other = (self._prefixes if is_prefix else self._aliases).get(made.old)
        if other is None or other.new == made.new or other.origin is None or made.origin is None:
            return
        # A local class lives no longer than its function.
        if "<locals>" in other.new or made.origin.replaces(other.origin):
            return
        mark = "*" if is_prefix else ""
        places = [f"{one.file}:{one.line}" for one in (other.origin, made.origin)]
        raise SchemaError(
            f"the alias {made.old + mark!r} leads to {other.new + mark!r} ({places[0]}), and would "
            f"lead to {made.new + mark!r}.",
            where=places[1],
            remedy=f"Remove one of them; of a class that moved twice, say persist.alias("
            f'"{other.new}{mark}", "{made.new}{mark}").',
            alias=made.old,
        )

    def _target(self, new: Any) -> str:
        if isinstance(new, enum.Enum):
            return f"{dotted(type(new))}.{new._name_}"
        return dotted(new)

    def resolve(self, qualname: str) -> str:
        """Return the current dotted name for one in a file; the same if there is no alias.

        Raises:
            SchemaError: the aliases lead in a circle.
        """
        return self.aliases_from(qualname)[0]

    def aliases_from(self, qualname: str) -> tuple[str, list[Alias]]:
        """Return the current dotted name, and the aliases that led to it, in order."""
        name = qualname
        taken: list[Alias] = []
        used: set[Alias] = set()
        while True:
            found = self._next_alias(name, used)
            if found is None:
                break
            if found in used or len(taken) > 1000:
                chain = " → ".join([qualname, *(applied(one, "") for one in taken)])
                raise SchemaError(
                    f"the aliases of {qualname!r} lead in a circle: {chain}.",
                    remedy="Remove one of them.",
                    alias=qualname,
                )
            used.add(found)
            taken.append(found)
            name = found.new + name[len(found.old) :] if found.old.endswith(".") else found.new
        schema = None if name == qualname and not taken else self.schema_for(name)
        if schema is not None and schema.name == name:
            name = schema.qualname
        return name, taken

    def _next_alias(self, name: str, used: set[Alias]) -> Alias | None:
        for registry in self._lineage:
            exact = registry._aliases.get(name)
            if exact is not None and exact.new != name:
                return exact
        if self.class_for(name) is not None:
            return None
        for registry in self._lineage:
            fitting = None
            for prefix, found in registry._prefixes.items():
                is_longer = fitting is None or len(found.old) > len(fitting.old)
                if is_longer and name.startswith(prefix) and found not in used:
                    fitting = found
            if fitting is not None:
                return fitting
        return self._implicit_alias(name)

    def _implicit_alias(self, name: str) -> Alias | None:
        """The alias for a name under which an imported module has a declared class of another name.

        Where ``oldlab`` has ``from lab.nets import Layer``, a file that names ``oldlab.Layer`` means
        that class, as pickle would find it. Nothing is imported, and no code of a module runs.
        """
        found = imported(name)
        if not isinstance(found, type) or self.declared(found) is None or dotted(found) == name:
            return None
        return Alias(name, dotted(found), evidence=IMPORTED)

    def old_names(self, qualname: str) -> set[str]:
        """Return the exact old dotted names that lead to a current one."""
        names: set[str] = set()
        for registry in self._lineage:
            for old in registry._aliases:
                try:
                    if self.resolve(old) == qualname:
                        names.add(old)
                except SchemaError:
                    continue
        return names
