"""The standard library's plain values, as both Pythons pickle them."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import math
import pathlib
import pickle
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persist
from persist.tree import Global, Record

PROTOCOLS = range(6)

zones = st.one_of(
    st.none(),
    st.just(datetime.UTC),
    st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)).map(
        datetime.timezone
    ),
)
values = st.one_of(
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.complex_numbers(allow_nan=False),
    st.binary().map(bytearray),
    st.builds(slice, st.integers(), st.integers(), st.none() | st.integers()),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.lists(st.tuples(st.text(), st.integers())).map(collections.OrderedDict),
    st.text().map(collections.Counter),
    st.lists(st.integers(), max_size=5).map(lambda items: collections.deque(items, 5)),
    st.lists(st.integers()).map(collections.deque),
    st.dictionaries(st.text(), st.integers()).map(lambda d: collections.defaultdict(list, d)),
    st.lists(st.floats(allow_nan=False)).map(lambda items: array.array("d", items)),
    st.lists(st.integers(-(2**15), 2**15 - 1)).map(lambda items: array.array("h", items)),
    st.text("ab\u00e9\U0001f600").map(lambda text: array.array("u", text)),
    st.sets(st.integers()),
    st.frozensets(st.text()),
    st.just(math.nan).map(lambda nan: decimal.Decimal(nan)),
)


def root_of(value: object, protocol: int) -> Any:
    return persist.open(pickle.dumps(value, protocol)).tree


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=values)
def test_a_plain_value_is_itself_in_every_protocol(value: Any, protocol: int) -> None:
    got = root_of(value, protocol)
    value = pickle.loads(pickle.dumps(value, protocol))  # without a fold before protocol 4
    assert type(got) is type(value)
    assert got == value or (value != value and str(got) == str(value))
    if isinstance(value, collections.deque):
        assert got.maxlen == value.maxlen
    if isinstance(value, collections.defaultdict):
        assert got.default_factory is list
    if isinstance(value, datetime.datetime | datetime.time):
        assert (got.tzinfo, got.fold) == (value.tzinfo, value.fold)
    if isinstance(value, array.array):
        assert got.typecode == value.typecode


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_fold_is_kept(protocol: int) -> None:
    value = datetime.datetime(2020, 10, 25, 2, 30, fold=1)
    assert root_of(value, protocol).fold == 1


@pytest.mark.parametrize("kind", ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"])
@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_of_another_kind_of_machine_are_pure(module: str, kind: str) -> None:
    data = f"c{module}\n{kind}\n(Vdata\nVrun 1\ntR.".encode()
    got = persist.open(data).tree
    pure = pathlib.PureWindowsPath if kind.endswith("WindowsPath") else pathlib.PurePosixPath
    assert got == pure("data", "run 1")
    here = type(pathlib.Path())
    assert type(got) is (here if kind == here.__name__ else pure)


def test_a_zone_is_found_by_its_key_and_a_lost_one_stays_a_record() -> None:
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine has no table of zones")
    moment = datetime.datetime(2020, 7, 1, tzinfo=zone)
    for protocol in PROTOCOLS:
        assert root_of(moment, protocol) == moment
    lost = root_of(zone, 2)
    assert isinstance(lost, zoneinfo.ZoneInfo)
    data = pickle.dumps(zone, 0).replace(b"Europe/Berlin", b"Europe/Atlant")
    assert isinstance(persist.open(data).tree, Record)


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/etc/passwd", "..", "", "a\0b", "Europe/../../../etc/passwd"]
)
def test_a_zone_cannot_name_a_file_elsewhere(key: str) -> None:
    text = key.encode("raw-unicode-escape").replace(b"\0", b"\\u0000")
    data = b"czoneinfo\nZoneInfo._unpickle\n(V" + text + b"\nI01\ntR."
    assert isinstance(persist.open(data).tree, Record)


# As Python 2 spelled them (written by 2.7; the bytes are quoted where they are short).


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"c__builtin__\nset\n((lI1\naI2\natR.", {1, 2}),
        (b"c__builtin__\nfrozenset\n((lI1\natR.", frozenset([1])),
        (b"csets\nSet\n((lI1\natR.", {1}),
        (b"c__builtin__\ncomplex\n(F1.5\nF-2.0\ntR.", 1.5 - 2j),
        (b"c__builtin__\nxrange\n(I0\nI6\nI2\ntR.", range(0, 6, 2)),
        (b"c__builtin__\nbytearray\n(Va\\u00ff\nS'latin-1'\nNtR.", bytearray(b"a\xff")),
        (b"c__builtin__\nlong\n(I5\ntR.", 5),
        (b"c_codecs\nencode\n(Va\\u00ff\nVlatin1\ntR.", b"a\xff"),
        (
            b"cdatetime\ndatetime\n(S'\\x07\\xdc\\x0b\\x1e\\x17;:\\x01\\xe2@'\ntR.",
            datetime.datetime(2012, 11, 30, 23, 59, 58, 123456),
        ),
        (b"cdatetime\ndate\n(S'\\x07\\xdc\\x0b\\x1e'\ntR.", datetime.date(2012, 11, 30)),
        (b"cdatetime\ntime\n(S'\\x17;:\\x01\\xe2@'\ntR.", datetime.time(23, 59, 58, 123456)),
        (b"cdatetime\ntimedelta\n(I1\nI2\nI3\ntR.", datetime.timedelta(1, 2, 3)),
        (b"cdecimal\nDecimal\n(S'1.10'\ntR.", decimal.Decimal("1.10")),
        (b"cfractions\nFraction\n(S'1/3'\ntR.", fractions.Fraction(1, 3)),
        (b"carray\narray\n(S'd'\n(lF1.5\natR.", array.array("d", [1.5])),
        (b"cpytz\n_UTC\n(tR.", datetime.UTC),
        (
            b"(iuuid\nUUID\n(dS'int'\nL5L\nsb.",
            uuid.UUID(int=5),
        ),
    ],
)
def test_python_2_spells_it_so(data: bytes, value: object) -> None:
    got = persist.open(data).tree
    assert got == value
    assert type(got) is type(value)


def test_an_array_of_characters_is_an_array_of_bytes() -> None:
    got = persist.open(b"carray\narray\n(S'c'\n(lS'a'\naS'b'\natR.").tree
    assert isinstance(got, np.ndarray)
    assert got.tobytes() == b"ab"


def test_bytes_of_latin_1_are_exact_in_a_date_however_str_is_read() -> None:
    data = b"cdatetime\ndatetime\n(S'\\x07\\xdc\\x0b\\x1e\\x17;:\\x01\\xe2@'\ntR."
    for policy in ("text", "bytes", "latin-1"):
        got = persist.open(data, py2_str=policy).tree
        assert got == datetime.datetime(2012, 11, 30, 23, 59, 58, 123456)


def test_nested_names_and_types_of_constants_are_names() -> None:
    assert persist.open(b"c__builtin__\ngetattr\n(cm\nC\nVinner\ntR.").tree == Global(
        "m", "C.inner"
    )
    assert persist.open(pickle.dumps(type(None), 4)).tree == Global("builtins", "NoneType")


# Parts that do not fit together: nothing is lost, nothing is built.


@pytest.mark.parametrize(
    "data",
    [
        b"cdatetime\ndatetime\n(S'short'\ntR.",
        b"cdatetime\ndatetime\n(S'\\x00\\x00\\x0b\\x1e\\x17;:\\x01\\xe2@'\ntR.",
        b"cdatetime\ndate\n(S'\\x07\\xdc\\xff\\x1e'\ntR.",
        b"cdecimal\nDecimal\n(S'no number'\ntR.",
        b"cfractions\nFraction\n(S'1/0'\ntR.",
        b"cfractions\nFraction\n(S'a/b'\ntR.",
        b"c__builtin__\nrange\n(I0\nI5\nI0\ntR.",
        b"c__builtin__\nset\n(I5\ntR.",
        b"c__builtin__\nset\n((l(lI1\naatR.",
        b"c__builtin__\ncomplex\n(S'x'\ntR.",
        b"carray\narray\n(S'?'\n(lI1\natR.",
        b"carray\narray\n(S'b'\n(lI1000\natR.",
        b"c_codecs\nencode\n(Va\nVrot13\ntR.",
        b"c_codecs\nencode\n(Va\nVno such\ntR.",
        b"ccollections\ndefaultdict\n(cos\nsystem\ntR.",
        b"c__builtin__\nbytes\n((lI1000\natR.",
        b"cuuid\nUUID\n(tR(dS'int'\nL-5L\nsb.",
        b"cpytz\n_p\n(S'Nowhere'\nI999999999\nI0\nS'X'\ntR.",
    ],
)
def test_parts_that_do_not_fit_stay_a_record(data: bytes) -> None:
    got = persist.open(data).tree
    assert isinstance(got, Record)
    assert got.args or got.state


def test_a_bytes_of_a_claimed_size_is_not_made() -> None:
    # bytes(10**12) would be a terabyte of zeros; it is no plain value here.
    got = persist.open(b"c__builtin__\nbytes\n(L1000000000000L\ntR.").tree
    assert isinstance(got, Record)
    got = persist.open(b"c__builtin__\nbytearray\n(L1000000000000L\ntR.").tree
    assert isinstance(got, Record)


def test_a_power_hidden_in_a_decimal_or_a_fraction_is_not_worked_out() -> None:
    assert persist.open(b"cdecimal\nDecimal\n(S'1E+999999999'\ntR.").tree == decimal.Decimal(
        "1E+999999999"
    )
    file = persist.open(b"cfractions\nFraction\n(S'1E999999999'\ntR.")
    assert isinstance(file.tree, Record)
