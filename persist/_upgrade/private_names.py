"""Private names in an unversioned state: which class of the MRO each belongs to.

Python writes ``self.__rate`` in the body of ``Base`` as ``_Base__rate``. A pickle of
a subclass holds the private names of all its bases in one dict, so two classes may
each have a ``__rate``. Here each name is given to the declared class that it says.
"""

from __future__ import annotations

from collections.abc import Iterable

from persist._runtime.lazy_regex import regex
from persist.schema import demangled

__all__ = ["has_private_names", "split_private"]

_MANGLED = regex(r"_[^_].*?__.")


def has_private_names(state: dict[object, object]) -> bool:
    """Whether any key of a state looks like a private name as Python mangles it."""
    return any(
        type(name) is str and name[:1] == "_" and _MANGLED.match(name) is not None for name in state
    )


def split_private(
    state: dict[object, object], owners: Iterable[tuple[str, set[str], set[str]]]
) -> tuple[dict[object, object], dict[str, dict[str, object]]]:
    """Take the private names of the declared classes out of a state.

    Args:
        state: of one instance, with the names of all classes of its MRO.
        owners: (schema, names that the class goes or went by, names of its fields), the
            instance's own class last.

    Returns:
        What is left, and for each schema its private fields, named as in the class's body.
    """
    listed = [(schema, {name.lstrip("_") for name in names}, own) for schema, names, own in owners]
    rest: dict[object, object] = {}
    private: dict[str, dict[str, object]] = {}
    for name, item in state.items():
        best = None
        if type(name) is str and name[:1] == "_" and name[:2] != "__":
            for position, (schema, names, own) in enumerate(listed):
                for owner in names:
                    plain = demangled(name, (owner,)) if owner else name
                    if plain == name:
                        continue
                    rank = (len(owner), plain in own, position)
                    if best is None or rank > best[0]:
                        best = (rank, schema, plain)
        own_names = None if best is None else private.setdefault(best[1], {})
        if best is None or own_names is None or best[2] in own_names:
            rest[name] = item  # two old names of one class: the second is reported as undeclared
        else:
            own_names[best[2]] = item
    return rest, private
