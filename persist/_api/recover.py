"""`load` with ``on_error="record"``: a record that cannot be loaded stays one, with the reason.

Objects are made in several passes, each from the file as written: a pass in which a record fails is
thrown away, since objects that were made before may refer to the half-made instance, and the next
one leaves that record alone. The last pass is the one in which nothing more fails.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from persist._api.file import settle_text_of, written_layouts
from persist._trees.copier import records_in
from persist.errors import FailedRecordWarning, PersistError
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from persist._api.file import File
    from persist._upgrade.plan import Rehearsal

__all__ = ["recovered"]

_MOST = 5  # failures that the text of the warning lists


def recovered(
    file: File,
    tree: object,
    *,
    build: Callable[..., object],
    see: Callable[[Record], object],
    unknown: str,
    strict: bool,
    layout: str | None,
) -> Any:
    """Upgrade the tree of a file and make its objects, but for the records that fail.

    Args:
        file: that is open; its arrays are read only, so that no pass sees what another one changed.
        tree: of the file, or a part of it.
        build: makes the objects of an upgraded tree (`persist._objects.build.build`).
        see: takes a library's record, and returns the plain value that it is, or ABSENT.
        unknown, strict, layout: as for `load`.

    Warns:
        FailedRecordWarning: there are such records.
    """
    from persist._objects.inert import Inert
    from persist._upgrade import records

    knowledge = file.knowledge
    failed: dict[int, PersistError] = {}  # by their number in the upgraded tree
    is_first = True
    while True:
        with warnings.catch_warnings():
            if not is_first:  # the first pass gave these warnings
                warnings.simplefilter("ignore")
            upgraded, rehearsal = records.rehearse(
                tree,
                knowledge,
                file=file.name,
                unknown=unknown,
                strict=strict,
                see=see,
                live=Inert(knowledge),
                read=True,
                layout=layout,
                written=written_layouts(file),
                warns=True,
            )
        is_first = False
        settle_text_of(file, upgraded, rehearsal.fail)
        listed = list(records_in(upgraded, set()))
        for number, error in failed.items():
            rehearsal.fail(listed[number], error)
        value = build(
            upgraded,
            knowledge,
            plan=rehearsal.plan,
            file=file.path,
            is_known=file.is_known,
            rehearsal=rehearsal,
            recovers=True,
        )
        if value is not ABSENT:
            _report(file, rehearsal)
            return value
        errors = {id(record): error for record, error in rehearsal.failures if record is not None}
        failed = {n: errors[id(one)] for n, one in enumerate(listed) if id(one) in errors}


def _report(file: File, rehearsal: Rehearsal) -> None:
    """Note on each record why it stayed one, and warn."""
    found: dict[int, tuple[str, str, PersistError]] = {}
    for record, error in rehearsal.failures:
        if record is None or id(record) in found:
            continue
        object.__setattr__(record, "_failure", error)
        found[id(record)] = (rehearsal.path_of(record), record.qualname, error)
    if not found:
        return
    failures = list(found.values())
    lines = [
        f"{path!r} ({name}): {error.what}" if path else f"the root ({name}): {error.what}"
        for path, name, error in failures[:_MOST]
    ]
    more = f"; and {len(failures) - _MOST:,} more" if len(failures) > _MOST else ""
    count = "a record" if len(failures) == 1 else f"{len(failures):,} records"
    warnings.warn(
        FailedRecordWarning(
            f"{file.name}: {count} could not be loaded: {'; '.join(lines)}{more}. What could not be "
            "made stayed a record, as it is in the file; its .failure has the error.",
            failures,
        ),
        stacklevel=4,
    )
