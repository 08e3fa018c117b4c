"""A module for a folder whose source is lost: classes, stamps, aliases and steps, from a survey.

Each class without a declaration becomes one of attrs with the fields of its newest layout, and of the
older ones what no newer one has, so that nothing in a file is left out. Its layouts are versions, distinguished
by a stamp; steps lead from each to the next. Whatever is not known for certain is a guess, and
a comment names it with what speaks for it.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from persist._layouts.description import ClassLayout, FieldLayout
from persist.history.evidence import LIKELY, Guess, guesses
from persist.survey._collect import Row, Survey
from persist.survey._forms import ARGUMENTS, FIELDS, NOTHING, TUPLE, VALUE, FieldSummary
from persist.survey._pairs import Pair

__all__ = ["Skeleton", "skeleton"]

_ANNOTATED = {"bool", "bytes", "complex", "dict", "float", "int", "list", "set", "str", "tuple"}


@attrs.define
class Skeleton:
    """A module that was drafted.

    Attributes:
        text: its source.
        classes: the names of the classes in the files, of which there are declarations.
        left_out: name of a class -> why there is none.
        joined: earlier names that became aliases.
        guesses: how many comments say that something is a guess.
    """

    text: str
    classes: list[str] = attrs.field(factory=list)
    left_out: dict[str, str] = attrs.field(factory=dict)
    joined: list[Pair] = attrs.field(factory=list)

    @property
    def guesses(self) -> int:
        """How many comments say that something is a guess."""
        return len(re.findall(r"#.*?\bguess:", self.text))


@attrs.define
class _Version:
    """One layout of a class, which may be that of several rows."""

    form: str
    fields: dict[str, FieldSummary]
    required: set[str]
    stated: int | None
    rows: list[Row]
    places: set[int]
    number: int = 0

    @property
    def names(self) -> set[str]:
        return set(self.fields)

    @property
    def age(self) -> tuple[object, ...]:
        """Sorts layouts from old to new: by stated version, dates, Python, form, number of fields."""
        dates = [row.newest for row in self.rows if row.newest]
        olds = [row.oldest for row in self.rows if row.oldest]
        pythons = [m[1] for row in self.rows if (m := re.search(r"python ([\d.]+)", row.writer))]
        python = min((tuple(map(int, text.strip(".").split("."))) for text in pythons), default=())
        return (self.stated or 0, max(dates, default=""), min(olds, default=""), python,
                self.form == FIELDS, len(self.fields))  # fmt: skip

    def absorb(self, other: _Version) -> None:
        """Take another layout as one of the same version, in which some fields may be missing."""
        for name, field in other.fields.items():
            if name in self.fields:
                self.fields[name].merge(field)
            else:
                self.fields[name] = field
        self.required &= other.required
        self.rows += other.rows
        self.places |= other.places


@attrs.define
class _Drafted:
    """One class with all its layouts."""

    name: str  # in the files, the newest one
    schema: str
    versions: list[_Version]
    pairs: list[Pair]
    base: str
    cls: str = ""
    notes: list[str] = attrs.field(factory=list)

    @property
    def latest(self) -> int:
        return self.versions[-1].number


def skeleton(found: Survey, *, joins: bool = True) -> Skeleton:
    """Return a module that declares the classes of a survey of which nothing is known.

    Args:
        found: the survey.
        joins: whether two classes that are probably one, before and after it was renamed, become one.
    """
    made = Skeleton("")
    drafted = []
    taken: set[str] = {"Any", "attrs", "np", "persist", *dir(builtins)}
    for name, rows, joined in _groups(found, joins):
        reason = _refusal(rows)
        one = None if reason else _drafted(name, rows, joined, found)
        if one is None:
            made.left_out[name] = reason or (
                "the versions that its files state do not state its layouts apart"
            )
            continue
        one.cls = _class_name(name, taken)
        drafted.append(one)
        made.classes.append(name)
        made.joined += joined
    parts = [_head(found, drafted, made.left_out), *map(_code, drafted)]
    made.text = "\n\n".join(parts).rstrip("\n") + "\n"
    return made


def _groups(found: Survey, joins: bool) -> Iterable[tuple[str, list[tuple[int, Row]], list[Pair]]]:
    """Classes without a declaration: the newest name, its rows with their places, and earlier names."""
    successor = {pair.old: pair for pair in found.pairs} if joins else {}
    groups: dict[str, list[tuple[int, Row]]] = {}
    joined: dict[str, list[Pair]] = {}
    for place, row in enumerate(found.rows):
        if not row.name or row.outcome != "no class":
            continue
        name = row.name
        seen = {name}
        while name in successor and successor[name].new not in seen:
            name = successor[name].new
            seen.add(name)
        groups.setdefault(name, []).append((place, row))
        pair = successor.get(row.name)
        if row.name != name and pair is not None and pair not in joined.setdefault(name, []):
            joined[name].append(pair)
    for name, rows in groups.items():
        yield name, rows, joined.get(name, [])


def _refusal(rows: Sequence[tuple[int, Row]]) -> str:
    """Why no class can be drafted of these rows; "" if one can."""
    if any(row.base == ARGUMENTS for _, row in rows):
        return "its values are arguments of a constructor (a named tuple, a number, a text), not a state"
    if len({row.base for _, row in rows if row.base}) > 1:
        return "some of its records hold items of a list, others of a dict"
    if len(rows) > 1 and any(row.form == VALUE and not row.fields[0].kinds for _, row in rows):
        return "it has too many layouts: its attributes are data"
    return ""


def _drafted(
    name: str, rows: Sequence[tuple[int, Row]], joined: list[Pair], found: Survey
) -> _Drafted | None:
    owners = {name.rpartition(".")[2], *(pair.old.rpartition(".")[2] for pair in joined)}
    versions = _merged([_version(place, row, owners) for place, row in rows], found, name)
    if not _number(versions):
        return None
    schemas = [row.schema for version in versions for row in version.rows if row.schema]
    base = next((row.base for _, row in rows if row.base), "")
    return _Drafted(name, schemas[-1] if schemas else name, versions, joined, base)


def _version(place: int, row: Row, owners: set[str]) -> _Version:
    fields = {}
    for field in row.fields:
        plain = _plain(field.name, owners) if row.form == FIELDS else field.name
        fields[plain] = attrs.evolve(
            field, name=plain, kinds=[*field.kinds], dtypes=[*field.dtypes],
            shape=None if field.shape is None else [*field.shape],
        )  # fmt: skip
    form = FIELDS if row.form == NOTHING else row.form
    return _Version(form, fields, set(fields), row.version, [row], {place})


def _plain(name: str, owners: set[str]) -> str:
    """The name of a private attribute as it is written in a class: ``__w`` of ``_Layer__w``."""
    match = re.fullmatch(r"_(\w+?)(__\w+)", name)
    is_private = match is not None and not name.endswith("__")
    if match is None or not is_private or match[1] not in {one.lstrip("_") for one in owners}:
        return name
    return match[2]


def _merged(versions: list[_Version], found: Survey, name: str) -> list[_Version]:
    """Join layouts that are one version: the same, in one file, or indistinguishable by their fields."""
    together = {tuple(both) for both in found.together.get(name, ())}
    merged: list[_Version] = []
    for version in sorted(versions, key=lambda one: one.age):
        same = next((one for one in merged if _is_same(one, version)), None)
        if same is not None:
            same.absorb(version)
        else:
            merged.append(version)
    joined = True
    while joined:
        joined = False
        for index, one in enumerate(merged):
            other = next((v for v in merged[index + 1 :] if _is_variant(one, v, together)), None)
            if other is not None:
                other.absorb(one)
                del merged[index]
                joined = True
                break
    return sorted(merged, key=lambda one: one.age)


def _is_same(one: _Version, other: _Version) -> bool:
    if (one.form, one.stated) != (other.form, other.stated):
        return one.form == other.form == FIELDS and one.names == other.names and None in (
            one.stated, other.stated,
        )  # fmt: skip
    return one.names == other.names or (one.stated is not None and one.form == FIELDS)


def _is_variant(one: _Version, other: _Version, together: set[tuple[int, ...]]) -> bool:
    """True if two layouts without a stated version are one version, some fields of which may be missing."""
    if not one.form == other.form == FIELDS or one.stated is not None or other.stated is not None:
        return False
    in_one_file = any((min(a, b), max(a, b)) in together for a in one.places for b in other.places)
    # A stamp that goes by the fields could not state these apart.
    is_hidden = other.required <= one.names <= other.names
    return in_one_file or is_hidden or not one.names or not other.names


def _number(versions: list[_Version]) -> bool:
    """Give each layout its version; False if the stated ones leave no room for those before them."""
    for version in versions:
        if version.stated is None:
            version.stated = next((row.version for row in version.rows if row.version), None)
    versions.sort(key=lambda one: one.age)
    free = [version for version in versions if version.stated is None]
    first = min((version.stated for version in versions if version.stated), default=len(free) + 1)
    if len(free) >= first:
        return False
    for number, version in enumerate(free, first - len(free)):
        version.number = number
    for version in versions:
        version.number = version.stated or version.number
    if len({version.number for version in versions}) < len(versions):
        return False  # one version in two forms
    last = versions[-1]
    if last.form == TUPLE:
        last_names = {
            f"item_{name}": attrs.evolve(f, name=f"item_{name}") for name, f in last.fields.items()
        }
    elif last.form == VALUE:
        last_names = {"value": attrs.evolve(last.fields["value"])}
    else:
        return True
    versions.append(_Version(FIELDS, last_names, set(last_names), None, [], set(), last.number + 1))
    return True


# Source.


def _head(found: Survey, drafted: list[_Drafted], left_out: dict[str, str]) -> str:
    roots = ", ".join(found.roots) or "files"
    lines = [
        '"""Classes of which the source is lost, drafted by `persist draft` from a survey.',
        "",
        f"Of {_text(roots)}: {found.files:,} files. Each comment that begins with `guess:` names something that",
        "the files do not prove: look at it, correct it, and remove the comment.",
    ]
    if left_out:
        lines += ["", "Not drafted:", ""]
        lines += [f"- {_text(name)}: {reason}" for name, reason in sorted(left_out.items())]
    lines += ['"""', "", "from __future__ import annotations", "", "from typing import Any", ""]
    has_arrays = any(
        "array" in field.kinds for one in drafted for field in _fields_of(one)[0].values()
    )
    imports = [
        "import attrs",
        *(["import numpy as np"] if has_arrays else []),
        "",
        "import persist",
    ]
    return "\n".join([*lines, *imports])


def _text(text: str) -> str:
    """Text of a file for a docstring or a comment: nothing in it can end either."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.replace("\\", "/").replace('"""', "'''")


def _literal(text: str) -> str:
    plain = text.isprintable() and '"' not in text and "\\" not in text
    return f'"{text}"' if plain else ascii(text)


def _class_name(name: str, taken: set[str]) -> str:
    plain = unicodedata.normalize("NFKC", name)
    parts = [re.sub(r"\W", "_", part) for part in plain.split(".")]
    made = parts[-1] if re.match(r"[^\W\d]", parts[-1]) else f"C_{parts[-1]}"
    for part in reversed(parts[:-1]):
        if made not in taken and not keyword.iskeyword(made):
            break
        made = f"{part.title().replace('_', '')}{made}"
    number, stem = 2, made
    while made in taken or keyword.iskeyword(made):
        made, number = f"{stem}_{number}", number + 1
    taken.add(made)
    return made


def _stem(cls: str) -> str:
    """The name of a class as part of the name of a function."""
    stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls).lower().strip("_")
    return stem if stem.isidentifier() else f"c_{stem}"


def _renames(old: _Version, new: _Version) -> list[Guess]:
    """Which fields of one layout are called otherwise in the next one."""
    chosen: list[Guess] = []
    for guess in guesses(_layout(old), _layout(new), None, [], []):
        is_free = all(guess.old != one.old and guess.new != one.new for one in chosen)
        if guess.score >= LIKELY and is_free:
            chosen.append(guess)
    return chosen


def _layout(version: _Version) -> ClassLayout:
    rows = tuple(
        FieldLayout(
            field.name,
            field.kinds[0] if len(field.kinds) == 1 else "",
            field.dtypes[0] if len(field.dtypes) == 1 else "",
            tuple(field.shape) if field.shape is not None and field.dtypes else None,
        )
        for field in version.fields.values()
    )
    return ClassLayout(FIELDS, rows)


@attrs.define
class _Step:
    """The step from one layout to the next: what it does, and the guesses in it."""

    start: int
    to: int
    summary: str
    calls: list[str]
    guesses: list[str]
    names: dict[str, str]  # name in the older layout -> in the newer one
    wraps: bool = False


def _steps(one: _Drafted) -> list[_Step]:
    """The step of each layout but the newest: to the next one, of a tuple to the next that has names."""
    found = []
    for index, old in enumerate(one.versions[:-1]):
        rest = one.versions[index + 1 :]
        new = next((v for v in rest if v.form == FIELDS), rest[0]) if old.form == TUPLE else rest[0]
        found.append(_step(old, new))
    return found


def _step(old: _Version, new: _Version) -> _Step:
    """What leads from a layout to a newer one. A field that is new is None by the class's own default."""
    step = _Step(old.number, new.number, "", [], [], {})
    if old.form == VALUE:
        step.wraps, step.summary = True, "the value has a name"
        step.names = {"value": "value"}
        return step
    said = []
    if old.form == TUPLE:
        names, why = _names_of_items(old, new)
        step.guesses += why
        step.calls.append(f"unpack({', '.join(map(_literal, names))})")
        said.append("the items have names")
        step.names = {str(place): name for place, name in enumerate(names)}
    else:
        renames = _renames(old, new) if new.form == FIELDS else []
        pairs = {guess.old: guess.new for guess in renames}
        if pairs:
            listed = ", ".join(f"{_literal(a)}: {_literal(b)}" for a, b in pairs.items())
            optional = ", optional=True" if not set(pairs) <= old.required else ""
            step.calls.append(f"rename({{{listed}}}{optional})")
            said += [f"{a} is called {b}" for a, b in pairs.items()]
            step.guesses += [
                f"{g.old!r} is called {g.new!r}: {'; '.join(g.reasons)}" for g in renames
            ]
        step.names = {name: pairs.get(name, name) for name in old.fields}
    present = set(step.names.values())
    if new.form == FIELDS:
        came = [name for name in new.fields if name not in present]
        gone = sorted(present - new.names)
        said += [f"{_listed(came)} new"] if came else []
        said += [f"{_listed(gone)} no longer in the files, and kept"] if gone else []
    step.summary = ", ".join(said) or "the same fields"
    return step


def _listed(names: list[str]) -> str:
    """Names for a sentence, and the verb."""
    more = len(names) - 4
    ends = [f"{more} more"] if more > 1 else names[4:5]
    shown = [*names[:4], *ends]
    if len(shown) == 1:
        return f"{shown[0]} is"
    return f"{', '.join(shown[:-1])} and {shown[-1]} are"


def _names_of_items(old: _Version, new: _Version) -> tuple[list[str], list[str]]:
    """Names for the items of a tuple: those fields of the next layout that are most like them."""
    free = dict(new.fields)
    names, why = [], []
    for place, item in old.fields.items():
        if f"item_{place}" in new.fields and not any(row.name for row in new.rows):
            names.append(f"item_{place}")  # the layout that was made of this very tuple
            continue
        scores = {name: _alike(item, field) for name, field in free.items()}
        best = max(scores.values(), default=0)
        fitting = [name for name, score in scores.items() if score == best]
        if best <= 0:
            names.append(f"item_{place}")
            why.append(f"item {place} ({item}) has no name in any file")
            continue
        chosen = fitting[0]
        names.append(chosen)
        del free[chosen]
        rivals = f"; so are {', '.join(map(repr, fitting[1:4]))}" if len(fitting) > 1 else ""
        why.append(
            f"item {place} is {chosen!r}, whose values are of the same kind and shape{rivals}"
        )
    return names, why


def _alike(item: FieldSummary, field: FieldSummary) -> int:
    """How much the values of two fields are of one kind; 0 if they are not."""
    if not set(item.kinds) & set(field.kinds):
        return 0
    score = 1
    if item.shape is not None and field.shape is not None:
        if len(item.shape) != len(field.shape):
            return 0
        score += 2 + sum(
            a == b and a is not None for a, b in zip(item.shape, field.shape, strict=True)
        )
    return score + bool(set(item.dtypes) & set(field.dtypes))


def _fields_of(one: _Drafted) -> tuple[dict[str, FieldSummary], dict[str, str], set[str]]:
    """All fields of a class, why each is there, and those that a state may lack."""
    newest = one.versions[-1]
    fields = {name: attrs.evolve(field, kinds=[*field.kinds], dtypes=[*field.dtypes])
              for name, field in newest.fields.items()}  # fmt: skip
    comments = dict.fromkeys(newest.names - newest.required, "missing in some files")
    steps = {step.start: step for step in _steps(one)}
    lacking: dict[str, list[int]] = {}
    for index, version in enumerate(one.versions[:-1]):
        names = _names_today(version.number, steps)
        for old, today in names.items():
            field = version.fields[old]
            if today in fields:
                fields[today].merge(attrs.evolve(field, name=today))
            else:
                fields[today] = attrs.evolve(
                    field, name=today, kinds=[*field.kinds], dtypes=[*field.dtypes]
                )
                comments[today] = f"of version {version.number}; no newer file has it"
            if old not in version.required:
                comments.setdefault(today, "missing in some files")
        for name in newest.fields:
            if name not in names.values():
                lacking.setdefault(name, []).append(one.versions[index].number)
    for name, numbers in lacking.items():
        versions = f"version{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
        comments.setdefault(name, f"guess: None in states of {versions}, which have no such field")
    return fields, comments, set(comments)


def _names_today(number: int, steps: dict[int, _Step]) -> dict[str, str]:
    """The name in a layout -> the name in the newest one, by way of the steps."""
    step = steps[number]
    names = dict(step.names)
    while (step := steps.get(step.to)) is not None:  # type: ignore[assignment]
        names = {old: step.names.get(new, new) for old, new in names.items()}
    return names


def _code(one: _Drafted) -> str:
    fields, comments, optional = _fields_of(one)
    bases = f"persist.Versioned{f', {one.base}' if one.base else ''}"
    head = f"class {one.cls}({bases}, version={one.latest}, schema={_literal(one.schema)}):"
    doc = f'    """{_history(one)}"""'
    # In the body of a class, Python would take `__x` for a private attribute, which this one is not.
    literal = {
        f.name for v in one.versions for row in v.rows for f in row.fields if f.name[:2] == "__"
    }
    odd = [name for name in fields if name in literal or not _can_be_declared(name)]
    lines = []
    if odd or one.base:
        why = f"{_text(odd[0])!r} cannot be one" if odd else f"the class is a {one.base}"
        lines += [
            "",
            head,
            doc,
            "",
            f"    # Fields are not declared, since {why}: every attribute is saved.",
        ]
        lines += [f"    # {_text(str(field))}" for field in fields.values()]
    else:
        lines += ["", "@attrs.define(eq=False, kw_only=True)", head, doc]
        aliased = _aliased(fields)
        if fields:
            lines.append("")
        for name, field in fields.items():
            kind = _annotation(field)
            default = " = None" if name in optional else ""
            if name in aliased:
                first = "default=None, " if default else ""
                default = f' = attrs.field({first}alias="{name}")'
            kind = (
                f"{kind} | None"
                if name in optional and kind != "Any" and "None" not in kind
                else kind
            )
            said = str(attrs.evolve(field, name="")).removeprefix(": ")
            more = [
                part
                for part in (said if said and said != kind else "", comments.get(name, ""))
                if part
            ]
            comment = f"  # {_text('; '.join(more))}" if more else ""
            lines.append(f"    {name}: {kind}{default}{comment}")
    if one.schema != one.name:
        lines += ["", "", f"persist.alias({_literal(one.name)}, {one.cls})"]
    for pair in one.pairs:
        lines += [
            "",
            "",
            f"# guess: the class was called {_text(pair.old)} ({pair.score:.0%}): {_text('; '.join(pair.reasons))}",
        ]
        lines.append(f"persist.alias({_literal(pair.old)}, {one.cls})")
    lines += _stamp(one)
    for step in _steps(one):
        lines += _step_code(one, step)
    return "\n".join(lines)


def _can_be_declared(name: str) -> bool:
    """True if a field can have this name in the body of a class, and means nothing else there."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name  # as Python reads it
        and not (name.startswith("__") and name.endswith("__"))
        and name not in ("attrs", "persistent", "transient")
    )


def _aliased(fields: Iterable[str]) -> set[str]:
    """The fields that attrs would give an argument of a name that is taken, or is none: ``_x`` and ``x``."""
    arguments = Counter(name.lstrip("_") for name in fields)
    return {
        name
        for name in fields
        if (argument := name.lstrip("_")) != name
        and (arguments[argument] > 1 or not argument.isidentifier() or keyword.iskeyword(argument))
    }


def _history(one: _Drafted) -> str:
    rows = [row for version in one.versions for row in version.rows]
    records, dates = (
        sum(row.count for row in rows),
        [d for r in rows for d in (r.oldest, r.newest) if d],
    )
    span = f", {min(dates)} to {max(dates)}" if dates else ""
    return f"{_text(one.name)}: {records:,} record{'s' * (records != 1)}{span}."


def _annotation(field: FieldSummary) -> str:
    kinds = [kind for kind in field.kinds if kind != "None"]
    if len(kinds) != 1:
        return "Any"
    if kinds[0] == "array":
        return "np.ndarray" if "None" not in field.kinds else "np.ndarray | None"
    if kinds[0] not in _ANNOTATED or "None" in field.kinds:
        return "Any"
    return kinds[0]


def _stamp(one: _Drafted) -> list[str]:
    """The function that states the versions of states apart; none where each states its own."""
    open_ones = [v for v in one.versions if any(row.version is None for row in v.rows)]
    if not open_ones or (len(open_ones) == 1 and open_ones[0].number == 1):
        return []
    name = f"version_of_{_stem(one.cls)}"
    lines = ["", "", f"@persist.stamp({one.cls})", f"def {name}(state):"]
    lines.append(
        '    """Return the version of a state that states none, by its form; newer ones first."""'
    )
    for version in reversed(open_ones):
        if version.form == TUPLE:
            lines.append(
                f"    if isinstance(state, tuple) and len(state) == {len(version.fields)}:"
            )
        elif version.form == FIELDS:
            lines.append(
                f"    if isinstance(state, dict) and {_test(version.required, version.names)}:"
            )
        else:
            kinds = [k for k in version.fields["value"].kinds if k in _ANNOTATED]
            others = "dict | tuple" if not kinds else " | ".join(kinds)
            lines.append(f"    if {'not ' if not kinds else ''}isinstance(state, {others}):")
        lines.append(f"        return {version.number}")
    return [*lines, "    return None"]


def _test(required: set[str], names: set[str]) -> str:
    """The condition that a state with these fields fulfils, as source."""
    if required == names:
        return f"set(state) == {_set(names)}"
    if not required:
        return f"set(state) <= {_set(names)}"
    return f"{_set(required)} <= set(state) <= {_set(names)}"


def _set(names: set[str]) -> str:
    """A set as source; a long one has lines of its own."""
    if not names:
        return "set()"
    literals = [_literal(name) for name in sorted(names)]
    if sum(map(len, literals)) < 60:
        return "{" + ", ".join(literals) + "}"
    rows = [""]
    for literal in literals:
        if len(rows[-1]) + len(literal) > 88:
            rows.append("")
        rows[-1] += f"{literal}, "
    return "{\n" + "\n".join(f"        {row.rstrip()}" for row in rows) + "\n    }"


def _step_code(one: _Drafted, step: _Step) -> list[str]:
    to = f", to={step.to}" if step.to != step.start + 1 else ""
    lines = ["", "", f"# Version {step.to}: {_text(step.summary)}."]
    lines += [f"# guess: {_text(guess)}" for guess in step.guesses]
    stem = _stem(one.cls)
    function = [
        f"@persist.migration({one.cls}, {step.start}{to})",
        f"def {stem}_{step.start}_to_{step.to}(state):",
        f'    """Version {step.to}: {_text(step.summary)}."""',
    ]
    if step.wraps:
        return [*lines, *function, '    return {"value": state}']
    if not step.calls:
        is_open = any("write this step" in guess for guess in step.guesses)
        body = (
            f"    raise NotImplementedError({_literal(step.summary)})"
            if is_open
            else "    return state"
        )
        return [*lines, *function, body]
    calls = [f"persist.ops.{call}" for call in step.calls]
    line = f"persist.migration({one.cls}, {step.start}, {', '.join(calls)}{to})"
    if len(line) <= 100:
        return [*lines, line]
    inner = [one.cls, str(step.start), *calls, *([to[2:]] if to else [])]
    return [*lines, "persist.migration(", *(f"    {part}," for part in inner), ")"]
