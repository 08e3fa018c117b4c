"""Facts about submodules in the state of a module, next to the tensors of the submodule.

=================  =====================================================================================
``a.b._version``   the version of the layout of ``a.b``: a dict of schema -> version for a declared class,
                   an integer for ``_version`` of torch's own (``_metadata`` of a state dict)
``a.b._training``  whether ``a.b`` is in training mode, where that differs from ``a``
``a.b._frozen``    names of the parameters of ``a.b`` itself that require no gradient
=================  =====================================================================================

For the module itself they have no name in front: ``_training``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "FROZEN",
    "PERSIST",
    "TRAINING",
    "VERSION",
    "as_metadata",
    "is_fact",
    "joined",
    "of_metadata",
    "parted",
    "split",
]

VERSION, TRAINING, FROZEN = "_version", "_training", "_frozen"
PERSIST = "persist"  # in the metadata of a module: schema -> version
_COUNTER = "num_batches_tracked"


def joined(path: str, name: str) -> str:
    """Return the name of something in a submodule; ``path`` is "" for the module itself."""
    return f"{path}.{name}" if path else name


def parted(name: str) -> tuple[str, str]:
    """Return the path of the submodule, and the last part of a name."""
    path, _, last = name.rpartition(".")
    return path, last


def is_fact(name: object) -> bool:
    """Whether a name in a state is that of a fact."""
    return isinstance(name, str) and parted(name)[1] in (VERSION, TRAINING, FROZEN)


def split(state: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the state without facts, and the facts: kind -> path of the submodule -> value."""
    rest: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {VERSION: {}, TRAINING: {}, FROZEN: {}}
    for name, value in state.items():
        path, last = parted(name) if isinstance(name, str) else ("", "")
        if last in found and not hasattr(value, "shape"):
            found[last][path] = value
        else:
            rest[name] = value
    return rest, found


def of_metadata(metadata: object, names: Any) -> dict[str, object]:
    """Return the versions in the ``_metadata`` of a state dict as facts.

    The version of the module itself is left out, and so are those that say nothing: 1, which every module has
    that does not count, and that of batch norm with its counter (``num_batches_tracked``) present.

    Args:
        metadata: path of the submodule -> dict with ``version`` and, of declared classes, ``persist``.
        names: the names in the state dict.
    """
    found: dict[str, Any] = {}
    for path, entry in metadata.items() if isinstance(metadata, Mapping) else ():
        if not isinstance(path, str) or not path or not isinstance(entry, Mapping):
            continue
        version = entry.get(PERSIST)
        if not isinstance(version, Mapping):
            version = entry.get("version")
            if type(version) is not int or version < 2 or joined(path, _COUNTER) in names:
                continue
        found[joined(path, VERSION)] = dict(version) if isinstance(version, Mapping) else version
    return found


def as_metadata(versions: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return facts of kind ``_version`` as ``_metadata`` has them."""
    made: dict[str, dict[str, Any]] = {}
    for path, version in versions.items():
        if isinstance(version, Mapping):
            made[path] = {PERSIST: dict(version)}
        else:
            made[path] = {"version": version}
    return made
