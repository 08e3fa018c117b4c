"""The layout of a class as data: its fields, a fingerprint, and the difference of two in words.

Every declared class has one. Where the fields are declared (attrs, a dataclass, ``persistent``,
``__slots__``) they are the layout. Where they are not, the attributes that the class's own code
assigns are; for a class with ``__getstate__`` or ``__setstate__``, what these give and take.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import json
import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np

from persist._annotations import own_annotations
from persist.registry._shapes import parts_of_tuple
from persist.schema import Field, Layout, Part, Schema, fingerprint, mangled, plain_name
from persist.tree import ABSENT

__all__ = [
    "CODEC",
    "DATA",
    "FIELDS",
    "OPEN",
    "ClassLayout",
    "FieldLayout",
    "codec_shapes",
    "differences",
    "layout_of",
    "source_of",
    "tuple_names",
    "type_text",
]

FIELDS = "fields"  # the fields are declared
OPEN = "open"  # every attribute that no other class declares
CODEC = "codec"  # what __getstate__ gives
DATA = "data"  # a schema without a class


@attrs.frozen
class FieldLayout:
    """One field: its name, and the declared type of its values.

    Attributes:
        name: as declared, without mangling.
        type: the annotated or declared type as text; "" for none.
        dtype: the declared dtype, such as ``<f4``; "" for none.
        shape: the declared shape, None in it for any extent; None for none.
        default: whether a state may lack the field.
    """

    name: str
    type: str = ""
    dtype: str = ""
    shape: tuple[int | None, ...] | None = None
    default: bool = False

    def __str__(self) -> str:
        parts = [self.type, self.dtype, "" if self.shape is None else str(self.shape)]
        kind = " ".join(part for part in parts if part)
        return f"{self.name}: {kind}" if kind else self.name


@attrs.frozen
class ClassLayout:
    """The layout of one class's own state, at one version.

    Attributes:
        kind: "fields", "open", "codec" or "data".
        fields: in the order of the class; a codec's are the parts of what ``__getstate__`` gives.
        arities: of a codec: the lengths of the plain tuples that it gives; () where it gives none.
        fingerprint: eight hexadecimal digits.
    """

    kind: str
    fields: tuple[FieldLayout, ...] = ()
    arities: tuple[int, ...] = ()
    fingerprint: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> FieldLayout | None:
        """Return the field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.fields)) or "no fields"
        if self.kind == CODEC and self.arities:
            return f"a tuple of {' or '.join(map(str, self.arities))} ({listed})"
        return listed


def layout_of(schema: Schema, layout: Layout | None = None) -> ClassLayout:
    """Return the layout of a schema's own state.

    Args:
        schema: of the class, or of data alone.
        layout: how the class's state is put together (`Registry.layout`); None for data.
    """
    cls = schema.cls
    if cls is None:
        return _declared(DATA, schema.fields or (), None)
    part = layout.leaf if layout is not None else None
    if schema.codec and part is not None:
        return _codec_layout(cls, part)
    if schema.fields is None:
        return _open_layout(cls, layout)
    return _declared(FIELDS, (*_parts(cls), *schema.fields), cls)


def _parts(cls: type) -> tuple[Field, ...]:
    """The parts of a named tuple, which steps see as fields."""
    defaults = getattr(cls, "_field_defaults", {})
    return tuple(
        Field(name, default=defaults.get(name, ABSENT), attribute=name)
        for name in parts_of_tuple(cls)
    )


def _declared(kind: str, fields: Iterable[Field], cls: type | None) -> ClassLayout:
    fields = tuple(fields)
    annotated = {} if cls is None else annotations_of(cls)
    rows = tuple(
        FieldLayout(
            field.name,
            type_text(annotated.get(field.attribute, field.type)),
            "" if field.dtype is None else np.dtype(field.dtype).str,
            None if field.shape is None else tuple(field.shape),
            field.has_default,
        )
        for field in fields
    )
    return ClassLayout(kind, rows, (), fingerprint(fields))


def _hashed(kind: str, said: object) -> str:
    text = json.dumps([kind, said], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


# Annotations.


def annotations_of(cls: type) -> dict[str, object]:
    """Return the annotations of a class's own body; as text where they cannot be evaluated."""
    return own_annotations(cls)


def type_text(annotation: object) -> str:
    """Return a type as text that does not depend on how the module imported its parts."""
    if annotation is None or annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, tuple):
        return " | ".join(sorted(map(type_text, annotation)))
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__
    text = annotation if isinstance(annotation, str) else repr(annotation)
    if text.startswith("ForwardRef("):
        text = getattr(annotation, "__forward_arg__", text)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return text.strip()
    return ast.unparse(_Plain().visit(tree))


class _Plain(ast.NodeTransformer):
    """Writes types in a canonical form: last names only, unions with ``|`` in sorted order."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Name(node.attr, ast.Load())

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):  # a forward reference inside of another type
            return ast.Name(type_text(node.value), ast.Load())
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        if name == "Optional":
            return self._union([node.slice, ast.Constant(None)])
        if name == "Union":
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return self._union(items)
        if name in ("List", "Dict", "Set", "Tuple", "FrozenSet", "Type"):
            node.value = ast.Name(name.lower(), ast.Load())
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitOr):
            return node
        return self._union([node.left, node.right])

    def _union(self, items: Iterable[ast.AST]) -> ast.AST:
        texts = {
            part.strip()
            for item in items
            for part in ast.unparse(item).split(" | ")
            if part.strip()
        }
        texts = {"None" if text == "NoneType" else text for text in texts}
        return ast.Name(" | ".join(sorted(texts, key=lambda text: (text == "None", text))))


# Source.


def source_of(what: Any) -> ast.AST | None:
    """Return the syntax tree of a class or function, without decorators; None where it has no source."""
    try:
        text = textwrap.dedent(inspect.getsource(what))
        tree = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError, ValueError):
        return None
    return tree


# Open classes.


def _open_layout(cls: type, layout: Layout | None) -> ClassLayout:
    """The attributes that the code of a class, and of its undeclared bases, assigns."""
    taken = set() if layout is None else set(layout.known)
    own = [] if layout is None else list(layout.leaf.fields)
    declared = () if layout is None else tuple(part.cls for part in layout.parts[:-1])
    transients = set() if layout is None else {f.attribute for f in layout.leaf.transients}
    found = {field.name: type_text(field.type) for field in (*_parts(cls), *own)}
    for base in reversed(cls.__mro__):
        if (
            base.__module__ in ("builtins", "typing", "abc")
            or base.__module__ == "persist.versioned"
        ):
            continue
        if base is not cls and any(issubclass(one, base) for one in declared):
            continue
        for name, text in _assigned(base):
            attribute = mangled(name, base)
            is_property = isinstance(inspect.getattr_static(cls, attribute, None), property)
            if attribute in transients or attribute in taken or is_property:
                continue
            if text or name not in found:
                found[name] = text
    rows = tuple(FieldLayout(name, text) for name, text in found.items())
    return ClassLayout(OPEN, rows, (), _hashed(OPEN, sorted(found)))


def _assigned(cls: type) -> Iterator[tuple[str, str]]:
    """Names of the attributes that the methods of a class assign to ``self``, with annotations."""
    functions = [value for value in vars(cls).values() if isinstance(value, types.FunctionType)]
    for function in functions:
        if (
            function.__name__ in ("__setstate__", "__reduce_ex__")
            or not function.__code__.co_argcount
        ):
            continue
        if function.__module__ != cls.__module__:
            continue
        tree = source_of(function)
        if isinstance(tree, ast.FunctionDef):
            yield from _assigned_in(tree)
        else:
            for name in _assigned_by_bytecode(function):
                yield plain_name(name, cls), ""


def _assigned_in(tree: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    if not tree.args.args and not tree.args.posonlyargs:
        return
    first = (*tree.args.posonlyargs, *tree.args.args)[0].arg
    annotated = {
        node.target.attr: ast.unparse(node.annotation)
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == first
        ):
            yield node.attr, type_text(annotated.get(node.attr))


def _assigned_by_bytecode(function: types.FunctionType) -> list[str]:
    """The same where there is no source: every attribute that the function sets."""
    instructions = dis.get_instructions(function)
    return [one.argval for one in instructions if one.opname == "STORE_ATTR"]


# Codecs.


@attrs.frozen
class CodecShape:
    """What one ``return`` of ``__getstate__`` gives, or one unpacking in ``__setstate__`` takes.

    Attributes:
        kind: "tuple", "dict" or "other".
        names: of the parts: the attribute that is saved there, or the key; "" where it is neither.
    """

    kind: str
    names: tuple[str, ...] = ()


def _codec_layout(cls: type, part: Part) -> ClassLayout:
    shapes = codec_shapes(part.getstate, part.setstate)
    arities = tuple(sorted({len(shape.names) for shape in shapes if shape.kind == "tuple"}))
    found: dict[str, None] = {}
    for shape in shapes:
        for index, name in enumerate(shape.names):
            found.setdefault(name or f"state/{index}")
    rows = tuple(FieldLayout(name) for name in found)
    if shapes:
        said: Any = sorted([shape.kind, *shape.names] for shape in shapes)
    else:
        said = [_code_text(part.getstate), _code_text(part.setstate)]
    return ClassLayout(CODEC, rows, arities, _hashed(CODEC, said))


def tuple_names(part: Part) -> dict[int, tuple[str, ...]]:
    """Return the names of the parts of the plain tuples that a codec gives, by the number of parts.

    They are those of the attributes that its source puts there; where that cannot be followed, the
    names in ``persistent`` if they are as many. An arity that is not listed has no known names.
    """
    found: dict[int, set[tuple[str, ...]]] = {}
    for shape in codec_shapes(part.getstate, part.setstate):
        if shape.kind == "tuple":
            found.setdefault(len(shape.names), set()).add(shape.names)
    names = {
        arity: listed.pop()
        for arity, listed in found.items()
        if len(listed) == 1 and all(all(one) and len(set(one)) == len(one) for one in listed)
    }
    if part.fields:
        names.setdefault(len(part.fields), tuple(field.name for field in part.fields))
    return names


def codec_shapes(getstate: object, setstate: object = None) -> list[CodecShape]:
    """Return what a class's ``__getstate__`` gives, as far as its source says it.

    Where there is only a ``__setstate__``, or the other builds its value in ways that cannot be
    followed, what ``__setstate__`` takes apart.
    """
    shapes: list[CodecShape] = []
    tree = source_of(getstate) if getstate is not None else None
    if isinstance(tree, ast.FunctionDef):
        returned = [node.value for node in _own_nodes(tree) if isinstance(node, ast.Return)]
        shapes = [shape for shape in map(_shape_of, returned) if shape is not None]
        if len(shapes) < len(returned):
            shapes = []
    if not shapes and setstate is not None:
        tree = source_of(setstate)
        if isinstance(tree, ast.FunctionDef):
            shapes = [CodecShape("tuple", names) for names in unpackings(tree)]
    return list(dict.fromkeys(shapes))


def _own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a function, but for those of functions inside of it."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        yield child
        yield from _own_nodes(child)


def _shape_of(node: ast.AST | None) -> CodecShape | None:
    if isinstance(node, ast.Tuple) and not any(isinstance(e, ast.Starred) for e in node.elts):
        return CodecShape("tuple", tuple(map(_attribute_in, node.elts)))
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return CodecShape("dict", tuple(str(key.value) for key in node.keys))  # type: ignore[union-attr]
    is_call = isinstance(node, ast.Call) and ast.unparse(node.func) == "dict" and not node.args
    if isinstance(node, ast.Call) and is_call and all(keyword.arg for keyword in node.keywords):
        return CodecShape("dict", tuple(str(keyword.arg) for keyword in node.keywords))
    return None


def _attribute_in(node: ast.AST) -> str:
    """The attribute of ``self`` in an expression, where it is the only one."""
    names = {one.attr for one in ast.walk(node) if _is_attribute_of_self(one)}  # type: ignore[attr-defined]
    return names.pop() if len(names) == 1 else ""


def _is_attribute_of_self(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def unpackings(tree: ast.FunctionDef) -> list[tuple[str, ...]]:
    """Return, for each ``a, b = state`` of a ``__setstate__``, which attributes ``a`` and ``b`` become."""
    arguments = (*tree.args.posonlyargs, *tree.args.args)
    if len(arguments) < 2:
        return []
    own, state = arguments[0].arg, arguments[1].arg
    stored: dict[str, str] = {}  # local name -> the attribute that it is put into
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == own:
                for name in ast.walk(node.value):
                    if isinstance(name, ast.Name) and name.id not in (own, state):
                        stored.setdefault(name.id, target.attr)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or ast.unparse(node.value) != state:
            continue
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List):
                found.append(tuple(_unpacked(item, own, stored) for item in target.elts))
    return found


def _unpacked(item: ast.AST, own: str, stored: dict[str, str]) -> str:
    if isinstance(item, ast.Attribute) and ast.unparse(item.value) == own:
        return item.attr
    return stored.get(item.id, item.id) if isinstance(item, ast.Name) else ""


def _code_text(function: object) -> str:
    """The source of a function in one form, or its names where there is none."""
    if function is None:
        return ""
    tree = source_of(function)
    if isinstance(tree, ast.FunctionDef):
        return normalised(tree)
    code = getattr(function, "__code__", None)
    return " ".join((*getattr(code, "co_names", ()), *getattr(code, "co_varnames", ())))


def normalised(tree: ast.FunctionDef) -> str:
    """Return a function's source without decorators, docstring, comments and annotations."""
    body = tree.body
    if ast.get_docstring(tree) is not None:
        body = body[1:] or [ast.Pass()]
    bare = ast.FunctionDef(tree.name, _bare(tree.args), body, [], None)
    bare.type_params = []  # type: ignore[attr-defined,unused-ignore]
    return ast.unparse(ast.fix_missing_locations(bare))


def _bare(arguments: ast.arguments) -> ast.arguments:
    for node in ast.walk(arguments):
        if isinstance(node, ast.arg):
            node.annotation = None
    return arguments


# Differences.


def differences(old: ClassLayout, new: ClassLayout) -> list[str]:
    """Return the differences of two layouts of one class, one line each; [] if they are equal.

    What a field's default is, and the order of the fields, is no part of a layout: states bear names.
    """
    lines = []
    if old.kind != new.kind and {old.kind, new.kind} != {FIELDS, DATA}:
        lines.append(f"~ its state was {_KINDS[old.kind]}, and is {_KINDS[new.kind]}")
    if old.kind == new.kind == CODEC and old.arities != new.arities:
        lines.append(f"~ __getstate__ gave {_tuples(old)}, and gives {_tuples(new)}")
    for field in old.fields:
        other = new.field(field.name)
        if other is None:
            lines.append(f"- {field}")
        else:
            lines += _changes(field, other)
    is_order = old.names != new.names and {*old.names} == {*new.names}
    if not lines and old.kind == new.kind == CODEC and is_order:
        was, now = ", ".join(old.names), ", ".join(new.names)
        return [f"~ the parts of the state were {was}, and are {now}"]
    lines += [f"+ {field}" for field in new.fields if old.field(field.name) is None]
    if not lines and old.fingerprint != new.fingerprint and old.fingerprint and new.fingerprint:
        if old.kind == CODEC and old.names != new.names:
            was, now = ", ".join(old.names), ", ".join(new.names)
            lines.append(f"~ the parts of the state were {was}, and are {now}")
        else:
            lines.append(f"~ the fingerprint was {old.fingerprint}, and is {new.fingerprint}")
    return lines


_KINDS = {
    FIELDS: "its declared fields",
    OPEN: "every attribute",
    CODEC: "what __getstate__ gives",
    DATA: "data without a class",
}


def _tuples(layout: ClassLayout) -> str:
    if not layout.arities:
        return "no plain tuple"
    return f"a tuple of {' or '.join(map(str, layout.arities))}"


def _changes(old: FieldLayout, new: FieldLayout) -> list[str]:
    lines = []
    if old.type != new.type and old.type and new.type:
        lines.append(f"~ {old.name}: its type was {old.type}, and is {new.type}")
    if old.dtype != new.dtype:
        lines.append(
            f"~ {old.name}: its dtype was {old.dtype or 'any'}, and is {new.dtype or 'any'}"
        )
    if old.shape != new.shape:
        lines.append(
            f"~ {old.name}: its shape was {old.shape or 'any'}, and is {new.shape or 'any'}"
        )
    return lines
