"""The verbs over many files: options, reports, undo."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import bulk_lab
import pytest

import persist
from persist._cli import main

Captured = pytest.CaptureFixture[str]
UP = ["upgrade", "in", "--to", "out", "--import", "bulk_lab", "--ledger", "L"]


def test_report(lab: Path, capsys: Captured) -> None:
    assert main([*UP, "--report", "page.html"]) == 1
    page = Path("page.html").read_text()
    assert "cut.pkl" in page
    assert not re.search(r"(src|href)=", page), "it needs nothing else"
    capsys.readouterr()
    assert main(["report", "L"]) == 4  # one is damaged
    out = capsys.readouterr().out
    for words in (
        "12 files", "10 upgraded, 1 not an experiment file, 1 failed", "bulk.Net: 2 to 3, 9 times",
        "nobodys_bulk.Thing (in 1 file)", "1 × DamagedFileError: ", "such as in/cut.pkl", "slowest",
    ):  # fmt: skip
        assert words in out
    assert main(["report", "L", "--jsonl"]) == 4
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 12
    assert {line["verdict"] for line in lines} == {"well", "class unknown", "damaged", "left out"}
    assert main(["report", "L", "--csv"]) == 4
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 12
    assert {len(row["digest"]) for row in rows if row["status"] == "upgraded"} == {64}
    assert main(["report", "L", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["verdicts"]["damaged"] == 1


def test_the_status_of_a_report_tells_them_apart(lab: Path, capsys: Captured) -> None:
    (lab / "in" / "cut.pkl").unlink()
    assert main(UP) == 0
    assert main(["report", "L"]) == 3  # a class is unknown
    (lab / "in" / "other.pkl").unlink()
    assert main(UP) == 0
    assert main(["report", "L"]) == 0
    (lab / "bulk_fails.py").write_text("import bulk_lab\n")
    (lab / "out" / "mine.pkl.persist").write_bytes(b"x")
    bulk_lab.write_old(lab / "in" / "mine.pkl", 1)
    persist.save({"mine": 1}, lab / "out" / "mine.pkl.persist")
    os.utime(lab / "out" / "mine.pkl.persist", (1, 1))
    assert main(UP) == 1
    assert main(["report", "L"]) == 1  # it failed, and is not damaged
    assert main(["report", "no/such/ledger"]) == 2
    assert main(["report", "in/notes.txt"]) == 2


def test_undo_of_a_run(lab: Path, capsys: Captured) -> None:
    before = {path: path.read_bytes() for path in (lab / "in").rglob("*") if path.is_file()}
    main(UP)
    first = {path: path.read_bytes() for path in (lab / "out").rglob("*.persist")}
    run = re.search(r"run (\S+) in L", capsys.readouterr().err)
    assert run is not None
    main([*UP, "--force", "--unknown", "drop"])
    second = re.search(r"run (\S+) in L", capsys.readouterr().err)
    assert second is not None
    kept = [path for path in Path("L.originals/objects").rglob("*") if path.is_file()]
    assert len(kept) == len(set(first.values()))
    (lab / "out" / "1" / "run001.pkl.persist").write_bytes(b"changed since")
    assert main(["undo", "--run", second[1], "--ledger", "L"]) == 1
    captured = capsys.readouterr()
    assert "9 restored, 1 left" in captured.out
    assert "run001.pkl.persist: left as it is: it was changed after the run" in captured.err
    changed = lab / "out" / "1" / "run001.pkl.persist"
    assert {path: path.read_bytes() for path in first if path != changed} == {
        path: data for path, data in first.items() if path != changed
    }
    assert main(["undo", "L", "--run", run[1]]) == 1
    assert "9 removed, 1 left" in capsys.readouterr().out
    changed.unlink()
    assert main(["undo", "L", "--run", run[1]]) == 0
    assert not list(Path("out").rglob("*.persist"))
    assert main(["undo", "L", "--run", run[1]]) == 2
    assert "was undone already" in capsys.readouterr().err
    assert main(["undo", "L", "--run", "20010101-000000-abcdef"]) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert main(UP) == 1  # and again: nothing is "there already"
    assert len(list(Path("out").rglob("*.persist"))) == 10


def test_undo_of_a_run_in_place(lab: Path, capsys: Captured) -> None:
    folder = lab / "stored"
    folder.mkdir()
    for name in ("a", "b"):
        record = persist.Record("bulk.Net", {"W": 1, "rate": 2.0}, version=2)
        persist.save(record, folder / f"{name}.persist")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    words = ["upgrade", "stored", "--in-place", "--import", "bulk_lab", "--ledger", "L"]
    assert main([*words, "--keep"]) == 0
    assert persist.load(folder / "a.persist").weights == 1
    kept = [path for path in Path("L.originals/objects").rglob("*") if path.is_file()]
    assert len(kept) == len(set(before.values()))
    assert main([*words, "--keep"]) == 0
    assert "2 up to date" in capsys.readouterr().out
    with persist.bulk.Ledger("L", writes=False) as ledger:
        (first, _) = ledger.runs()
    assert main(["undo", "L", "--run", first["id"]]) == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_dry_run_does_all_but_write(lab: Path, capsys: Captured) -> None:
    (lab / "bulk_typed.py").write_text(
        "import attrs, persist, bulk_lab\n"
        "@attrs.define\n"
        "class Net(persist.Versioned, version=2, schema='bulk.Typed'):\n"
        "    a: int = attrs.field(validator=attrs.validators.instance_of(int))\n"
        "persist.alias('typed_bulk.Thing', Net)\n"
        "persist.migration(Net, 1, persist.ops.convert('a', str))\n"
    )
    (lab / "in" / "typed.pkl").write_bytes(b"\x80\x02ctyped_bulk\nThing\n)\x81}U\x01aK\x01sb.")
    words = ["upgrade", "in", "--to", "out", "--import", "bulk_typed"]
    assert main([*words, "--dry-run"]) == 1
    captured = capsys.readouterr()
    assert "10 would be upgraded" in captured.out
    assert "2 failed" in captured.out
    assert not Path("out").exists()
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "10 upgraded" in captured.out
    assert "failed: in/typed.pkl: out/typed.pkl.persist, " in captured.err


def test_a_certificate(lab: Path) -> None:
    assert main([*UP, "--certificates", "proofs"]) == 1
    proof = json.loads(Path("proofs/1/run004.pkl.persist.json").read_text())
    assert (proof["compared"], proof["equal"]) == ("objects", True)
    assert proof["records"] == [["old_bulk_lab.Net", "bulk.Net", 2, 1]]
    (array,) = proof["arrays"]
    assert array["path"] == "weights"
    assert array["in_source"] == ["W"], "a renamed array has the same digest"
    import hashlib

    data = Path("in/1/run004.pkl").read_bytes()
    assert proof["source"]["sha256"] == hashlib.sha256(data).hexdigest()
    data = Path("out/1/run004.pkl.persist").read_bytes()
    assert proof["target"]["sha256"] == hashlib.sha256(data).hexdigest()


def test_events_for_programs(lab: Path, capsys: Captured) -> None:
    assert main([*UP, "--events"]) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(events) == 12
    assert events[-1]["done"] == events[-1]["total"] == 12


@pytest.mark.parametrize("verb", ["verify", "scan", "survey", "convert"])
def test_every_verb_takes_jobs_filters_and_a_ledger(lab: Path, verb: str, capsys: Captured) -> None:
    more = ["--to", "npz", "--out", "flat"] if verb == "convert" else []
    words = [
        verb,
        "in",
        *more,
        "--include",
        "run*",
        "--exclude",
        "*8*",
        "--ledger",
        "L",
        "--jobs",
        "2",
    ]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["report", "L", "--jsonl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_warnings_are_summed_up_over_workers(lab: Path, capsys: Captured) -> None:
    (lab / "bulk_drops.py").write_text(
        "import persist\n"
        "class Net(persist.Versioned, version=2, schema='bulk.Drops'):\n"
        "    persistent = ('rate',)\n"
        "persist.alias('old_bulk_lab.Net', Net)\n"
        "persist.migration(Net, 1, persist.ops.convert('rate', float))\n"
    )
    code = "import sys; from persist._cli import main; sys.exit(main())"
    import subprocess
    import sys

    env = {**os.environ, "PYTHONPATH": str(Path(persist.__file__).parents[1])}
    words = ["upgrade", "in", "--to", "out", "--import", "bulk_drops", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=env
    )
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if "does not declare" in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].endswith("(and 8 more like it)")


def test_sources_by_pattern_and_inventory(lab: Path, capsys: Captured) -> None:
    assert main(["verify", "in/[01]/*.pkl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    Path("list.txt").write_text("# of the lab\nin/0/run000.pkl\n\nin/2/run002.pkl\n")
    assert main(["verify", "--inventory", "list.txt"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["verify"]) == 2
