"""The second run of `persist upgrade`: what is stale is said and done again, and nothing else."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import warm

import persist
from persist import _cli

Run = Callable[..., tuple[int, str, str]]

OLD = b"\x80\x02cold_lab\nNet\n)\x81}U\x01WK\x01sb."


def declared(version: int, steps: str, fields: str = '("w",)', schema: str = "again.Net") -> str:
    return f"""
import persist
class Net(persist.Versioned, version={version}, schema="{schema}"):
    persistent = {fields}
persist.alias("old_lab.Net", Net)
{steps}
"""


RENAME = 'persist.migration(Net, 1, persist.ops.rename("W", "w"))'


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pkl").write_bytes(OLD)
    return tmp_path


@pytest.fixture
def run(lab: Path) -> Run:
    """Run the command in a process of its own: classes are declared anew."""
    found = str(Path(persist.__file__).parents[1])

    def run(*arguments: str) -> tuple[int, str, str]:
        # A module is written twice within a second, which bytecode does not show.
        env = {**os.environ, "PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1"}
        done = warm.run(["-m", "persist", *arguments], lab, env, joined=False)
        return done.returncode, done.stdout, done.stderr

    return run


def state_of(path: Path) -> object:
    with persist.open(path) as file:
        return file.tree.state


def test_a_source_that_changed_is_upgraded_again(lab: Path, run: Run) -> None:
    source, target = lab / "in" / "b.pkl", lab / "out" / "b.pkl.persist"
    source.write_bytes(pickle.dumps({"i": 1}, 2))
    assert run("upgrade", "in", "--to", "out")[0] == 0
    stamp = source.stat().st_mtime_ns
    source.write_bytes(pickle.dumps({"i": 2}, 2))
    os.utime(source, ns=(stamp, stamp))  # neither its size nor its time shows it
    status, out, _ = run("upgrade", "in", "--to", "out")
    assert status == 0
    assert "in/b.pkl -> out/b.pkl.persist  (again: its source has changed)" in out
    assert "1 upgraded, 1 there already" in out
    assert persist.load(target) == {"i": 2}
    assert "2 there already" in run("upgrade", "in", "--to", "out")[1]


def test_a_source_that_was_only_touched_is_not(lab: Path, run: Run) -> None:
    assert run("upgrade", "in", "--to", "out")[0] == 0
    os.utime(lab / "in" / "a.pkl")
    assert "1 there already" in run("upgrade", "in", "--to", "out")[1]


def test_a_class_that_is_declared_now_is_upgraded_again(lab: Path, run: Run) -> None:
    assert "old_lab.Net" in run("upgrade", "in", "--to", "out")[1]  # nothing is known of it
    (lab / "ours.py").write_text(declared(2, RENAME))
    status, out, _ = run("upgrade", "in", "--to", "out", "--import", "ours")
    assert status == 0
    assert "again: old_lab.Net was not declared then, but is declared now" in out
    assert state_of(lab / "out" / "a.pkl.persist") == {"w": 1}
    assert "1 there already" in run("upgrade", "in", "--to", "out", "--import", "ours")[1]


@pytest.mark.parametrize(
    ("before", "after", "reason", "state"),
    [
        (
            declared(2, RENAME),
            declared(3, RENAME + '\npersist.migration(Net, 2, persist.ops.rename("w", "v"))', '("v",)'),
            "it is of an older version of again.Net",
            {"v": 1},
        ),
        (
            declared(2, '@persist.migration(Net, 1)\ndef up(state): return {"w": 2}'),
            declared(2, '@persist.migration(Net, 1)\ndef up(state): return {"w": 3}'),
            "the step 1 to 2 of again.Net has changed",
            {"w": 3},
        ),
        (
            declared(2, 'persist.migration(Net, 1, persist.ops.drop("W"), persist.ops.add("w", 2))'),
            declared(2, 'persist.migration(Net, 1, persist.ops.drop("W"), persist.ops.add("w", 3))'),
            "the step 1 to 2 of again.Net has changed",
            {"w": 3},
        ),
        (
            declared(2, 'persist.migration(Net, 1, persist.ops.rename("W", "w"), persist.ops.convert("w", lambda x: x + 1))'),
            declared(2, 'persist.migration(Net, 1, persist.ops.rename("W", "w"), persist.ops.convert("w", lambda x: x + 2))'),
            "the step 1 to 2 of again.Net has changed",
            {"w": 3},
        ),
        (
            declared(2, RENAME),
            declared(2, RENAME, '{"w": None, "b": 0}'),
            "the declaration of again.Net has changed",
            {"w": 1},
        ),
    ],
    ids=["version", "function", "ops", "function of an op", "layout"],
)  # fmt: skip
def test_knowledge_that_changed(
    lab: Path, run: Run, before: str, after: str, reason: str, state: object
) -> None:
    (lab / "ours.py").write_text(before)
    assert run("upgrade", "in", "--to", "out", "--import", "ours")[0] == 0
    assert "1 there already" in run("upgrade", "in", "--to", "out", "--import", "ours")[1]
    (lab / "ours.py").write_text(after)
    status, out, err = run("upgrade", "in", "--to", "out", "--import", "ours")
    assert (status, err) == (0, "")
    assert f"again: {reason}" in out
    assert state_of(lab / "out" / "a.pkl.persist") == state
    assert "1 there already" in run("upgrade", "in", "--to", "out", "--import", "ours")[1]


def test_a_stamp_that_changed(lab: Path, run: Run) -> None:
    stamp = "@persist.stamp(Net)\ndef by_name(state): return {}"
    text = declared(2, RENAME + "\n" + stamp)
    (lab / "ours.py").write_text(text.replace("return {}", "return 1"))
    assert run("upgrade", "in", "--to", "out", "--import", "ours")[0] == 0
    (lab / "ours.py").write_text(text.replace("return {}", "return 1 if 'W' in state else 2"))
    out = run("upgrade", "in", "--to", "out", "--import", "ours")[1]
    assert "again: the stamp of again.Net has changed" in out


def test_options_that_changed(lab: Path, run: Run) -> None:
    (lab / "in" / "a.pkl").write_bytes(b"\x80\x02}U\x01aU\x01\xfcs.")
    assert run("upgrade", "in", "--to", "out")[0] == 0
    assert persist.load(lab / "out" / "a.pkl.persist") == {"a": b"\xfc"}
    out = run("upgrade", "in", "--to", "out", "--py2-str", "latin-1")[1]
    assert "again: it was written with a different --py2-str" in out
    assert persist.load(lab / "out" / "a.pkl.persist") == {"a": "ü"}


def test_what_no_upgrade_wrote_is_not_overwritten(lab: Path, run: Run) -> None:
    (lab / "out").mkdir()
    persist.save({"mine": 1}, lab / "out" / "a.pkl.persist")
    os.utime(lab / "out" / "a.pkl.persist", ns=(1, 1))
    status, out, _ = run("upgrade", "in", "--to", "out")
    assert status == 1
    assert "exists already, but it is older than its source (--force)" in out
    assert "1 out of date" in out
    assert persist.load(lab / "out" / "a.pkl.persist") == {"mine": 1}
    assert run("upgrade", "in", "--to", "out", "--force")[0] == 0


def test_pickles_of_an_older_version_are_reported(lab: Path, run: Run) -> None:
    (lab / "ours.py").write_text(declared(2, RENAME))
    command = ("upgrade", "in", "--to", "out", "--import", "ours", "--format", "pickle")
    assert run(*command)[0] == 0
    assert "1 there already" in run(*command)[1]
    more = RENAME + '\npersist.migration(Net, 2, persist.ops.rename("w", "v"))'
    (lab / "ours.py").write_text(declared(3, more, '("v",)'))
    status, out, _ = run(*command)
    assert status == 1
    assert "it is of an older version of again.Net (--force)" in out
    assert run(*command, "--force")[0] == 0
    assert "1 there already" in run(*command)[1]


# Containers among the sources.


def test_containers_of_today_are_copied_and_counted(lab: Path, run: Run) -> None:
    runs = persist.Checkpoints(lab / "ck")
    runs.save(1, {"w": 1})
    runs.close()
    status, out, _ = run("upgrade", "ck", "--to", "out", "--dry-run")
    assert "1 would be copied" in out
    status, out, _ = run("upgrade", "ck", "--to", "out")
    assert status == 0
    assert "1 copied" in out
    name = "step-0000000001.persist"
    assert (lab / "out" / name).read_bytes() == (lab / "ck" / name).read_bytes()
    assert "1 there already" in run("upgrade", "ck", "--to", "out")[1]


def test_older_containers_are_upgraded_under_their_names(lab: Path, run: Run) -> None:
    (lab / "ours.py").write_text(declared(2, RENAME))
    record = persist.Record("again.Net", {"W": 7}, version=1)
    persist.save(record, lab / "in" / "c.persist", metadata={"run": 7})
    status, out, _ = run("upgrade", "in", "--to", "out", "--import", "ours")
    assert status == 0
    assert "in/c.persist -> out/c.persist  (again.Net 1 to 2)" in out
    assert "2 upgraded" in out
    assert state_of(lab / "out" / "c.persist") == {"w": 7}
    assert "2 there already" in run("upgrade", "in", "--to", "out", "--import", "ours")[1]


def test_two_sources_never_get_one_name(lab: Path, run: Run) -> None:
    (lab / "in" / "c").write_bytes(pickle.dumps("a pickle", 2))
    persist.save("a container", lab / "in" / "c.persist")
    assert run("upgrade", "in", "--to", "out")[0] == 0
    assert persist.load(lab / "out" / "c.persist") == "a pickle"
    assert persist.load(lab / "out" / "c.persist.persist") == "a container"


def test_what_was_written_is_no_source_of_the_next_run(lab: Path, run: Run) -> None:
    assert run("upgrade", "in", "--to", "in/today")[0] == 0
    assert "1 there already" in run("upgrade", "in", "--to", "in/today")[1]
    assert sorted(os.listdir(lab / "in" / "today")) == ["a.pkl.persist"]


# How sources are read and named.


def test_a_file_url_is_a_local_file(lab: Path, run: Run) -> None:
    status, _, err = run("upgrade", (lab / "in" / "a.pkl").as_uri())
    assert (status, err) == (0, "")
    assert (lab / "in" / "a.pkl.persist").exists()


def test_other_urls_are_refused(lab: Path, run: Run) -> None:
    for arguments in (
        ("s3://bucket/a.pkl",),
        ("in", "--to", "out", "--certificates", "s3://bucket"),
    ):
        status, _, err = run("upgrade", *arguments)
        assert status == 2
        assert "is a URL" in err
    assert not [path for path in lab.iterdir() if path.name.startswith("s3")]


def test_strict_and_trust(lab: Path, run: Run) -> None:
    status, _, err = run("upgrade", "in", "--strict")
    assert status == 1
    assert "not declared: old_lab.Net" in err
    assert not (lab / "in" / "a.pkl.persist").exists()
    status, out, _ = run("upgrade", "in", "--strict", "--trust", "old_lab.Net")
    assert status == 0
    assert "nothing is known" not in out


def test_unknown_fields(lab: Path, run: Run) -> None:
    (lab / "ours.py").write_text(declared(2, 'persist.migration(Net, 1, persist.ops.add("w", 0))'))
    status, _, err = run("upgrade", "in", "--import", "ours")
    assert status == 0
    assert "fields that it does not declare: W" in err
    status, _, err = run("upgrade", "in", "--import", "ours", "--unknown", "error", "--force")
    assert status == 1
    assert "failed: in/a.pkl" in err
    assert run("upgrade", "in", "--import", "ours", "--unknown", "drop")[2] == ""


def test_salvage(lab: Path, run: Run) -> None:
    (lab / "in" / "a.pkl").write_bytes(pickle.dumps({"a": 1, "b": [1] * 50}, 2)[:-9])
    status, _, err = run("upgrade", "in")
    assert status == 1
    assert "failed: in/a.pkl" in err
    status, out, _ = run("upgrade", "in", "--salvage")
    assert status == 0
    assert "damage: " in out


def test_an_error_names_the_target_and_not_a_file_that_is_gone(lab: Path, run: Run) -> None:
    os.chmod(lab / "in", 0o755)
    (lab / "in" / "a.pkl").write_bytes(pickle.dumps({"a": "text"}, 2))
    status, _, err = run("upgrade", "in/a.pkl", "--format", "npz", "--to", "out")
    assert status == 0, err
    (lab / "in" / "a.pkl").write_bytes(pickle.dumps({"a": None}, 2))
    status, _, err = run("upgrade", "in/a.pkl", "--format", "npz", "--to", "out2")
    assert status == 1
    assert "out2/a.pkl.npz" in err
    assert ".part" not in err


@pytest.mark.parametrize("name", ["./sub/theirs.py", "sub/theirs.py", "sub.theirs"])
def test_import_takes_a_path(lab: Path, run: Run, name: str) -> None:
    (lab / "sub").mkdir()
    (lab / "sub" / "theirs.py").write_text(declared(2, RENAME))
    status, out, err = run("upgrade", "in", "--import", name)
    assert (status, err) == (0, "")
    assert "again.Net 1 to 2" in out


def test_import_of_a_module_in_a_package(lab: Path, run: Run) -> None:
    (lab / "pack").mkdir()
    (lab / "pack" / "__init__.py").write_text("")
    (lab / "pack" / "helper.py").write_text("")
    (lab / "pack" / "nets.py").write_text("from . import helper\n" + declared(2, RENAME))
    status, _, err = run("upgrade", "in", "--import", "pack/nets.py")
    assert (status, err) == (0, "")
    with persist.open(lab / "in" / "a.pkl.persist") as file:
        assert file.structure["schemas"][0]["class"] == "pack.nets.Net"


def test_import_of_a_path_that_is_not_there(lab: Path, run: Run) -> None:
    status, _, err = run("upgrade", "in", "--import", "./nothing.py")
    assert status == 2
    assert "--import ./nothing.py: there is no such file" in err


def test_in_this_process(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings that differ in the file alone are reported once, and counted."""
    for number in range(16):
        (lab / "in" / f"{number}.pkl").write_bytes(OLD)
    (lab / "summed_lab.py").write_text(
        declared(2, 'persist.migration(Net, 1, persist.ops.add("w", 0))', schema="again.Summed")
    )
    assert _cli.main(["upgrade", "in", "--to", "out", "--import", "./summed_lab.py"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "does not declare" in line]
    assert len(lines) == 1
    assert lines[0].endswith("(and 16 more like it)")
