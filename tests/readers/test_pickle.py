"""Pickle files: one or several objects, damaged or whole, and everything that genuine old ones hold."""

from __future__ import annotations

import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist.errors import (
    DamagedFileError,
    FormatError,
    LimitError,
    PersistError,
    UnknownFormatError,
)
from persist.tree import Global, PersistentRef, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"


def case(name: str) -> Path:
    folder = CORPUS / name
    return next(path for path in folder.iterdir() if path.name != "expected.json")


# What genuine files hold.


def test_an_old_style_class_of_python_2_is_a_record_with_its_arrays() -> None:
    file = persist.open(case("pickle-py27-p0-oldstyle-mlp"))
    assert file.writer == {"python": "2"}
    assert isinstance(file.tree, Record)
    assert file.tree.kind in ("inst", "obj")
    assert any(array.dtype.kind == "f" for array in file.arrays.values())


def test_three_pickles_in_one_file_are_a_list() -> None:
    file = persist.open(case("pickle-py27-multi-object"))
    assert file.structure["pickles"] == 3
    assert sorted(file.arrays) == ["0", "1"]
    assert file.scalars["2"] == 25


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
def test_four_generations_of_one_class_hold_the_same_arrays(generation: int) -> None:
    file = persist.open(case(f"pickle-evolution-gen{generation}"))
    first, second = sorted(file.arrays.values(), key=lambda array: -array.ndim)
    assert (first.ndim, second.ndim) == (2, 1)


def test_old_dates_and_numbers_are_exact() -> None:
    file = persist.open(case("pickle-py27-p2-stdlib-zoo"))
    kinds = {type(value).__name__ for value in file.scalars.values()}
    assert {"datetime", "date", "timedelta", "Decimal"} <= kinds


def test_cycles_are_kept_and_shared_arrays_are_one() -> None:
    file = persist.open(case("pickle-py27-p2-reduce-cycles"))
    assert str(file)
    assert file.arrays["shared/0"] is file.arrays["shared/1"]


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("pickle-*")))
def test_the_globals_that_a_file_names_are_listed(name: str) -> None:
    expected = json.loads((CORPUS / name / "expected.json").read_text())["structure"]
    if "globals" not in expected:
        pytest.skip("its answer sheet does not list them")
    assert set(expected["globals"]) <= set(persist.open(case(name)).structure["globals"])


# Files of several pickles.

values = st.one_of(st.integers(), st.text(), st.lists(st.integers()), st.none())


@given(st.lists(st.tuples(values, st.integers(0, 5)), min_size=2, max_size=6))
def test_pickles_one_after_another_of_any_protocol(items: list[tuple[Any, int]]) -> None:
    data = b"".join(pickle.dumps(value, protocol) for value, protocol in items)
    file = persist.open(data)
    assert file.tree == [value for value, _ in items]
    assert not file.damage


def test_each_pickle_has_a_memo_of_its_own() -> None:
    shared = ["x"]
    data = b"".join(pickle.dumps([shared, shared], protocol) for protocol in (2, 4, 0))
    for first, second in persist.open(data).tree:
        assert first is second == ["x"]


@given(items=st.lists(values, min_size=2, max_size=5), data=st.data(), protocol=st.integers(2, 5))
def test_a_log_that_breaks_off_gives_its_whole_pickles(
    items: list[Any], data: st.DataObject, protocol: int
) -> None:
    parts = [pickle.dumps(value, protocol) for value in items]
    cut = data.draw(st.integers(1, len(parts[-1]) - 1))
    file = persist.open(b"".join(parts[:-1]) + parts[-1][:cut])
    whole = items[:-1]
    assert file.tree == (whole[0] if len(whole) == 1 else whole)
    assert len(file.damage) == 1
    assert "offset" in file.damage[0] or "begins at" in file.damage[0]


def test_a_truncated_pickle_says_how_much_there_is_and_salvage_gives_it() -> None:
    data = pickle.dumps({"a": 1, "b": list(range(100))}, 2)[:-20]
    with pytest.raises(DamagedFileError, match=f"ends after {len(data)} bytes"):
        persist.open(data)
    file = persist.open(data, salvage=True)
    assert file.damage
    assert isinstance(file.tree, dict | list)


# Damage with its cure.


def test_line_ends_of_a_transfer_in_text_mode_are_repaired_and_reported() -> None:
    data = case("pickle-py27-p0-oldstyle-mlp").read_bytes()
    file = persist.open(data.replace(b"\n", b"\r\n"))
    plain = persist.open(data)
    assert "CR LF" in file.damage[0]
    assert sorted(file.arrays) == sorted(plain.arrays)
    for name in plain.arrays:
        assert np.array_equal(file.arrays[name], plain.arrays[name])


@pytest.mark.parametrize(
    "tail", [b"\n", b"\0", b"\r\n", b"\0" * 10, b"not a pickle, but some text"]
)
def test_what_trails_the_last_pickle_is_reported(tail: bytes) -> None:
    file = persist.open(pickle.dumps({"a": 1}, 2) + tail)
    assert file.tree == {"a": 1}
    assert "last pickle" in file.damage[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1234\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<html><head></head></html>", "HTML page"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"", "empty"),
        (b"\0" * 5000, "zero bytes"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG picture"),
        (b"SQLite format 3\0" + b"\0" * 50, "SQLite"),
        (b"5 4\na 5\xf9\xb7;!\x10J=", "word2vec"),
        (b"5 4\nword 0.5 0.25 1 2\n", "word2vec"),
        (b"\x82\xa6params\x81\xa5Dense\xff", "msgpack, a map with the key 'params'"),
        (b"\x81\xbfabc\xff", "begins with 81 bf"),
        (b"tree\nversion=v4\nnum_class=1\n", "LightGBM"),
        (b"CBM1\x10!\0\0", "CatBoost"),
        (b'{"learner":{"attributes":{}}}', "XGBoost"),
        (b"\x83\xaf\x70\xd1\x0d\x88\x4a\x3f" + bytes(8), "saved_model.cpb"),
        (b"hello, this is a note to myself", "plain text"),
        (b"\xde\xad\xbe\xef" * 8, "begins with de ad be ef"),
    ],
)
def test_what_is_no_experiment_file_is_refused_with_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(UnknownFormatError, match=words):
        persist.open(data)


def test_a_file_that_is_not_there_is_as_python_says_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pkl"):
        persist.open(tmp_path / "none.pkl")


# Claims of protocols without a magic.


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize(
    "value", [5, "text", None, [1, 2], {"a": (1,)}, 1.5, True, b"bytes", {1, 2}, 10**50]
)
def test_a_small_pickle_without_a_magic_is_claimed(value: Any, protocol: int) -> None:
    file = persist.open(pickle.dumps(value, protocol))
    assert file.tree == value
    assert "protocol 0 or 1" in file.claim


@pytest.mark.parametrize("text", [b"I am a note.\n", b"(a, b)", b"[1, 2]", b"N", b"def f(): pass"])
def test_a_text_is_no_pickle(text: bytes) -> None:
    with pytest.raises(FormatError):
        persist.open(text)


# Neighbours, by persistent id.


def test_a_persistent_id_is_the_file_of_that_name_in_the_same_folder(tmp_path: Path) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj[1] if isinstance(obj, tuple) else None

    out = io.BytesIO()
    Pickler(out, 2).dump({"W": ("file", "w.pkl"), "up": ("file", "../w.pkl"), "no": ("file", 5)})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "net.pkl").write_bytes(out.getvalue())
    for place in (folder, tmp_path):
        (place / "w.pkl").write_bytes(pickle.dumps(np.arange(3), 2))
    file = persist.open(folder / "net.pkl")
    assert file.arrays["W"].tolist() == [0, 1, 2]
    assert isinstance(file.tree["up"], PersistentRef)
    assert isinstance(file.tree["no"], PersistentRef)
    assert list(file.scalars) == []


def test_files_that_name_each_other_end(tmp_path: Path) -> None:
    for name, other in (("a.pkl", "b.pkl"), ("b.pkl", "a.pkl")):
        (tmp_path / name).write_bytes(b"\x80\x02X\x05\0\0\0" + other.encode() + b"Q.")
    with pytest.raises(LimitError, match="nested"):
        persist.open(tmp_path / "a.pkl")


def test_files_that_name_many_neighbours_again_and_again_end(tmp_path: Path) -> None:
    for level in range(14):
        pids = b"".join(
            b"X\x04\0\0\0" + f"{level + 1:03d}{kind}".encode() + b"Q" for kind in "abcdef"
        )
        for kind in "abcdef":
            (tmp_path / f"{level:03d}{kind}").write_bytes(b"\x80\x02]" + b"(" + pids + b"e.")
    with pytest.raises(LimitError, match="total"):
        persist.open(tmp_path / "000a")


# What the writer is reported to have been.


@pytest.mark.parametrize(
    ("data", "writer"),
    [
        (b"S'a'\n.", {"python": "2"}),
        (b"\x80\x02U\x01a.", {"python": "2"}),
        (pickle.dumps(b"a", 3), {"python": "3"}),
        (pickle.dumps("a", 4), {"python": "3.4 or later"}),
        (pickle.dumps("a", 5), {"python": "3.8 or later"}),
        (pickle.dumps("a", 2), {}),
    ],
)
def test_the_writer_is_what_the_opcodes_prove(data: bytes, writer: dict[str, str]) -> None:
    assert persist.open(data).writer == writer


@pytest.mark.parametrize("policy", ["text", "bytes", "cp1252", lambda data: len(data)])
def test_the_str_of_python_2_is_as_asked(policy: Any) -> None:
    tree = persist.open(b"S'\\xe9\\x80'\n.", py2_str=policy).tree
    assert tree in ("\xe9\x80", b"\xe9\x80", "\xe9\u20ac", 2)
    with pytest.raises(PersistError, match="is not a valid option"):
        persist.open(b"S'a'\n.", py2_str="no such encoding")


def test_nothing_of_a_gadget_is_imported() -> None:
    data = b"cthis_module_does_not_exist.at_all\nf\n(Vx\ntR."
    file = persist.open(data)
    assert isinstance(file.tree, Record)
    assert file.tree.maker == Global("this_module_does_not_exist.at_all", "f")
    assert not [name for name in sys.modules if name.startswith("this_module_does_not")]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_each_pickle_of_a_file_counts_its_memo_anew(protocol: int) -> None:
    """MEMOIZE says no number: a memo that went on would fetch another value, and say nothing."""
    parts = [["first", "a", "a"], {"second": ["b", "b"]}, [("c",), ("c",)]]
    shared = ["x", "y"]
    parts.append([shared, shared])
    data = b"".join(pickle.dumps(part, protocol) for part in parts)
    tree = persist.open(data).tree
    assert tree == parts
    assert tree[3][0] is tree[3][1]


def test_a_database_is_no_string_of_protocol_0() -> None:
    with pytest.raises(UnknownFormatError, match="SQLite database.*sqlite3"):
        persist.open(b"SQLite format 3\0" + bytes(8176))
