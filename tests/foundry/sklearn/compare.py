"""Hold the objects that `persist.load` makes against what the release that wrote them answered.

    python compare.py > matrix.tsv

Needs the scikit-learn for which objects are made. The table has a row for each estimator of
``make.py`` and a column for each archive; a cell is "equal", "refused: REASON", or empty where the
release has no such estimator. Anything else is a fault.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import persist

HERE = Path(__file__).parent

# What one release computes otherwise than another, of the same state and on purpose.
LOOSER = {"knn_classifier_brute": 1e-7}  # distances of 1.1 and later are computed in blocks
SHAPED_OTHERWISE = ("coef_",)  # transposed for PLS in 1.3, gone from naive Bayes in 1.1
# 0.13 and 0.14 divided zero by zero for samples that were fitted; what was a number is held against.
NAN_BEFORE = ("knn_classifier_ball",)
OTHER_IMPORTANCES = ("boosting",)  # each tree's importances are normalized since 0.20


def archives() -> list[Path]:
    """The archives of all releases, oldest first."""
    return sorted(
        HERE.glob("*.zip.xz"), key=lambda path: [int(n) for n in name_of(path).split(".")]
    )


def name_of(path: Path) -> str:
    """The release of an archive."""
    return path.name.removesuffix(".zip.xz")


def cases(path: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """The name, pickle and recorded answers of each estimator of a release."""
    with lzma.open(path) as stream, zipfile.ZipFile(io.BytesIO(stream.read())) as archive:
        for member in sorted(archive.namelist()):
            name, _, kind = member.rpartition(".")
            if kind == "pkl":
                with np.load(io.BytesIO(archive.read(f"{name}.npz"))) as answers:
                    yield name, archive.read(member), dict(answers)


def releases(path: Path) -> dict[str, Any]:
    """The releases that wrote an archive."""
    with lzma.open(path) as stream, zipfile.ZipFile(io.BytesIO(stream.read())) as archive:
        found: dict[str, Any] = json.loads(archive.read("releases.json"))
        return found


def verdict(make: Any, name: str, data: bytes, recorded: dict[str, Any]) -> str:
    """Say whether an estimator answers as it did: "equal", "refused: ...", or what differs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = persist.load(data)
    if isinstance(model, persist.Record):
        text = str(caught[0].message) if caught else ""
        reason = text.partition("can be made: ")[2].partition(". persist.open")[0]
        return f"refused: {reason}" if reason else f"a record, without a reason: {text}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        faults = [*_differences(make, name, model, recorded), *_manners(model)]
    return "; ".join(faults) or "equal"


def _differences(make: Any, name: str, model: Any, recorded: dict[str, Any]) -> Iterator[str]:
    found = make.answers(model, make.INPUTS[name])
    for method, expected in recorded.items():
        if method in SHAPED_OTHERWISE:
            continue
        if method == "feature_importances_" and any(part in name for part in OTHER_IMPORTANCES):
            continue
        if method not in found:
            if hasattr(model, method.rstrip("0123456789").removesuffix("_")):
                yield f"{method} fails"
            continue  # the installed release has no such method, or not for such an estimator
        got, wanted = np.squeeze(found[method]), np.squeeze(expected)
        if got.shape != wanted.shape:
            yield f"{method} has the shape {got.shape}, not {wanted.shape}"
        elif got.dtype.kind in "fc":
            if name in NAN_BEFORE:
                got = np.where(np.isnan(wanted), np.nan, got)
            if not np.allclose(
                got, wanted, rtol=1e-9, atol=LOOSER.get(name, 1e-12), equal_nan=True
            ):
                yield f"{method} differs by {np.nanmax(np.abs(got - wanted)):.3g}"
        elif not np.array_equal(got, wanted):
            yield f"{method} differs"


def _manners(model: Any) -> Iterator[str]:
    """What else people do with an estimator."""
    from sklearn.base import clone
    from sklearn.utils.validation import check_is_fitted

    try:
        clone(model)
        repr(model)
        model.get_params()
        check_is_fitted(model)
        if hasattr(model, "_parameter_constraints"):
            model._validate_params()
    except Exception as error:  # whatever it raises is the fault to report
        yield f"{type(error).__name__}: {error}"


def main() -> None:
    """Print the table."""
    sys.path.insert(0, str(HERE))
    make = __import__("make")
    columns = archives()
    table: dict[str, dict[str, str]] = {}
    for path in columns:
        for name, data, recorded in cases(path):
            table.setdefault(name, {})[name_of(path)] = verdict(make, name, data, recorded)
    print("estimator", *map(name_of, columns), sep="\t")
    for name in sorted(table):
        print(name, *(table[name].get(name_of(path), "") for path in columns), sep="\t")


if __name__ == "__main__":
    main()
