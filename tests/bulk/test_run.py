"""Plans and runs: what each job reports, what a second run does, how workers are used."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import bulk_lab
import numpy as np
import pytest

import persist
from persist import bulk
from persist.errors import CollisionError, PersistError

LAB = ["bulk_lab"]


def run(plan: bulk.Plan, executor: object = None) -> list[bulk.Event]:
    with plan:
        return list(bulk.run(plan, executor))  # type: ignore[arg-type]


def statuses(events: list[bulk.Event]) -> dict[str, int]:
    return dict(Counter(event.status for event in events))


def test_upgrade_yields_an_event_a_file(lab: Path) -> None:
    plan = bulk.plan("in", "upgrade", to="out", imports=LAB)
    assert len(plan) == 12
    events = {event.file: event for event in run(plan)}
    assert statuses(list(events.values())) == {
        "upgraded": 10, "not an experiment file": 1, "failed": 1,
    }  # fmt: skip
    one = events[os.path.join("in", "1", "run004.pkl")]
    assert (one.verdict, one.format, one.target) == (
        "well", "pickle", os.path.join("out", "1", "run004.pkl.persist"),
    )  # fmt: skip
    assert one.versions == [["old_bulk_lab.Net", "bulk.Net", 2, 3, 1]]
    assert [step[:3] for step in one.steps] == [["bulk.Net", 2, 3], ["bulk.Net", None, None]]
    net = persist.load(one.target)
    assert net.weights.tolist() == np.full((2, 3), 4.0).tolist()
    cut = events[os.path.join("in", "cut.pkl")]
    assert (cut.verdict, cut.kind) == ("damaged", "DamagedFileError")
    assert cut.error.startswith(cut.file)
    other = events[os.path.join("in", "other.pkl")]
    assert (other.verdict, other.unknown) == ("class unknown", ["nobodys_bulk.Thing"])
    assert {event.done for event in events.values()} == set(range(1, 13))
    json.dumps([event.as_json() for event in events.values()])


def test_the_short_form(lab: Path) -> None:
    events = persist.upgrade("in/0", to="out", imports=LAB)
    assert statuses(events) == {"upgraded": 3}
    assert persist.load("out/run000.pkl.persist").rate == 0.0


def test_two_processes_do_the_same(lab: Path) -> None:
    run(bulk.plan("in", "upgrade", to="one", imports=LAB))
    events = run(bulk.plan("in", "upgrade", to="two", imports=LAB), 2)
    assert statuses(events) == {"upgraded": 10, "not an experiment file": 1, "failed": 1}
    written = sorted(path.relative_to("one") for path in Path("one").rglob("*.persist"))
    assert written == sorted(path.relative_to("two") for path in Path("two").rglob("*.persist"))
    for path in written:
        with persist.open(Path("one") / path) as a, persist.open(Path("two") / path) as b:
            assert {p: np.asarray(a.arrays[p]).tolist() for p in a.arrays} == {
                p: np.asarray(b.arrays[p]).tolist() for p in b.arrays
            }


def test_survey_in_parts_is_the_survey(lab: Path) -> None:
    from persist.survey import survey

    files = sorted(str(path) for path in Path("in").rglob("*") if path.is_file())
    whole = survey(files)
    with bulk.plan("in", "survey", imports=LAB) as plan:
        events = list(bulk.run(plan, ThreadPoolExecutor(1)))
        found = plan.survey()
    assert (found.files, found.unknown, found.damaged) == (10, 1, 1)
    assert (found.files, found.bytes, found.formats) == (whole.files, whole.bytes, whole.formats)
    rows = {(row.name, row.layout, row.outcome, row.count, row.files) for row in found.rows}
    assert rows == {(row.name, row.layout, row.outcome, row.count, row.files) for row in whole.rows}
    assert {event.verdict for event in events} == {"well", "class unknown", "damaged", "left out"}


def test_verify_and_scan(lab: Path) -> None:
    verified = run(bulk.plan("in", "verify"))
    assert statuses(verified) == {"whole": 10, "not an experiment file": 1, "failed": 1}
    (lab / "in" / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    scanned = {os.path.basename(event.file): event for event in run(bulk.plan("in", "scan"))}
    assert scanned["evil.pkl"].verdict == "failed"
    assert scanned["evil.pkl"].result.verdict == "dangerous"
    assert "system" in scanned["evil.pkl"].error
    assert scanned["run000.pkl"].verdict == "well"


def test_convert(lab: Path) -> None:
    events = run(bulk.plan("in/2", "convert", format="npz", to="flat"))
    assert statuses(events) == {"converted": 3}
    with np.load("flat/run002.pkl.npz") as arrays:
        assert arrays["W"][0, 0] == 2


def test_a_function(lab: Path) -> None:
    events = run(bulk.plan("in/1", bulk_lab.length))
    assert {event.file: event.result for event in events} == {
        event.file: os.path.getsize(event.file) for event in events
    }
    events = run(bulk.plan("in/1", bulk_lab.length), ProcessPoolExecutor(1))
    assert [event.result for event in events] == [os.path.getsize(event.file) for event in events]


def test_a_result_that_cannot_be_sent_back_is_a_failure(lab: Path) -> None:
    (event, *_) = run(bulk.plan("in/1", bulk_lab.counted), ProcessPoolExecutor(1))
    assert (event.status, event.verdict, event.result) == ("failed", "failed", None)
    assert "cannot be sent back" in event.error
    (event, *_) = run(bulk.plan("in/1", bulk_lab.counted))  # as the remedy says
    assert list(event.result) == [0, 1, 2]


def test_the_function_and_its_error(lab: Path) -> None:
    def fails(path: str) -> None:
        raise ValueError(f"no {os.path.basename(path)}")

    pytest.importorskip("cloudpickle")
    (event, *_) = run(bulk.plan("in/1", fails))
    assert (event.status, event.verdict, event.kind) == ("failed", "failed", "ValueError")
    assert "no run001.pkl" in event.error


# Ledgers.


def test_a_second_run_does_what_has_changed(lab: Path) -> None:
    def again() -> dict[str, int]:
        return statuses(run(bulk.plan("in", "upgrade", to="out", imports=LAB, ledger="L")))

    assert again() == {"upgraded": 10, "not an experiment file": 1, "failed": 1}
    assert again() == {"there already": 10, "not an experiment file": 1, "failed": 1}
    source = lab / "in" / "0" / "run003.pkl"
    stamp = source.stat().st_mtime_ns
    data = source.read_bytes()
    source.write_bytes(data.replace(b"?\xd3333333", b"?\xd3333334"))  # the last digit of 0.3
    assert source.read_bytes() != data
    os.utime(source, ns=(stamp, stamp))  # neither size nor time shows it
    (lab / "out" / "1" / "run004.pkl.persist").unlink()
    bulk_lab.write_old(lab / "in" / "new.pkl", 5)
    found = again()
    assert found == {
        "upgraded": 3, "there already": 8, "not an experiment file": 1, "failed": 1,
    }  # fmt: skip
    assert persist.load("out/0/run003.pkl.persist").rate > 0.3


def test_declarations_that_changed(lab: Path) -> None:
    assert statuses(run(bulk.plan("in", "upgrade", to="out", ledger="L")))["upgraded"] == 10
    registry = persist.Registry("bulk_changed", parents=(persist.registry.default_registry,))

    class Thing:
        def __init__(self, a: int) -> None:
            self.a = a

    registry.register(Thing, fields=("a",), schema="bulk.Thing")
    registry.alias("nobodys_bulk.Thing", Thing)
    events = run(bulk.plan("in", "upgrade", to="out", ledger="L", registry=registry))
    done = [os.path.basename(event.file) for event in events if event.status == "upgraded"]
    assert done == ["other.pkl"]


def test_options_that_changed(lab: Path) -> None:
    run(bulk.plan("in/0", "upgrade", to="out", imports=LAB, ledger="L"))
    events = run(bulk.plan("in/0", "upgrade", to="out", imports=LAB, ledger="L", py2_str="bytes"))
    assert statuses(events) == {"upgraded": 3}


def test_a_run_that_was_stopped_goes_on(lab: Path) -> None:
    plan = bulk.plan("in", "upgrade", to="out", imports=LAB, ledger="L")
    events = bulk.run(plan)
    first = [next(events) for _ in range(4)]
    events.close()  # type: ignore[attr-defined]
    plan.close()
    plan = bulk.plan("in", "upgrade", to="out", imports=LAB, ledger="L")
    assert plan.is_resumed
    assert plan.run_id == first[0].run
    assert plan.pending == 8
    rest = run(plan)
    assert not {event.file for event in first} & {event.file for event in rest}
    assert statuses([*first, *rest])["upgraded"] == 10


def test_a_survey_of_what_has_changed(lab: Path) -> None:
    def surveyed() -> tuple[int, persist.survey.Survey]:  # type: ignore[name-defined]
        with bulk.plan("in", "survey", imports=LAB, ledger="L") as plan:
            return len(list(bulk.run(plan))), plan.survey()

    count, first = surveyed()
    assert count == 12
    count, second = surveyed()
    assert (count, second.files) == (0, 10)
    assert [row.count for row in second.rows] == [row.count for row in first.rows]
    (lab / "in" / "0" / "run000.pkl").unlink()
    bulk_lab.write_old(lab / "in" / "longer.pkl", 5)
    count, third = surveyed()
    assert (count > 0, third.files) == (True, 10)


def test_one_coordinator_writes_a_ledger(lab: Path) -> None:
    with bulk.plan("in", "verify", ledger="L"), pytest.raises(PersistError, match="another run"):
        bulk.plan("in", "verify", ledger="L")
    bulk.plan("in", "verify", ledger="L").close()


def test_what_is_no_ledger_is_refused(lab: Path) -> None:
    (lab / "text").write_text("not a ledger\n" * 20)
    with pytest.raises(PersistError, match="no ledger"):
        bulk.plan("in", "verify", ledger="text")
    assert (lab / "text").read_text().startswith("not a ledger")


# Targets.


def test_collisions_are_found_before_anything_is_written(lab: Path) -> None:
    bulk_lab.write_old(lab / "second" / "run000.pkl", 1)
    with pytest.raises(CollisionError, match=r"run000\.pkl\.persist") as caught:
        bulk.plan(["in/0", "second"], "upgrade", to="out", imports=LAB)
    assert caught.value.facts["collisions"]
    assert not Path("out").exists()
    # What the error says works.
    events = run(
        bulk.plan("in", "upgrade", to="out", imports=LAB, names="{folder}/{stem}-v3{ending}")
    )
    assert statuses(events)["upgraded"] == 10
    assert Path("out/2/run002-v3.persist").exists()
    with pytest.raises(CollisionError):
        bulk.plan("in", "upgrade", to="out", imports=LAB, names="all{ending}")


@pytest.mark.parametrize("template", ["plain", "{nothing}", "{stem", "{stem.__class__}"])
def test_a_template_that_cannot_be_used(lab: Path, template: str) -> None:
    with pytest.raises(PersistError, match="template|field"):
        bulk.plan("in", "upgrade", names=template)


def test_a_file_is_never_its_own_target(lab: Path) -> None:
    events = run(bulk.plan("in/0", "upgrade", imports=LAB, names="{name}", force=True))
    assert {event.verdict for event in events} == {"failed"}
    assert "the file itself" in events[0].error
    assert persist.open("in/0/run000.pkl").format == "pickle"


# Options.


def test_filters(lab: Path) -> None:
    def names(**filters: object) -> list[str]:
        events = run(bulk.plan("in", "verify", imports=LAB, **filters))  # type: ignore[arg-type]
        return sorted(os.path.basename(e.file) for e in events if e.status == "whole")

    assert names(include="1/*") == ["run001.pkl", "run004.pkl", "run007.pkl"]
    assert names(include="run*", exclude=["*5*", "2/*"]) == [
        "run000.pkl", "run001.pkl", "run003.pkl", "run004.pkl", "run006.pkl", "run007.pkl",
    ]  # fmt: skip
    assert names(classes="nobodys_bulk.*") == ["other.pkl"]
    assert len(names(classes="bulk.Net")) == 9
    assert len(names(versions="bulk.Net=2")) == 9
    assert names(versions="1") == []
    assert names(max_size="60 B") == ["other.pkl"]
    assert names(formats="npz") == []
    os.utime(lab / "in" / "other.pkl", (2e9, 2e9))
    assert names(newer="2030-01-01") == ["other.pkl"]


@pytest.mark.parametrize(
    "wrong", [{"newer": "yesterday"}, {"max_size": "big"}, {"versions": "A=x"}, {"keep": True}]
)
def test_options_that_cannot_be_understood(lab: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(PersistError):
        bulk.plan("in", "upgrade", **wrong)  # type: ignore[arg-type]


def test_an_option_that_there_is_not(lab: Path) -> None:
    with pytest.raises(TypeError, match="no option 'too'"):
        bulk.plan("in", "upgrade", too="out")


def test_declarations_that_workers_lack_are_reported(lab: Path) -> None:
    class Local(persist.Versioned, version=2, schema="bulk.Local"):  # only in this process
        persistent = ("a",)

    persist.migration(Local, 1, persist.ops.add("a", 1))
    persist.save(persist.Record("bulk.Local", {}, version=1), "in/0/local.persist")
    with pytest.raises(PersistError, match=r"other declarations .* bulk\.Local"):
        run(bulk.plan("in/0", "upgrade", to="out"), ProcessPoolExecutor(1, mp_context=spawn()))


def spawn() -> object:
    import multiprocessing

    return multiprocessing.get_context("spawn")
