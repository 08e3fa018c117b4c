"""What ``trust=`` names, and what is missing for an object to be made whole.

An object that a user trusts is made only where everything in it can be made, too: an instance that
looks alive and holds inert records or names in the place of its parts fails much later, far from
the cause. What is missing is collected once for a whole tree, so that one message names all of it.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from persist._trees.copier import is_holder, parts_of
from persist.errors import UntrustedError
from persist.registry import Registry
from persist.registry._enums import class_here
from persist.tree import Global, Record, is_cython_maker

__all__ = [
    "Missing",
    "Trust",
    "constant_call",
    "is_made_by_its_class",
    "is_pattern",
    "missing_below",
    "refused",
]

_WILD = "*?["
# Names that begin so are those of tensors, shapes and devices, in all releases of torch.
_TENSORS = (
    "torch._utils.", "torch._tensor.", "torch.tensor.", "torch.autograd.", "torch.nn.parameter.", "torch.nn.Parameter",
    "torch.storage.", "torch.Size", "torch.device", "torch.serialization.",
)  # fmt: skip


class Trust:
    """The names of a ``trust=`` argument.

    Args:
        names: exact dotted names, and patterns such as ``lab.*``; one text is one name.
        registry: for aliases: an exact old name trusts the current name too.

    Raises:
        UntrustedError: the first component of a pattern is a wildcard, so that a file could
            choose among all modules of the process, ``subprocess`` and ``os`` among them.
    """

    def __init__(self, names: Iterable[str], registry: Registry) -> None:
        self.names = [names] if isinstance(names, str) else list(names)
        self._patterns = [name for name in self.names if is_pattern(name)]
        self._exact = {name for name in self.names if not is_pattern(name)}
        self._exact |= {registry.resolve(name) for name in self._exact}
        for pattern in self._patterns:
            if is_pattern(pattern.partition(".")[0]):
                raise UntrustedError(
                    f"trust= holds {pattern!r}, which matches classes of every module.",
                    remedy='Begin it with the name of a package: trust=["lab.*"].',
                    names=[pattern],
                )
        # What the shipped packs know of NumPy are plain arrays and numbers, whoever holds them.
        self._packages = {name.partition(".")[0] for name in self.names} - {"numpy"}

    def __bool__(self) -> bool:
        return bool(self.names)

    def has_exactly(self, qualname: str) -> bool:
        """Whether a dotted name is named itself, so that its module may be imported."""
        return qualname in self._exact

    def has_pattern_of(self, qualname: str) -> bool:
        """Whether a pattern fits a dotted name."""
        return any(fnmatch.fnmatchcase(qualname, pattern) for pattern in self._patterns)

    def wants_objects_of(self, qualname: str) -> bool:
        """Whether any class of the same package is trusted: its objects hold each other.

        A plain array in the place of one (what a pack makes of it) is then no substitute; of torch it is, since
        tensors are arrays here, whichever function makes them.
        """
        if qualname.startswith(_TENSORS):
            return False
        return qualname.partition(".")[0] in self._packages


def is_pattern(name: str) -> bool:
    """True if an entry of ``trust=`` is a prefix of many names."""
    return any(mark in name for mark in _WILD)


def is_made_by_its_class(record: Record) -> bool:
    """Whether a pickle makes a record by calling its class, and not some function.

    What Cython's functions do is known, and done in their place: they are not called.
    """
    if record.kind in ("called", "built"):
        return False
    maker = record.maker if record.kind == "reduce" else None
    return maker is None or maker == record.cls or is_cython_maker(maker)


def _is_of_function(record: Record) -> bool:
    """Whether what a record calls by its only name is a function rather than a class.

    If the module is not imported, the name alone decides: functions that pickles call begin with
    a small letter or an underscore (``_reconstruct``, ``_rebuild_tensor_v2``, ``_unpickle_block``).
    """
    here = class_here(record.qualname)
    if here is not None:
        return not isinstance(here, type)
    first = record.qualname.rpartition(".")[2][:1]
    return record.kind == "reduce" and (first == "_" or first.islower())


@attrs.define
class Missing:
    """What stays inert below a value: names in the order in which they are met.

    Attributes:
        classes: of records that their class could build.
        calls: of records that a function would make; functions are never called.
        names: of functions, classes and constants that are used as values.
    """

    classes: list[str] = attrs.field(factory=list)
    calls: list[str] = attrs.field(factory=list)
    names: list[str] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.classes or self.calls or self.names)

    def add(self, value: Record | Global) -> None:
        """Note a value that stays inert."""
        kind = self.names
        if isinstance(value, Record):
            is_class = is_made_by_its_class(value) and not _is_of_function(value)
            kind = self.classes if is_class else self.calls
        if value.qualname not in kind:
            kind.append(value.qualname)

    def text(self) -> str:
        """Say what is missing, each kind with its names."""
        parts = []
        if self.classes:
            parts.append(f"instances of {_listed(self.classes)}, which are not declared or trusted")
        if self.calls:
            parts.append(f"what a call of {_listed(self.calls)} would make")
        if self.names:
            parts.append(f"{_listed(self.names)}, known by name only")
        return "; ".join(parts)

    def cure(self, trusted: Iterable[str] = ()) -> str:
        """Say what to do so that all of it can be made; with the complete list for ``trust=``."""
        parts = []
        if self.calls:
            return (
                "A call is never made of what a file says, so trust= cannot help: "
                "persist.open(...).arrays and .scalars give what is inside, or persist.alias(old, "
                "NewClass) and a declared class of your own takes the place of the trusted one."
            )
        if self.classes:
            names = dict.fromkeys((*trusted, *self.classes))
            parts.append(f"trust=[{', '.join(map(repr, names))}]")
        parts += map(constant_call, self.names)
        return f"What makes it whole: {' and '.join(parts)}."


def constant_call(qualname: str) -> str:
    """Return the call that gives a function, class or sentinel a name that files can hold."""
    return f'persist.constant("{qualname}", {qualname})'


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def missing_below(value: object, is_inert: Callable[[Any], bool]) -> Missing:
    """Return what stays inert below a value (and the value itself, where it does)."""
    found = Missing()
    todo, seen = [value], set()
    while todo:
        node = todo.pop()
        if type(node) is Global:
            if is_inert(node):
                found.add(node)
            continue
        if id(node) in seen or not is_holder(node):
            continue
        seen.add(id(node))
        if type(node) is Record and is_inert(node):
            found.add(node)
        todo.extend(reversed(list(_below(node))))
    return found


def _below(node: object) -> Iterable[object]:
    if type(node) is Record and node.kind == "reconstructor":
        yield from node.args[1:]  # the first names the builtin base
        yield from (part for step, part in parts_of(node) if part is not node.args)
        return
    if type(node) is Global:  # a member of an enum that is the whole tree
        return
    yield from (part for _, part in parts_of(node))
    if type(node) is defaultdict:
        factory: object = node.default_factory
        if type(factory) is Global:
            yield factory


def refused(
    tree: object, is_trusted: Callable[[Record], bool], is_inert: Callable[[Any], bool]
) -> list[Record]:
    """Return the trusted records of a tree that cannot be made whole, in the order of the tree.

    One walk over the tree, however many trusted records hold each other.
    """
    holders: dict[int, list[object]] = defaultdict(list)  # id of a value -> what holds it
    trusted: list[Record] = []
    front: list[object] = []
    todo, seen = [tree], {}
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if type(node) is Record:
            if is_inert(node):
                front.append(node)
            elif is_trusted(node):
                trusted.append(node)
        for part in reversed(list(_below(node))):
            if type(part) is Global:
                if is_inert(part):
                    front.append(node)
            elif is_holder(part):
                holders[id(part)].append(node)
                todo.append(part)
    reached: set[int] = set()
    while front:
        node = front.pop()
        if id(node) not in reached:
            reached.add(id(node))
            front += holders[id(node)]
    return [record for record in trusted if id(record) in reached]
