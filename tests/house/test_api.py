"""The public surface: names and signatures, frozen in api.txt.

A change is made on purpose: ``python tests/house/test_api.py > tests/house/api.txt``, and a line in
docs/changelog.md.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, is_typeddict

import pytest

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
    own: dict[str, Any] = {}
    for base in reversed(cls.__mro__):  # what a private base has is of the class
        if base is cls or (
            base.__module__.startswith("persist.registry._") and cls.__name__ == "Registry"
        ):
            own.update(vars(base))
    for name, value in sorted(own.items()):
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


def public_modules() -> list[Any]:
    """The modules in whose path no name has an underscore, the packs apart, which are data."""
    top = Path(persist.__file__).parent
    names = (path.relative_to(top.parent).with_suffix("").parts for path in top.rglob("*.py"))
    dotted = {
        ".".join(parts).removesuffix(".__init__") for parts in names if "__main__" not in parts
    }
    shown = sorted(name for name in dotted if "._" not in name and ".migrations" not in name)
    return [importlib.import_module(name) for name in shown]


def undocumented(module: Any) -> Iterator[str]:
    """The public classes and functions of a module, and members of the classes, without a docstring.

    A method that a base class documents inherits that docstring, as `help` shows it. An annotated
    attribute is named in the docstring of its class; the keys of a `TypedDict` are keywords, which
    the functions explain.
    """
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            members = [key for key in vars(value) if not key.startswith("_")]
            known = {member: inspect.getattr_static(value, member) for member in members}
            fields = [] if is_typeddict(value) else inspect.get_annotations(value)
            text = value.__doc__ or ""
            yield from (
                f"{module.__name__}.{name}.{field}"
                for field in fields
                if not field.startswith("_") and not re.search(rf"\b{field}\b", text)
            )
            yield from (
                f"{module.__name__}.{name}.{member}"
                for member, found in known.items()
                if callable(getattr(found, "__func__", found)) or isinstance(found, property)
                if not inspect.getdoc(getattr(value, member))
            )
        if (inspect.isclass(value) or inspect.isfunction(value)) and not value.__doc__:
            yield f"{module.__name__}.{name}"


@pytest.mark.parametrize("module", public_modules(), ids=lambda module: module.__name__)
def test_every_public_class_function_method_and_property_has_a_docstring(module: Any) -> None:
    assert list(undocumented(module)) == []


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
