"""What a reader is: one family of formats, its claim, and what it gives.

A reader module holds one `Reader` subclass (or several), found by walking the
package or by the entry point group ``persist.readers``. It states what the file
is (`claims`), and turns it into a `Content` (`read`); names and states are
given exactly as written in the file. A format that is also written has its
`write` beside its `read`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, ClassVar, NamedTuple

from persist._wire.base.source import Source

__all__ = ["Content", "LateContent", "Options", "Reader"]


class Options(NamedTuple):
    """What a user asked of a reading, for the reader that needs it.

    Attributes:
        py2_str: what Python 2's ``str`` becomes: None (text where it is UTF-8,
            bytes otherwise), "text", "bytes", the name of an encoding, or a
            callable from bytes.
        verify: "lazy", "always", "never" or None (the reader's default).
        salvage: give what is whole of a damaged file, and tell the rest in
            ``damage``.
        step: the step wanted of a series of checkpoints, None for the latest.
        open_nested: reads a Source found inside by whatever reader claims it.
        arrays: "numpy", or "torch" for tensors (with torch installed).
    """

    py2_str: str | Callable[[bytes], Any] | None = None
    verify: str | None = None
    salvage: bool = False
    step: int | None = None
    open_nested: Callable[[Source], Content] | None = None
    arrays: str = "numpy"


class Content:
    """What a reader gives.

    Attributes:
        tree: the file as written (see `persist.tree`).
        structure: JSON-able description of what is no array; or a callable
            that makes it when it is asked for.
        writer: what the file itself tells of its writer; never guessed.
        damage: what was wrong and passed over, in words.
        notes: what was chosen of several, and what was left out, in words; nothing is wrong with it.
        globals: dotted names that the file mentions, by which packs are found.
        format: overrides the reader's name, where one reader knows several.
        find: returns the array at a natural path without making the tree, or
            None where only the tree can tell.
        held: what it holds, for its page: "7 pickles, one after another"; empty as a rule.
        with_rows: makes the tree with the rows of its tables as another makes them, where the
            format has tables.
    """

    def __init__(
        self,
        tree: Any,
        structure: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        writer: dict[str, str] | None = None,
        damage: list[str] | None = None,
        globals: set[str] | None = None,
        format: str | None = None,
        find: Callable[[str], Any] | None = None,
        with_rows: Callable[[Any], Any] | None = None,
        notes: list[str] | None = None,
        held: str = "",
    ) -> None:
        self.tree = tree
        self.structure = {} if structure is None else structure
        self.writer = {} if writer is None else writer
        self.damage = [] if damage is None else damage
        self.notes = [] if notes is None else notes
        self.held = held
        self.globals = set() if globals is None else globals
        self.format = format
        self.find = find
        self.with_rows = with_rows


class LateContent(Content):
    """A content whose tree is made when it is first asked for.

    It is given what makes it in its place; the collector is paused by who asks.
    """

    @property
    def tree(self) -> Any:
        """The file as written."""
        made = self.__dict__.get("made", self)
        if made is self:
            made = self.__dict__["made"] = self.__dict__["make"]()
        return made

    @tree.setter
    def tree(self, make: Any) -> None:
        self.__dict__["make"] = make


class Reader:
    """One family of formats.

    Attributes:
        name: what ``file.format`` says.
        suffixes: of files that users give this format, for ``save`` and the docs;
            never needed for reading.
        refines: names of readers whose claim gives way to this one's.
        is_sure: whether its claim rests on marks of its own that no other format
            bears, so that nobody else need be asked.
        is_last: whether it is asked only when nobody else claims the file.
        writes: whether `write` is there.
        is_flat: whether `write` takes nothing but names and arrays.
        is_pickle: whether `write` takes live objects, which pickle themselves.
        is_many: whether what it opens is a folder of files that also stand each for itself.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    refines: ClassVar[tuple[str, ...]] = ()
    is_sure: ClassVar[bool] = False
    is_last: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    is_flat: ClassVar[bool] = False
    is_pickle: ClassVar[bool] = False
    is_many: ClassVar[bool] = False

    def claims(self, source: Source) -> str | None:
        """Return why this file is its own, or None. Looks at content, not at the suffix.

        Must be cheap: a few reads of small ranges, and no import of what only `read` needs, since
        every reader is asked; and must not raise for any bytes.
        """
        raise NotImplementedError

    def read(self, source: Source, options: Options) -> Content:
        """Read the file.

        Raises:
            FormatError: nothing else, for any bytes.
        """
        raise NotImplementedError

    def write(self, tree: Any, target: IO[bytes], **options: Any) -> None:
        """Write a tree in this format.

        Raises:
            FormatError: the tree holds what the format cannot.
        """
        raise NotImplementedError
