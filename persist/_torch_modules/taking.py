"""Take a module apart: the arguments of its constructor, its parameters and buffers, and facts about submodules."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from persist._torch_modules import facts
from persist._torch_modules.classes import is_module, torch_here
from persist.errors import SchemaError
from persist.schema import DECLARED, Declared, Field, dotted, said_fields
from persist.tree import ABSENT

__all__ = [
    "ARGUMENTS",
    "Call",
    "aside",
    "call_of",
    "config_modules",
    "declared_fields",
    "get_state",
]

ARGUMENTS = (
    "_persist_arguments"  # in the __dict__ of a module: what its constructor was called with
)
_ASIDE = (
    "__init__"  # in front of the name of an argument that is an array, or called like a parameter
)
_NEVER = "device"  # where a module is made is for the program that loads it
_DEPTH = 3  # containers in an argument that are looked through for modules


@attrs.frozen
class Call:
    """The parameters of a constructor, without ``self``.

    Attributes:
        names: those that have a name of their own.
        rest: the name of ``*args``, or "".
        keywords: the name of ``**kwargs``, or "".
        required: those without a default.
        positional: those that go by position, where ``*args`` follow or they have no name outside.
    """

    names: tuple[str, ...]
    rest: str
    keywords: str
    required: frozenset[str]
    positional: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(name for name in (*self.names, self.rest, self.keywords) if name)


def call_of(cls: type) -> Call:
    """Return what the constructor of a class takes."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    rest = [one.name for one in parameters if one.kind is one.VAR_POSITIONAL]
    keywords = [one.name for one in parameters if one.kind is one.VAR_KEYWORD]
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return Call(
        tuple(one.name for one in named),
        "".join(rest),
        "".join(keywords),
        frozenset(one.name for one in named if one.default is one.empty),
        tuple(
            one.name
            for one in named
            if one.kind is one.POSITIONAL_ONLY or (rest and one.kind is not one.KEYWORD_ONLY)
        ),
    )


def declared_fields(cls: type, declared: Declared | None = None) -> dict[str, Field]:
    """Return the fields that the classes of an MRO list in ``persistent``, by name, base first.

    Args:
        cls: a declared class.
        declared: its declaration, if it is not in the class.
    """
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        own = vars(base).get(DECLARED)
        own = declared if base is cls and own is None else own
        if isinstance(own, Declared):
            for field in said_fields(base, own)[0].values():
                if not field.transient:
                    found[field.name] = field
    return found


def aside(name: str) -> str:
    """Return the name in the state of an argument that cannot have its own there."""
    return f"{_ASIDE}.{name}"


def get_state(module: Any, fields: Mapping[str, Field]) -> dict[str, object]:
    """Return the state of a module as one flat dict.

    Raises:
        SchemaError: an argument of its constructor is not known, or a tensor has no values.
    """
    config = _config(module, fields)
    held = module.state_dict(keep_vars=True)
    apart = config_modules(module, config.values())
    tensors = {
        name: value
        for name, value in held.items()
        if not _is_below(name, apart) and not _is_unmade(value)
    }
    for name, value in tensors.items():
        if getattr(value, "is_meta", False):
            raise SchemaError(
                f"the tensor {name!r} is on the device meta and has no values.",
                where=f"class {dotted(type(module))}",
                remedy="Fill it first: persist.restore(path, module), or module.to_empty(device=...) and its "
                "initialisation.",
            )
    state = {
        (aside(name) if name in tensors or hasattr(value, "shape") else name): value
        for name, value in config.items()
    }
    state.update(tensors)
    state.update(_facts(module, apart))
    versions = facts.of_metadata(getattr(held, "_metadata", None), held)
    state.update({name: fact for name, fact in versions.items() if not _is_below(name, apart)})
    return state


def _is_unmade(value: object) -> bool:
    """Whether a parameter of a lazy module has no shape yet (``UninitializedParameter``)."""
    return hasattr(value, "materialize") and hasattr(type(value), "cls_to_become")


def _is_below(name: str, paths: set[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _config(module: object, fields: Mapping[str, Field]) -> dict[str, object]:
    """The declared attributes, and the arguments that the constructor needs beyond them."""
    cls = type(module)
    config: dict[str, Any] = {}
    for name, field in fields.items():
        value = getattr(module, field.attribute, ABSENT)
        if value is not ABSENT:
            config[name] = value
    call = call_of(cls)
    given = _given(module, cls)
    for name in call.all:
        if name in fields or name == _NEVER:
            continue
        if name in given:
            config[name] = given[name]
            there = getattr(module, name, None)
            if is_module(given[name]) and is_module(there):  # another may be in its place by now
                config[name] = there
        elif ARGUMENTS not in vars(module) or name in call.required:
            value = vars(module).get(name, ABSENT)
            if value is not ABSENT:
                config[name] = value
            elif name in call.required:
                raise SchemaError(
                    f"the argument {name!r} of its constructor is not known.",
                    where=f"class {dotted(cls)}",
                    remedy=f"Keep it as an attribute, and list it: persistent = ({name!r}, ...).",
                    field=name,
                )
    return {name: _plain(value) for name, value in config.items()}


def _given(module: object, cls: type) -> dict[str, object]:
    """What the constructor was called with, by the names of its parameters."""
    found = vars(module).get(ARGUMENTS)
    if found is None:
        return {}
    bound = inspect.signature(cls.__init__).bind(module, *found[0], **found[1])  # type: ignore[misc]
    names = list(bound.arguments)[1:]
    return {name: bound.arguments[name] for name in names}


def _plain(value: object) -> Any:
    """A dtype, a device and a shape of torch as text and tuple; anything else as it is."""
    torch = torch_here()
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return tuple(value) if isinstance(value, torch.Size) else value


def config_modules(module: Any, values: Any) -> set[str]:
    """Return the paths of the submodules that were given to the constructor: they are states of their own."""
    given = {id(one) for one in _modules_in(list(values), _DEPTH)}
    if not given:
        return set()
    return {
        path
        for path, one in module.named_modules(remove_duplicate=False)
        if path and id(one) in given
    }


def _modules_in(value: object, depth: int) -> Iterator[Any]:
    if is_module(value):
        yield value
    elif depth and isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(item, depth - 1)


def _facts(module: Any, apart: set[str]) -> dict[str, Any]:
    """Training mode and frozen parameters, where they are not what a new module has."""
    found: dict[str, Any] = {facts.TRAINING: module.training}
    modes: dict[str, bool] = {}
    for path, one in module.named_modules(remove_duplicate=False):
        modes[path] = one.training
        if path and _is_below(f"{path}.", apart):
            continue
        if path and one.training != modes[path.rpartition(".")[0]]:
            found[facts.joined(path, facts.TRAINING)] = one.training
        frozen = [
            name
            for name, parameter in one._parameters.items()
            if parameter is not None and not parameter.requires_grad
        ]
        if frozen:
            found[facts.joined(path, facts.FROZEN)] = frozen
    return found
