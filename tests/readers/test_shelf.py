"""Shelves in every kind of database, and databases whose values are no pickles."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist.errors import DamagedFileError, FormatError, LimitError, PersistError

SHELVES = Path(__file__).parents[1] / "corpus" / "shelve"
CASES = sorted(path.parent.name for path in SHELVES.glob("*/expected.json"))
DUMB = SHELVES / "python-3.8.18-dumb"


def named(case: str) -> Path:
    """The first file of a case that opens by itself, or with those next to it."""
    folder = SHELVES / case
    return next(
        folder / name
        for name in ("run", "run.db", "run.pag", "run.dir")
        if (folder / name).exists()
    )


@pytest.mark.parametrize("case", CASES)
def test_every_kind_holds_the_same(case: str) -> None:
    with persist.open(named(case)) as file:
        assert file.format == "shelve"
        assert file.tree["best"] == (3, 0.25)
        assert file.tree["säure"] == "acid"
        assert file.tree["k" * 70] is True
        assert file.arrays["weights"].shape == (40, 30)
        assert file.arrays["step/59/state"].shape == (3,)
        assert file.scalars["step/4/loss"] == 0.2
        assert ("step/7" in file.tree) == (case == "python-3.11.2-gdbm-compat")
        assert not file.damage
        assert file.writer == ({"python": "2"} if "2.7" in case else {})


def test_a_shelf_is_named_as_shelve_names_it() -> None:
    for case in CASES:
        assert persist.open(SHELVES / case / "run").format == "shelve"
    for name in ("run.dir", "run.dat", "run.bak"):
        assert len(persist.open(DUMB / name).tree) == 65
    compat = SHELVES / "python-3.11.2-gdbm-compat"
    assert len(persist.open(compat / "run.dir").tree) == 66


def test_it_loads_as_plain_values() -> None:
    loaded = persist.load(named("python-2.7.18-hash"))
    assert loaded["config"] == {"lr": 0.01, "layers": [8, 4], "name": "mlp", "tag": None}
    loaded["weights"] += 1


def relaid(data: bytes, order: str, width: int, *, align: bool, magic: int) -> bytes:
    """A file of 64-bit gdbm as another machine would have laid it out (``gdbmdefs.h``)."""
    at, size, bits, bucket, _ = struct.unpack_from("<q4i", data, 8)
    letter = "q" if width == 8 else "i"
    pad = "4x" if align else ""
    form = f"{order}i{pad}" + f"i{pad}{letter}" * 6 + "2i"
    table, element = struct.calcsize(form), struct.Struct(f"{order}I4s{letter}2i")
    places = struct.unpack_from(f"<{size // 8}q", data, at)
    made = bytearray(8192)
    new: dict[int, int] = {}
    for place in dict.fromkeys(places):
        rows = [
            struct.unpack_from("<I4sq2i", data, place + 112 + 24 * number)
            for number in range((bucket - 136) // 24 + 1)
        ]
        count = len(rows)
        new[place] = len(made)
        start = len(made)
        made += bytes(table + element.size * count)
        for number, (hashed, key, pointer, key_size, value_size) in enumerate(rows):
            if hashed != 0xFFFFFFFF:
                moved = len(made)
                made += data[pointer : pointer + key_size + value_size]
                pointer = moved
            else:
                pointer = 0
            element.pack_into(
                made,
                start + table + element.size * number,
                hashed,
                key,
                pointer,
                key_size,
                value_size,
            )
    directory = len(made)
    made += struct.pack(f"{order}{len(places)}{letter}", *(new[place] for place in places))
    whole = table + element.size * count
    header = struct.pack(
        f"{order}2I{letter}4i", magic, 4096, directory, len(places) * width, bits, whole, count
    )
    made[: len(header)] = header
    return bytes(made)


@pytest.mark.parametrize(
    ("order", "width", "align", "magic"),
    [
        (">", 8, True, 0x13579ACF),
        ("<", 4, False, 0x13579ACE),
        (">", 4, False, 0x13579ACD),
        ("<", 8, False, 0x13579ACE),
        (">", 8, True, 0x13579ACE),
    ],
)
def test_gdbm_of_other_machines(order: str, width: int, align: bool, magic: int) -> None:
    data = named("python-3.11.2-gdbm").read_bytes()
    moved = relaid(data, order, width, align=align, magic=magic)
    with persist.open(moved) as file, persist.open(data) as genuine:
        assert file.structure["database"] == "gdbm"
        assert list(file.tree) == list(genuine.tree)
        assert np.array_equal(file.arrays["weights"], genuine.arrays["weights"])


def dumb(folder: Path, values: dict[str, bytes]) -> Path:
    folder.mkdir()
    lines, data = [], b""
    for key, value in values.items():
        lines.append(f"{key!r}, ({len(data)}, {len(value)})\n")
        data += value
    (folder / "run.dir").write_text("".join(lines), encoding="latin-1")
    (folder / "run.dat").write_bytes(data)
    return folder / "run"


def test_values_that_are_no_pickles_are_bytes(tmp_path: Path) -> None:
    run = dumb(tmp_path / "a", {"a": b"plain", "b": b"", "c": b"\xff\xfe"})
    with persist.open(run) as file:
        assert file.format == "dbm"
        assert file.tree == {"a": b"plain", "b": b"", "c": b"\xff\xfe"}
    run = dumb(tmp_path / "b", {"a": b"plain", "b": pickle.dumps([1])})
    with persist.open(run) as file:
        assert file.format == "shelve"
        assert file.tree == {"a": b"plain", "b": [1]}
        assert file.structure["not pickled"] == ["a"]


def test_a_key_that_was_set_again_is_what_it_was_set_to(tmp_path: Path) -> None:
    run = dumb(tmp_path / "a", {"a": pickle.dumps(1), "b": pickle.dumps(2)})
    with open(f"{run}.dir", "a") as file:
        size = len(pickle.dumps(2))
        file.write(f"'a', ({size}, {size})\n")
    assert persist.open(run).tree == {"a": 2, "b": 2}


def test_a_broken_value_is_reported_with_its_key(tmp_path: Path) -> None:
    run = dumb(tmp_path / "a", {"first": pickle.dumps(1), "it": pickle.dumps("x" * 50, 2)[:20]})
    with pytest.raises(DamagedFileError, match="'it'"):
        persist.open(run)
    with persist.open(run, salvage=True) as file:
        assert file.tree["first"] == 1
        assert "'it'" in file.damage[0]
    run = dumb(tmp_path / "b", {"it": pickle.dumps("x" * 50, 2)[:20], "last": pickle.dumps(1)})
    with pytest.raises(DamagedFileError, match="'it'"):
        persist.open(run)


@pytest.mark.parametrize("line", ["'a', (0, 99999)\n", "'a', (0\n", "__import__('os'), (0, 1)\n"])
def test_a_broken_directory_is_reported(tmp_path: Path, line: str) -> None:
    run = dumb(tmp_path / "a", {"a": pickle.dumps(1)})
    with open(f"{run}.dir", "a") as file:
        file.write(line)
    with pytest.raises(DamagedFileError):
        persist.open(run)


def test_an_empty_shelf(tmp_path: Path) -> None:
    (tmp_path / "run.dir").touch()
    (tmp_path / "run.dat").touch()
    assert persist.open(tmp_path / "run").tree == {}


@pytest.mark.parametrize("case", [case for case in CASES if "dumb" not in case])
def test_damage_ends_in_an_error_of_ours(case: str, tmp_path: Path) -> None:
    data = named(case).read_bytes()
    chance = np.random.default_rng(1)
    for number in range(150):
        broken = bytearray(data)
        for at in chance.integers(0, 600 if number % 2 else len(data), 3):
            broken[at] = chance.integers(0, 256)
        whole = broken if number % 3 else broken[: chance.integers(0, len(data))]
        with contextlib.suppress(PersistError):
            persist.open(bytes(whole))


def test_a_page_that_leads_to_itself_is_refused() -> None:
    data = bytearray(named("python-2.7.18-btree").read_bytes())
    size = int.from_bytes(data[20:24], "little")
    leaf = next(at for at in range(size, len(data), size) if data[at + 25] == 5)
    data[leaf + 16 : leaf + 20] = (leaf // size).to_bytes(4, "little")
    with pytest.raises(FormatError, match="twice"):
        persist.open(bytes(data))


def test_claimed_sizes_cost_nothing() -> None:
    data = bytearray(named("python-2.7.18-hash").read_bytes())
    data[72:76] = b"\xff\xff\xff\x7f"  # buckets
    with pytest.raises(FormatError, match="buckets"):
        persist.open(bytes(data))


# SQLite.


def database(path: Path, *commands: str) -> Path:
    file = sqlite3.connect(path)
    for command in commands:
        file.execute(command)
    file.commit()
    file.close()
    return path


def test_tables_are_columns(tmp_path: Path) -> None:
    path = database(
        tmp_path / "study.db",
        "CREATE TABLE trials (id INTEGER NOT NULL PRIMARY KEY, 'loss, last' FLOAT, name VARCHAR(9) "
        "DEFAULT 'a, (b', note TEXT, PRIMARY_ INT, UNIQUE (name), CHECK (id > 0)) -- the end",
        "INSERT INTO trials VALUES (1, 2, 'a', NULL, 7), (2, NULL, 'b', x'00ff', 8)",
        "INSERT INTO trials VALUES (9, 1e300, 'Säure', 'x', -9223372036854775808)",
        "CREATE TABLE [many] (value BLOB)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
        "INSERT INTO many SELECT hex(randomblob(i)) FROM n",
        "CREATE TABLE odd (a TEXT PRIMARY KEY, b INT) WITHOUT ROWID",
        "CREATE VIEW seen AS SELECT load_extension('x') FROM trials",
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN SELECT load_extension('x'); END",
        "ALTER TABLE trials ADD COLUMN later INT",
    )
    with persist.open(path) as file, contextlib.closing(sqlite3.connect(path)) as genuine:
        assert file.format == "sqlite"
        assert file.arrays["trials/id"].tolist() == [1, 2, 9]
        assert file.arrays["trials/PRIMARY_"].tolist() == [7, 8, -(2**63)]
        losses = file.arrays["trials/loss, last"]
        assert losses.dtype == np.float64
        assert np.array_equal(losses, [2.0, np.nan, 1e300], equal_nan=True)
        assert file.tree["trials"]["name"] == ["a", "b", "Säure"]
        assert file.tree["trials"]["note"] == [None, b"\x00\xff", "x"]
        assert file.tree["trials"]["later"] == [None] * 3
        assert list(file.tree) == ["trials", "many", "odd"]
        assert file.damage == []
        values = [row[0] for row in genuine.execute("SELECT value FROM many")]
        assert file.tree["many"]["value"] == values


@pytest.mark.parametrize("text", [b") x INT", b")))(((", b"'x INT,"])
def test_a_table_whose_text_is_none_is_reported(tmp_path: Path, text: bytes) -> None:
    path = database(tmp_path / "a", "CREATE TABLE t (x INT)", "INSERT INTO t VALUES (1)")
    data = path.read_bytes()
    assert data.count(b"(x INT)") == 1
    file = persist.open(data.replace(b"(x INT)", text[:7].ljust(7)))
    assert file.tree == {}
    assert "'t'" in file.damage[0]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_text_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = database(
        tmp_path / "a", f"PRAGMA encoding='{encoding}'", "CREATE TABLE t (x TEXT)",
        "INSERT INTO t VALUES ('Säure')",
    )  # fmt: skip
    assert persist.open(path).tree == {"t": {"x": ["Säure"]}}


def test_a_log_next_to_it_is_read_with_it(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "a")
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("CREATE TABLE t (x INT)")
    file.commit()
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.execute("INSERT INTO t VALUES (1)")
    file.commit()
    for name in ("a", "a-wal"):
        shutil.copy(tmp_path / name, tmp_path / f"copy{name[1:]}")
    file.close()
    before = (tmp_path / "copy").read_bytes()
    with persist.open(tmp_path / "copy") as copy:
        assert copy.tree["t"]["x"].tolist() == [1]
        assert copy.damage == []
    assert (tmp_path / "copy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy", "copy-wal"]
    assert persist.open(before).tree == {"t": {"x": []}}  # bytes have no neighbours
    (tmp_path / "copy-wal").unlink()
    (tmp_path / "copy-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    assert "copy-journal" in persist.open(tmp_path / "copy").damage[0]
    assert (tmp_path / "copy-journal").exists()
    assert persist.open(tmp_path / "a").tree["t"]["x"].tolist() == [1]
    assert not persist.open(tmp_path / "a").damage


def selected(path: Path, table: str) -> dict[str, list[Any]]:
    """Return what SQLite itself gives, by column."""
    with contextlib.closing(sqlite3.connect(path)) as genuine:
        cursor = genuine.execute(f"SELECT * FROM {table}")
        rows = cursor.fetchall()
        names = [part[0] for part in cursor.description]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def listed(table: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [item.item() if isinstance(item, np.generic) else item for item in column]
        for name, column in table.items()
    }


def test_a_column_that_was_added_later_has_its_default(tmp_path: Path) -> None:
    path = database(
        tmp_path / "runs.sqlite",
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, loss REAL)",
        "INSERT INTO runs (loss) VALUES (0.5), (0.25)",
        "ALTER TABLE runs ADD COLUMN lr REAL DEFAULT 0.01",
        "ALTER TABLE runs ADD COLUMN optimizer TEXT DEFAULT 'sgd'",
        "ALTER TABLE runs ADD COLUMN epochs INTEGER NOT NULL DEFAULT -3",
        "INSERT INTO runs (loss, lr, optimizer, epochs) VALUES (0.125, 0.1, 'adam', 9)",
    )
    with persist.open(path) as file:
        assert listed(file.tree["runs"]) == selected(path, "runs")
        assert file.tree["runs"]["optimizer"] == ["sgd", "sgd", "adam"]
        assert file.damage == []


def test_generated_columns_are_computed_or_reported(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a",
        "CREATE TABLE t (a INT, twice INT AS (a * 2) VIRTUAL, b TEXT, kept INT AS (a + 1) STORED)",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')",
    )
    with persist.open(path) as file:
        assert listed(file.tree["t"]) == selected(path, "t")
        assert file.tree["t"]["twice"].tolist() == [2, 4]
    data = path.read_bytes().replace(b"a * 2", b"f9(a)")
    with persist.open(data) as file:  # a function of the program that wrote it
        assert file.tree["t"]["b"] == ["x", "y"]
        assert file.tree["t"]["twice"] == [None, None]
        assert "'twice' cannot be computed here" in file.damage[0]


def test_rows_of_a_table_without_row_numbers(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a",
        "CREATE TABLE t (k TEXT, v REAL, PRIMARY KEY (k)) WITHOUT ROWID",
        "INSERT INTO t VALUES ('b', 1), ('a', 2.5)",
    )
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with persist.open(source) as file:
            assert listed(file.tree["t"]) == {"k": ["a", "b"], "v": [2.5, 1.0]}


def test_rows_come_in_their_order_whatever_index_there_is(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a", "CREATE TABLE t (v INT)", "CREATE INDEX i ON t (v)",
        "INSERT INTO t VALUES (3), (1), (2)",
    )  # fmt: skip
    assert persist.open(path).tree["t"]["v"].tolist() == [3, 1, 2]


def test_virtual_tables_are_named_and_not_run(tmp_path: Path) -> None:
    try:
        path = database(
            tmp_path / "a", "CREATE TABLE t (v INT)", "CREATE VIRTUAL TABLE r USING rtree(id, a, b)"
        )
    except sqlite3.OperationalError:
        pytest.skip("this SQLite was built without rtree")
    with persist.open(path) as file:
        assert any("'r' is not read" in note and "virtual" in note for note in file.damage)
        assert "t" in file.tree


@pytest.mark.parametrize(
    "expression",
    [
        "load_extension('x')",
        "readfile('/etc/passwd')",
        "fts3_tokenizer('x')",
        "hex(zeroblob(900000000))",
        "printf('%900000000d', 1)",
    ],
)
def test_no_expression_of_a_file_does_harm(tmp_path: Path, expression: str) -> None:
    path = tmp_path / "a"
    database(
        path,
        "CREATE TABLE t (a INT, b INT AS (abs(a)" + " " * 40 + ") VIRTUAL)",
        "INSERT INTO t (a) VALUES (1)",
    )
    old = b"abs(a)" + b" " * 40
    data = path.read_bytes()
    assert data.count(old) == 1
    data = data.replace(old, expression.encode().ljust(len(old)))
    try:
        with persist.open(data) as file:
            assert file.tree["t"] == {"a": [1], "b": [None]}
            # SQLite itself gives NULL for a text of a length beyond its limit.
            assert file.damage or expression.startswith("printf")
    except LimitError as error:
        assert "larger than the whole file" in str(error)


def test_a_table_takes_no_more_steps_than_its_size_explains(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a", "CREATE TABLE t (v INT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) "
        "INSERT INTO t SELECT i FROM n",
    )  # fmt: skip
    with pytest.raises(persist.errors.LimitError, match="steps"):
        persist.open(path, limits={"opcodes": 10_000})
    assert len(persist.open(path, limits={"opcodes": 1_000_000}).tree["t"]["v"]) == 9000


def test_a_damaged_table_gives_the_rows_before_it_to_salvage(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a", "CREATE TABLE t (v TEXT)", "CREATE TABLE good (v INT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO t SELECT 'row ' || i FROM n",
        "INSERT INTO good VALUES (5)",
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    at = data.index(b"row 1500")
    page = at // 4096 * 4096
    data[page : page + 8] = b"\xff" * 8
    with pytest.raises(DamagedFileError, match="table 't'"):
        persist.open(bytes(data))
    with persist.open(bytes(data), salvage=True) as file:
        assert 500 < len(file.tree["t"]["v"]) < 1500
        assert file.tree["t"]["v"][:2] == ["row 1", "row 2"]
        assert file.tree["good"]["v"].tolist() == [5]
        assert "'t'" in file.damage[0]


def test_samples_of_another_kind_are_reported(tmp_path: Path) -> None:
    table = "CREATE TABLE mu (recid INTEGER PRIMARY KEY, draw INTEGER, chain INT(5), v__0 INT, v__1 INT)"
    path = database(
        tmp_path / "a", table, "INSERT INTO mu VALUES (1, 1, 0, x'0200000000000000', 5)",
        "INSERT INTO mu VALUES (2, 0, 0, 3, 4)",
    )  # fmt: skip
    assert persist.open(path).arrays["0/mu"].tolist() == [[3, 4], [2, 5]]
    path = database(tmp_path / "b", table, "INSERT INTO mu VALUES (1, 1, 0, 'x', 5)")
    with pytest.raises(DamagedFileError, match="v__0"):
        persist.open(path)


def test_one_row_cannot_be_had_again_and_again(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a", "CREATE TABLE t (x BLOB)", "INSERT INTO t VALUES (zeroblob(3000000))",
        "INSERT INTO t VALUES (1), (2), (3), (4), (5)",
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    page = data[4096:8192]
    count = int.from_bytes(page[3:5], "big")
    first = page[8:10]
    for number in range(1500 - count):
        page[8 + 2 * (count + number) : 10 + 2 * (count + number)] = first
    page[3:5] = (1500).to_bytes(2, "big")
    data[4096:8192] = page[:4096]
    with pytest.raises((LimitError, DamagedFileError)):
        persist.open(bytes(data))
