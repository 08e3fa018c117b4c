"""`persist upgrade --format joblib`: files of old releases that today's library loads by itself."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import persist
from persist import _cli

pytestmark = [pytest.mark.interop, pytest.mark.packs, pytest.mark.slow]

pytest.importorskip("joblib")
pytest.importorskip("sklearn")

FOUNDRY = Path(__file__).parents[1] / "foundry" / "sklearn"


def estimator(release: str, name: str) -> bytes:
    """A pickle that a genuine release wrote."""
    with lzma.open(FOUNDRY / f"{release}.zip.xz") as stream:
        return zipfile.ZipFile(io.BytesIO(stream.read())).read(f"{name}.pkl")


def loaded_alone(file: Path, how: str, answers: Path) -> None:
    """Load a file as users do, in a process where persist cannot be imported."""
    code = (
        "import sys, warnings; sys.modules['persist'] = None; warnings.simplefilter('error')\n"
        "import numpy as np, joblib, pickle\n"
        f"model = {how}\n"
        "x = np.linspace(-2, 2, 80).reshape(20, 4)\n"
        f"np.save({os.fspath(answers)!r}, model.predict_proba(x))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("form", ["joblib", "pickle"])
def test_todays_library_loads_what_was_written(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    old = tmp_path / "old.pkl"
    old.write_bytes(estimator("0.20.4", "forest_classifier"))
    assert _cli.main(["upgrade", str(old), "--to", str(tmp_path / "new"), "--format", form]) == 0
    new = next((tmp_path / "new").iterdir())
    assert new.name == {"joblib": "old.pkl.joblib", "pickle": "old.pkl"}[form]
    how = (
        f"joblib.load({str(new)!r})"
        if form == "joblib"
        else f"pickle.load(open({str(new)!r}, 'rb'))"
    )
    loaded_alone(new, how, tmp_path / "answers.npy")
    x = np.linspace(-2, 2, 80).reshape(20, 4)
    expected = persist.load(old).predict_proba(x)
    assert np.array_equal(np.load(tmp_path / "answers.npy"), expected)
    capfd.readouterr()


def test_what_cannot_be_made_fails_with_the_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.joblib"
    old.write_bytes(estimator("0.20.4", "adaboost_classifier"))
    arguments = ["upgrade", str(old), "--to", str(tmp_path / "new"), "--format", "joblib"]
    assert _cli.main(arguments) == 1
    assert "SAMME.R, which scikit-learn 1.6 removed" in capfd.readouterr().err
    assert not list(tmp_path.glob("new/*"))


def test_a_dry_run_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.joblib"
    old.write_bytes(estimator("0.17.1", "pipeline"))
    arguments = ["upgrade", str(old), "--to", str(tmp_path / "new"), "--format", "joblib"]
    assert _cli.main([*arguments, "--dry-run"]) == 0
    assert "would be upgraded" in capfd.readouterr().out
    assert not list(tmp_path.glob("new/*"))
