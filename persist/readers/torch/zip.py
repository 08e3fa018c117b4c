"""The archive that ``torch.save`` writes since 1.6, and could write since 1.4.

Written by  PyTorch 1.6 and later; 1.4 and 1.5 where it was asked for.
Evidence    ``torch/serialization.py``, ``_save`` and ``_load``;
            ``caffe2/serialize/inline_container.h`` and ``.cc``.
Traps       The one folder in it is called ``archive``, or like the file was when
            it was saved. Storages are ``data/<key>``, in the archives of 1.4
            ``tensors/<key>``. One of no elements has a member of no bytes. Numbers are
            little-endian, unless the member ``byteorder`` (since 2.1) says
            ``big``. An archive with ``constants.pkl`` is TorchScript's.
Gives       The object; tensors look into the stored members, of which nothing
            is read until a tensor is.
"""

from __future__ import annotations

from typing import IO, Any

from persist._wire.base.source import Source
from persist._wire.torch.archive import Archive
from persist._wire.torch.outline import outline
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
        if archive is None or archive.has("constants.pkl") or archive.is_package:
            return None
        return f'ZIP with "{archive.folder}data.pkl"'

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.torch.rebuild import Origin, machine_for

        archive = Archive.need(source, "data.pkl")
        damage: list[str] = []
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

    def write(self, tree: Any, target: IO[bytes], **options: Any) -> None:
        """Write what ``torch.load(weights_only=True)`` reads: tensors, and plain values around them.

        Arrays become tensors; those that share memory share a storage.

        Raises:
            FormatError: the tree holds what such a file cannot.
        """
        from persist._wire.torch.writer import write_archive

        write_archive(tree, target, **options)
