"""Every exception of ``persist``; imports nothing.

One class per situation; the second base is the builtin that a caller would
already catch. A message reads

    {file}[, {where inside}]: {what is wrong, with the value as found}.
    {What was expected.} {What to do.}

The place comes first, because it is what one greps in the log of a bulk run.
The facts stand again as attributes, and every exception survives pickling,
since bulk runs cross process borders.
"""

__all__ = [
    "AmbiguousFormatError",
    "ChoiceWarning",
    "DamageWarning",
    "DamagedFileError",
    "DuplicateMigrationError",
    "FormatError",
    "FutureVersionError",
    "IrreversibleError",
    "LayoutError",
    "LayoutWarning",
    "LimitError",
    "MigrationFailedError",
    "MissingExtraError",
    "MissingMigrationError",
    "OpaqueWarning",
    "PackWarning",
    "PersistError",
    "RestoreError",
    "SchemaError",
    "UnfitStateError",
    "UnknownFieldWarning",
    "UnknownFormatError",
    "UnknownPathError",
    "UnknownSchemaError",
    "UnsupportedVersionError",
    "UntrustedError",
]


class PersistError(Exception):
    """Base of everything that ``persist`` raises for a file, a schema or a plan.

    Args:
        what: what is wrong, a whole sentence with the value as found.
        file: the file as the user named it, if one is meant.
        where: the place inside: an offset, a member, a record and its path.
        remedy: what was expected and what to do, whole sentences.
        facts: anything else that a handler may want, in ``facts`` and as attributes.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | None = None,
        where: str | None = None,
        remedy: str = "",
        **facts: object,
    ) -> None:
        self.what = what
        self.file = file
        self.where = where
        self.remedy = remedy
        self.facts = facts
        super().__init__(what)

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.where) if part)
        text = f"{place}: {self.what}" if place else self.what
        return f"{text} {self.remedy}" if self.remedy else text

    def __getattr__(self, name: str) -> object:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        facts = {"file": self.file, "where": self.where, "remedy": self.remedy}
        return _revive, (type(self), self.what, {**self.facts, **facts})

    def at(self, file: str | None = None, where: str | None = None) -> "PersistError":
        """Fill in the place where it is still unknown, and return the error itself."""
        self.file = self.file or file
        self.where = self.where or where
        return self


def _revive(kind: type[PersistError], what: str, facts: dict[str, object]) -> PersistError:
    return kind(what, **facts)  # type: ignore[arg-type]


class FormatError(PersistError, ValueError):
    """The bytes are not what a reader can read."""


class UnknownFormatError(FormatError):
    """No reader claims the file."""


class AmbiguousFormatError(FormatError):
    """Two unrelated readers claim the file."""


class DamagedFileError(FormatError):
    """The file is of a known format, but truncated, altered or lying."""


class LimitError(FormatError):
    """Reading on would pass a limit on bytes, depth, work or paths."""


class SchemaError(PersistError):
    """A declared state, a version or a migration does not fit."""


class UnknownSchemaError(SchemaError, LookupError):
    """No schema of this name is registered."""


class FutureVersionError(SchemaError):
    """The file is newer than this program knows."""


class MissingMigrationError(SchemaError, LookupError):
    """No path of migrations leads from the file's version to the wanted one."""


class DuplicateMigrationError(SchemaError, ValueError):
    """Two migrations claim the same step of the same schema."""


class UnsupportedVersionError(MissingMigrationError):
    """The file is older than the oldest version that is still supported (`persist.supported`)."""


class LayoutError(SchemaError):
    """A class changed and its version did not: one version has two layouts."""


class IrreversibleError(SchemaError):
    """A step has no inverse, so the older state cannot be written."""


class MigrationFailedError(SchemaError):
    """A step raised; the state it was given is untouched."""


class RestoreError(SchemaError, ValueError):
    """Arrays of a file do not fit into what they were to fill; nothing was applied."""


class UnknownPathError(PersistError, KeyError):
    """Nothing is at this path; the nearest ones are told."""

    # KeyError has a __str__ of its own; ours is meant.
    __str__ = PersistError.__str__


class UnfitStateError(SchemaError, LookupError):
    """A ready-made step finds no such field in a state, or one that it cannot turn."""


class UntrustedError(PersistError, PermissionError):
    """A class would have to be imported that nobody named in ``trust=``."""

    # OSError has a __str__ and a __reduce__ of its own; ours are meant.
    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class MissingExtraError(PersistError, ImportError):
    """A library that is an extra is not installed."""

    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class DamageWarning(UserWarning):
    """Something was wrong with a file, and was passed over; what is whole was loaded."""


class ChoiceWarning(UserWarning):
    """A folder holds several things; it says which of them was opened, and what was left out."""


class OpaqueWarning(UserWarning):
    """A class of the file is not here; its records stay whole and inert."""


class UnknownFieldWarning(UserWarning):
    """An old state has fields that today's class does not declare; they were dropped."""


class LayoutWarning(UserWarning):
    """One version of a class has two layouts, and the file was loaded all the same, as asked."""


class PackWarning(UserWarning):
    """A pack could not be used; the rest of the tree is read without it."""
