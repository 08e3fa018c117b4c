"""Regular expressions that are compiled when they are first used.

To compile one costs as much as to import a module, and few of those of a
process that opens one file are ever asked.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

__all__ = ["regex"]

_METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "split", "pattern")


class _Regex:
    """Stands for a `re.Pattern`; its methods are those of the pattern from the first use on."""

    def __init__(self, pattern: Any, flags: int) -> None:
        self._made_of = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        pattern, flags = self._made_of
        compiled = re.compile(pattern, flags)
        vars(self).update({method: getattr(compiled, method) for method in _METHODS})
        return vars(self)[name]


def regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what `re.compile` returns, as far as it is asked to match, search, split or substitute.

    A wrong expression is told at its first use; `tests/house/test_start.py` uses all of them.
    """
    return cast("re.Pattern[AnyStr]", _Regex(pattern, flags))
