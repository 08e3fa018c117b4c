"""What Python's standard library pickles comes back, from any protocol and from a container."""

from __future__ import annotations

import argparse
import array
import ast
import calendar
import collections
import ctypes
import datetime
import decimal
import difflib
import email.message
import fractions
import functools
import http.cookies
import importlib
import inspect
import io
import ipaddress
import itertools
import json
import logging
import operator
import os
import pathlib
import pickle
import plistlib
import random
import re
import sqlite3
import statistics
import string
import subprocess
import sys
import textwrap
import time
import tokenize
import types
import typing
import urllib.parse
import uuid
import warnings
import xml.etree.ElementTree as ET
import xmlrpc.client
import zipfile
import zoneinfo
from typing import Any

import pytest

import persist
from persist.errors import OpaqueWarning, PersistError, SchemaError
from persist.tree import Record

pytestmark = pytest.mark.packs
stdlib = pytest.importorskip("persist.migrations.stdlib")
_stdlib = pytest.importorskip("persist.migrations._stdlib")

VALUES: dict[str, Any] = {
    "chain map": collections.ChainMap({"a": 1}, {"b": [2]}),
    "user dict": collections.UserDict(a=1),
    "user list": collections.UserList([1, 2]),
    "user string": collections.UserString("abc"),
    "bounded deque": collections.deque([1, 2], maxlen=3),
    "default dict of partial": collections.defaultdict(functools.partial(int, 5), a=1),
    "fold": datetime.datetime(2020, 10, 25, 2, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "decimal": decimal.Decimal("1.50"),
    "decimal tuple": decimal.Decimal("1.5").as_tuple(),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=7),
    "path": pathlib.Path("a/b"),
    "pure path": pathlib.PureWindowsPath("a\\b"),
    "namespace": types.SimpleNamespace(a=1, b=[2]),
    "arguments": argparse.Namespace(a=1),
    "item": operator.itemgetter(1, "a"),
    "attribute": operator.attrgetter("a.b", "c"),
    "method": operator.methodcaller("split", ",", maxsplit=1),
    "method alone": operator.methodcaller("upper"),
    "partial": functools.partial(int, "10", base=2),
    "array": array.array("d", [1.0, 2.0]),
    "address": ipaddress.ip_address("1.2.3.4"),
    "scoped address": ipaddress.ip_address("fe80::1%eth0"),
    "network": ipaddress.ip_network("2001:db8::/32"),
    "interface": ipaddress.ip_interface("1.2.3.4/24"),
    "pattern": re.compile("a(b)", re.IGNORECASE),
    "pattern of bytes": re.compile(rb"a"),
    "template": string.Template("$a"),
    "time": time.gmtime(0),
    "terminal": os.terminal_size((80, 24)),
    "stat": os.stat("/"),
    "url": urllib.parse.urlparse("http://a/b?c"),
    "url of bytes": urllib.parse.urlsplit(b"http://a/b"),
    "cookie": http.cookies.SimpleCookie("a=b"),
    "normal": statistics.NormalDist(1, 2),
    "parameter": inspect.Parameter("a", inspect.Parameter.KEYWORD_ONLY, default=1),
    "signature": inspect.signature(textwrap.dedent),
    "token": tokenize.TokenInfo(1, "a", (1, 0), (1, 1), "a"),
    "match": difflib.Match(1, 2, 3),
    "process": subprocess.CompletedProcess(["a"], 0),
    "uid": plistlib.UID(3),
    "rpc": xmlrpc.client.DateTime("20200101T00:00:00"),
    "list of int": list[int],
    "typing": typing.Optional[dict[str, typing.List[int]]],  # noqa: UP006, UP045
    "callable": typing.Callable[[int], str],
    "literal": typing.Literal["a", "b"],
    "annotated": typing.Annotated[int, "metres"],
    "union": int | str,
    "type of nothing": type(None),
    "type of ellipsis": type(...),
    "method of a text": "abc".upper,
    "method of a type": str.split,
    "class": collections.OrderedDict,
    "c": ctypes.c_int(3),
    "warning": DeprecationWarning("old", 1),
    "os error": OSError(2, "no", "file"),
    "key error": KeyError("a"),
    "unicode error": UnicodeDecodeError("utf8", b"a", 0, 1, "reason"),
    "group": ExceptionGroup("g", [ValueError(1), TypeError(2)]),
    "json error": json.JSONDecodeError("message", "doc", 1),
    "import error": ImportError("x", name="a", path="b"),
    "process error": subprocess.CalledProcessError(1, "x"),
    "sqlite error": sqlite3.OperationalError("locked"),
    "regex error": re.error("bad", "(", 1),
    "bytes": io.BytesIO(b"abc"),
    "text": io.StringIO("abc"),
    "zip member": zipfile.ZipInfo("a"),
    "log": logging.makeLogRecord({"msg": "a", "args": (1,)}),
    "logger": logging.getLogger("tests.stdlib"),
    "calendar": calendar.TextCalendar(6),
    "random": random.Random(3),
    "message": email.message.Message(),
    "syntax": ast.parse("a = 1 + f(b)"),
    "element": ET.fromstring("<a b='1'>x<c/>y</a>"),
    "counting": itertools.count(3, 2),
    "repeated": itertools.repeat("a", 3),
}  # fmt: skip


def _moved(iterator: Any, steps: int = 1) -> Any:
    for _ in range(steps):
        next(iterator)
    return iterator


def iterators() -> dict[str, Any]:
    """Iterators that are under way; each call makes them anew, since to look at one moves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made: dict[str, Any] = {
            "list": _moved(iter([1, 2, 3])),
            "tuple": _moved(iter((1, 2, 3))),
            "text": _moved(iter("abc")),
            "range": _moved(iter(range(5)), 2),
            "dict": iter({1: 2, 3: 4}),
            "reversed": _moved(reversed([1, 2, 3])),
            "enumerate": _moved(enumerate([4, 5, 6])),
            "zip": _moved(zip([1, 2], "ab", strict=False)),
            "map": _moved(map(int, ["1", "2"])),
            "filter": filter(None, [0, 1, 2]),
        }
        if sys.version_info < (3, 14):  # where they can no longer be pickled
            made |= {
                "chain": _moved(itertools.chain([1, 2], [3])),
                "cycle": _moved(itertools.islice(itertools.cycle([1, 2, 3]), 5)),
                "islice": _moved(itertools.islice([1, 2, 3, 4], 3)),
                "longest": _moved(itertools.zip_longest([1, 2], [3], fillvalue=9)),
                "product": _moved(itertools.product([1, 2], "ab")),
                "permutations": _moved(itertools.permutations([1, 2, 3], 2), 3),
                "combinations": _moved(itertools.combinations([1, 2, 3], 2)),
                "with replacement": _moved(itertools.combinations_with_replacement([1, 2], 2)),
                "accumulate": _moved(itertools.accumulate([1, 2, 3])),
                "compress": itertools.compress([1, 2], [0, 1]),
                "takewhile": itertools.takewhile(bool, [1, 0]),
                "dropwhile": _moved(itertools.dropwhile(bool, [1, 0, 2, 3])),
            }
    return made


def contents(value: Any) -> Any:
    """What an object is, to be compared: most of these have no ``==`` of their own."""
    if isinstance(value, BaseException):
        inner = [contents(one) for one in getattr(value, "exceptions", ())]
        return type(value), inner or repr(value.args), str(value)
    if isinstance(value, io.BytesIO | io.StringIO):
        return type(value), value.getvalue(), value.tell()
    if isinstance(value, ctypes.c_int):
        return value.value
    if isinstance(value, ast.AST):
        return ast.dump(value)
    if isinstance(value, ET.Element):
        return ET.tostring(value)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, subprocess.CompletedProcess):
        return vars(value)
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, collections.defaultdict):
        return contents(value.default_factory), dict(value)
    if type(value) in (logging.LogRecord, zipfile.ZipInfo, calendar.TextCalendar, email.message.Message,
                       string.Template):  # fmt: skip
        slots = getattr(value, "__slots__", ())
        return {
            name: repr(getattr(value, name, None)).partition(" at 0x")[0]
            for name in (*slots, *vars(value if hasattr(value, "__dict__") else type))
        }
    if type(value) in (operator.itemgetter, operator.attrgetter, operator.methodcaller):
        return repr(value)
    if isinstance(value, types.BuiltinMethodType):
        return value.__self__, value.__name__
    if type(value) in (itertools.count, itertools.repeat):
        return repr(value)
    return value


def pickled(value: Any, protocol: int) -> bytes | None:
    """A pickle; None where this protocol has none of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return pickle.dumps(value, protocol)
        except (TypeError, pickle.PicklingError):
            assert protocol < 2, "every protocol from 2 on has it"
            return None


@pytest.mark.parametrize("name", VALUES)
def test_what_the_standard_library_pickles_comes_back(name: str) -> None:
    value = VALUES[name]
    for protocol in range(6):
        data = pickled(value, protocol)
        if data is None:
            continue
        found = persist.load(data, strict=True)
        assert type(found) is type(value), protocol
        assert contents(found) == contents(value), protocol
    saved = io.BytesIO()
    persist.save({"value": value, "again": value}, saved)
    found = persist.load(saved.getvalue(), strict=True)
    assert type(found["value"]) is type(value)
    assert contents(found["value"]) == contents(value)
    assert found["value"] is found["again"] or isinstance(value, str | type | pathlib.PurePath)


@pytest.mark.parametrize("name", iterators())
def test_an_iterator_goes_on_where_it_was(name: str) -> None:
    for protocol in range(6):
        data = pickled(iterators()[name], protocol)
        assert data is not None
        assert list(persist.load(data, strict=True)) == list(iterators()[name]), protocol
    one, saved = iterators()[name], io.BytesIO()
    persist.save(one, saved)
    assert list(persist.load(saved.getvalue(), strict=True)) == list(iterators()[name])
    assert list(one) == list(iterators()[name])  # to save it did not move it


def test_a_namespace_that_holds_itself_is_one_object() -> None:
    space = types.SimpleNamespace(children=[])
    space.children.append(types.SimpleNamespace(parent=space))
    for protocol in range(6):
        found = persist.load(pickle.dumps(space, protocol))
        assert found.children[0].parent is found
    saved = io.BytesIO()
    persist.save(space, saved)
    found = persist.load(saved.getvalue())
    assert found.children[0].parent is found


def test_live_false_leaves_libraries_records_and_python_is_none() -> None:
    assert persist.load(pickle.dumps(ipaddress.ip_address("::1")), live=False).packed[-1] == 1


def test_a_step_and_a_field_have_such_objects(tmp_path: pathlib.Path) -> None:
    registry = persist.Registry("stdlib-fields")

    class Site:
        pass

    Site.__qualname__ = "Site"
    registry.register(Site, version=2, schema="lab.Site", fields=("address", "extra"))

    @registry.migration("lab.Site", 1)
    def add(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "extra": fractions.Fraction(1, 2)}

    old = Record("lab.Site", {"address": ipaddress.ip_address("10.0.0.1")}, version=1)
    persist.save({"site": old}, tmp_path / "site.persist", registry=registry)
    found = persist.load(tmp_path / "site.persist", registry=registry)["site"]
    assert found.address == ipaddress.ip_address("10.0.0.1")
    assert found.extra == fractions.Fraction(1, 2)


# What a file may not choose.


def _called(module: str, name: str, *args: object) -> bytes:
    return b"\x80\x02" + f"c{module}\n{name}\n".encode() + pickle.dumps(args, 2)[2:-1] + b"R."


HOSTILE = {
    "a method that writes": _called("operator", "methodcaller", "tofile", "/tmp/x"),
    "a method that moves a file": _called("operator", "methodcaller", "replace", "/tmp/x"),
    "code behind an attribute": _called("operator", "attrgetter", "__init__.__globals__"),
    "an endless pool": b"\x80\x04\x8c\titertools\x8c\x07product\x93\x8c\titertools\x8c\x05count\x93)R\x85R.",
    "positions outside of a pool": (
        b"\x80\x04\x8c\titertools\x8c\x0ccombinations\x93" + pickle.dumps(((1, 2), 2), 4)[11:-1]
        + b"R" + pickle.dumps((0, 99), 4)[11:-1] + b"b."
    ),
    "the format of everything": _called("builtins", "getattr", "{0.__class__}", "format"),
    "an attribute of a class": _called("builtins", "getattr", 1, "__class__"),
    "a function of a partial": b"\x80\x02cfunctools\npartial\ncos\nsystem\n\x85R(cos\nsystem\nU\x02ls\x85}Ntb.",
    "a call of reduce": b"\x80\x02cfunctools\nreduce\ncos\nsystem\nU\x02ls\x85\x86R.",
    "an index of a class": b"\x80\x02coperator\ngetitem\n}U\x01aK\x01s\x86R.".replace(b"}U\x01aK\x01s", b"}U\x01aK\x01sU\x01a"),
    "a module that is none of the table": _called("antigravity", "x"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_or_never_end_stays_a_record(name: str) -> None:
    imported = "antigravity" in sys.modules
    with pytest.warns(OpaqueWarning):
        found = persist.load(HOSTILE[name])
    assert isinstance(found, Record)
    with pytest.raises(PersistError):
        persist.load(HOSTILE[name], strict=True)
    assert ("antigravity" in sys.modules) == imported


@pytest.mark.parametrize("key", ["__class__", "__reduce_ex__", "__traceback__"])
def test_no_state_sets_what_python_itself_uses(key: str) -> None:
    for head in (
        b"ctypes\nSimpleNamespace\n",
        b"ccollections\nUserDict\n",
        b"cbuiltins\nValueError\n",
    ):
        body = b"\x80\x02" + head + b")R}" + pickle.dumps(key, 2)[2:-1] + b"K\x01sb."
        with pytest.raises(PersistError, match="no file may set"):
            persist.load(body)


def test_a_caller_that_no_load_would_make_is_not_saved() -> None:
    caller = operator.methodcaller("tofile", "x")
    with pytest.raises(SchemaError, match="name of the method"):
        persist.save(caller, io.BytesIO())
    persist.constant("tests.stdlib.caller", caller)  # what the message says
    saved = io.BytesIO()
    persist.save(caller, saved)
    assert persist.load(saved.getvalue()) is caller


def test_each_name_of_the_table_is_a_class_here_or_of_another_release() -> None:
    """No typing error hides in the table: a name is found here, or its module is of another system."""
    gone = {"_ast", "ast", "nt"}  # nodes that other releases have
    for table in (stdlib._INSTANCES, stdlib._ERRORS, stdlib._NAMES):
        for module, names in stdlib._listed(table).items():
            try:
                found = importlib.import_module(module)
            except ImportError:
                continue
            missing = [name for name in names if not hasattr(found, name.rpartition(".")[2])]
            assert module in gone or set(missing) <= LATER, (module, missing)
    for names in _stdlib.FUNCTIONS.values():
        assert len(set(names)) == len(names)


# Of later releases than some that the tests run on, and what later ones dropped.
LATER = {
    "asyncio.queues.QueueShutDown", "queue.ShutDown", "configparser.MultilineContinuationError", "typing.ReadOnly",
    "typing.TypeIs", "collections.abc.Buffer", "collections.abc.ByteString", "typing.ByteString",
    "email.errors.HeaderWriteError",
}  # fmt: skip
