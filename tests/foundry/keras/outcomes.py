"""What becomes of each case of the foundry in Keras 3: ``python outcomes.py [RELEASE...]`` writes ``outcomes.tsv``.

A case is a tiny model of one layer, or of a few, with the predictions of the release that wrote it. Its
outcome is ``equal`` (the model of today predicts the same within 1e-5), ``composed`` (so, and a layer
that Keras 3 lacks is made of others), or ``refused`` with the reason. Anything else is an error.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import persist
from persist._api import networks
from persist.errors import RestoreError
from persist.tree import Record

# Keras 3 computes the variance of small groups as a difference of squares, old releases closer to its value.
TOLERANCES = {"group-normalization": 2e-4}
HERE = Path(__file__).parent
TABLE = HERE / "outcomes.tsv"


class Case(NamedTuple):
    """A case of one release.

    Attributes:
        name: of the case.
        files: the model, or its architecture and its weights.
        inputs, outputs: of the release's own prediction.
    """

    name: str
    files: dict[str, bytes]
    inputs: list[Any]
    outputs: list[Any]


def releases() -> list[str]:
    """The releases of which there are cases, oldest first."""
    names = [path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz")]
    return sorted(names, key=lambda name: ("tf." in name, [int(part) for part in _numbers(name)]))


def _numbers(name: str) -> list[str]:
    return name.replace("tf.keras-", "").replace("keras-", "").partition("-")[0].split(".")


@functools.cache
def _members(release: str) -> dict[str, bytes]:
    with tarfile.open(HERE / f"{release}.tar.xz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def cases(release: str) -> Iterator[Case]:
    """The cases of a release, by name."""
    members = _members(release)
    for name in sorted(one.removesuffix(".npz") for one in members if one.endswith(".npz")):
        files = {
            suffix: members[name + suffix]
            for suffix in (".json", ".h5", ".keras")
            if name + suffix in members
        }
        arrays = np.load(io.BytesIO(members[f"{name}.npz"]))
        inputs = [arrays[f"x{n}"] for n in range(9) if f"x{n}" in arrays]
        outputs = [arrays[f"y{n}"] for n in range(9) if f"y{n}" in arrays]
        if ".keras" not in files:
            yield Case(name, files, inputs, outputs)
            continue
        for suffix, data in files.items():  # one model in each of two formats
            yield Case(f"{name}-{suffix[1:]}", {suffix: data}, inputs, outputs)


def written(case: Case, folder: Path) -> list[Path]:
    """Write a case's files: the one to load, and behind an architecture its weights."""
    paths = []
    for suffix, data in case.files.items():
        paths.append(folder / f"{case.name}{suffix}")
        paths[-1].write_bytes(data)
    return paths


def planned(case: Case, folder: Path) -> str:
    """The outcome as far as it is known without Keras: ``refused`` with the reason, ``composed`` or ``equal``."""
    path, *weights = written(case, folder)
    with persist.open(path) as file, persist.open(weights[0] if weights else path) as other:
        found = networks.found_in(file, other if weights else None)
        assert found is not None
        record, plan = networks.plan_of(file, found)
        problems = networks.problems_of(found, record, plan, {})
        reasons = {_reason(one) for one in problems}
    if reasons:
        return f"refused: {'; '.join(sorted(reasons))}"
    return "composed" if _is_composed(found.record, record) else "equal"


def _reason(problem: Exception) -> str:
    cause = problem.__cause__ if isinstance(problem.__cause__, RestoreError) else problem
    where, _, reason = cause.what.partition(": ")
    kind = (problem.where or "").rpartition("(")[2].rstrip(")")
    if not kind:
        return str(cause.what)
    option = f"{kind} {where}" if "=" in where or where == "mode" else kind
    return f"{option}: {reason or where}"


def _is_composed(before: Record, after: Record) -> bool:
    old = before.fields().get("layers")
    new = after.fields().get("layers")
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    models = ("keras.Sequential", "keras.Model")
    return any(
        (one.qualname in models and old[name].qualname not in models)
        or (one.qualname in models and _is_composed(old[name], one))
        for name, one in new.items()
        if name in old
    )  # fmt: skip


def predicted(case: Case, folder: Path) -> list[Any]:
    """What the model of today predicts."""
    path, *weights = written(case, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = persist.load(path, weights=weights[0] if weights else None)
        inputs = case.inputs if len(case.inputs) > 1 else case.inputs[0]
        made = model(inputs, training=False)
    to_numpy = importlib.import_module("keras").ops.convert_to_numpy
    return [to_numpy(one) for one in (made if isinstance(made, list | tuple) else [made])]


def outcome(case: Case, folder: Path) -> str:
    """The outcome of a case, with Keras."""
    expected = planned(case, folder)
    if expected.startswith("refused"):
        return expected
    made = predicted(case, folder)
    assert len(made) == len(case.outputs)
    limit = next((one for name, one in TOLERANCES.items() if case.name.startswith(name)), 1e-5)
    for one, other in zip(made, case.outputs, strict=True):
        np.testing.assert_allclose(one, other, rtol=limit, atol=limit, err_msg=case.name)
    return expected


def table() -> dict[tuple[str, str], str]:
    """The committed outcomes: (release, case) -> outcome."""
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    return {(release, name): text for release, name, text in rows}


def main(chosen: list[str]) -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    found = {key: text for key, text in table().items() if chosen and key[0] not in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for release in chosen or releases():
            for case in cases(release):
                found[release, case.name] = outcome(case, Path(folder))
    lines = ["release\tcase\toutcome"]
    for release in releases():
        lines += [f"{one}\t{name}\t{text}" for (one, name), text in found.items() if one == release]
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
