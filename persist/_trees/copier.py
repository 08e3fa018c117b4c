"""Copy a tree, children before parents; shared references and cycles are kept.

The order is that of the file, depth first. Cycles: a back reference to a value that is
still being copied gets its *shell*, the empty object that becomes the copy.
`Copier.show_old` fills shells with the old state from the file, so that a migration step
sees the old state of the objects it refers to. Arrays are not copied.

There is no recursion, so that no file is too deep. The original is not changed.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np

from persist._envelope import FIELDS, unwrap
from persist._runtime.progress import Count
from persist._trees.pack_view import PackView
from persist.errors import MigrationFailedError
from persist.tree import (
    ABSENT,
    LEAVES,
    SCALARS,
    Global,
    LazyArray,
    PersistentRef,
    Record,
    at_path,
    is_slots_pair,
    step_of,
)

__all__ = [
    "SCALAR",
    "Copier",
    "arrays_in",
    "has_no_arrays",
    "is_holder",
    "parts_of",
    "parts_within",
    "records_in",
]

_LISTS = (list, deque)
_DICTS = (dict, OrderedDict, defaultdict, Counter)
_MUTABLE = frozenset((*_LISTS, *_DICTS, set, Record))
_HOLDERS = _MUTABLE | {tuple, frozenset}
_PLAIN, SCALAR = LEAVES, SCALARS

_RECORDS = frozenset((Record,))
_TEXT = frozenset((str,))
_FULL_PATH_STEPS = 200_000  # total steps of paths returned in full, before they are shortened
_SHORT_PATH_STEPS = 16  # last steps of a shortened path


def is_holder(value: object) -> bool:
    """Whether a value is a container of other values."""
    return type(value) in _HOLDERS or _is_object_array(value)


def _is_object_array(value: object) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype.hasobject
        and not isinstance(value, np.ma.MaskedArray)
    )


class Copier:
    """Copies a tree; callbacks decide what replaces each record and each `Global`.

    Args:
        finish: called with the copy of a record whose children are done, and a
            function that returns its natural path; returns the final value.
        leaf: returns the replacement of a `Global`.
        read: whether a `LazyArray` is read and replaced by its array.
        at_once: called with a record of the original whose children have not been visited; returns
            the final value if the record has no children that need a visit, else None.
        place: called with the copy of a record whose children are done or wait, and with what these
            wait for; returns the record's place and what the holders of the record wait for. A
            record of place 0 is finished when its children are, the others after the walk, by place.
    """

    def __init__(
        self,
        finish: Callable[[Record, Callable[[], str]], Any],
        leaf: Callable[[Global], object] | None = None,
        *,
        read: bool = False,
        at_once: Callable[[Record, Callable[[], str]], Any] | None = None,
        place: Callable[[Record, frozenset[str]], tuple[int, frozenset[str]]] | None = None,
    ) -> None:
        self._place = place
        self._waits: dict[
            int, frozenset[str]
        ] = {}  # id of a closed value -> what its holders wait for
        self._late: list[tuple[int, Record, Record]] = []  # place, record, its unfinished copy
        self._at_once = at_once
        self._plain = SCALAR | {PersistentRef} if read else _PLAIN
        self._finish = finish
        self._leaf = leaf
        self._done: dict[int, tuple[Any, Any]] = {}
        self._shells: dict[int, object] = {}
        self._handed: set[int] = set()
        self._swap: dict[
            int, tuple[object, object]
        ] = {}  # id of a value -> (value, its replacement)
        self._ours: set[int] = set()  # ids of the objects that this copier made or adopted
        self._roots: list[object] = []
        self._walked = 0  # roots of which `_parents` holds the paths
        self._parents: dict[int, tuple[int, str]] = {}
        self._names: dict[int, Any] = {}  # an envelope's tuples of values -> their names
        self._states: set[int] = set()  # ids of envelopes and their tuples of values
        self._path_steps = 0  # total steps of the paths returned so far
        self._early: list[
            object
        ] = []  # old values whose shells were handed out before their copies
        self._shown: dict[int, Any] = {}  # id of an old value -> the old state put into its shell
        # id of an old tuple -> provisional tuple, used until its copy is made
        self._early_tuples: dict[int, Any] = {}

    def count(self, count: Count) -> None:
        """Count the records that are done; only called where anybody listens."""
        self._finish = count.calls(self._finish)
        at_once = self._at_once
        if at_once is not None:

            def counted(record: Record, path: Callable[[], str]) -> Any:
                made = at_once(record, path)
                if made is not None:
                    count.add()
                return made

            self._at_once = counted

    def copy(self, root: object) -> Any:
        """Return the finished copy of a root."""
        if not is_holder(root):
            return self._new(root)
        self._roots.append(root)
        # Post-order with a stack of our own: recursion would limit the depth of a tree. A value is
        # closed when all its children are; `entered` ends the walk where a cycle comes back.
        todo: list[tuple[object, bool]] = [(root, False)]
        entered: set[int] = set()
        at_once, done, ours, shells = self._at_once, self._done, self._ours, self._shells

        def path_of() -> str:
            return self.path(node)

        while todo:
            node, is_done = todo.pop()
            if is_done:
                self._close(node)
                continue
            if id(node) in entered:
                continue
            key = id(node)
            entered.add(key)
            if at_once is not None and type(node) is Record and key not in shells:
                made = at_once(node, path_of)
                if made is not None:
                    done[key] = (node, made)
                    ours.add(id(made))
                    continue
            self._shell_of(node)
            todo.append((node, True))
            if type(node) is list and set(map(type, node)) == _RECORDS:
                todo.extend(zip(reversed(node), repeat(False)))
                continue
            todo.extend((child, False) for _, child in reversed(self._children(node)))
        self._finish_late()
        return self.mended(self._new(root))

    def _finish_late(self) -> None:
        """Finish the records that had to wait, in their order."""
        late, self._late = sorted(self._late, key=operator.itemgetter(0)), []
        for _, node, made in late:
            if self._swap:  # what replaced a record that was finished since
                _ReferencePatcher(self._swap, enters_records=False).mend_record(made)
            finished = self._finish(made, functools.partial(self.path, node))
            if finished is not made:
                self.replace(made, finished)
                self._ours.add(id(finished))
                self._done[id(node)] = (node, finished)

    def _is_late(self, node: object, made: Record | None) -> bool:
        """Whether a record is to be finished after the walk, since its order says so."""
        if self._place is None:
            return False
        known = (self._waits.get(id(child)) for _, child in self._children(node))
        waits = frozenset(chain.from_iterable(filter(None, known)))
        place = 0
        if made is not None:
            place, waits = self._place(made, waits)
        if waits:
            self._waits[id(node)] = waits
        if place and made is not None and isinstance(node, Record):
            self._late.append((place, node, made))
        return place > 0

    def mended(self, copy: object) -> object:
        """Patch every reference in the copy to a value that was replaced."""
        return _ReferencePatcher(self._swap).mend(copy) if self._swap else copy

    def _children(self, node: Any) -> list[tuple[str, object]]:
        children = list(_children(node))
        if type(node) is tuple:
            # The values of an envelope are named by its layers, so that a path has field names and
            # not positions: an error must name what the user declared.
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

    def path(self, old: object) -> str:
        """Return the shortest natural path to a value; of several the first in the file.

        After a total of 200,000 steps only the last 16 steps of a path are returned: full paths
        of many deeply nested values would take quadratic time.
        """
        self._find_parents()
        steps: list[str] = []
        key = id(old)
        seen: set[int] = set()
        most = _FULL_PATH_STEPS if self._path_steps <= _FULL_PATH_STEPS else _SHORT_PATH_STEPS
        while key in self._parents and key not in seen:
            if len(seen) >= most:
                steps.append("...")
                break
            seen.add(key)
            key, step = self._parents[key]
            if step:
                steps.append(step)
        self._path_steps += len(steps)
        return "/".join(reversed(steps))

    def _find_parents(self) -> None:
        """Find the shortest path to every value, level by level; most copies need no path at all.

        The steps are those of `file.arrays` and `file.scalars` (`PackView.look`), so that a path in a
        report can be looked up. Keys and the like, which have no such path, have steps of our own.
        """
        natural = PackView()
        # Breadth first: the first path found to a value is its shortest.
        for root in self._roots[self._walked :]:
            level, entered = [root], {id(root)}
            while level:
                following = []
                for node in level:
                    children = self._children(node)
                    if not _has_plain_names(node):
                        named = natural.look(node)[1]
                        children = [*(pair for pair in named if is_holder(pair[1])), *children]
                    for step, child in children:
                        if id(child) not in entered:
                            entered.add(id(child))
                            self._parents[id(child)] = (id(node), step)
                            following.append(child)
                level = following
        self._walked = len(self._roots)

    def replace(self, old: object, new: object) -> None:
        """Note that all references to ``old`` are to be changed to ``new`` after the walk."""
        if new is not old:
            self._swap[id(old)] = (old, new)

    def replaced(self, old: object) -> Any:
        """Return the replacement of a value, or None."""
        found = self._swap.get(id(old))
        return None if found is None else found[1]

    def fresh(self, value: object) -> list[Record]:
        """Return the records below a value that a migration created, inner ones first."""
        return [record for record in records_in(value, self._ours) if id(record) not in self._ours]

    def is_own(self, value: object) -> bool:
        """Whether this copier made a value, or adopted it."""
        return id(value) in self._ours

    def is_copy_of(self, copy: object, old: object) -> bool:
        """Whether a value that is being finished is the copy of a value of the original."""
        return self._shells.get(id(old)) is copy

    def adopt(self, value: object) -> None:
        """Mark a value that a migration created as part of the copy."""
        self._ours.add(id(value))

    def _shell_of(self, node: object) -> object:
        """The shell (empty copy) of a value; None for a tuple or frozenset, which are immutable."""
        key = id(node)
        shell = self._shells.get(key)
        if shell is None:
            shell = _shell(node)
            if shell is not None:
                self._shells[key] = shell
                self._ours.add(id(shell))
        return shell

    def show_old(self) -> None:
        """Fill the shells that were handed out so far with the old state from the file.

        Called before a step runs, so that the step sees the old state of the objects it refers
        back to in a cycle. `_take_back` empties a shell again when its copy is made.
        """
        while self._early:
            old = self._early.pop()
            key = id(old)
            if key in self._done or key in self._shown or key not in self._shells:
                continue
            shell = self._shells[key]
            self._fill(old, shell, self._old)
            self._shown[key] = (old, shell, _contents(shell))

    def _old(self, old: object) -> Any:
        """The value that represents ``old`` in an old state (see `show_old`)."""
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

    def _old_tuple(self, root: Any) -> object:
        """Build a tuple or frozenset of old values, innermost first."""
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

    def _old_done(self, old: object) -> Any:
        found = self._done.get(id(old)) or self._early_tuples[id(old)]
        return found[1]

    def _take_back(self, node: object, shell: Any) -> None:
        """Empty a shell that `show_old` has filled.

        Raises:
            MigrationFailedError: a step has changed the shell; the change would be lost.
        """
        _, _, before = self._shown.pop(id(node))
        now = _contents(shell)
        same = len(now) == len(before) and all(map(operator.is_, now, before))
        if not same:
            raise MigrationFailedError(
                "a step changed an object of a cycle that was not upgraded yet. The step sees "
                "the old state of such an object, and the change would be lost.",
                where=at_path(self.path(node)),
                remedy="Make the change in a step of that object's own class.",
            )
        if isinstance(shell, Record | np.ndarray):
            return  # every part of it is set again
        shell.clear()

    def _close(self, node: object) -> None:
        key = id(node)
        shell = self._shells.get(key)
        if key in self._shown:
            self._take_back(node, shell)
        made = self._fill(node, shell, self._new)
        is_late = self._is_late(node, made if isinstance(node, Record) else None)
        if isinstance(node, Record) and not is_late:
            finished = self._finish(made, lambda: self.path(node))
            if finished is not made:
                # Values closed earlier refer to `made`, which a cycle gave them before it was done.
                if key in self._handed:
                    self.replace(made, finished)
                made = finished
        self._ours.add(id(made))
        self._done[key] = (node, made)
        # A tuple has no shell to hand out early: a provisional one was made, which the real replaces.
        early = self._early_tuples.pop(key, None)
        if early is not None and key not in self._states:
            self.replace(early[1], made)

    def _new(self, old: Any) -> Any:
        """The value of the copy for a value of the original."""
        if type(old) in self._plain:
            return old
        if type(old) is LazyArray:  # with read=True, `_plain` does not contain LazyArray
            return old.read()
        if type(old) is Global:
            return old if self._leaf is None else self._leaf(old)
        kind = type(old)
        plain = kind is tuple and self._plain.issuperset(map(type, old))
        if plain or not is_holder(old):  # nothing below it can change: it is its own copy
            return old
        key = id(old)
        done = self._done.get(key)
        if done is not None:
            return done[1]
        # Not closed yet, so this reference closes a cycle: the shell is handed out, to be filled.
        if key not in self._handed:
            self._handed.add(key)
            self._early.append(old)
        shell = self._shells.get(key)
        return self._old_tuple(old) if shell is None else shell

    def _key(self, old: object, of: Callable[[Any], Any]) -> Any:
        """The key of the copy; the shell or the old key if the result is not hashable."""
        new = of(old)
        if type(new) in self._plain or _has_hash(new):
            return new
        # An array is what a pack shows in the place of a record: then the record stays the key.
        if type(old) is Record and not isinstance(new, Record | np.ndarray | LazyArray):
            raise _without_hash(old, new)
        return self._shells.get(id(old), old)

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
            shell.extend(self._items(node, new))
        elif kind is set:
            shell.update([self._key(item, new) for item in node])
        elif kind in _DICTS:
            if self._plain.issuperset(map(type, node)):
                for name, item in node.items():
                    shell[name] = new(item)
            else:
                for name, item in node.items():
                    _put_item(shell, self._key(name, new), new(item))
            if kind is OrderedDict and vars(node):
                vars(shell).update(vars(node))
        elif kind is Record:
            self._fill_record(node, shell, new)
        else:
            for source, target in zip(_object_views(node), _object_views(shell), strict=True):
                for index in np.ndindex(source.shape):
                    target[index] = new(source[index])
        return shell

    def _items(self, node: Any, new: Callable[[Any], Any]) -> Any:
        """The items of the copy of a list."""
        kinds = set(map(type, node))
        if kinds <= self._plain:
            return node
        if kinds == _RECORDS and self._at_once is not None:
            found = list(map(self._done.get, map(id, node)))
            if None not in found:
                return [pair[1] for pair in found if pair is not None]
        return [new(item) for item in node]

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


_put = object.__setattr__  # faster than Record.__setattr__, which compares the name first


def _contents(value: Any) -> list[Any]:
    """The items of a value; compared by identity to find out whether a step changed it."""
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


def _without_hash(old: object, new: object) -> MigrationFailedError:
    """The error for a member of a set, or a key, in whose place a step put what cannot be one."""
    what = f"a {old.qualname}" if isinstance(old, Record) else f"a {type(old).__name__}"
    return MigrationFailedError(
        f"{what} is a member of a set or a key of a dict, and a step put a {type(new).__name__} in its "
        "place, or into it, which has no hash.",
        remedy="Return what has a hash: a tuple in the place of a list, a frozenset in the place of a set, or a "
        "Record of a class that has one.",
    )


def _put_item(holder: dict[object, object], key: object, item: object) -> None:
    """Put an item in a copy of a dict.

    Raises:
        MigrationFailedError: two keys of the original are one key of the copy, and their values differ.
    """
    if holder.setdefault(key, item) is not item:
        shown = f"a {key.qualname}" if isinstance(key, Record) else f"{key!r:.60}"
        raise MigrationFailedError(
            f"two keys of a dict become one, {shown}, since a step put one value in the place of both, "
            "and the dict has another value for each.",
            remedy="Join the values before that, in a step of the object that holds the dict, with before= "
            "the class of the keys.",
        )


def _has_hash(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _shell(node: Any) -> object:
    """An empty copy of a value; None if the type is immutable and needs its items first."""
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
    """The object fields of an array (or the array itself), as views of object dtype."""
    array = array.view(np.ndarray)
    if array.dtype == object:
        return [array]
    names = array.dtype.names or ()
    return [
        view for name in names if array.dtype[name].hasobject for view in _object_views(array[name])
    ]


def _children(node: object) -> Iterator[tuple[str, object]]:
    """Yield the step and the value of every part that is itself a container."""
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


def _has_plain_names(node: object) -> bool:
    """Whether the steps of `_children` are certainly those of `PackView.look`."""
    if type(node) is Record:
        return node.is_bare and type(node.state) is dict
    if type(node) is dict:
        return set(map(type, node)) <= _TEXT
    return type(node) in (list, tuple, deque)


def parts_of(node: object) -> Iterator[tuple[str, object]]:
    """Yield the step and the value of every part of a container that may be more than a scalar."""
    return _steps(node)


def _record_steps(node: Record) -> Iterator[tuple[str, object]]:
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


def records_in(value: object, stop: set[int]) -> Iterator[Record]:
    """Yield every record below a value, inner ones first, not entering ids that are in ``stop``."""
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
    """Whether all values are scalars, or tuples, lists and dicts of scalars.

    A quick test that is true for most states; False does not mean that there are arrays.
    """
    for value in values:
        kind = type(value)
        if kind in SCALAR:
            continue
        if kind is dict:
            if not SCALAR.issuperset(map(type, value)):  # an instance may be a key
                return False
            value = value.values()
        elif kind is not tuple and kind is not list:
            return False
        if not SCALAR.issuperset(map(type, value)):
            return False
    return True


def arrays_in(value: object) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (container, key, array) of every array below a value, not entering records."""
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


def parts_within(value: object, kinds: tuple[type, ...]) -> Iterator[Any]:
    """Yield every instance of these types in a value and its containers, not entering records."""
    todo: list[Any] = [value]
    seen = set()
    while todo:
        node = todo.pop()
        if isinstance(node, kinds):
            yield node
        kind = type(node)
        if kind not in _HOLDERS or kind is Record or id(node) in seen:
            continue
        seen.add(id(node))
        inside: list[Any] = [*node, *node.values()] if isinstance(node, dict) else list(node)
        if not SCALAR.issuperset(map(type, inside)):
            todo += inside


class _ReferencePatcher:
    """Changes all references to replaced values, in place."""

    def __init__(
        self, swap: dict[int, tuple[object, object]], *, enters_records: bool = True
    ) -> None:
        self._swap = swap
        self._enters_records = enters_records
        self._fixed: dict[int, tuple[Any, Any]] = {}  # id -> (old, rebuilt) tuples and frozensets
        self._seen: set[int] = set()
        self._todo: list[object] = []

    def mend(self, root: object) -> object:
        """Return the root with all references below it changed."""
        root = self._of(root)
        while self._todo:
            self._mend(self._todo.pop())
        return root

    def mend_record(self, record: Record) -> None:
        """Change the references in a record itself and in its containers."""
        self._seen.add(id(record))
        self._mend(record)
        while self._todo:
            self._mend(self._todo.pop())

    def _final(self, value: object) -> Any:
        for _ in range(len(self._swap) + 1):
            found = self._swap.get(id(value))
            if found is None or found[0] is not value:
                return value
            value = found[1]
        return value

    def _of(self, value: object) -> Any:
        value = self._final(value)
        if type(value) in (tuple, frozenset):
            return self._immutable(value)
        if is_holder(value) and id(value) not in self._seen:
            self._seen.add(id(value))
            if self._enters_records or type(value) is not Record:
                self._todo.append(value)
        return value

    def _immutable(self, value: Any) -> object:
        """Rebuild a tuple or frozenset, innermost first, if anything in it is replaced."""
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

    def _of_flat(self, item: object) -> Any:
        return item if type(item) in (tuple, frozenset) else self._of(item)

    def _key(self, old: object) -> Any:
        new = self._of(old)
        if _has_hash(new):
            return new
        if new is not old and _has_hash(old) and not isinstance(new, np.ndarray | LazyArray):
            raise _without_hash(old, new)
        return old

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
                _put_item(holder, name, item)
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
