"""The value types of a loaded file: plain values, arrays and records, all of them inert.

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
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from persist._envelope import unwrap
from persist._runtime.equality import Opened, is_equal
from persist._runtime.printing import is_deep, repr_of, text_of
from persist.errors import PersistError
from persist.typing import Array, DType

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
    """Type of `ABSENT`, the sentinel for "no value" where None is a valid value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


class Global:
    """A class, function or module-level object that a file refers to by name; it is never imported."""

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
    """A persistent id (pickle's PERSID and BINPERSID); only the program that wrote it can resolve it."""

    __slots__ = ("pid",)

    def __init__(self, pid: object) -> None:
        self.pid = pid

    def __repr__(self) -> str:
        text = repr_of(self.pid) if isinstance(self.pid, str | bytes | int) else "..."
        return f"<persistent reference {text[:80]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return PersistentRef, (self.pid,)


_COMPLETIONS = 10_000  # names that a notebook offers

_OWN = frozenset(
    ("cls", "maker", "kind", "args", "kwargs", "state", "listitems", "dictitems", "version")
)


# The parts of a record in addition to its state. The pickle loops make millions of records and set
# only the parts that a file states; the defaults below are filled in on first access, and
# `_touched` marks a record on which one of these parts was ever read or set (see `is_bare`).
_OPTIONAL_PARTS = frozenset(("args", "kwargs", "listitems", "dictitems"))
_UNSET: dict[str, Any] = {
    "args": tuple, "kwargs": dict, "listitems": list, "dictitems": list,
    "maker": lambda: None, "version": lambda: None, "_touched": bool,
}  # fmt: skip


class Record:
    """An instance of a class as inert data: all that its pickle contains, without running any code.

    The fields of its state are read and set as attributes or items
    (``record.weights``, ``record["weights"]``). A field with the name of one of
    the attributes below is reached by the item form only.

    Two records are equal if class, version, arguments, fields and items are: numbers and arrays by
    value, whatever their type (arrays also by shape), NaN equal to NaN; ``kind`` is not compared, and
    no state equals one without fields. Records may hold themselves. As a key, and in a set, a record is
    itself only: it can change, and a file may hold two equal ones as two keys.

    Attributes:
        cls: the `Global` of its class, as the file names it (where the file
            names only a rebuilding function, that function).
        maker: the `Global` that the pickle would have called with ``args``;
            None if it is the class itself.
        kind: how the pickle builds it: "reduce", "newobj", "newobj_ex", "inst", "obj",
            "reconstructor" (``args`` is then (base, value)), "record" (by hand).
        args: the constructor's arguments, without the class itself.
        kwargs: the constructor's keyword arguments (NEWOBJ_EX only).
        state: the argument of BUILD, or ABSENT.
        listitems: items appended to it (subclasses of list and the like).
        dictitems: (key, value) pairs set on it (subclasses of dict).
        version: the version of its schema if the file records it, else None.
        failure: the error because of which ``load(..., on_error="record")`` left it a record;
            None for any other record.
    """

    __slots__ = (
        "__weakref__",
        "_failure",
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
    _touched: bool

    def __init__(
        self,
        cls: Global | str,
        state: object = ABSENT,
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
        """Whether the record has at most a state, without arguments and items."""
        if not self._touched:  # created without these parts, and none was accessed since
            return True
        return not (self.args or self.kwargs or self.listitems or self.dictitems)

    @property
    def failure(self) -> PersistError | None:
        """The error because of which a load left it a record, or None."""
        try:
            return cast("PersistError", object.__getattribute__(self, "_failure"))
        except AttributeError:
            return None

    @property
    def qualname(self) -> str:
        """The dotted name of its class, as written in the file."""
        return self.cls.qualname

    def fields(self) -> dict[Any, Any]:
        """Return the state as names and values.

        A dict is returned as it is, and pickle's pair ``(dict or None, dict or None)``
        of attributes and slots is merged. An envelope gives the fields of all its
        classes; a second field of the same name is called ``name~2``. Any other
        state, and no state, gives ``{}``.
        """
        state = self.state
        if isinstance(state, dict):
            return state
        if is_slots_pair(state):
            return {**(state[0] or {}), **(state[1] or {})}
        envelope = unwrap(state)
        return {} if envelope is None else envelope.attributes()

    def _holder(self, name: object) -> dict[object, object] | None:
        """The dict of the state that holds the field, or that a new field would be added to."""
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

    def __setitem__(self, name: object, value: object) -> None:
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

    def __delitem__(self, name: object) -> None:
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
        if name in _UNSET:  # a part of the record that was not set: fill in its default
            value = _UNSET[name]()
            object.__setattr__(self, name, value)
            if name in _OPTIONAL_PARTS:
                object.__setattr__(self, "_touched", True)
            return value
        if name == "state" and self in _SOURCES:
            state = _SOURCES.pop(self)()
            object.__setattr__(self, "state", state)
            return state
        if name in Record.__slots__ or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self.qualname} has no field {name!r}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return is_equal(self, other, _opened)

    __hash__ = object.__hash__  # see the docstring: equal records are two keys

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
            if name in _OPTIONAL_PARTS:
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

    def _repr_html_(self) -> str:
        show = _SHOWING.get("html")
        if show is None:
            from html import escape

            return f"<pre>{escape(repr(self))}</pre>"
        return show(self)

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name in self.fields() if isinstance(name, str)][:_COMPLETIONS]

    def __reduce__(self) -> tuple[Any, ...]:
        # The contents are pickled as state, not as arguments, so that a record may contain itself.
        own = {name: getattr(self, name) for name in sorted(_OWN - {"cls"})}
        return Record, (self.cls,), own

    def __setstate__(self, own: dict[str, object]) -> None:
        for name in _OWN & own.keys():
            object.__setattr__(self, name, own[name])


def _opened(value: object) -> Opened | None:
    """How records, lazy arrays and persistent references are compared."""
    if isinstance(value, Record):
        return Opened("record", None, lambda: _compared(value))
    if isinstance(value, LazyArray):
        # The elements of a type that NumPy lacks are compared as they are stored.
        return Opened("array", tuple(value.shape), getattr(value, "encoded", None) or value.read)
    if isinstance(value, PersistentRef):
        return Opened("persistent reference", None, lambda: (value.pid,))
    return None


def _compared(record: Record) -> tuple[object, ...]:
    """What two records are compared by, cheap parts first; the same for all ways to pickle an instance."""
    maker = record.maker
    args: tuple[object, ...] = ()
    rest: tuple[object, ...] = ({}, [], [])
    if record._touched:  # reading a part of any other record would make it
        args, rest = record.args, (record.kwargs, record.listitems, record.dictitems)
    if record.kind == "reconstructor" and len(args) == 2:  # (the builtin base, its value)
        maker = None
        is_plain = isinstance(args[0], Global) and args[0].name == "object"
        args = () if is_plain else args[1:]
    elif maker == record.cls:
        maker = None
    state = record.state
    if state is ABSENT or isinstance(state, dict) or is_slots_pair(state):
        state = record.fields()
    named = (record.cls.module, record.cls.name, record.version)
    made = maker and (maker.module, maker.name)
    return named, made, args, state, *rest


# Records whose state is made when it is first asked for.
_SOURCES: weakref.WeakKeyDictionary[Record, Callable[[], object]] = weakref.WeakKeyDictionary()


def lazy_record(cls: Global, version: int | None, source: Callable[[], object]) -> Record:
    """Return a record whose state ``source`` gives when it is first asked for."""
    record = Record(cls, version=version)
    object.__delattr__(record, "state")
    _SOURCES[record] = source
    return record


_SHOWING: dict[str, Callable[[Record], str]] = {}


def show_records_with(function: Callable[[Record], str]) -> None:
    """Set the function by which notebooks show records; it needs modules that import this one."""
    _SHOWING["html"] = function


_slots: Any = vars(Record)
_set_cls, _set_kind, _set_maker, _set_state, _set_version, _set_touched = (
    _slots[name].__set__ for name in ("cls", "kind", "maker", "state", "version", "_touched")
)


def bare_record(cls: Global, kind: str, state: object, version: int | None) -> Record:
    """Return a record that has at most a state; faster than ``Record(...)``."""
    record = Record.__new__(Record)
    _set_cls(record, cls)
    _set_kind(record, kind)
    _set_maker(record, None)
    _set_state(record, state)
    _set_version(record, version)
    _set_touched(record, False)
    return record


def typed_array(code: str, items: Any = ()) -> array_module.array[Any]:
    """Return an ``array.array``; for code "u" without the DeprecationWarning of Python 3.13."""
    if code != "u":
        return array_module.array(code, items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return array_module.array("u", items)


def is_slots_pair(state: object) -> bool:
    """Whether a state is pickle's pair of attributes and slots, not a tuple defined by the class.

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


def are_attributes(state: object, cls: type) -> bool:
    """Whether a dict from a file may be set as the attributes of an instance of a class.

    No name may shadow an attribute of the class: an ``OrderedDict`` whose ``items`` is set to
    None would break every caller of ``items()``.
    """
    return isinstance(state, dict) and not any(
        not isinstance(name, str) or name.startswith("__") or hasattr(cls, name) for name in state
    )


# Libraries whose packs know these functions by their own names (``_loss``: as scikit-learn's 1.4 to 1.8
# name their module ``sklearn._loss._loss``).
_DECLARED_MAKERS = frozenset(("numpy", "pandas", "sklearn", "_loss"))


def is_cython_maker(function: Global) -> bool:
    """Whether a function makes an instance of the compiled class that is its first argument.

    Cython writes ``__pyx_unpickle_Walker(cls, checksum, state)`` for a class without a ``__reduce__``
    of its own (``Cython/Compiler/ParseTreeTransforms.py``, ``_inject_pickle_methods``, since 0.26);
    ``newObj(cls)`` is what authors write by hand since scikit-learn's trees. Both give
    ``cls.__new__(cls)``, and set the state.
    """
    if function.module.partition(".")[0] in _DECLARED_MAKERS:
        return False
    return function.name == "newObj" or function.name.startswith("__pyx_unpickle_")


def step_of(key: object) -> str:
    """Return the path step of a dict's key: its text; bytes are decoded as UTF-8, else latin-1."""
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
    """Return a natural path as the words of a message: ``at 'a/b'``, or ``at the root``."""
    return f"at {path!r}" if path else "at the root"


def key_of(key: Record, depth: int = 0) -> Any:
    """Return the plain value that a dict's key of type `Record` was built from, or ABSENT.

    An enum member gives its value, an instance of a subclass of str or int the text or number,
    a named tuple the tuple. ABSENT is returned if the key consists of more than plain values.
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


def _bare(key: object) -> object:
    """Replace the NumPy scalars in a key by Python scalars."""
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
    """How a pack presents a record: a value, named parts, and a description of the rest.

    Attributes:
        value: the value at the record's own path (an array, a scalar, any
            tree value), or ABSENT.
        parts: step -> tree value, listed below the record's path (``<path>/<step>``).
        hoisted: (name, tree value) pairs that are listed by their own name at
            the root if no path leads to them (shared variables of a graph);
            or a callable that returns them, called on the first lookup of names.
        structure: JSON-compatible description of everything that is not an
            array, a callable that returns it, or None.
        whole: the value is a leaf even if it is a list or a tuple
            (a ``torch.Size`` is one value).
        alone: the name of the value if the record is the root of the file, next
            to its parts; with "" the value has the path of the root.
    """

    __slots__ = ("alone", "hoisted", "parts", "structure", "value", "whole")

    def __init__(
        self,
        value: Any = ABSENT,
        parts: dict[str, Any] | None = None,
        hoisted: list[tuple[str, Any]] | Callable[[], list[tuple[str, Any]]] | None = None,
        structure: object = None,
        whole: bool = False,
        alone: str = "",
    ) -> None:
        self.value = value
        self.whole = whole
        self.alone = alone
        self.parts = {} if parts is None else parts
        self.hoisted = [] if hoisted is None else hoisted
        self.structure = structure


class LazyArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose bytes are read on first use.

    ``numpy.asarray(lazy)``, ``lazy[...]``, operators, NumPy's functions and the methods of
    `numpy.ndarray` (``lazy.mean()``) read; ``dtype``, ``shape``, ``ndim``, ``size`` and ``nbytes``
    do not. Results are NumPy's. A lazy array cannot be written into.

    Args:
        dtype: dtype of the array.
        shape: shape of the array.
        fetch: returns the whole array; it is read-only or not shared with anybody.
        rows: returns rows ``start`` to ``stop`` of the first axis without
            reading the others; None if the storage layout does not allow it.
    """

    __slots__ = ("_fetch", "_rows", "_whole", "dtype", "shape")

    def __init__(
        self,
        dtype: DType,
        shape: tuple[int, ...],
        fetch: Callable[[], Array],
        rows: Callable[[int, int], Array] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self._fetch = fetch
        self._rows = rows
        self._whole: Array | None = None

    @classmethod
    def _unsettled(cls, settle: Callable[[bool], LazyArray]) -> LazyArray:
        """Return an array whose dtype and shape are read on first use, too.

        Args:
            settle: returns the lazy array that it is to be; True if all of it will be read next.
        """
        array = cls.__new__(cls)  # dtype and shape are not set: `__getattr__` is asked for them
        array._fetch, array._rows, array._whole = _Unsettled(settle), None, None
        return array

    def _settle(self, is_whole: bool) -> None:
        """Read dtype and shape, if that has not been done."""
        if isinstance(self._fetch, _Unsettled):
            made = self._fetch.settle(is_whole)
            self.dtype, self.shape = made.dtype, made.shape
            self._fetch, self._rows = made._fetch, made._rows

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

    def read(self) -> Array:
        """Return the whole array; the same object at every call.

        Raises:
            PersistError: the data read has another dtype or shape than announced.
        """
        if self._whole is None:
            self._settle(True)
            whole = self._fetch()
            if whole.shape != self.shape or whole.dtype != self.dtype:
                raise PersistError(
                    f"a lazy array of {self.dtype} {self.shape} gave {whole.dtype} {whole.shape}."
                )
            self._whole = whole
        return self._whole

    __hash__ = object.__hash__  # by identity, as one array of a file

    def __array_ufunc__(
        self, ufunc: object, method: str, *inputs: object, **options: Any
    ) -> object:
        if any(isinstance(out, LazyArray) for out in options.get("out", ())):
            raise TypeError(
                "a lazy array cannot be written into; numpy.array(lazy) gives a copy that can be."
            )
        act = getattr(ufunc, method)
        return act(*map(_read, inputs), **{name: _read(value) for name, value in options.items()})

    def __array_function__(
        self, function: Any, types: object, args: tuple[Any, ...], options: dict[str, Any]
    ) -> object:
        if function in _WITHOUT_READING and len(args) == 1 and not options and args[0] is self:
            return getattr(self, function.__name__)
        return function(*_read(args), **_read(options))

    def __getattr__(self, name: str) -> Any:
        """Return the attribute or method of `numpy.ndarray`, bound to the array read."""
        if name in ("dtype", "shape") and isinstance(self._fetch, _Unsettled):
            self._settle(False)
            return getattr(self, name)
        if name.startswith("_") or not hasattr(np.ndarray, name) or name in _IN_PLACE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.read(), name)

    def __float__(self) -> float:
        return float(self.read())

    def __int__(self) -> int:
        return int(self.read())

    def __bool__(self) -> bool:
        return bool(self.read())

    def __dlpack__(self, **options: Any) -> Any:
        return self.read().__dlpack__(**options)

    def __dlpack_device__(self) -> object:
        return self.read().__dlpack_device__()

    def __array__(self, dtype: DType | None = None, copy: bool | None = None) -> Array:
        whole = self.read()
        if dtype is not None and dtype != whole.dtype:
            return whole.astype(dtype)
        return whole.copy() if copy else whole

    def __getitem__(self, index: Any) -> Any:
        self._settle(not isinstance(index, slice))
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


class _Unsettled:
    """The ``fetch`` of an array whose dtype and shape have not been read."""

    __slots__ = ("settle",)

    def __init__(self, settle: Callable[[bool], LazyArray]) -> None:
        self.settle = settle

    def __call__(self) -> Array:
        return self.settle(True).read()


_WITHOUT_READING = (np.shape, np.ndim, np.size)
# Methods that would change the array, which is that of the file; and the attributes of our own.
_IN_PLACE = frozenset(
    (
        "dtype",
        "fill",
        "itemset",
        "partition",
        "put",
        "resize",
        "setfield",
        "setflags",
        "shape",
        "sort",
    )
)


def _read(value: object) -> Any:
    """Replace lazy arrays by arrays, in an argument of NumPy's functions and the containers in it."""
    if isinstance(value, LazyArray):
        return value.read()
    if type(value) is tuple or type(value) is list:
        return type(value)(map(_read, value))
    if type(value) is dict:
        return {key: _read(item) for key, item in value.items()}
    return value


# Kinds of values, by exact type. All walkers of trees use these, or sets made of these.
PRIMITIVES = frozenset((type(None), bool, int, float, str, bytes))
SCALARS = PRIMITIVES | {complex, bytearray, PersistentRef}
LEAVES = SCALARS | {LazyArray}  # nothing is inside, and nothing of it is copied
