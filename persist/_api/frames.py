"""One part of a file as an object of pandas."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from persist._api.objects import made_of
from persist.errors import MissingExtraError, OpaqueWarning, RestoreError
from persist.registry._rebuilds import is_installed
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["pandas_object"]


def pandas_object(file: File, path: str) -> Any:
    """Make the object of pandas at a natural path; see `File.to_pandas`."""
    from persist._objects.torch_values import part_at

    if not is_installed("pandas"):
        raise MissingExtraError(
            "pandas is not installed.",
            file=file.name,
            remedy="pip install pandas; without it, .arrays has each column under its name.",
        )
    part = part_at(file._written, file.looker, path) if path else file._written
    where = f"at {path!r}" if path else None
    if part is ABSENT:
        raise RestoreError("there is nothing.", file=file.name, where=where)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OpaqueWarning)
        made = made_of(file, part)
    if isinstance(made, Record):
        reasons = " ".join(str(one.message) for one in caught)
        raise RestoreError(
            f"no object of pandas can be made of a {made.qualname}. {reasons}".rstrip(),
            file=file.name,
            where=where,
        )
    if type(made).__module__.partition(".")[0] != "pandas":
        raise RestoreError(
            f"it is a {type(made).__name__}, and no object of pandas.",
            file=file.name,
            where=where,
            remedy="path= names one of the parts of the file that print(file) shows.",
        )
    return made
