"""`explain`: what `load` would do to each record, and why, without keeping the result."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

from persist._api.file import File, plain_value, settle_text_of, written_layouts
from persist._api.keywords import complete, shares
from persist._api.load import wanted_part
from persist._api.open import open_writable
from persist._runtime.gc_pause import collector_paused
from persist._runtime.progress import reporting
from persist.errors import (
    PersistError,
)
from persist.tree import ABSENT

if TYPE_CHECKING:
    from persist._upgrade.plan import Plan
    from persist.typing import NaturalPath, Openable, OpenOptions, UnknownFields

__all__ = ["explain", "explain_file"]


@shares
def explain(
    source: Openable,
    cls: type | None = None,
    *,
    at: NaturalPath = "",
    assume_version: int | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: UnknownFields = "warn",
    validate: bool = True,
    **options: Unpack[OpenOptions],
) -> Plan:
    """Tell what `load` would do to each record of a file, and why; the file stays as it is.

    The load is rehearsed in memory and its result thrown away, since only so the plan has a
    problem exactly where `load` raises: stamps, migrations, converters, validators and codecs
    run as they do in a load. What acts on more than the objects does not: no resource is opened and
    no ``__loaded__`` called. What they raise is therefore not in the plan; it lists the records
    that have any (``unrehearsed``).

    Args:
        source: as for `open`.
        cls, at, assume_version, trust, strict, unknown, validate: as for `load`.
        mmap, verify, py2_str, salvage, step, storage_options, limits, arrays, progress: as for `open`.
        registry: schemas, aliases, stamps and migrations; None is the default one.

    Returns:
        A `Plan`: for each record its path and class, how its version is known (envelope, stamp,
        or the lack of one), the aliases, the steps, what stays opaque, and what `load` would
        raise (``problems``, of all records and not of the first alone), and which records a load
        would open resources or call ``__loaded__`` for (``unrehearsed``).

    Raises:
        FormatError: the file cannot be read.
        UntrustedError: ``trust`` holds what may not be trusted.
    """
    # Arrays that may be written into, as a load has them: what runs in it may do so.
    said = complete(explain, options)
    progress, said["progress"] = said["progress"], None
    with reporting(progress), open_writable(source, said) as file, collector_paused():
        network = None
        if cls is None and not at and assume_version is None:
            from persist._api import networks

            network = networks.explained(file, trust)
        if network is not None:
            return network
        return explain_file(
            file,
            wanted_part(file, cls, at, assume_version),
            cls=cls,
            trust=trust,
            strict=strict,
            unknown=unknown,
            validate=validate,
        )


def explain_file(
    file: File,
    tree: object = ABSENT,
    *,
    cls: type | None = None,
    trust: Iterable[str] = (),
    strict: bool = False,
    unknown: UnknownFields = "warn",
    validate: bool = True,
) -> Plan:
    """Return what `load` would do to each record of an open file, or of a part of its tree."""
    from persist._api.unversioned import check_is
    from persist._objects.build import build
    from persist._objects.inert import Inert
    from persist._objects.trust import Trust
    from persist._upgrade import records

    knowledge = file.knowledge
    tree, rehearsal = records.rehearse(
        file._written if tree is ABSENT else tree,
        knowledge,
        file=file.name,
        unknown=unknown,
        strict=strict,
        see=functools.partial(plain_value, file.looker, Trust(trust, knowledge)),
        live=Inert(knowledge),
        read=True,
        written=written_layouts(file),
    )
    settle_text_of(file, tree, rehearsal.fail)
    made = build(
        tree,
        knowledge,
        trust=trust,
        strict=strict,
        validate=validate,
        plan=rehearsal.plan,
        file=file.path,
        is_known=file.is_known,
        rehearsal=rehearsal,
    )
    if cls is not None and made is not ABSENT and not rehearsal.plan.problems:
        try:
            check_is(made, cls, file.name)
        except PersistError as error:
            rehearsal.fail(None, error)
    return rehearsal.plan
