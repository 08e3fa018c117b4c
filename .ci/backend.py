"""The build backend: setuptools, with editable installs that type checkers and editors can follow.

`persist.migrations` lies in ``migrations/``, not below ``persist/``. For such a layout the editable
install of setuptools consists of an import hook, and a hook is code, which no type checker runs. Here
the same wheel also gets a ``.pth`` file that names this folder: with it `persist` is found as a
folder, by Python and by every checker, and the hook remains for `persist.migrations` alone.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

TOP = Path(__file__).resolve().parents[1]
NAME = "__editable__.persist_state.path.pth"


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, str | list[str] | None] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the editable wheel (PEP 660); a mode that the user asks for is left as it is."""
    name = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)  # type: ignore[arg-type,unused-ignore]
    if not any("editable" in key for key in config_settings or {}):
        add_file(Path(wheel_directory, name), NAME, f"{TOP}\n".encode())
    return name


def add_file(wheel: Path, name: str, data: bytes) -> None:
    """Add a file to a wheel, and its row to RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(wheel) as old:
        members = {info: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(name, data)
        for info, content in members.items():
            if info.filename.endswith(".dist-info/RECORD"):
                content += f"{name},sha256={digest},{len(data)}\n".encode()
            new.writestr(info, content)
