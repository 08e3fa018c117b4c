"""Copy a tree in a defined order: children before parents, sharing and cycles kept.

The order is that of the file, depth first. In a cycle somebody has to be first:
a value that is met again while what is inside it is still being copied is, until
then, the empty object that will be its copy. `Copier.show_old` fills such objects
with what the file says of them, so that a step sees the old state of what it refers to.
Arrays are not copied.

No recursion, so that no file is too deep; nothing outside the copy is changed.
"""

from __future__ import annotations

import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from persist._envelope import FIELDS, unwrap
from persist._trees.paths import step_of
from persist.errors import MigrationFailedError
from persist.tree import (
    ABSENT,
    Global,
    LazyArray,
    PersistentRef,
    Record,
    at_path,
    is_slots_pair,
)

__all__ = ["SCALAR", "Copier", "arrays_in", "has_no_arrays", "is_holder", "parts_of", "records_in"]

_LISTS = (list, deque)
_DICTS = (dict, OrderedDict, defaultdict, Counter)
_MUTABLE = frozenset((*_LISTS, *_DICTS, set, Record))
_HOLDERS = _MUTABLE | {tuple, frozenset}
_PLAIN = frozenset(
    (type(None), bool, int, float, complex, str, bytes, bytearray, LazyArray, PersistentRef)
)

SCALAR = _PLAIN - {LazyArray}
_TOLD = 2_000_000  # steps of all paths that are told whole
_DEEP = 16  # steps of a path that is told after those


def is_holder(value: Any) -> bool:
    """Whether a value holds others."""
    return type(value) in _HOLDERS or _is_object_array(value)


def _is_object_array(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype.hasobject
        and not isinstance(value, np.ma.MaskedArray)
    )


class Copier:
    """Copies what hangs below a root; asks what becomes of each record, and of each global.

    Args:
        finish: gets the copy of a record whose children are done, and a
            function that tells its natural path; returns what stands for it.
        leaf: returns what stands for a `Global`.
        read: whether a `LazyArray` becomes the array that it promises.
    """

    def __init__(
        self,
        finish: Callable[[Record, Callable[[], str]], Any],
        leaf: Callable[[Global], Any] | None = None,
        *,
        read: bool = False,
    ) -> None:
        self._plain = SCALAR | {PersistentRef} if read else _PLAIN
        self._finish = finish
        self._leaf = leaf
        self._done: dict[int, tuple[Any, Any]] = {}
        self._shells: dict[int, Any] = {}
        self._handed: set[int] = set()
        self._swap: dict[int, tuple[Any, Any]] = {}  # by id of what is to be replaced
        self._ours: set[int] = set()  # ids of what this copier made
        self._parents: dict[int, tuple[int, str]] = {}
        self._names: dict[int, Any] = {}  # an envelope's tuples of values -> their names
        self._states: set[int] = set()  # ids of envelopes and their tuples of values
        self._told = 0  # steps of the paths that were told
        self._early: list[Any] = []  # old values that were handed out before their copies are made
        self._shown: dict[int, Any] = {}  # id of an old value -> what its copy was filled with
        self._early_tuples: dict[
            int, Any
        ] = {}  # id of an old tuple -> what stands for it till then

    def copy(self, root: Any) -> Any:
        """Return the copy of a root, everything in it finished."""
        if not is_holder(root):
            return self._new(root)
        todo: list[tuple[Any, int | None, str]] = [(root, 0, "")]
        entered: set[int] = set()
        while todo:
            node, parent, step = todo.pop()
            key = id(node)
            if parent is None:
                self._close(node)
                continue
            if key in entered:
                continue
            entered.add(key)
            if node is not root:
                self._parents[key] = (parent, step)
            self._shell_of(node)
            todo.append((node, None, ""))
            children = self._children(node)
            todo.extend((child, key, step) for step, child in reversed(children))
        return self.mended(self._new(root))

    def mended(self, copy: Any) -> Any:
        """Put what replaced a value in its place, everywhere in the copy."""
        return _ReferencePatcher(self._swap).mend(copy) if self._swap else copy

    def _children(self, node: Any) -> list[tuple[str, Any]]:
        children = list(_children(node))
        if type(node) is tuple:
            names = self._names.get(id(node))
            if names is not None:
                return [(names[int(step)], child) for step, child in children]
            envelope = unwrap(node)
            if envelope is not None:
                self._states.add(id(node))
                self._states.update(map(id, envelope.values))
                for layer, value in zip(envelope.layers, envelope.values, strict=True):
                    if layer.kind == FIELDS:
                        self._names[id(value)] = layer.names
        return children

    def path(self, old: Any) -> str:
        """Return the natural path on which the walk first reached a value.

        Of values beyond number that lie very deep, the end of it: all of it for each would take
        the square of the time.
        """
        steps: list[str] = []
        key = id(old)
        seen: set[int] = set()
        most = _DEEP if self._told > _TOLD else _TOLD
        while key in self._parents and key not in seen:
            if len(seen) >= most:
                steps.append("...")
                break
            seen.add(key)
            key, step = self._parents[key]
            if step:
                steps.append(step)
        self._told += len(steps)
        return "/".join(reversed(steps))

    def replace(self, old: Any, new: Any) -> None:
        """Let every reference to a value of the copy lead to another, once the walk is over."""
        if new is not old:
            self._swap[id(old)] = (old, new)

    def replaced(self, old: Any) -> Any:
        """Return what replaces a value, or None."""
        found = self._swap.get(id(old))
        return None if found is None else found[1]

    def fresh(self, value: Any) -> list[Record]:
        """Return the records below a value that a migration made, inner ones first."""
        return [record for record in records_in(value, self._ours) if id(record) not in self._ours]

    def is_own(self, value: Any) -> bool:
        """Whether this copier made a value, or adopted it."""
        return id(value) in self._ours

    def adopt(self, value: Any) -> None:
        """Take a value that a migration made for one of the copy's own."""
        self._ours.add(id(value))

    def _shell_of(self, node: Any) -> Any:
        """The empty copy of a value; None of a tuple or frozenset."""
        key = id(node)
        shell = self._shells.get(key)
        if shell is None:
            shell = _shell(node)
            if shell is not None:
                self._shells[key] = shell
                self._ours.add(id(shell))
        return shell

    def show_old(self) -> None:
        """Fill what was handed out before it is made with what the file says of it.

        Called before a step runs, so that the step sees the old state of what it meets again in
        a cycle. What a value was filled with is taken out again when its copy is made.
        """
        while self._early:
            old = self._early.pop()
            key = id(old)
            if key in self._done or key in self._shown or key not in self._shells:
                continue
            shell = self._shells[key]
            self._fill(old, shell, self._old)
            self._shown[key] = (old, shell, _contents(shell))

    def _old(self, old: Any) -> Any:
        """What stands for a value in a state that is shown before it is upgraded."""
        if type(old) in (tuple, frozenset):
            return self._old_tuple(old)
        if type(old) in self._plain or type(old) is Global or not is_holder(old):
            return self._new(old)
        done = self._done.get(id(old))
        if done is not None:
            return done[1]
        shell = self._shell_of(old)
        self._handed.add(id(old))
        self._early.append(old)
        return shell

    def _old_tuple(self, root: Any) -> Any:
        """A tuple or frozenset of old values, made from the inside out."""
        made = self._early_tuples
        todo = [root]
        while todo:
            old = todo[-1]
            if id(old) in self._done or id(old) in made:
                todo.pop()
                continue
            below = [
                item
                for item in old
                if type(item) in (tuple, frozenset)
                and id(item) not in self._done
                and id(item) not in made
            ]
            if below:
                todo.extend(below)
                continue
            todo.pop()
            items = [
                self._old_done(item) if type(item) in (tuple, frozenset) else self._old(item)
                for item in old
            ]
            same = all(new is item for new, item in zip(items, old, strict=True))
            made[id(old)] = (old, old if same else type(old)(items))
        return self._old_done(root)

    def _old_done(self, old: Any) -> Any:
        found = self._done.get(id(old)) or self._early_tuples[id(old)]
        return found[1]

    def _take_back(self, node: Any, shell: Any) -> None:
        """Empty a value that was shown early; what was changed in it would be lost.

        Raises:
            MigrationFailedError: a step has changed it.
        """
        _, _, before = self._shown.pop(id(node))
        now = _contents(shell)
        same = len(now) == len(before) and all(map(operator.is_, now, before))
        if not same:
            raise MigrationFailedError(
                "a step changed what belongs to an object whose own turn had not come: in a cycle "
                "it sees the old state of such an object, and the change would be lost.",
                where=at_path(self.path(node)),
                remedy="Make the change in a step of the class to which it belongs.",
            )
        if isinstance(shell, Record | np.ndarray):
            return  # every part of it is set again
        shell.clear()

    def _close(self, node: Any) -> None:
        key = id(node)
        shell = self._shells.get(key)
        if key in self._shown:
            self._take_back(node, shell)
        made = self._fill(node, shell, self._new)
        if isinstance(node, Record):
            finished = self._finish(made, lambda: self.path(node))
            if finished is not made:
                if key in self._handed:
                    self.replace(made, finished)
                made = finished
        self._ours.add(id(made))
        self._done[key] = (node, made)
        early = self._early_tuples.pop(key, None)
        if early is not None and key not in self._states:
            self.replace(early[1], made)

    def _new(self, old: Any) -> Any:
        """What stands for a value of the old tree in the new one."""
        if type(old) in self._plain:
            return old
        if type(old) is LazyArray:  # to be read: it is none of the plain values
            return old.read()
        if type(old) is Global:
            return old if self._leaf is None else self._leaf(old)
        kind = type(old)
        plain = kind is tuple and self._plain.issuperset(map(type, old))
        if plain or not is_holder(old):
            return old
        key = id(old)
        done = self._done.get(key)
        if done is not None:
            return done[1]
        if key not in self._handed:
            self._handed.add(key)
            self._early.append(old)
        shell = self._shells.get(key)
        return self._old_tuple(old) if shell is None else shell

    def _key(self, old: Any, of: Callable[[Any], Any]) -> Any:
        """What stands for a key; one that became something without a hash stays what it was."""
        new = of(old)
        return new if type(new) in self._plain or _has_hash(new) else self._shells.get(id(old), old)

    def _fill(self, node: Any, shell: Any, new: Callable[[Any], Any]) -> Any:
        kind = type(node)
        if kind is tuple:
            return (
                node
                if self._plain.issuperset(map(type, node))
                else tuple([new(item) for item in node])
            )
        if kind is frozenset:
            return frozenset([self._key(item, new) for item in node])
        if kind in _LISTS:
            shell.extend(
                node if self._plain.issuperset(map(type, node)) else [new(item) for item in node]
            )
        elif kind is set:
            shell.update([self._key(item, new) for item in node])
        elif kind in _DICTS:
            for name, item in node.items():
                shell[self._key(name, new)] = new(item)
            if kind is OrderedDict and vars(node):
                vars(shell).update(vars(node))
        elif kind is Record:
            self._fill_record(node, shell, new)
        else:
            for source, target in zip(_object_views(node), _object_views(shell), strict=True):
                for index in np.ndindex(source.shape):
                    target[index] = new(source[index])
        return shell

    def _fill_record(self, node: Record, shell: Record, new: Callable[[Any], Any]) -> None:
        for name in ("maker", "kind", "version"):
            _put(shell, name, getattr(node, name))
        if node.is_bare:
            _put(shell, "state", new(node.state))
            return
        shell.args = new(node.args)
        shell.kwargs = {name: new(item) for name, item in node.kwargs.items()}
        shell.state = new(node.state)
        shell.listitems = [new(item) for item in node.listitems]
        shell.dictitems = [(new(name), new(item)) for name, item in node.dictitems]


_put = object.__setattr__  # of a record's own attributes, past its look at their names


def _contents(value: Any) -> list[Any]:
    """What a value holds, to see by identity whether anything was changed."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, np.ndarray):
        return [item for view in _object_views(value) for item in view.reshape(-1).tolist()]
    if not isinstance(value, Record):
        return list(value)
    if value.is_bare:
        return [value.state]
    items = chain.from_iterable(value.dictitems)
    return [value.state, value.args, *value.kwargs.values(), *value.listitems, *items]


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _shell(node: Any) -> Any:
    """The copy of a value, still empty; None where it cannot be made before its items."""
    kind = type(node)
    if kind is tuple or kind is frozenset:
        return None
    if kind is Record:
        return Record(node.cls)
    if kind is defaultdict:
        return defaultdict(node.default_factory)
    if kind is deque:
        return deque(maxlen=node.maxlen)
    return node.copy() if isinstance(node, np.ndarray) else kind()


def _object_views(array: Any) -> list[Any]:
    """The parts of an array that hold objects, as views of object dtype."""
    array = array.view(np.ndarray)
    if array.dtype == object:
        return [array]
    names = array.dtype.names or ()
    return [
        view for name in names if array.dtype[name].hasobject for view in _object_views(array[name])
    ]


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the step and the value of everything inside that itself holds something."""
    for step, child in _steps(node):
        kind = type(child)
        if kind is tuple:
            if not _PLAIN.issuperset(map(type, child)):
                yield step, child
        elif kind not in _PLAIN and is_holder(child):
            yield step, child


def _steps(node: Any) -> Iterator[tuple[str, Any]]:
    kind = type(node)
    if kind is Record:
        yield from _record_steps(node)
    elif kind in _DICTS:
        for name, item in node.items():
            if type(name) not in _PLAIN:
                yield step_of(name) if not is_holder(name) else "key", name
            if type(item) not in _PLAIN:
                yield step_of(name), item
    elif kind is tuple and unwrap(node) is not None:
        yield from (("", value) for value in node)
    elif kind in (list, tuple, deque):
        if not _PLAIN.issuperset(map(type, node)):
            yield from ((str(index), item) for index, item in enumerate(node))
    elif kind in (set, frozenset):
        yield from ((str(index), item) for index, item in enumerate(node))
    else:
        for view in _object_views(node):
            for index in np.ndindex(view.shape):
                yield "/".join(map(str, index)), view[index]


def parts_of(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the step and the value of every part of a holder that may be more than a scalar."""
    return _steps(node)


def _record_steps(node: Record) -> Iterator[tuple[str, Any]]:
    state = node.state
    if state is not ABSENT:
        transparent = isinstance(state, dict) or is_slots_pair(state) or unwrap(state) is not None
        yield "" if transparent else "state", state
    if node.is_bare:
        return
    yield "args", node.args
    yield from ((f"kwargs/{step_of(name)}", item) for name, item in node.kwargs.items())
    yield from ((str(index), item) for index, item in enumerate(node.listitems))
    for name, item in node.dictitems:
        yield "key", name
        yield step_of(name), item


def records_in(value: Any, stop: set[int]) -> Iterator[Record]:
    """Yield every record below a value, inner ones first, not going into what ``stop`` names."""
    todo: list[tuple[Any, bool]] = [(value, False)]
    seen: set[int] = set()
    while todo:
        node, children_done = todo.pop()
        if children_done:
            yield node
            continue
        if id(node) in seen or not is_holder(node):
            continue
        if isinstance(node, Record) and id(node) in stop and node is not value:
            continue
        seen.add(id(node))
        if isinstance(node, Record):
            todo.append((node, True))
        todo.extend((child, False) for _, child in reversed(list(_children(node))))


def has_no_arrays(values: Any) -> bool:
    """Whether values are scalars, or tuples, lists and dicts of nothing else, as most are."""
    for value in values:
        kind = type(value)
        if kind in SCALAR:
            continue
        if kind is dict:
            value = value.values()
        elif kind is not tuple and kind is not list:
            return False
        if not SCALAR.issuperset(map(type, value)):
            return False
    return True


def arrays_in(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (holder, key, array) of every array below a value, not going into records."""
    todo, seen = [value], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        pairs: Any = ()
        if isinstance(node, dict):
            if not SCALAR.issuperset(map(type, node.values())):
                pairs = list(node.items())
        elif isinstance(node, list | tuple | deque) and not SCALAR.issuperset(map(type, node)):
            pairs = enumerate(node)
        for key, item in pairs:
            if isinstance(item, np.ndarray | LazyArray):
                yield node, key, item
            elif type(item) in _HOLDERS and type(item) is not Record:
                todo.append(item)


class _ReferencePatcher:
    """Puts what replaced a value wherever the value is referred to, in place."""

    def __init__(self, swap: dict[int, tuple[Any, Any]]) -> None:
        self._swap = swap
        self._fixed: dict[int, tuple[Any, Any]] = {}  # tuples and frozensets made anew
        self._seen: set[int] = set()
        self._todo: list[Any] = []

    def mend(self, root: Any) -> Any:
        """Return the root, mended."""
        root = self._of(root)
        while self._todo:
            self._mend(self._todo.pop())
        return root

    def _final(self, value: Any) -> Any:
        for _ in range(len(self._swap) + 1):
            found = self._swap.get(id(value))
            if found is None or found[0] is not value:
                return value
            value = found[1]
        return value

    def _of(self, value: Any) -> Any:
        value = self._final(value)
        if type(value) in (tuple, frozenset):
            return self._immutable(value)
        if is_holder(value) and id(value) not in self._seen:
            self._seen.add(id(value))
            self._todo.append(value)
        return value

    def _immutable(self, value: Any) -> Any:
        """Make a tuple or frozenset anew from the inside out where anything in it changes."""
        stack, entered = [value], set()
        while stack:
            top = stack[-1]
            if id(top) in self._fixed:
                stack.pop()
                continue
            inner = [self._final(item) for item in top]
            if id(top) not in entered:
                entered.add(id(top))
                below = [
                    item
                    for item in inner
                    if type(item) in (tuple, frozenset)
                    and id(item) not in self._fixed
                    and id(item) not in entered
                ]
                if below:
                    stack.extend(below)
                    continue
            stack.pop()
            items = [
                self._fixed[id(item)][1] if id(item) in self._fixed else self._of_flat(item)
                for item in inner
            ]
            same = all(new is old for new, old in zip(items, top, strict=True))
            self._fixed[id(top)] = (top, top if same else type(top)(items))
        return self._fixed[id(value)][1]

    def _of_flat(self, item: Any) -> Any:
        return item if type(item) in (tuple, frozenset) else self._of(item)

    def _key(self, old: Any) -> Any:
        new = self._of(old)
        return new if _has_hash(new) else old

    def _mend(self, holder: Any) -> None:
        of = self._of
        if type(holder) is Record:
            holder.args = of(holder.args)
            holder.state = of(holder.state)
            holder.kwargs = {name: of(item) for name, item in holder.kwargs.items()}
            holder.listitems = [of(item) for item in holder.listitems]
            holder.dictitems = [(of(name), of(item)) for name, item in holder.dictitems]
        elif isinstance(holder, dict):
            pairs = [(self._key(name), of(item)) for name, item in holder.items()]
            holder.clear()
            for name, item in pairs:
                holder[name] = item
        elif isinstance(holder, set):
            items = [self._key(item) for item in holder]
            holder.clear()
            holder.update(items)
        elif isinstance(holder, np.ndarray):
            for view in _object_views(holder):
                for index in np.ndindex(view.shape):
                    view[index] = of(view[index])
        else:
            items = [of(item) for item in holder]
            holder.clear()
            holder.extend(items)
