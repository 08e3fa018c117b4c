"""A survey as text: totals first, then a block for each class."""

from __future__ import annotations

from collections.abc import Iterator

from persist.survey._collect import Row, Survey

__all__ = ["headings", "table", "totals"]

_WIDTH = 110  # of the text of a layout on a terminal


def totals(found: Survey) -> list[str]:
    """Return the first lines: files, formats, dates, and what a load does with their records."""
    classes = len({row.name for row in found.rows if row.name})
    said = [f"{_count(found.files, 'file')} read ({_size(found.bytes)})"]
    if found.damaged:
        said.append(f"{found.damaged:,} that cannot be read")
    if found.unknown:
        said.append(f"{found.unknown:,} of no known format")
    lines = [", ".join(said)]
    if found.formats:
        ranked = sorted(found.formats.items(), key=lambda item: (-item[1], item[0]))
        lines.append(f"formats: {', '.join(f'{name} {count:,}' for name, count in ranked)}")
    if found.dates[1]:
        lines.append(f"dates: {found.dates[0]} to {found.dates[1]}, by modification of the files")
    records = sum(row.count for row in found.rows if row.name)
    lines.append(f"{_count(records, 'record')} of {_count(classes, 'class')}")
    lines += [f"    {_WORDS[outcome]}: {count:,}" for outcome, count in found.outcomes.items()]
    if found.left_out:
        lines.append(f"    of too many classes to be listed: {found.left_out:,}")
    return lines


_WORDS = {
    "fails": "cannot be loaded",
    "no step": "no step leads from their version",
    "newer": "newer than this program",
    "no class": "of a class that is not known here (they load as records)",
    "upgraded": "upgraded by steps",
    "as today": "loaded as they are",
    "shown": "of a library whose pack shows their parts",
    "plain": "plain values",
}


def table(found: Survey, *, every: bool = False) -> str:
    """Return the whole survey as text.

    Args:
        found: the survey.
        every: whether classes of libraries that packs know, and plain values, are listed, too.
    """
    lines = totals(found)
    left_out = 0
    for name, rows in headings(found):
        if not every and all(row.outcome in ("plain", "shown") for row in rows):
            left_out += 1
            continue
        lines += ["", name]
        for row in rows:
            lines += _lines(row)
    if left_out:
        lines += [
            "",
            f"{_count(left_out, 'class')} of libraries and plain values; --all lists them",
        ]
    if found.pairs:
        lines += ["", "probably one class, before and after it was renamed"]
        for pair in found.pairs:
            lines.append(f"    {pair.old} → {pair.new}  {pair.score:.0%}")
            lines += [f"        {reason}" for reason in pair.reasons]
    if found.problems:
        lines += ["", "cannot be read"]
        for problem in found.problems:
            lines.append(f"    {_count(problem.count, 'file')}: {problem.reason}")
            lines.append(f"        such as {problem.examples[0]}")
    return "\n".join(lines)


def headings(found: Survey) -> Iterator[tuple[str, list[Row]]]:
    """Yield each class, or format of plain values, and its rows."""
    groups: dict[str, list[Row]] = {}
    for row in found.rows:
        heading = row.name or f"plain values in {row.format}"
        if row.schema and row.schema != row.name:
            heading = f"{row.name} (schema {row.schema})"
        groups.setdefault(heading, []).append(row)
    yield from groups.items()


def _lines(row: Row) -> list[str]:
    layout = row.layout
    if len(layout) > _WIDTH:
        layout = f"{layout[: _WIDTH - 4]} ..."
    version = f"version {row.version} ({row.how})" if row.version is not None else ""
    if not version and row.name and row.outcome not in ("plain", "shown"):
        version = f"no version{f' ({row.how})' if row.how else ''}"
    dates = row.oldest if row.oldest == row.newest else f"{row.oldest} to {row.newest}"
    seen = f"{_count(row.count, 'record')} in {_count(row.files, 'file')}"
    parts = [seen, version, f"{row.format}{f', {row.writer}' if row.writer else ''}", dates]
    lines = [f"    {layout}", f"        {'; '.join(part for part in parts if part)}"]
    if row.outcome != "plain":
        lines.append(f"        today: {row.outcome_text}")
    lines.append(f"        such as {row.example}")
    return lines


def _count(number: int, what: str) -> str:
    plural = {"class": "classes"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


def _size(number: int) -> str:
    from persist._trees.show import size_text

    return size_text(number)
