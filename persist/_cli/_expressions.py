"""The expressions of `persist find`: parsed with `ast`, checked, then computed by our own functions.

Nothing of an expression is ever compiled or evaluated by Python. Names are those of `NAMES`; other
operands are numbers, texts, tuples, names of dtypes and formats as words without quotes after a comparison
with one. Logic has three values: a comparison with what an item lacks (the dtype of a record) is
neither true nor false, and so is its negation.
"""

from __future__ import annotations

import ast
import fnmatch
import io
import operator
import tokenize
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["NAMES", "Expression", "ExpressionError"]

NAMES = ("class", "dtype", "format", "name", "nbytes", "ndim", "shape", "size")

_TEXTS = frozenset(("class", "dtype", "format", "name"))
_BARE = frozenset(("dtype", "format"))  # compared with words that need no quotes
_WORD = "clas_"  # replaces the keyword `class` while parsing, at the same length
_LONGEST = 2_000  # characters
_DEEPEST = 50  # levels
_LARGEST = 1 << 80  # of a number computed in an expression

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, two: one in two,
    ast.NotIn: lambda one, two: one not in two,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}

Facts = Mapping[str, Any]
_Compute = Callable[[Facts], Any]


class ExpressionError(ValueError):
    """An expression is not understood; the message shows the place."""


class _Typed:
    """A part of an expression: its kind ("text", "number", "shape", "truth", "list") and its function."""

    __slots__ = ("compute", "kind", "of")

    def __init__(self, kind: str, compute: _Compute, of: str = "") -> None:
        self.kind = kind
        self.compute = compute
        self.of = of  # the name that it is, if it is one


class Expression:
    """A parsed expression.

    Args:
        text: such as ``dtype == float16 and size > 1e6``.

    Attributes:
        names: the names that it uses.

    Raises:
        ExpressionError: it is not understood.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self._classes: set[tuple[int, int]] = set()
        if len(text) > _LONGEST:
            raise ExpressionError(f"the expression is longer than {_LONGEST:,} characters.")
        try:
            tree = ast.parse(self._without_keyword(text.strip()), mode="eval")
        except SyntaxError as error:
            column = error.offset if error.lineno == 1 else None
            column = column - 1 if column else len(self.text)
            raise self._fault(error.msg or "it is not understood", column) from None
        except (ValueError, MemoryError, RecursionError) as error:
            raise self._fault(f"it cannot be parsed ({error})", 0) from None
        made = self._part(tree.body, 0)
        if made.kind != "truth":
            raise self._fault(f"it is a {made.kind}, no condition", tree.body.col_offset)
        self._compute = made.compute

    def matches(self, facts: Facts) -> bool:
        """Whether an item with these facts fulfils the expression; what it lacks is not in them."""
        return self._compute(facts) is True

    def _without_keyword(self, text: str) -> str:
        """Replace the name ``class``, a keyword of Python, by a word of the same length."""
        self.text = text
        spelled = list(text)
        if "\n" in text or "\r" in text:
            raise self._fault(
                "it has more than one line", min(i for i, c in enumerate(text) if c in "\r\n")
            )
        try:
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.NAME and token.string == "class":
                    start = token.start[1]
                    spelled[start : start + 5] = _WORD
                    self._classes.add((1, len(text[:start].encode())))
        except (tokenize.TokenError, SyntaxError):
            pass  # `ast.parse` reports the place
        return "".join(spelled)

    def _fault(self, what: str, column: int) -> ExpressionError:
        column = max(0, min(column, len(self.text)))
        text = self.text if self.text.isprintable() else ascii(self.text)[1:-1]
        return ExpressionError(
            f"column {column + 1} of the expression: {what}{'' if what.endswith('?') else '.'}\n  {text}\n  {' ' * column}^"
        )

    def _at(self, node: Any) -> int:
        """The column of a node in characters; `ast` counts bytes of UTF-8."""
        return len(self.text.encode()[: node.col_offset].decode("utf-8", "ignore"))

    def _part(self, node: ast.expr, depth: int) -> _Typed:
        if depth > _DEEPEST:
            raise self._fault(f"it is nested more than {_DEEPEST} levels deep", self._at(node))
        make: Any = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if make is None:
            raise self._fault(
                "this is not part of the language, which has comparisons, and, or, not, in, "
                'arithmetic, and match(name, "*/W")', self._at(node)
            )  # fmt: skip
        made: _Typed = make(node, depth + 1)
        return made

    def _of_constant(self, node: ast.Constant, depth: int) -> _Typed:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self._fault("a constant is a number or a text in quotes", self._at(node))
        return _Typed("text" if isinstance(value, str) else "number", lambda facts: value)

    def _of_name(self, node: ast.Name, depth: int) -> _Typed:
        name = node.id
        if name == _WORD and (node.lineno, node.col_offset) in self._classes:
            name = "class"
        if name not in NAMES:
            from persist._cli._misspelt import nearest

            near = nearest(name, NAMES, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; the names are {', '.join(NAMES)}"
            raise self._fault(f"there is no name {name!r}{hint}", self._at(node))
        self.names.add(name)
        kind = "text" if name in _TEXTS else "shape" if name == "shape" else "number"
        return _Typed(kind, lambda facts: facts.get(name), name)

    def _of_tuple(self, node: ast.Tuple | ast.List, depth: int, operand_of: str = "") -> _Typed:
        parts = [self._operand(item, depth, operand_of) for item in node.elts]
        kinds = {part.kind for part in parts}
        if len(kinds) > 1 or not kinds <= {"text", "number", "list"}:
            raise self._fault("the items of a tuple are numbers, or texts", self._at(node))
        kind = f"list of {kinds.pop()}s" if kinds else "list of numbers"
        return _Typed(kind, lambda facts: tuple(part.compute(facts) for part in parts))

    def _of_list(self, node: ast.List, depth: int) -> _Typed:
        return self._of_tuple(node, depth)

    def _of_boolop(self, node: ast.BoolOp, depth: int) -> _Typed:
        parts = [self._truth(value, depth) for value in node.values]
        decisive = isinstance(node.op, ast.Or)

        def compute(facts: Facts) -> bool | None:
            found: list[bool | None] = []
            for part in parts:
                found.append(part(facts))
                if found[-1] is decisive:
                    return decisive
            return None if None in found else not decisive

        return _Typed("truth", compute)

    def _truth(self, node: ast.expr, depth: int) -> _Compute:
        part = self._part(node, depth)
        if part.kind != "truth":
            raise self._fault(f"a condition is wanted, and this is a {part.kind}", self._at(node))
        return part.compute

    def _of_unaryop(self, node: ast.UnaryOp, depth: int) -> _Typed:
        if isinstance(node.op, ast.Not):
            part = self._truth(node.operand, depth)

            def negated(facts: Facts) -> bool | None:
                value = part(facts)
                return None if value is None else not value

            return _Typed("truth", negated)
        operand = self._part(node.operand, depth)
        if operand.kind != "number" or isinstance(node.op, ast.Invert):
            raise self._fault("a sign belongs in front of a number", self._at(node))
        sign = -1 if isinstance(node.op, ast.USub) else 1
        compute = operand.compute
        return _Typed("number", lambda facts: None if (v := compute(facts)) is None else sign * v)

    def _of_binop(self, node: ast.BinOp, depth: int) -> _Typed:
        act = _ARITHMETIC.get(type(node.op))
        one, two = self._part(node.left, depth), self._part(node.right, depth)
        if act is None or one.kind != "number" or two.kind != "number":
            raise self._fault("arithmetic is + - * / // % ** of numbers", self._at(node))
        is_power = isinstance(node.op, ast.Pow)

        def compute(facts: Facts) -> Any:
            left, right = one.compute(facts), two.compute(facts)
            if left is None or right is None:
                return None
            if is_power and abs(right) > 128:
                raise self._fault("the exponent is too large", self._at(node))
            try:
                value = act(left, right)
            except ArithmeticError as error:
                raise self._fault(str(error), self._at(node)) from None
            if isinstance(value, complex) or abs(value) > _LARGEST:
                raise self._fault("the number is too large, or complex", self._at(node))
            return value

        return _Typed("number", compute)

    def _of_subscript(self, node: ast.Subscript, depth: int) -> _Typed:
        value, index = self._part(node.value, depth), self._part(node.slice, depth)
        if value.kind != "shape" or index.kind != "number":
            raise self._fault("only shape has an index, which is a number", self._at(node))

        def compute(facts: Facts) -> Any:
            shape, at = value.compute(facts), index.compute(facts)
            if shape is None or not isinstance(at, int) or not -len(shape) <= at < len(shape):
                return None
            return shape[at]

        return _Typed("number", compute)

    def _of_call(self, node: ast.Call, depth: int) -> _Typed:
        is_match = isinstance(node.func, ast.Name) and node.func.id == "match"
        if not is_match or len(node.args) != 2 or node.keywords:
            raise self._fault('the only function is match(name, "*/W")', self._at(node))
        text, glob = (self._part(part, depth) for part in node.args)
        if text.kind != "text" or glob.kind != "text":
            raise self._fault("match takes a text and a pattern with * and ?", self._at(node))

        def compute(facts: Facts) -> bool | None:
            value, pattern = text.compute(facts), glob.compute(facts)
            return None if value is None or pattern is None else fnmatch.fnmatchcase(value, pattern)

        return _Typed("truth", compute)

    def _of_compare(self, node: ast.Compare, depth: int) -> _Typed:
        nodes = [node.left, *node.comparators]
        operand_of = next(
            (name for one in nodes if (name := self._bare(one)) in _BARE), ""
        )  # dtype == float16: a word next to such a name is its text
        parts = [self._operand(one, depth, operand_of) for one in nodes]
        for one, op, two, at in zip(parts, node.ops, parts[1:], node.comparators, strict=False):
            self._check(one, op, two, at)
        acts = [_COMPARE[type(op)] for op in node.ops]

        def compute(facts: Facts) -> bool | None:
            values = [part.compute(facts) for part in parts]
            if any(value is None for value in values):
                return None
            pairs = zip(values, acts, values[1:], strict=False)
            return all(act(one, two) for one, act, two in pairs)

        return _Typed("truth", compute)

    def _bare(self, node: ast.expr) -> str:
        return node.id if isinstance(node, ast.Name) else ""

    def _operand(self, node: ast.expr, depth: int, operand_of: str) -> _Typed:
        """One side of a comparison; next to ``dtype`` or ``format``, other words are texts."""
        if operand_of and isinstance(node, ast.Tuple | ast.List):
            return self._of_tuple(node, depth, operand_of)
        word: str | None = None
        if operand_of and isinstance(node, ast.Name) and node.id not in NAMES:
            word = node.id
        elif (
            operand_of == "dtype" and isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            word = node.value
        if word is None:
            return self._part(node, depth)
        text = self._dtype(word, node) if operand_of == "dtype" else word
        return _Typed("text", lambda facts: text)

    def _dtype(self, word: str, node: ast.expr) -> str:
        """Return the full name of a dtype: ``f4`` and ``<f4`` are float32.

        A text in quotes that names no dtype is kept: structured dtypes are compared as text.
        """
        import numpy as np

        from persist._wire.base.ml_dtypes import is_extended

        if is_extended(word):
            return word
        try:
            return str(np.dtype(word).name) if len(word) < 32 and "," not in word else word
        except (TypeError, ValueError):
            if isinstance(node, ast.Constant):
                return word
            raise self._fault(f"{word!r} is no dtype that is known here", self._at(node)) from None

    def _check(self, one: _Typed, op: ast.cmpop, two: _Typed, node: ast.expr) -> None:
        if type(op) not in _COMPARE:
            raise self._fault("a comparison is == != < <= > >= in, or not in", self._at(node))
        if isinstance(op, ast.In | ast.NotIn):
            fits = two.kind in (f"list of {one.kind}s", "shape" if one.kind == "number" else "")
            fits |= one.kind == two.kind == "text"
        else:
            kinds = {one.kind, two.kind}
            fits = len(kinds) == 1 or kinds <= {"shape", "list of numbers"}
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                fits &= one.kind != "truth"
        if not fits:
            raise self._fault(f"a {one.kind} is compared with a {two.kind}", self._at(node))
