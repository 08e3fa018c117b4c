"""Source of any release of Python to syntax trees, as far as classes are concerned.

A file is split into its top-level statements, so that those which did not change from one revision to
the next are parsed once. What today's parser refuses is first put into today's spelling (``print`` and
``exec`` statements, ``except A, e``, backticks, ``0777``); what is still refused is replaced by
``pass``, line by line.
"""

from __future__ import annotations

import ast
import bisect
import codecs
import re
import warnings
from collections.abc import Iterator

__all__ = ["decoded", "parsed", "reduced", "statements"]

_QUOTED = r"""'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_STRING = rf"[A-Za-z]{{0,2}}(?:{_QUOTED})"
_LEXER = re.compile(rf"#[^\n]*|{_QUOTED}", re.DOTALL)
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_START = re.compile(r"\n(?=[^\s#)\]}])")
_GOES_ON = re.compile(r"(?:else|elif|except|finally)\b")
_CLASSES = re.compile(r"class[ \t]+\w|amed[tT]uple[ \t]*\(")
_MOST_REPAIRS = 40


def decoded(data: bytes) -> str:
    """Return source as text: by its declared encoding, UTF-8, or else each byte as one character."""
    lines = data[:400].split(b"\n", 2)[:2]
    names = [
        match[1].decode("ascii", "replace") for line in lines if (match := _COOKIE.match(line))
    ]
    if data.startswith(codecs.BOM_UTF8):
        data, names = data[3:], ["utf-8"]
    for name in [*names, "utf-8"]:
        try:
            return _lines(codecs.decode(data, name))
        except (LookupError, UnicodeError, ValueError, TypeError):
            continue
    return _lines(data.decode("latin-1"))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace("\f", "")


def statements(text: str) -> Iterator[str]:
    """Yield those top-level statements of a source that may hold a class."""
    classes = [match.start() for match in _CLASSES.finditer(text) if _is_code(match, text)]
    if not classes:
        return
    starts = _outside([0, *(match.end() for match in _START.finditer(text))], text)
    previous, decorates = 0, False
    for start in starts:
        if decorates or _GOES_ON.match(text, start):
            decorates = text[start] == "@"
            continue
        if _has(classes, previous, start):
            yield text[previous:start]
        previous, decorates = start, text[start] == "@"
    if _has(classes, previous, len(text)):
        yield text[previous:]


def _is_code(match: re.Match[str], text: str) -> bool:
    """Whether the word may be the statement: it is the first one of its line, or after a colon."""
    if match[0][0] == "a":
        return True
    before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()].rstrip()
    return not before or before[-1] in ":;"


def _has(places: list[int], start: int, end: int) -> bool:
    found = bisect.bisect_left(places, start)
    return found < len(places) and places[found] < end


def _outside(starts: list[int], text: str) -> list[int]:
    """Those places that are in no text of several lines."""
    if "'''" not in text and '"""' not in text:
        return starts
    spans = [
        match.span()
        for match in _LEXER.finditer(text)
        if text[match.start()] != "#" and "\n" in match[0]
    ]
    begins = [span[0] for span in spans]
    return [
        start for start in starts
        if not (place := bisect.bisect_left(begins, start)) or spans[place - 1][1] <= start
    ]  # fmt: skip


_HEAD = re.compile(r"(?:@[^\n]*\n)*class\b")
_BODY = re.compile(r"\n([ \t]+)(?=[^\s#])")
_METHOD = re.compile(r"(?:async[ \t]+)?def[ \t]+(\w+)[ \t]*\([ \t\n]*(\w*)")
_ALWAYS = {"__init__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__"}


def reduced(statement: str) -> str:
    """Return a class statement without those methods that assign no attribute.

    To parse them took most of the time. What is left tells as much of an instance's state. A statement
    of another kind is returned as it is.
    """
    body = _BODY.search(statement)
    if _HEAD.match(statement) is None or body is None:
        return statement
    indent = body[1]
    starts = [match.end() for match in re.finditer(rf"\n{indent}(?=[^\s#)\]}}])", statement)]
    starts = _outside(starts, statement)
    kept, previous, decorates = [statement[: starts[0]]] if starts else [statement], 0, False
    for start, end in zip(starts, [*starts[1:], len(statement)], strict=True):
        previous = previous if decorates else start
        decorates = statement[start] == "@"
        if not decorates and not _is_idle(_METHOD.match(statement, start), statement, start, end):
            kept.append(statement[previous:end])
    return f"{''.join(kept).rstrip()}\n{indent}pass\n"


def _is_idle(method: re.Match[str] | None, text: str, start: int, end: int) -> bool:
    """Whether a part of a class is a method that assigns no attribute of its first argument."""
    if method is None or method[1] in _ALWAYS or not method[2]:
        return False
    part = text[start:end]
    own = method[2]
    if f"{own}." not in part:
        return not ("setattr" in part or "vars" in part)
    if "setattr" in part or "__dict__" in part or "vars" in part:
        return False
    # A target is in front of the first equals sign of its line, or after `for` or `as`.
    return re.search(
        rf"\b{own}\.\w+[^=\n]*(?<![=!<>])=(?!=)|\b(?:for|as)\b[^\n]*\b{own}\.|\b{own}\.\w+[ \t]*\\\n", part
    ) is None  # fmt: skip


def parsed(text: str) -> ast.Module | None:
    """Return the syntax tree of a source; None if it is none of any release of Python."""
    tree = _tree(text)
    if isinstance(tree, ast.Module):
        return tree
    text = modernised(text)
    for _ in range(_MOST_REPAIRS):
        tree = _tree(text)
        if isinstance(tree, ast.Module):
            return tree
        repaired = _without(text, tree)
        if repaired == text:
            return None
        text = repaired
    return None


def _tree(text: str) -> ast.Module | int:
    """The tree, or the number of the line that the parser refuses; 0 if it does not say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in old strings
            return ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 0
    except (ValueError, RecursionError, MemoryError):
        return 0


def _without(text: str, number: int) -> str:
    """The source with one line replaced by a statement that does nothing."""
    lines = text.split("\n")
    if not 0 < number <= len(lines):
        return text
    line = lines[number - 1]
    body = line.lstrip()
    if not body or body in ("pass", "if 1:"):
        return text
    indent = line[: len(line) - len(body)]
    lines[number - 1] = indent + ("if 1:" if body.split("#")[0].rstrip().endswith(":") else "pass")
    return "\n".join(lines)


# Python 2 in today's spelling. Values do not matter, only that names stay where they are.

_OLD = re.compile(
    rf"""(?P<skip>\#[^\n]*)
    |(?P<string>{_STRING})
    |(?P<statement>(?<![.\w])(?:print|exec)[ \t]+(?=[\w"'\[{{`~-])(?!in\b|is\b|if\b|and\b|or\b))
    |(?P<handler>(?<![.\w])except[ \t]+(?P<types>[^\n:\#]+?)[ \t]*,[ \t]*(?P<target>[\w.]+)[ \t]*:)
    |(?P<raised>(?<![.\w])raise[ \t]+(?=[\w.]+(?:\([^\n]*?\))?[ \t]*,))
    |(?P<repr>`[^`\n]*`)
    |(?P<unequal><>)
    |(?P<octal>(?<![\w.])0[0-7]+[lL]?(?![\w.]))
    |(?P<long>(?<![\w.])(?:0[xX][0-9a-fA-F]+|\d+)[lL](?!\w))""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(r"(?m)^([ \t]*def[ \t]+\w+[ \t]*\()(.*)$")
_NESTED = re.compile(r"(^|,)([ \t]*)\(([\w\s,]+)\)(?=[ \t]*[,)=])")


def modernised(text: str) -> str:
    """Return source of Python 2 in a spelling that today's parser takes."""
    if "\t" in text:
        text = "\n".join(_expanded(line) for line in text.split("\n"))
    text = _OLD.sub(_today, text)
    # def f(self, (a, b)): the parts of an argument become arguments.
    return _PARTS.sub(lambda match: match[1] + _NESTED.sub(r"\1\2\3", match[2]), text)


def _expanded(line: str) -> str:
    body = line.lstrip()
    return line[: len(line) - len(body)].expandtabs(8) + body


def _today(match: re.Match[str]) -> str:
    text = match[0]
    match match.lastgroup:
        case "string":
            return text[1:] if text[:2].lower() == "ur" else text
        case "statement":
            return f"{text.rstrip()}, "
    if match["handler"]:
        target = match["target"]
        name = f" as {target}" if target.isidentifier() else ""
        types = match["types"]
        return f"except {types}{name}:"
    if match["raised"]:
        return ""
    if match["repr"]:
        return f"({text[1:-1] or '0'})"
    if match["unequal"]:
        return "!="
    if match["octal"]:
        return f"0o{text.rstrip('lL')[1:]}" if text.strip("0lL") else "0"
    return text.rstrip("lL") if match["long"] else text
