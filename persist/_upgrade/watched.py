"""A dict that several classes share, as the steps of one class see it; their reads are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["Watched"]


class Watched(dict[Any, Any]):
    """A dict that records which of its items were read, for a state that several classes share.

    Args:
        items: the fields that are listed.
        moved: fields that are found by their names, but not listed; those that a step takes out go.
    """

    def __init__(self, items: dict[object, object], moved: dict[Any, Any]) -> None:
        super().__init__(items)
        self.seen: set[Any] = set()
        self._moved = moved

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._moved

    def __missing__(self, key: object) -> object:
        return self._moved[key]

    def _all(self) -> None:
        self.seen.update(super().keys())

    def __getitem__(self, key: object) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def __delitem__(self, key: object) -> None:
        self.seen.add(key)
        if self._is_moved(key):
            del self._moved[key]
        else:
            super().__delitem__(key)

    def _is_moved(self, key: object) -> bool:
        return key in self._moved and not super().__contains__(key)

    def get(self, key: object, default: object = None) -> Any:
        self.seen.add(key)
        return self._moved[key] if self._is_moved(key) else super().get(key, default)

    def pop(self, key: object, *default: object) -> Any:
        self.seen.add(key)
        if self._is_moved(key):
            return self._moved.pop(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[Any]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()

    def copy(self) -> dict[Any, Any]:
        self._all()
        return dict(super().items())
