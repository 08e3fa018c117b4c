"""Aesara: Theano's successor since 2020, which wrote the same objects under other module names.

`persist.migrations.theano` interprets the records.
"""

from __future__ import annotations

from persist.migrations.theano import teach  # type: ignore[import-not-found, unused-ignore]

from persist.packs import _renames

__all__ = ["pack", "renames"]

pack = teach("aesara")
renames = _renames.teach(pack, __name__)
