"""How long the files of TensorFlow, Keras, MXNet and HDF5 take to read: here, and in those libraries.

    python benchmarks/framework_files.py [--mib 1024] [--rounds 5] [--with mxnet=PYTHON] [case ...]

Each way is a process of its own, for that is what one waits for: `first` is a small file, from the start
of the process to the first array and its end; `all` is a file of 1 GiB, of which a byte of each page is
read, told for the whole process and for the reading alone. Ours and theirs take turns; what counts
is the ratio of the medians, theirs through ours. The library itself writes the files. One that is not
installed is left out; one that wants another Python can be told its interpreter: `--with mxnet=/usr/bin/python3.8`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

ARRAYS = 64
_TOUCH = "touch = lambda a: int(np.asarray(a).reshape(-1).view('u1')[::4096].sum())"
_OURS = (
    "import numpy as np, persist",
    "file = persist.open(path)\nfor name in file.arrays: touch(file.arrays[name])",
)


@attrs.frozen
class Case:
    """One kind of file.

    Attributes:
        library: its import name.
        file: what the file is called.
        write: writes ``count`` arrays of ``rows`` x 1024 floats to ``path``.
        imports: what reading imports.
        read: reads all of ``path``.
    """

    library: str
    file: str
    write: str
    imports: str
    read: str


_H5 = "import numpy as np, h5py"
_TF = "import numpy as np, tensorflow as tf"
_KERAS = "import numpy as np, keras"
_MODEL = """
layers = [keras.layers.Dense(1024, use_bias=False, input_shape=(rows,))]
layers += [keras.layers.Dense(rows if n % 2 else 1024, use_bias=False) for n in range(1, count)]
model = keras.Sequential(layers)
model.build((None, rows))
"""
_HDF5 = """
with h5py.File(path, "w") as file:
    for n in range(count): file.create_dataset(f"layer/{n}", data=noise(rows), %s)
"""
_BY_H5PY = "file = h5py.File(path)\nfor name in file['layer']: touch(file['layer'][name][()])"
_BY_KERAS = (
    "model = keras.models.load_model(path)\nfor weight in model.get_weights(): touch(weight)"
)

CASES = {
    "hdf5": Case("h5py", "whole.h5", _HDF5 % "", _H5, _BY_H5PY),
    "hdf5-gzip": Case(
        "h5py",
        "gzip.h5",
        _HDF5
        % "chunks=(min(rows, 256), 256), compression='gzip', compression_opts=1, shuffle=True",
        _H5,
        _BY_H5PY,
    ),
    "keras-h5": Case("keras", "model.h5", _MODEL + "model.save(path)", _KERAS, _BY_KERAS),
    "keras-zip": Case("keras", "model.keras", _MODEL + "model.save(path)", _KERAS, _BY_KERAS),
    "tensorflow-checkpoint": Case(
        "tensorflow",
        "model.ckpt-1",
        "tensors = [tf.constant(noise(rows)) for n in range(count)]\n"
        "names = [f'layer{n}/w' for n in range(count)]\n"
        "tf.raw_ops.SaveV2(prefix=path, tensor_names=names, shape_and_slices=[''] * count, "
        "tensors=tensors)",
        _TF,
        "file = tf.train.load_checkpoint(path)\n"
        "for name in file.get_variable_to_shape_map(): touch(file.get_tensor(name))",
    ),
    "tensorflow-graph": Case(
        "tensorflow",
        "frozen.pb",
        "graph = tf.Graph()\n"
        "with graph.as_default():\n"
        "    for n in range(count): tf.constant(noise(rows), name=f'w{n}')\n"
        "tf.io.write_graph(graph, '', path, as_text=False)",
        _TF,
        "graph = tf.compat.v1.GraphDef()\n"
        "with open(path, 'rb') as file: graph.ParseFromString(file.read())\n"
        "for n in graph.node: touch(tf.make_ndarray(n.attr['value'].tensor))",
    ),
    "mxnet": Case(
        "mxnet",
        "net-0001.params",
        "mx.nd.save(path, {f'arg:layer{n}': mx.nd.array(noise(rows)) for n in range(count)})",
        "import numpy as np, mxnet as mx",
        "for array in mx.nd.load(path).values(): touch(array.asnumpy())",
    ),
}


def run(python: str, imports: str, body: str, path: Path) -> tuple[float, float]:
    """Run code in a process of its own; return seconds of the whole and of the body."""
    code = "\n".join(
        (
            "import os, sys, time",
            imports,
            _TOUCH,
            "path = sys.argv[1]",
            "begin = time.perf_counter()",
            body,
            "print(time.perf_counter() - begin, file=sys.stderr)",
        )
    )
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    begin = time.perf_counter()
    done = subprocess.run(
        [python, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env=quiet,
        cwd=path.parent,
        check=False,
    )
    whole = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return whole, float(done.stderr.split()[-1])


def has(python: str, library: str) -> bool:
    """Whether an interpreter has a library."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    return not subprocess.run([python, "-c", code], check=False).returncode


def write(python: str, case: Case, path: Path, count: int, rows: int) -> None:
    """Have the library write a file."""
    noise = (
        f"count, rows = {count}, {rows}\n"
        "chance = np.random.RandomState(0)\n"
        "line = chance.standard_normal((1, 1024)).astype('f4').round(2)\n"
        "noise = lambda rows: np.repeat(line, rows, 0) + np.arange(rows, dtype='f4')[:, None]"
    )
    run(python, case.imports, f"{noise}\n{case.write}", path)


def compare(title: str, python: str, case: Case, path: Path, rounds: int) -> None:
    """Let both take turns, and print the medians and their ratio."""
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run(sys.executable, *_OURS, path))
        theirs.append(run(python, case.imports, case.read, path))
    for number, what in enumerate(("process", "reading")):
        mine = statistics.median(each[number] for each in ours)
        other = statistics.median(each[number] for each in theirs)
        told = f"{title}, {what}"
        print(f"  {told:<28}{1e3 * mine:>12.1f} ms{1e3 * other:>12.1f} ms{other / mine:>10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--with", dest="pythons", action="append", default=[], metavar="LIB=PYTHON")
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    options = parser.parse_args()
    pythons = dict(item.split("=", 1) for item in options.pythons)
    rows = options.mib * (1 << 20) // 4096 // ARRAYS
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        for title in options.cases or CASES:
            case = CASES[title]
            python = pythons.get(case.library, sys.executable)
            if not has(python, case.library):
                print(f"\n{title}: {case.library} is not installed, left out")
                continue
            print(f"\n{title:<30}{'persist':>15}{case.library:>15}{'ratio':>10}")
            for what, count, size in (("first", 1, 4), ("all", ARRAYS, rows)):
                folder = Path(name) / title / what
                folder.mkdir(parents=True)
                write(python, case, folder / case.file, count, size)
                compare(what, python, case, folder / case.file, options.rounds)
                for path in folder.iterdir():
                    path.unlink()


if __name__ == "__main__":
    main()
