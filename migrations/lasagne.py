"""Lasagne: a layer's parameters by their names.

A pickled layer keeps in ``params`` a dict whose keys are the shared variables and whose values are
sets of tags. Its weights are attributes too (``W``, ``b``), and so are its inputs
(``input_layer``, ``input_layers``). ``lasagne.layers.get_all_param_values`` returns a list of
arrays, in a pickle or an npz (``arr_0``, ``arr_1``, ... in the order of their numbers, not of text).

Evidence: ``lasagne/layers/base.py`` (``Layer.add_param``) of 0.1 and 0.2.dev1; ``lasagne/layers/helper.py``.
"""

from __future__ import annotations

from typing import Any

from persist.registry import Registry
from persist.tree import Record, View

__all__ = ["pack"]

pack = Registry("lasagne")


@pack.plain("lasagne.layers.*")
def layer(record: Record, looker: object) -> Any:
    """Show the attributes of a layer; ``params`` becomes the tags by parameter name."""
    fields = record.fields()
    params = fields.get("params")
    pairs = _pairs(params)
    if pairs is None:
        return None
    tags: dict[str, object] = {}
    for variable, marks in pairs:
        name = _name_of(variable)
        tags[name if name not in tags else f"{name}~{len(tags)}"] = marks
    parts = {str(name): value for name, value in fields.items()}
    parts["params"] = tags
    return View(parts=parts, structure={"class": record.qualname, "name": fields.get("name")})


def _pairs(params: object) -> list[tuple[Any, object]] | None:
    """The items of an OrderedDict with variables as keys, or None."""
    if isinstance(params, dict):
        pairs = list(params.items())
    elif isinstance(params, Record):
        pairs = list(params.dictitems)
    else:
        return None
    return pairs if all(isinstance(key, Record) for key, _ in pairs) else None


def _name_of(variable: Record) -> str:
    name = variable.fields().get("name")
    return name if isinstance(name, str) and name else variable.cls.name
