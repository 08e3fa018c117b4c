"""An open class that is registered elsewhere than in the default registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import persist


class Open:
    """A class of whose fields nothing is declared."""

    def __init__(self) -> None:
        self.weights: Any = [1.0, 2.0]


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    registry = persist.Registry("elsewhere", parents=(persist.registry.default,))
    registry.register(Open, version=1)
    persist.save(Open(), tmp_path / "x.persist", registry=registry)
    loaded = persist.load(tmp_path / "x.persist", registry=registry)
    assert type(loaded) is Open
    assert loaded.weights == [1.0, 2.0]
