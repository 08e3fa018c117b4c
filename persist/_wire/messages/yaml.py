"""YAML as data: scalars, lists and dicts, and of Python's own tags what is data, too.

PyYAML's parser gives the events; they are put together here, without recursion
and without its constructors, of which nothing can be asked by the file. A tag
that would have imported or called something (``!!python/object/apply:...``)
becomes a `Record`, apart from NumPy's scalars, dtypes and arrays, whose numbers
are read. An alias is the value itself; how large the document would be if all
were written out is counted before anybody walks over it (the bomb of nine lines).

After the YAML 1.1 specification, and ``yaml/constructor.py`` of PyYAML 3.10 to 6.0
for what its tags mean.
"""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import attrs
import numpy as np

from persist._wire.base.dtype_text import from_text
from persist._wire.base.hashing import COLLISION_CHECK, colliding
from persist._wire.base.source import Source
from persist._wire.pickle.numpy_rebuild import array_of_parts
from persist.errors import DamagedFileError, LimitError, MissingExtraError
from persist.tree import ABSENT, Global, Record

__all__ = ["read_yaml"]

_LARGEST = 64 << 20  # bytes of a document
_SPELLED = 2_000_000  # values if every alias were written out
_DEPTH = 1000
_STANDARD = "tag:yaml.org,2002:"
_PYTHON = _STANDARD + "python/"


@attrs.define
class _Open:
    """A sequence or mapping that is being read."""

    is_mapping: bool
    tag: str | None
    anchor: str | None
    items: list[Any] = attrs.Factory(list)
    weight: int = 1


def read_yaml(source: Source) -> Any:
    """Return the value of a document of one.

    Raises:
        MissingExtraError: PyYAML is not installed.
        FormatError: it is no YAML, or would be too large.
    """
    if source.size > _LARGEST:
        raise LimitError(f"YAML of {source.size:,} bytes is too large.", file=source.name)
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise MissingExtraError(
            "a model's structure in YAML needs the library PyYAML.",
            file=source.name,
            remedy="Install it with: pip install 'persist-state[keras]'",
        ) from error
    return _Reading(yaml, source).read()


class _Reading:
    def __init__(self, yaml: Any, source: Source) -> None:
        self.yaml = yaml
        self.source = source
        self.scalars = yaml.SafeLoader("")
        self.anchors: dict[str, tuple[object, int]] = {}
        self.stack: list[_Open] = []
        self.result: Any = ABSENT

    def read(self) -> Any:
        text = bytes(self.source.view(0, self.source.size))
        loader = getattr(self.yaml, "CSafeLoader", self.yaml.SafeLoader)
        try:
            for event in self.yaml.parse(text, Loader=loader):
                self._take(event)
        except (self.yaml.YAMLError, ValueError, OverflowError) as error:
            if isinstance(error, DamagedFileError | LimitError):
                raise
            detail = " ".join(str(error).split())[:200]
            raise DamagedFileError(f"it is no YAML ({detail}).", file=self.source.name) from error
        if self.result is ABSENT:
            self._damaged("the document is empty")
        return self.result

    def _damaged(self, what: str) -> NoReturn:
        raise DamagedFileError(f"{what}.", file=self.source.name)

    def _take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._put(self._scalar(event), event.anchor, 1 + len(event.value) // 64)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            if len(self.stack) >= _DEPTH:
                raise LimitError(f"it is nested more than {_DEPTH} times.", file=self.source.name)
            self.stack.append(_Open(kind == "MappingStartEvent", event.tag, event.anchor))
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            done = self.stack.pop()
            value = self._mapping(done) if done.is_mapping else self._sequence(done)
            self._put(value, done.anchor, done.weight)
        elif kind == "AliasEvent":
            if event.anchor not in self.anchors:
                self._damaged(f"the alias *{event.anchor} leads to nothing before it")
            self._put(*self.anchors[event.anchor][:1], None, self.anchors[event.anchor][1])

    def _put(self, value: object, anchor: str | None, weight: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (value, weight)
        if not self.stack:
            if self.result is ABSENT:
                self.result = value
            return
        above = self.stack[-1]
        above.items.append(value)
        above.weight += weight
        if above.weight > _SPELLED:
            raise LimitError(
                f"written out it would have more than {_SPELLED:,} values.",
                file=self.source.name,
                remedy="Its aliases stand for each other many times: it is made to fill memory.",
            )

    # Scalars.

    def _scalar(self, event: Any) -> object:
        yaml, value = self.yaml, event.value
        tag = event.tag
        if tag is None or tag == "!":
            tag = self.scalars.resolve(yaml.ScalarNode, value, event.implicit)
        if tag.startswith(_PYTHON):
            return self._python_scalar(tag[len(_PYTHON) :], value)
        make = _SCALARS.get(tag.removeprefix(_STANDARD))
        if make is None:
            return value
        if make == "int" and len(value) > 4300:
            self._damaged("a number in it has more than 4,300 digits")
        return self._made(make, tag, value)

    def _made(self, kind: str, tag: str, value: str) -> object:
        try:
            return getattr(self.scalars, f"construct_yaml_{kind}")(self.yaml.ScalarNode(tag, value))
        except (LookupError, AttributeError) as error:  # a tag that says what the text is not
            raise ValueError(f"{value[:60]!r} is no {kind}") from error

    def _python_scalar(self, tag: str, value: str) -> object:
        kind, _, name = tag.partition(":")
        if kind in ("name", "module"):
            module, _, last = name.rpartition(".")
            return Global(module or "builtins", last)
        if kind in ("int", "long", "float", "bool"):
            plain = {"long": "int"}.get(kind, kind)
            if len(value) > 4300:
                self._damaged("a number in it has more than 4,300 digits")
            return self._made(plain, f"{_STANDARD}{plain}", value)
        if kind == "complex":
            return complex(value)
        if kind == "none":
            return None
        if kind == "bytes":
            return self._made("binary", f"{_STANDARD}binary", value)
        if kind in ("str", "unicode"):
            return value
        return self._object(kind, name, [] if not value else [value], {}, ABSENT)

    # Collections.

    def _sequence(self, done: _Open) -> object:
        tag = done.tag or ""
        if tag.startswith(_PYTHON):
            kind, _, name = tag[len(_PYTHON) :].partition(":")
            if kind == "tuple":
                return tuple(done.items)
            if kind.startswith("object"):
                return self._object(kind, name, done.items, {}, ABSENT)
        if tag in (f"{_STANDARD}omap", f"{_STANDARD}pairs"):
            return [next(iter(one.items())) if isinstance(one, dict) and len(one) == 1 else one
                    for one in done.items]  # fmt: skip
        return done.items

    def _mapping(self, done: _Open) -> object:
        made: dict[Any, Any] = {}
        merged: dict[object, object] = {}
        keys = [_key(key) for key in done.items[::2]]
        if len(keys) >= COLLISION_CHECK and (most := colliding(keys)):
            raise LimitError(
                f"{most:,} keys of one mapping have the same hash.",
                file=self.source.name,
                remedy="The file is made to take for ever; it is refused.",
            )
        for key, value in zip(keys, done.items[1::2], strict=True):
            if key == "<<" and isinstance(value, dict | list):
                for one in reversed(value) if isinstance(value, list) else [value]:
                    merged.update(one if isinstance(one, dict) else {})
                continue
            made[key] = value
        made = {**merged, **made}
        tag = done.tag or ""
        if tag == f"{_STANDARD}set":
            return set(made)
        if not tag.startswith(f"{_PYTHON}object"):
            return made
        kind, _, name = tag[len(_PYTHON) :].partition(":")
        if kind == "object":
            return Record(name, made)
        args, state = made.get("args", []), made.get("state", ABSENT)
        kwargs = made.get("kwds", {})
        record = self._object(
            kind,
            name,
            args if isinstance(args, list) else [args],
            kwargs if isinstance(kwargs, dict) else {},
            state,
        )
        if isinstance(record, Record):
            items, pairs = made.get("listitems"), made.get("dictitems")
            record.listitems = items if isinstance(items, list) else []
            record.dictitems = list(pairs.items()) if isinstance(pairs, dict) else []
        return record

    def _object(
        self, kind: str, name: str, args: list[object], kwargs: dict[object, object], state: object
    ) -> object:
        """What Python would have called: NumPy's numbers are read, all else is a record."""
        try:
            known = _numpy(name, args, state)
        except (ValueError, TypeError, SyntaxError) as error:
            self._damaged(f"a {name} in it cannot be ({str(error)[:100]})")
        if known is not ABSENT:
            return known
        return Record(name, state, kind="reduce", args=tuple(args), kwargs=kwargs)


_SCALARS = {
    "null": "null", "bool": "bool", "int": "int", "float": "float", "binary": "binary",
    "timestamp": "timestamp",
}  # fmt: skip


def _key(key: object) -> object:
    try:
        hash(key)
    except TypeError:
        return tuple(key) if isinstance(key, list) and _is_flat(key) else str(key)[:200]
    return key


def _is_flat(items: list[Any]) -> bool:
    return all(isinstance(item, str | int | float | bool | type(None)) for item in items)


def _numpy(name: str, args: list[object], state: object) -> object:
    module, _, last = name.rpartition(".")
    module = module.replace("numpy._core", "numpy.core")
    if (module, last) == ("numpy", "dtype") and args:
        return _dtype(str(args[0]), state)
    if (module, last) == ("numpy.core.multiarray", "scalar") and len(args) == 2:
        dtype, data = args
        if isinstance(dtype, np.dtype) and not dtype.hasobject and dtype.itemsize:
            return np.frombuffer(_bytes(data), dtype, 1)[0].item()
    if (module, last) == ("numpy.core.multiarray", "_reconstruct") and isinstance(state, tuple):
        parts = (*state[:4], _bytes(state[4])) if len(state) == 5 else state
        found = array_of_parts(parts)
        return ABSENT if found is None else found
    return ABSENT


def _dtype(code: str, state: object) -> object:
    dtype = from_text(code)
    if dtype.hasobject or dtype.names is not None:
        return ABSENT
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype  # type: ignore[arg-type]


def _bytes(data: object) -> bytes:
    """Python 2's bytes, which its YAML wrote as text of the same code points."""
    if isinstance(data, bytes):
        return data
    return str(data).encode("latin-1")
