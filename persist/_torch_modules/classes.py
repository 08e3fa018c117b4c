"""Recognise modules of torch, and the wrappers that torch puts around them, without importing torch."""

from __future__ import annotations

import re
import sys
from typing import Any

__all__ = [
    "MODULE",
    "is_module",
    "is_module_class",
    "is_torchs_own",
    "torch_here",
    "unwrapped",
    "unwrapped_name",
]

MODULE = "_persist_module"  # in the __dict__ of a declared class of modules: its `ModuleCodec`

# ``torch.compile`` and (distributed) data parallelism hold the module under these names.
_HELD = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}


def torch_here() -> Any:
    """Return torch if it is imported, else None."""
    return sys.modules.get("torch")


def _module_base() -> Any:
    return getattr(sys.modules.get("torch.nn.modules.module"), "Module", None)


def is_module_class(cls: Any) -> bool:
    """Whether a class is one of modules."""
    base = _module_base()
    return base is not None and isinstance(cls, type) and issubclass(cls, base)


def is_module(value: object) -> bool:
    """Whether a value is a module of torch."""
    return is_module_class(type(value))


def is_torchs_own(cls: type) -> bool:
    """Whether a class is part of torch itself."""
    return cls.__module__.partition(".")[0] == "torch"


def unwrapped(module: Any) -> Any:
    """Return the module inside the wrappers of ``torch.compile`` and of data parallelism."""
    while is_module(module) and is_torchs_own(type(module)):
        inner = module._modules.get(_HELD.get(type(module).__name__, ""))
        if inner is None:
            return module
        module = inner
    return module


def unwrapped_name(name: str) -> str:
    """Return a name of a state dict without what those wrappers put into it.

    ``_orig_mod`` occurs wherever a submodule was compiled, ``module`` in front alone.
    """
    return re.sub(r"^(module\.)+", "", re.sub(r"(^|\.)(_orig_mod\.)+", r"\1", name))
