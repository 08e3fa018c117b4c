"""Keras: how the state of each layer changed from 0.x to 3.x, and new names of pickled classes.

Keras's file formats are read by ``persist/readers/keras/files.py``, which names nothing anew. Here a
layer's configuration with its weights is a versioned state: its steps lead from ``nb_filter`` and
``border_mode`` to ``filters`` and ``padding``, and turn kernels. `_layers` has the steps of layers,
`_composed` those that have no successor, `_models` those of sequences and networks, `_training`
losses and optimizers.

Evidence: the sources that each module names; wheels of 2.2 to 3.12 compared (``keras.tsv``).
"""

from __future__ import annotations

from persist.packs import teach
from persist.registry import Registry

from . import _layers, _models, _training
from ._layers import count_of
from ._table import OPTIONS

__all__ = ["OPTIONS", "count_of", "pack", "renames"]

pack = Registry("keras")
renames = teach(pack, __name__)
_layers.register(pack)
_models.register(pack)
_training.register(pack)
