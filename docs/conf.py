"""The site of the docs, built by ``make docs``: Sphinx, with Markdown pages and docstrings.

Every warning is an error there: a link that leads nowhere, a page that no table of contents
names, a name in a docstring that is not documented.
"""

from __future__ import annotations

import os
import re

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import persist

project = "persist"
author = "The persist developers"
release = version = persist.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
root_doc = "index"
exclude_patterns = ["_build", "_templates"]

# Pages.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # an answer may begin below the second level
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# Docstrings. One backtick is a reference, two are code, as in the source.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Not the source of defaults: those of keywords that functions share are not in the function.
autodoc_preserve_defaults = False
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

nitpicky = True
nitpick_ignore_regex = [
    # The site is built without a network, hence without the inventories of other projects.
    (
        "py:.*",
        r"(collections|concurrent|datetime|numpy|np|os|pathlib|typing|fsspec|torch|attrs?|array_module)\b.*",
    ),
    # Type variables and private helpers in signatures.
    ("py:.*", r"(.*\.)?_\w+(\..*)?"),
    ("py:exc", "RowError"),
    # The aliases of `persist.typing`, by their short names.
    (
        "py:class",
        "ArrayKind|Executor|Progress|CheckpointMode|Compression|DigestName|FillOptions|Format|LoadOptions|MissingResource|Openable"
        "|Python2Text|StepOptions|UnknownFields|Verify|Writable|Readable|NaturalPath|LayoutPolicy|Match|Job|Survey|Ranges|Budget|Home",
    ),
    ("py:.*", r"persist\.migrations.*"),  # a package of data, which has no interface
]

# Other releases of the site, each in a folder next to this one: PERSIST_DOCS_VERSIONS="0.1.0 0.2.0 latest".
templates_path = ["_templates"]
html_context = {
    "versions": [(name, name) for name in os.environ.get("PERSIST_DOCS_VERSIONS", "").split()]
}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/versions.html",
        "sidebar/scroll-end.html",
    ]
}

html_theme = "furo"
html_title = f"persist {release}"
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.reference | None:
    """Find what a docstring names as its module's readers do: by short name, or as a page."""
    target = node["reftarget"]
    builder, page = app.builder, node["refdoc"]
    if found := re.fullmatch(r"docs/(.+)\.md", target):
        if found[1] not in env.all_docs:
            return None
        return make_refnode(builder, page, found[1], "", contnode)
    if node["refdomain"] != "py":
        return None
    found_at = place_of(env, target)
    if found_at is None and "." in target:
        # Fields of a class that its docstring lists have no place of their own.
        found_at = place_of(env, target.rpartition(".")[0])
    return found_at and make_refnode(builder, page, *found_at, contnode, target)


def place_of(env: BuildEnvironment, name: str) -> tuple[str, str] | None:
    """Page and anchor of the object with a short name; a function goes before a method."""
    matches = env.domains.python_domain.find_obj(env, "", "", name, None, searchmode=1)
    places: dict[int, set[tuple[str, str]]] = {}
    for full, entry in matches:
        # An object also has the names of the private modules where it is defined: one place.
        depth = full.count(".") if entry.objtype in ("method", "property", "attribute") else 0
        places.setdefault(depth, set()).add((entry.docname, entry.node_id))
    nearest = places[min(places)] if places else set()
    return nearest.pop() if len(nearest) == 1 else None


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", resolve)
    app.add_lexer("floors", TextLexer)
