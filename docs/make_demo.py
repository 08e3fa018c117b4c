"""Make persist/demo/files.zip, the genuine old files that README and docs use: ``python docs/make_demo.py``.

A case of ``tests/corpus`` belongs to it if a page names its folder; the four generations of one class
are ``runs/``. ``persist demo DIR`` unpacks them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

TOP = Path(__file__).parents[1]
CORPUS = TOP / "tests" / "corpus"
TARGET = TOP / "persist" / "demo" / "files.zip"
_NOT = ("expected.json", "make.py")


def members() -> dict[str, Path]:
    """Return name in the archive -> file of the corpus."""
    pages = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
    text = "\n".join(
        page.read_text(encoding="utf-8") for page in pages if page.name != "changelog.md"
    )
    found = {
        f"runs/{path.name}": path
        for path in sorted(CORPUS.glob("pickle/pickle-evolution-gen*/*.pkl"))
    }
    for case in sorted(CORPUS.glob("*/*-*/")):
        if (
            f"/{case.name}/" not in text
            and f'"{case.name}/' not in text
            and f'/{case.name}"' not in text
        ):
            continue
        for path in sorted(case.rglob("*")):
            if path.is_file() and path.name not in _NOT:
                found[f"corpus/{path.relative_to(CORPUS).as_posix()}"] = path
    return found


def main() -> None:
    """Write the archive; equal files give equal bytes."""
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in members().items():
            archive.writestr(
                zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)),
                path.read_bytes(),
                zipfile.ZIP_DEFLATED,
                9,
            )


if __name__ == "__main__":
    main()
