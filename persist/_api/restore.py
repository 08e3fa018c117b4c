"""`restore`: fill existing arrays, modules and models with the arrays of a file."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from persist._api.file import File, nothing_at, warn_about_damage
from persist._api.keywords import complete, shares
from persist._api.open import check_arrays, open
from persist._runtime.progress import reporting
from persist.tree import ABSENT, Global, Record

if TYPE_CHECKING:
    from persist._restore.match import Report
    from persist.typing import NaturalPath, Openable, OpenOptions

__all__ = ["restore"]


@shares
def restore(
    source: Openable,
    into: Any,
    *,
    match: Any = "name",
    only: Iterable[str] | None = None,
    strict: bool = True,
    at: NaturalPath = "",
    **options: Unpack[OpenOptions],
) -> Report:
    """Fill what exists with the arrays of a file.

    Args:
        source: as for `open`.
        into: a mapping of arrays, an instance whose attributes hold arrays, a torch module, a
            Keras model; an optimizer, scheduler, scaler or loader of torch; a dict of several of these by
            their keys in the file; or a declared class, of which an instance is made from the fields.
        match: "name", "shape", "order", or rules from names in the file to names in ``into``: a
            function, or regular expressions with their replacement; None instead of a name leaves
            an array out.
        only: patterns of names in ``into`` (``hidden/*``), or in the file; everything else is left
            alone.
        strict: nothing is touched unless everything fits, in its precision, too.
        at: the part of the file that is wanted, by its natural path (``model/state_dict``).
        mmap, verify, py2_str, salvage, step, storage_options, limits, registry: as for `open`.
        arrays: "numpy", or "torch" to make a declared class with tensors.
        progress: as for `open`.

    Returns:
        A `Report` of what was filled, missing, unexpected, and of another shape or dtype.

    Raises:
        RestoreError: strict, and something does not fit; it carries the `Report`.
    """
    from persist._restore import match as restore_match
    from persist._restore.targets import target_of
    from persist._restore.torch_runs import is_run, restore_run
    from persist._restore.torch_targets import Written, has_state, restore_state

    said = complete(restore, options)
    as_torch = said["arrays"] == "torch"
    check_arrays(said["arrays"])
    said["arrays"] = "numpy"  # targets are filled from NumPy's, tensors of torch too
    progress, said["progress"] = said["progress"], None
    with reporting(progress), open(source, **said) as file:
        warn_about_damage(file)
        if isinstance(into, type):
            return _restored_class(file, into, match, only, strict, at, as_torch)
        written = Written(lambda: file._written, file.looker, at, file.format)
        if at and written.part("") is ABSENT:
            raise nothing_at(at, file)

        def restored(value: Any, path: str, state: object) -> Report:
            """Fill one object from what is at a path; a state that is given takes the place of that."""
            part = Written(lambda: file._written, file.looker, path, file.format)
            if has_state(value):
                return restore_state(value, part, file.name, strict, state)
            report = restore_match.fill(
                _below(file, path),
                target_of(value, file.format, lambda: file.structure, part),
                match=match,
                only=only,
                strict=strict,
                file=file.name,
            )
            report.value = value
            return report

        if is_run(into):
            below = functools.partial(_joined, at)
            return restore_run(
                into,
                written,
                file.name,
                lambda value, path, state: restored(value, below(path), state),
            )
        return restored(into, at, ABSENT)


def _joined(at: str, path: str) -> str:
    return "/".join(step for step in (at, path) if step)


def _below(file: File, at: str) -> Mapping[str, object]:
    """The arrays of a part of a file, by their names below it."""
    arrays = file._arrays_at_every_path
    if not at:
        return arrays
    return {
        name[len(at) + 1 :]: arrays[name]
        for name in arrays
        if name == at or name.startswith(f"{at}/")
    }


def _restored_class(
    file: File,
    cls: type,
    match: Any,
    only: Iterable[str] | None,
    strict: bool,
    at: str,
    as_torch: bool,
) -> Report:
    """Make an instance of a declared class whose fields are a file's arrays."""
    from persist._objects.build import build
    from persist._restore import match as restore_match

    found: dict[str, Any] = {}
    arrays = _below(file, at)
    schema = file.knowledge.schema_for(cls)
    # Fields of its bases are its own here: what is made is of today, all of it.
    names = [] if schema is None else [*file.knowledge.layout(cls).saved()]
    slots = [
        restore_match.Slot(field.name, None, None, functools.partial(found.__setitem__, field.name))
        for field in names
        if field.name in arrays or not field.has_default
    ]
    report = restore_match.fill(
        arrays,
        restore_match.Target(slots),
        match=match,
        only=only,
        strict=strict,
        file=file.name,
    )
    if schema is not None and not report.missing:
        own = {name: np.array(array) for name, array in found.items()}
        record = Record(Global(cls.__module__, cls.__qualname__), own, version=schema.version)
        looker = file.looker if as_torch else None
        report.value = build(record, file.knowledge, file=file.path, looker=looker)
    return report
