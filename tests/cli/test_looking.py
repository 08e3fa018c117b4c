"""The verbs that look into files: diff, stats, dump and find, on genuine files."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import persist
from persist._cli import main
from persist._cli._expressions import Expression, ExpressionError
from persist._trees.stats import stats_of

CORPUS = Path(__file__).parents[1] / "corpus"
GEN1, GEN2, GEN3 = (
    str(next((CORPUS / f"pickle/pickle-evolution-gen{number}").glob("*.pkl")))
    for number in (1, 2, 3)
)
MYDICT = str(CORPUS / "safetensors/safetensors-0.2.0-numpy-mydict/mydict.safetensors")
STATE = str(CORPUS / "safetensors/safetensors-0.2.8-torch-state-dict/mlp.safetensors")
LORA = str(CORPUS / "safetensors/safetensors-0.3.3-torch-lora/adapter_model.safetensors")
METRICS = str(CORPUS / "numpy/numpy-1.11.3-py27-npy-structured/metrics.npy")
KERAS = str(CORPUS / "keras/keras-1.2.2-py27-mlp-adam/my_model.h5")
LAB_PY27 = str(CORPUS / "pickle/versioned/lab-py27-p0.pkl")
LAB_PY36 = str(CORPUS / "pickle/versioned/lab-py36-p4.pkl")
RESULTS = str(next((CORPUS / "pickle/pickle-py27-p2-experiment-record").glob("*.pkl")))

Captured = pytest.CaptureFixture[str]


def ask(capsys: Captured, *words: str) -> tuple[int, str, str]:
    status = main(words)
    return (status, *capsys.readouterr())


def written(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    path.write_bytes(pickle.dumps(value))
    return str(path)


# diff


@pytest.mark.parametrize(
    "path", [GEN1, GEN3, MYDICT, LORA, METRICS, KERAS, LAB_PY27, LAB_PY36, RESULTS]
)
def test_a_file_does_not_differ_from_itself(path: str, capsys: Captured) -> None:
    assert ask(capsys, "diff", path, path) == (0, "", "")


def test_diff_lists_what_was_removed_and_added(capsys: Captured) -> None:
    status, out, _ = ask(capsys, "diff", GEN1, GEN2)
    assert status == 1
    assert out.splitlines()[2:] == [
        "- state/0: float64 (6, 3)  144 B",
        "- state/1: float64 (3,)  [0.5, -0.25, 0.125]",
        "+ bias: float64 (3,)  [0.5, -0.25, 0.125]",
        "+ weights: float64 (6, 3)  144 B",
    ]


def test_one_content_in_two_formats_is_the_same(tmp_path: Path, capsys: Captured) -> None:
    for name in ("a.npz", "a.persist", "a.safetensors"):
        target = str(tmp_path / name)
        words = ["convert", MYDICT, "--to", name.partition(".")[2], "--out", target]
        assert main(words) == 0
        capsys.readouterr()
        assert ask(capsys, "diff", MYDICT, target)[0] == 0


def test_diff_finds_another_config_of_a_network(tmp_path: Path, capsys: Captured) -> None:
    changed = tmp_path / "changed.h5"
    data = Path(KERAS).read_bytes()
    assert data.count(b'"relu"') == 1
    changed.write_bytes(data.replace(b'"relu"', b'"tanh"'))
    status, out, _ = ask(capsys, "diff", KERAS, str(changed))
    assert status == 1
    assert "value 'relu' -> 'tanh'" in out


def test_diff_uses_tolerances(tmp_path: Path, capsys: Captured) -> None:
    one = written(
        tmp_path, "a.pkl", {"w": np.array([1.0, 2.0, np.nan]), "losses": [0.5, 0.25], "lr": 0.1}
    )
    two = written(
        tmp_path,
        "b.pkl",
        {"w": np.array([1.0, 2.001, np.nan]), "losses": [0.5, 0.2501], "lr": 0.1001},
    )
    status, out, _ = ask(capsys, "diff", one, two, "--json")
    report = json.loads(out)
    assert (status, report["same"]) == (1, False)
    found = {item["path"]: item for item in report["differences"]}
    assert found.keys() == {"w", "losses", "lr"}
    assert found["w"]["unequal"] == 1
    assert found["w"]["largest"] == pytest.approx(0.001)
    assert ask(capsys, "diff", one, two, "--rtol", "0.01")[0] == 0
    assert ask(capsys, "diff", one, two, "--atol", "0.0005")[0] == 1
    assert ask(capsys, "diff", one, two, "--atol", "0.002")[0] == 0


@pytest.mark.parametrize(
    ("one", "two", "kind"),
    [
        (np.zeros(3), np.zeros(3, np.float32), "dtype"),
        (np.zeros(3), np.zeros(4), "shape"),
        (np.zeros(3), [0.0, 0.0, 0.0], "type"),
        (1, 1.0, "type"),
        (True, 1, "type"),
        (np.array([math.inf]), np.array([-math.inf]), "value"),
        (np.array([0.0]), np.array([math.nan]), "value"),
        (np.array(["a"]), np.array(["b"]), "value"),
        (np.array([(1, 2.0)], "i4,f8"), np.array([(1, 30.0)], "i4,f8"), "value"),
        ({1, 2}, {1, 3}, "value"),
        (b"x", b"y", "value"),
        ("x" * 90 + "a", "x" * 90 + "b", "value"),
        ([1, "a"], (1, "a"), "class"),
    ],
)  # fmt: skip
def test_diff_finds_each_kind(
    one: object, two: object, kind: str, tmp_path: Path, capsys: Captured
) -> None:
    files = written(tmp_path, "a.pkl", {"k": one}), written(tmp_path, "b.pkl", {"k": two})
    status, out, _ = ask(capsys, "diff", *files, "--json", "--rtol", "0.5")
    assert status == 1
    assert [(item["path"], item["kind"]) for item in json.loads(out)["differences"]] == [
        ("k", kind)
    ]
    item = json.loads(out)["differences"][0]
    assert item["a"] != item["b"]


def test_diff_finds_another_class_and_other_sharing(tmp_path: Path, capsys: Captured) -> None:
    class_of = b"\x80\x02clab\n%s\n)\x81}X\x01\x00\x00\x00wK\x01sb."
    files = []
    for name in (b"Net", b"Web"):
        files.append(tmp_path / name.decode())
        files[-1].write_bytes(class_of % name)
    status, out, _ = ask(capsys, "diff", *map(str, files))
    assert (status, out.splitlines()[2:]) == (1, ["! (root): class lab.Net -> lab.Web"])
    part = {"a": [1, "x"]}
    shared = written(tmp_path, "s.pkl", {"one": part, "two": part})
    apart = written(tmp_path, "t.pkl", {"one": part, "two": {"a": [1, "x"]}})
    assert ask(capsys, "diff", shared, apart)[0] == 1


def test_byte_order_is_no_difference(tmp_path: Path, capsys: Captured) -> None:
    one = written(tmp_path, "a.pkl", np.arange(5, dtype=">f4"))
    two = written(tmp_path, "b.pkl", np.arange(5, dtype="<f4"))
    assert ask(capsys, "diff", one, two)[0] == 0


def test_diff_of_large_arrays_with_other_blocks(tmp_path: Path, capsys: Captured) -> None:
    array = np.arange(3_000_000, dtype=np.float32).reshape(3, -1)
    one = written(tmp_path, "a.pkl", array)
    changed = array.copy()
    changed[2, -1] = 0
    two = tmp_path / "b.npy"
    np.save(two, np.asfortranarray(changed))
    status, out, _ = ask(capsys, "diff", one, str(two), "--json")
    assert status == 1
    assert [item["unequal"] for item in json.loads(out)["differences"]] == [1]


@pytest.mark.parametrize("files", [("missing.pkl", GEN1), (GEN1, "missing.pkl"), (GEN1, __file__)])
def test_diff_exits_with_2_for_a_file_that_cannot_be_read(
    files: Sequence[str], capsys: Captured
) -> None:
    status, out, err = ask(capsys, "diff", *files)
    assert (status, out) == (2, "")
    assert err.startswith("persist: ")


def test_diff_refuses_a_negative_tolerance(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["diff", GEN1, GEN1, "--rtol", "-1"])
    assert caught.value.code == 2


# stats


def test_stats_are_those_of_numpy(capsys: Captured) -> None:
    status, out, _ = ask(capsys, "stats", STATE, "--json")
    report = json.loads(out)
    assert status == 0
    with persist.open(STATE) as file:
        assert report["arrays"].keys() == file.arrays.keys()
        for path, row in report["arrays"].items():
            values = np.asarray(file.arrays[path], np.float64)
            assert row["min"] == values.min()
            assert row["max"] == values.max()
            assert row["mean"] == pytest.approx(values.mean(), abs=1e-12)
            assert row["std"] == pytest.approx(values.std(), abs=1e-12)
            assert row["norm"] == pytest.approx(np.linalg.norm(values))
            assert row["zeros"] == np.count_nonzero(values == 0)
    assert report["total"]["numbers"] == 291
    assert report["total"]["all_zero"] == 3


def test_stats_mark_what_is_suspicious(tmp_path: Path, capsys: Captured) -> None:
    value = {
        "a": np.array([1.0, math.nan, math.inf]),
        "b": np.zeros(4, np.float16),
        "c": np.ones(2),
    }
    status, out, _ = ask(capsys, "stats", written(tmp_path, "a.pkl", value))
    lines = out.splitlines()
    assert status == 0
    assert lines[2].endswith("1 NaN, 1 Inf")
    assert lines[3].endswith("all zero")
    assert lines[-1].endswith("3 arrays, 9 numbers, 48 B; with NaN: 1, with Inf: 1, all zero: 1")


def test_stats_of_fields_and_of_text(capsys: Captured) -> None:
    rows = json.loads(ask(capsys, "stats", METRICS, "--json")[1])["arrays"]
    assert rows["[epoch]"]["max"] == 2
    assert rows["[loss]"]["mean"] == 0.375
    assert "mean" not in rows["[tag]"]


def test_stats_read_every_corpus_family(capsys: Captured) -> None:
    for path in (GEN1, MYDICT, LORA, KERAS, RESULTS):
        assert ask(capsys, "stats", path)[0] == 0


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.complex128]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_statistics_of_any_array(array: Any) -> None:
    found = stats_of(array)
    finite = array[np.isfinite(array)]
    assert found.nan == np.count_nonzero(np.isnan(array))
    assert found.nan + found.inf + finite.size == array.size
    assert found.zeros == np.count_nonzero(array == 0)
    assert (found.norm is None) == (not finite.size)
    if not finite.size:
        return
    if array.dtype.kind != "c":
        assert (found.min, found.max) == (finite.min(), finite.max())
    scale = float(max(np.abs(finite.real).max(), np.abs(finite.imag).max())) or 1.0
    if not 1e-300 < scale < 1e300:  # the computation of this test would overflow
        return
    scaled = finite.astype(np.result_type(finite.dtype, np.float64)) / scale
    with np.errstate(over="ignore"):
        assert found.std == pytest.approx(
            float(scaled.std() * np.float64(scale)), rel=1e-6, abs=1e-9 * scale
        )
        assert found.norm == pytest.approx(
            float(np.linalg.norm(scaled) * np.float64(scale)), rel=1e-9
        )


def test_extreme_values_neither_overflow_nor_vanish() -> None:
    large = stats_of(np.array([1e300, -1e300]))
    assert (large.mean, large.std) == (0, pytest.approx(1e300))
    assert large.norm == pytest.approx(math.sqrt(2) * 1e300)
    assert stats_of(np.array([3e-200, 4e-200])).norm == pytest.approx(5e-200)


def test_stats_need_little_memory(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "large.npy"
    np.save(path, np.ones((4_000, 4_000), np.float32))
    main(["stats", MYDICT])  # imports
    tracemalloc.start()
    try:
        assert main(["stats", str(path)]) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # the array has 64 MB, and its float64 copy would have 128 MB


# dump


def test_dump_to_npy(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "w.npy"
    assert ask(capsys, "dump", GEN3, "weights", "--out", str(out)) == (0, "", "")
    with persist.open(GEN3) as file:
        np.testing.assert_array_equal(np.load(out), file.arrays["weights"])


def test_dump_prints_text(capsys: Captured) -> None:
    assert ask(capsys, "dump", GEN3, "bias")[1] == "0.5\n-0.25\n0.125\n"
    assert ask(capsys, "dump", GEN3, "activation")[1] == "softmax\n"


def test_dump_to_csv_and_json(capsys: Captured) -> None:
    rows = list(csv.reader(io.StringIO(ask(capsys, "dump", GEN3, "weights", "--to", "csv")[1])))
    with persist.open(GEN3) as file:
        np.testing.assert_array_equal(np.array(rows, float), file.arrays["weights"])
        assert (
            json.loads(ask(capsys, "dump", GEN3, "weights", "--to", "json")[1])
            == np.asarray(file.arrays["weights"]).tolist()
        )
    fields = ask(capsys, "dump", METRICS, "", "--to", "csv")[1].splitlines()
    assert fields[0] == "epoch,loss,tag"
    assert fields[1].startswith("1,0.5,")


def test_dump_of_a_container_is_json_of_everything_below(capsys: Captured) -> None:
    found = json.loads(ask(capsys, "dump", RESULTS, "config", "--to", "json")[1])
    assert found["seed"] == 101
    status, _, err = ask(capsys, "dump", RESULTS, "config")
    assert status == 1
    assert "--to json" in err


def test_dump_of_types_that_numpy_lacks(tmp_path: Path, capsys: Captured) -> None:
    path = "base_model.model.layers.0.self_attn.q_proj.lora_B.weight"
    out = tmp_path / "b.npy"
    status, _, err = ask(capsys, "dump", LORA, path, "--out", str(out))
    assert status == 0
    assert np.load(out).dtype == np.float32
    assert "bfloat16 is written as float32" in err or not err


@pytest.mark.parametrize("form", ["csv", "txt"])
def test_dump_refuses_more_axes_than_a_table_has(
    form: str, tmp_path: Path, capsys: Captured
) -> None:
    path = written(tmp_path, "a.pkl", {"w": np.arange(8).reshape(2, 2, 2)})
    status, _, err = ask(capsys, "dump", path, "w", "--to", form)
    assert status == 1
    assert "3 axes" in err
    assert json.loads(ask(capsys, "dump", path, "w", "--to", "json")[1]) == [
        [[0, 1], [2, 3]],
        [[4, 5], [6, 7]],
    ]


def test_dump_names_the_nearest_path(capsys: Captured) -> None:
    status, _, err = ask(capsys, "dump", GEN3, "weigths")
    assert status == 1
    assert "'weights'" in err


def test_dump_keeps_a_file_that_exists(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "w.txt"
    out.write_text("mine")
    status, _, err = ask(capsys, "dump", GEN3, "bias", "--out", str(out))
    assert (status, out.read_text()) == (1, "mine")
    assert "--force" in err
    assert ask(capsys, "dump", GEN3, "bias", "--out", str(out), "--force")[0] == 0
    assert out.read_text() == "0.5\n-0.25\n0.125\n"


def test_json_of_dump_has_no_nan(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, "a.pkl", {"w": np.array([math.nan, math.inf, -math.inf, 1.5])})
    out = ask(capsys, "dump", path, "w", "--to", "json")[1]
    assert json.loads(out) == ["NaN", "Infinity", "-Infinity", 1.5]


# find


def found(capsys: Captured, expression: str, *paths: str) -> list[str]:
    lines = ask(capsys, "find", expression, *paths, "--json")[1].splitlines()
    return [json.loads(line).get("name", json.loads(line)["format"]) for line in lines]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("dtype == float16", ["h"]),
        ("dtype == 'f2'", ["h"]),
        ("dtype in (float16, bool)", ["mask", "h"]),
        ("ndim == 0", ["scalar"]),
        ("size == 0", ["empty"]),
        ("shape == (1, 2)", ["mask"]),
        ("shape[-1] == 3", ["empty"]),
        ("0 in shape", ["empty"]),
        ("nbytes > 2 ** 4", ["x"]),
        ("1 < ndim <= 2 and not dtype == bool", ["empty", "f64"]),
        ("name == 'i8' or match(name, 'sc*')", ["scalar", "i8"]),
        ("'16' in name", ["i16"]),
        ("name not in ('x', 'y') and size * 2 == 8", []),
        ("format == safetensors", ["safetensors"]),
        ("format == pickle", []),
        ("class == 'logreg.LogReg'", []),
        ("not class == 'logreg.LogReg'", []),
    ],
)
def test_find_in_a_genuine_file(expression: str, names: list[str], capsys: Captured) -> None:
    assert found(capsys, expression, MYDICT) == names


def test_find_by_class(capsys: Captured) -> None:
    assert found(capsys, "class == 'logreg.LogReg'", GEN2) == ["bias", "weights", ""]
    assert found(capsys, "class == 'logreg.LogReg' and ndim == 1", GEN2) == ["bias"]


def test_find_walks_through_folders_and_says_when_nothing_is_found(capsys: Captured) -> None:
    folder = str(CORPUS / "safetensors")
    status, out, _ = ask(capsys, "find", "dtype==bfloat16", folder)
    assert status == 0
    assert all("bfloat16" in line or "float32" in line for line in out.splitlines())
    status, out, err = ask(capsys, "find", "size > 1e9", MYDICT)
    assert (status, out) == (1, "")
    assert "nothing was found" in err


@pytest.mark.parametrize(
    ("expression", "column", "what"),
    [
        ("dtyp == float32", 1, "did you mean dtype?"),
        ("size > 'x'", 8, "a number is compared with a text"),
        ("size >", 7, "invalid syntax"),
        ("size > 1 and (", 14, "was never closed"),
        ("__import__('os').system('true')", 1, "the only function is match"),
        ("name.__class__ == 'x'", 1, "not part of the language"),
        ("[x for x in shape] == shape", 1, "not part of the language"),
        ("lambda: size", 1, "not part of the language"),
        ("size", 1, "no condition"),
        ("dtype == float17", 10, "no dtype"),
        ("size > 9 ** 999", 8, "too large"),
        ("size > 1 // 0", 8, "by zero"),
        ("clas_ == 'x'", 1, "no name"),
        ("size is 3", 9, "a comparison is"),
        ("name == f'{size}'", 9, "not part of the language"),
        ("(size := 3) > 2", 2, "not part of the language"),
        ("not " * 80 + "size > 1", 205, "levels deep"),
        ("'é' == name and sice > 1", 17, "did you mean size?"),
    ],
)  # fmt: skip
def test_an_expression_that_is_not_understood(
    expression: str, column: int, what: str, capsys: Captured
) -> None:
    status, out, err = ask(capsys, "find", expression, MYDICT)
    assert (status, out) == (2, "")
    head, text, mark = err.splitlines()
    assert head.startswith(f"persist: column {column} of the expression: ")
    assert what in head
    assert mark.index("^") == text.index(expression.strip()[:5]) + column - 1


@settings(max_examples=150, deadline=None)
@given(st.text("sizednamhp()[]=<>!*/+-'\"., 01class\\\n", max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        Expression(text).matches({"size": 3, "name": "w", "shape": (3,), "dtype": "float32"})
    except ExpressionError as error:
        assert "expression" in str(error)
