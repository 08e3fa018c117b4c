"""What a process imports before its first file is open: what that file needs, and nothing else.

`benchmarks/start.py` measures the time; here stands what must not creep back.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._runtime import discovery

STATE = {"w": np.arange(9.0), "b": np.zeros(3)}

# What takes long to import, and what of ours belongs to one format only.
PICKLES = {
    "persist._wire.pickle.machine",
    "persist._wire.pickle.stdlib_rebuild",
    "persist.readers._pickle",
}
TORCH = {"persist._wire.torch.rebuild", "persist._wire.torch.writer"}
HDF5 = {"persist._wire.hdf5.file", "persist._wire.hdf5.objects", "persist.readers.keras._weights"}
GRAPHS = {"persist._wire.tensorflow.graph", "persist._wire.tensorflow.schemas", "persist._wire.tensorflow.bundle",
          "persist._wire.tensorflow.v1_table", "persist._wire.messages.textproto"}  # fmt: skip
OTHERS = {"persist._wire.messages.yaml", "persist._wire.keras.config", "persist.readers._theano",
          "persist._api.layers"}  # fmt: skip
DECODING = {"persist._container.reading.decode", "persist._container.reading.store"}
ENCODING = {"persist._container.writing.encode", "persist._container.writing.writer", "persist._container.writing.graph",
            "persist._objects.flatten"}  # fmt: skip
OBJECTS = {
    "persist.registry",
    "persist._upgrade.records",
    "persist._objects.build",
    "persist.packs._gather",
}
SLOW = {"attr", "importlib.metadata", "email", "zipfile", "numpy.ma", "hashlib", "secrets",
        "packaging.version", "bz2", "lzma", "zoneinfo", "h5py", "yaml", "ml_dtypes",
        "persist.migrations"}  # fmt: skip
ALL = (PICKLES | TORCH | HDF5 | GRAPHS | OTHERS | DECODING | ENCODING | OBJECTS | SLOW)  # fmt: skip


def imported(code: str) -> set[str]:
    """The modules that a process has imported when it is done."""
    reported = f"import sys; {code}; print('\\n'.join(sys.modules), file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", reported], capture_output=True, text=True, check=True
    )
    return set(run.stderr.split("\n"))


@pytest.fixture(scope="module")
def base() -> set[str]:
    """What is imported without us: `numpy` and what the environment adds to every process."""
    return imported("import numpy")


def save(path: Path, **options: Any) -> Path:
    persist.save(STATE, path, durable=False, **options)
    return path


def write_pickle(folder: Path) -> Path:
    path = folder / "net.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3, **STATE}))
    return path


def write_npy(folder: Path) -> Path:
    np.save(folder / "net.npy", STATE["w"])
    return folder / "net.npy"


def write_npz(folder: Path) -> Path:
    np.savez(folder / "net.npz", **STATE)
    return folder / "net.npz"


def write_hdf5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "net.h5", "w") as file:
        file.update(STATE)
    return folder / "net.h5"


OPENED = {
    "pickle": (write_pickle, PICKLES),
    "npy": (write_npy, set()),
    "npz": (write_npz, set()),
    "container": (lambda folder: save(folder / "net.persist"), DECODING),
    "torch": (lambda folder: save(folder / "net.pth", format="torch"), PICKLES | TORCH - {"persist._wire.torch.writer"}),
    "safetensors": (lambda folder: save(folder / "net.safetensors", format="safetensors"), set()),
    "hdf5": (write_hdf5, HDF5 | {"attr"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPENED)
def test_to_open_a_file_imports_only_what_it_needs(
    kind: str, tmp_path: Path, base: set[str]
) -> None:
    write, needed = OPENED[kind]
    found = imported(f"import persist; persist.open({str(write(tmp_path))!r})")
    assert not (found - base) & (ALL - needed)


@pytest.mark.parametrize("kind", ["npy", "npz", "container", "safetensors"])
def test_to_list_arrays_asks_no_packs(kind: str, tmp_path: Path, base: set[str]) -> None:
    write, needed = OPENED[kind]
    found = imported(f"import persist; list(persist.open({str(write(tmp_path))!r}).arrays)")
    assert not (found - base) & (ALL - needed)


def test_to_load_a_container_imports_no_writer(tmp_path: Path, base: set[str]) -> None:
    path = save(tmp_path / "net.persist")
    found = imported(f"import persist; persist.load({str(path)!r})") - base
    unwanted = ENCODING | PICKLES | TORCH | HDF5 | GRAPHS | OTHERS
    assert not found & (unwanted | SLOW - {"attr", "persist.migrations"})


def test_to_save_a_container_imports_no_reader_of_others(tmp_path: Path, base: set[str]) -> None:
    target = str(tmp_path / "net.persist")
    code = f"import numpy, persist; persist.save({{'w': numpy.arange(9.0)}}, {target!r})"
    found = imported(code) - base
    assert not found & (PICKLES | TORCH | HDF5 | GRAPHS | OTHERS | SLOW - {"attr"})


def test_the_face_and_the_help_of_the_command_import_no_numpy() -> None:
    assert "numpy" not in imported("import persist")
    code = "import contextlib, persist._cli\nwith contextlib.suppress(SystemExit): persist._cli.main(['--help'])"
    found = imported(f"exec({code!r})")
    assert not found & {"numpy", "json", "persist._api.file", "persist.tree"}


# What stands in for imports.


def test_every_regular_expression_that_waits_is_one() -> None:
    import importlib
    import pkgutil

    from persist._runtime import lazy_regex

    count = 0
    for info in pkgutil.walk_packages(persist.__path__, "persist."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            for one in value.values() if isinstance(value, dict) else (value,):
                if isinstance(one, lazy_regex._Regex):
                    assert one.pattern is not None
                    count += 1
    assert count > 20


def test_an_expression_that_waits_is_what_re_makes() -> None:
    from persist._runtime.lazy_regex import regex

    words = regex(r"(?P<first>\w)\w*", re.ASCII)
    match = words.fullmatch("abc")
    assert match is not None
    assert match["first"] == "a"
    assert words.sub("-", "ab cd") == "- -"
    assert words.pattern == r"(?P<first>\w)\w*"
    with pytest.raises(AttributeError):
        words.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_entry_points_are_found_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert discovery.entry_points("persist.nobody") == []
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[persist.nobody]\nmine = other:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (point,) = discovery.entry_points("persist.nobody")
    assert (point.name, point.value) == ("mine", "other:Mine")


def test_an_importer_that_finds_distributions_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    class Point(importlib.metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return {
                "METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
                "entry_points.txt": "[persist.nobody]\nmine = other:Mine\n",
            }.get(filename)

        def locate_file(self, path: Any) -> Any:
            return path

    class Finder:
        @staticmethod
        def find_spec(*args: Any) -> None:
            return None

        @staticmethod
        def find_distributions(context: Any) -> list[Any]:
            return [Point()]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert [point.name for point in discovery.entry_points("persist.nobody")] == ["mine"]


def test_modules_are_found_in_folders_and_archives(tmp_path: Path) -> None:
    import zipfile

    for name in ("b.py", "a.pyc", "_c.py", "__init__.py", "d.tsv", "e-f.py"):
        (tmp_path / name).write_text("")
    assert discovery.modules_in([str(tmp_path), str(tmp_path / "nowhere")]) == ["_c", "a", "b"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("g.py", "")
    assert discovery.modules_in([str(tmp_path / "all.zip")]) == ["g"]


LOOKED_FOR = """
import sys
import persist

asked = []


class Finder:
    def find_spec(self, name, path=None, target=None):
        asked.append(name.partition(".")[0])


sys.meta_path.insert(0, Finder())
for path in sys.argv[1:]:
    with persist.open(path) as file:
        list(file.arrays), list(file.scalars), str(file), file.damage
print(sorted({*asked} & {"torch", "pandas", "sklearn", "scipy", "theano", "keras", "tensorflow"}))
"""


@pytest.mark.packs
def test_opening_a_file_looks_for_no_framework_that_it_names() -> None:
    corpus = Path(__file__).parents[1] / "corpus"
    files = [*corpus.glob("torch/torch-*-modules/*.pt"), *corpus.glob("pandas/*/*.pkl")]
    assert files
    run = subprocess.run(
        [sys.executable, "-c", LOOKED_FOR, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
