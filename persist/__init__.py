"""Load what was saved years ago, and keep what is saved today loadable in decades.

Public names are imported lazily: ``import persist`` imports only this file, and the first use of a
name imports its module. Start reading in `persist._api.load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist import bulk, errors, ops, registry
    from persist._api.append import append
    from persist._api.explain import explain
    from persist._api.file import File
    from persist._api.load import load
    from persist._api.open import open
    from persist._api.repair import repair
    from persist._api.restore import restore
    from persist._api.save import save
    from persist._instances.modules import torch_state
    from persist._restore.match import Report
    from persist._upgrade.plan import Plan
    from persist._version import __version__
    from persist.bulk._plan import upgrade
    from persist.checkpoints import Checkpoints
    from persist.errors import PersistError
    from persist.registry import (
        Registry,
        accept_releases,
        alias,
        constant,
        migration,
        register,
        stamp,
        supported,
    )
    from persist.schema import field
    from persist.security import scan
    from persist.tree import Record
    from persist.versioned import Versioned, downgrade, resource

# Name -> the module that defines it.
_HOMES = {
    "__version__": "persist._version",
    "Checkpoints": "persist.checkpoints",
    "File": "persist._api.file",
    "PersistError": "persist.errors",
    "Plan": "persist._upgrade.plan",
    "Record": "persist.tree",
    "Registry": "persist.registry",
    "Report": "persist._restore.match",
    "Versioned": "persist.versioned",
    "accept_releases": "persist.registry",
    "alias": "persist.registry",
    "append": "persist._api.append",
    "bulk": "persist.bulk",
    "constant": "persist.registry",
    "downgrade": "persist.versioned",
    "errors": "persist.errors",
    "explain": "persist._api.explain",
    "field": "persist.schema",
    "load": "persist._api.load",
    "migration": "persist.registry",
    "open": "persist._api.open",
    "ops": "persist.ops",
    "register": "persist.registry",
    "registry": "persist.registry",
    "repair": "persist._api.repair",
    "resource": "persist.versioned",
    "restore": "persist._api.restore",
    "save": "persist._api.save",
    "scan": "persist.security",
    "stamp": "persist.registry",
    "supported": "persist.registry",
    "torch_state": "persist._instances.modules",
    "upgrade": "persist.bulk._plan",
}

__all__ = [
    "Checkpoints",
    "File",
    "PersistError",
    "Plan",
    "Record",
    "Registry",
    "Report",
    "Versioned",
    "__version__",
    "accept_releases",
    "alias",
    "append",
    "bulk",
    "constant",
    "downgrade",
    "errors",
    "explain",
    "field",
    "load",
    "migration",
    "open",
    "ops",
    "register",
    "registry",
    "repair",
    "resource",
    "restore",
    "save",
    "scan",
    "stamp",
    "supported",
    "torch_state",
    "upgrade",
]


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'persist' has no attribute {name!r}")
    module = importlib.import_module(home)
    value = module if home == f"persist.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
