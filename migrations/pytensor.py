"""PyTensor: Aesara's successor since 2022, which writes the same objects under other module names.

`persist.migrations.theano` interprets the records.
"""

from __future__ import annotations

from persist.migrations.theano import teach  # type: ignore[import-not-found, unused-ignore]

__all__ = ["pack"]

pack = teach("pytensor")
