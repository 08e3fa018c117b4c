"""The archive that ``torch.save`` writes since 1.6, and could write since 1.4.

Written by  PyTorch 1.6 and later; 1.4 and 1.5 on request.
Evidence    ``torch/serialization.py``, ``_save`` and ``_load``;
            ``caffe2/serialize/inline_container.h`` and ``.cc``.
Traps       Its only folder is called ``archive``, or has the name of the file when
            it was saved. Storages are ``data/<key>``, in the archives of 1.4
            ``tensors/<key>``. An empty storage has an empty member. Numbers are
            little-endian, unless the member ``byteorder`` (since 2.1) says
            ``big``. An archive with ``constants.pkl`` is TorchScript's.
Gives       The object; tensors are views of the stored members, which are not
            read until a tensor is used.
"""

from __future__ import annotations

from typing import IO, Any

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist._wire.torch.archive import Archive
from persist._wire.torch.outline import outline
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader

__all__ = ["ZipReader"]


class ZipReader(Reader):
    """torch.save's archive."""

    name = "torch-zip"
    suffixes = (".pt", ".pth", ".ckpt", ".bin")
    refines = ("pickle",)  # "PK" and a line end are a persistent id
    writes = True

    def claims(self, source: Source) -> str | None:
        archive = Archive.of(source, "data.pkl")
        if archive is None:
            return _broken_off(source)
        if archive.has("constants.pkl") or archive.is_package:
            return None
        return f'ZIP with "{archive.folder}data.pkl"'

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for

        damage: list[str] = []
        archive = _salvaged(source, damage) if options.salvage else _intact(source)
        checked = archive.checked(options.verify)
        is_big = archive.text("byteorder") == "big"
        origin = Origin(
            source, archive.storages(checked), is_big, damage if options.salvage else None
        )
        pickled = archive.open("data.pkl", checked)
        machine = machine_for(pickled, origin, py2_str=options.py2_str)
        tree = machine.load(pickled.cursor())

        def structure() -> dict[str, Any]:
            return {
                "container": "zip",
                "folder": archive.folder.rstrip("/"),
                "protocol": machine.protocol,
                "records": archive.records(),
                "globals": sorted(f"{ref.module} {ref.name}" for ref in machine.globals.values()),
                **outline(tree),
            }

        return Content(
            tree,
            structure=structure,
            damage=damage,
            globals={*machine.globals, "torch"},
        )

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write what ``torch.load(weights_only=True)`` reads: tensors, and plain values around them.

        Arrays become tensors; those that share memory share a storage.

        Raises:
            FormatError: the tree holds what such a file cannot.
        """
        from persist._wire.torch.writer import write_archive

        write_archive(tree, target, **options)


# Archives that break off.


def _broken_off(source: Source) -> str | None:
    """Why a ZIP without a directory is one of torch's: by its first local header."""
    head = source.head(30 + 1024) if source.kind == "file" else b""
    if head[:4] != b"PK\3\4" or len(head) < 30 or ZipDirectory.of(source) is not None:
        return None
    length = int.from_bytes(head[26:28], "little")
    name = head[30 : 30 + length]
    if not name.endswith(b"/data.pkl") or name.count(b"/") != 1:
        return None
    text = name.decode("utf-8", "replace")
    return f"begins as a ZIP with the member {text!r}, but its directory is missing or broken"


def _intact(source: Source) -> Archive:
    """Return the archive.

    Raises:
        DamagedFileError: it breaks off; with the way to what is whole.
    """
    known = Archive.of(source, "data.pkl")
    if known is not None:
        return known
    try:
        ZipDirectory.read(source)
    except DamagedFileError as error:
        error.remedy += " Open it with salvage=True for the members that are whole."
        raise
    return Archive.need(source, "data.pkl")


def _salvaged(source: Source, damage: list[str]) -> Archive:
    """Return the archive with its whole members.

    Raises:
        DamagedFileError: the pickle, or the byte order of the numbers, is lost, and nothing can be
            given without it.
    """
    directory = ZipDirectory.whole(source, damage)
    pickles = [name for name in directory.names if name.rpartition("/")[2] == "data.pkl"]
    lost = [name for name in directory.lost if name.rpartition("/")[2] == "byteorder"]
    if lost or not pickles:
        raise DamagedFileError(
            f"{lost[0] if lost else 'data.pkl'} is lost, without which no tensor can be made "
            f"({damage[0] if damage else 'it is not in the archive'}).",
            file=source.name,
            remedy="Copy the file again from where it came from.",
        )
    return Archive(directory, pickles[0].removesuffix("data.pkl"))
