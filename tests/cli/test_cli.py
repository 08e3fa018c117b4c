"""The command line: every verb, exit codes, no traceback for a bad file, a quick start."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist._api.detect import readers
from persist._cli import main, verb_names
from persist._trees.compare import difference
from persist.tree import Global, Record

CORPUS = Path(__file__).parents[1] / "corpus" / "pickle"
GENERATIONS = [
    next((CORPUS / f"pickle-evolution-gen{number}").glob("*.pkl")) for number in range(1, 5)
]
RUN = [sys.executable, "-c", "import sys; from persist._cli import main; sys.exit(main())"]

CLASSES = """
import attrs, numpy as np, persist
from persist import ops

@attrs.define(eq=False)
class Classifier(persist.Versioned, version=3, schema="test-cli.Classifier"):
    weights: np.ndarray
    bias: np.ndarray
    activation: str = "softmax"
    classes: list | None = None
    version: int = 0

persist.migration(Classifier, 1, ops.unpack("weights", "bias"))
persist.migration(Classifier, 2, ops.add("activation", "softmax"))
persist.alias("logreg.LogReg", Classifier)
persist.alias("mylab.models.linear.SoftmaxClassifier", Classifier)

@persist.stamp(Classifier)
def by_shape(state):
    return 1 if isinstance(state, tuple) else 3 if "activation" in state else 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs to work in, and a module of the user's own next to it."""
    runs = tmp_path / "runs" / "2016"
    runs.mkdir(parents=True)
    for path in GENERATIONS:
        shutil.copy(path, runs)
    (runs / "notes.txt").write_text("these are notes\n")
    (tmp_path / "our_classes.py").write_text(CLASSES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a user does."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(persist.__file__).parents[1])])}
    return subprocess.run([*RUN, *arguments], cwd=cwd, capture_output=True, text=True, env=env)


# The frame.


def test_the_verbs_are_the_modules() -> None:
    assert {"inspect", "explain", "upgrade", "convert", "verify"} <= set(verb_names())


@pytest.mark.parametrize("verb", verb_names())
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"persist {verb}" in capsys.readouterr().out


def test_without_a_verb_it_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "upgrade" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["inspect"], ["convert", "a", "--to", "doc"]])
def test_a_command_that_is_not_understood_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_the_version_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"persist {persist.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="no times of child processes there")
def test_help_starts_no_slower_than_numpy_is_imported() -> None:
    def best(*arguments: str) -> float:
        """Seconds of the processor: what else the machine does is no matter."""
        times = []
        for _ in range(5):
            began = os.times()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            ended = os.times()
            times.append(sum(ended[2:4]) - sum(began[2:4]))
        return min(times)

    assert best(*RUN[1:], "--help") <= 1.2 * best("-c", "import numpy")


def test_help_imports_neither_numpy_nor_rich() -> None:
    script = (
        "import sys\nfrom persist._cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'rich', 'attr', 'h5py'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


BAD: dict[str, bytes] = {
    "empty.pkl": b"",
    "cut.pkl": GENERATIONS[3].read_bytes()[:100],
    "page.h5": b"<!DOCTYPE html><html></html>",
    "noise.bin": bytes(range(1, 256)) * 9,
    "evil\x1b[2J.pkl": b"\x80\x02K",
}


@pytest.mark.parametrize("verb", ["inspect", "explain", "upgrade", "verify", "convert"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_reported_without_a_traceback(
    verb: str, bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / bad).write_bytes(BAD[bad])
    more = ["--to", "npz"] if verb == "convert" else []
    assert main([verb, str(tmp_path / bad), *more]) == 1
    reported = capsys.readouterr().err
    assert bad.partition("\x1b")[0] in reported
    assert "Traceback" not in reported
    assert "\x1b" not in reported
    assert os.listdir(tmp_path) == [bad]


def test_a_file_that_is_not_there_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "no/such/file.pkl"]) == 1
    assert "no/such/file.pkl" in capsys.readouterr().err


def test_one_bad_file_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.pkl").write_bytes(b"")
    assert main(["inspect", str(tmp_path / "bad.pkl"), str(GENERATIONS[1])]) == 1
    captured = capsys.readouterr()
    assert "weights" in captured.out
    assert "bad.pkl" in captured.err


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    for name in ("big.pkl", "second.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps([f"text {i}" for i in range(50_000)]))
    first = subprocess.Popen(
        [*RUN, "inspect", "--path", "*", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert first.stdout is not None
    assert first.stderr is not None
    first.stdout.readline()
    first.stdout.close()
    reported = first.stderr.read()
    first.stderr.close()
    first.wait()
    assert reported == b""


# inspect


def test_inspect_shows_what_is_inside(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(GENERATIONS[3])]) == 0
    out = capsys.readouterr().out
    for words in (
        "format   pickle",
        "mylab.models.linear.SoftmaxClassifier",
        "float64 (6, 3)",
        "'softmax'",
        "an unknown class: a record of its attributes",
        "plain data",
    ):
        assert words in out


def test_inspect_of_a_folder_is_a_line_for_each_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persist.save({"x": np.ones(3)}, folder / "runs" / "x.persist")
    assert main(["inspect", "runs"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    names = [path.name for path in GENERATIONS]
    assert [line.partition("  ")[0] for line in lines] == [
        "x.persist",
        *(os.path.join("2016", name) for name in sorted(names)),
    ]
    assert lines[1].endswith("  pickle, python 2; 2 arrays, 168 B; logreg.LogReg")
    assert captured.err == "persist: 1 is not an experiment file: runs/2016/notes.txt\n"
    assert main(["inspect", "--arrays", "runs"]) == 0
    assert "float64 (6, 3)" in capsys.readouterr().out


def test_a_damaged_file_in_a_folder_is_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "runs" / "cut.pkl").write_bytes(pickle.dumps({"a": 1})[:-3])
    for verb in ("inspect", "verify"):
        assert main([verb, "runs"]) == 1
        captured = capsys.readouterr()
        assert os.path.join("runs", "cut.pkl") in captured.err
        assert GENERATIONS[3].name in captured.out


def test_inspect_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json", str(GENERATIONS[3])]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["format"] == "pickle"
    assert reported["arrays"]["weights"] == {"dtype": "float64", "shape": [6, 3], "bytes": 144}
    assert reported["scalars"]["activation"] == "softmax"
    assert reported["classes"] == {"mylab.models.linear.SoftmaxClassifier": 1}


def test_inspect_as_json_holds_what_json_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"nan": float("nan"), "big": 10**400, "bytes": b"\xff", "set": {1}, "c": 1j}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert main(["inspect", "--json", str(tmp_path / "a.pkl")]) == 0
    scalars = json.loads(capsys.readouterr().out)["scalars"]
    assert scalars["nan"] == "nan"
    assert scalars["big"].startswith("an int of")


def test_inspect_lists_arrays_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--arrays", str(GENERATIONS[3])]) == 0
    out = capsys.readouterr().out
    assert "weights  float64 (6, 3)" in out
    assert "softmax" not in out
    assert main(["inspect", "--path", "classes/*", str(GENERATIONS[3])]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  classes/0  'cat'",
        "  classes/1  'dog'",
        "  classes/2  'emu'",
    ]


# explain


def test_explain_says_what_a_load_would_do_and_why(folder: Path) -> None:
    run = command("explain", "--import", "our_classes", "runs/2016/logreg_v1.pkl", cwd=folder)
    assert run.returncode == 0, run.stderr
    for words in ("our_classes.Classifier", "version 1", "by_shape", "1 → 2", "2 → 3", "alias"):
        assert words in run.stdout
    opaque = command("explain", "runs/2016/logreg_v1.pkl", cwd=folder)
    assert opaque.returncode == 0
    assert "opaque" in opaque.stdout


def test_explain_as_json(folder: Path) -> None:
    run = command("explain", "--json", "--import", "our_classes", "runs/2016/logreg_v2.pkl", cwd=folder)  # fmt: skip
    (record,) = json.loads(run.stdout)["records"]
    assert (record["version"], record["to"], record["opaque"]) == (2, 3, False)


def test_explain_fails_where_no_way_leads(folder: Path) -> None:
    (folder / "gap.py").write_text(
        "import persist\n"
        "class Net(persist.Versioned, version=9, schema='test-cli.Gap'):\n"
        "    persistent = ('a',)\n"
        "persist.alias('logreg.LogReg', Net)\n"
    )
    run = command("explain", "--import", "gap", "runs/2016/logreg_v2.pkl", cwd=folder)
    assert run.returncode == 1
    assert "no migration leads" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--import", "no_such_module", "no_such_module"),
        ("--import", "broken", "ZeroDivisionError"),
        ("--migrations", "nowhere", "no such folder"),
        ("--migrations", "packs", "ZeroDivisionError"),
    ],
)
def test_knowledge_that_cannot_be_had_ends_with_2(
    option: str, value: str, words: str, folder: Path
) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "packs").mkdir()
    (folder / "packs" / "lib.py").write_text("1 / 0\n")
    for verb in ("explain", "upgrade"):
        run = command(verb, option, value, "runs/2016/logreg_v1.pkl", cwd=folder)
        assert run.returncode == 2
        assert words in run.stderr
        assert "Traceback" not in run.stderr


# upgrade


def test_upgrade_writes_next_to_loads_back_and_a_second_run_does_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "runs").rglob("*") if path.is_file()}
    run = command("upgrade", "runs", "--import", "our_classes", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert "4 upgraded, 1 not an experiment file" in run.stdout
    assert "test-cli.Classifier 1 to 3" in run.stdout
    written = sorted(path.name for path in (folder / "runs" / "2016").glob("*.persist"))
    assert written == [f"logreg_v{number}.pkl.persist" for number in range(1, 5)]
    for name in written:
        with persist.open(folder / "runs" / "2016" / name) as file:
            assert file.format == "persist"
            assert file.arrays["weights"].shape == (6, 3)
            assert file.scalars["activation"] == "softmax"
            assert file.tree.version == 3
    assert {path: path.read_bytes() for path in before} == before
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")}
    again = command("upgrade", "runs", "--import", "our_classes", cwd=folder)
    assert again.returncode == 0
    assert "upgraded" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")} == stamps


def test_upgrade_into_a_folder_keeps_the_tree_of_folders(folder: Path) -> None:
    run = command("upgrade", "runs", "--to", "today", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert (folder / "today" / "2016" / "logreg_v4.pkl.persist").exists()
    assert sorted(os.listdir(folder / "runs" / "2016")) == [
        *(f"logreg_v{number}.pkl" for number in range(1, 5)),
        "notes.txt",
    ]
    assert "logreg.LogReg" in run.stdout  # of what nothing is known


def test_upgrade_dry_does_nothing(folder: Path) -> None:
    run = command("upgrade", "runs", "--dry-run", "--import", "our_classes", cwd=folder)
    assert run.returncode == 0
    assert "4 would be upgraded" in run.stdout
    assert not list(folder.rglob("*.persist"))


def test_upgrade_overwrites_only_by_force(folder: Path) -> None:
    target = folder / "runs" / "2016" / "logreg_v1.pkl.persist"
    target.write_bytes(b"precious")
    source = "runs/2016/logreg_v1.pkl"
    run = command("upgrade", source, cwd=folder)
    assert "there already" in run.stdout
    assert target.read_bytes() == b"precious"
    run = command("upgrade", source, "--force", cwd=folder)
    assert run.returncode == 0
    assert persist.open(target).format == "persist"


def test_upgrade_lists_a_bad_file_and_goes_on(folder: Path) -> None:
    runs = folder / "runs" / "2016"
    (runs / "a-bad.pkl").write_bytes(GENERATIONS[3].read_bytes()[:200])
    run = command("upgrade", "runs", cwd=folder)
    assert run.returncode == 1
    assert "4 upgraded" in run.stdout
    assert "1 failed" in run.stdout
    assert "a-bad.pkl" in run.stderr
    assert not [name for name in os.listdir(runs) if name.startswith(".")]


def test_upgrade_whose_step_fails_names_the_step_and_writes_nothing(folder: Path) -> None:
    (folder / "failing.py").write_text(
        CLASSES.replace("test-cli", "test-cli-failing").replace(
            'persist.migration(Classifier, 1, ops.unpack("weights", "bias"))',
            "@persist.migration(Classifier, 1)\ndef name_the_parts(state):\n    return 1 / 0\n",
        )
    )
    run = command("upgrade", "runs", "--import", "failing", cwd=folder)
    assert run.returncode == 1
    assert "3 upgraded, 1 not an experiment file, 1 failed" in run.stdout
    assert "division by zero" in run.stderr
    assert "name_the_parts" in run.stderr
    assert not (folder / "runs" / "2016" / "logreg_v1.pkl.persist").exists()


def test_upgrade_with_a_folder_of_migrations(folder: Path) -> None:
    packs = folder / "ours"
    packs.mkdir()
    (packs / "logreg.py").write_text(CLASSES.replace("test-cli", "test-cli-folder"))
    (packs / "numpy.py").write_text("from persist import Registry\npack = Registry('of numpy')\n")
    run = command("upgrade", "runs", "--migrations", "ours", cwd=folder)
    assert run.returncode == 0, run.stderr
    assert "test-cli-folder.Classifier 1 to 3" in run.stdout


@pytest.mark.parametrize("format", ["pickle", "npz"])
def test_upgrade_into_another_format(format: str, folder: Path) -> None:
    ending = {"pickle": ".pkl", "npz": ".npz"}[format]
    source = folder / "arrays.pkl"
    source.write_bytes(pickle.dumps({"W": np.arange(6.0).reshape(2, 3)}, 2))
    run = command("upgrade", "arrays.pkl", "--format", format, cwd=folder)
    assert run.returncode == 0, run.stderr
    with persist.open(folder / f"arrays.pkl{ending}") as file:
        assert file.arrays["W"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.packs
def test_upgrade_into_pickles_that_plain_pickle_loads(folder: Path) -> None:
    """The versions stand in them, so that the same class goes on from there."""
    run = command(
        "upgrade", "runs", "--format", "pickle", "--to", "today", "--import", "our_classes",
        cwd=folder,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "4 upgraded" in run.stdout
    (folder / "look.py").write_text(
        "import pathlib, pickle\n"
        "for path in sorted(pathlib.Path('today').rglob('*.pkl')):\n"
        "    net = pickle.loads(path.read_bytes())\n"
        "    print(type(net).__module__, net.weights.shape, net.activation)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(persist.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "look.py"], cwd=folder, capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout == "our_classes (6, 3) softmax\n" * 4


@pytest.mark.parametrize(
    "case", sorted(path.name for path in CORPUS.glob("pickle-*")), ids=lambda name: str(name)[7:]
)
def test_upgrade_keeps_every_array_and_value(case: str, tmp_path: Path) -> None:
    source = next(path for path in (CORPUS / case).iterdir() if path.name != "expected.json")
    assert main(["upgrade", str(source), "--to", str(tmp_path)]) == 0
    with persist.open(source) as old, persist.open(tmp_path / f"{source.name}.persist") as new:
        assert set(old.arrays) == set(new.arrays)
        assert set(old.scalars) == set(new.scalars)
        for name in old.arrays:
            assert difference(old.arrays[name], new.arrays[name]) is None
        for name in old.scalars:
            if not isinstance(old.scalars[name], Global):  # a name may have another one today
                assert difference(old.scalars[name], new.scalars[name]) is None


# convert and verify


def written_formats() -> dict[str, str]:
    """The formats that can be written, under their full and their short name, and the suffix of each."""
    suffixes = {}
    for reader in readers():
        if reader.writes:
            last = reader.name.rpartition("-")
            suffix = reader.suffixes[0] if reader.suffixes else f".{last[2]}"
            suffixes |= {reader.name: suffix, (last[0] or last[2]): suffix}
    return suffixes


def test_the_formats_that_can_be_written_are_these() -> None:
    names = {
        "persist",
        "npz",
        "pickle",
        "safetensors",
        "torch",
        "torch-zip",
        "theano",
        "theano-zip",
        *("torch-legacy", "npy", "mxnet", "hdf5", "keras", "keras-h5", "keras-zip"),
        *("tensorflow", "tensorflow-checkpoint"),
    }
    assert set(written_formats()) == names


# One array, weights of layers, a model, several files: see tests/readers/test_written.py.
OF_THEIR_OWN = {
    *("npy", "keras", "keras-h5", "keras-zip", "tensorflow", "tensorflow-checkpoint"),
}


@pytest.mark.parametrize("to", ["keras", "tensorflow"])
def test_upgrade_names_the_command_for_what_it_does_not_write(
    to: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["upgrade", "arrays.pkl", "--format", to])
    assert f"persist convert --to {to}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "to",
    [
        pytest.param(name, marks=pytest.mark.extra("h5py") if name == "hdf5" else ())
        for name in sorted(written_formats().keys() - OF_THEIR_OWN)
    ],
)
def test_convert_and_upgrade_write_every_format_that_save_writes(
    to: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {"W": np.arange(6.0).reshape(2, 3), "b": np.arange(3)}
    (folder / "arrays.pkl").write_bytes(pickle.dumps(arrays, 2))
    with open(folder / "saved", "wb") as target:
        persist.save(arrays, target, format=to)
    with persist.open(folder / "saved") as file:
        expected = file.format
    ending = written_formats()[to]
    for number, command in enumerate(
        (["convert", "--to", to, "--force"], ["upgrade", "--format", to, "--force"])
    ):
        assert main([command[0], "arrays.pkl", *command[1:]]) == 0, capsys.readouterr().err
        with persist.open(folder / f"arrays.pkl{ending}") as file:
            assert file.format == expected, number
            assert {path: np.asarray(file.arrays[path]).tolist() for path in file.arrays} == {
                path: array.tolist() for path, array in arrays.items()
            }


@pytest.mark.extra("h5py")
@pytest.mark.parametrize("arguments", [["convert", "--to"], ["upgrade", "--format"]])
def test_a_format_that_cannot_be_written_lists_those_that_can(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "arrays.pkl").write_bytes(pickle.dumps({"W": np.arange(3)}, 2))
    with pytest.raises(SystemExit) as caught:
        main([arguments[0], "arrays.pkl", arguments[1], "tf1"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "there is no format 'tf1' to write" in error
    listed = re.search(r"One of these: (.*)\.", " ".join(error.split()))
    assert listed is not None
    for name in listed[1].split(", "):
        if not name.startswith("keras-"):  # which hold layers
            assert main(["convert", "arrays.pkl", "--to", name, "--force"]) == 0


@pytest.mark.parametrize("to", ["npz", "persist", "pickle", "theano-zip"])
def test_convert(to: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ending = written_formats()[to]
    source = "runs/2016/logreg_v3.pkl"
    assert main(["convert", source, "--to", to]) == 0
    with persist.open(source + ending) as file:
        assert file.arrays["weights"].shape == (6, 3)
    assert main(["convert", source, "--to", to]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["convert", source, "--to", to, "--force"]) == 0
    assert main(["convert", source, "--to", to, "--out", "elsewhere" + ending]) == 0
    assert (folder / f"elsewhere{ending}").exists()


def test_convert_to_npz_is_what_numpy_reads_and_counts_what_is_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "runs/2016/logreg_v3.pkl", "--to", "npz"]) == 0
    assert "2 values that are not arrays" in capsys.readouterr().out
    with np.load("runs/2016/logreg_v3.pkl.npz") as file:
        assert sorted(file) == ["bias", "weights"]


def test_convert_to_one_name_takes_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(path) for path in GENERATIONS[:2]]
    assert main(["convert", *paths, "--to", "npz", "--out", "x.npz"]) == 2
    assert "--out" in capsys.readouterr().err


def test_verify_reads_every_file_of_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "runs"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert sum(": pickle, whole: 2 arrays (168 B)" in line for line in lines) == len(GENERATIONS)
    assert captured.err == "persist: 1 is not an experiment file: runs/2016/notes.txt\n"


def test_verify_tells_whole_files_from_damaged_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["convert", "runs/2016/logreg_v3.pkl", "--to", "persist", "--out", "a.persist"]) == 0
    )
    capsys.readouterr()
    assert main(["verify", "a.persist", "runs/2016/logreg_v3.pkl"]) == 0
    assert capsys.readouterr().out.count("whole: 2 arrays (168 B)") == 2
    data = bytearray(Path("a.persist").read_bytes())
    with persist.open("a.persist") as file:
        at = data.index(np.asarray(file.arrays["weights"]).tobytes())
    data[at] ^= 1
    Path("a.persist").write_bytes(data)
    assert main(["verify", "--quiet", "a.persist"]) == 1
    assert "a.persist" in capsys.readouterr().err
    Path("log.pkl").write_bytes(pickle.dumps(1) + pickle.dumps([1] * 50)[:-9])
    assert main(["verify", "log.pkl"]) == 1


# Comparing trees.

cycle: list[Any] = [1]
cycle.append(cycle)
DIFFERENT: list[tuple[Any, Any, str]] = [
    (1, 2, "another value"),
    (1, 1.0, "a float instead of a int"),
    (True, 1, "a int instead of a bool"),
    (0.0, -0.0, "another value"),
    ([1, 2], [1], "1 items"),
    ({"a": 1}, {"b": 1}, "key a: another value"),
    ({1}, {2}, "set"),
    (np.zeros(2), np.ones(2), "other bytes"),
    (np.zeros(2), np.zeros(2, "f4"), "float32"),
    (np.zeros(2), np.zeros((2, 1)), "(2, 1)"),
    (np.float32(1), np.float64(1), "a float64"),
    (Record("m.C"), Record("m.D"), "m.D instead of m.C"),
    (Record("m.C", {"a": 1}), Record("m.C", {"a": 2}), "state/a"),
    (Record("m.C", version=1), Record("m.C", version=2), "version"),
    (Global("m", "f"), Global("m", "g"), "another value"),
    ([cycle[0:0]] * 2, [[], []], "shared"),
    ([[], []], [[]] * 2, "shared"),
]


@pytest.mark.parametrize(("one", "two", "words"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_different_trees_are_distinguished(one: Any, two: Any, words: str) -> None:
    assert words in str(difference(one, two))
    assert difference([one], [two]) is not None


def test_equal_trees_are_the_same_cycles_and_all() -> None:
    def made() -> Any:
        record = Record("m.C", {"a": [1, (2.5, float("nan"))], "w": np.arange(3)})
        record.me = record
        objects = np.array([{"x": 1}, None], dtype=object)
        return {"r": [record, record], "o": objects, "s": {1, "a"}, "b": b"x", "n": np.float32(1)}

    assert difference(made(), made()) is None
    deep_one: Any = []
    deep_two: Any = []
    for _ in range(100_000):
        deep_one, deep_two = [deep_one], [deep_two]
    assert difference(deep_one, deep_two) is None


def test_the_verdict_on_a_name_is_what_became_of_it(tmp_path: Path) -> None:
    settings = {"args": argparse.Namespace(lr=0.1), "dtype": np.float64, "hash": hash}
    (tmp_path / "settings.pkl").write_bytes(pickle.dumps(settings, 2))
    done = subprocess.run(
        [*RUN, "inspect", "settings.pkl"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (
        "argparse.Namespace  a class of the standard library: a record of its attributes"
        in done.stdout
    )
    assert re.search("numpy.float64 +a class or function, kept as its name", done.stdout)
    joblib = Path(__file__).parents[1] / "corpus" / "joblib" / "joblib-0.10.3-py27-single"
    file = next(path for path in joblib.iterdir() if path.name != "expected.json")
    done = subprocess.run([*RUN, "inspect", str(file)], capture_output=True, text=True)
    assert re.search("NumpyArrayWrapper +an array of joblib, read", done.stdout)
    assert "not here" not in done.stdout
