"""Pickles of every protocol, of CPython 2 and 3, one or several in a file.

Written by  ``pickle`` and ``cPickle`` since Python 1.4: protocols 0 to 5, also
            several in sequence (``cPickle.dump`` in a loop), also in a
            log that is still being appended to.
Evidence    CPython's ``Lib/pickle.py``, ``Lib/pickletools.py``, Python 2's
            ``Modules/cPickle.c``; files written by 2.7, 3.6, 3.8.
Traps       Protocols 0 and 1 have no magic: they are claimed when their first
            opcodes execute. A transfer in text mode turns LF into CR LF.
            Python 2's ``str`` is both text and binary data. torch's files are
            pickles too, followed by raw data; joblib's are read here (see
            `persist.readers.joblib`), since their first raw data may come
            anywhere between the opcodes. gensim stores large arrays next to the
            pickle (``model.wv.vectors.npy``), which lists them only by attribute.
Gives       The object; a list if there are several pickles.
"""

from __future__ import annotations

from typing import IO

from persist._wire.base.source import Source
from persist.readers.base import Content, Options, Reader

__all__ = ["PickleReader", "begins_as_text"]

# Opcodes with which a pickle of protocol 0 or 1 can begin.
_FIRST = frozenset(bytes((code,)) for code in b"()]}IJKLMNFGSTUVXcilPQd")


class PickleReader(Reader):
    """Pickle and cPickle of Python 2 and 3."""

    name = "pickle"
    suffixes = (".pkl", ".pickle", ".p", ".pck", ".save")
    writes = True
    is_pickle = True

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or not source.size:
            return None
        head = source.head(2)
        if head[:1] == b"\x80" and len(head) == 2 and head[1] <= 5:
            return f"begins as pickle protocol {head[1]}"
        if begins_as_text(source):
            return "its first bytes execute as pickle protocol 0 or 1"
        return None

    def read(self, source: Source, options: Options) -> Content:
        from persist.readers._pickle import read_pickles

        return read_pickles(source, options)

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write one pickle: records as the original instances, objects by their ``__reduce_ex__``.

        Args:
            tree: any tree; it may hold live objects.
            target: an open binary file.
            options: ``protocol``, 0 to 5; 4 by default (Python 2 reads at most 2);
                ``reducer``, see `PickleWriter`.

        Raises:
            FormatError: a value that cannot be pickled.
        """
        from persist.readers._pickle import write_pickle

        write_pickle(tree, target, **options)


def begins_as_text(source: Source) -> bool:
    """Return whether the first opcodes execute as a pickle without PROTO."""
    head = source.head(4)
    if head[:1] not in _FIRST or head == b"PK\3\4":  # a ZIP may execute, since P is PERSID
        return False
    if head[:1] == b"S" and head[1:2] not in b"'\"":  # STRING is quoted; "SQLite format 3" is not
        return False
    from persist.readers._pickle import executes

    return executes(source)
