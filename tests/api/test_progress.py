"""``progress=``: what is reported of long calls, to whom, and what its failure leaves behind."""

from __future__ import annotations

import bz2
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import persist
from persist._runtime import bars, progress
from persist.typing import ProgressEvent


@attrs.define(eq=False)
class Layer(persist.Versioned, version=2, schema="progress.Layer"):
    weights: Any


@persist.migration(Layer, 1)
def renamed(state: Any) -> Any:
    return {"weights": state["W"]}


class Reports(list[ProgressEvent]):
    """Collects events, and checks what holds of all of them."""

    def __call__(self, event: ProgressEvent) -> None:
        self.append(event)

    def phases(self) -> dict[str, ProgressEvent]:
        """The last event of each phase; its events only ever go up."""
        last: dict[tuple[str, str | None], ProgressEvent] = {}
        for event in self:
            before = last.get((event.phase, event.file))
            assert before is None or before.done <= event.done
            assert event.total is None or event.done <= event.total
            last[event.phase, event.file] = event
        for event in last.values():
            assert event.done == event.total, event
        return {event.phase: event for event in last.values()}


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_save_and_load_of_a_container(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "a.persist"
    tree = {"layers": [Layer(np.ones(3)) for _ in range(2000)], "w": np.zeros((400, 400))}
    persist.save(tree, path, progress=reports)
    found = reports.phases()
    assert list(found) == ["collect", "write"]
    assert found["collect"].done >= 2000
    assert found["write"].unit == "bytes"
    assert found["write"].done > 400 * 400 * 8
    assert found["write"].file == str(path)
    reports.clear()
    loaded = persist.load(path, progress=reports, verify="always")
    assert len(loaded["layers"]) == 2000
    found = reports.phases()
    assert found["build"].done >= 2000
    assert found["verify"].total is not None
    assert found["verify"].total > 400 * 400 * 8


def test_a_pickle_is_read_in_steps_then_upgraded_and_built(
    reports: Reports, tmp_path: Path
) -> None:
    record = persist.Record("progress.Layer", {"W": 1}, version=1)
    path = tmp_path / "old.persist"
    persist.save([record for _ in range(5)] + [{"n": [i]} for i in range(50)], path)
    persist.load(path, progress=reports)
    found = reports.phases()
    assert (found["upgrade"].done, found["upgrade"].unit) == (
        1,
        "objects",
    )  # one, shared five times
    assert found["build"].done >= 1
    reports.clear()
    data = pickle.dumps([{"a": i, "b": str(i)} for i in range(60_000)])
    persist.load(data, progress=reports)
    assert reports.phases()["read"].done == len(data)
    assert len([event for event in reports if event.phase == "read"]) >= 2


def test_open_reports_while_it_reads_and_when_the_tree_is_made(
    reports: Reports, tmp_path: Path
) -> None:
    data = pickle.dumps([(i, str(i)) for i in range(60_000)])
    with persist.open(bz2.compress(data), progress=reports) as file:
        assert len(file.tree) == 60_000
    assert list(reports.phases()) == ["decompress", "read"]
    path = tmp_path / "a.persist"
    persist.save({"a": np.ones(3)}, path)
    with persist.open(path, progress=reports) as file:
        assert file._progress is reports  # a container's tree is made when it is asked for


def test_restore_reports_arrays(reports: Reports, tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    arrays = {f"w{n}": np.full(3, n) for n in range(20)}
    persist.save(arrays, path)
    into = {name: np.zeros(3, int) for name in arrays}
    persist.restore(path, into, progress=reports)
    assert reports.phases()["fill"][1:4] == (20, 20, "arrays")
    assert into["w7"].tolist() == [7, 7, 7]


def test_upgrade_reports_files(reports: Reports, tmp_path: Path) -> None:
    sources = [tmp_path / f"{n}.pkl" for n in range(4)]
    for path in sources:
        path.write_bytes(pickle.dumps({"a": 1}))
    persist.upgrade(sources, to=tmp_path / "new", progress=reports)
    files = [event for event in reports if event.phase == "files"]
    assert files[0][1:4] == (0, 4, "files")
    assert files[-1][1:4] == (4, 4, "files")


def test_explain_and_formats_that_others_write(reports: Reports, tmp_path: Path) -> None:
    persist.save({"a": np.ones(1000)}, tmp_path / "a.npz", format="npz", progress=reports)
    assert reports.phases()["write"].done > 8000
    reports.clear()
    persist.explain(pickle.dumps(list(range(60_000))), progress=reports)
    assert "read" in reports.phases()


def test_an_error_of_the_function_ends_the_call_and_is_no_fault_of_the_file(tmp_path: Path) -> None:
    def stop(event: ProgressEvent) -> None:
        raise ValueError("enough")

    data = pickle.dumps([str(i) for i in range(60_000)])
    with pytest.raises(ValueError, match=r"^enough$"):
        persist.load(data, progress=stop)
    path = tmp_path / "a.persist"
    persist.save({"a": 1}, path)
    with pytest.raises(ValueError, match=r"^enough$"):
        persist.save({"a": np.ones(1000)}, path, progress=stop)
    assert persist.load(path) == {"a": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["a.persist"]
    assert progress.current() is None


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="progress='yes' was given. True, or a function"):
        persist.load(pickle.dumps(1), progress="yes")  # type: ignore[call-overload]
    assert persist.load(pickle.dumps(1), progress=False) == 1


def test_events_come_at_most_twenty_times_a_second() -> None:
    found: list[ProgressEvent] = []
    meter = progress.Meter(found.append)
    for done in range(100_001):
        meter.at("read", done, 100_000, "bytes")
    assert found[0].done == 0
    assert found[-1].done == 100_000
    assert len(found) < 40


def test_a_thread_or_a_nested_call_without_the_keyword_starts_nothing(reports: Reports) -> None:
    assert progress.reporting(None) is progress.reporting(False)
    with progress.reporting(reports):
        persist.load(pickle.dumps([1] * 60_000))
    assert "read" in reports.phases()  # within a call that reports, a file that it loads does
    assert progress.current() is None


# Bars.


class Terminal(io.StringIO):
    """A terminal as far as libraries ask."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("library", ["rich", "tqdm", "neither"])
def test_true_draws_a_bar(library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = {"rich": ["tqdm"], "tqdm": ["rich"], "neither": ["rich", "tqdm"]}[library]
    if library != "neither":
        pytest.importorskip(library)
    for name in missing:
        for part in (name, f"{name}.progress", f"{name}.console", f"{name}.auto"):
            monkeypatch.setitem(sys.modules, part, None)
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    path = tmp_path / "run.pkl"
    path.write_bytes(pickle.dumps([str(i) for i in range(60_000)]))
    persist.load(path, progress=True)
    text = drawn.getvalue()
    assert "read run.pkl" in text
    assert "B" in text


def test_amounts_and_labels() -> None:
    def event(**facts: Any) -> ProgressEvent:
        return ProgressEvent(
            **{"phase": "read", "done": 0, "total": None, "unit": "bytes", **facts}
        )

    assert bars._amount(event(done=3_100_000_000, total=8_000_000_000)) == "3.1 / 8.0 GB"
    assert bars._amount(event(done=512)) == "512.0 B"
    assert bars._amount(event(done=12, total=4000, unit="objects")) == "12 / 4,000 objects"
    assert bars.label(event(file="a/b/\x1b[31mred.pkl")) == "read \\x1b[31mred.pkl"
