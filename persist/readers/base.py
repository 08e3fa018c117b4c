"""The interface of readers: each recognises and reads one family of file formats.

A reader module holds one `Reader` subclass (or several), found by walking the
package or through the entry point group ``persist.readers``. `Reader.claims` says
whether a file is in the format, and `Reader.read` turns it into a `Content`; names
and states are given exactly as written in the file. Formats that can also be
written implement `Reader.write`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, ClassVar, NamedTuple

from persist._wire.base.source import Cursor, Limits, Source, open_source

__all__ = ["Content", "Cursor", "Limits", "Options", "Reader", "Source", "open_source"]


class Options(NamedTuple):
    """The user's options that a reader may need.

    Attributes:
        py2_str: what Python 2's ``str`` becomes: None (text if it is valid UTF-8,
            bytes otherwise), "text", "bytes", the name of an encoding, or a
            callable that takes bytes.
        verify: when checksums are verified: "lazy", "always", "never" or None
            (the reader's default).
        salvage: return the intact parts of a damaged file, and list the rest in
            `Content.damage`.
        step: the step to read from a series of checkpoints, None for the latest.
        open_nested: reads a `Source` found inside the file with whichever reader
            claims it.
        arrays: "numpy", or "torch" for tensors (requires torch).
    """

    py2_str: str | Callable[[bytes], object] | None = None
    verify: str | None = None
    salvage: bool = False
    step: int | None = None
    open_nested: Callable[[Source], Content] | None = None
    arrays: str = "numpy"


class Content:
    """The result of reading a file.

    Args:
        tree: the file as written, unless ``make_tree`` is given.
        make_tree: a function without arguments that returns the tree. It is called
            when `tree` is first read, and at most once if it succeeds: a file that is
            opened only for its structure or for one array is then never decoded as a
            whole. If it raises, the next access calls it again. The caller of `tree`,
            not this class, pauses the garbage collector.

    All other arguments are the attributes of the same names.

    Attributes:
        tree: the file as written (see `persist.tree`).
        structure: JSON-able description of everything that is not an array, or a
            function that makes it on request.
        writer: what the file itself states about the software that wrote it; never guessed.
        damage: messages about damage that was skipped.
        notes: messages about alternatives that were chosen and parts that were left out,
            where nothing is wrong with the file.
        globals: dotted names that the file mentions; packs are selected by them.
        format: replaces the reader's name, for readers of several formats.
        find: returns the array at a natural path without making the tree, or
            None if the tree is needed to resolve the path.
        held: a short summary of the content for its page, such as
            "7 pickles, one after another"; usually empty.
        with_rows: for formats with tables of instances: takes a function that builds the
            rows of a table, and returns the tree with those rows.
        origin: for a file that Python 2 wrote: takes a value of the tree, and returns the
            bytes that Python 2 wrote for it as ``str``, or None for what was no ``str``;
            None where that is not known.
    """

    def __init__(
        self,
        tree: object = None,
        structure: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        writer: dict[str, str] | None = None,
        damage: list[str] | None = None,
        globals: set[str] | None = None,
        format: str | None = None,
        find: Callable[[str], Any] | None = None,
        with_rows: Callable[[Any], Any] | None = None,
        notes: list[str] | None = None,
        held: str = "",
        *,
        make_tree: Callable[[], Any] | None = None,
        origin: Callable[[Any], bytes | None] | None = None,
    ) -> None:
        self._tree = tree
        self.origin = origin
        self._make_tree = make_tree
        self.structure = {} if structure is None else structure
        self.writer = {} if writer is None else writer
        self.damage = [] if damage is None else damage
        self.notes = [] if notes is None else notes
        self.held = held
        self.globals = set() if globals is None else globals
        self.format = format
        self.find = find
        self.with_rows = with_rows

    @property
    def tree(self) -> Any:
        """The file as written, made on first access where ``make_tree`` was given."""
        make = self._make_tree
        if make is not None:
            # In this order: another thread that finds no function must find the tree.
            self._tree = make()
            self._make_tree = None
        return self._tree

    @tree.setter
    def tree(self, tree: object) -> None:
        self._tree = tree
        self._make_tree = None


class Reader:
    """One family of formats.

    Attributes:
        name: the value of ``file.format``.
        suffixes: file name suffixes in common use for the format, for ``save`` and
            the documentation; never needed for reading.
        refines: names of readers that yield to this one when both claim a file.
        is_sure: whether the claim rests on signatures unique to the format, so that
            no other reader needs to be asked.
        is_last: whether the reader is asked only if no other reader claims the file.
        writes: whether `write` is implemented.
        is_flat: whether `write` accepts only arrays by name.
        is_pickle: whether `write` accepts live objects, which pickle themselves.
        is_model: whether `write` accepts only a living model of Keras.
        is_prefix: whether `write_files` is implemented in place of `write`: it takes a
            path, with which the names of several files begin.
        is_many: whether the source is a folder of files that can each be opened on
            its own as well.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    refines: ClassVar[tuple[str, ...]] = ()
    is_sure: ClassVar[bool] = False
    is_last: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    is_flat: ClassVar[bool] = False
    is_pickle: ClassVar[bool] = False
    is_model: ClassVar[bool] = False
    is_prefix: ClassVar[bool] = False
    is_many: ClassVar[bool] = False

    def claims(self, source: Source) -> str | None:
        """Return why the file is in this format, or None. Judges content, not the suffix.

        Must be cheap, since every reader is asked: a few reads of small ranges, and no
        import of modules that only `read` needs. Must not raise for any bytes.
        """
        raise NotImplementedError

    def read(self, source: Source, options: Options) -> Content:
        """Read the file.

        Raises:
            FormatError: the file cannot be read. No other exception may be raised,
                whatever the bytes are.
        """
        raise NotImplementedError

    def write(self, tree: object, target: IO[bytes], **options: object) -> None:
        """Write a tree in this format.

        Raises:
            FormatError: the tree holds a value that the format cannot represent.
        """
        raise NotImplementedError

    def write_files(self, tree: object, prefix: str) -> list[str]:
        """Write a tree as several files, and return their paths.

        Raises:
            FormatError: the tree holds a value that the format cannot represent.
        """
        raise NotImplementedError
