"""What a file can hold: plain values, arrays, and records; all of it inert.

A *tree* is made of

- plain values: None, bool, int, float, complex, str, bytes, bytearray, list,
  tuple, dict, set, frozenset, range, slice, the standard library's dates,
  Decimal, Fraction, UUID, pure paths, OrderedDict, defaultdict, Counter, deque,
  ``array.array``, NumPy's scalars and dtypes;
- arrays: ``numpy.ndarray`` (also masked, matrix, recarray), or a `LazyArray`;
- `Record`: an instance of any other class, as a value;
- `Global`: a class or function that the file merely names;
- `PersistentRef`: a reference that only the user's program could resolve.

Shared references and cycles are as they are in the file. Nothing here imports
or calls what a name in the file points to.
"""

from __future__ import annotations

import array as array_module
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from persist._envelope import unwrap
from persist._runtime.printing import is_deep, repr_of, text_of
from persist.errors import PersistError

__all__ = [
    "ABSENT",
    "Global",
    "LazyArray",
    "PersistentRef",
    "Record",
    "View",
    "step_of",
    "typed_array",
]


class _Absent:
    """The one value that says "nothing was there", where None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


class Global:
    """A class, function or module-level object that a file names, never looked up."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def qualname(self) -> str:
        """The dotted name, as written in the file."""
        return f"{self.module}.{self.name}" if self.module else self.name

    def __repr__(self) -> str:
        return f"<global {self.qualname}>"

    def __str__(self) -> str:
        return self.qualname

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Global):
            return NotImplemented
        return self.module == other.module and self.name == other.name

    def __hash__(self) -> int:
        return hash((self.module, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        return Global, (self.module, self.name)


class PersistentRef:
    """A persistent id (pickle's PERSID and BINPERSID) that nothing here can resolve."""

    __slots__ = ("pid",)

    def __init__(self, pid: object) -> None:
        self.pid = pid

    def __repr__(self) -> str:
        text = repr_of(self.pid) if isinstance(self.pid, str | bytes | int) else "..."
        return f"<persistent reference {text[:80]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return PersistentRef, (self.pid,)


_OWN = frozenset(
    ("cls", "maker", "kind", "args", "kwargs", "state", "listitems", "dictitems", "version")
)


# What a record has where its maker said nothing; a reader that makes many leaves it unsaid.
_BESIDE = frozenset(("args", "kwargs", "listitems", "dictitems"))  # the state
_UNSET: dict[str, Any] = {
    "args": tuple, "kwargs": dict, "listitems": list, "dictitems": list,
    "maker": lambda: None, "version": lambda: None,
}  # fmt: skip


class Record:
    """An instance of a class as a value: everything its pickle said, nothing made.

    The fields of its state are read and set as attributes or items
    (``record.weights``, ``record["weights"]``); where a field bears the name of
    one of the attributes below, only the item form reaches it.

    Attributes:
        cls: the `Global` of its class, as the file names it (where the file
            names only a rebuilding function, that function).
        maker: the `Global` that the pickle would have called with ``args``;
            None where it is the class itself.
        kind: how it was made: "reduce", "newobj", "newobj_ex", "inst", "obj",
            "reconstructor" (``args`` is then (base, value)), "record" (by hand).
        args: the constructor's arguments, without the class itself.
        kwargs: the constructor's keywords (NEWOBJ_EX only).
        state: what BUILD applied, or ABSENT.
        listitems: items appended to it (subclasses of list and the like).
        dictitems: (key, value) pairs set on it (subclasses of dict).
        version: the version of its schema, where the file tells it, else None.
    """

    __slots__ = (
        "__weakref__",
        "_touched",
        "args",
        "cls",
        "dictitems",
        "kind",
        "kwargs",
        "listitems",
        "maker",
        "state",
        "version",
    )

    cls: Global
    maker: Global | None
    kind: str
    args: tuple[Any, ...]
    kwargs: dict[Any, Any]
    state: Any
    listitems: list[Any]
    dictitems: list[tuple[Any, Any]]
    version: int | None

    def __init__(
        self,
        cls: Global | str,
        state: Any = ABSENT,
        *,
        maker: Global | None = None,
        kind: str = "record",
        args: tuple[Any, ...] = (),
        kwargs: dict[Any, Any] | None = None,
        listitems: list[Any] | None = None,
        dictitems: list[tuple[Any, Any]] | None = None,
        version: int | None = None,
    ) -> None:
        if isinstance(cls, str):
            module, _, name = cls.rpartition(".")
            cls = Global(module, name)
        put = object.__setattr__
        put(self, "cls", cls)
        put(self, "maker", maker)
        put(self, "kind", kind)
        put(self, "args", args)
        put(self, "kwargs", {} if kwargs is None else kwargs)
        put(self, "state", state)
        put(self, "listitems", [] if listitems is None else listitems)
        put(self, "dictitems", [] if dictitems is None else dictitems)
        put(self, "version", version)
        put(self, "_touched", True)

    @property
    def is_bare(self) -> bool:
        """Whether there is a state and nothing beside it: no arguments, no items."""
        try:
            _touched(self)
        except AttributeError:  # made without them, and nobody has asked for them yet
            return True
        return not (self.args or self.kwargs or self.listitems or self.dictitems)

    @property
    def qualname(self) -> str:
        """The dotted name of its class, as written in the file."""
        return self.cls.qualname

    def fields(self) -> dict[Any, Any]:
        """Return the state as names and values.

        A dict as it is; pickle's pair ``(dict or None, dict or None)`` of
        attributes and slots merged; an envelope's fields of all classes, the
        second of one name as ``name~2``; anything else, and no state, gives ``{}``.
        """
        state = self.state
        if isinstance(state, dict):
            return state
        if is_slots_pair(state):
            return {**(state[0] or {}), **(state[1] or {})}
        envelope = unwrap(state)
        return {} if envelope is None else envelope.attributes()

    def _holder(self, name: Any) -> dict[Any, Any] | None:
        """The dict in the state that holds, or would take, the field."""
        state = self.state
        if isinstance(state, dict):
            return state
        if is_slots_pair(state):
            for part in state:
                if part is not None and name in part:
                    return part  # type: ignore[no-any-return]
            return state[0] if state[0] is not None else state[1]  # type: ignore[no-any-return]
        envelope = unwrap(state)
        return None if envelope is None else envelope.attributes()

    def __getitem__(self, name: Any) -> Any:
        holder = self._holder(name)
        if holder is None or name not in holder:
            raise KeyError(name)
        return holder[name]

    def __setitem__(self, name: Any, value: Any) -> None:
        envelope = unwrap(self.state)
        changed = None if envelope is None else envelope.with_field(name, value)
        if changed is not None:
            object.__setattr__(self, "state", changed)
            return
        holder = None if envelope is not None else self._holder(name)
        if holder is None:
            if self.state is not ABSENT:
                raise KeyError(
                    f"{name!r}: the state of {self.qualname} is a "
                    f"{type(self.state).__name__}, not fields; set .state itself"
                )
            holder = {}
            object.__setattr__(self, "state", holder)
        holder[name] = value

    def __delitem__(self, name: Any) -> None:
        holder = self._holder(name)
        if holder is None or name not in holder:
            raise KeyError(name)
        envelope = unwrap(self.state)
        if envelope is not None:
            object.__setattr__(self, "state", envelope.without_field(name))
            return
        del holder[name]

    def __contains__(self, name: object) -> bool:
        holder = self._holder(name)
        return holder is not None and name in holder

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fields())

    def __getattr__(self, name: str) -> Any:
        if name in _UNSET:  # one of its own that nobody has asked for yet
            value = _UNSET[name]()
            object.__setattr__(self, name, value)
            if name in _BESIDE:
                object.__setattr__(self, "_touched", True)
            return value
        if name in Record.__slots__ or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self.qualname} has no field {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
            if name in _BESIDE:
                object.__setattr__(self, "_touched", True)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __dir__(self) -> list[str]:
        names = [text_of(name) for name in self.fields()]
        return sorted({*names, *_OWN, "qualname", "fields", "is_bare"})

    def __repr__(self) -> str:
        version = "" if self.version is None else f" version {self.version}"
        names = [text_of(name) for name in self.fields()]
        shown = ", ".join(names[:8]) + (f", ... {len(names) - 8} more" if len(names) > 8 else "")
        if not names and self.state is not ABSENT:
            shown = f"state: {type(self.state).__name__}"
        elif not names and self.args:
            shown = f"{len(self.args)} arguments"
        return f"<{self.qualname}{version}, a record: {shown or 'no fields'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The contents travel as state, so that a record may hold itself.
        own = {name: getattr(self, name) for name in sorted(_OWN - {"cls"})}
        return Record, (self.cls,), own

    def __setstate__(self, own: dict[str, Any]) -> None:
        for name in _OWN & own.keys():
            object.__setattr__(self, name, own[name])


_touched = Record._touched.__get__  # type: ignore[attr-defined]


def typed_array(code: str, items: Any = ()) -> array_module.array[Any]:
    """Return an ``array.array``; of text ("u"), too, which Python 3.13 warns of."""
    if code != "u":
        return array_module.array(code, items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return array_module.array("u", items)


def is_slots_pair(state: object) -> bool:
    """Whether a state is pickle's pair of attributes and slots, not a tuple of the class's own.

    Source: ``object.__reduce_ex__`` of CPython (``copyreg`` and ``typeobject.c``):
    ``(__dict__ or None, slots or None)``; only then is each part None or a dict.
    """
    return (
        type(state) is tuple
        and len(state) == 2
        and all(part is None or isinstance(part, dict) for part in state)
        and any(part is not None for part in state)
    )


_DEEP_KEYS = 64  # instances inside each other, in a key that is named by what it holds
_KEY_PARTS = (str, bytes, int, float, complex, bool, type(None), np.generic)


def are_attributes(state: Any, cls: type) -> bool:
    """Whether a dict of a file may become attributes of a plain instance of a class.

    None of its names may hide what the class has: with ``items`` set to None on an
    ``OrderedDict``, everybody fails who asks it for its items.
    """
    return isinstance(state, dict) and not any(
        not isinstance(name, str) or name.startswith("__") or hasattr(cls, name) for name in state
    )


def step_of(key: Any) -> str:
    """Return the step that a dict's key gives: its text, bytes as UTF-8 or else latin-1."""
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bytes):
        try:
            return key.decode("utf-8")
        except UnicodeDecodeError:
            return key.decode("latin-1")
    if isinstance(key, Record):
        held = key_of(key)
        return f"<{key.qualname}>" if held is ABSENT else step_of(held)
    return text_of(_bare(key))


def at_path(path: str) -> str:
    """Return where a natural path leads, for a message: ``at 'a/b'``, or ``at the root``."""
    return f"at {path!r}" if path else "at the root"


def key_of(key: Record, depth: int = 0) -> Any:
    """Return what a key that is an instance was made of; ABSENT where that is more than plain values.

    A member of an enum gives its value, an instance of a subclass of str or int the text or number,
    a named tuple the tuple.
    """
    args = key.args
    if depth > _DEEP_KEYS:
        return ABSENT
    if key.kind == "reconstructor" and len(args) == 2:  # (the builtin base, its value)
        args = args[1:]
    if len(args) == 1 and isinstance(args[0], tuple) and key.maker is None:
        args = args[0]
    is_bare = not key.kwargs and not key.listitems and not key.dictitems
    if not args or not is_bare or not (key.state is ABSENT or not key.state):
        return ABSENT
    if key.maker is not None and key.maker != key.cls and key.kind != "reconstructor":
        return ABSENT
    held = tuple(key_of(part, depth + 1) if isinstance(part, Record) else part for part in args)
    if not all(isinstance(part, _KEY_PARTS) for part in held):
        return ABSENT
    return held[0] if len(held) == 1 else held


def _bare(key: Any) -> Any:
    """NumPy scalars in a key as Python's."""
    if isinstance(key, np.generic):
        has_no_unit = key.dtype.kind in "mM" and np.datetime_data(key.dtype)[0] == "generic"  # type: ignore[arg-type]
        return key if has_no_unit else key.item()
    if isinstance(key, Record):
        held = key_of(key)
        return key if held is ABSENT else held
    if not isinstance(key, tuple) or is_deep(key):
        return key
    if any(isinstance(item, tuple | np.generic | Record) for item in key):
        return tuple(_bare(item) for item in key)
    return key


class View:
    """How a record looks through a pack: a value, parts beside it, and what is inside unseen.

    Attributes:
        value: what stands at the record's own path (an array, a scalar, any
            tree value), or ABSENT.
        parts: step -> tree value, named beside it (``<path>/<step>``).
        hoisted: (name, tree value) pairs that go by their own name from the
            root, where no path leads to them (shared variables in a graph);
            or what returns them, asked only when names are looked for.
        structure: JSON-able description of what is no array, what returns it,
            or None.
        whole: the value ends a path, even where it is a list or a tuple
            (a ``torch.Size`` is one thing).
        alone: the name that the value goes by, beside its parts, where it is
            all that the file holds; "" leaves it the root's own.
    """

    __slots__ = ("alone", "hoisted", "parts", "structure", "value", "whole")

    def __init__(
        self,
        value: Any = ABSENT,
        parts: dict[str, Any] | None = None,
        hoisted: list[tuple[str, Any]] | Callable[[], list[tuple[str, Any]]] | None = None,
        structure: Any = None,
        whole: bool = False,
        alone: str = "",
    ) -> None:
        self.value = value
        self.whole = whole
        self.alone = alone
        self.parts = {} if parts is None else parts
        self.hoisted = [] if hoisted is None else hoisted
        self.structure = structure


class LazyArray:
    """An array whose bytes are read when they are asked for.

    ``numpy.asarray(lazy)`` and ``lazy[...]`` read; ``dtype``, ``shape``,
    ``ndim``, ``size`` and ``nbytes`` do not.

    Args:
        dtype: of the array.
        shape: of the array.
        fetch: returns the whole array, read-only or private.
        rows: returns rows ``start`` to ``stop`` of the first axis without
            reading the others, where the layout allows it.
    """

    __slots__ = ("_fetch", "_rows", "_whole", "dtype", "shape")

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        fetch: Callable[[], np.ndarray[Any, Any]],
        rows: Callable[[int, int], np.ndarray[Any, Any]] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self._fetch = fetch
        self._rows = rows
        self._whole: np.ndarray[Any, Any] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return self.size * self.dtype.itemsize

    def read(self) -> np.ndarray[Any, Any]:
        """Return the whole array; the same object at every call."""
        if self._whole is None:
            whole = self._fetch()
            if whole.shape != self.shape or whole.dtype != self.dtype:
                raise PersistError(
                    f"a lazy array of {self.dtype} {self.shape} gave {whole.dtype} {whole.shape}."
                )
            self._whole = whole
        return self._whole

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        whole = self.read()
        if dtype is not None and dtype != whole.dtype:
            return whole.astype(dtype)
        return whole.copy() if copy else whole

    def __getitem__(self, index: Any) -> Any:
        if (
            self._whole is None
            and self._rows is not None
            and isinstance(index, slice)
            and self.shape
        ):
            start, stop, step = index.indices(self.shape[0])
            if step > 0:
                return self._rows(start, max(start, stop))[::step]
        return self.read()[index]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<lazy array {self.dtype} {self.shape}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.read(),)
