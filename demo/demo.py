"""What persist does, on genuine old files: run it with ``make demo``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np

import persist
from persist._trees.show import leaf_text

HERE = Path(__file__).parent
CORPUS = HERE.parent / "tests" / "corpus"
WIDE = min(shutil.get_terminal_size((100, 24)).columns, 100)
IS_TERMINAL = sys.stdout.isatty()

# Old files of many kinds: (family, case, what is in it, as its owner would say).
SHOWN = (
    ("pickle", "pickle-py27-p0-oldstyle-mlp", "Python 2.7, protocol 0, an old-style class that is gone"),
    ("pickle", "pickle-py27-multi-object", "three objects, one after another, in one file"),
    ("numpy", "numpy-1.6.2-py27-npy-object-dict", "NumPy 1.6 on Python 2.7, an array of objects"),
    ("theano", None, "Theano, with no Theano here"),
    ("sklearn", "sklearn-0.17.1-py27-logistic-pickle", "scikit-learn 0.17"),
    ("pandas", "pandas-0.12.0-py27-frame", "pandas 0.12"),
    ("torch", None, "PyTorch, with no torch here"),
    ("mxnet", None, "MXNet, with no MXNet here"),
    ("tensorflow", None, "TensorFlow, with no TensorFlow here"),
)  # fmt: skip


def main() -> None:
    began = time.perf_counter()
    work = Path(tempfile.mkdtemp(prefix="persist-demo-"))
    try:
        four_generations()
        saved(work)
        by_command(work)
        old_files()
        damaged(work)
    finally:
        shutil.rmtree(work)
    print()
    say(f"All of it in {time.perf_counter() - began:.1f} s. `persist --help` goes on from here.")


# The page.


def title(text: str) -> None:
    line = f"── {text} " + "─" * max(3, WIDE - len(text) - 4)
    print(f"\n\033[1m{line}\033[0m\n" if IS_TERMINAL else f"\n{line}\n")


def say(text: str) -> None:
    print(f"  {text}")


def code(text: str) -> None:
    print(f"  \033[36m>>> {text}\033[0m" if IS_TERMINAL else f"  >>> {text}")


def generations() -> list[Path]:
    return [
        next((CORPUS / "pickle" / f"pickle-evolution-gen{n}").glob("*.pkl")) for n in range(1, 5)
    ]


# What it shows.


def four_generations() -> None:
    title("Four generations of one class, 2012 to 2022, load as today's")
    say("Python 2.7 wrote a bare tuple (W, b); then a dict; then a field was added; then the class")
    say("moved and was renamed. demo/classifier.py declares today's class, and four small steps.")
    print()
    from classifier import SoftmaxClassifier

    code("net = persist.load(path)")
    nets = []
    for path in generations():
        net = persist.load(path)
        assert type(net) is SoftmaxClassifier
        nets.append(net)
        entry = persist.explain(path)[""]
        with persist.open(path) as file:
            writer = f"Python {file.writer['python']}"
        way = " → ".join([str(entry.found), *(str(step.to) for step in entry.courses[-1].steps)])
        say(f"{path.name}  {entry.qualname:<37}  {writer:<19}  {way:<17}  {net.weights.shape}")
    equal = all(np.array_equal(net.weights, nets[0].weights) for net in nets)
    equal = equal and all(np.array_equal(net.bias, nets[0].bias) for net in nets)
    say(f"equal weights and biases in all four: {equal}")
    print()
    code(f"print(persist.explain({generations()[0].name!r}))    # and why")
    for line in str(persist.explain(generations()[0])).splitlines()[1:]:
        say(line)


def saved(work: Path) -> None:
    title("Saved today: one ZIP that NumPy alone can read in twenty years")
    target = work / "net.persist"
    net = persist.load(generations()[0])
    code('persist.save(net, "net.persist")')
    persist.save(net, target)
    print()
    code('numpy.load("net.persist")    # NumPy alone, without persist')
    script = (
        "import numpy, sys; file = numpy.load(sys.argv[1])\n"
        "for name in ('weights', 'bias'): print(name, file[name].dtype, file[name].shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True
    )
    for line in run.stdout.splitlines():
        say(line)
    again = persist.load(target)
    say(
        f"loaded again: {type(again).__name__}, equal: {np.array_equal(again.weights, net.weights)}"
    )


def by_command(work: Path) -> None:
    title("A folder of them, by the command line")
    folder = work / "runs"
    folder.mkdir()
    for path in generations():
        shutil.copy(path, folder)
    for arguments in (["upgrade", "runs", "--to", "today", "--import", "classifier"],) * 2:
        command([*arguments], work)
    command(["verify", "today/logreg_v1.pkl.persist"], work)


def command(arguments: list[str], work: Path) -> None:
    shown = f"$ persist {' '.join(arguments)}"
    print(f"  \033[36m{shown}\033[0m" if IS_TERMINAL else f"  {shown}")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from persist._cli import main; sys.exit(main())",
            *arguments,
        ],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in (run.stdout + run.stderr).splitlines():
        say(line)
    if run.returncode:
        raise SystemExit(f"persist {' '.join(arguments)} ended with {run.returncode}")


def old_files() -> None:
    title("Other people's old files: opened without the libraries, and without running anything")
    for family, case, what in SHOWN:
        folder = smallest(family) if case is None else CORPUS / family / case
        if folder is None or not folder.is_dir():
            continue
        show_one(folder, what)


def smallest(family: str) -> Path | None:
    """The case of a family with the fewest bytes, of those that are one file."""
    cases = []
    for folder in (CORPUS / family).glob("*/"):
        files = [path for path in folder.iterdir() if path.name != "expected.json"]
        if len(files) == 1 and files[0].is_file():
            cases.append((files[0].stat().st_size, folder))
    return min(cases)[1] if cases else None


def show_one(folder: Path, what: str) -> None:
    path = next(path for path in sorted(folder.iterdir()) if path.name != "expected.json")
    try:
        file = persist.open(path)
    except persist.errors.MissingExtraError as error:
        say(f"{path.name}: {error.remedy}")
        return
    with file:
        say(f"{path.name}: {what}")
        writer = ", ".join(f"{name} {value}" for name, value in file.writer.items())
        say(f"    format {file.format}" + (f", written by {writer}" if writer else ""))
        rows = [(name or "(root)", file.arrays[name]) for name in list(file.arrays)[:3]]
        rows += [(name or "(root)", file.scalars[name]) for name in list(file.scalars)[:2]]
        for name, leaf in rows:
            say(f"    {name:<28.28}  {leaf_text(leaf)}")
        more = len(file.arrays) + len(file.scalars) - len(rows)
        if more > 0:
            say(f"    ... and {more:,} more")
    print()


def damaged(work: Path) -> None:
    title("Files that are damaged, or are no files at all, are told in plain words")
    whole = generations()[3].read_bytes()
    pages = {
        "net.pkl": whole[: len(whole) // 2],
        "model.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102400\n",
        "weights.h5": b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n",
        "log.pkl": whole + whole[:100],
    }
    for name, data in pages.items():
        path = work / name
        path.write_bytes(data)
        try:
            with persist.open(path) as file:
                say(f"{name}: opened; {file.damage[0]}")
        except persist.PersistError as error:
            error.file = name
            for line in textwrap.wrap(str(error), WIDE - 6, subsequent_indent="    "):
                say(line)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    warnings.simplefilter("error")
    main()
