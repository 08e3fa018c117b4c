"""Keras's structures without weights: ``to_json`` and ``to_yaml``, and the map of a sharded file.

Written by  Keras 0.1 to 3.x and tf.keras: ``model.to_json()``; ``model.to_yaml()``
            up to 2.4; ``save_weights("x.weights.json", max_shard_size=...)`` of 3.10.
Evidence    ``keras/models.py`` of 0.3.3 and 1.2.2, ``keras/engine/topology.py`` of
            2.2.4, ``keras/src/saving/saving_lib.py`` of 3.10; files of 0.3.3, 1.2.2,
            2.0.9 and 2.2.4.
Traps       In 0.x a layer's ``name`` is its class, and loss and optimizer are
            inside it. ``config`` is a list up to 2.2 for a sequence, a dict later. YAML
            of 1.x holds Python's own tags, and NumPy's numbers as calls.
Gives       The structure as written; ``file.structure`` has its layers in
            order. For a sharded file, the weights of all shards. The code of a Lambda
            layer is in ``@code`` as bytes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["KerasJsonReader", "KerasYamlReader"]

_LARGEST = 64 << 20  # bytes of a structure
_HEAD = 65_536

_TOP = regex(rb"^(class_name|name): *['\"]?\w+", re.MULTILINE)
_BODY = regex(rb"^(config|layers|nodes): *", re.MULTILINE)


class KerasJsonReader(Reader):
    """The structure of a network as JSON, or the map of a sharded file."""

    name = "keras-json"
    suffixes = ()

    def claims(self, source: Source) -> str | None:
        value = _parsed(source)
        if value is None:
            return None
        from persist._wire.keras.config import is_architecture

        if is_architecture(value):
            return "JSON of a network's layers"
        return "JSON that maps weights to shards" if _shards(value) else None

    def read(self, source: Source, options: Options) -> Content:
        value = _parsed(source)
        if value is None:
            raise DamagedFileError("it is no JSON of a network.", file=source.name)
        shards = _shards(value)
        return _sharded(source, shards, value, options) if shards else _structure(value)


class KerasYamlReader(Reader):
    """The structure of a network as YAML."""

    name = "keras-yaml"
    suffixes = ()

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or not 0 < source.size <= _LARGEST:
            return None
        head = source.head(_HEAD)
        if head.lstrip()[:1] in (b"{", b"[", b"<", b"") or b"\0" in head:
            return None
        if not _BODY.search(head) or not (_TOP.search(head) or _TOP.search(source.tail(_HEAD))):
            return None
        return "YAML of a network's layers"

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.keras.config import is_architecture
        from persist._wire.messages.yaml import read_yaml

        value = read_yaml(source)
        if not is_architecture(value):
            raise DamagedFileError(
                "the YAML is not the structure of a network.",
                file=source.name,
                remedy="A class_name and a config were expected, or layers and the name of a model.",
            )
        return _structure(value)


def _parsed(source: Source) -> Any:
    """The JSON of a file that may be a structure, parsed once; else None."""
    if "json" not in source.memo:
        source.memo["json"] = _loaded(source)
    return source.memo["json"]


def _loaded(source: Source) -> object:
    if source.kind != "file" or not 2 <= source.size <= _LARGEST:
        return None
    head = source.head(_HEAD)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return None
    words = (b'"class_name"', b'"layers"', b'"nodes"', b'"weight_map"')
    if not any(word in head or word in source.tail(_HEAD) for word in words):
        return None
    try:
        return json.loads(bytes(source.view(0, source.size)).decode("utf-8-sig"))
    except (ValueError, RecursionError, FormatError):
        return None


def _structure(value: dict[str, Any]) -> Content:
    from persist._wire.keras.config import codes_of, described

    version, backend = value.get("keras_version"), value.get("backend")
    writer = {
        name: value
        for name, value in (("keras", version), ("backend", backend))
        if isinstance(value, str)
    }
    tree: dict[str, object] = dict(value)
    codes = codes_of(value)
    if codes:
        tree["@code"] = codes
    return Content(
        tree,
        structure=lambda: described(
            value,
            writer.get("backend"),
            "the key 'backend'" if backend else "",
            writer.get("keras"),
        ),
        writer=writer,
    )


def _shards(value: object) -> list[str]:
    """The files in a map of shards, each once; empty where it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("weight_map"), dict):
        return []
    names: dict[str, None] = {}
    for files in value["weight_map"].values():
        for name in files if isinstance(files, list) else [files]:
            if not isinstance(name, str) or not name.endswith(".h5"):
                return []
            names[name] = None
    return list(names)


def _sharded(source: Source, names: list[str], value: Any, options: Options) -> Content:
    from persist._wire.hdf5.file import Hdf5, merge

    tree: dict[str, object] = {}
    damage: list[str] = []
    for name in names:
        shard = source.sibling(name)
        if shard is None:
            if not options.salvage:
                raise DamagedFileError(
                    f"the shard {name!r} is not next to it.",
                    file=source.name,
                    remedy="Put all shards in its folder, or open with salvage=True.",
                )
            damage.append(f"the shard {name!r} is not next to it")
            continue
        file = Hdf5(shard, verify=options.verify != "never", salvage=options.salvage)
        merge(tree, file.walk().tree)
        damage += file.damage
    structure = {"shards": names, "metadata": value.get("metadata", {})}
    return Content(tree, structure=structure, damage=damage, format="keras-sharded-h5")
