"""PyMC3: the samples of a pickled trace by chain and variable, and its attributes.

A ``MultiTrace`` keeps a trace for each chain in ``_straces``; one in memory (``NDArray``) has
``samples``, a dict of arrays, and ``draw_idx``, the number of draws made: arrays of an interrupted
run are longer than that. Random variables of a model are symbolic; Theano's pack shows them,
whatever their class is.

Evidence: ``pymc3/backends/base.py`` (``MultiTrace``), ``backends/ndarray.py`` of 3.0 to 3.11.
"""

from __future__ import annotations

from persist.registry import Registry
from persist.tree import Record, View

__all__ = ["pack"]

pack = Registry("pymc3")


@pack.plain("pymc3.backends.base.MultiTrace")
def traces(record: Record, looker: object) -> object:
    """Show the attributes unchanged, and ``<chain>/<variable>`` as in a trace folder."""
    fields = record.fields()
    chains = fields.get("_straces")
    if not isinstance(chains, dict):
        return None
    parts = {str(name): value for name, value in fields.items()}
    for chain, trace in chains.items():
        samples = trace.fields().get("samples") if isinstance(trace, Record) else None
        if isinstance(samples, dict):
            parts.setdefault(str(chain), samples)
    return View(parts=parts, structure={"chains": [str(chain) for chain in chains]})
