"""Make the pictures of the docs: pages of `persist view`, in a headless Chromium.

``python docs/make_pictures.py`` writes ``docs/pictures/*.png``; it needs Chromium (Debian's package chromium).
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from persist._cli import main

TOP = Path(__file__).parents[1]
CORPUS = TOP / "tests" / "corpus"
# Name of the picture -> the file, and the button that is pressed.
PICTURES = {
    "view-content": ("keras/keras-1.2.2-py27-mlp-adam/my_model.h5", "Content"),
    "view-network": ("keras/keras-1.2.2-py27-mlp-adam/my_model.h5", "Network"),
}


def _browser() -> Any:
    spec = importlib.util.spec_from_file_location("browser", TOP / "tests" / "view" / "browser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make() -> None:
    """Write every picture."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        with _browser().browser(Path(folder) / "profile") as tab:
            for name, (file, button) in PICTURES.items():
                main(["view", str(CORPUS / file), "--out", str(page), "--no-open"])
                tab.open(page)
                tab.run(
                    "[...document.querySelectorAll('nav button')]"
                    f".find((b) => b.textContent === {button!r}).click()"
                )
                tab.run(f"document.querySelector('h1').textContent = {Path(file).name!r}")
                tab.run("new Promise((done) => setTimeout(done, 200))")
                (TOP / "docs" / "pictures" / f"{name}.png").write_bytes(tab.picture())


if __name__ == "__main__":
    make()
