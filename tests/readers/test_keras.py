"""Keras's files of 0.3 to 3.x: genuine ones, and features laid out by hand after its source."""

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._wire.base.ml_dtypes import extended
from persist.errors import DamagedFileError, FormatError, LimitError, MissingExtraError
from persist.tree import Global, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "keras"
CASES = {path.parent.name: json.loads(path.read_text()) for path in CORPUS.glob("*/expected.json")}


def opened(case: str, **options: Any) -> Any:
    return persist.open(CORPUS / case / CASES[case]["file"], **options)


def layer_names(config: Any) -> list[str]:
    return [layer["name"] for layer in config["layers"]]


# Genuine files.


@pytest.mark.extra("yaml")
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_case_holds_what_its_own_release_found(case: str) -> None:
    expected = CASES[case]
    with opened(case) as file:
        for name, reported in expected["arrays"].items():
            array = np.asarray(file.arrays[name])
            assert list(array.shape) == reported["shape"], name
            assert array.dtype.name == reported["dtype"], name
            assert hashlib.sha256(array.tobytes()).hexdigest() == reported["sha256"], name
        for name, value in expected["scalars"].items():
            assert file.scalars[name] == value
        assert sorted(file.arrays) == sorted(expected["arrays"])
        assert not file.damage
        json.dumps(file.structure)


@pytest.mark.extra("yaml")
@pytest.mark.parametrize("case", sorted(CASES))
def test_the_structure_tells_layers_and_weights_in_their_order(case: str) -> None:
    reported = CASES[case]["structure"]
    with opened(case) as file:
        found = file.structure
    for key in ("layer_names", "weight_names", "optimizer_weight_names"):
        if key in reported:
            assert found[key] == reported[key], key
    if "weight_names" in reported:
        paths = [
            f"{name}/{one}"
            for name in reported["layer_names"]
            for one in reported["weight_names"][name]
        ]
        assert found["weights"] == paths
        assert set(paths) <= set(CASES[case]["arrays"])
    if "model" in reported:
        names = [layer["name"] for layer in found["layers"] if not layer["within"]]
        classes = [layer["class_name"] for layer in found["layers"] if not layer["within"]]
        assert classes == [layer["class_name"] for layer in reported["model"]["layers"]]
        if not case.startswith("keras-0.3"):
            assert names == layer_names(reported["model"])


def test_the_weights_of_0_3_stand_in_the_order_of_their_numbers() -> None:
    with opened("keras-0.3.3-py27-save-weights") as file:
        assert file.structure["weights"] == [
            "layer_0/param_0", "layer_0/param_1", "layer_2/param_0", "layer_2/param_1",
        ]  # fmt: skip
        assert file.structure["layer_names"] == ["layer_0", "layer_1", "layer_2"]


def test_the_backend_that_turned_the_kernels_is_reported_with_its_evidence() -> None:
    with opened("keras-2.0.9-py36-cnn-bn") as file:
        order = file.structure["kernel_order"]
    assert order["backend"] == "tensorflow"
    assert order["turned"] is False
    assert order["known_by"] == "the attribute 'backend'"
    assert order["layers"]["conv_a"]["axes"] == "rows, columns, in, out"
    with opened("keras-1.2.2-py27-mlp-adam") as file:
        assert file.structure["kernel_order"]["turned"] is True  # Theano: names without ':0'
        assert file.writer == {"keras": "1.2.2"}
    with opened("keras-1.2.2-py27-json") as file:
        axes = file.structure["kernel_order"]["layers"]["conv_a"]
    assert axes == {"axes": "rows, columns, in, out", "known_by": "dim_ordering 'tf'"}


def test_an_archive_is_read_where_it_stands() -> None:
    with opened("keras-3.0.5-py311-keras-mlp") as file:
        assert file.format == "keras-zip"
        kernel = file.arrays["layers/dense/vars/0"]
        assert isinstance(kernel, np.ndarray)
        assert not kernel.flags.owndata
        assert file.structure["model"]["class_name"] == "Sequential"
        assert file.structure["training_config"]["loss"] is not None
        assert file.writer == {"keras": "3.0.5"}


@pytest.mark.extra("yaml")
def test_numpy_numbers_in_yaml_are_read_and_not_called() -> None:
    with opened("keras-1.2.2-py27-yaml") as file:
        assert file.tree["config"][-1]["config"]["input_dim"] == 27
        assert file.tree["config"][0]["config"]["subsample"] == (1, 1)
        assert file.structure["model"]["config"][2]["config"]["strides"] == [2, 2]


# Laid out by hand.


def write(path: Path, fill: Callable[[Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def test_a_graph_of_0_x(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("graph")
        group.attrs["nb_params"] = 12
        for number in range(12):
            group[f"param_{number}"] = np.full(2, number)

    with persist.open(write(tmp_path / "graph.h5", fill)) as file:
        assert file.format == "keras-weights-h5"
        assert file.structure["weights"] == [f"graph/param_{number}" for number in range(12)]


def test_lists_that_were_cut_are_put_together_and_names_that_collide_are_kept(
    tmp_path: Path,
) -> None:
    def fill(file: Any) -> None:
        file.attrs["model_config"], file.attrs["keras_version"] = "{}", "2.2.4"
        weights = file.create_group("model_weights")
        names = [f"l{number}" for number in range(25)] + ["backend", "optimizer_weights"]
        for number in range(3):
            weights.attrs[f"layer_names{number}"] = np.array(
                names[9 * number : 9 * number + 9], "S"
            )
        for name in names:
            weights.create_group(name).attrs["weight_names"] = np.array([f"{name}/w"], "S")
            weights[name][f"{name}/w"] = np.zeros(1)
        weights.attrs["backend"] = b"tensorflow"
        file["optimizer_weights/Adam/iter:0"] = 7
        file["optimizer_weights"].attrs["weight_names"] = np.array([b"Adam/iter:0"])

    with persist.open(write(tmp_path / "cut.h5", fill)) as file:
        assert [*file.structure["layer_names"]][:3] == ["l0", "l1", "l2"]
        assert len(file.structure["weights"]) == 27
        assert list(file.tree)[:3] == ["l0", "l1", "l2"]
        assert "backend/backend/w" in file.arrays
        assert file.scalars["backend~2"] == "tensorflow"
        assert file.arrays["optimizer_weights~2/Adam/iter:0"] == 7
        assert file.structure["optimizer_weight_names"] == ["Adam/iter:0"]


def test_bfloat16_that_hdf5_lacks(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    def fill(file: Any) -> None:
        values = np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3)
        for name, how in (("0", {}), ("1", {"chunks": (1, 3), "compression": "gzip"})):
            made = file.create_dataset(f"layers/dense/vars/{name}", data=values.view("V2"), **how)
            made.attrs["dtype"] = "bfloat16"
        file["layers/dense/vars"].attrs["name"] = "head"
        file.create_group("vars")

    with persist.open(write(tmp_path / "x.weights.h5", fill)) as file:
        assert file.format == "keras-weights-h5"
        assert file.structure["named"] == {"layers/dense/vars": "head"}
        for name in "01":
            array = file.arrays[f"layers/dense/vars/{name}"]
            assert array.dtype == extended("bfloat16")
            assert np.asarray(array).astype("f4").tolist() == [[0, 1, 2], [3, 4, 5]]
            assert np.asarray(array[1:2]).astype("f4").tolist() == [[3, 4, 5]]


@pytest.mark.extra("ml_dtypes")
def test_bfloat16_in_the_layout_of_old_has_no_word_for_it(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.create_group("dense").attrs["weight_names"] = np.array([b"dense/kernel"])
        bits = np.array([0x3F80, 0x4000], "<u2")  # 1 and 2
        file["dense/dense/kernel"] = bits.view("V2")
        file["dense/other"] = np.zeros(2, "V3")

    with persist.open(write(tmp_path / "half.h5", fill)) as file:
        kernel = file.arrays["dense/dense/kernel"]
        assert kernel.dtype == extended("bfloat16")
        assert np.asarray(kernel).view("u2").tolist() == [0x3F80, 0x4000]
        assert file.arrays["dense/other"].dtype == np.dtype("V3")


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def members_of(case: str = "keras-3.0.5-py311-keras-mlp") -> dict[str, bytes]:
    with zipfile.ZipFile(CORPUS / case / "model.keras") as genuine:
        return {name: genuine.read(name) for name in genuine.namelist()}


def test_an_archive_with_assets_deflated(tmp_path: Path) -> None:
    members = {**members_of(), "assets/layers/text/vocabulary.txt": b"a\nb\n"}
    path = archive(tmp_path / "m.keras", members, zipfile.ZIP_DEFLATED)
    with persist.open(path) as file, opened("keras-3.0.5-py311-keras-mlp") as genuine:
        assert file.tree["assets"] == {"layers/text/vocabulary.txt": b"a\nb\n"}
        for name in genuine.arrays:
            assert np.array_equal(file.arrays[name], genuine.arrays[name])


def test_an_archive_with_a_broken_config_says_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras", {**members_of(), "config.json": b'{"class_name": '})
    with pytest.raises(DamagedFileError, match="no JSON") as caught:
        persist.open(path)
    assert "config.json" in str(caught.value)
    with persist.open(path, salvage=True) as file:
        assert len(file.arrays) == 14
        assert "config.json" in file.damage[0]


def test_weights_in_shards_are_one_tree(tmp_path: Path) -> None:
    for number in range(2):
        write(
            tmp_path / f"m_{number:05}.weights.h5",
            lambda file, number=number: file.update(
                {f"layers/d{number}/vars/0": np.full(2, number)}
            ),
        )
    names = {f"/layers/d{number}/vars": f"m_{number:05}.weights.h5" for number in range(2)}
    path = tmp_path / "m.weights.json"
    path.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": names}))
    with persist.open(path) as file:
        assert file.format == "keras-sharded-h5"
        assert sorted(file.arrays) == ["layers/d0/vars/0", "layers/d1/vars/0"]
    (tmp_path / "m_00001.weights.h5").unlink()
    with pytest.raises(DamagedFileError, match="m_00001"):
        persist.open(path)
    with persist.open(path, salvage=True) as file:
        assert list(file.arrays) == ["layers/d0/vars/0"]


def test_shards_in_an_archive_are_one_tree_at_every_level(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}}))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
        archive.writestr("model.weights.json", json.dumps({"weight_map": {}}))
        for number in range(2):
            name = f"model_{number:05}.weights.h5"
            file = write(
                tmp_path / name,
                lambda file, number=number: file.update(
                    {f"optimizer/vars/{number}": np.full(2, number)}
                ),
            )
            archive.write(file, name)
    with persist.open(path) as file:
        assert sorted(file.arrays) == ["optimizer/vars/0", "optimizer/vars/1"]


CODE = marshal.dumps(compile("__import__('os').system('touch pwned')", "lambda", "exec"))


def lambda_layer(function: Any, **more: Any) -> dict[str, Any]:
    return {"class_name": "Lambda", "config": {"name": "twice", "function": function, **more}}


@pytest.mark.parametrize(
    "function",
    [
        [base64.encodebytes(CODE).decode("ascii"), None, None],
        [CODE.decode("latin-1"), None, None],
        {"class_name": "__lambda__", "config": {"code": base64.b64encode(CODE).decode()}},
    ],
    ids=["2.x", "1.x", "3.x"],
)
def test_code_of_a_lambda_layer_is_kept_as_bytes_and_never_loaded(
    function: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("code was loaded")

    config = {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [lambda_layer(function)]},
    }
    persist.open(json.dumps(config).encode())  # Python loads with marshal what this imports
    monkeypatch.setattr(marshal, "loads", forbidden)
    with persist.open(json.dumps(config).encode()) as file:
        assert file.tree["@code"] == {"twice/function": CODE}
        assert file.structure["code"] == {"twice/function": f"{len(CODE)} bytes, not loaded"}
    path = archive(
        tmp_path / "m.keras", {**members_of(), "config.json": json.dumps(config).encode()}
    )
    with persist.open(path) as file:
        assert file.tree["@code"] == {"twice/function": CODE}


def test_json_of_other_things_is_not_claimed() -> None:
    for text in (b"{}", b'{"nodes": {"op": "null"}}', b'{"weight_map": {"a": "x.bin"}}',
                 b'{"class_name": 3, "config": {}}', b"[" * 100_000, b'{"class_name": ' + b"[" * 100_000):  # fmt: skip
        with pytest.raises(FormatError):
            persist.open(text)


# YAML.

HEAD = b"class_name: Sequential\nconfig:\n"


@pytest.mark.extra("yaml")
def test_tags_of_python_are_data() -> None:
    text = HEAD + (
        b"- {class_name: Dense, config: {name: a, f: !!python/name:os.system , m: !!python/module:sys }}\n"
        b"- !!python/object/apply:os.system ['touch pwned']\n"
        b"- !!python/object:lab.Net {w: 1}\n"
        b"- !!python/object/new:lab.Net {args: [1], state: {b: 2}, kwds: {c: 3}}\n"
        b"- [!!python/unicode 'x', !!python/long 5, !!python/complex 1+2j, !!python/none '', !!binary QUJD]\n"
        b"- !!python/object/apply:numpy.core.multiarray._reconstruct\n"
        b"  args: [!!python/name:numpy.ndarray , !!python/tuple [0], b]\n"
        b"  state: !!python/tuple\n"
        b"  - 1\n"
        b"  - !!python/tuple [2]\n"
        b"  - !!python/object/apply:numpy.dtype {args: [f4, 0, 1], state: !!python/tuple [3, '<', null, null, null, -1, -1, 0]}\n"
        b"  - false\n"
        b'  - "\\0\\0\\x80?\\0\\0\\0@"\n'
    )
    with persist.open(text) as file:
        config = file.tree["config"]
        assert config[0]["config"]["f"] == Global("os", "system")
        assert config[1].qualname == "os.system"
        assert config[1].args == ("touch pwned",)
        assert isinstance(config[2], Record)
        assert config[2]["w"] == 1
        assert (config[3].args, config[3].kwargs, config[3]["b"]) == ((1,), {"c": 3}, 2)
        assert config[4] == ["x", 5, 1 + 2j, None, b"ABC"]
        assert config[5].tolist() == [1.0, 2.0]
        json.dumps(file.structure)


@pytest.mark.extra("yaml")
def test_a_bomb_of_aliases_is_refused_before_it_bursts() -> None:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    with pytest.raises(LimitError, match="written out"):
        persist.open(HEAD + b"- {}\n" + b"\n".join(lines))


@pytest.mark.extra("yaml")
@pytest.mark.parametrize(
    "text",
    [
        b"- *gone\n", b"- &a [*a]\n", b"- !!int ''\n", b"- !!int abc\n", b"- !!bool maybe\n",
        b"- !!timestamp never\n", b"- !!float x\n", b"- [1, 2\n", b"\t- x\n",
        b"- !!python/object/apply:numpy.core.multiarray.scalar [!!python/object/apply:numpy.dtype [f8], 'x']\n",
        b"- " + b"9" * 5000 + b"\n", b"- " + b"[" * 5000 + b"\n",
    ],
)  # fmt: skip
def test_broken_yaml_is_an_error_of_ours(text: bytes) -> None:
    with pytest.raises(FormatError):
        persist.open(HEAD + text)


def test_yaml_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'persist-state\[keras\]'"):
        opened("keras-2.0.9-py36-yaml")
