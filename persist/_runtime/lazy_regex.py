"""Regular expressions that are compiled when they are first used.

Compiling one takes as long as importing a module, and a process that opens one
file uses few of those that the imported modules define.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["regex"]

_METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "split", "pattern")


class _Regex:
    """A proxy of a `re.Pattern`, which takes over the pattern's methods on first use."""

    def __init__(self, pattern: Any, flags: int) -> None:
        self._arguments = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        pattern, flags = self._arguments
        compiled = re.compile(pattern, flags)
        vars(self).update({method: getattr(compiled, method) for method in _METHODS})
        return vars(self)[name]


def regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a lazy substitute for `re.compile` that can match, search, split and substitute.

    An invalid expression raises on first use; `tests/house/test_start.py` uses all of them.
    """
    return cast("re.Pattern[AnyStr]", _Regex(pattern, flags))
