"""Archives of pickles and raw storages: one folder in a ZIP, with named records in it.

Source: ``caffe2/serialize/inline_container.cc`` of PyTorch 1.0 to 2.13: members
are stored and padded to 64 bytes, only code may be deflated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from persist._wire.archives.zip import Member, ZipDirectory
from persist._wire.base.source import Source
from persist.errors import DamagedFileError
from persist.tree import ABSENT

__all__ = ["Archive"]

_RECORDS = (
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
)
_SHORT = 4096  # bytes of a record that is shown


class Archive:
    """The folder of an archive.

    Attributes:
        directory: of the ZIP.
        folder: the prefix of each name, with its slash; empty if there is no folder.
    """

    def __init__(self, directory: ZipDirectory, folder: str) -> None:
        self.directory = directory
        self.folder = folder

    @classmethod
    def of(cls, source: Source, record: str) -> Archive | None:
        """Return the archive that holds a record of this name in its one folder, or None."""
        directory = ZipDirectory.of(source) if source.kind == "file" else None
        if directory is None:
            return None
        folders: dict[str, str] | None = source.memo.get("archive")
        if folders is None:  # of each record in a folder, or in none, the first place
            folders = source.memo["archive"] = {}
            for name in directory.names:
                folder, _, last = name.rpartition("/")
                if "/" not in folder:
                    folders.setdefault(last, f"{folder}/" if folder else "")
        folder = folders.get(record, ABSENT)
        return None if folder is ABSENT else cls(directory, folder)

    @classmethod
    def need(cls, source: Source, record: str) -> Archive:
        """Return the archive; a reader that claimed it finds it again.

        Raises:
            DamagedFileError: there is none.
        """
        archive = cls.of(source, record)
        if archive is None:
            raise DamagedFileError(f"no member {record!r} is in it.", file=source.name)
        return archive

    @property
    def is_package(self) -> bool:
        """Whether it is what ``torch.package`` writes."""
        return self.has(".data/extern_modules")

    def find(self, record: str) -> Member | None:
        """Return the member that is this record, or None."""
        return self.directory.find(self.folder + record)

    def has(self, record: str) -> bool:
        """Whether it has this record."""
        return self.find(record) is not None

    def open(self, record: str, verify: bool = False) -> Source:
        """Return a record's bytes.

        Raises:
            DamagedFileError: it has none, or its bytes are damaged.
        """
        member = self.find(record)
        if member is None:
            raise DamagedFileError(
                f"record {record!r} is not in the archive.",
                file=self.directory.source.name,
                remedy="It is incomplete: copy it again from where it came from.",
            )
        return self.directory.open(member, verify)

    def text(self, record: str) -> str:
        """Return a short record as text, stripped; "" where there is none."""
        if not self.has(record):
            return ""
        return self.open(record).head(_SHORT).decode("utf-8", "replace").strip()

    def below(self, folder: str) -> list[str]:
        """Return the names of the records in a folder of it, without that folder."""
        start = self.folder + folder
        return [name[len(start) :] for name in self.directory.names if name.startswith(start)]

    def records(self) -> dict[str, str]:
        """Return what the short records that torch itself adds say."""
        return {name: text for name in _RECORDS if (text := self.text(name))}

    def checked(self, verify: str | None) -> bool:
        """Whether bytes are compared with their CRC when they are opened; "always": all, now."""
        if verify == "always":
            for member in self.directory.members:
                self.directory.verify(member)
        return verify == "lazy"

    def storages(
        self, verify: bool, *folders: str
    ) -> Callable[[str], tuple[int, Callable[[], Source]] | None]:
        """Return what finds the bytes of a storage by its key.

        Args:
            verify: compare them with their CRC when they are opened.
            folders: where they are; as a rule ``data/``, in the archives of 1.4 ``tensors/``.
        """

        def find(key: str) -> tuple[int, Callable[[], Source]] | None:
            for folder in folders or ("data/", "tensors/"):
                member = self.find(folder + key)
                if member is not None:
                    return member.size, functools.partial(self.directory.open, member, verify)
            return None

        return find
