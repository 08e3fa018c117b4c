"""Natural paths: names for the values inside a tree.

A path consists of steps joined by ``/``: keys, attributes, indices. ``in`` and ``[]``
walk the requested path only. All paths are listed on demand only, since shared
references and cycles can make them too many. Walkers are iterative, and a path ends
where it would enter a value that it already contains.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Any

from persist._runtime.free_names import free_name
from persist._trees.pack_view import (
    HOLDERS,
    IN_STRUCTURE,
    RECORD_STEP,
    SCALARS,
    PackView,
    Steps,
    ends,
    holds_none,
    is_array,
    is_series,
    item_of,
)
from persist.errors import LimitError, UnknownPathError
from persist.tree import (
    ABSENT,
    PRIMITIVES,
    Record,
    View,
)

__all__ = ["PathMapping", "as_root", "unknown_path"]

_COMPLETIONS = 10_000  # paths that a notebook offers
_CHECK_AFTER = 1 << 17  # values visited before `_has_too_many_paths` is asked
_SPELLED = 1 << 28  # total characters of all listed paths, since deep files have long paths


def unknown_path(name: str, names: list[str], file: str | None) -> UnknownPathError:
    """Return the error for a path that does not exist, with the most similar paths."""
    from difflib import get_close_matches

    last = name.rpartition("/")[2]
    near = [one for one in names if last and one.rpartition("/")[2] == last]
    near += get_close_matches(name, names[:10_000], 5, 0.5)
    shown = list(dict.fromkeys(near))[:5] or names[:5]
    if not names:
        cure = "There are no paths at all."
    elif near:
        cure = f"The nearest are: {', '.join(map(repr, shown))}."
    else:
        cure = f"There are {len(names):,}, the first of them: {', '.join(map(repr, shown))}."
    return UnknownPathError(
        f"nothing is at {name[:200]!r}.", file=file, remedy=cure, path=name, near=shown
    )


class PathMapping(Mapping[str, Any]):
    """The arrays, or the scalars, of a tree under their natural paths.

    ``name in names`` and ``names[name]`` walk that path only; iteration lists all paths.

    Args:
        tree: returns the tree; called on first use.
        looker: returns the leaf and the children of a value.
        wanted: whether a leaf belongs into this mapping.
        limit: the largest number of paths that are listed; more raise `LimitError`.
        file: the file's name, for errors.
        find: returns the value at a path without building the tree, or None if the tree is needed.
        each_once: list what is below a shared container only at its shortest path, in a time
            linear in the references of the file. False lists it at every path that leads to it,
            for formats that hold nothing but names and arrays.
    """

    def __init__(
        self,
        tree: Callable[[], Any],
        looker: PackView,
        wanted: Callable[[Any], bool],
        limit: int = 1_000_000,
        file: str | None = None,
        find: Callable[[str], Any] | None = None,
        *,
        each_once: bool = True,
    ) -> None:
        self._make = tree
        self._each_once = each_once
        self._find_without_tree = find
        self._looker = looker
        self._wanted = wanted
        self._limit = limit
        self._file = file
        self._listed: dict[str, Any] | None = None
        self._hoisted: dict[str, object] | None = None
        self._barren: dict[
            int, bool
        ] = {}  # id of a container -> whether nothing in it holds arrays
        self._plain: dict[int, bool] = {}  # id of a wide container -> whether it is plain
        self._has_records = False  # found while all paths were walked

    @functools.cached_property
    def _tree(self) -> Any:
        return as_root(self._make(), self._looker)

    def __getitem__(self, name: str) -> object:
        found = self.get(name, ABSENT)
        if found is ABSENT:
            raise self._unknown(name)
        return found

    def get(self, name: str, default: object = None) -> Any:
        """Return the value at a path, or the default."""
        if not isinstance(name, str):
            return default
        if self._listed is not None and name in self._listed:
            return self._listed[name]
        value = None if self._find_without_tree is None else self._find_without_tree(name)
        if value is not None:
            return value
        return next(self._find(name), default)

    def _unknown(self, name: object) -> UnknownPathError:
        if not isinstance(name, str):
            return UnknownPathError(
                f"a path is a text, not a {type(name).__name__}.", file=self._file, path=name
            )
        try:
            names = list(self._list())
        except LimitError:
            names = []
        return unknown_path(name, names, self._file)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if self._find_without_tree is not None and self._find_without_tree(name) is not None:
            return True
        return any(True for _ in self._find(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._list())

    def __len__(self) -> int:
        return len(self._list())

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return list(islice(self._list(), _COMPLETIONS))
        except LimitError:
            return []

    def _repr_html_(self) -> str:
        from persist._trees.html import mapping_html
        from persist._trees.sparks import Sparks

        is_far = self._file is not None and "://" in self._file  # nothing is fetched to draw it
        return mapping_html(
            f"natural paths of {self._file or 'a tree'}", self, None if is_far else Sparks()
        )

    def __repr__(self) -> str:
        return f"<natural paths of {self._file or 'a tree'}>"

    def _find(self, name: str) -> Iterator[Any]:
        if self._listed is not None and name in self._listed:
            yield self._listed[name]
            return
        for leaf in self._walk_to(name):
            if self._wanted(leaf):
                yield leaf
        hoisted = self._all_hoisted()
        for own, value in hoisted.items():
            if name == own or name.startswith(f"{own}/"):
                for leaf in self._below(value, name[len(own) + 1 :] if name != own else ""):
                    if self._wanted(leaf):
                        yield leaf

    @functools.cached_property
    def _flat(self) -> dict[str, object]:
        """The root if it is a dict with str keys, which then are paths themselves; else ``{}``.

        The state of a large network is a dict of 20,000 arrays. No steps are built for those.
        """
        root: dict[str, Any] = self._tree
        is_plain = type(root) is dict or (
            type(root) is OrderedDict and not vars(root).keys() - IN_STRUCTURE
        )
        if not is_plain or {*map(type, root)} != {str} or "" in root:
            return {}
        return root

    @functools.cached_property
    def _arrays(self) -> dict[str, Any] | None:
        """All arrays of a flat root whose other values are plain, at most one level deep; else None."""
        arrays = {name: value for name, value in self._flat.items() if ends(value)}
        if not arrays:
            return None
        others = [value for name, value in self._flat.items() if name not in arrays]
        below = [item for part in others if type(part) is dict for item in (*part, *part.values())]
        kinds = {type(item) for item in (*others, *below)}
        return arrays if kinds <= {dict, *PRIMITIVES} and dict not in map(type, below) else None

    def _array_of_flat_root(self, name: str) -> object:
        """The array of a flat root under this name, if no other path can be equal; else None."""
        found = self._flat.get(name)
        if found is None or not ends(found):
            return None
        cut = name.find("/")
        while cut >= 0:
            if name[:cut] in self._flat:
                return None
            cut = name.find("/", cut + 1)
        return found

    def _walk_to(self, name: str) -> Iterator[object]:
        found = self._array_of_flat_root(name)
        if found is not None:
            yield found
            return
        yield from self._below(self._tree, name)
        base, mark, number = name.rpartition("~")
        if mark and number.isdigit() and int(number) > 1:
            # The path occurs at several places of the tree; "~2" selects the second.
            same = list(self._below(self._tree, base))
            yield from same[int(number) - 1 : int(number)]

    def _below(self, root: object, name: str) -> Iterator[Any]:
        """Yield every leaf whose path from ``root`` is ``name`` (keys may hold slashes)."""
        todo: list[tuple[Any, str, tuple[int, ...]]] = [(root, name, ())]
        while todo:
            value, rest, passed = todo.pop()
            record = value
            value = self._looker.through(value)
            if id(value) in passed:
                continue
            if value is not record and (rest + "/").startswith(RECORD_STEP + "/"):
                leaf, steps = self._looker.raw(record)
                value, rest = record, rest[len(RECORD_STEP) + 1 :]
            else:
                leaf, steps = self._looker.look(value)
                if rest and isinstance(value, bytes):
                    value = self._looker.inside(value)
                    leaf, steps = self._looker.look(value)
            if not rest and leaf is not ABSENT:
                yield leaf
            if rest and is_series(leaf):
                step, _, below = rest.partition("/")
                item = item_of(leaf, step)
                if item is not ABSENT:
                    todo.append((item, below, passed))
            found: list[tuple[Any, str, tuple[int, ...]]] = []
            table = self._table(value, steps) if steps else {}
            if not passed and rest and "" in table:  # an empty key of the root adds no slash
                found.append((table[""], rest, (id(value),)))
            passed = (*passed, id(value))
            found += [(item, below, passed) for item, below in _followed(table, rest)]
            if rest and not found and value is not record:  # as it is stored: as plans name it
                table = self._table(record, self._looker.raw(record)[1])
                found = [(item, below, passed) for item, below in _followed(table, rest)]
            todo += found

    def _table(self, value: object, steps: Steps) -> dict[str, object]:
        tables = self._looker.tables
        known = tables.get(id(value))
        if known is None or known[0] is not value:
            known = tables[id(value)] = (value, dict(steps))
        return known[1]

    def _list(self) -> dict[str, object]:
        if self._listed is None and self._wanted is is_array:
            arrays = self._arrays
            self._listed = None if arrays is None or len(arrays) > self._limit else arrays
        if self._listed is None:
            found: dict[str, Any] = {}
            for path, leaf in self.walk():
                if not self._wanted(leaf):
                    continue
                if len(found) >= self._limit:
                    raise LimitError(
                        f"more than {self._limit:,} paths lead through it.",
                        file=self._file,
                        remedy='Ask for the paths you want, or raise limits={"paths": ...}.',
                    )
                found[path if path not in found else free_name(path, found)] = leaf
            self._listed = found
        return self._listed

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Yield every (path, leaf) of either kind, in the order of the file."""
        done: set[int] = set()
        yield from self._walk("", self._tree, done)
        if not (self._has_records or isinstance(self._tree, View)):
            return  # only the view of a record hoists anything
        for own, value in self._all_hoisted().items():
            yield from self._walk(own, value, done)

    def _walk(self, start: str, root: object, done: set[int]) -> Iterator[tuple[str, Any]]:
        """The same below a root; ``done`` are the containers that other roots have listed."""
        visited = spelled = 0
        most, look, through = 4 * self._limit, self._looker.look, self._looker.through
        above: set[int] = set()  # ids of the containers on the current path
        is_for_arrays = self._wanted is is_array
        barren = self._barren
        shortest = self._shortest(root) if self._each_once else None
        parents: list[tuple[str, object, Iterator[tuple[str, object]]]] = [
            ("", None, iter([(start, root)]))
        ]
        while parents:
            prefix, holder, steps = parents[-1]
            for step, value in steps:
                path = prefix + step
                visited += 1
                spelled += len(path)
                endless = (
                    shortest is None and visited == _CHECK_AFTER and self._has_too_many_paths(root)
                )
                if visited > most or spelled > _SPELLED or endless:
                    raise LimitError(
                        f"more than {most if endless else visited - 1:,} values would be "
                        f"visited, whose paths take more than {spelled - len(path):,} characters.",
                        file=self._file,
                        remedy='Ask for the paths you want, or raise limits={"paths": ...}.',
                    )
                if ends(value):
                    yield path, value
                    continue
                if is_for_arrays and type(value) in HOLDERS:
                    if id(value) not in barren:  # wide and shared: looked through once
                        barren[id(value)] = holds_none(value, self._plain)
                    if barren[id(value)]:
                        continue
                if isinstance(value, Record):
                    self._has_records = True
                    value = through(value)
                if id(value) in above:
                    continue
                leaf, below = look(value)
                if leaf is not ABSENT:
                    yield path, leaf
                if below and shortest is not None:
                    is_first = holder is None or shortest.get(id(value)) == (id(holder), step)
                    below = below if is_first and id(value) not in done else []
                if below:
                    done.add(id(value))
                    above.add(id(value))
                    if not length_hint(steps):  # last child: free the prefix, to save memory
                        parents[-1] = ("", holder, steps)
                    parents.append((f"{path}/" if path else "", value, iter(below)))
                    break
            else:  # all children of the container are done
                parents.pop()
                above.discard(id(holder))

    def _shortest(self, root: object) -> dict[int, tuple[int, str]]:
        """The last step of the shortest path to each container: (id of the one above, step).

        Found level by level, each container once; of several paths of one length, it is the
        first in the order of the file.
        """
        look, through = self._looker.look, self._looker.through
        is_for_arrays = self._wanted is is_array
        barren = self._barren
        found: dict[int, tuple[int, str]] = {}
        top = through(root)
        level, edges = [top], 0
        entered = {id(top)}
        while level:
            following = []
            for holder in level:
                steps = look(holder)[1]
                edges += len(steps)
                if edges > 4 * self._limit:
                    return found  # the walk itself reports that it is too much
                for step, value in steps:
                    if type(value) in PRIMITIVES or id(value) in entered or ends(value):
                        continue
                    if is_for_arrays and type(value) in HOLDERS:
                        barren[id(value)] = holds_none(value, self._plain)
                        if barren[id(value)]:
                            entered.add(id(value))  # wide and shared: looked through once
                            continue
                    value = through(value)
                    if id(value) in entered or isinstance(value, SCALARS):
                        continue
                    entered.add(id(value))
                    found[id(value)] = (id(holder), step)
                    following.append(value)
            level = following
        return found

    def _has_too_many_paths(self, root: object) -> bool:
        """Whether shared references multiply the paths beyond the limit; found without walking them.

        The paths below each value are counted once. Returns False if there may be a cycle, since
        the count is undefined then; the walk itself finds out.
        """
        most = 4 * self._limit
        counts: dict[int, int] = {}
        entered: set[int] = set()
        todo = [self._looker.through(root)]
        while todo:
            value = todo[-1]
            key = id(value)
            leaf, steps = self._looker.look(value)
            below = [
                through
                for _, item in steps
                if not isinstance(through := self._looker.through(item), SCALARS)
            ]
            if key not in entered:
                entered.add(key)
                fresh = [item for item in below if id(item) not in counts]
                if any(id(item) in entered for item in fresh):
                    return False  # possibly a cycle
                if fresh:
                    todo += {id(item): item for item in fresh}.values()
                    continue
            todo.pop()
            if key not in counts:
                own = len(steps) - len(below) + (leaf is not ABSENT)
                counts[key] = own + sum(counts.get(id(item), 0) for item in below)
                if counts[key] > most:
                    return True
        return False

    def _all_hoisted(self) -> dict[str, object]:
        """Values listed by their own name at the root; found once, by a walk over all objects."""
        if self._hoisted is None and (not self._looker.has_views or self._arrays is not None):
            self._hoisted = {}
        if self._hoisted is None:
            found: dict[int, tuple[str, Any]] = {}
            seen: set[int] = set()
            todo = [self._tree]
            while todo:
                value = todo.pop()
                if ends(value):
                    seen.add(id(value))
                    continue
                if type(value) in PRIMITIVES or id(value) in seen:
                    continue
                if holds_none(value, self._plain):
                    seen.add(id(value))
                    continue
                value = self._looker.through(value)
                if isinstance(value, SCALARS) or id(value) in seen:
                    continue
                seen.add(id(value))
                if isinstance(value, View):
                    items = value.hoisted() if callable(value.hoisted) else value.hoisted
                    for own, item in items:
                        found.setdefault(id(item), (own, item))
                todo += [item for _, item in reversed(self._looker.look(value)[1])]
            self._hoisted = {}
            for own, item in found.values():
                if id(self._looker.through(item)) not in seen:
                    self._hoisted[free_name(own, self._hoisted)] = item
        return self._hoisted


def _followed(table: dict[str, object], rest: str) -> Iterator[tuple[object, str]]:
    """Yield the children on a path, each with the rest of the path (keys may hold slashes)."""
    if rest in table:
        yield table[rest], ""
    cut = rest.find("/")
    while cut >= 0:
        step = rest[:cut]
        if step in table:
            yield table[step], rest[cut + 1 :]
        cut = rest.find("/", cut + 1)


def as_root(tree: object, looker: PackView) -> object:
    """The root for naming: if its view has a value and parts, the value may get a name (`alone`)."""
    seen = looker.through(tree)
    if not isinstance(seen, View) or not seen.alone or seen.value is ABSENT:
        return tree
    return View(
        parts={seen.alone: seen.value, **seen.parts},
        hoisted=seen.hoisted,
        structure=seen.structure,
    )
