"""Every exception of ``persist``. This module imports nothing.

There is one class per situation; its second base is the builtin exception that
callers already catch. A message reads

    {file}[, {where inside}]: {what is wrong, with the value as found}.
    {What was expected.} {What to do.}

The place comes first, because that is what one searches for in the log of a bulk
run. The facts are also available as attributes, and every exception can be pickled,
since bulk runs use several processes.
"""

__all__ = [
    "AmbiguousFormatError",
    "ChoiceWarning",
    "CollisionError",
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
    "ReleaseError",
    "RestoreError",
    "SchemaError",
    "SignatureError",
    "StorageError",
    "UnfitStateError",
    "UnknownFieldWarning",
    "UnknownFormatError",
    "UnknownPathError",
    "UnknownSchemaError",
    "UnsavedAttributeWarning",
    "UnsupportedVersionError",
    "UntrustedError",
]


class PersistError(Exception):
    """Base class of all exceptions that ``persist`` raises for a file, a schema or a plan.

    Args:
        what: the fault, as a whole sentence that contains the value found.
        file: the file as the user named it, if a file is concerned.
        where: the place inside the file: an offset, a member, a record and its path.
        remedy: what was expected and what to do, in whole sentences.
        facts: further data for handlers, available as ``facts`` and as attributes.
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
        """Set the file and the place unless they are set already, and return the error itself."""
        self.file = self.file or file
        self.where = self.where or where
        return self


def _revive(kind: type[PersistError], what: str, facts: dict[str, object]) -> PersistError:
    return kind(what, **facts)  # type: ignore[arg-type]


class FormatError(PersistError, ValueError):
    """The file cannot be read: its format is unknown, unsupported or damaged."""


class UnknownFormatError(FormatError):
    """No reader recognises the file."""


class AmbiguousFormatError(FormatError):
    """Two unrelated readers recognise the file as theirs."""


class DamagedFileError(FormatError):
    """The file is of a known format, but truncated, altered or inconsistent."""


class LimitError(FormatError):
    """Reading on would exceed a limit on bytes, depth, work or paths."""


class SchemaError(PersistError):
    """A declared state, a version or a migration does not match the class or the file."""


class UnknownSchemaError(SchemaError, LookupError):
    """No schema of this name is registered."""


class FutureVersionError(SchemaError):
    """The file has a newer version of a schema than this program supports."""


class MissingMigrationError(SchemaError, LookupError):
    """No sequence of migrations leads from the file's version to the requested one."""


class DuplicateMigrationError(SchemaError, ValueError):
    """Two migrations are registered for the same step of the same schema."""


class UnsupportedVersionError(MissingMigrationError):
    """The file is older than the oldest version that is still supported (`persist.supported`)."""


class LayoutError(SchemaError):
    """A class changed but its version did not, so one version has two layouts."""


class ReleaseError(SchemaError):
    """A file was written by a release of a package that is not accepted (`accept_releases`)."""


class IrreversibleError(SchemaError):
    """A step has no inverse, or the older state cannot hold everything, so it cannot be written."""


class MigrationFailedError(SchemaError):
    """A migration step raised an exception; the state passed to it is unchanged."""


class RestoreError(SchemaError, ValueError):
    """Arrays of a file do not match the target they should be loaded into; nothing was changed."""


class UnknownPathError(PersistError, KeyError):
    """Nothing exists at this path; the message lists the most similar paths."""

    # KeyError overrides __str__ (it shows the repr of the key); use the message of PersistError.
    __str__ = PersistError.__str__


class UnfitStateError(SchemaError, LookupError):
    """A ready-made migration step finds no such field in a state, or one that it cannot convert."""


class UntrustedError(PersistError, PermissionError):
    """A class would have to be imported that ``trust=`` does not name."""

    # PermissionError (OSError) overrides __str__ and __reduce__; use those of PersistError.
    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class SignatureError(PersistError):
    """A container is not signed with a required key, or was altered after it was signed; or a key is none."""


class CollisionError(PersistError, FileExistsError):
    """Several files of a bulk run would be written under one name; nothing was written."""

    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class StorageError(PersistError, OSError):
    """The storage behind a URL refused or failed; ``status`` is the HTTP status, or None.

    What does not exist is a `FileNotFoundError`, as on this machine.
    """

    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class MissingExtraError(PersistError, ImportError):
    """A library of an optional extra is not installed."""

    __str__ = PersistError.__str__
    __reduce__ = PersistError.__reduce__


class DamageWarning(UserWarning):
    """A part of a file is damaged and was skipped; the intact parts were loaded."""


class ChoiceWarning(UserWarning):
    """A folder contains several files to choose from; the message names those opened and left out."""


class OpaqueWarning(UserWarning):
    """A class named by the file is not available; its instances remain complete, inert records."""


class FailedRecordWarning(UserWarning):
    """Records of declared classes could not be loaded, and stayed records, as ``on_error="record"`` asks.

    Attributes:
        failures: (natural path, dotted name of the class, error) of each; the path is "" for the root.
    """

    def __init__(self, text: str, failures: list[tuple[str, str, PersistError]]) -> None:
        super().__init__(text)
        self.failures = failures


class UnknownFieldWarning(UserWarning):
    """An old state has fields that the current class does not declare; they were dropped."""


class UnsavedAttributeWarning(UserWarning):
    """Instances have attributes that are not fields of their class; they were not saved."""


class LayoutWarning(UserWarning):
    """One version of a class has two layouts and the file was loaded anyway, as requested; or a capsule
    was stored that names a step between layouts and cannot do it.
    """


class PackWarning(UserWarning):
    """A pack could not be used; the tree is read without it."""
