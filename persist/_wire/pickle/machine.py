"""The pickle machine: executes every opcode of protocols 0 to 5 without calling anything.

Decisions and execution happen in the same pass. The machine imports and calls
nothing that the file names: a global becomes a `Global`, an instance a `Record`.
Plain data that pickle spells as calls (dates, sets, NumPy arrays) is built by
the tables ``rebuild`` and ``finish``, whose functions are ours and check every
part.

Opcode by opcode after CPython's ``Lib/pickletools.py`` and ``Lib/pickle.py``
(protocols 0 to 5), and Python 2's ``cPickle.c`` (INST, OBJ, STRING).

Rules that the machine keeps:

- No Python recursion: the depth of values is not limited. The depth of *hashed*
  values is (`Limits.depth`), since CPython hashes by recursion on the C stack.
- Nothing is allocated for a claimed size before that many bytes are available.
- The memo is a dict: an index of 2**31 costs the same as an index of 1.
- Opcodes, values visited for one hash, and equal hashes in one dict are counted
  and limited, so that no small file takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from persist._runtime.progress import current
from persist._wire.base.c_recursion import MOST, is_too_deep
from persist._wire.base.hashing import KeyCosts
from persist._wire.base.source import Cursor, Source
from persist._wire.pickle import fast_loop
from persist._wire.pickle.handlers import FAULTS, Finisher, Rebuilder
from persist._wire.pickle.opcodes import NAMES
from persist._wire.pickle.opcodes.memo import EarlierMemo
from persist._wire.pickle.replacing import ReferencePatcher
from persist._wire.pickle.strings import string_policy
from persist.errors import DamagedFileError, LimitError, PersistError
from persist.tree import ABSENT, PRIMITIVES, Global, LazyArray, Record
from persist.typing import Array, DType

__all__ = ["Machine"]


class Machine:
    """Executes the pickles of one source into inert trees.

    Args:
        source: the file that holds the pickles.
        py2_str: what Python 2's ``str`` becomes: None (text if it is UTF-8,
            bytes otherwise), "text" (the same, but latin-1 if it is not
            UTF-8), "bytes", the name of an encoding, or a callable from bytes.
        persistent: resolves a persistent id; ABSENT leaves it a `PersistentRef`.
        rebuild: dotted name of a function -> builds the result of its REDUCE.
        finish: dotted name of a class or function -> replaces its records by plain
            values after BUILD has set their state.
        buffers: out-of-band buffers of protocol 5, in order.
        most: largest number of opcodes; None for the source's limit.

    Attributes:
        globals: every `Global` that occurred, by its dotted name.
        classes: by name, the classes that the file holds by value and has instances of.
        protocol: the highest protocol of a PROTO opcode, 0 without one.
        has_py2_str: whether an opcode occurred that only Python 2 writes.
        steps: opcodes executed so far.
        phrase: executes a known sequence of opcodes that begins with two marks as one step:
            from the available bytes, the position, the stack and the memo it returns the new top
            of the stack, the position of the next opcode and the number of opcodes; or None.

    The opcodes (`opcodes`) also use:

    Attributes:
        stack: the values above the last mark.
        marked: the values below each mark, outermost first.
        memo: the values of the memo, by their index.
        earlier: the memo of the pickles before this one.
        data, end, pos, at: the available bytes and their number; the offsets of the next byte
            and of the opcode that is being executed.
        due: where the last frame says that it ends.
        most: largest number of opcodes.
        waiting: by id, the memo slots of each record that a finisher will replace.
        escaped: ids of such records that were used before their state was known.
        replaced: by id, such a record and what replaced it.
        finishers, rebuilders: by id, each global that was looked up, and its handler or None.
        cheap_keys: types of keys whose hash costs nothing.
        keys: what hashing the other keys has cost.
        recursive: containers that CPython frees by recursion, and which hold others of the kind.
        raw_strings: by id, text that Python 2 wrote as ``str``, where it is not ASCII or ``py2_str`` made it, and its bytes.
    """

    _loop = staticmethod(fast_loop.run)

    def __init__(
        self,
        source: Source,
        *,
        py2_str: str | Callable[[bytes], Any] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        rebuild: Mapping[str, Rebuilder] | None = None,
        finish: Mapping[str, Finisher] | None = None,
        buffers: list[Any] | None = None,
        most: int | None = None,
    ) -> None:
        self.source = source
        self.globals: dict[str, Global] = {}
        self.classes: dict[str, Record] = {}
        self.protocol = 0
        self.has_py2_str = False
        self.steps = 0
        self.most = source.most_opcodes if most is None else most
        self.persistent = persistent
        self.rebuild = rebuild or {}
        self.finish = finish or {}
        self.buffers = buffers
        self.buffer = 0
        self.py2 = string_policy(py2_str)
        self.raw_strings: dict[int, tuple[object, bytes]] = {}
        self.memo: dict[int, Any] = {}
        self.earlier: dict[int, object] = {}
        self.waiting: dict[int, list[int]] = {}
        self.escaped: set[int] = set()
        self.replaced: dict[int, tuple[Record, object]] = {}
        self.cheap_keys = PRIMITIVES
        self.keys = KeyCosts()
        self.recursive: list[object] = []
        self.finishers: dict[int, tuple[Global, Finisher | None]] = {}
        self.rebuilders: dict[int, tuple[Global, str, Rebuilder | None]] = {}
        self.phrase: Callable[..., tuple[Any, int, int] | None] | None = None
        self.meter = current()
        self._window()

    def _window(self) -> None:
        """Load the available bytes: all of a mapped source, otherwise the first 64 KiB."""
        source = self.source
        self.data = source.view(0, source.size if source.is_mapped else min(source.size, 1 << 16))
        self.end = len(self.data)
        self.pos = 0
        self.at = 0

    # The loop.

    def load(self, cursor: Cursor) -> Any:
        """Execute one pickle, and leave the cursor after its STOP.

        The next pickle of a file begins with an empty memo (``pickle.dump`` in a loop), unless it
        asks for what only the earlier ones put there (one ``Pickler`` that dumps several times).

        Raises:
            DamagedFileError: it is truncated or broken, with offset and opcode.
            LimitError: it would cost too much.
        """
        self.earlier, self.memo = self.memo, {}
        try:
            try:
                return self._load(cursor)
            except EarlierMemo:
                self.memo, self.earlier = self.earlier, {}
                return self._load(cursor)
        finally:
            if len(self.recursive) > MOST:
                self._refuse_deep()

    def _load(self, cursor: Cursor) -> object:
        self.pos = cursor.offset
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.due = 0  # the claimed end of the last frame
        try:
            self._loop(self)
            if self.due > self.source.size:
                self.need(self.due - self.pos)
            value = self.stack.pop()
        except (PersistError, EarlierMemo):
            raise
        except FAULTS as error:
            self._broken(error)
        cursor.offset = self.pos
        if self.meter is not None:
            self.meter.at("read", self.pos, self.source.size, "bytes", self.source.name)
        if self.escaped and self.replaced:
            value = self._put_finished(value)
        return value

    def unfinished(self) -> object:
        """Return what was built of a pickle that broke off: the one object, or the list of what
        was still to be put together, outermost first."""
        parts = [item for stack in (*self.marked, self.stack) for item in stack]
        return parts[0] if len(parts) == 1 else parts or ABSENT

    def _put_finished(self, root: object) -> object:
        """Replace records that were used before they were finished by their finished values."""
        patcher = ReferencePatcher({key: value for key, (_, value) in self.replaced.items()})
        root = patcher.walk(root)
        self.recursive += patcher.recursive
        return root

    def _refuse_deep(self) -> None:
        if is_too_deep(self.recursive):
            raise LimitError(
                "arrays of objects, deques or defaultdicts hold each other more than "
                f"{MOST:,} deep.",
                file=self.source.name,
                remedy="Python itself would crash when it frees them.",
            )

    def pop_to_mark(self) -> list[object]:
        """Return what lies above the last mark, and continue with the stack below it."""
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def _broken(self, error: BaseException) -> NoReturn:
        code = self.data[self.at]
        name = NAMES.get(code)
        what = f"opcode {name} fails" if name else f"byte 0x{code:02x} is no pickle opcode"
        detail = f" ({type(error).__name__}: {error})" if name and str(error) else ""
        raise DamagedFileError(
            f"{what}{detail}.",
            file=self.source.name,
            where=f"offset {self.at}",
            remedy="The pickle is damaged, or the file is of another kind.",
            offset=self.at,
        ) from error

    def too_much(self, what: str, limit: str) -> NoReturn:
        """Raise that the pickle exceeds a limit.

        Args:
            what: the sentence that says what is too much.
            limit: the name of the limit in `Limits`.

        Raises:
            LimitError: always.
        """
        raise LimitError(
            what,
            file=self.source.name,
            where=f"offset {self.at}",
            remedy=f'If the file is honest, raise limits={{"{limit}": ...}}.',
        )

    # Bytes, for opcodes and for rebuilders of raw data between opcodes.

    def need(self, count: int) -> None:
        """Ensure that ``count`` bytes are available at the position, or raise that the file ends."""
        wanted = self.pos + count
        if wanted <= self.end:
            return
        size = self.source.size
        if wanted > size:
            raise DamagedFileError(
                f"the file ends after {size:,} bytes, but its pickle goes on"
                + (f" ({count:,} bytes are due at {self.pos:,})." if count > 1 else "."),
                file=self.source.name,
                where=f"offset {self.at}",
                remedy="The file is truncated: copy it again from where it came from.",
                truncated=True,
                offset=self.at,
            )
        # Only what is new is read: behind a URL it is a request of its own.
        grown = bytearray(min(size, max(wanted, 4 * self.end)))
        grown[: self.end] = self.data
        grown[self.end :] = self.source.view(self.end, len(grown) - self.end)
        self.data = memoryview(grown).toreadonly()
        self.end = len(grown)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes of the stream and skip them."""
        pos = self.pos
        if pos + count > self.end:
            self.need(count)
        self.pos = pos + count
        return bytes(self.data[pos : pos + count])

    def tell(self) -> int:
        """Return the offset after the opcode that is being executed."""
        return self.pos

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes of the stream."""
        if count < 0 or self.pos + count > self.source.size:
            self.need(max(count, 1))
        self.pos += count

    def array(self, dtype: DType, shape: tuple[int, ...], order: str = "C") -> Array | LazyArray:
        """Return the raw array that is next in the stream and skip it."""
        array = self.source.array(self.pos, dtype, shape, order)
        self.skip(array.nbytes)
        return array

    def inner(
        self, source: Source | None = None, finish: Mapping[str, Finisher] | None = None
    ) -> Machine:
        """Return a machine with the same settings for another pickle.

        Args:
            source: the source of the pickle; None for the same stream.
            finish: in place of this machine's own.
        """
        other = Machine.__new__(Machine)
        other.__dict__.update(self.__dict__)
        other.memo, other.earlier = {}, {}
        other.waiting, other.escaped, other.replaced = {}, set(), {}
        other.recursive, other.finishers, other.rebuilders = [], {}, {}
        if finish is not None:
            other.finish = finish
        if source is not None:
            other.source = source
            other._window()
        return other

    def origin(self, value: object) -> bytes | None:
        """Return the bytes that Python 2 wrote for a value as ``str``; None for what was none.

        Text of ASCII alone is the same whether it was ``str`` or ``unicode``.
        """
        known = self.raw_strings.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        if isinstance(value, bytes):
            return value
        return value.encode() if isinstance(value, str) and value.isascii() else None

    def raw(self, value: object) -> bytes | None:
        """Return the bytes of a value that Python 2 may have written as ``str``, else None."""
        if isinstance(value, bytes):
            return value
        known = self.raw_strings.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        return None

    def line(self) -> bytes:
        """Return the bytes up to the next line feed and skip them and it."""
        # Grown step by step: a line is short, and a mapped file may have none for gigabytes.
        pos, most = self.pos, 256
        while True:
            stop = min(self.end, pos + most)
            chunk = bytes(self.data[pos:stop])
            end = chunk.find(b"\n")
            if end >= 0:
                self.pos = pos + end + 1
                return chunk[:end]
            if stop == self.end:
                self.need(stop - pos + 1)
            most *= 2
