"""The public surface: names and signatures, frozen in api.txt.

A change is made on purpose: ``python tests/house/test_api.py > tests/house/api.txt``, and a line in
docs/changelog.md.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import persist
from persist import errors, ops

FROZEN = Path(__file__).with_name("api.txt")


def surface() -> Iterator[str]:
    """Every public name, with its signature."""
    yield from described("persist", persist, persist.__all__)
    yield from described("persist.ops", ops, ops.__all__)
    for name in sorted(errors.__all__):
        bases = ", ".join(base.__name__ for base in getattr(errors, name).__bases__)
        yield f"persist.errors.{name}({bases})"


def described(prefix: str, module: Any, names: list[str]) -> Iterator[str]:
    for name in sorted(names):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield f"class {prefix}.{name}{signature(value)}"
            yield from members(f"{prefix}.{name}", value)
        elif callable(value):
            yield f"{prefix}.{name}{signature(value)}"
        elif inspect.ismodule(value):
            yield f"module {prefix}.{name}"
        else:
            yield f"{prefix}.{name}"


def members(prefix: str, cls: type) -> Iterator[str]:
    for name, value in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if inspect.isfunction(value):
            yield f"{prefix}.{name}{signature(value)}"
        else:
            yield f"{prefix}.{name}"


def signature(value: Any) -> str:
    """Names and defaults of parameters, without annotations, which differ between Pythons."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    bare = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=parameter.default
            if isinstance(parameter.default, str | int | float | tuple | frozenset | type(None))
            or parameter.default is inspect.Parameter.empty
            else ...,
        )
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_the_surface_is_as_it_was_frozen() -> None:
    frozen = FROZEN.read_text().splitlines()
    now = list(surface())
    assert sorted(set(now) - set(frozen)) == [], "new; freeze it on purpose (see the docstring)"
    assert sorted(set(frozen) - set(now)) == [], "gone or changed"


def test_every_public_name_has_a_docstring() -> None:
    for name in persist.__all__:
        value = getattr(persist, name)
        if not isinstance(value, str):
            assert (value.__doc__ or "").strip(), name


def test_the_face_is_lazy() -> None:
    script = (
        "import sys, persist\n"
        "print(sorted(n for n in sys.modules if n.startswith('persist.') or n in ('numpy', 'attr')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_face_lists_what_it_has_and_nothing_else() -> None:
    assert dir(persist) == persist.__all__
    assert sorted(persist.__all__) == persist.__all__
    try:
        persist.no_such_name  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)


def test_errors_import_nothing() -> None:
    tree = ast.parse(inspect.getsource(errors))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


if __name__ == "__main__":
    print("\n".join(surface()))
