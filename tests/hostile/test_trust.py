"""Trust stays exact: nothing in a file, and nothing in the environment, makes more than what ``trust=`` names.

A module of classes and functions that note each call is loaded with every spelling of a name that a pickle knows, in
pickles and in containers, alone, in arguments, in states, in keys, under aliases and envelopes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from attacks import P, called, mapping, named, number, text
from counting import note

import persist
from persist.errors import PersistError

SOURCE = '''
import subprocess, os, functools
touched = []

def note(what):
    touched.append(what)

class Meta(type):
    def __call__(cls, *args, **kwargs):
        if cls.__name__ != "Net":
            note(f"Meta({cls.__name__})")
        return super().__call__(*args, **kwargs)

class Canary(metaclass=Meta):
    def __new__(cls, *args, **kwargs):
        note("Canary.__new__")
        return super().__new__(cls)
    def __init__(self, *args, **kwargs):
        note("Canary.__init__")
    def __setstate__(self, state):
        note("Canary.__setstate__")
    def __call__(self, *args):
        note("Canary()()")
    @classmethod
    def make(cls, *args):
        note("Canary.make")
    def __reduce__(self):
        note("Canary.__reduce__")
        return (Canary, ())

class Net:
    """The class that is trusted."""
    inner = Canary
    partial = functools.partial(note, "partial")
    @staticmethod
    def static(*args):
        note("Net.static")
    @classmethod
    def make(cls, *args):
        note("Net.make")
    class Nested:
        def __init__(self, *args):
            note("Nested")
        def __setstate__(self, state):
            note("Nested.__setstate__")

class Child(Net):
    def __init__(self, *args):
        note("Child")
    def __setstate__(self, state):
        note("Child.__setstate__")

Alias = Canary
instance = object.__new__(Canary) if False else None
def function(*args):
    note("function")
Popen = subprocess.Popen
'''

TARGETS = ["Canary", "Alias", "Child", "function", "note", "Net.inner", "Net.static", "Net.make", "Net.partial", "Net.Nested", "Canary.make", "Net.__class__", "Net.__init__.__globals__", "os.system", "Popen", "subprocess.Popen", "touched.append"]  # fmt: skip


@pytest.fixture
def traps(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("traps")
    exec(SOURCE, vars(module))
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == "builtins":
            value.__module__ = "traps"
    monkeypatch.setitem(sys.modules, "traps", module)
    return module


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def spellings(target: str) -> dict[str, bytes]:
    """Values that would call, make or fill the target, by any unpickler that looks names up."""
    one = f"ctraps\n{target}\n".encode()
    head, _, last = f"traps.{target}".rpartition(".")
    other = f"c{head}\n{last}\n".encode()
    dotted = stack_global("traps", target)
    arg = b"(" + text("canary") + b"t"
    return {
        "reduce": one + arg + b"R",
        "reduce of the last name": other + arg + b"R",
        "reduce, dotted": dotted + arg + b"R",
        "new object": dotted + b")\x81",
        "new object with state": dotted + b")\x81" + mapping(a=b"K\x01") + b"b",
        "new object with keywords": dotted + b")" + mapping(a=b"K\x01") + b"\x92",
        "instance": b"(" + text("x") + f"itraps\n{target}\n".encode(),
        "object": b"(" + dotted + text("x") + b"o",
        "state of the name": dotted + mapping(touched=b"K\x01") + b"b",
        "getattr": called("builtins.getattr", named("traps.Net"), text(target)) + arg + b"R",
        "attrgetter": called("operator.attrgetter", text(target)) + b"(" + named("traps.Net") + b"tR" + arg + b"R",
        "methodcaller": called("operator.methodcaller", text("static")) + b"(" + named("traps.Net") + b"tR",
        "partial": called("functools.partial", dotted, text("x")) + b")R",
        "reconstructor": b"ccopyreg\n_reconstructor\n(" + dotted + named("builtins.object") + b"NtR" + mapping(a=b"K\x01") + b"b",
        "newobj of copyreg": b"ccopyreg\n__newobj__\n(" + dotted + b"tR",
        "newobj_ex of copyreg": b"ccopyreg\n__newobj_ex__\n(" + dotted + b")}tR",
        "map": called("builtins.map", dotted, b"](K\x01e"),
        "constant of persist": called("persist.versioned._constant", text(f"traps.{target}")),
        "state of persist": called("persist.versioned._set_state", dotted + b")\x81", mapping(a=b"K\x01")),
        "resolve": called("pkgutil.resolve_name", text(f"traps:{target}")) + arg + b"R",
        "as the class of the trusted": named("traps.Net") + b")\x81" + mapping(__class__=dotted) + b"b",
        "in the dict of the trusted": named("traps.Net") + b")\x81" + mapping(__dict__=mapping(a=dotted)) + b"b",
        "slots of the trusted": named("traps.Net") + b")\x81N" + mapping(__class__=dotted) + b"\x86b",
        "as an argument of the trusted": named("traps.Net") + b"(" + dotted + b")Rt\x81",
        "as a key": b"}" + dotted + b")R" + b"K\x01s",
        "of the default dict": b"ccollections\ndefaultdict\n(" + dotted + b"tR",
        "of an array": b"cnumpy._core.multiarray\n_reconstruct\n(" + dotted + b"(K\x00tC\x01btR",
        "of a dtype": b"cnumpy\ndtype\n(" + dotted + b"\x89\x88tR",
        "of a masked array": b"cnumpy.ma.core\n_mareconstruct\n(" + dotted + b"cnumpy\nndarray\n(K\x00tU\x01btR",
        "of an enum": called("traps.Net", number(1)) + dotted + b")R\x86",
        "of an envelope": named("traps.Net") + b")\x81" + b"(" + text("persist.versioned") + text(f"traps.{target}") + b"K\x01" + mapping(a=b"K\x01") + b"tb",
    }  # fmt: skip


ALL = sorted(spellings("Canary"))
TRUSTS: list[tuple[str, ...]] = [("traps.Net",), (), ("traps.Net", "traps.Nothing")]
FEW = ["Canary", "function", "Net.inner", "Net.static", "os.system"]


def files(value: bytes) -> list[bytes]:
    """The value alone and in other values, as pickles, and as containers."""
    pickles = [P + value + b".", P + b"](" + value + value + b"e.", P + mapping(model=value) + b"."]
    made = []
    for data in pickles:
        import io

        out = io.BytesIO()
        try:
            with persist.open(data) as file:
                persist.save(file.tree, out)
        except PersistError:
            continue  # a tree that no container can hold
        made.append(out.getvalue())
    return pickles + made


def try_all(spelling: str, targets: list[str], trusts: list[tuple[str, ...]], traps: Any) -> int:
    """Load files in which something is to be made by a spelling; return how many."""
    tried = 0
    for target in targets:
        for data in files(spellings(target)[spelling]):
            for trust, validate in itertools.product(trusts, (True, False)):
                tried += 1
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with contextlib.suppress(PersistError):
                        persist.load(data, trust=trust, validate=validate)
                assert traps.touched == [], (target, trust, data)
                assert vars(traps.Net)["inner"] is traps.Canary
    note("attempts to have something made that was not trusted: nothing was", tried)
    return tried


@pytest.mark.parametrize("spelling", ALL)
def test_nothing_but_what_is_trusted_is_made(spelling: str, traps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert try_all(spelling, FEW, TRUSTS[:1], traps) >= len(FEW) * 3 * 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ALL)
def test_nor_of_any_other_name_for_any_other_trust(spelling: str, traps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert try_all(spelling, TARGETS, TRUSTS, traps) >= len(TARGETS) * 3 * 6
    assert not list(tmp_path.iterdir())


def test_what_is_trusted_is_made(traps: Any) -> None:
    """The traps are set: with the name in ``trust=`` the class is made."""
    data = P + named("traps.Child") + b")\x81" + mapping(a=b"K\x01") + b"b."
    assert type(persist.load(data, trust=["traps.Child"])) is traps.Child
    assert traps.touched == ["Child.__setstate__"]


@pytest.mark.parametrize("name", ["function", "note", "Net.static", "Net.make"])
def test_functions_are_not_called_even_where_they_are_named(name: str, traps: Any) -> None:
    data = P + stack_global("traps", name) + b"(" + text("x") + b"tR."
    with pytest.raises(PersistError), warnings.catch_warnings():
        warnings.simplefilter("error")
        persist.load(data, trust=[f"traps.{name}"], strict=True)
    assert traps.touched == []


@pytest.mark.parametrize("trust", [(), ("traps.Net",), ("old.Nothing", "traps.Child")])
@pytest.mark.filterwarnings("ignore::persist.errors.OpaqueWarning")
def test_no_alias_widens_it(trust: tuple[str, ...], traps: Any) -> None:
    """A name that an alias maps to a class that is not trusted stays a record."""
    registry = persist.Registry("aliases")
    registry.alias("old.Net", "traps.Canary")
    data = P + named("old.Net") + b")\x81" + mapping(a=b"K\x01") + b"b."
    assert isinstance(persist.load(data, trust=trust, registry=registry), persist.Record)
    assert traps.touched == []


class _Recording(dict[str, str]):
    """An environment that notes what is asked of it."""

    asked: set[str]

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


def test_no_environment_variable_is_asked(traps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _Recording(os.environ)
    environment.asked = set()
    for name in ("PERSIST_TRUST", "PERSIST_LIVE", "PERSIST_REGISTRY", "PERSIST_UNSAFE", "TRUST"):
        dict.__setitem__(environment, name, "traps.*:traps.Canary:1:*")
    monkeypatch.setattr(os, "environ", environment)
    data = P + named("traps.Canary") + b")\x81" + mapping(a=b"K\x01") + b"b."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = persist.load(data, trust=["traps.Net"])
    assert isinstance(found, persist.Record)
    assert traps.touched == []
    assert not {name for name in environment.asked if "TRUST" in name or "PERSIST" in name}


@pytest.mark.checkout
def test_the_library_knows_few_environment_variables() -> None:
    """What reads files or makes objects asks for the date of a build, and for where caches are; no more."""
    top = Path(persist.__file__).parent
    found = {}
    for path in top.rglob("*.py"):
        if names := re.findall(
            r"environ(?:\.get)?[\[(]\s*[\"'](\w+)|getenv\([\"'](\w+)", path.read_text()
        ):
            found[path.relative_to(top).as_posix()] = {one or other for one, other in names}
    asked = {name: variables for name, variables in found.items() if not name.startswith(("_cli/", "history/"))}  # fmt: skip
    assert set().union(*asked.values()) <= {"SOURCE_DATE_EPOCH", "XDG_CACHE_HOME"}, asked
