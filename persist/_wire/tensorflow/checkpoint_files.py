"""Which files of a folder make which tensor checkpoint, and what its state file says.

Sources: TensorFlow's ``core/util/tensor_bundle/naming.cc`` (``<prefix>.index``,
``<prefix>.data-00000-of-00002``), ``core/util/tensor_slice_reader.cc``
(``<prefix>-00000-of-00002``), ``python/training/checkpoint_management.py`` (the
text file ``checkpoint``, paths relative to its folder or absolute; sharded ones
as ``<prefix>-?????-of-00002``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Source
from persist.errors import FormatError

__all__ = ["STATE", "State", "bundles", "is_state", "read_state", "split_shard", "tables"]

STATE = "checkpoint"
_DATA = regex(r"(?P<prefix>.*)\.data-(?P<number>\d{5})-of-(?P<count>\d{5})\Z", re.DOTALL)
_SHARD = regex(r"(?P<prefix>.+)-(?P<number>[\d?]{5})-of-(?P<count>\d{5})\Z", re.DOTALL)
_STATE_FIRST = regex(
    rb"(?:\s|#[^\n]*\n)*(?:model_checkpoint_path|all_model_checkpoint_paths"
    rb"|all_model_checkpoint_timestamps|last_preserved_timestamp)\s*:"
)


def split_shard(name: str) -> tuple[str, str, int] | None:
    """Return (prefix, "data" or "table", number of shards) of the name of a shard, or None."""
    for kind, pattern in (("data", _DATA), ("table", _SHARD)):
        match = pattern.match(name)
        if match is not None:
            return match["prefix"], kind, int(match["count"])
    return None


def bundles(names: Iterable[str]) -> list[str]:
    """Return the prefixes of which both the index and a shard of data stand among the names."""
    names = list(names)
    held = {match["prefix"] for name in names if (match := _DATA.match(name))}
    return sorted(
        name.removesuffix(".index")
        for name in names
        if name.endswith(".index") and name.removesuffix(".index") in held
    )


def tables(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the prefixes of tables in shards, and the names of their files."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        match = _SHARD.match(name)
        if match is not None and not _DATA.match(name) and "?" not in match["number"]:
            found.setdefault(match["prefix"], []).append(name)
    return {
        prefix: files for prefix, files in found.items()
        if not any(file.endswith((".safetensors", ".bin")) for file in files)
    }  # fmt: skip


class State(NamedTuple):
    """What a state file names, the last step of each path: the folder may have moved."""

    latest: str
    all: list[str]

    def described(self) -> dict[str, Any]:
        """Return it as a description."""
        return {"model_checkpoint_path": self.latest, "all": self.all}


def is_state(source: Source) -> bool:
    """Whether a file begins as a state file."""
    return source.kind == "file" and bool(_STATE_FIRST.match(source.head(1024)))


def read_state(source: Source) -> State:
    """Return what a state file says.

    Raises:
        FormatError: it is none.
    """
    if source.size > 16 << 20 or not is_state(source):
        raise FormatError("this is no state file of checkpoints.", file=source.name)
    from persist._wire.messages.textproto import parse
    from persist._wire.tensorflow.schemas import SCHEMAS

    message = parse(SCHEMAS, "CheckpointState", source.view(0, source.size), source)
    latest = _last_step(message.text("model_checkpoint_path"))
    every = [_last_step(path) for path in message.texts("all_model_checkpoint_paths")]
    return State(latest, every or ([latest] if latest else []))


def _last_step(path: str) -> str:
    name = re.split(r"[/\\]", path)[-1]
    shard = _SHARD.match(name)
    return shard["prefix"] if shard is not None and "?" in shard["number"] else name
