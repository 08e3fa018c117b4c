"""Declared classes of torch modules: their codec, and the hooks by which torch's own ``load_state_dict`` upgrades.

A declared class gets, in its own ``__dict__``,

- the two halves of its codec (`persist._torch_modules`), unless its author wrote ``__getstate__`` or
  ``__setstate__``;
- ``_save_to_state_dict``, which adds the versions of its schemas to ``_metadata`` of a state dict;
- ``_load_from_state_dict``, which upgrades the part of a state dict that belongs to the module, in place,
  before the one that it replaces reads it;
- ``_version``, the version of its schema, unless the class inherits one that means something else to torch;
- an ``__init__`` that notes its arguments, and copying that copies hooks and modes as torch does.

Source: ``Module.state_dict``, ``Module._load_from_state_dict`` and ``Module.load_state_dict`` of
``torch/nn/modules/module.py``, 1.0 to 2.13: these two methods are called once for each module, parents first.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from persist import schema as _schema
from persist._envelope import CODEC, INSIDE, Layer, seal, wrap
from persist._instances.adapter import adapter_of
from persist._torch_modules import facts
from persist._torch_modules.building import set_state
from persist._torch_modules.classes import MODULE, is_module_class, is_torchs_own, unwrapped_name
from persist._torch_modules.states import plain_names, to_arrays, to_tensor
from persist._torch_modules.taking import ARGUMENTS, call_of, declared_fields, get_state
from persist._upgrade.running import run_steps
from persist._upgrade.state import freeze, roots_of, thaw
from persist._upgrade.target import InstanceUpgrade
from persist._upgrade.versions import plan_instance
from persist.errors import MigrationFailedError, PersistError, SchemaError
from persist.registry import Registry, default_registry
from persist.schema import Declared, Field, dotted

__all__ = ["ModuleCodec", "declare", "known_versions", "torch_state", "version_of"]


class ModuleCodec:
    """How the state of one declared class of modules is taken and set.

    Args:
        cls: the class.
        declared: its declaration.
    """

    def __init__(self, cls: type, declared: Declared) -> None:
        self.cls = cls
        self._declared = declared

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        """What the class and its bases list in ``persistent``."""
        return declared_fields(self.cls, self._declared)

    def get_state(self, module: object) -> dict[str, object]:
        """Return the state of a module (`persist._torch_modules.taking`)."""
        return get_state(module, self.fields)

    def set_state(self, module: object, state: object, migrated: bool = False) -> None:
        """Construct and fill a module (`persist._torch_modules.building`)."""
        versions = _versions(adapter_of(self.cls, self._declared.registry))
        set_state(module, state, self.fields, versions, migrated)


def version_of(cls: type, version: int | None) -> int | None:
    """Return the version that the head of a class states, or its ``_version``.

    Raises:
        SchemaError: both do, and differ.
    """
    own = vars(cls).get("_version")
    if type(own) is not int:
        return version
    if version is not None and version != own:
        raise SchemaError(
            f"version={version} and _version = {own} differ.",
            where=f"class {dotted(cls)}",
            remedy="State one of them; _version, which torch writes into state dicts, follows version=.",
        )
    return own


def declare(cls: type, declared: Declared) -> None:
    """Give a declared class of modules its codec and hooks."""
    if MODULE in vars(cls) and vars(cls)[MODULE].cls is cls:
        return
    codec = ModuleCodec(cls, declared)
    setattr(cls, MODULE, codec)
    if not _is_coded_by_author(cls):
        setattr(cls, _schema.OWN_GETSTATE, codec.get_state)
        setattr(cls, _schema.OWN_SETSTATE, codec.set_state)
        _install(cls, "__init__", _noting(cls))
    _install(cls, "_save_to_state_dict", _saving(cls))
    _install(cls, "_load_from_state_dict", _loading(cls))
    if "_version" not in vars(cls) and _counts_itself(cls):
        cls._version = declared.version  # type: ignore[attr-defined]
    for name, method in (("__deepcopy__", _deepcopied), ("__copy__", _copied)):
        if name not in vars(cls) and getattr(getattr(cls, name, None), "__module__", "").startswith(
            "persist"
        ):
            setattr(cls, name, method)


def torch_state(
    cls: type,
    *,
    version: int = 1,
    schema: str | None = None,
    persistent: Iterable[object] = (),
    registry: Registry | None = None,
) -> type:
    """Declare the state of a class of torch modules that cannot inherit `Versioned`.

    Its state is the arguments of its constructor, its parameters and its buffers, as for a class that inherits
    `Versioned`: `save` and `load` take it, and ``load_state_dict`` upgrades. Plain pickles of it
    are as before, since the class itself writes them.

    Args:
        cls: a subclass of ``torch.nn.Module``.
        version: of its state today.
        schema: its name; the dotted path by default.
        persistent: names (or `persist.schema.Field`) of attributes that are arguments of its constructor, or are
            set after it. Arguments that are not listed are noted when a module is made.
        registry: where it belongs; None is the default one.

    Returns:
        The class.

    Raises:
        SchemaError: it is no class of modules, or an argument is no version.
    """
    if not is_module_class(cls):
        raise SchemaError(
            f"{cls!r} is no subclass of torch.nn.Module.",
            remedy="Declare other classes with persist.register(cls, version=...).",
        )
    home = default_registry if registry is None else registry
    home.register(cls, version=version, schema=schema, fields=tuple(persistent))
    declared = home.declared(cls)
    assert declared is not None
    declare(cls, declared)
    return cls


def _is_coded_by_author(cls: type) -> bool:
    """Whether somebody else than torch wrote how instances are pickled."""
    return any(
        _schema.is_written(vars(base).get(name)) or _schema.is_written(_original(base, name))
        for base in cls.__mro__
        if not is_torchs_own(base)
        for name in ("__getstate__", "__setstate__")
    )


def _original(base: type, name: str) -> Any:
    """The ``__setstate__`` that a declared class wrote, which `Versioned` has replaced."""
    kept = vars(base).get(_schema.OWN_SETSTATE) if name == "__setstate__" else None
    if kept is None or isinstance(getattr(kept, "__self__", None), ModuleCodec):
        return None
    return None if str(getattr(kept, "__module__", "")).partition(".")[0] == "torch" else kept


def _counts_itself(cls: type) -> bool:
    """Whether ``_version`` of a class has no meaning for torch, as that of batch norm has."""
    for base in cls.__mro__[1:]:
        if MODULE not in vars(base) and "_version" in vars(base):
            return bool(vars(base)["_version"] == 1)
    return True


def _install(cls: type, name: str, method: Callable[..., object]) -> None:
    """Put a method before the one of a class, which it finds in ``_persist_before``."""
    own = vars(cls).get(name)
    if own is not None:
        functools.update_wrapper(method, own)
        method._persist_before = own  # type: ignore[attr-defined]
    else:
        inherited = getattr(cls, name)
        functools.update_wrapper(method, inherited)
        method._persist_before = None  # type: ignore[attr-defined]
    setattr(cls, name, method)


def _before(cls: type, module: object, name: str) -> Callable[..., object]:
    own = vars(cls)[name]._persist_before
    return functools.partial(own, module) if own is not None else getattr(super(cls, module), name)


def _owner(module: object) -> type:
    """The most derived class of a module that is declared."""
    return next(base for base in type(module).__mro__ if MODULE in vars(base))


def _noting(cls: type) -> Callable[..., None]:
    def __init__(self: Any, *args: object, **kwargs: object) -> None:  # noqa: N807
        self.__dict__.setdefault(ARGUMENTS, (args, kwargs))
        _before(cls, self, "__init__")(*args, **kwargs)

    return __init__


# State dicts.


def _versions(adapter: Any) -> dict[str, int]:
    return {part.schema.name: part.schema.version for part in adapter.layout.parts}


def _adapter(cls: type) -> Any:
    return adapter_of(cls, vars(cls)[MODULE]._declared.registry)


def _saving(cls: type) -> Callable[..., None]:
    def _save_to_state_dict(
        self: object, destination: object, prefix: str, keep_vars: bool
    ) -> None:
        metadata = getattr(destination, "_metadata", None)
        if cls is _owner(self) and isinstance(metadata, dict):
            metadata.setdefault(prefix[:-1], {})[facts.PERSIST] = _versions(_adapter(cls))
        _before(cls, self, "_save_to_state_dict")(destination, prefix, keep_vars)

    return _save_to_state_dict


def _loading(cls: type) -> Callable[..., None]:
    def _load_from_state_dict(
        self: object,
        state_dict: object,
        prefix: str,
        local_metadata: object,
        *rest: object,
        **more: object,
    ) -> None:
        if cls is _owner(self):
            _upgrade(self, cls, state_dict, prefix, local_metadata)
        _before(cls, self, "_load_from_state_dict")(
            state_dict, prefix, local_metadata, *rest, **more
        )

    return _load_from_state_dict


def _upgrade(module: Any, cls: type, state_dict: Any, prefix: str, metadata: object) -> None:
    """Bring the part of a state dict that belongs to a module to the version of today, in place."""
    adapter = _adapter(cls)
    held = module.state_dict(keep_vars=True)
    names = [name for name in state_dict if name.startswith(prefix)]
    written = {name[len(prefix) :]: state_dict[name] for name in names}
    mine = _like_ours(written, held)
    known = known_versions(adapter, metadata)
    if all(known.get(name) == version for name, version in _versions(adapter).items()) or (
        not known and _fits(module, mine, held) and not _is_stamped(adapter)
    ):
        if mine.keys() != written.keys():
            _replace(state_dict, names, prefix, mine)
        return
    whole = getattr(state_dict, "_metadata", None)
    below = {
        path[len(prefix) :]: entry
        for path, entry in (whole or {}).items()
        if path.startswith(prefix) and any(name.startswith(f"{path}.") for name in names)
    }
    arrays: dict[int, tuple[object, object]] = {}
    state = to_arrays({**mine, **facts.of_metadata(below, mine)}, arrays)
    is_partial = not known and _is_part(mine, held)
    try:
        case = plan_instance(adapter.target, _as_state(adapter, state, known), adapter.registry)
        result = _run(case, arrays)
    except PersistError as error:
        if is_partial and isinstance(error, MigrationFailedError):
            return  # a part of a state of today, for strict=False
        where = f"{dotted(type(module))} at {prefix[:-1]!r}" if prefix else dotted(type(module))
        raise error.at(where=f"state dict of {where}") from error.__cause__
    result, noted = facts.split(result)
    tensors = _tensors(result, held, vars(cls)[MODULE].fields, call_of(cls).all, arrays)
    for name in held.keys() & _defaults(module):
        if case.is_migrated and name not in tensors:
            tensors[name] = held[name]
    if is_partial and not _own_names(module, held) <= tensors.keys():
        return
    _replace(state_dict, names, prefix, tensors)
    # Submodules that have other names now are still of the version that they were.
    for path, entry in facts.as_metadata(noted[facts.VERSION]).items():
        if isinstance(whole, dict):
            whole.setdefault(f"{prefix}{path}", entry)


def _run(case: InstanceUpgrade, arrays: dict[int, tuple[object, object]]) -> dict[str, object]:
    """Run the steps with all arrays read-only: they share the memory of the caller's tensors."""
    frozen: dict[int, Any] = {}
    for piece in case.pieces:
        freeze(piece.value, frozen)
        if isinstance(piece.value, dict):
            piece.value = dict(piece.value)
    try:
        run_steps(case)
    finally:
        for array in frozen.values():
            array.flags.writeable = True
    if not case.states or not isinstance(case.states[-1][1], dict):
        raise SchemaError(
            "its migrations do not give a dict of tensors, which load_state_dict() needs.",
            remedy="Load the file with persist.load(path, cls).",
            schema=case.target.leaf.schema.name,
        )
    result: dict[str, object] = case.states[-1][1]
    thaw(result, roots_of(frozen))
    return result


def known_versions(adapter: Any, metadata: object) -> dict[str, int]:
    """Schema -> version, as far as the metadata of a module says it.

    The integer of torch counts if the class has no other meaning for it; 1 is what a module without
    versions has, so that stamps, where there are any, know better.
    """
    metadata = metadata if isinstance(metadata, Mapping) else {}
    said = metadata.get(facts.PERSIST)
    leaf = adapter.schema
    if isinstance(said, Mapping):
        names = {part.schema.name: part.schema for part in adapter.layout.parts}
        found = {}
        for name, version in said.items():
            today = adapter.registry.schema_for(adapter.registry.resolve(str(name)))
            own = str(name) if name in names else "" if today is None else today.name
            if own in names and type(version) is int:
                found[own] = version
        if leaf.name not in found and len(said) == 1 and len(names) == 1:
            found[leaf.name] = next(iter(said.values()))  # the schema had another name
        return found
    version = metadata.get("version")
    if type(version) is not int or not _counts_itself(adapter.cls) or len(adapter.layout.parts) > 1:
        return {}
    if version == 1 and (leaf.version > 1 and adapter.registry.stamps(leaf.name)):
        return {}
    return {leaf.name: version}


def _as_state(adapter: Any, state: dict[str, object], known: Mapping[str, int]) -> object:
    """A state with the versions that are known; else one without a version, whose stamps are asked."""
    if adapter.schema.name not in known:
        return state
    layers, values = [], []
    for part in adapter.layout.parts:
        is_leaf = part is adapter.layout.leaf
        version = known.get(part.schema.name, 1)
        layers.append(
            Layer(
                part.schema.name, version, "", CODEC if is_leaf else INSIDE, None if is_leaf else ()
            )
        )
        values.append(state if is_leaf else None)
    return wrap(seal(layers), values)


def _is_stamped(adapter: Any) -> bool:
    return any(adapter.registry.stamps(part.schema.name) for part in adapter.layout.parts)


def _like_ours(written: dict[str, Any], held: Mapping[str, object]) -> dict[str, object]:
    """A state dict with the wrappers (``module.``, ``_orig_mod.``) that the module has, and no others."""
    if written.keys() <= held.keys() or not written:
        return written
    plain = plain_names(written)
    ours = {unwrapped_name(name): name for name in held}
    made = {ours.get(name, name): value for name, value in plain.items()}
    return made if len(made) == len(written) else written


def _fits(module: object, state: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether a state dict without a version has the names and shapes of the module as it is today."""
    nested = _nested(module)
    ours = {name: value for name, value in held.items() if not name.startswith(nested)}
    theirs = {name: value for name, value in state.items() if not name.startswith(nested)}
    if ours.keys() != theirs.keys():
        return False
    return all(
        hasattr(value, "materialize")
        or getattr(theirs[name], "shape", None) == getattr(value, "shape", None)
        for name, value in ours.items()
    )


def _is_part(state: Mapping[str, object], held: Mapping[str, object]) -> bool:
    """Whether all of a state dict has its place, by name and shape, in the module as it is today."""
    return all(
        name in held and getattr(value, "shape", None) == getattr(held[name], "shape", None)
        for name, value in state.items()
    )


def _own_names(module: object, held: Mapping[str, object]) -> set[str]:
    """The names in a state dict that are not of a submodule with versions of its own."""
    nested = _nested(module)
    return {name for name in held if not name.startswith(nested)}


def _nested(module: Any) -> tuple[str, ...]:
    return tuple(
        f"{path}."
        for path, one in module.named_modules()
        if path and any(MODULE in vars(base) for base in type(one).__mro__)
    )


def _defaults(module: Any) -> set[str]:
    """The names of buffers: an older state may lack one, and then its value is kept."""
    return {name for name, _ in module.named_buffers()}


def _tensors(
    state: Mapping[str, Any],
    held: Mapping[str, Any],
    fields: Mapping[str, Field],
    arguments: Iterable[str],
    arrays: Mapping[int, tuple[Any, Any]],
) -> dict[str, Any]:
    """The tensors of a state; those that no step touched are the ones of the caller."""
    config = {*fields, *arguments}
    floats = {tensor.dtype for _, tensor in arrays.values() if tensor.is_floating_point()}
    made: dict[str, Any] = {}
    for name, value in state.items():
        if name not in held and (name in config or name.startswith("__init__.")):
            continue  # a module that exists is configured
        known = arrays.get(id(value))
        if known is not None:
            made[name] = known[1]
            continue
        tensor = to_tensor(value)
        like = held.get(name)
        is_double = (
            getattr(tensor, "dtype", None) is not None and str(tensor.dtype) == "torch.float64"
        )
        if (
            is_double
            and like is not None
            and str(like.dtype) != "torch.float64"
            and tensor.dtype not in floats
        ):
            tensor = tensor.to(like.dtype)
        made[name] = tensor
    return made


def _replace(
    state_dict: Any, names: Iterable[str], prefix: str, state: Mapping[str, object]
) -> None:
    for name in names:
        del state_dict[name]
    for name, value in state.items():
        state_dict[f"{prefix}{name}"] = value


# Copying, as torch does.


def _deepcopied(self: object, memo: dict[int, object]) -> object:
    cls: Any = type(self)
    made = cls.__new__(cls)
    memo[id(self)] = made
    shared = _by_reference(self)
    for name, value in self.__dict__.items():
        made.__dict__[name] = value if name in shared else copy.deepcopy(value, memo)
    return made


def _copied(self: object) -> object:
    cls: Any = type(self)
    made = cls.__new__(cls)
    made.__dict__.update(self.__dict__)
    for name in ("_parameters", "_buffers", "_modules"):
        made.__dict__[name] = self.__dict__[name].copy()
    return made


def _by_reference(module: object) -> set[str]:
    """Names of transient attributes and resources, which a copy shares."""
    layout = adapter_of(type(module)).layout
    return {
        field.attribute for part in layout.parts for field in part.transients
    } | layout.resources.keys()


for _method in (_deepcopied, _copied):
    _method._persist_own = True  # type: ignore[union-attr]
