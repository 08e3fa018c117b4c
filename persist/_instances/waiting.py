"""Plain pickle: instances whose upgrade waits for the old states of the instances they refer to.

``pickle`` gives an instance its state when everything inside it is built. In a cycle, the inner
one gets its state while the outer one has none yet; a step of the inner one that looked at it
would see a live, empty object. So the inner one waits, and its steps run when that state comes, with a
`Record` of the old state in the place of the outer one. ``pickle`` never says whether a state is still
to come. It is expected where the class has fields that need a value. For any other class (an activation
function without attributes) the steps run at once, with a record in its place that notices whether they
look into it: where they do not, that was all; where they do, they are broken off, and
begin again when the state comes. Whoever uses a waiting instance before has it upgraded with
what there is (`persist._instances.unfinished`). What a step gives is put on the instance with the live
objects in it.

The state of an instance here is what ``pickle`` hands over, an envelope or a state without one.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from persist._instances.unfinished import Unfinished, finished, unfinished
from persist._trees.copier import has_no_arrays
from persist.errors import PersistError
from persist.tree import ABSENT, Global, Record, lazy_record

__all__ = ["SESSION", "Views", "is_waiting", "load", "unset_in"]

_UNPICKLERS = frozenset(("persist", "pickle", "joblib", "dill", "cloudpickle"))
_DEEP = 64  # containers inside each other that are looked through


class _Entry(NamedTuple):
    """An instance that is to be upgraded again."""

    obj: Any
    state: Any
    awaited: dict[int, object]  # id -> instance whose old state is to come
    after: set[int]  # ids of instances that must be upgraded again first
    upgrade: Callable[[Any, Any, Any], None]  # instance, state, `Views`: sets it
    is_sure: bool  # all that is awaited will come


class _Session(threading.local):
    """The instances that wait within one call of ``pickle.load``, in this thread."""

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}  # by the id of the instance
        self.wanted: dict[int, list[int]] = {}  # id -> whose entries may go on when it is there
        self.known: dict[int, tuple[Any, Any]] = {}  # id -> instance, its old state
        self.pairs: dict[
            int, tuple[Any, Record]
        ] = {}  # id -> instance, the record of its old state
        self.back: dict[int, object] = {}  # id of such a record -> the instance
        self.caller: object = None


# Compiled loaders leave an instance to the general route while entries are open in this thread.
SESSION = _session = _Session()


def is_waiting() -> bool:
    """True if any instance waits for the state of another, in this thread."""
    return bool(_session.entries)


def unset_in(state: Any, is_declared: Callable[[type], bool]) -> dict[int, object]:
    """Return the instances of declared classes, in a state, that have no state themselves yet.

    Those that wait for another are among them. Looked for through lists, dicts and tuples,
    not through other instances.
    """
    found: dict[int, Any] = {}
    waiting = _session.entries
    todo, seen = [(state, 0)], set()
    while todo:
        value, depth = todo.pop()
        kind = type(value)
        if kind in (dict, OrderedDict, defaultdict):
            inside = [*value, *value.values()]
        elif kind in (list, tuple, deque, set, frozenset):
            inside = list(value)
        else:
            if id(value) in waiting or (_is_empty(value) and is_declared(kind)):
                found[id(value)] = value
            continue
        if id(value) in seen or depth > _DEEP or has_no_arrays([inside]):
            continue
        seen.add(id(value))
        todo += [(item, depth + 1) for item in inside]
    return found


def _is_empty(value: object) -> bool:
    """True if an instance of a Python class has no attribute set."""
    if isinstance(value, Unfinished):
        return False
    own = getattr(value, "__dict__", None)
    if own is None and not hasattr(type(value), "__slots__"):
        return False
    if own:
        return False
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{cls.__name__.lstrip('_')}{slot}" if slot[:2] == "__" != slot[-2:] else slot
            if slot not in ("__dict__", "__weakref__") and hasattr(value, name):
                return False
    return True


def load(
    obj: object,
    state: object,
    set_now: Callable[[Any, Any], None],
    find: Callable[[], dict[int, Any]],
    upgrade: Callable[[Any, Any, Any], None],
    needs_state: Callable[[type], bool],
) -> None:
    """Set the state of an instance while others wait, or if it must wait itself.

    Args:
        obj: the instance.
        state: as ``pickle`` gives it.
        set_now: sets the state of an instance that need not wait.
        find: returns what its steps would see without a state (`unset_in`).
        upgrade: upgrades a state as `Views` show it, and sets it.
        needs_state: whether instances of a class certainly have a state.
    """
    session = _session
    caller = _caller()
    if session.entries and session.caller != caller:
        if _is_on_stack(session.caller):  # another load, nested in the open one
            set_now(obj, state)
            return
        _end()
    session.caller = caller
    session.known[id(obj)] = (obj, state)
    _go_on(id(obj))
    session.known[id(obj)] = (obj, state)  # which the last of those that waited has cleared
    unset = find()
    if not unset:
        set_now(obj, state)
        session.pairs.pop(id(obj), None)  # current from now on
    else:
        _wait(obj, state, unset, upgrade, needs_state)
    if not session.entries:
        session.known.clear()


def _wait(
    obj: object,
    state: object,
    unset: dict[int, object],
    upgrade: Callable[[Any, Any, Any], None],
    needs_state: Callable[[type], bool],
) -> None:
    session = _session
    entries = session.entries
    after = {key for key in unset if key in entries}
    missing = after.union(unset.keys() - session.known.keys())
    is_sure = all(
        entries[key].is_sure if key in after else needs_state(type(unset[key])) for key in missing
    )
    if missing and not is_sure and _is_done(obj, state, unset, upgrade):
        session.pairs.pop(id(obj), None)
        return
    awaited = {key: value for key, value in unset.items() if key not in after}
    entries[id(obj)] = _Entry(obj, state, awaited, after, upgrade, is_sure)
    for key in missing:
        session.wanted.setdefault(key, []).append(id(obj))
    if missing:
        unfinished(obj, lambda: _upgrade_early(obj, state, unset, upgrade))
    else:
        _upgrade_again(id(obj))


class _Looked(BaseException):
    """A step looks into an instance whose state has not come."""


def _is_done(
    obj: object, state: object, unset: dict[int, object], upgrade: Callable[[Any, Any, Any], None]
) -> bool:
    """Upgrade an instance if its steps do not look into those that have no state."""
    views = Views({}, True)
    views.is_trial = True

    def look() -> object:
        views.looks.append(obj)
        raise _Looked

    for key, value in unset.items():
        cls = type(value)
        record = lazy_record(Global(cls.__module__, cls.__qualname__), None, look)
        views.pairs[key] = (value, record)
        views.back[id(record)] = value
    try:
        upgrade(obj, state, views)
    except _Looked:
        return False
    except PersistError:
        if views.looks:  # the step went on
            return False
        raise
    return True


def _upgrade_early(
    obj: object, state: object, unset: dict[int, object], upgrade: Callable[[Any, Any, Any], None]
) -> None:
    """Upgrade an instance that is used before the states that it waits for have come, if ever."""
    views = {key: (value, _view(value, ABSENT)) for key, value in unset.items()}
    own = type(obj)
    finished(obj)
    try:
        upgrade(obj, state, Views(views, True))
    except PersistError:
        object.__setattr__(obj, "__class__", own)
        raise


def _go_on(key: int) -> None:
    """Upgrade again, in order, the instances that waited for the state of this one only."""
    session = _session
    todo = session.wanted.pop(key, [])
    while todo:
        own = todo.pop(0)
        entry = session.entries.get(own)
        if entry is None or entry.after & session.entries.keys():
            continue
        if entry.awaited.keys() <= session.known.keys():
            _upgrade_again(own)
            todo += session.wanted.pop(own, [])


def _upgrade_again(key: int) -> None:
    """Upgrade an instance whose awaited states have all arrived."""
    session = _session
    entry = session.entries[key]
    pairs, back = session.pairs, session.back
    new = [awaited for awaited in entry.awaited if awaited not in pairs]
    for awaited in new:
        obj = entry.awaited[awaited]
        pairs[awaited] = (obj, _view(obj, ABSENT))
        back[id(pairs[awaited][1])] = obj
    for awaited in new:
        pairs[awaited][1].state = Views(pairs, True, back).seen(session.known[awaited][1])
    del session.entries[key]
    finished(entry.obj)
    entry.upgrade(entry.obj, entry.state, Views(pairs, False, back))
    pairs.pop(key, None)  # current from now on
    if not session.entries:
        _end()


def _end() -> None:
    _session.entries.clear()
    _session.known.clear()
    _session.wanted.clear()
    _session.pairs.clear()
    _session.back.clear()


def _view(obj: object, state: object) -> Record:
    cls = type(obj)
    return Record(Global(cls.__module__, cls.__qualname__), state)


class Views:
    """Replaces instances in a state by records, and the records by the instances again.

    Args:
        pairs: id of an instance -> the instance, and the record that is seen in its place.
        back: id of a record -> the instance; None: made of the pairs.
        is_copy: all containers are copied, since the state is needed once more; else those
            in which anything is replaced, and what comes of them goes back into the original.
    """

    def __init__(
        self,
        pairs: dict[int, tuple[object, Record]],
        is_copy: bool,
        back: dict[int, object] | None = None,
    ) -> None:
        self.pairs = pairs
        self.is_copy = is_copy
        self._copies: dict[int, tuple[object, object]] = {}  # id of an original -> it, and its copy
        self._originals: dict[int, tuple[object, object]] = {}  # the same by the id of the copy
        if back is None:
            back = {id(record): obj for obj, record in pairs.values()}
        self.back = back  # id of a record -> the instance
        self.is_trial = (
            False  # where the steps come to an end, this was all, and the copies go back
        )
        self.looks: list[object] = []  # not empty: a step has looked into a record without a state
        self._met: set[int] = set()  # ids of the instances in the state
        self._live: dict[int, tuple[object, object]] = {}

    def seen(self, value: Any) -> Any:
        """Return a state with instances replaced by records."""
        kind = type(value)
        pair = self.pairs.get(id(value))
        if pair is not None:
            return pair[1]
        if kind not in _CONTAINERS:
            return self.leaf(value)
        known = self._copies.get(id(value))
        if known is not None:
            return known[1]
        if kind is tuple or kind is frozenset:
            old = list(value)
            new = [self.seen(item) for item in old]
            same = all(map(operator.is_, new, old))
            return self._note(value, value if same else kind(new))
        copy = _copied(value)
        self._note(value, copy)
        changed = _change(copy, self.seen)
        if not changed and not self.is_copy:
            self._note(value, value)
        return self._copies[id(value)][1]

    def leaf(self, value: object) -> Any:
        """Return what a step sees of a value that is no container."""
        self._met.add(id(value))
        return value

    def _note(self, value: object, copy: object) -> Any:
        self._copies[id(value)] = (value, copy)
        self._originals[id(copy)] = (copy, value)
        return copy

    def live(self, value: Any) -> Any:
        """Return the result of a step, with records replaced by their instances."""
        if self.looks:
            raise _Looked  # the step went on
        if id(value) in self.back:
            return self.back[id(value)]
        known = self._live.get(id(value))
        if known is not None:
            return known[1]
        kind = type(value)
        if kind is tuple or kind is frozenset:
            old = list(value)
            new = [self.live(item) for item in old]
            made = value if all(map(operator.is_, new, old)) else kind(new)
            original = self._original(value)
            is_same = (
                made == original if kind is frozenset else all(map(operator.is_, made, original))
            )
            if original is not value and is_same:
                made = original
            self._live[id(value)] = (value, made)
            return made
        if kind in _CONTAINERS:
            original = self._original(value)
            self._live[id(value)] = (value, original)
            _change(value, self.live)
            if original is not value:
                _refill(original, value)
            return original
        self._live[id(value)] = (value, value)
        if id(value) in self._met or isinstance(value, type | Unfinished):
            return value
        own = getattr(value, "__dict__", None)
        if type(own) is dict:
            for name, item in list(own.items()):  # an instance that the step made
                made = self.live(item)
                if made is not item:
                    own[name] = made
        return value

    def _original(self, value: object) -> Any:
        known = self._originals.get(id(value))
        is_kept = self.is_copy and not self.is_trial
        return value if known is None or is_kept else known[1]


_CONTAINERS = (list, dict, tuple, deque, OrderedDict, defaultdict, set, frozenset)


def _copied(value: Any) -> object:
    return value.copy()


def _change(value: Any, of: Callable[[Any], object]) -> bool:
    """Replace what is in a list, dict or set, in place; return whether anything was."""
    if isinstance(value, set):
        old = list(value)
        new = [of(item) for item in old]
        if all(map(operator.is_, new, old)):
            return False
        _refill(value, new)
        return True
    if not isinstance(value, dict):
        changed = False
        for index, item in enumerate(value):
            made = of(item)
            if made is not item:
                value[index] = made
                changed = True
        return changed
    pairs = list(value.items())
    keys = [of(key) for key, _ in pairs]
    items = [of(item) for _, item in pairs]
    if not all(map(operator.is_, keys, value)):
        _refill(value, dict(zip(keys, items, strict=True)))
        return True
    changed = False
    for (key, item), made in zip(pairs, items, strict=True):
        if made is not item:
            value[key] = made
            changed = True
    return changed


def _refill(original: Any, value: Any) -> None:
    original.clear()
    if isinstance(original, dict | set):
        original.update(value)
    else:
        original.extend(value)


def _caller() -> tuple[int, object]:
    """The frame that called ``pickle``: the first outside this package and pure-Python unpicklers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _UNPICKLERS:
            break
        frame = frame.f_back
    return (id(frame), None if frame is None else frame.f_code)


def _is_on_stack(caller: object) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if (id(frame), frame.f_code) == caller:
            return True
        frame = frame.f_back
    return False
