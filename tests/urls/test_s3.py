"""S3, as moto's server speaks it: read by ranges, uploaded whole or not at all."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import PersistError, StorageError

pytestmark = pytest.mark.interop

S3 = tuple[dict[str, Any], Any]
LAYERS = {f"layer{i:02}/w": np.full((256, 1024), i, "<f4") for i in range(12)}


def _files(options: dict[str, Any]) -> Any:
    import fsspec

    return fsspec.filesystem("s3", **options)


@pytest.mark.parametrize(
    "format", ["persist", "torch", "safetensors", "npz", "pickle", "hdf5", "keras-h5", "theano-zip"]
)
def test_there_and_back(s3: S3, format: str) -> None:
    options, _ = s3
    url = f"s3://bucket/all/of-{format}"
    value = LAYERS if format != "theano-zip" else {"w": LAYERS["layer03/w"]}
    persist.save(value, url, format=format, storage_options=options)
    with persist.open(url, storage_options=options) as file:
        assert any((np.asarray(array) == 3).all() for array in file.arrays.values())


@pytest.mark.parametrize("format", ["persist", "torch", "safetensors"])
def test_one_tensor_takes_its_bytes_and_a_few_requests(s3: S3, format: str) -> None:
    options, count = s3
    url = f"s3://bucket/one/of-{format}"
    persist.save(LAYERS, url, format=format, storage_options=options)
    count.clear()
    with persist.open(url, storage_options=options) as file:
        array = np.asarray(file.arrays[next(name for name in file.arrays if "03" in name)])
    assert (array == 3).all()
    assert len(count.requests) <= 5, count.requests
    assert count.sent <= array.nbytes + (1 << 19)


def test_an_upload_in_parts_that_fails_leaves_nothing(s3: S3) -> None:
    options, count = s3
    files = _files(options)
    url = "s3://bucket/parts/a.persist"
    big = np.zeros(60 << 20, "u1")  # more than one part

    from persist._wire.base.uploads import uploading

    with pytest.raises(KeyboardInterrupt), uploading(url, options) as file:
        file.write(big.data)
        raise KeyboardInterrupt
    assert any("POST" in line and "uploads" in line for line in count.requests)
    assert any("DELETE" in line and "uploadId" in line for line in count.requests)
    files.invalidate_cache()
    assert not files.exists("bucket/parts/a.persist")
    assert not files.list_multipart_uploads("bucket")

    persist.save({"a": 1}, url, storage_options=options)
    with pytest.raises(ZeroDivisionError), uploading(url, options) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert persist.load(url, storage_options=options) == {"a": 1}
    persist.save({"a": big}, url, storage_options=options)
    assert np.asarray(persist.load(url, storage_options=options)["a"]).nbytes == big.nbytes


def test_what_is_not_there(s3: S3) -> None:
    for url in ("s3://bucket/none.persist", "s3://no-such-bucket/a.persist"):
        with pytest.raises(FileNotFoundError) as caught:
            persist.load(url, storage_options=s3[0])
        assert caught.value.filename == url


def test_no_credentials_are_shown(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {
        **s3[0],
        "endpoint_url": "http://127.0.0.1:9/",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(StorageError) as caught:
        persist.load("s3://bucket/a.persist", storage_options=options)
    text = "".join(traceback.format_exception(caught.value))
    assert "hidden" not in text.lower()


def test_options_from_the_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    options, _ = s3
    persist.save({"a": 2}, "s3://bucket/environment.persist", storage_options=options)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", str(options["endpoint_url"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(options["key"]))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(options["secret"]))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert persist.load("s3://bucket/environment.persist") == {"a": 2}


def test_folders_and_files_of_several(s3: S3) -> None:
    options, _ = s3
    persist.save(
        {"w": np.arange(4.0)},
        "s3://bucket/tf/model.ckpt",
        format="tensorflow",
        storage_options=options,
    )
    names = _files(options).ls("bucket/tf", refresh=True)
    assert sorted(name.rpartition("/")[2] for name in names) == [
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
    ]
    for url in ("s3://bucket/tf/model.ckpt", "s3://bucket/tf/model.ckpt.index"):
        with persist.open(url, storage_options=options) as file:
            assert file.arrays["w"].tolist() == [0, 1, 2, 3]


def test_a_file_that_is_replaced_while_it_is_read(s3: S3) -> None:
    options, _ = s3
    url = "s3://bucket/replaced.persist"
    persist.save({"a": np.zeros(1 << 20)}, url, storage_options=options)
    with persist.open(url, storage_options=options) as file:
        array = file.arrays["a"]
        persist.save({"a": np.ones(1 << 20)}, url, storage_options=options)
        with pytest.raises(StorageError, match="replaced while it was being read"):
            np.asarray(array)
    assert (np.asarray(persist.load(url, storage_options=options)["a"]) == 1).all()


def test_a_run(s3: S3) -> None:
    options, _ = s3
    with persist.Checkpoints(
        "s3://bucket/run", keep_last=2, keep_best=("loss", "min"), every=4, storage_options=options
    ) as runs:
        for step in range(1, 8):
            runs.save(step, {"w": np.full(3, step)}, metrics={"loss": abs(step - 2)})
        assert runs.steps() == [2, 4, 6, 7]
        assert (runs.latest(), runs.best(), runs.metrics(4)) == (7, 2, {"loss": 2})
        assert runs.restore(2)["w"].tolist() == [2, 2, 2]
        second = persist.Checkpoints("s3://bucket/run", storage_options=options)
        assert second.steps() == [2, 4, 6, 7]
        with pytest.raises(PersistError, match="another writer has locked"):
            second.save(8, {})
    with persist.Checkpoints("s3://bucket/run", asynchronous=True, storage_options=options) as runs:
        runs.save(8, {"w": np.zeros(3)})
    assert persist.Checkpoints("s3://bucket/run", storage_options=options).latest() == 8


@pytest.mark.slow
def test_a_run_of_several_processes(s3: S3) -> None:
    """Processes share nothing but the bucket; one of them is killed before its third step."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))
    from test_ranks import run

    options, _ = s3
    url = "s3://bucket/ranks"
    more = {"storage_options": options, "keep_last": 2}
    found = run(url, 2, [1, 2, 3], timeout=3, killed={1: 3}, **more)
    assert "step 3 was not saved: no part came from rank 1" in found[0]
    assert persist.Checkpoints(url, storage_options=options).steps() == [1, 2]
    again = run(url, 2, [3, 4], name="second", timeout=20, **more)
    assert again[0] == {3: (0, "second"), 4: (0, "second")}
    with pytest.raises(PersistError, match="by 2 processes, and this run has 1"):
        persist.Checkpoints(url, storage_options=options).restore()
