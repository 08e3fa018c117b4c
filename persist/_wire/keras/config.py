"""What a network's configuration states: its layers, the order of its kernels, code kept as text.

The configuration is what JSON or YAML gave, or an attribute of an HDF5 file; one
language in four dialects:

- 0.x: ``{"layers": [{"name": "Dense", ...}]}``, a class per ``name``;
- 1.x to 3.x: ``{"class_name": ..., "config": ...}``, in which ``config`` is a list of
  layers (a sequence, up to 2.2) or a dict with ``layers``, each of the same kind,
  or with a ``layer`` that is wrapped.

After ``keras/models.py`` and ``keras/engine/topology.py`` of 0.3.3, 1.2.2 and 2.2.4,
``keras/utils/generic_utils.py`` (``func_dump``), ``keras/src/saving/serialization_lib.py``
of 3.0.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import attrs

from persist._runtime.free_names import free_name

__all__ = [
    "Layer",
    "codes_of",
    "described",
    "is_architecture",
    "json_form",
    "kernel_order",
    "layers_of",
]

_MOST = 200_000  # values of one configuration that are walked over


@attrs.frozen
class Layer:
    """One layer of a configuration.

    Attributes:
        name: as the configuration names it; in 0.x its custom name, or empty.
        class_name: its class.
        config: its own arguments.
        path: names of the models and wrappers around it.
    """

    name: str
    class_name: str
    config: dict[str, object]
    path: tuple[str, ...]


def is_architecture(value: object) -> bool:
    """Whether a value is a network's configuration."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict | list):
        return True
    is_old = value.get("name") in ("Sequential", "Graph")
    return is_old and isinstance(value.get("layers", value.get("nodes")), list | dict)


def described(
    config: object, backend: str | None = None, known_by: str = "", version: str | None = None
) -> dict[str, Any]:
    """Return the configuration, its layers in order, their kernels' order and the code in it."""
    layers = layers_of(config)
    return {
        "model": json_form(config),
        "layers": [
            {"name": one.name, "class_name": one.class_name, "within": "/".join(one.path)}
            for one in layers
        ],
        "kernel_order": kernel_order(layers, backend, known_by, version),
        "code": {
            name: f"{len(code):,} bytes, not loaded" for name, code in codes_of(config).items()
        },
    }


def layers_of(config: object) -> list[Layer]:
    """Return all layers in order, those of nested models and wrappers behind what holds them."""
    found: list[Layer] = []
    todo: list[tuple[object, tuple[str, ...], bool]] = [(config, (), True)]
    while todo and len(found) < _MOST:
        item, path, is_root = todo.pop()
        if not isinstance(item, dict):
            continue
        own = item.get("config", item)
        kind = item.get("class_name", item.get("name"))
        name = own.get("name") if isinstance(own, dict) else None
        if "class_name" not in item or name is None:
            name = item.get("custom_name", item.get("name", name))
        inner = own if isinstance(own, list) else []
        if isinstance(own, dict):
            for key in ("layers", "layer", "forward_layer", "cell", "cells", "layer_config"):
                below = own.get(key)
                inner = inner + (below if isinstance(below, list) else [below])
            if isinstance(own.get("nodes"), dict):  # a Graph of 0.x
                nodes = own["nodes"].items()
                inner = inner + [{**node, "custom_name": key} for key, node in nodes
                                 if isinstance(node, dict)]  # fmt: skip
        if not is_root and isinstance(kind, str):
            arguments = own if isinstance(own, dict) else {}
            found.append(Layer(str(name or ""), kind, arguments, path))
        below_path = path if is_root else (*path, str(name or kind))
        if len(below_path) <= 64:
            todo += [(one, below_path, False) for one in reversed(inner)]
    return found


def kernel_order(
    layers: list[Layer], backend: str | None, known_by: str, version: str | None
) -> dict[str, object]:
    """Return in which order kernels of convolutions stand, and how that is known.

    Theano convolves: it slides a kernel turned by half a circle. TensorFlow
    correlates. A network moved from one to the other turns its kernels
    (``keras.utils.np_utils.convert_kernel``). Apart from that, 1.x keeps the axes of
    kernels in the order of ``dim_ordering``; from 2.0 on it is one order for all.

    Args:
        layers: of the configuration.
        backend: that wrote the file, where that is known.
        known_by: how.
        version: of the library, where the file states it.
    """
    found = re.match(r"(\d{1,3})\.", version or "")
    major = int(found[1]) if found else None
    axes: dict[str, dict[str, str]] = {}
    for layer in layers:
        ordering = layer.config.get("dim_ordering")
        if "conv" not in layer.class_name.lower():
            continue
        if ordering in ("th", "tf"):
            order = "out, in, rows, columns" if ordering == "th" else "rows, columns, in, out"
            axes[layer.name] = {"axes": order, "known_by": f"dim_ordering {ordering!r}"}
        elif (major is not None and major >= 2) or "data_format" in layer.config:
            axes[layer.name] = {"axes": "rows, columns, in, out", "known_by": "release 2 or later"}
    turned = {"theano": True, "tensorflow": False}.get(backend or "")
    return {"backend": backend, "known_by": known_by, "turned": turned, "layers": axes}


def codes_of(config: object) -> dict[str, bytes]:
    """Return the marshalled code objects in a configuration, as bytes that nobody loads.

    A function of a ``Lambda`` is ``[code, defaults, closure]`` with the code in Base64
    (2.x), or as text whose characters are its bytes (1.x, ``raw_unicode_escape``); in
    3.x a dict of class ``__lambda__``.

    Returns:
        ``<layer>/<argument>`` -> the bytes.
    """
    found: dict[str, bytes] = {}
    for owner, argument, text in _functions(config):
        found[free_name(f"{owner}/{argument}", found)] = _code(text)
    return found


def _functions(config: object) -> Iterator[tuple[str, str, str]]:
    todo: list[tuple[object, str]] = [(config, "")]
    for _ in range(_MOST):
        if not todo:
            return
        item, owner = todo.pop()
        if isinstance(item, list):
            todo += [(one, owner) for one in reversed(item)]
        if not isinstance(item, dict):
            continue
        own = item.get("config")
        if isinstance(own, dict) and isinstance(own.get("name"), str):
            owner = own["name"]
        elif isinstance(item.get("name"), str):
            owner = item.get("custom_name") or item["name"]
        for key, value in item.items():
            dumped = value[0] if isinstance(value, list) and len(value) == 3 else None
            if isinstance(value, dict) and value.get("class_name") == "__lambda__":
                inner = value.get("config")
                dumped = inner.get("code") if isinstance(inner, dict) else None
            if isinstance(dumped, str) and key in _ARGUMENTS:
                yield owner, key, dumped
        todo += [(value, owner) for value in reversed(item.values())]


_ARGUMENTS = frozenset(("function", "output_shape", "mask", "mode", "output_mask", "merge_mode"))


def _code(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii").replace(b"\n", b""), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return text.encode("raw_unicode_escape")


def json_form(value: object, depth: int = 0) -> object:
    """Return a configuration as JSON holds it: tuples as lists, what JSON lacks as text."""
    if depth > 200:
        return "..."
    if isinstance(value, dict):
        return {str(key): json_form(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_form(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "tolist"):
        return json_form(value.tolist(), depth + 1)
    return str(value)
