"""The robust ZIP of ``misc.pkl_utils``: read from all three libraries, and written."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persist
from persist._wire.pickle.writer import PickleWriter
from persist.errors import DamagedFileError, FormatError
from persist.tree import Global, LazyArray, PersistentRef, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "theano"
MODEL = CORPUS / "theano-1.0.4-py36-robust-model" / "model.zip"


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array))
    return out.getvalue()


def pickled(value: Any, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    PickleWriter(out.write, protocol).dump(value)
    return out.getvalue()


def archive(
    tree: Any, members: list[tuple[str, bytes]], protocol: int = 2, method: int = 8
) -> bytes:
    """As ``pkl_utils.dump`` writes it: the members, then the pickle."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as file:
        warnings.simplefilter("ignore")  # of two members of one name
        for name, data in members:
            file.writestr(name, data)
        file.writestr("pkl", pickled(tree, protocol))
    return out.getvalue()


def reference(name: str) -> PersistentRef:
    return PersistentRef(f"ndarray.{name}")


# Reading.


@pytest.mark.parametrize("case", sorted(CORPUS.glob("*robust*")), ids=lambda path: path.name)
def test_the_reader_takes_it_and_tells_what_is_in_it(case: Path) -> None:
    (path,) = case.glob("*.zip")
    with persist.open(path) as file:
        assert file.format == "theano-zip"
        assert file.claim == "ZIP with a pickle in its member 'pkl'"
        assert not file.damage
        assert file.structure["members"][-1] == "pkl"
        ids = {name.partition(".")[2] for name in file.structure["persistent_ids"]}
        assert ids == set(file.structure["members"]) - {"pkl"}


def test_arrays_are_lazy_where_compressed_and_mapped_where_stored(tmp_path: Path) -> None:
    tree = [reference("W"), reference("W")]
    large = np.arange(10_000.0)
    with persist.open(archive(tree, [("W", npy(large))])) as file:
        assert isinstance(file.tree[0], LazyArray)
        assert file.tree[0] is file.tree[1], "one id is one array"
        assert np.array_equal(file.arrays["1"], large)
    path = tmp_path / "stored.zip"
    path.write_bytes(archive(tree, [("W", npy(large))], method=zipfile.ZIP_STORED))
    with persist.open(path) as file:
        assert not file.tree[0].flags.owndata
    assert file.tree[0][-1] == 9999.0


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("a.b", "a.b"),
        ("sub/x", "sub/x"),
        ("/abs", "abs"),
        ("x//y", "x/y"),
        ("./W", "W"),
        ("a/../W", "W"),
        ("sp ace", "sp ace"),
        ("é", "é"),
        ("W\0x", "W"),
    ],
)
def test_odd_names_find_what_zipfile_made_of_them(name: str, member: str) -> None:
    with persist.open(archive([reference(name)], [(member, npy([1, 2]))])) as file:
        assert file.arrays["0"].tolist() == [1, 2]


def test_names_that_python_2_wrote_as_bytes() -> None:
    data = archive([reference("été")], [("xxxxx", npy([1, 2]))])
    raw = "été".encode()
    assert len(raw) == 5
    with persist.open(data.replace(b"xxxxx", raw)) as file:
        assert file.arrays["0"].tolist() == [1, 2]


def test_of_two_members_of_one_name_the_later_stands_for_both() -> None:
    data = archive([reference("W"), reference("W")], [("W", npy([1])), ("W", npy([2]))])
    with persist.open(data) as file:
        assert [file.arrays["0"].tolist(), file.arrays["1"].tolist()] == [[2], [2]]


def test_a_variable_called_pkl_is_found_next_to_the_pickle() -> None:
    with persist.open(archive([reference("pkl")], [("pkl", npy([1, 2]))])) as file:
        assert file.arrays["0"].tolist() == [1, 2]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_ids_of_every_protocol(protocol: int) -> None:
    with persist.open(archive([reference("W")], [("W", npy([1, 2]))], protocol)) as file:
        assert file.arrays["0"].tolist() == [1, 2]


def test_arrays_of_the_gpu_come_with_their_context() -> None:
    data = archive(
        [PersistentRef("gpuarray.W"), PersistentRef("cuda_ndarray.b")],
        [("W", pickled("dev0") + npy(np.ones((2, 2), "f4"))), ("b", npy([1.0]))],
    )
    with persist.open(data) as file:
        assert file.arrays["0"].tolist() == [[1, 1], [1, 1]]
        assert file.arrays["1"].tolist() == [1]
        assert file.structure["contexts"] == {"W": "dev0"}


def test_a_missing_member_is_named_and_the_rest_is_readable() -> None:
    with persist.open(archive({"W": reference("W"), "n": 1}, [])) as file:
        assert isinstance(file.tree["W"], PersistentRef)
        assert "there is no member 'W'" in file.damage[0]
        assert file.scalars["n"] == 1


def test_a_broken_member_is_refused_or_reported() -> None:
    data = archive({"W": reference("W"), "b": reference("b")}, [("W", b"none"), ("b", npy([1]))])
    with pytest.raises(DamagedFileError, match="member 'W'"):
        persist.open(data)
    with persist.open(data, salvage=True) as file:
        assert list(file.arrays) == ["b"]
        assert "member 'W'" in file.damage[0]


def test_of_a_pickle_that_breaks_off_salvage_gives_what_was_built() -> None:
    tree = {"W": reference("W"), "b": reference("b")}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("W", npy([1, 2]))
        file.writestr("b", npy([3]))
        file.writestr("pkl", pickled([tree, "x" * 50])[:-40])
    with pytest.raises(DamagedFileError, match="goes on"):
        persist.open(out.getvalue())
    with persist.open(out.getvalue(), salvage=True) as opened:
        assert len(opened.damage) == 1
        assert isinstance(opened.tree, list)


def test_ids_in_the_pickle_of_an_object_array_mean_nothing() -> None:
    """Else a member that names itself would never end."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    member = head.getvalue() + pickled([reference("W")])
    with persist.open(archive(reference("W"), [("W", member)])) as file:
        assert isinstance(file.tree[0], PersistentRef)


def test_other_kinds_of_ids_stay_references() -> None:
    refs = [PersistentRef("weights.W"), PersistentRef("W"), PersistentRef(7), PersistentRef((1,))]
    with persist.open(archive(refs, [("W", npy([1]))])) as file:
        assert all(isinstance(item, PersistentRef) for item in file.tree)


def test_an_archive_with_another_pkl_is_not_its_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pkl=np.ones(2))
    assert persist.open(tmp_path / "x.npz").format == "npz"


@settings(max_examples=60)
@given(st.data())
def test_damage_is_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(MODEL.read_bytes())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        with persist.open(bytes(whole)) as file:
            for name in file.arrays:
                np.asarray(file.arrays[name])
    except FormatError:
        pass


# Writing.


def read_as_theano(path: Path) -> Any:
    """What ``pkl_utils.load`` of 1.0.5 does, in its own steps."""
    with zipfile.ZipFile(path) as file:

        class Unpickler(pickle.Unpickler):
            def persistent_load(self, pid: str) -> Any:
                kind, name = pid.split(".")
                assert kind == "ndarray"
                with file.open(name) as member:
                    return np.lib.format.read_array(member)

        assert file.namelist()[-1] == "pkl"
        return Unpickler(io.BytesIO(file.read("pkl"))).load()


VALUE: dict[str, Any] = {
    "W": np.arange(6.0).reshape(2, 3),
    "layers": [{"W": np.asfortranarray(np.ones((2, 3), ">f4")), "b.x": np.zeros(3, "f4")}],
    "zero": np.array(3),
    "empty": np.zeros((0, 2)),
    "when": np.array(["2001-01-01"], "M8[D]"),
    "é": np.arange(3),
    "pkl": np.arange(4),
    "../up": np.arange(5),
    "text": "text é",
    "none": None,
}


@pytest.mark.parametrize(
    "options",
    [{}, {"compress": "deflate"}, {"protocol": 0}, {"protocol": 4}],
    ids=["stored", "deflated", "protocol 0", "protocol 4"],
)
def test_what_is_written_is_read_by_theanos_steps_by_numpy_and_here(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "model.zip"
    persist.save(VALUE, path, format="theano-zip", **options)
    found = read_as_theano(path)
    assert found.keys() == VALUE.keys()
    again = persist.open(path)
    for name, value in VALUE.items():
        if isinstance(value, np.ndarray):
            for other in (found[name], again.arrays[name]):
                assert other.dtype == value.dtype
                assert np.array_equal(other, value)
    assert found["layers"][0]["W"].flags.f_contiguous
    assert found["layers"][0]["W"].dtype == np.dtype(">f4")
    assert found["text"] == again.scalars["text"] == "text é"
    with np.load(path) as arrays:
        assert np.array_equal(arrays["W"], VALUE["W"])
        assert np.array_equal(arrays["layers/0/W"], VALUE["layers"][0]["W"])
        assert np.array_equal(arrays["layers/0/b_x"], VALUE["layers"][0]["b.x"])
        assert np.array_equal(arrays["pkl_2"], VALUE["pkl"]), "'pkl' is the pickle"
    assert all(".." not in name for name in zipfile.ZipFile(path).namelist())


def test_one_array_at_two_places_is_one_member(tmp_path: Path) -> None:
    array = np.ones(3)
    persist.save([array, array], tmp_path / "m.zip", format="theano-zip")
    found = read_as_theano(tmp_path / "m.zip")
    assert found[0].tolist() == [1, 1, 1]
    assert zipfile.ZipFile(tmp_path / "m.zip").namelist() == ["0", "pkl"]
    tree = persist.open(tmp_path / "m.zip").tree
    assert tree[0] is tree[1]


def test_shared_variables_give_their_names_to_the_members(tmp_path: Path) -> None:
    tree = persist.open(CORPUS / "theano-0.8.2-py27-robust-doc-example" / "model.zip").tree
    persist.save(tree, tmp_path / "m.zip", format="theano-zip")
    with np.load(tmp_path / "m.zip") as arrays:
        assert arrays.files == ["foo", "foo_2", "2", "pkl"]
        assert [int(arrays[name]) for name in ("foo", "foo_2", "2")] == [0, 1, 2]


@pytest.mark.parametrize("case", sorted(CORPUS.glob("*robust*")), ids=lambda path: path.name)
def test_a_tree_goes_round(tmp_path: Path, case: Path) -> None:
    (path,) = case.glob("*.zip")
    with persist.open(path) as file:
        persist.save(file.tree, tmp_path / "again.zip", format="theano-zip")
        with persist.open(tmp_path / "again.zip") as again:
            assert set(again.arrays) == set(file.arrays)
            assert dict(again.scalars) == dict(file.scalars)
            for name in file.arrays:
                assert np.array_equal(again.arrays[name], file.arrays[name])


def test_what_numpy_refuses_to_load_stays_in_the_pickle(tmp_path: Path) -> None:
    value = [np.array([1, "a"], dtype=object), np.ma.masked_array([1, 2], [0, 1]), np.float32(2)]
    persist.save(value, tmp_path / "m.zip", format="theano-zip")
    found = read_as_theano(tmp_path / "m.zip")
    assert found[0].tolist() == [1, "a"]
    assert found[1].mask.tolist() == [False, True]
    assert zipfile.ZipFile(tmp_path / "m.zip").namelist() == ["pkl"]
    assert b"numpy._core" not in zipfile.ZipFile(tmp_path / "m.zip").read("pkl")


def test_options_that_it_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="theano-zip has no option compress='zstd'"):
        persist.save(VALUE, tmp_path / "m.zip", format="theano-zip", compress="zstd")
    assert not (tmp_path / "m.zip").exists()


def test_a_record_is_written_as_the_instance_it_was(tmp_path: Path) -> None:
    record = Record(Global("collections", "Counter"), dictitems=[], args=({"a": 1},), kind="newobj")
    persist.save({"c": record, "W": np.ones(2)}, tmp_path / "m.zip", format="theano-zip")
    names = persist.open(tmp_path / "m.zip").structure["globals"]
    assert "collections Counter" in names
