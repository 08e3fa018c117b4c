"""One group of a store: its objects, their attributes and its texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np

from persist._wire.hdf5.file import Walk

__all__ = ["Group", "UnknownLayoutError"]

Array = np.ndarray[Any, Any]

_MISSING = float("nan")


class UnknownLayoutError(Exception):
    """A group is not as the known releases write it."""


@attrs.frozen
class Group:
    """A group of a store, with the attributes of all objects of the file by their path."""

    walk: Walk
    path: str
    attributes: dict[str, dict[str, Any]]

    @property
    def own(self) -> dict[str, Any]:
        """The group's attributes."""
        return self.attributes.get(self.path, {})

    def of(self, name: str) -> dict[str, Any]:
        """The attributes of an object in the group."""
        return self.attributes.get(f"{self.path}/{name}", {})

    def value(self, name: str) -> Any:
        """What an object in the group is."""
        group = self.walk.value_at(self.path)
        if name not in group:
            raise UnknownLayoutError(f"it has no {name!r}")
        return group[name]

    def is_bits(self, name: str) -> bool:
        """Whether a dataset holds truth values, which PyTables stores as bit fields."""
        dataset = self.walk.datasets.get(f"{self.path}/{name}")
        return dataset is not None and dataset.type.kind == "bitfield"

    def text(self, stored: Array, missing: str | None) -> Array:
        """Texts of fixed-length bytes; the text that means a missing value, if any, becomes NaN."""
        encoding = self.own.get("encoding")
        names = (encoding,) if isinstance(encoding, str) else ("utf-8", "latin-1")
        return _texts(stored, names, str(self.own.get("errors") or "strict"), missing)


def _texts(stored: Array, encodings: Iterable[str], errors: str, missing: str | None) -> Array:
    made = np.empty(stored.shape, dtype=object)
    *first, last = encodings
    for place, item in enumerate(stored.flat):
        value: Any = item
        if isinstance(item, bytes):
            for encoding in first:
                try:
                    value = item.decode(encoding, errors)
                    break
                except UnicodeDecodeError:
                    continue
            else:
                value = item.decode(last, errors)
        made.flat[place] = value if missing is None or value != missing else _MISSING
    return made
