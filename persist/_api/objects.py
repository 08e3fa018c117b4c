"""`File.objects`: the parts of a file, upgraded and made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from persist._trees.copier import Copier
from persist._trees.paths import unknown_path
from persist.errors import LimitError
from persist.tree import ABSENT, Record

if TYPE_CHECKING:
    from persist._api.file import File

__all__ = ["Objects", "made_of"]


def made_of(file: File, part: object) -> Any:
    """Upgrade a part of a file's tree and make its objects; the tree stays as it is."""
    from persist._api.load import load_file

    copy = Copier(lambda record, path: record).copy(part)
    return load_file(
        file,
        (),
        False,
        "warn",
        True,
        tree=copy,
        looker=file.looker if file._as_torch else None,
        live=True,
    )


class Objects(Mapping[str, Any]):
    """Natural path -> what `persist.load` gives with ``at=`` that path.

    Only what is asked for is upgraded, made and read. The same part is the same object as long as
    the file is open, also under another path; an object and a part of it are made apart from each
    other, however. Iteration gives the paths of the records of declared classes, outer ones first.

    Args:
        file: that is open.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._made: dict[int, tuple[Any, Any]] = {}  # id of a part -> it, and its object

    def __getitem__(self, path: str) -> Any:
        from persist._objects.torch_values import part_at

        file = self._file
        part = part_at(file._written, file.looker, path)
        if part is ABSENT:
            raise unknown_path(path, self._listed(), file.name)
        known = self._made.get(id(part))
        if known is None:
            made = made_of(file, part)
            known = self._made[id(part)] = (part, made)
        return known[1]

    def __contains__(self, path: object) -> bool:
        from persist._objects.torch_values import part_at

        file = self._file
        is_path = isinstance(path, str)
        return is_path and part_at(file._written, file.looker, str(path)) is not ABSENT

    def __iter__(self) -> Iterator[str]:
        file, seen = self._file, set[int]()
        knowledge, left = file.knowledge, file._source.limits.paths
        todo: list[tuple[str, object]] = [("", file._written)]
        while todo:
            path, value = todo.pop()
            if id(value) in seen:
                continue
            left -= 1
            if left < 0:
                raise LimitError(
                    f"there are more than {file._source.limits.paths:,} paths.",
                    file=file.name,
                    remedy='Ask for a path, or raise limits={"paths": ...}.',
                )
            seen.add(id(value))
            if isinstance(value, Record):
                name = knowledge.resolve(value.qualname)
                if knowledge.schema_for(name) is not None:
                    yield path
            steps = file.looker.look(value)[1]
            todo += [(f"{path}/{step}" if path else step, item) for step, item in reversed(steps)]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<objects of {self._file.name}>"

    def _listed(self) -> list[str]:
        try:
            return list(self)
        except LimitError:
            return []
