"""Aesara: Theano's heir since 2020, which wrote the same objects under other module names.

What the records mean is told in `persist.migrations.theano`.
"""

from __future__ import annotations

from persist.migrations.theano import teach  # type: ignore[import-not-found, unused-ignore]

from persist.packs import _renames

__all__ = ["pack", "renames"]

pack = teach("aesara")
renames = _renames.teach(pack, __name__)
