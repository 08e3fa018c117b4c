"""Make docs/survey.png, the page of a survey of the genuine old files: ``python docs/make_survey.py``.

Wanted is Chromium (Debian's package ``chromium``), which draws the page without a screen.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]
KINDS = ("pickle", "joblib", "gensim")
# The dates that the four generations of one class had.
DATES = {"gen1": "2012-05-01", "gen2": "2014-06-01", "gen3": "2016-07-01", "gen4": "2019-08-01"}
SIZE = "1280,1160"


def main() -> None:
    """Copy the files into one folder, survey it, and draw the page."""
    with tempfile.TemporaryDirectory() as work:
        old = Path(work) / "old"
        for kind in KINDS:
            for case in sorted((TOP / "tests" / "corpus" / kind).glob("*-*/")):
                shutil.copytree(
                    case, old / case.name, ignore=shutil.ignore_patterns("*.json", "*.py", "*.md")
                )
                date = DATES.get(case.name.rpartition("-")[2], "2015-01-01")
                seconds = datetime.datetime.fromisoformat(f"{date}T12:00:00+00:00").timestamp()
                for path in (old / case.name).rglob("*"):
                    os.utime(path, (seconds, seconds))
        command = [sys.executable, "-m", "persist", "survey", "old", "--html", "survey.html"]
        env = {**os.environ, "PYTHONPATH": str(TOP)}
        subprocess.run(command, cwd=work, env=env, stdout=subprocess.DEVNULL, check=False)
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={work}/profile", f"--window-size={SIZE}", f"--screenshot={work}/survey.png",
                f"file://{work}/survey.html",
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.copy(f"{work}/survey.png", TOP / "docs" / "survey.png")


if __name__ == "__main__":
    main()
