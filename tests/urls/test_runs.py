"""Runs over many files whose sources and targets are URLs, of storage of any kind."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import bulk
from persist._cli import main
from persist.bulk._undo import undo_run

fsspec = pytest.importorskip("fsspec")


def _old(number: int) -> bytes:
    state = pickle.dumps({"weights": np.full((2, 3), number, "f8")}, 2)[2:-1]
    return b"\x80\x02cold_urls_lab\nNet\n)\x81" + state + b"b."


def _secretive() -> type[Any]:
    """A kind of storage that is none of those that we know, and wants a key."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Vault(MemoryFileSystem):  # type: ignore[misc]
        protocol = "vault"
        store: dict[str, Any] = {}
        pseudo_dirs = [""]

        def __init__(self, *, token: str = "", **options: Any) -> None:
            super().__init__(**options)
            if token != "open sesame":
                raise PermissionError("no token")

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            path = path.removeprefix("vault://").rstrip("/")
            return path if path.startswith("/") or not path else "/" + path

    return Vault


@pytest.fixture(params=["memory", "vault"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The URL of an empty folder, and the options that its storage wants."""
    monkeypatch.chdir(tmp_path)
    options = None
    if request.param == "vault":
        fsspec.register_implementation("vault", _secretive(), clobber=True)
        options = {"token": "open sesame"}
    files = fsspec.filesystem(request.param, **(options or {}))
    yield f"{request.param}://run", options
    if files.exists("/run"):
        files.rm("/run", recursive=True)


def _sources(url: str, options: dict[str, Any] | None, count: int = 5) -> None:
    files, path = fsspec.core.url_to_fs(url, **(options or {}))
    for number in range(count):
        files.makedirs(f"{path}/{number % 2}", exist_ok=True)
        files.pipe_file(f"{path}/{number % 2}/{number}.pkl", _old(number))


def _names(url: str, options: dict[str, Any] | None) -> list[str]:
    files, path = fsspec.core.url_to_fs(url, **(options or {}))
    files.invalidate_cache()
    return sorted(name[len(path) + 1 :] for name in files.find(path)) if files.exists(path) else []


def _run(url: str, options: dict[str, Any] | None, **more: Any) -> list[bulk.Event]:
    with bulk.plan(
        f"{url}/in", "upgrade", to=f"{url}/out", imports=["urls_lab"], ledger="L",
        storage_options=options, **more,
    ) as plan:  # fmt: skip
        return list(bulk.run(plan))


def test_an_upgrade_from_storage_to_storage_and_back(
    storage: tuple[str, dict[str, Any] | None], tmp_path: Path
) -> None:
    url, options = storage
    _sources(f"{url}/in", options)
    assert [e.status for e in _run(url, options, dry_run=True)] == ["would be upgraded"] * 5
    assert _names(f"{url}/out", options) == []
    events = _run(url, options, certificates="proofs")
    assert [(event.status, event.verdict, event.error) for event in events] == [
        ("upgraded", "well", "")
    ] * 5
    named = [f"{number % 2}/{number}.pkl.persist" for number in range(5)]
    assert _names(f"{url}/out", options) == sorted(named)
    assert len(list((tmp_path / "proofs").rglob("*.json"))) == 5
    net = persist.load(f"{url}/out/1/3.pkl.persist", storage_options=options)
    assert (type(net).__name__, net.weights.tolist(), net.rate) == ("Net", [[3.0] * 3] * 2, 0.5)
    history = persist.open(f"{url}/out/1/3.pkl.persist", storage_options=options).history
    assert history[-1]["name"] == "3.pkl"

    assert [event.status for event in _run(url, options)] == ["there already"] * 5
    files, path = fsspec.core.url_to_fs(url, **(options or {}))
    files.pipe_file(f"{path}/in/0/0.pkl", _old(9))
    files.rm_file(f"{path}/out/1/1.pkl.persist")
    again = _run(url, options)
    assert sorted(event.status for event in again) == [*["there already"] * 3, *["upgraded"] * 2]
    with bulk.Ledger("L") as ledger:
        runs = [run["id"] for run in ledger.runs()]
        last = {one.file: one.status for one in undo_run(ledger, runs[-1], (), options)}
    assert last == {
        f"{url}/out/0/0.pkl.persist": "restored", f"{url}/out/1/1.pkl.persist": "removed",
    }  # fmt: skip
    old = persist.load(f"{url}/out/0/0.pkl.persist", storage_options=options)
    assert old.weights[0, 0] == 0

    base = sqlite3.connect("L")
    assert "sesame" not in " ".join(base.iterdump()), "credentials are not recorded"
    base.close()


def test_a_file_that_is_in_the_way(storage: tuple[str, dict[str, Any] | None]) -> None:
    url, options = storage
    persist.save({"mine": 1}, f"{url}/out/0/0.pkl.persist", storage_options=options)
    _sources(f"{url}/in", options, 1)
    (event,) = _run(url, options)
    assert (event.verdict, event.kind) == ("failed", "OutOfDate")
    assert "older than its source" in event.error
    assert persist.load(f"{url}/out/0/0.pkl.persist", storage_options=options) == {"mine": 1}
    (event,) = _run(url, options, force=True)
    assert event.status == "upgraded"


def test_what_is_up_to_date_is_copied(storage: tuple[str, dict[str, Any] | None]) -> None:
    url, options = storage
    persist.save({"a": np.arange(3)}, f"{url}/in/a.persist", storage_options=options)
    (event,) = _run(url, options)
    assert event.status == "copied", event
    assert _names(f"{url}/out", options) == ["a.persist"]


def test_the_command_and_names(
    storage: tuple[str, dict[str, Any] | None], capsys: pytest.CaptureFixture[str]
) -> None:
    url, options = storage
    if options:
        pytest.skip("the command takes options of storage from the environment only")
    Path("in/deep").mkdir(parents=True)
    for number in range(3):
        Path(f"in/deep/{number}.pkl").write_bytes(_old(number))
    words = ["upgrade", "in", "--to", f"{url}/new", "--import", "urls_lab", "--ledger", "L"]
    assert main([*words, "--names", "{stem}-v2{ending}"]) == 0
    assert _names(f"{url}/new", options) == [f"deep/{number}-v2.persist" for number in range(3)]
    assert main(["undo", "--run", "last", "--ledger", "L"]) == 0
    assert "3 removed" in capsys.readouterr().out
    assert _names(f"{url}/new", options) == []
    assert main([*words, "--names", "same{ending}"]) == 2
    assert f"{url}/new/deep/same.persist" in capsys.readouterr().err
