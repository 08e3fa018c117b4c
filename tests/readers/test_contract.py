"""What every reader keeps, whichever it is: found by walking, and tried on every genuine case."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

import persist
from persist._api.detect import choose, readers
from persist._wire.base.source import open_source
from persist.errors import DamagedFileError, FormatError, UnknownFormatError
from persist.readers.base import Reader

CORPUS = Path(__file__).parents[1] / "corpus"
HEADINGS = ("Written by", "Evidence", "Traps", "Gives")
READERS = {reader.name: reader for reader in readers()}


@functools.cache
def cases() -> dict[str, Path]:
    """Case -> what a user would name to open it."""
    found = {}
    for spec in sorted(CORPUS.glob("*/*/expected.json")):
        file = json.loads(spec.read_text())["file"]
        found[f"{spec.parent.parent.name}/{spec.parent.name}"] = spec.parent / file
    return found


def folder_of(case: str) -> Path:
    return CORPUS / case


def parts_of(case: str) -> list[Path]:
    """The files of a case, without its answer sheet."""
    folder = folder_of(case)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if path != folder / "expected.json"]


@functools.cache
def owners() -> dict[str, str]:
    """Case -> the reader that takes it."""
    return {case: choose(open_source(path))[0].name for case, path in cases().items()}


def smallest(reader: str) -> str:
    own = [case for case, owner in owners().items() if owner == reader]
    if not own:
        pytest.fail(f"no genuine case of the reader {reader!r} lies under tests/corpus")
    # A file alone shows more than a folder: it is damaged in memory.
    return min(own, key=lambda case: (len(parts_of(case)) > 1, parts_of(case)[0].stat().st_size))


def module_of(reader: Reader) -> Any:
    return importlib.import_module(type(reader).__module__)


@pytest.mark.parametrize("name", READERS)
def test_its_module_states_where_the_facts_come_from(name: str) -> None:
    text = inspect.cleandoc(module_of(READERS[name]).__doc__ or "")
    found = re.findall(rf"^({'|'.join(HEADINGS)})\b", text, re.MULTILINE)
    assert tuple(found) == HEADINGS
    sections = re.split(rf"^(?:{'|'.join(HEADINGS)})\b", text, flags=re.MULTILINE)
    assert all(len(section.split()) >= 3 for section in sections)


@pytest.mark.parametrize("name", READERS)
def test_its_name_and_suffixes_are_well_formed(name: str) -> None:
    reader = READERS[name]
    assert re.fullmatch(r"[a-z][a-z0-9.-]*", reader.name)
    assert all(suffix.startswith(".") for suffix in reader.suffixes)
    assert set(reader.refines) <= READERS.keys() - {name}
    if reader.writes:
        method = "write_files" if reader.is_prefix else "write"
        assert getattr(type(reader), method) is not getattr(Reader, method)


@pytest.mark.parametrize("case", cases())
def test_a_case_is_claimed_by_one_reader_and_those_it_refines(case: str) -> None:
    reader, source, reason = choose(open_source(cases()[case]))
    assert reason
    asked = [other for other in readers() if other.is_last == reader.is_last]
    others = {other.name for other in asked if other.claims(source)} - {reader.name}
    assert others <= set(reader.refines)


@pytest.mark.parametrize("case", cases())
def test_a_claim_looks_at_the_content_not_at_the_suffix(case: str, tmp_path: Path) -> None:
    if len(parts_of(case)) > 1 or not cases()[case].is_file():
        pytest.skip("its parts find each other by name")
    data = cases()[case].read_bytes()
    other = tmp_path / "renamed.xyz"
    other.write_bytes(data)
    for source in (data, other, tmp_path / "renamed.xyz"):
        assert choose(open_source(source))[0].name == owners()[case]


@pytest.mark.parametrize("name", READERS)
def test_it_has_a_genuine_case(name: str) -> None:
    assert smallest(name) in cases()


@pytest.mark.parametrize("name", READERS)
def test_it_refuses_what_is_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for source in (b"", tmp_path / "empty", tmp_path / "folder"):
        assert READERS[name].claims(open_source(source)) is None
    with pytest.raises(UnknownFormatError, match="empty"):
        persist.open(b"")


HEADS = [b"", *sorted({path.read_bytes()[:64] for case in cases() for path in parts_of(case)})]


@settings(max_examples=examples(300))
@given(head=st.sampled_from(HEADS), keep=st.integers(0, 64), rest=st.binary(max_size=300))
@example(head=b"", keep=0, rest=b"PK\x03\x04")
@example(head=b"", keep=0, rest=b"PK\x05\x06" + b"\xff" * 18)
def test_a_claim_never_raises(head: bytes, keep: int, rest: bytes) -> None:
    for data in (head[:keep] + rest, rest + head[:keep]):
        source = open_source(data)
        for reader in readers():
            reason = reader.claims(source)
            assert reason is None or (isinstance(reason, str) and reason)


def reported(file: Any) -> dict[str, Any]:
    """All that a file holds, in a form that can be compared."""
    found: dict[str, Any] = {}
    for name in file.arrays:
        array = np.asarray(file.arrays[name])
        data = repr(array.tolist()) if array.dtype.hasobject else array.tobytes()
        digest = hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()
        found[f"array {name}"] = (str(array.dtype), array.shape, digest)
    for name in file.scalars:
        found[f"scalar {name}"] = repr(file.scalars[name])
    return found


@pytest.mark.parametrize("name", READERS)
def test_a_path_bytes_and_an_open_file_give_the_same(name: str) -> None:
    case = smallest(name)
    path = cases()[case]
    with persist.open(path) as file:
        expected = reported(file)
    assert expected
    with persist.open(str(path), mmap=False) as file:
        assert reported(file) == expected
    if len(parts_of(case)) > 1 or not path.is_file():
        return
    data = path.read_bytes()
    with persist.open(data) as file:
        assert reported(file) == expected
    with open(path, "rb") as opened, persist.open(opened) as file:
        assert reported(file) == expected
    with persist.open(io.BytesIO(data)) as file:
        assert reported(file) == expected


@pytest.mark.extra("fsspec")
@pytest.mark.parametrize("name", READERS)
def test_a_url_gives_the_same_and_lazy_arrays_say_when_it_is_closed(name: str) -> None:
    import fsspec

    case = smallest(name)
    path, folder = cases()[case], folder_of(case)
    with persist.open(path) as file:
        expected = reported(file)
    files = fsspec.filesystem("memory")
    root = f"/persist-contract-{name}"
    for part in parts_of(case):
        files.pipe_file(f"{root}/{part.relative_to(folder).as_posix()}", part.read_bytes())
    try:
        url = f"memory:/{root}/{path.relative_to(folder).as_posix()}".rstrip("./")
        with persist.open(url) as file:
            assert reported(file) == expected
        file = persist.open(url)
        arrays = [file.arrays[name] for name in file.arrays]
        file.close()
        for array in arrays:
            try:
                np.asarray(array)
            except DamagedFileError as error:
                assert "closed" in str(error)
    finally:
        files.rm(root, recursive=True)


@pytest.mark.parametrize("name", READERS)
def test_arrays_of_a_local_file_stay_valid_after_close(name: str) -> None:
    file = persist.open(cases()[smallest(name)])
    arrays = {name: file.arrays[name] for name in file.arrays}
    before = {name: np.asarray(array).tobytes() for name, array in arrays.items()}
    file.close()
    for key, array in arrays.items():
        assert np.asarray(array).tobytes() == before[key]


@pytest.mark.skipif(sys.platform != "linux", reason="limits and sizes of a process as on Linux")
@pytest.mark.parametrize("seconds", [1, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_damage_gives_an_error_of_ours_or_a_tree_and_nothing_else(name: str, seconds: int) -> None:
    case = smallest(name)
    path = cases()[case].relative_to(folder_of(case))
    script = Path(__file__).with_name("damage.py")
    run = subprocess.run(
        [sys.executable, str(script), str(folder_of(case)), str(path), str(seconds)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, (
        f"{case}: the process ended with {run.returncode}\n{run.stderr[-3000:]}"
    )
    result = json.loads(run.stdout)
    if "missing" in result:
        pytest.skip(result["missing"])
    assert result["faults"] == [], case
    assert result["tried"] > 4 * seconds  # of the processor, on however slow a machine
    assert result["refused"] > 0


def test_a_trailing_byte_and_a_renamed_neighbour_are_no_crash(tmp_path: Path) -> None:
    for case, path in cases().items():
        if path.is_file() and len(parts_of(case)) == 1:
            try:
                persist.open(path.read_bytes() + b"\n").close()
            except FormatError as error:
                assert error.what
        elif path.is_file():
            alone = tmp_path / case.replace("/", "-")
            alone.mkdir()
            shutil.copy(path, alone)
            try:
                reported(persist.open(alone / path.name))
            except (FormatError, FileNotFoundError) as error:
                assert str(error)
