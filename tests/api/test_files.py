"""The spine over the whole corpus: every genuine old file holds what its own release found in it."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._api.detect import readers
from persist.errors import AmbiguousFormatError, UnknownFormatError
from persist.readers.base import Content, Options, Reader

CORPUS = Path(__file__).parents[1] / "corpus"
CASES = sorted(path.parent for path in CORPUS.glob("*/*/expected.json"))
PLAIN = {"pickle", "numpy", "safetensors"}  # families that need no pack


def case_id(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def plain(value: Any) -> Any:
    """A value in the form of the answer sheets."""
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    for kind, form in FORMS:
        if isinstance(value, kind):
            return form(value)
    return {"text": str(value)}


# Kind -> its form; the first that fits.
FORMS: tuple[tuple[Any, Any], ...] = (
    (float, lambda v: v if math.isfinite(v) else {"float": repr(v)}),
    ((bytes, bytearray), lambda v: {"bytes_hex": bytes(v).hex()}),
    (complex, lambda v: {"complex": [v.real, v.imag]}),
    (datetime.datetime, lambda v: {"datetime": v.isoformat()}),
    (datetime.date, lambda v: {"date": v.isoformat()}),
    (datetime.time, lambda v: {"time": v.isoformat()}),
    (datetime.timedelta, lambda v: {"timedelta": [v.days, v.seconds, v.microseconds]}),
    (decimal.Decimal, lambda v: {"decimal": str(v)}),
    (range, lambda v: {"range": [v.start, v.stop, v.step]}),
    (slice, lambda v: {"slice": [v.start, v.stop, v.step]}),
    (np.dtype, lambda v: {"dtype": v.str}),
    ((set, frozenset), lambda v: sorted((plain(i) for i in v), key=json.dumps)),
    ((list, tuple), lambda v: [plain(i) for i in v]),
    (dict, lambda v: {str(k): plain(i) for k, i in v.items()}),
)


def agrees(want: Any, got: Any) -> bool:
    """Whether a value is what the old release found, in whichever of its forms that was reported."""
    if isinstance(want, dict) and len(want) == 1:
        ((tag, inner),) = want.items()
        if tag in ("global", "enum"):
            return str(inner).replace(" ", ".").rpartition(".")[2] in json.dumps(got)
        if tag == "set":
            return agrees(inner, got)
        if tag == "bytes_hex" and isinstance(got, str):
            return got.encode("utf-8", "surrogateescape").hex() == inner
    if isinstance(want, dict) and isinstance(got, dict):
        return want == got or (
            set(want) == {"real", "imag"} and got.get("complex") == [want["real"], want["imag"]]
        )
    if isinstance(want, str) and isinstance(got, dict):
        return got.get("text", "").endswith(want) or got.get("bytes_hex") == want.encode().hex()
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return False
        in_order = all(agrees(one, other) for one, other in zip(want, got, strict=True))
        return in_order or sorted(map(json.dumps, want)) == sorted(map(json.dumps, got))
    if isinstance(want, float) and type(got) is int:
        return want == got
    return type(want) is type(got) and want == got


def key_in(names: Any, path: str) -> str | None:
    """The name of a path; steps that were bytes may read as latin-1 or as UTF-8."""
    if path in names:
        return path
    try:
        utf8 = path.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    return utf8 if utf8 in names else None


def little(array: Any) -> Any:
    if array.dtype.byteorder == ">" or array.dtype.names:
        return array.astype(array.dtype.newbyteorder("<"))
    return array


def check_array(want: dict[str, Any], got: Any) -> None:
    array = np.asarray(got)
    assert list(array.shape) == list(want["shape"])
    if "values" in want and want["dtype"] in ("string", "object"):
        values = [plain(item) for item in array.reshape(-1).tolist()]
        assert all(agrees(one, two) for one, two in zip(want["values"], values, strict=True))
        return
    assert not array.dtype.hasobject
    assert little(array).dtype.itemsize == array.dtype.itemsize
    if "sha256" in want:
        assert hashlib.sha256(little(array).tobytes()).hexdigest() == want["sha256"]


def marks_of(case: Path) -> list[pytest.MarkDecorator]:
    """What a case needs: the packs, and ml_dtypes where the sheet has elements of its types."""
    marks = [] if case.parent.name in PLAIN else [pytest.mark.packs]
    if re.search("bfloat16|float8", (case / "expected.json").read_text()):
        marks.append(pytest.mark.extra("ml_dtypes"))
    return marks


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=marks_of(case)) for case in CASES],
    ids=case_id,
)
def test_a_genuine_file_holds_what_its_own_release_found_in_it(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    with persist.open(case / expected["file"]) as file:
        for name, want in expected.get("arrays", {}).items():
            key = key_in(file.arrays, name)
            assert key is not None, f"array {name!r} is missing"
            check_array(want, file.arrays[key])
        for name, want in expected.get("scalars", {}).items():
            key = key_in(file.scalars, name)
            if key is None:
                assert want in ([], {}), f"value {name!r} is missing"
                continue
            got = plain(file.scalars[key])
            assert agrees(want, got), f"value {name!r}"
        assert str(file)


# Choosing a reader.


class Greedy(Reader):
    """Claims everything that begins with XYZ."""

    name = "greedy"

    def claims(self, source: Any) -> str | None:
        return "begins with XYZ" if source.kind == "file" and source.head(3) == b"XYZ" else None

    def read(self, source: Any, options: Options) -> Content:
        return Content({"size": source.size}, format="greedy 2")


class Other(Greedy):
    name = "other"


class Finer(Greedy):
    name = "finer"
    refines = ("greedy", "other")


def with_readers(monkeypatch: pytest.MonkeyPatch, *kinds: type[Reader]) -> None:
    known = (*readers(), *(kind() for kind in kinds))
    monkeypatch.setattr("persist._api.detect.readers", lambda: known)


def test_two_unrelated_claims_are_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    with_readers(monkeypatch, Greedy, Other)
    with pytest.raises(AmbiguousFormatError, match=r"greedy: begins with XYZ; other:") as caught:
        persist.open(b"XYZ123")
    assert caught.value.facts["claims"] == ["greedy", "other"]


def test_a_finer_claim_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with_readers(monkeypatch, Greedy, Other, Finer)
    with persist.open(b"XYZ123") as file:
        assert file.tree == {"size": 6}
        assert file.format == "greedy 2"
        assert file.claim == "begins with XYZ"


def test_compression_is_taken_off_until_somebody_claims_what_is_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import gzip
    import lzma

    with_readers(monkeypatch, Greedy)
    with persist.open(lzma.compress(gzip.compress(b"XYZ1"))) as file:
        assert file.tree == {"size": 4}
        assert "gzip" in file.claim
        assert file.claim.endswith("begins with XYZ")
    with pytest.raises(UnknownFormatError, match="inside its"):
        persist.open(gzip.compress(b"\xde\xad\xbe\xef"))


def test_readers_are_found_by_walking() -> None:
    names = [reader.name for reader in readers()]
    assert len(names) == len(set(names))
    assert {"pickle", "npy", "npz", "persist"} <= set(names)


def test_a_folder_that_is_nobodys_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="Name the file in it"):
        persist.open(tmp_path)
    (tmp_path / "model.ckpt-5.note").write_text("x")
    with pytest.raises(FileNotFoundError):
        persist.open(tmp_path / "model.ckpt-5")


def test_opening_is_lazy_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(5))
    with persist.open(path) as file:
        assert file.path == str(path)
    assert file.arrays[""].tolist() == [0, 1, 2, 3, 4]
    assert "0.persist" not in file.scalars
