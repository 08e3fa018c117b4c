"""The fingerprint of what is declared about the classes that a file names.

If it is the same as when a file was worked on, the same work would give the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from persist._upgrade.step_digests import digest_of_stamps, digest_of_step
from persist.errors import SchemaError
from persist.registry import Registry

__all__ = ["Fingerprints"]


class Fingerprints:
    """Computes fingerprints, and each schema's part of them once.

    Args:
        registry: what is declared.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._of_name: dict[str, str] = {}
        self._of_schema: dict[str, str] = {}

    def of(self, names: Iterable[str]) -> str:
        """Return the fingerprint of what is declared about classes, by their dotted names."""
        state = hashlib.sha256()
        for name in sorted(set(names)):
            state.update(f"{name}\0{self._one(name)}\n".encode("utf-8", "surrogatepass"))
        return state.hexdigest()[:16]

    def of_all(self) -> str:
        """Return the fingerprint of all that is declared."""
        return self.of(schema.name for schema in self._registry.schemas())

    def _one(self, name: str) -> str:
        found = self._of_name.get(name)
        if found is None:
            found = self._of_name[name] = self._look(name)
        return found

    def _look(self, name: str) -> str:
        try:
            today = self._registry.resolve(name)
            schema = self._registry.schema_for(today)
        except SchemaError as error:  # the work reports it
            return f"? {error.what}"
        if schema is None:
            return today
        parts = [self._part(schema.name)]
        for base in () if schema.cls is None else schema.cls.__mro__[1:]:
            if self._registry.declared(base) is not None:
                above = self._registry.schema_for(base)
                parts.append("" if above is None else self._part(above.name))
        return "; ".join(parts)

    def _part(self, name: str) -> str:
        if name not in self._of_schema:
            schema = self._registry.schema_for(name)
            steps = self._registry.migrations(name)
            said = "" if schema is None else f"{schema.version} {schema.fingerprint}"
            self._of_schema[name] = "|".join(
                [
                    f"{name} {said}",
                    *(f"{key} {digest_of_step(steps[key])}" for key in sorted(steps)),
                    digest_of_stamps(self._registry, name),
                ]
            )
        return self._of_schema[name]
