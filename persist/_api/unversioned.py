"""Values that bear no class: a tuple, a dict, an npz, a state dict, taken as the state of one.

Such a state is one without a version: its stamps are asked, its steps run, and it is checked and
built like every other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persist._envelope import unwrap
from persist._objects.torch_values import part_at
from persist._torch_modules.classes import MODULE
from persist._torch_modules.states import normal_state
from persist._trees.copier import records_in
from persist._trees.pack_view import PackView
from persist._upgrade.versions import plain_state
from persist.errors import PersistError, SchemaError, UnknownSchemaError
from persist.registry import Registry
from persist.tree import ABSENT, Global, Record, step_of

__all__ = ["assume", "check_is", "placed", "state_of"]

_METADATA = "__metadata__"  # of safetensors: text next to the arrays


def state_of(value: object, cls: type, registry: Registry) -> object:
    """Return a value as the record of a class, where it is not a record already.

    Raises:
        UnknownSchemaError: the class is not declared.
    """
    if registry.schema_for(cls) is None:
        raise UnknownSchemaError(
            f"{cls.__module__}.{cls.__qualname__} is not declared, so that nothing is known of its state.",
            remedy="Inherit persist.Versioned, or declare it with persist.register(cls, version=1).",
            names=[f"{cls.__module__}.{cls.__qualname__}"],
        )
    if isinstance(value, Record):
        return value
    state = value
    if MODULE in vars(cls):
        state = normal_state(value)
    if isinstance(state, dict):
        state = {name: item for name, item in state.items() if name != _METADATA}
    made = Record(Global(cls.__module__, cls.__qualname__), state)
    made.version = _version_in_metadata(value, cls, registry)
    return made


def _version_in_metadata(value: object, cls: type, registry: Registry) -> int | None:
    """The version that a state dict of torch states of a module itself, else None."""
    metadata = getattr(value, "_metadata", None)
    if MODULE not in vars(cls) or not isinstance(metadata, Mapping):
        return None
    from persist._instances.adapter import adapter_of
    from persist._instances.modules import known_versions

    adapter = adapter_of(cls, registry)
    root = next((metadata[path] for path in ("", "module", "_orig_mod") if path in metadata), None)
    found = known_versions(adapter, root)
    if len(adapter.layout.parts) > 1 and found:
        return None if set(found) != {adapter.schema.name} else found[adapter.schema.name]
    return found.get(adapter.schema.name)


def placed(
    tree: Any, looker: PackView, at: str, cls: type, registry: Registry, file: str | None = None
) -> Any:
    """Return a tree in which the value at a path is a record of a class; the rest is kept.

    Args:
        tree: of a file; the container that holds the part is changed.
        looker: lists the children of a value.
        at: the natural path; "" is the root.
        cls: a declared class.
        registry: what declares it.
        file: for messages.

    Raises:
        PersistError: there is nothing at the path, or what holds it is no dict and no list.
    """
    if not at:
        return state_of(tree, cls, registry)
    todo = [(tree, at)]
    while todo:
        holder, rest = todo.pop()
        if isinstance(holder, dict):
            items: list[tuple[Any, Any]] = list(holder.items())
        elif isinstance(holder, list):
            items = list(enumerate(holder))
        else:
            items = []
        for key, value in items:
            step = step_of(key)
            if step == rest:
                holder[key] = state_of(value, cls, registry)
                return tree
            if rest.startswith(f"{step}/"):
                todo.append((value, rest[len(step) + 1 :]))
    found = part_at(tree, looker, at)
    raise PersistError(
        f"there is nothing at {at!r}." if found is ABSENT else f"what holds {at!r} is no dict.",
        file=file,
        remedy="--at names a part of the file by its natural path, as `persist inspect` shows it.",
    )


def assume(tree: object, version: int, registry: Registry) -> None:
    """Give a version to each record of a declared class whose state contains none.

    A record says its version in its envelope or by a stamp; where neither does, it gets this one.

    Args:
        tree: its records are changed.
        version: 1 or later.
        registry: the classes that are declared, and their stamps.

    Raises:
        PersistError: it is no version.
    """
    if type(version) is not int or version < 1:
        raise PersistError(
            f"assume_version={version!r} is no version.", remedy="Versions are integers from 1 on."
        )
    for record in records_in(tree, set()):
        schema = registry.schema_for(registry.resolve(record.qualname))
        if schema is None or record.version is not None or unwrap(record.state) is not None:
            continue
        try:
            how = registry.stamp_of(schema.name, plain_state(record.state))[1]
        except SchemaError:  # two layouts fit, or none: this is what the version is given for
            how = ""
        if not how.startswith("stamp"):
            record.version = version


def check_is(value: Any, cls: type, file: str | None) -> None:
    """Refuse what was loaded, where it is no instance of the class that was asked for.

    Raises:
        PersistError: with what it is.
    """
    if isinstance(value, cls):
        return
    is_record = isinstance(value, Record)
    found = value.qualname if is_record else f"{type(value).__module__}.{type(value).__qualname__}"
    wanted = f"{cls.__module__}.{cls.__qualname__}"
    remedy = "Ask for that class, or for a part of the file with at=."
    if is_record:
        remedy = (
            f"If it is that class under an older name: persist.alias({found!r}, {cls.__name__})."
        )
    raise PersistError(f"it holds a {found}, not a {wanted}.", file=file, remedy=remedy)
