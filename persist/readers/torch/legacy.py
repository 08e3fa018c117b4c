"""The stream of pickles that ``torch.save`` wrote before it wrote archives.

Written by  PyTorch 0.1.7 to 1.5, and later ones with
            ``_use_new_zipfile_serialization=False``; by any ``pickle_module``
            (dill) and at any protocol.
Evidence    ``torch/serialization.py``, ``_legacy_save`` and ``_legacy_load``;
            ``torch/csrc/generic/serialization.cpp`` of 0.2 to 1.5.
Traps       It begins as a pickle, of one long integer, and plain pickle fails
            on it. The storages follow the pickles, so a tensor is described
            before its data is reached; the item size of a storage comes from
            the first reference to it. Numbers are little-endian
            on every machine. Releases before 1.2 keep the source text of classes
            in the persistent ids.
Gives       The object; tensors are views of the storages.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Any

from persist._runtime.lazy_regex import regex
from persist._wire.base.source import Cursor, Source
from persist._wire.torch.outline import outline, simple
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader

if TYPE_CHECKING:
    from persist._wire.pickle.machine import Machine
    from persist._wire.torch.rebuild import Origin

__all__ = ["LegacyReader"]

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

_LONG = MAGIC.to_bytes(10, "little")
_BINARY = regex(rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0a" + re.escape(_LONG) + rb"\.", re.DOTALL)
_TEXT = regex(rb"L%dL?\r?\n\." % MAGIC)


class LegacyReader(Reader):
    """torch.save's stream: a magic number, pickles, raw storages."""

    name = "torch-legacy"
    suffixes = (".pt", ".pth", ".pth.tar", ".th", ".ckpt", ".bin")
    refines = ("pickle",)
    writes = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file":
            return None
        head = source.head(48)
        if _BINARY.match(head) or _TEXT.match(head):
            return "begins with torch's magic number as a pickle"
        return None

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write what every torch since 0.4 reads: tensors, and plain values around them.

        Raises:
            FormatError: the tree holds anything else, or a type of a later torch.
        """
        from persist._wire.torch.writer import write_stream

        write_stream(tree, target, **options)

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for

        damage: list[str] = []
        origin = Origin(source, damage=damage if options.salvage else None)
        machine = machine_for(source, origin, py2_str=options.py2_str)
        cursor = source.cursor()
        _check(machine, cursor)
        system = machine.load(cursor)
        tree = machine.load(cursor)
        try:
            keys = machine.load(cursor)
            _place(source, cursor, origin, keys)
        except DamagedFileError as error:
            if not options.salvage:
                raise
            damage.append(str(error))
        return Content(
            tree,
            structure=lambda: _structure(tree, machine, origin, system),
            writer=_writer(machine),
            damage=damage,
            globals={*machine.globals, "torch"},
        )


def _check(machine: Machine, cursor: Cursor) -> None:
    """Read the magic number and the version of the stream."""
    machine.load(cursor)
    version = machine.load(cursor)
    if version != PROTOCOL:
        raise cursor.damaged(
            f"the stream is of version {version!r}.",
            f"{PROTOCOL} is the only one that was ever written; the file is damaged.",
        )


def _place(source: Source, cursor: Cursor, origin: Origin, keys: object) -> None:
    """Find the bytes of each storage; they are stored in the order of the keys."""
    from persist._wire.torch.rebuild import text_of

    if not isinstance(keys, list):
        raise cursor.damaged(f"a {type(keys).__name__} is where the list of storages was expected.")
    for item in keys:
        key = text_of(item)
        blob = origin.blobs.get(key)
        if blob is None:
            raise cursor.damaged(f"storage {key!r} is in the list, but no tensor named it.")
        size = origin.sizes[key]
        count = cursor.i64()
        if count < 0 or count * size != blob.nbytes:
            raise cursor.damaged(
                f"storage {key!r} begins with a count of {count:,} elements, "
                f"but {blob.nbytes // size:,} are named.",
                "The file is damaged.",
            )
        blob.place(source.window(cursor.offset, blob.nbytes, f"storage {key!r}"))
        cursor.offset += blob.nbytes
    missing = [key for key, blob in origin.blobs.items() if not blob.is_placed]
    if missing:
        raise cursor.damaged(f"the data of storage {missing[0]!r} is not in the file.")


def _writer(machine: Machine) -> dict[str, str]:
    """Only Python 2 writes ``str`` as it does."""
    return {"python": "2"} if machine.has_py2_str else {}


def _structure(tree: object, machine: Machine, origin: Origin, system: object) -> dict[str, Any]:
    return {
        "container": "legacy stream",
        "protocol": machine.protocol,
        "system": simple(system) if isinstance(system, dict) else {},
        "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
        **({"sources": origin.sources} if origin.sources else {}),
        **outline(tree),
    }
