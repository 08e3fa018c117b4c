"""The robust ZIP of Theano, Aesara and PyTensor: a pickle, and its arrays as NPY members.

Written by  ``misc.pkl_utils.dump`` of Theano 0.8 to 1.0.5, Aesara and PyTensor.
            Plain pickles of these libraries (also of ``StripPickler``) are read
            by `persist.readers.pickle`; `persist.migrations.theano` interprets
            the objects of both.
Evidence    ``theano/misc/pkl_utils.py`` of 0.8 to 1.0.5 (``PersistentNdarrayID``,
            ``PersistentGpuArrayID``, ``PersistentSharedVariableID``,
            ``PersistentNdarrayLoad``), ``zipfile.ZipInfo.from_file`` for the
            conversion of names; files of 0.8.2 to PyTensor 2.17.
Traps       Members have no ``.npy``. The persistent id is ``<kind>.<name>``,
            text that is split at its first dot: a name with a dot breaks
            Theano's own load, not this one. ``zipfile`` removes leading slashes
            and ``..`` from a member's name, the id keeps them; Python 2
            writes names as raw bytes. Two members may have the same name; the
            later one is used for both, as in Theano. ``gpuarray.<name>``: the member is a
            pickle of the context's name, then the NPY.
Gives       The dumped object as written: shared variables are records with
            their array in ``container.storage``.
"""

from __future__ import annotations

from typing import IO

from persist._wire.archives.zip import ZipDirectory
from persist._wire.base.source import Source
from persist.errors import FormatError
from persist.readers.base import Content, Options, Reader

__all__ = ["TheanoZipReader"]

_PICKLE = "pkl"
_FIRST = b"\x80()]}IJKLMNFGSTUVXcilPQd"  # bytes that a pickle can begin with


class TheanoZipReader(Reader):
    """Archives of ``misc.pkl_utils.dump`` of Theano, Aesara and PyTensor."""

    name = "theano-zip"
    refines = ("npz",)
    writes = True
    is_pickle = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file":
            return None
        directory = ZipDirectory.of(source)
        member = directory.find(_PICKLE) if directory is not None else None
        if directory is None or member is None:
            return None
        try:
            head = directory.peek(member, 1)
        except (FormatError, ImportError):
            return None
        return f"ZIP with a pickle in its member {_PICKLE!r}" if head and head in _FIRST else None

    def read(self, source: Source, options: Options) -> Content:
        from persist.readers._theano import read_zip

        return read_zip(source, options)

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write an archive for ``misc.pkl_utils.load`` of Theano and its successors, and ``numpy.load``.

        Arrays become members: those of shared variables by the variable's name, others by their
        path of keys and attributes. Arrays of objects stay in the pickle, as NumPy refuses to
        load them by default.

        Args:
            tree: any tree; it may hold live objects.
            target: an open binary file.
            options: ``protocol``, 2 by default, which Python 2 reads too; ``compress="deflate"``
                compresses as Theano does, otherwise members are stored and aligned; ``reducer``, see
                `PickleWriter`.

        Raises:
            FormatError: a value that cannot be pickled.
        """
        from persist.readers._theano import write_zip

        write_zip(tree, target, **options)
