"""Commits to runs: a class in one layout, and the commits that have it.

The commits form a forest by their first parents. What a commit changes holds in all commits above it
until one changes it again, so a run is a few places where it starts and a few where it ends. Numbered
in the order of a walk through that forest, the commits of a run are the bits of one number, and sets
of commits are combined as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import attrs

from persist.archaeology._classes import Reader, Source
from persist.archaeology._git import Commit, Repository
from persist.archaeology._memory import Memory, folder
from persist.history.evidence import name_likeness

__all__ = ["History", "Run", "Span", "history_of"]

_LIKELY = 0.6  # from here on, two classes are one before and after it was renamed or moved


@attrs.define(eq=False)
class Run:
    """A class in one layout, and where that begins and ends.

    Attributes:
        path: of the file.
        source: the class.
        starts: places of the commits that brought it.
        ends: of those that changed or removed it.
        before: the same class in the layout before; None for a new class.
        reasons: why that is the same class, where its name or file was another; in words.
        is_gone: whether a commit removed the class under this name, and not only changed it.
    """

    path: str
    source: Source
    starts: list[int] = attrs.field(factory=list)
    ends: list[int] = attrs.field(factory=list)
    before: Run | None = None
    reasons: tuple[str, ...] = ()
    is_gone: bool = False

    @property
    def name(self) -> str:
        """The dotted name: that of the file's path, and of the class."""
        return f"{_module(self.path)}.{self.source.name}".lstrip(".")


def _module(path: str) -> str:
    parts = path.rpartition(".")[0].split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@attrs.frozen
class Span:
    """Commits that follow on each other.

    Attributes:
        first: the oldest.
        last: the newest.
        count: of the commits.
        until: the first that does not belong to it any more; None if the last is the end of a branch.
    """

    first: Commit
    last: Commit
    count: int
    until: Commit | None


@attrs.define
class History:
    """The classes of a repository, commit by commit.

    Attributes:
        path: of the repository.
        commits: parents before their children.
        runs: in the order of their first commits.
        head: the place of the commit that is checked out.
        is_shallow: whether older commits are missing from this clone.
        unread: path -> number of revisions whose source cannot be parsed.
        links: symbolic links and submodules that were passed over.
        contents: how many different contents the source files had.
        parsed: how many of them were parsed in this run; the others were known.
    """

    path: str
    commits: list[Commit]
    runs: list[Run] = attrs.field(factory=list)
    head: int = -1
    is_shallow: bool = False
    unread: dict[str, int] = attrs.field(factory=dict)
    links: int = 0
    contents: int = 0
    parsed: int = 0
    _first: list[int] = attrs.field(factory=list, repr=False)
    _last: list[int] = attrs.field(factory=list, repr=False)
    _order: list[int] = attrs.field(factory=list, repr=False)
    _above: list[list[int]] = attrs.field(factory=list, repr=False)
    _known: dict[int, int] = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._first, self._last, self._order = _numbered(self.commits)
        self._above = [[] for _ in self.commits]
        for place, commit in enumerate(self.commits):
            for parent in commit.parents:
                self._above[parent].append(place)

    def bits(self, run: Run) -> int:
        """Return the commits of a run, as the bits of a number."""
        known = self._known.get(id(run))
        if known is None:
            known = 0
            for start in run.starts:
                own = self._range(start)
                for end in run.ends:
                    if start != end and self._first[start] <= self._first[end] < self._last[start]:
                        own &= ~self._range(end)
                known |= own
            self._known[id(run)] = known
        return known

    def _range(self, place: int) -> int:
        """The commits that have this one in their line of first parents, and itself."""
        return (1 << self._last[place]) - (1 << self._first[place])

    def has_head(self, bits: int) -> bool:
        """Return whether the commit that is checked out is among these."""
        return self.head >= 0 and bool(bits >> self._first[self.head] & 1)

    def places(self, bits: int) -> list[int]:
        """Return the places of commits in the list, parents first."""
        found = []
        while bits:
            low = bits & -bits
            found.append(self._order[low.bit_length() - 1])
            bits ^= low
        return sorted(found)

    def spans(self, bits: int) -> list[Span]:
        """Return commits as spans of such that follow on each other, the largest first."""
        places = self.places(bits)
        own = {place: place for place in places}

        def root(place: int) -> int:
            while own[place] != place:
                own[place] = own[own[place]]
                place = own[place]
            return place

        for place in places:
            for parent in self.commits[place].parents:
                if parent in own:
                    own[root(place)] = root(parent)
        groups: dict[int, list[int]] = {}
        for place in places:
            groups.setdefault(root(place), []).append(place)
        spans = [self._span(group, own) for group in groups.values()]
        return sorted(spans, key=lambda span: (-span.count, span.first.time))

    def _span(self, group: list[int], own: dict[int, int]) -> Span:
        after = [child for place in group for child in self._above[place] if child not in own]
        until = min(after, default=None)
        # Where a branch still has it, nothing has put an end to it.
        is_alive = any(not self._above[place] for place in group)
        return Span(
            self.commits[group[0]], self.commits[group[-1]], len(group),
            None if is_alive or until is None else self.commits[until],
        )  # fmt: skip

    def classes(self) -> list[list[Run]]:
        """Return the runs of each class, renames followed, the oldest first."""
        heads: dict[int, list[Run]] = {}
        roots: dict[int, int] = {}
        for run in self.runs:
            before = run.before
            key = id(run) if before is None else roots.get(id(before), id(before))
            roots[id(run)] = key
            heads.setdefault(key, []).append(run)
        return list(heads.values())


def _numbered(commits: Sequence[Commit]) -> tuple[list[int], list[int], list[int]]:
    """Number commits so that all that have one in their line of first parents follow on it."""
    children: list[list[int]] = [[] for _ in commits]
    roots = []
    for place, commit in enumerate(commits):
        if commit.parents:
            children[commit.parents[0]].append(place)
        else:
            roots.append(place)
    first, last = [0] * len(commits), [0] * len(commits)
    order: list[int] = []
    stack = [(place, False) for place in reversed(roots)]
    while stack:
        place, is_done = stack.pop()
        if is_done:
            last[place] = len(order)
            continue
        first[place] = len(order)
        order.append(place)
        stack.append((place, True))
        stack += [(child, False) for child in reversed(children[place])]
    return first, last, order


def history_of(repository: str | os.PathLike[str], *, remember: bool = True) -> History:
    """Walk the history of a git repository: HEAD, branches and tags. Nothing of it is run.

    Args:
        repository: its folder, or one inside of it.
        remember: whether layouts are kept in the user's folder of caches for the next time.

    Raises:
        PersistError: there is no git, no repository, or no commit.
    """
    git = Repository(repository)
    head = git.head()
    commits = git.commits()
    history = History(os.fspath(repository), commits, is_shallow=git.is_shallow)
    history.head = next((place for place, one in enumerate(commits) if one.name == head), -1)
    history.links = git.links
    sources = _sources(git, commits, history, remember)
    _Walk(history, sources).walk()
    return history


def _sources(
    git: Repository, commits: Iterable[Commit], history: History, remember: bool
) -> dict[str, tuple[Source, ...]]:
    """The classes of each content that a source file ever had."""
    paths = {
        change.blob: change.path for commit in commits for change in commit.changes if change.blob
    }
    memory = Memory(folder() / "layouts.sqlite" if remember else None)
    try:
        known = memory.known(paths)
        reader = Reader()
        fresh: dict[str, tuple[Source, ...] | None] = {}
        for blob, data in git.contents(blob for blob in paths if blob not in known):
            fresh[blob] = None if data is None else reader.read(data)
        memory.keep(fresh)
    finally:
        memory.close()
    history.contents, history.parsed = len(paths), len(fresh)
    every = {**known, **fresh}
    for blob, classes in every.items():
        if classes is None:
            history.unread[paths[blob]] = history.unread.get(paths[blob], 0) + 1
    return {blob: classes or () for blob, classes in every.items()}


Files = dict[str, dict[str, Run]]  # path -> name of a class -> its run


class _Walk:
    """Goes through the commits, parents first, with the runs that each of them has."""

    def __init__(self, history: History, sources: dict[str, tuple[Source, ...]]) -> None:
        self.history = history
        self.sources = sources
        self.states: dict[int, Files] = {}
        self.waiting = [0] * len(history.commits)  # children that have not been reached

    def walk(self) -> None:
        """Find all runs."""
        commits = self.history.commits
        for commit in commits:
            for parent in commit.parents:
                self.waiting[parent] += 1
        for place, commit in enumerate(commits):
            parents = [self.states[parent] for parent in commit.parents]
            self.states[place] = self._state(place, commit, parents)
            for parent in commit.parents:
                self.waiting[parent] -= 1
                if not self.waiting[parent]:
                    del self.states[parent]
            if not self.waiting[place]:
                del self.states[place]

    def _state(self, place: int, commit: Commit, parents: list[Files]) -> Files:
        base = parents[0] if parents else {}
        state = base
        came: list[Run] = []
        gone: list[Run] = []
        for change in commit.changes:
            old = base.get(change.path, {})
            classes = self.sources.get(change.blob, ()) if change.blob else ()
            if not old and not classes:
                continue
            new = {
                one.name: self._run(place, change.path, one, old, parents[1:], came)
                for one in classes
            }
            if new.keys() == old.keys() and all(new[name] is run for name, run in old.items()):
                continue
            for name, run in old.items():
                if new.get(name) is not run:
                    run.ends.append(place)
                    if name not in new:
                        gone.append(run)
            if state is base:
                state = {**base}
            state[change.path] = new
            if not new:
                del state[change.path]
        if gone:
            self._moves(came, gone, state)
        for other in parents[1:]:
            self._merge(place, other, state)
        return state

    def _run(
        self,
        place: int,
        path: str,
        source: Source,
        old: dict[str, Run],
        others: list[Files],
        came: list[Run],
    ) -> Run:
        """The run of a class in a commit: one that goes on, one of another parent, or a new one."""
        before = old.get(source.name)
        if before is not None and before.source.layout == source.layout:
            return before
        for other in others:
            theirs = other.get(path, {}).get(source.name)
            if theirs is not None and theirs.source.layout == source.layout:
                if place not in theirs.starts:
                    theirs.starts.append(place)
                return theirs
            before = before or theirs
        run = Run(path, source, [place], before=before)
        self.history.runs.append(run)
        if before is None:
            came.append(run)
        return run

    def _moves(self, came: list[Run], gone: list[Run], state: Files) -> None:
        """Find which classes that went are ones that came: renamed, or in another file."""
        for run in gone:
            run.is_gone = True
        alone = len(gone) == 1 == len(came)
        pairs = [(*_same(old, new, alone), old, new) for old in gone for new in came]
        pairs += [
            (*_same(old, new), old, new)
            for old in gone
            for new in _namesakes(old, state)
            if new not in came
        ]
        for score, reasons, old, new in sorted(pairs, key=lambda pair: -pair[0]):
            if score >= _LIKELY and new.before is None and old.is_gone and not _is_before(new, old):
                new.before, new.reasons, old.is_gone = old, reasons, False

    def _merge(self, place: int, other: Files, state: Files) -> None:
        """End what a further parent of a merge has and the merge has not."""
        for path, theirs in other.items():
            ours = state.get(path)
            if ours is theirs:
                continue
            for name, run in theirs.items():
                if (ours or {}).get(name) is not run:
                    run.ends.append(place)


def _is_before(one: Run, other: Run) -> bool:
    """Whether one run comes before another one in the history of its class."""
    step: Run | None = other
    while step is not None:
        if step is one:
            return True
        step = step.before
    return False


def _namesakes(old: Run, state: Files) -> Iterator[Run]:
    """Classes of the same last name that no earlier one leads to: a copy, made before the other was removed."""
    for classes in state.values():
        run = classes.get(old.source.name)
        if run is None or run is old:
            continue
        start = run
        while start.before is not None and start.before.path == start.path:
            start = start.before
        if start.before is None:
            yield start


def _same(old: Run, new: Run, alone: bool = False) -> tuple[float, tuple[str, ...]]:
    """How probable it is that two classes are one, and why.

    Args:
        old: a class that went.
        new: one that came.
        alone: whether no other class went or came in the commit.
    """
    reasons: list[tuple[float, str]] = []
    first, second = old.source.name, new.source.name
    mine, theirs = old.source.names, new.source.names
    if first == second:
        where = f", moved from {old.path}" if old.path != new.path else ""
        reasons.append((0.5, f"both are called {first}{where}"))
    else:
        share = len(mine & theirs) / (len(mine | theirs) or 1)
        if share < 0.3 and not (old.source.arities and old.source.arities == new.source.arities):
            return 0.0, ()
        likeness, why = name_likeness(first, second)
        if why:
            reasons.append((0.3 * likeness, why))
    if old.source.layout == new.source.layout and (mine or old.source.arities):
        reasons.append((0.5, "the same layout"))
    elif mine & theirs:
        share = len(mine & theirs) / len(mine | theirs)
        reasons.append(
            (0.5 * share, f"{len(mine & theirs)} of {len(mine | theirs)} names in common")
        )
    if old.path == new.path:
        reasons.append((0.15, "in one file"))
    if alone and reasons:
        reasons.append((0.2, "no other class went or came"))
    return sum(weight for weight, _ in reasons), tuple(
        text for _, text in sorted(reasons, reverse=True)
    )
