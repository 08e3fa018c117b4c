"""Errors: place first, then what is wrong, then the cure; and they cross a process border."""

from __future__ import annotations

import pickle

import pytest

from persist import errors
from persist.errors import DamagedFileError, PersistError

KINDS = [
    getattr(errors, name)
    for name in errors.__all__
    if issubclass(getattr(errors, name), PersistError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_reads_place_fault_cure(kind: type[PersistError]) -> None:
    error = kind("it is bad.", file="a.pkl", where="offset 5", remedy="Mend it.", offset=5)
    assert str(error) == "a.pkl, offset 5: it is bad. Mend it."
    assert error.facts == {"offset": 5}
    assert str(kind("it is bad.")) == "it is bad."
    assert str(kind("it is bad.", where="here")) == "here: it is bad."


@pytest.mark.parametrize("kind", KINDS)
def test_it_survives_pickle_in_every_protocol(kind: type[PersistError]) -> None:
    error = kind("it is bad.", file="a.pkl", remedy="Mend it.", offset=5)
    for protocol in range(6):
        other = pickle.loads(pickle.dumps(error, protocol))
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.facts == {"offset": 5}


def test_a_place_is_filled_in_only_where_it_is_unknown() -> None:
    error = DamagedFileError("it is bad.", where="offset 5")
    assert error.at(file="a.pkl", where="elsewhere") is error
    assert str(error) == "a.pkl, offset 5: it is bad."


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("FormatError", ValueError),
        ("DamagedFileError", errors.FormatError),
        ("LimitError", errors.FormatError),
        ("UnknownSchemaError", LookupError),
        ("MissingMigrationError", LookupError),
        ("DuplicateMigrationError", ValueError),
        ("UntrustedError", PermissionError),
        ("MissingExtraError", ImportError),
    ],
)
def test_the_builtin_that_one_would_catch_catches_it(name: str, base: type) -> None:
    assert issubclass(getattr(errors, name), base)
    assert issubclass(getattr(errors, name), PersistError)
