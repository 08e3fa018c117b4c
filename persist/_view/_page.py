"""The page: our script and style, and the data as JSON that is never executed.

The data comes from files of strangers. It is one JSON text in a ``<script type="application/json">``, in
which ``<``, ``>`` and ``&`` are written as escapes, so that no tag or comment of HTML can begin in it.
The script puts it into the page by ``textContent`` and onto canvases only. The policy of the page allows
this script and this style by their hashes, and nothing else: no other script, no network, no frame.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources

__all__ = ["html_page"]

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def html_page(data: dict[str, object]) -> str:
    """Return the page that shows data of `file_data`, `folder_data` or `diff_data`."""
    script, style = _asset("page.js"), _asset("page.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>persist view</title><style>{style}</style></head><body>"
        f'<script type="application/json" id="data">{text}</script>'
        f'<div id="app"></div><script>{script}</script></body></html>\n'
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
