"""A history, and what it says of a file, as text and as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from persist.archaeology._chain import Generation, chain
from persist.archaeology._dates import Dated
from persist.archaeology._walk import History, Run, Span

__all__ = ["as_lines", "dated", "day", "table"]

_WIDTH = 140
_MOST_SPANS = 3


def day(seconds: int) -> str:
    """Return a date (ISO 8601, UTC)."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "no date"


def span_text(span: Span) -> str:
    """Return a span of commits in words."""
    first = f"{span.first.name[:10]} ({day(span.first.time)})"
    if span.count == 1:
        said = first
    else:
        said = f"{first} to {span.last.name[:10]} ({day(span.last.time)}), {span.count:,} commits"
    if span.until is None:
        return f"{said}, and since then"
    return f"{said}; until {span.until.name[:10]} ({day(span.until.time)}) {_short(span.until.subject)}".rstrip()


def _short(text: str) -> str:
    return f'"{text[:57]}..."' if len(text) > 60 else f'"{text}"' if text else ""


def _count(number: int, what: str) -> str:
    plural = {"class": "classes"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


def _groups(history: History, every: bool) -> list[list[Generation]]:
    """The layouts of each class; of classes with one layout only on request."""
    found = [chain(runs) for runs in history.classes()]
    kept = [one for one in found if every or len(one) > 1]
    return sorted(kept, key=lambda one: one[-1].runs[-1].name)


def table(history: History, *, every: bool = False) -> str:
    """Return the layouts that each class had, and the steps between them.

    Args:
        history: of a repository.
        every: whether classes that never changed are listed, too.
    """
    classes = history.classes()
    commits = history.commits
    layouts = sum(len(chain(runs)) for runs in classes)
    dates = [commit.time for commit in commits]
    lines = [
        f"{history.path}: {_count(len(commits), 'commit')}, {day(min(dates))} to {day(max(dates))}",
        f"{_count(len(classes), 'class')} in {_count(layouts, 'layout')}; "
        f"{_count(history.contents, 'content')} of source files, {history.parsed:,} of them parsed now",
    ]
    if history.is_shallow:
        lines.append(
            "the clone is shallow: older commits are missing (`git fetch --unshallow` gets them)"
        )
    if history.links:
        lines.append(
            f"{_count(history.links, 'change')} of symbolic links and submodules passed over"
        )
    if history.unread:
        path, number = max(history.unread.items(), key=lambda item: item[1])
        lines.append(
            f"{_count(sum(history.unread.values()), 'revision')} that no parser takes, such as {path} ({number:,})"
        )
    groups = _groups(history, every)
    for generations in groups:
        lines += ["", *_class_lines(history, generations)]
    left_out = len(classes) - len(groups)
    if left_out:
        lines += ["", f"{_count(left_out, 'class')} of one layout; --all lists them"]
    return "\n".join(lines)


def _class_lines(history: History, generations: list[Generation]) -> Iterator[str]:
    yield generations[-1].runs[-1].name
    name = ""
    for one in generations:
        if one.step is not None:
            yield f"        step: {'; '.join(one.step.calls) or one.step.summary}"
            for guess in one.step.guesses:
                yield f"            guess {guess.score:.0%}: {guess}"
            for question in one.step.questions:
                yield f"            to be filled in: {question}"
        text = str(one.source)
        yield f"    {one.number}  {text[: _WIDTH - 4] + ' ...' if len(text) > _WIDTH else text}"
        for run in one.runs:
            if run.name != name:
                why = f" ({'; '.join(run.reasons)})" if run.reasons else ""
                yield f"        as {run.name} in {run.path}{why}"
                name = run.name
            spans = history.spans(history.bits(run))
            for span in spans[:_MOST_SPANS]:
                yield f"        {span_text(span)}"
            if len(spans) > _MOST_SPANS:
                yield f"        and {_count(len(spans) - _MOST_SPANS, 'span')} more"


def as_lines(history: History) -> Iterator[dict[str, object]]:
    """Yield a line for each class by layout by span of commits, as plain values."""
    for generations in _groups(history, True):
        newest = generations[-1].runs[-1].name
        for one in generations:
            for run in one.runs:
                for span in history.spans(history.bits(run)):
                    yield _line(newest, one, run, span)


def _line(newest: str, one: Generation, run: Run, span: Span) -> dict[str, object]:
    step = one.step
    return {
        "class": run.name, "today": newest, "path": run.path, "layout": str(one.source), "number": one.number,
        "kind": one.source.kind, "required": list(one.source.required), "optional": list(one.source.optional),
        "arities": list(one.source.arities), "version": one.source.version,
        "first": span.first.name, "first_date": day(span.first.time), "last": span.last.name,
        "last_date": day(span.last.time), "commits": span.count,
        "until": None if span.until is None else span.until.name,
        "was": None if run.before is None else run.before.name, "because": list(run.reasons),
        "step": None if step is None else {
            "calls": list(step.calls), "questions": list(step.questions), "summary": step.summary,
            "guesses": [{"old": g.old, "new": g.new, "score": g.score, "reasons": list(g.reasons)} for g in step.guesses],
        },
    }  # fmt: skip


def dated(name: str, found: Dated) -> str:
    """Return which commits can have written a file, in words."""
    lines = [name]
    for one in found.found:
        lines.append(f"    {one.name}: {_count(one.count, 'record')} with {one.layout[:_WIDTH]}")
        if one.is_loose:
            lines.append("        only the last name is that of a class in the history")
        if one.nearest is not None:
            lines.append(
                f"        no layout in the history fits; the nearest, {one.nearest.name}: {one.difference}"
            )
        for run in one.fitting[:_MOST_SPANS]:
            lines.append(f"        fits {run.name} in {run.path}")
        lines += [f"        {span_text(span)}" for span in one.spans[:_MOST_SPANS]]
        if len(one.spans) > _MOST_SPANS:
            lines.append(f"        and {_count(len(one.spans) - _MOST_SPANS, 'span')} more")
    if found.foreign:
        more = f" and {len(found.foreign) - 6} more" if len(found.foreign) > 6 else ""
        lines.append(f"    of no class in the history: {', '.join(found.foreign[:6])}{more}")
    lines.append(f"    {_verdict(found)}")
    return "\n".join(lines)


def _verdict(found: Dated) -> str:
    if found.spans:
        said = " or ".join(span_text(span) for span in found.spans[:_MOST_SPANS])
        more = (
            f" or {_count(len(found.spans) - _MOST_SPANS, 'span')} more"
            if len(found.spans) > _MOST_SPANS
            else ""
        )
        return f"written by {said}{more}"
    if not found.found:
        return "nothing in it is of a class in the history"
    if all(one.nearest is not None for one in found.found):
        return "no commit can have written it: the code was changed and not committed, or is of another repository"
    return "no one commit fits all its classes: it was written by code that was not committed, or by several programs"
