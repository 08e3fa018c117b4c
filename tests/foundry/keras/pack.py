"""Pack the archives that the recipes made, for the tests: members in a row, compressed as one.

    python pack.py OUT.tar.xz IN.zip

The many small HDF5 files of one release have most bytes in common: together they take a tenth.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile


def pack(target: str, source: str) -> None:
    """Write the members of a ZIP archive into a tar archive, sorted by kind."""
    with zipfile.ZipFile(source) as archive, tarfile.open(target, "w:xz", preset=9) as packed:
        names = sorted(archive.namelist(), key=lambda name: (name.rpartition(".")[2], name))
        for name in names:
            data = archive.read(name)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    pack(*sys.argv[1:])
