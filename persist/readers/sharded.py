"""A state dict in several files, and the JSON that maps each name to its file.

Written by  Hugging Face's libraries (``save_pretrained`` of transformers and diffusers since
            2022, ``save_torch_state_dict``): ``model.safetensors.index.json``,
            ``pytorch_model.bin.index.json``; ``torch.distributed`` since 2.7.
Evidence    ``transformers/modeling_utils.py`` (``shard_checkpoint``),
            ``huggingface_hub/serialization/_base.py`` and ``_torch.py``,
            ``torch/distributed/checkpoint/hf_storage.py``.
Traps       Keras has such a map too, of ``.h5`` files. The names of the files say how many there are
            (``-00001-of-00003``); these are not steps of a run. A file may hold names that the map
            lacks.
Gives       The state dict: every name of the map, in its order, and ``__metadata__``.
            Open the JSON file or the folder.
"""

from __future__ import annotations

import json
from typing import Any

from persist._wire.base.source import Source
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["ShardsReader"]

_END = ".index.json"
_WORD = b'"weight_map"'
_METADATA = "__metadata__"
_LARGEST = 64 << 20  # bytes of a map
_HEAD = 65_536


class ShardsReader(Reader):
    """Sharded state dicts."""

    name = "shards"
    suffixes = (".index.json",)
    refines = ("series",)

    def claims(self, source: Source) -> str | None:
        found = _index(source)
        if found is None:
            return None
        index, parsed = found
        count = len(set(parsed["weight_map"].values()))
        where = "" if index is source else f' "{index.basename}",'
        return (
            f"{where} JSON that maps {len(parsed['weight_map']):,} names to {count:,} files".strip()
        )

    def read(self, source: Source, options: Options) -> Content:
        found = _index(source)
        if found is None:
            raise DamagedFileError("no map of shards is in it any more.", file=source.name)
        index, parsed = found
        damage: list[str] = []
        shards: dict[str, Content] = {}
        for file in dict.fromkeys(parsed["weight_map"].values()):
            try:
                shards[file] = _shard(source, file, options)
            except DamagedFileError as error:
                if not options.salvage:
                    raise
                damage.append(str(error))
        tree = _joined(source, parsed["weight_map"], shards, damage, options)
        metadata: dict[str, Any] = {}
        for content in shards.values():
            metadata.update(content.tree.get(_METADATA) or {})
        metadata.update(parsed["metadata"] if isinstance(parsed.get("metadata"), dict) else {})
        if metadata:
            tree[_METADATA] = metadata
        result = Content(tree, damage=damage)
        for file, content in shards.items():
            damage += [f"{file}: {note}" for note in content.damage]
            result.globals |= content.globals
            result.writer.update(content.writer)

        def structure() -> dict[str, Any]:
            parts = {
                file: content.structure() if callable(content.structure) else content.structure
                for file, content in shards.items()
            }
            return {"container": "shards", "index": index.basename, "files": parts}

        result.structure = structure
        return result


def _index(source: Source) -> tuple[Source, dict[str, Any]] | None:
    """Return the map in a file, or the first one in a folder, parsed once; otherwise None."""
    if "shards" not in source.memo:
        source.memo["shards"] = _found(source)
    found: tuple[Source, dict[str, Any]] | None = source.memo["shards"]
    return found


def _found(source: Source) -> tuple[Source, dict[str, object]] | None:
    if source.kind == "folder":
        for name in source.children():
            if name.endswith(_END) and (child := source.child(name)) is not None:
                parsed = _map(child)
                if parsed is not None:
                    return child, parsed
        return None
    parsed = _map(source)
    return None if parsed is None else (source, parsed)


def _map(source: Source) -> dict[str, Any] | None:
    """Return a parsed map of names to files, or None; maps of Keras are excluded."""
    if source.kind != "file" or not 2 <= source.size <= _LARGEST:
        return None
    head = source.head(_HEAD)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return None
    if _WORD not in head and _WORD not in source.tail(_HEAD):
        return None
    try:
        parsed = json.loads(bytes(source.view(0, source.size)).decode("utf-8-sig"))
    except (ValueError, RecursionError, FormatError):
        return None
    names = parsed.get("weight_map") if isinstance(parsed, dict) else None
    if not isinstance(names, dict) or not names:
        return None
    if not all(isinstance(file, str) and not file.endswith(".h5") for file in names.values()):
        return None
    return dict(parsed)


def _shard(source: Source, file: str, options: Options) -> Content:
    """Read one file, which must hold arrays by name."""
    found = source.child(file) if source.kind == "folder" else source.sibling(file)
    if found is None or found.kind != "file":
        raise DamagedFileError(
            f"{file!r}, which the map names, is missing.",
            file=source.name,
            remedy="Put all files into one folder, under the names that they were saved with.",
        )
    if options.open_nested is None:
        raise FormatError("nested files cannot be opened here.", file=found.name)
    content = options.open_nested(found)
    if not isinstance(content.tree, dict):
        raise DamagedFileError(
            f"it holds a {type(content.tree).__name__}, where arrays by name were expected.",
            file=found.name,
            remedy="Replace it with the file that was saved together with this map.",
        )
    return content


def _joined(
    source: Source,
    names: dict[str, str],
    shards: dict[str, Content],
    damage: list[str],
    options: Options,
) -> dict[str, object]:
    """Take each name from the file that the map gives for it."""
    tree: dict[str, Any] = {}
    for name, file in names.items():
        if file not in shards:
            continue  # reported already
        if name in shards[file].tree:
            tree[name] = shards[file].tree[name]
            continue
        error = DamagedFileError(
            f"{name!r} is not in {file!r}, where the map has it.",
            file=source.name,
            remedy="The files come from different saves: copy them again, together.",
        )
        if not options.salvage:
            raise error
        damage.append(str(error))
    return tree
