"""PyTensor: Aesara's heir since 2022, which writes the same objects under other module names.

What the records mean is told in `persist.migrations.theano`.
"""

from __future__ import annotations

from persist.migrations.theano import teach  # type: ignore[import-not-found, unused-ignore]

__all__ = ["pack"]

pack = teach("pytensor")
