"""Construct a module from its configuration, and fill it with tensors, without initialising it twice.

The constructor runs with uninitialised tensors on the device ``meta``, so that nothing is drawn at random and
no memory is needed but that of the file. A constructor that needs values of these tensors fails there; then it
runs as usual. The states of random generators are the same afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import random
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from persist._torch_modules import facts
from persist._torch_modules.classes import torch_here, unwrapped_name
from persist._torch_modules.states import normal_state, to_tensor
from persist._torch_modules.taking import (
    ARGUMENTS,
    Call,
    aside,
    call_of,
    config_modules,
)
from persist._wire.torch.storage import placement
from persist.errors import PersistError, RestoreError, UnknownFieldWarning
from persist.schema import Field, dotted
from persist.tree import LazyArray
from persist.typing import State

__all__ = ["set_state"]

# What initialises a tensor in place; on the device meta it costs time and does nothing.
_FILLS = (
    "uniform_",
    "normal_",
    "fill_",
    "zero_",
    "mul_",
    "add_",
    "clamp_",
    "erfinv_",
    "bernoulli_",
)
_SHOWN = 8  # names that a message lists
_EXTRA = "_extra_state"
# Attributes of every module in which there are no tensors.
_EMPTY = frozenset(
    ("_modules", "training", "_non_persistent_buffers_set", "_is_full_backward_hook")
)


def set_state(
    module: Any,
    state: object,
    fields: Mapping[str, Field],
    versions: Mapping[str, int],
    migrated: bool = False,
) -> None:
    """Construct a module, made by ``__new__`` alone, and fill it.

    Args:
        module: of a declared class.
        state: the flat state of today; arrays or tensors.
        fields: what its classes list in ``persistent``.
        versions: schema -> version of today, of its classes.
        migrated: the state was one of an older version: then buffers that it lacks have the value that
            the constructor gave them.

    Raises:
        RestoreError: the constructor cannot be called with the state, or tensors are missing, left over, or of
            another shape.
    """
    state = normal_state(state)
    cls = type(module)
    if not isinstance(state, dict):
        raise RestoreError(
            f"its state is a {type(state).__name__}, where a dict of its tensors and the arguments of its "
            "constructor was expected.",
            where=f"class {dotted(cls)}",
        )
    building = _Building(module, state, fields, versions, migrated)
    try:
        building.build(on_meta=True)
        is_made = not building.lacks_values()
    except Exception:  # the constructor needs values; any other cause is raised again below
        is_made = False
    if not is_made:
        building.build(on_meta=False)
    device, dtype = placement()
    if device is not None or dtype is not None:  # what the file does not hold goes there, too
        module.to(device=device, dtype=dtype)


class _Building:
    """One module that is made."""

    def __init__(
        self,
        module: Any,
        state: State,
        fields: Mapping[str, Field],
        versions: Mapping[str, int],
        migrated: bool,
    ) -> None:
        self.module = module
        self.cls = type(module)
        self.fields = fields
        self.versions = versions
        self.migrated = migrated
        self.call = call_of(self.cls)
        rest, self.facts = facts.split(state)
        self.config, self.tensors = self._divided(rest)

    @property
    def where(self) -> str:
        """For messages."""
        return f"class {dotted(self.cls)}"

    def _divided(self, state: dict[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments and declared attributes, and the rest."""
        config: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for name, value in state.items():
            plain = name.removeprefix(aside("")) if isinstance(name, str) else name
            known = plain in self.fields or plain in self.call.all
            is_tensor = hasattr(value, "shape") and name == plain and plain not in self.fields
            if known and not is_tensor:
                config[plain] = value
            else:
                rest[name] = value
        for name, field in self.fields.items():
            if name not in config and field.has_default:
                config[name] = field.fresh(config)
        return config, rest

    def build(self, on_meta: bool) -> None:
        """Construct it, and fill it."""
        self.module.__dict__.clear()
        arguments, keywords = self._arguments()
        with _generators_kept(), _sketching() if on_meta else contextlib.nullcontext():
            try:
                self.module.__init__(*arguments, **keywords)
            except PersistError:
                raise
            except Exception as error:  # of a user's constructor
                shown = ", ".join(f"{name}=..." for name in keywords) or "nothing"
                raise RestoreError(
                    f"its constructor, called with {shown}, raised {type(error).__name__}: {error}.",
                    where=self.where,
                    remedy="What it takes is in persistent = (...); if an older state lacks one or has another "
                    "value there, give the class a version= more and a migration (persist.ops.add, convert).",
                ) from error
        for name, field in self.fields.items():
            if name in self.config and name not in self.call.all:
                object.__setattr__(self.module, field.attribute, self.config[name])
        self._fill()
        self._set_modes()

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        call: Call = self.call
        missing = [name for name in sorted(call.required) if name not in self.config]
        device, _ = placement()
        if "device" in missing:
            self.config["device"] = "cpu" if device is None else device
            missing.remove("device")
        if missing:
            listed = ", ".join(map(repr, missing))
            raise RestoreError(
                f"the state does not say {listed}, which its constructor needs.",
                where=self.where,
                remedy=f"Fill a module that you made: persist.restore(path, {self.cls.__name__}(...)); or add it in "
                f"a migration: persist.ops.add({missing[0]!r}, value).",
                field=missing[0],
            )
        given = {name: self._value(name) for name in call.names if name in self.config}
        rest = list(self.config.get(call.rest, ())) if call.rest else []
        arguments = [given.pop(name) for name in call.positional if name in given]
        more = dict(self.config.get(call.keywords) or {}) if call.keywords else {}
        return [*arguments, *rest], {**given, **more}

    def _value(self, name: str) -> Any:
        """An argument; the name of a dtype of torch is that dtype."""
        value = self.config[name]
        if isinstance(value, str) and value.startswith("torch."):
            found = getattr(torch_here(), value.removeprefix("torch."), None)
            return found if isinstance(found, torch_here().dtype) else value
        return value

    # Filling.

    def _fill(self) -> None:
        module = self.module
        held = module.state_dict(keep_vars=True)
        apart = config_modules(module, self.config.values())
        own = {unwrapped_name(name): name for name in held}
        given: Any = OrderedDict()
        left: list[str] = []
        for name, value in self.tensors.items():
            there = name if name in held else own.get(unwrapped_name(str(name)), name)
            if there not in held and not _is_array(value) and not str(name).endswith(_EXTRA):
                left.append(str(name))
                continue
            given[there] = _with_tensors(value) if str(name).endswith(_EXTRA) else to_tensor(value)
        if left:
            warnings.warn(
                f"old states of {dotted(self.cls)} have attributes that it does not declare: {', '.join(left)}. "
                "They were left out. List them in persistent = (...), or drop them in a migration "
                "(persist.ops.drop).",
                UnknownFieldWarning,
                stacklevel=2,
            )
        ties = _ties(module)
        for names in ties:
            first = next((name for name in names if name in given), None)
            if first is not None:  # safetensors keeps one of them
                given.update(
                    {name: given[first] for name in names if name in held and name not in given}
                )
        self._settle_dtypes(given, held)
        versions = {**self.facts[facts.VERSION], "": dict(self.versions)}
        given._metadata = facts.as_metadata(versions)
        try:
            found = module.load_state_dict(given, strict=False, assign=True)
        except RuntimeError as error:
            raise RestoreError(
                f"its tensors do not fit what the constructor made: {error}",
                where=self.where,
                remedy="If the class changed, count version= up and register a migration (persist.ops.transpose, "
                "reshape, split); if an argument of the constructor is another, list it in persistent = (...).",
            ) from error
        self._refuse_misfits(held, set(found.missing_keys), list(found.unexpected_keys), apart)
        self._tie(ties)

    def _settle_dtypes(self, given: dict[str, Any], held: Mapping[str, Any]) -> None:
        """Give doubles that steps made (``numpy.ones(3)``) the dtype that the others of the module have."""
        if not self.migrated:
            return
        torch = torch_here()
        floats = {
            name: value
            for name, value in given.items()
            if isinstance(value, torch.Tensor) and value.is_floating_point() and name in held
        }
        dtypes = {value.dtype for value in floats.values()} - {torch.float64}
        if not dtypes:
            return
        for name, value in floats.items():
            wanted = getattr(held[name], "dtype", torch.float64)
            if value.dtype == torch.float64 and wanted != torch.float64:
                given[name] = value.to(next(iter(dtypes)) if len(dtypes) == 1 else wanted)

    def _refuse_misfits(
        self, held: Mapping[str, Any], missing: set[str], unexpected: list[str], apart: set[str]
    ) -> None:
        parameters = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        for name in list(missing):
            is_apart = any(name.startswith(f"{path}.") for path in apart)
            is_default = self.migrated and name not in parameters and not name.endswith(_EXTRA)
            if is_apart or is_default or hasattr(held.get(name), "materialize"):
                missing.discard(name)
        if not missing and not unexpected:
            return
        parts = [
            f"{what}: {', '.join(sorted(names)[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
            for what, names in (("missing", list(missing)), ("left over", unexpected))
            if names
        ]
        raise RestoreError(
            f"its tensors are not those of the module that the constructor made ({'; '.join(parts)}).",
            where=self.where,
            remedy="If they have other names in the file, count version= up and register a migration "
            "(persist.ops.rename, drop, add); if the file is of an older version and does not say so, pass "
            "assume_version= or register a stamp.",
            names=[*sorted(missing), *unexpected],
        )

    def _tie(self, ties: list[list[str]]) -> None:
        """Make one parameter of those that the constructor, or the file, has as one."""
        torch = torch_here()
        module = self.module
        held = dict(module.named_parameters(remove_duplicate=False))
        for names in ties:
            own = [held[name] for name in names if name in held]
            if len({id(one) for one in own}) < 2:
                continue
            first = own[0]
            if any(
                _memory(one) != _memory(first) and not torch.equal(one, first) for one in own[1:]
            ):
                raise RestoreError(
                    f"{', '.join(names)} are one parameter in the module, and differ in the file.",
                    where=self.where,
                    remedy="Leave one of them to a migration of the class: persist.ops.drop(name).",
                )
            for name in names:
                _put(module, name, first)
        found: dict[Any, Any] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            memory = _memory(parameter)
            if memory is not None:
                first = found.setdefault(memory, parameter)
                if first is not parameter:
                    _put(module, name, first)

    def _set_modes(self) -> None:
        """Training mode, and which parameters are frozen."""
        module = self.module
        modes = self.facts[facts.TRAINING]
        for path in sorted(modes, key=lambda path: path.count(".") + bool(path)):
            found = self._submodule(path, "training mode")
            if found is not None:
                found.train(bool(modes[path]))
        if "" not in modes:
            return
        apart = {id(one) for path in config_modules(module, self.config.values())
                 for one in module.get_submodule(path).parameters()}  # fmt: skip
        frozen: set[int] = set()
        for path, names in self.facts[facts.FROZEN].items():
            found = self._submodule(path, "frozen parameters")
            own = {} if found is None else found._parameters
            for name in names if isinstance(names, list) else ():
                if own.get(name) is not None:
                    frozen.add(id(own[name]))
        for parameter in module.parameters():
            if id(parameter) in apart or hasattr(parameter, "materialize"):
                continue
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(id(parameter) not in frozen)

    def _submodule(self, path: str, what: str) -> Any:
        try:
            return self.module.get_submodule(path)
        except AttributeError:
            warnings.warn(
                f"the state of {dotted(self.cls)} has the {what} of {path!r}, which is no submodule today. They "
                f'were left out; a migration moves them: persist.ops.rename("{path}.*", ...).',
                UnknownFieldWarning,
                stacklevel=2,
            )
            return None

    def lacks_values(self) -> bool:
        """Whether something that the file does not hold was made on meta, and so has no values."""
        device, _ = placement()
        if device is not None and torch_here().device(device).type == "meta":
            return False
        torch = torch_here()
        for one in self.module.modules():
            for name, value in vars(one).items():
                if name in _EMPTY or name == ARGUMENTS:
                    continue
                items = list(value) if isinstance(value, list | tuple) else [value]
                items = list(value.values()) if isinstance(value, dict) else items
                if any(isinstance(item, torch.Tensor) and item.is_meta for item in items):
                    return True
        return False


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | LazyArray | np.generic) or hasattr(
        value, "is_floating_point"
    )


def _with_tensors(value: Any) -> object:
    """What ``get_extra_state`` gave: arrays in it were tensors."""
    if isinstance(value, dict):
        return type(value)((key, _with_tensors(item)) for key, item in value.items())
    if type(value) in (list, tuple):
        return type(value)(_with_tensors(item) for item in value)
    return to_tensor(value)


def _ties(module: Any) -> list[list[str]]:
    """The names of each parameter or buffer that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [own for own in names.values() if len(own) > 1]


def _memory(tensor: Any) -> Any:
    """What two tensors of the same elements have in common; None of a tensor without elements."""
    if tensor.is_meta or hasattr(tensor, "materialize") or not tensor.numel():
        return None
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, str(tensor.device)


def _put(module: Any, name: str, parameter: Any) -> None:
    path, _, last = name.rpartition(".")
    module.get_submodule(path)._parameters[last] = parameter


# What surrounds a constructor.


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave the random generators of torch, NumPy and Python as they were."""
    torch = torch_here()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@functools.cache
def _mode() -> Any:
    torch = torch_here()
    made = {torch.empty, torch.rand, torch.randn, torch.empty_strided}
    fills = {getattr(torch.Tensor, name) for name in _FILLS}
    base: Any = importlib.import_module("torch.overrides").TorchFunctionMode

    class Sketching(base):  # type: ignore[misc]
        """Makes tensors without values, or with random ones, on the device meta, and leaves out filling them."""

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            is_fill = function in fills or getattr(function, "__module__", "") == "torch.nn.init"
            filled = args[0] if args else kwargs.get("tensor")
            if is_fill and isinstance(filled, torch.Tensor) and filled.is_meta:
                return filled
            if function in made and kwargs.get("device") is None and kwargs.get("out") is None:
                kwargs = {**kwargs, "device": "meta"}
            return function(*args, **kwargs)

    return Sketching


def _sketching() -> Any:
    return _mode()()
