"""Aesara: Theano's heir since 2020, which wrote the same objects under other module names.

What the records mean is told in `persist.migrations.theano`.
"""

from __future__ import annotations

from persist.migrations.theano import teach

__all__ = ["pack"]

pack = teach("aesara")
