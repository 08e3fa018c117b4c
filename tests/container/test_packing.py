"""Compression by array: method and level by natural path."""

import io
import zipfile

import numpy as np
import pytest

import persist
from persist.errors import PersistError


def written(compress, tree=None):
    tree = tree or {"model": {"W": np.zeros(50_000), "b": np.zeros(50_000)}, "x": np.zeros(50_000)}
    file = io.BytesIO()
    persist.save(tree, file, compress=compress)
    members = {
        one.filename: (one.compress_type, one.compress_size)
        for one in zipfile.ZipFile(file).infolist()
    }
    found = persist.load(file.getvalue())
    assert found["model"]["W"].shape == (50_000,)
    assert np.load(file)["x"].shape == (50_000,)
    return members


def test_the_path_counts_before_patterns_and_what_nothing_names_is_stored():
    members = written({"model/*": "deflate", "model/b": None})
    assert members["model/W.npy"][0] == zipfile.ZIP_DEFLATED
    assert members["model/b.npy"][0] == zipfile.ZIP_STORED
    assert members["x.npy"][0] == zipfile.ZIP_STORED


def test_levels():
    numbers = np.random.default_rng(0).integers(0, 9, 50_000)
    tree = {"model": {"W": numbers}, "x": numbers.copy()}
    members = written({"x": ("deflate", 9), "*": ("deflate", 1)}, tree)
    assert members["x.npy"][1] < members["model/W.npy"][1]
    assert written(("deflate", 9), tree)["model/W.npy"][1] == members["x.npy"][1]


@pytest.mark.parametrize("compress", ["lzma", ("deflate", 10), {"x": ("zstd", "high")}, {"x": 3}])
def test_what_is_no_compression_is_refused(compress):
    with pytest.raises(PersistError, match=r"no compression|no level"):
        written(compress)


def test_an_array_keeps_its_method_when_the_file_is_made_compact(tmp_path):
    path = tmp_path / "a.persist"
    persist.save({"a": np.zeros(9_999), "b*": np.zeros(9_999)}, path, compress={"a": "deflate"})
    from persist import _container

    _container.compact(path)
    kinds = {one.filename: one.compress_type for one in zipfile.ZipFile(path).infolist()}
    assert kinds["a.npy"] == zipfile.ZIP_DEFLATED
    assert kinds["b*.npy"] == zipfile.ZIP_STORED
