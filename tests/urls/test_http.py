"""Files of a web server: exact ranges, few requests, and what goes wrong on the way said in words."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, PersistError, StorageError

Web = tuple[str, Any, Path]

KIB = 1 << 10
LAYERS = {f"layer{i:02}/w": np.full((256, 1024), i, "<f4") for i in range(12)}
SUFFIXES = {"persist": ".persist", "torch": ".pt", "safetensors": ".safetensors", "npy": ".npy"}


@pytest.fixture
def files(web: Web) -> Path:
    for format, suffix in {**SUFFIXES, "npz": ".npz", "hdf5": ".h5", "pickle": ".pkl"}.items():
        path = web[2] / f"a{suffix}"
        if not path.exists():
            value = LAYERS["layer03/w"] if format == "npy" else LAYERS
            persist.save(value, path, format=format)
    return web[2]


@pytest.mark.parametrize("format", SUFFIXES)
def test_one_tensor_takes_its_bytes_and_a_few_requests(web: Web, files: Path, format: str) -> None:
    url, count, _ = web
    count.clear()
    with persist.open(f"{url}/files/a{SUFFIXES[format]}") as file:
        name = next((name for name in file.arrays if "03" in name), "")
        array = np.asarray(file.arrays[name])
    assert (array == 3).all()
    assert len(count.requests) <= 5, count.requests
    assert count.sent <= array.nbytes + 512 * KIB
    assert all("bytes=" in line for line in count.requests)


@pytest.mark.parametrize("suffix", [*SUFFIXES.values(), ".npz", ".h5", ".pkl"])
def test_a_url_gives_what_the_file_gives(web: Web, files: Path, suffix: str) -> None:
    with (
        persist.open(files / f"a{suffix}") as here,
        persist.open(f"{web[0]}/files/a{suffix}") as there,
    ):
        assert list(here.arrays) == list(there.arrays)
        for name, array in here.arrays.items():
            assert there.arrays[name].dtype == array.dtype
            assert (np.asarray(there.arrays[name]) == array).all()


def test_opening_a_container_reads_no_array_and_dtypes_are_read_when_asked(
    web: Web, files: Path
) -> None:
    url, count, _ = web
    count.clear()
    with persist.open(f"{url}/files/a.persist") as file:
        arrays = [file.arrays[name] for name in file.arrays]
        assert len(arrays) == 12
        opened = len(count.requests)
        assert opened <= 3
        assert arrays[5].shape == (256, 1024)
        assert arrays[5].dtype == "<f4"
        assert len(count.requests) == opened + 1
        assert arrays[7][3:4].tolist() == [[7.0] * 1024]
        assert repr(arrays[6]) == "<lazy array float32 (256, 1024)>"
        assert np.shape(arrays[8]) == (256, 1024)
        assert len(arrays[9]) == 256
        assert (arrays[10] + 1 == 11).all()


def test_loaded_arrays_can_be_written_into(web: Web, files: Path) -> None:
    for suffix in (".persist", ".pt", ".npy"):
        loaded = persist.load(f"{web[0]}/files/a{suffix}")
        array = (
            loaded if isinstance(loaded, np.ndarray) else np.asarray(next(iter(loaded.values())))
        )
        array[0, 0] = 9
        assert array[0, 0] == 9


@pytest.mark.parametrize("how", ["moved", "gzip", "plain", "short", "flaky"])
def test_redirects_encodings_and_servers_without_ranges(web: Web, files: Path, how: str) -> None:
    loaded = persist.load(f"{web[0]}/{how}/a.persist")
    assert all((np.asarray(loaded[name]) == LAYERS[name]).all() for name in LAYERS)


def test_a_redirect_is_followed_once(web: Web, files: Path) -> None:
    web[1].clear()
    persist.load(f"{web[0]}/moved/a.persist")
    assert sum("/moved/" in line for line in web[1].requests) == 1


def test_a_server_without_ranges_and_a_large_file(web: Web, files: Path) -> None:
    url = f"{web[0]}/plain/a.persist"
    with pytest.raises(StorageError, match="no ranged reads for this file of 12,") as caught:
        persist.open(url, limits={"total": 1 << 20})
    # What it advises works.
    advised = caught.value.remedy.partition("'")[2].partition("'")[0]
    assert advised == f"simplecache::{url}"
    with persist.open(advised) as file:
        assert (file.arrays["layer03/w"] == 3).all()


def test_what_is_not_there(web: Web) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        persist.load(f"{web[0]}/files/none.persist?token=hidden-pass")
    assert caught.value.filename == f"{web[0]}/files/none.persist"


@pytest.mark.parametrize(("how", "status"), [("refused", 403), ("secret", 401)])
def test_access_that_is_refused(web: Web, files: Path, how: str, status: int) -> None:
    url = f"{web[0]}/{how}/a.persist?sig=hidden-pass".replace("://", "://you:hidden-pass@")
    with pytest.raises(StorageError, match="refused access") as caught:
        persist.load(url)
    assert caught.value.status == status
    assert caught.value.file == f"{web[0]}/{how}/a.persist"
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_user_and_password_of_a_url_are_used_and_not_shown(web: Web, files: Path) -> None:
    url = f"{web[0]}/secret/a.persist".replace("://", "://me:hidden-pass@")
    with persist.open(url) as file:
        assert (file.arrays["layer03/w"] == 3).all()
        assert "hidden" not in repr(file) + file.name


def test_headers_are_sent(web: Web, files: Path) -> None:
    options = {"headers": {"Authorization": "Basic bWU6aGlkZGVuLXBhc3M="}}
    loaded = persist.load(f"{web[0]}/secret/a.persist", storage_options=options)
    assert (np.asarray(loaded["layer03/w"]) == 3).all()


def test_a_body_that_is_cut_off(web: Web, files: Path) -> None:
    with pytest.raises(StorageError, match="tried 3 times") as caught:
        persist.load(f"{web[0]}/cut/a.persist")
    assert caught.value.file == f"{web[0]}/cut/a.persist"


def test_a_file_that_is_truncated(web: Web, files: Path) -> None:
    (files / "half.persist").write_bytes((files / "a.persist").read_bytes()[:500_000])
    with pytest.raises(DamagedFileError) as caught:
        persist.load(f"{web[0]}/files/half.persist")
    assert caught.value.file == f"{web[0]}/files/half.persist"


def test_a_file_that_is_replaced_while_it_is_read(web: Web, files: Path) -> None:
    with pytest.raises(StorageError, match="replaced while it was being read"):
        persist.load(f"{web[0]}/changing/a.persist")


def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(StorageError, match="could not be used"):
        persist.load("http://127.0.0.1:9/a.persist")


@pytest.mark.parametrize("format", ["persist", "torch", "npz", "safetensors", "pickle", "hdf5"])
def test_saving_by_put(web: Web, format: str) -> None:
    url, _, folder = web
    persist.save(LAYERS, f"{url}/put/new", format=format)
    with persist.open(folder / "new") as file:
        assert (file.arrays["layer03/w"] == 3).all()


def test_a_server_that_takes_no_files(web: Web) -> None:
    with pytest.raises(StorageError, match="takes no files"):
        persist.save({"a": 1}, f"{web[0]}/files/new.persist")
    with pytest.raises(StorageError, match="refused access"):
        persist.save({"a": 1}, f"{web[0]}/other/new.persist")


def test_neighbours_by_name(web: Web) -> None:
    """A checkpoint of several files: its neighbours are found though nothing can be listed."""
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    import json

    (web[2] / "m.safetensors.index.json").write_text(json.dumps(index))
    for number, name in ((1, "a"), (2, "b")):
        one = {name: np.full(3, number, "<f4")}
        persist.save(one, web[2] / f"m-{number}.safetensors", format="safetensors")
    loaded = persist.load(f"{web[0]}/files/m.safetensors.index.json?sig=x")
    assert {name: np.asarray(value).tolist() for name, value in loaded.items()} == {
        "a": [1.0] * 3,
        "b": [2.0] * 3,
    }


def test_a_path_made_of_a_url_is_refused(tmp_path: Path) -> None:
    for call in (persist.load, lambda path: persist.save({}, path)):
        with pytest.raises(PersistError, match="lost one of its slashes") as caught:
            call(Path("s3://bucket/me/a.persist"))
        assert "'s3://bucket/me/a.persist'" in caught.value.remedy


def test_a_file_url_is_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "with a space.persist"
    persist.save({"a": 1}, path.as_uri())
    assert persist.load(path.as_uri()) == persist.load(f"file://{path}") == {"a": 1}
    with persist.open(path.as_uri()) as file:
        assert file.name == str(path)


def test_a_kind_of_url_that_nobody_knows() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(StorageError, match="no such kind of URL"):
        persist.load("nothing://here/a.persist")
