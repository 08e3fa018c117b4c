"""Keras: new names of its pickled classes; Keras's file formats are read by ``persist/readers/keras/files.py``.

A pickled model is mostly its configuration and weights; the configuration of a class differs between majors.

Evidence: wheels of 2.2 to 3.12 compared (``keras.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

__all__ = ["pack", "renames"]

pack = Registry("keras")
renames = teach(pack, __name__)
