"""For a project's own tests: golden files that must load for ever, and laws that steps must keep.

    import persist.testing

    def test_old_files_load():
        persist.testing.check_golden("lab.Layer", version=1)

    test_laws = persist.testing.laws("lab.models")

The pytest plugin, which is found by itself, also collects the folder of golden files that
``[tool.persist]`` of ``pyproject.toml`` names, and with ``laws = true`` the laws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persist.testing._files import check_golden, check_loads_without
    from persist.testing._laws import Broken, check_law, check_schema, laws

__all__ = ["Broken", "check_golden", "check_law", "check_loads_without", "check_schema", "laws"]

_FILES = ("check_golden", "check_loads_without")


def __getattr__(name: str) -> Any:
    # Lazy, so that the plugin costs nothing where no project uses it.
    if name not in __all__:
        raise AttributeError(f"module 'persist.testing' has no attribute {name!r}")
    if name in _FILES:
        from persist.testing import _files as home
    else:
        from persist.testing import _laws as home  # type: ignore[no-redef]
    value = getattr(home, name)
    globals()[name] = value
    return value
