"""Syntax trees of classes to layouts: what an instance of the class has in a file.

A layout is what `pickle` and others would write, as far as the code says it: the attributes that
methods assign, declared fields (attrs, dataclasses, named tuples, ``__slots__``, ``persistent``), what
``__getstate__`` returns, and the arguments that ``__reduce__`` gives.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator

import attrs

from persist._layouts.description import type_text, unpackings
from persist.archaeology._python import decoded, parsed, reduced, statements
from persist.history.evidence import flows

__all__ = ["ARGUMENTS", "NAMES", "TUPLE", "UNKNOWN", "Reader", "Source"]

NAMES = "names"  # attributes or keys by name
TUPLE = "tuple"  # values by position
ARGUMENTS = "arguments"  # of a constructor
UNKNOWN = "unknown"  # made in ways that cannot be followed

_DECORATORS = {"s", "attrs", "attributes", "define", "mutable", "frozen", "dataclass"}
_FIELD_CALLS = {"ib", "attrib", "attr", "field", "Factory"}
_COPIES = {"dict", "copy", "deepcopy", "OrderedDict"}
_MOST_NAMES = 400


@attrs.frozen
class Source:
    """A class as one revision of its source has it.

    Attributes:
        name: of the class, with those around it (``Outer.Inner``).
        bases: as written.
        kind: "names", "tuple", "arguments" or "unknown".
        required: names that every instance has; the values of a tuple in order, "" for one without a name.
        optional: names that an instance may have.
        arities: the lengths of tuples: of the state, or of the arguments.
        is_open: whether it may have further names.
        version: which the head of the class states, or None.
        schema: which it states, or "".
        types: name -> annotated type.
        defaults: name -> source of its default or first value.
        flows: name in a state -> attribute, from ``__setstate__``.
        unpacked: the tuples that ``__setstate__`` takes, as names of attributes.
    """

    name: str
    bases: tuple[str, ...] = ()
    kind: str = NAMES
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    arities: tuple[int, ...] = ()
    is_open: bool = False
    version: int | None = None
    schema: str = ""
    types: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    flows: tuple[tuple[str, str], ...] = ()
    unpacked: tuple[tuple[str, ...], ...] = ()

    @property
    def layout(self) -> tuple[object, ...]:
        """What makes it the same layout as another one; the order of names in no tuple does not."""
        names = self.required if self.kind == TUPLE else tuple(sorted(self.required))
        return (self.kind, names, tuple(sorted(self.optional)), self.arities, self.is_open, self.version,
                tuple(sorted(self.types)))  # fmt: skip

    @property
    def names(self) -> frozenset[str]:
        """All names that it may have."""
        return frozenset((*self.required, *self.optional)) - {""}

    def __str__(self) -> str:
        types = dict(self.types)
        said = [
            f"{name}: {types[name]}" if name in types else name or "?" for name in self.required
        ]
        said += [f"[{name}]" for name in self.optional]
        listed = ", ".join(said)
        if self.kind == UNKNOWN:
            return "a state that the code does not state"
        if self.kind == TUPLE:
            return f"a tuple of {' or '.join(map(str, self.arities))} ({listed})"
        if self.kind == ARGUMENTS:
            lengths = " or ".join(map(str, self.arities))
            return f"{lengths} arguments of a constructor" + (f" ({listed})" if listed else "")
        return (listed or "no attributes") + (", and others" if self.is_open else "")

    def as_json(self) -> list[object]:
        """Return it as plain values."""
        return list(attrs.astuple(self))

    @classmethod
    def from_json(cls, said: list[object]) -> Source:
        """Return the class that `as_json` described.

        Raises:
            ValueError: it described none.
        """
        if (
            len(said) != len(attrs.fields(cls))
            or type(said[0]) is not str
            or not isinstance(said[3], list)
        ):
            raise ValueError(said)
        return cls(*(_tuples(one) if isinstance(one, list) else one for one in said))  # type: ignore[arg-type]


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


class Reader:
    """Reads the classes of sources; a statement that it has seen is not parsed again."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[Source, ...] | None] = {}
        self.parsed = 0  # statements

    def read(self, data: bytes) -> tuple[Source, ...] | None:
        """Return the classes of a source; None if it cannot be parsed."""
        found: dict[str, Source] = {}
        text = decoded(data)
        for statement in statements(text):
            classes = self._of_statement(statement)
            if classes is None:
                tree = parsed(text)  # a statement that was split
                if tree is None:
                    return None
                return tuple({one.name: one for one in _in_body(tree.body, "")}.values())
            found.update((one.name, one) for one in classes)
        return tuple(found.values())

    def _of_statement(self, text: str) -> tuple[Source, ...] | None:
        text = reduced(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        if key not in self._seen:
            self.parsed += 1
            tree = parsed(text)
            self._seen[key] = None if tree is None else tuple(_in_body(tree.body, ""))
        return self._seen[key]


def _in_body(body: Iterable[ast.stmt], prefix: str) -> Iterator[Source]:
    """The classes that a module or class defines; those in a function have no name in a file."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield _Class(node, prefix).source()
            yield from _in_body(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from _made(node, prefix)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            handlers = [part for one in getattr(node, "handlers", ()) for part in one.body]
            parts = (
                *node.body,
                *handlers,
                *getattr(node, "orelse", ()),
                *getattr(node, "finalbody", ()),
            )
            yield from _in_body(parts, prefix)


def _made(node: ast.Assign, prefix: str) -> Iterator[Source]:
    """A named tuple that a call makes: ``Run = namedtuple("Run", "name epochs")``."""
    call = node.value
    if (
        not isinstance(call, ast.Call)
        or _last(call.func) not in ("namedtuple", "NamedTuple")
        or len(call.args) < 2
    ):
        return
    if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return
    names = _listed(call.args[1])
    if names is not None:
        yield Source(f"{prefix}{node.targets[0].id}", (), ARGUMENTS, names, (), (len(names),))


def _listed(node: ast.AST) -> tuple[str, ...] | None:
    """The names in a literal: one text, a list of texts, or of pairs of a text and a type."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return tuple(node.value.replace(",", " ").split())
    if isinstance(node, ast.Dict):
        parts: list[ast.AST] = [key for key in node.keys if key is not None]
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = [
            one.elts[0] if isinstance(one, ast.Tuple) and one.elts else one for one in node.elts
        ]
    else:
        return None
    if not all(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in parts):
        return None
    return tuple(one.value for one in parts)  # type: ignore[attr-defined]


def _last(node: ast.AST) -> str:
    """The last name of ``a.b.c``, also of a call of it; "" for anything else."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):  # Generic[T]
        node = node.value
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


@attrs.define
class _Names:
    """What methods assign: name -> source of the first value, or None."""

    required: dict[str, str | None] = attrs.field(factory=dict)
    optional: dict[str, str | None] = attrs.field(factory=dict)
    types: dict[str, str] = attrs.field(factory=dict)
    is_open: bool = False


class _Class:
    """One class statement."""

    def __init__(self, node: ast.ClassDef, prefix: str) -> None:
        self.node = node
        self.name = f"{prefix}{node.name}"
        self.methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        self.keywords = {one.arg: one.value for one in node.keywords if one.arg}
        self.bases = tuple(
            name for one in node.bases if (name := _dotted(one)) and name != "object"
        )

    def source(self) -> Source:
        """Return what its instances have in a file."""
        version = self.keywords.get("version")
        stated = version.value if isinstance(version, ast.Constant) else None
        schema = self.keywords.get("schema")
        text = schema.value if isinstance(schema, ast.Constant) else None
        setstate = self.methods.get("__setstate__")
        flowing = () if setstate is None else flows(setstate).items()
        taken = [] if setstate is None else unpackings(setstate)
        names = self._names()
        made = self._of_getstate(names) or self._of_reduce(names) or self._of_names(names)
        return attrs.evolve(
            made,
            version=stated if type(stated) is int else None,
            schema=text if isinstance(text, str) else "",
            flows=tuple((self._mangled(one), self._mangled(other)) for one, other in flowing),
            unpacked=tuple(tuple(map(self._mangled, one)) for one in taken),
        )

    def _mangled(self, name: str) -> str:
        own = self.node.name.lstrip("_")
        return f"_{own}{name}" if name[:2] == "__" and name[-2:] != "__" and own else name

    def _source(self, kind: str, names: _Names, arities: tuple[int, ...] = ()) -> Source:
        required = tuple(map(self._mangled, names.required))[:_MOST_NAMES]
        optional = tuple(
            self._mangled(name) for name in names.optional if name not in names.required
        )
        values = {**names.optional, **names.required}
        defaults = tuple(
            (self._mangled(name), text) for name, text in values.items() if text is not None
        )
        types = tuple((self._mangled(name), text) for name, text in names.types.items())
        return Source(
            self.name, self.bases, kind, required, optional[:_MOST_NAMES], arities, names.is_open,
            types=types[:_MOST_NAMES], defaults=defaults[:_MOST_NAMES],
        )  # fmt: skip

    # What the class declares, and what its methods assign.

    def _names(self) -> _Names:
        names = self._declared()
        assigned = _Names()
        transients = set(self._literal("transient") or ())
        for method in self.methods.values():
            self._assigned(method, assigned)
        if names is None:
            names = assigned
            for name in self._literal("__slots__") or ():
                if name not in ("__dict__", "__weakref__"):
                    names.optional.setdefault(name, None)
        elif names.is_open:  # declared fields, and whatever methods add to them
            names.optional |= {**assigned.optional, **assigned.required}
            names.is_open = assigned.is_open
        for name in transients:
            names.required.pop(name, None)
            names.optional.pop(name, None)
        return names

    def _literal(self, name: str) -> tuple[str, ...] | None:
        for node in self.node.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(one, ast.Name) and one.id == name for one in targets):
                return _listed(node.value)  # type: ignore[attr-defined]
        return None

    def _declared(self) -> _Names | None:
        """The declared fields; None where there are none. It is open if instances can have more."""
        persistent = self._literal("persistent")
        if persistent is not None:
            return _Names(dict.fromkeys(persistent))
        kinds = {_last(one): one for one in self.node.decorator_list if _last(one) in _DECORATORS}
        is_tuple = any(_last(one) == "NamedTuple" for one in self.node.bases)
        if not kinds and not is_tuple:
            return None
        names = _Names(is_open=not is_tuple)
        calls = [one for one in kinds.values() if isinstance(one, ast.Call)]
        options = {one.arg: one.value for call in calls for one in call.keywords}
        annotated = not ({"s", "attributes"} & kinds.keys()) or _is_true(
            options.get("auto_attribs")
        )
        for node in self.node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and annotated:
                text = type_text(ast.unparse(node.annotation))
                if not text.startswith(("ClassVar", "InitVar", "KW_ONLY")):
                    names.required[node.target.id] = _default(node.value)
                    names.types[node.target.id] = text
            elif (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and _last(node.value) in _FIELD_CALLS
            ):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        names.required[target.id] = _default(node.value)
        is_slotted = (
            {"define", "mutable", "frozen"} & kinds.keys()
            if "slots" not in options
            else _is_true(options["slots"])
        )
        if is_slotted:
            names.is_open = False
        return names

    def _assigned(self, method: ast.FunctionDef, names: _Names) -> None:
        """Note the attributes that a method assigns; those of ``__init__`` at its top are in every instance."""
        arguments = (*method.args.posonlyargs, *method.args.args)
        if not arguments or method.name in (
            "__setstate__",
            "__getstate__",
            "__reduce__",
            "__reduce_ex__",
        ):
            return
        if any(_last(one) in ("staticmethod", "classmethod") for one in method.decorator_list):
            return
        own = arguments[0].arg
        if method.name == "__init__":
            for node in _certain(method.body, own, self.methods, {"__init__"}):
                self._targets(node, own, names.required, names)
        for inner in _statements(method.body):
            self._targets(inner, own, names.optional, names)
            if isinstance(inner, ast.Expr) and not names.is_open:
                calls = (one for one in ast.walk(inner) if isinstance(one, ast.Call))
                names.is_open = any(_opens(one, own) for one in calls)

    def _targets(self, node: ast.AST, own: str, into: dict[str, str | None], names: _Names) -> None:
        targets: list[ast.expr]
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
            attribute = _own(node.target, own)
            if attribute:
                names.types[attribute] = type_text(ast.unparse(node.annotation))
        elif isinstance(node, ast.For | ast.AsyncFor):
            targets = [node.target]
        elif isinstance(node, ast.With | ast.AsyncWith):
            targets = [one.optional_vars for one in node.items if one.optional_vars]
        else:
            return
        todo: list[ast.AST] = [*reversed(targets)]
        is_single = len(targets) == 1
        while todo:
            target = todo.pop()
            if isinstance(target, ast.Tuple | ast.List):
                todo += reversed(target.elts)
                is_single = False
            elif isinstance(target, ast.Starred):
                todo.append(target.value)
            elif attribute := _own(target, own):
                text = _default(value) if is_single and value is not None else None
                if into.get(attribute) is None:
                    into[attribute] = text

    # What is saved in its place.

    def _of_getstate(self, names: _Names) -> Source | None:
        method = self.methods.get("__getstate__")
        if method is None or not method.args.args:
            return None
        own = method.args.args[0].arg
        returned = [
            one.value
            for one in _own_nodes(method)
            if isinstance(one, ast.Return) and one.value is not None
        ]
        found = [_State(method, own, names).of(value) for value in returned]
        made = [one for one in found if one is not None]
        tuples = [one for one in made if isinstance(one, tuple)]
        keyed = [one for one in made if isinstance(one, _Names)]
        if not made or len(made) < len(found) or (tuples and keyed):
            return self._source(UNKNOWN, _Names())
        if tuples:
            longest = max(tuples, key=len)
            self_names = _Names({name or f"\0{place}": None for place, name in enumerate(longest)})
            made_source = self._source(
                TUPLE, self_names, tuple(sorted({len(one) for one in tuples}))
            )
            plain = tuple("" if name[:1] == "\0" else name for name in made_source.required)
            return attrs.evolve(made_source, required=plain)
        every = _Names(is_open=any(one.is_open for one in keyed))
        for one in keyed:
            every.optional |= {**one.optional, **one.required}
            every.types |= one.types
        always = [name for name in keyed[0].required if all(name in one.required for one in keyed)]
        every.required = {name: keyed[0].required[name] for name in always}
        return self._source(NAMES, every)

    def _of_reduce(self, names: _Names) -> Source | None:
        method = self.methods.get("__reduce__") or self.methods.get("__reduce_ex__")
        if method is None or not method.args.args:
            return None
        own = method.args.args[0].arg
        lengths: set[int] = set()
        listed: tuple[str, ...] = ()
        state: object = None
        for node in _own_nodes(method):
            value = node.value if isinstance(node, ast.Return) else None
            if (
                isinstance(value, ast.Tuple)
                and len(value.elts) >= 2
                and isinstance(value.elts[1], ast.Tuple)
            ):
                lengths.add(len(value.elts[1].elts))
                listed = tuple(_attribute_in(one, own) for one in value.elts[1].elts)
                if len(value.elts) > 2:
                    state = _State(method, own, names).of(value.elts[2])
        if not lengths:
            return self._source(UNKNOWN, _Names())
        if isinstance(state, _Names):
            return attrs.evolve(self._source(NAMES, state), arities=())
        if isinstance(state, tuple):
            return attrs.evolve(
                self._source(TUPLE, _Names()), required=state, arities=(len(state),)
            )
        made = self._source(ARGUMENTS, _Names(), tuple(sorted(lengths)))
        return attrs.evolve(made, required=tuple(map(self._mangled, listed)))

    def _of_names(self, names: _Names) -> Source:
        if any(_last(one) == "NamedTuple" for one in self.node.bases):
            return self._source(ARGUMENTS, names, (len(names.required),))
        return self._source(NAMES, names)


def _is_true(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def _default(node: ast.AST | None) -> str | None:
    """The source of a literal, or of that in ``attr.ib(default=...)``; None for anything else."""
    if isinstance(node, ast.Call) and _last(node) in _FIELD_CALLS:
        node = next((one.value for one in node.keywords if one.arg == "default"), None)
    if node is None:
        return None
    is_signed = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    is_empty = (
        isinstance(node, ast.List | ast.Dict | ast.Tuple)
        and not list(ast.iter_child_nodes(node))[:-1]
    )
    if isinstance(node, ast.Constant) or is_signed or is_empty:
        text = ast.unparse(node)
        return text if len(text) <= 60 else None
    return None


def _own(node: ast.AST, own: str) -> str:
    is_own = (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == own
    )
    return node.attr if is_own else ""  # type: ignore[attr-defined]


def _attribute_in(node: ast.AST, own: str) -> str:
    names = {name for one in ast.walk(node) if (name := _own(one, own))}
    return names.pop() if len(names) == 1 else ""


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement of a function, but for those of functions and classes in it."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield node
        if isinstance(node, ast.Assign | ast.Expr | ast.Return):
            continue
        for part in ("body", "orelse", "finalbody"):
            inner = getattr(node, part, None)
            if inner:
                yield from _statements(inner)
        for handler in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _statements(handler.body)


def _own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _certain(
    body: Iterable[ast.stmt], own: str, methods: dict[str, ast.FunctionDef], called: set[str]
) -> Iterator[ast.stmt]:
    """The statements that run in every call, those of the object's own methods that are called included."""
    for node in body:
        yield node
        if isinstance(node, ast.With):
            yield from _certain(node.body, own, methods, called)
        elif isinstance(node, ast.Try):
            yield from _certain((*node.body, *node.finalbody), own, methods, called)
        elif isinstance(node, ast.If) and node.orelse:
            one = {ast.dump(part) for part in _stored(node.body, own)}
            for part in _stored(node.orelse, own):
                if ast.dump(part) in one:
                    yield ast.Assign([part], ast.Constant(...))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = _own(node.value.func, own)
            method = methods.get(name)
            if (
                method is not None
                and name not in called
                and method.args.args
                and method.args.args[0].arg == own
            ):
                yield from _certain(method.body, own, methods, called | {name})
        if isinstance(node, ast.Return | ast.Raise):
            return


def _stored(body: Iterable[ast.stmt], own: str) -> Iterator[ast.Attribute]:
    for node in body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute) and _own(target, own):
                yield target


def _opens(call: ast.Call, own: str) -> bool:
    """Whether a call gives an object attributes whose names are not in the code."""
    function = call.func
    if _last(function) == "setattr" and isinstance(function, ast.Name) and call.args:
        is_own = isinstance(call.args[0], ast.Name) and call.args[0].id == own
        return is_own and not (len(call.args) > 1 and isinstance(call.args[1], ast.Constant))
    if isinstance(function, ast.Attribute) and function.attr in ("update", "__setattr__"):
        holder = function.value
        if _own(holder, own) == "__dict__":
            return True
        return isinstance(holder, ast.Call) and _last(holder) == "vars"
    return False


class _State:
    """What an expression of ``__getstate__`` gives, following the local name that it is built in."""

    def __init__(self, method: ast.FunctionDef, own: str, names: _Names) -> None:
        self.method = method
        self.own = own
        self.names = names

    def of(self, node: ast.AST, depth: int = 0) -> _Names | tuple[str, ...] | None:
        """Names, the attributes of a tuple, or None where it cannot be followed."""
        if depth > 4:
            return None
        if isinstance(node, ast.Tuple | ast.List):
            if any(isinstance(one, ast.Starred) for one in node.elts):
                return None
            return tuple(_attribute_in(one, self.own) for one in node.elts)
        if self._is_dict(node):
            return self._copy()
        if isinstance(node, ast.Dict):
            return self._literal(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.DictComp) and any(self._is_dict(one) for one in ast.walk(node)):
            made = self._copy()
            made.optional |= made.required
            made.required = {}
            return made
        if isinstance(node, ast.Name):
            return self._local(node.id, depth)
        return None

    def _copy(self) -> _Names:
        return _Names(
            {**self.names.required},
            {**self.names.optional},
            {**self.names.types},
            self.names.is_open,
        )

    def _is_dict(self, node: ast.AST) -> bool:
        if _own(node, self.own) == "__dict__":
            return True
        return isinstance(node, ast.Call) and _last(node) == "vars" and bool(node.args)

    def _literal(self, node: ast.Dict, depth: int) -> _Names | None:
        made = _Names()
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **self.__dict__
                inner = self.of(value, depth + 1)
                if not isinstance(inner, _Names):
                    return None
                made = _Names(
                    {**made.required, **inner.required}, inner.optional, inner.types, inner.is_open
                )
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                made.required[key.value] = None
            else:
                return None
        return made

    def _call(self, node: ast.Call, depth: int) -> _Names | tuple[str, ...] | None:
        last = _last(node)
        if last in ("__getstate__", "__reduce__"):  # that of a base
            return self._copy()
        if last not in _COPIES:
            return None
        held = node.func.value if isinstance(node.func, ast.Attribute) and not node.args else None
        inner = node.args[0] if node.args else held
        made = _Names() if inner is None else self.of(inner, depth + 1)
        if not isinstance(made, _Names):
            return None
        if any(one.arg is None for one in node.keywords):
            return None
        made.required |= {str(one.arg): None for one in node.keywords}
        return made

    def _local(self, name: str, depth: int) -> _Names | tuple[str, ...] | None:
        made: _Names | tuple[str, ...] | None = None
        for node in _own_nodes(self.method):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        made = self.of(node.value, depth + 1)
                    elif isinstance(made, _Names) and (key := _key_of(target, name)):
                        made.required[key] = None
            elif isinstance(node, ast.Delete) and isinstance(made, _Names):
                for target in node.targets:
                    _drop(made, _key_of(target, name))
            elif isinstance(node, ast.Call) and isinstance(made, _Names):
                is_pop = (
                    isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and node.args
                )
                if is_pop and isinstance(node.func.value, ast.Name) and node.func.value.id == name:  # type: ignore[attr-defined]
                    first = node.args[0]
                    if isinstance(first, ast.Constant):
                        _drop(made, str(first.value))
                    else:
                        _loosen(made)
        return made


def _key_of(node: ast.AST, name: str) -> str:
    is_item = (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    )
    key = node.slice if is_item else None  # type: ignore[attr-defined]
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""


def _drop(made: _Names, key: str) -> None:
    made.required.pop(key, None)
    made.optional.pop(key, None)


def _loosen(made: _Names) -> None:
    """Any of the names may have been removed."""
    made.optional = {**made.optional, **made.required}
    made.required = {}
