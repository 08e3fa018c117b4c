"""A reader in a package of its own: `examples/idx_reader`, which the page "Write a reader" shows."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Options, open_source

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "examples" / "idx_reader"
PAGE = TOP / "docs" / "howto" / "reader.md"
IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not here")


def idx(array: np.ndarray[Any, Any], kind: int) -> bytes:
    """An IDX file, by the specification on the page of MNIST."""
    head = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("persist_idx", EXAMPLE / "persist_idx.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the module and the metadata that pip makes of its pyproject.toml."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "persist_idx-1.0.dist-info"
    info.mkdir(parents=True)
    lines = [
        f"{name} = {value}" for name, value in project["entry-points"]["persist.readers"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(["[persist.readers]", *lines, ""]))
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n"
    )
    (tmp_path / "site" / "persist_idx.py").write_text((EXAMPLE / "persist_idx.py").read_text())
    return tmp_path / "site"


def test_the_page_shows_the_files_of_the_example() -> None:
    blocks = dict(re.findall(r"^```(toml|python)\n(.*?)^```", PAGE.read_text(), re.M | re.S)[:2])
    assert blocks["toml"] == (EXAMPLE / "pyproject.toml").read_text()
    assert blocks["python"] == (EXAMPLE / "persist_idx.py").read_text()


def test_an_installed_reader_is_found(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(idx(IMAGES, 0x08))
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(IMAGES, 0x08)))
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import persist\n"
        "for name in ('images', 'images.gz'):\n"
        "    file = persist.open(name)\n"
        "    print(file.format, file.arrays['data'].dtype, file.arrays['data'][1].tolist())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [f"idx uint8 {IMAGES[1].tolist()}"] * 2


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_each_type_of_the_specification(module: ModuleType, kind: int, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    content = module.IdxReader().read(open_source(idx(array, kind)), Options())
    np.testing.assert_array_equal(content.tree["data"], array)


def test_a_truncated_file_is_refused_and_salvaged(module: ModuleType) -> None:
    cut = idx(IMAGES, 0x08)[:-1]
    with pytest.raises(DamagedFileError, match="salvage=True"):
        module.IdxReader().read(open_source(cut), Options())
    content = module.IdxReader().read(open_source(cut), Options(salvage=True))
    np.testing.assert_array_equal(content.tree["data"], IMAGES[:1])
    assert content.damage == ["2 items were written, but only 1 are complete."]


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\0\0\x08\x02" + rest))
def test_no_bytes_make_it_raise_anything_else(module: ModuleType, data: bytes) -> None:
    source = open_source(data)
    if module.IdxReader().claims(source) is not None:
        for salvage in (False, True):
            try:
                content = module.IdxReader().read(source, Options(salvage=salvage))
            except FormatError:
                continue
            assert np.asarray(content.tree["data"]).nbytes <= len(data)


def test_readers_and_packs_of_others_need_nothing_private() -> None:
    for path in [*EXAMPLE.glob("*.py"), *(TOP / "tests" / "typing").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("persist"):
                assert "._" not in (node.module or ""), path
