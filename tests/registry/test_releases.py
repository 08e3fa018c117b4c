"""Versions tied to releases of a package, and the policy by release: in loads, plans and errors."""

from __future__ import annotations

import json
import pickle
import re
import sys
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

import persist
from persist.errors import (
    FutureVersionError,
    MissingMigrationError,
    ReleaseError,
    SchemaError,
    UnsupportedVersionError,
)
from persist.registry import Registry


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of the release 2.1, with a class and a registry of its own."""
    module = types.ModuleType("releaselab")
    module.__dict__.update(__version__="2.1", registry=Registry("releaselab"), persist=persist)
    monkeypatch.setitem(sys.modules, "releaselab", module)

    def define(text: str) -> Any:
        exec(compile(text, "releaselab.py", "exec"), module.__dict__)
        return module

    module.__dict__["define"] = define
    return module


LAYER = """
class Layer(persist.Versioned, version=3, schema="releaselab.Layer", registry=registry, release=">=2"):
    persistent = ("weights",)
    def __init__(self): self.weights = 1.0
registry.migration(Layer, 1, persist.ops.rename("W", "w"), release="<1.2")
registry.migration(Layer, 2, persist.ops.rename("w", "weights"), release=">=1.2,<2")
"""


def test_releases_of_a_class_and_its_steps(lab: Any) -> None:
    lab.define(LAYER)
    assert lab.registry.releases(lab.Layer) == {1: "<1.2", 2: ">=1.2,<2", 3: ">=2"}
    assert lab.registry.faults() == []


@pytest.mark.parametrize(
    ("release", "said"), [("1.2 to 2", "PEP 440"), (">= two", "PEP 440"), (3, "PEP 440")]
)
def test_releases_that_are_none(lab: Any, release: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        lab.registry.released("releaselab.Layer", 1, release)


def test_two_declarations_of_one_version(lab: Any) -> None:
    lab.registry.released("x.A", 1, "<2")
    lab.registry.released("x.A", 1, "<2")
    with pytest.raises(SchemaError, match=r"'<2' .*test_releases\.py:\d+\) and '<3'"):
        lab.registry.released("x.A", 1, "<3")


@pytest.mark.parametrize(("one", "other", "overlap"), [
    ("<2", ">=1.9", True), ("<2", ">=2", False), ("==1.*", "==1.4", True), (">1", "<2", True), ("<=1.2", ">=1.2", True),
    ("<1.2", ">1.2", False), ("~=1.4", ">=2,<3", False),
])  # fmt: skip
def test_releases_that_overlap_are_a_fault(lab: Any, one: str, other: str, overlap: bool) -> None:
    lab.registry.register("x.A", version=2)
    lab.registry.migration("x.A", 1, persist.ops.drop("a"), release=one)
    lab.registry.released("x.A", 2, other)
    assert (
        any("is of version 1 and of version 2" in str(e) for e in lab.registry.faults()) is overlap
    )


def test_a_state_that_holds_its_release(lab: Any) -> None:
    lab.define(LAYER)
    lab.registry.stamp(lab.Layer, "_release")
    for release, name in (
        ("1.1", "W"),
        ("1.3rc1", "w"),
        ("1.2", "w"),
        (b"1.9.post1", "w"),
        ("2.0", "weights"),
    ):
        made = lab.registry.upgrade({"_release": release, name: 7.0}, lab.Layer)
        assert made.weights == 7.0
    with pytest.raises(SchemaError, match=r"of no declared version.* a stamp, a function"):
        lab.registry.upgrade({"_release": "unknown", "W": 7.0}, lab.Layer)
    # A pre-release of 1.2 is neither below 1.2 nor from 1.2 on (PEP 440).
    with pytest.raises(
        SchemaError, match=r"Let the declared releases of its version contain 1.2rc1"
    ):
        lab.registry.upgrade({"_release": "1.2rc1", "W": 7.0}, lab.Layer)


def test_two_versions_that_claim_a_release(lab: Any) -> None:
    lab.define(LAYER.replace('"<1.2"', '"<1.5"'))
    lab.registry.stamp(lab.Layer, "_release")
    with pytest.raises(SchemaError, match=r"release 1.3 writes version 1 \(<1.5\) and version 2"):
        lab.registry.upgrade({"_release": "1.3", "W": 7.0}, lab.Layer)


def test_a_stamp_by_release_needs_both(lab: Any) -> None:
    with pytest.raises(TypeError):
        lab.registry.stamp("x.A", version=1)
    with pytest.raises(TypeError):
        lab.registry.stamp("x.A", release="<2")
    lab.registry.stamp("x.A", version=1, release="<2")
    assert lab.registry.releases("x.A") == {1: "<2"}


def _bare_file(lab: Any, path: Path, release: str) -> None:
    """A container with a record that states no version, of a program that did not declare the class."""
    from persist import _container
    from persist.tree import Record

    record = Record("releaselab.Layer", {"w": 5.0})
    _container.write(record, path, writer={"releaselab": release})


def test_a_file_that_records_its_release_is_stamped_by_it(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER)
    _bare_file(lab, tmp_path / "a.persist", "1.4")
    assert persist.load(tmp_path / "a.persist", registry=lab.registry).weights == 5.0
    plan = persist.explain(tmp_path / "a.persist", registry=lab.registry)
    assert plan[0].found == 2
    assert plan[0].how == "stamp by release 1.4 of releaselab (>=1.2,<2)"
    assert "to 3 (releases >=2)" in str(plan)
    # What a stamp knows of the state itself comes first.
    lab.registry.stamp(lab.Layer)(lambda state: 2 if "w" in state else None)
    _bare_file(lab, tmp_path / "a.persist", "1.0")
    assert persist.load(tmp_path / "a.persist", registry=lab.registry).weights == 5.0


def test_a_release_of_no_version_is_a_guess(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER.replace("<1.2", ">=1,<1.2").replace('"W", "w"', '"w", "w"'))
    _bare_file(lab, tmp_path / "a.persist", "0.3")
    plan = persist.explain(tmp_path / "a.persist", registry=lab.registry)
    assert plan[0].how == "unstamped = 1; release 0.3 of releaselab is of no declared version"
    with pytest.raises(SchemaError, match="is not known"):
        persist.load(tmp_path / "a.persist", registry=lab.registry, strict=True)


def test_a_file_records_the_releases_of_its_classes(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER)
    persist.save([lab.Layer()], tmp_path / "a.persist", registry=lab.registry)
    with persist.open(tmp_path / "a.persist", registry=lab.registry) as file:
        assert file.writer["releaselab"] == "2.1"
        (entry,) = file.structure["schemas"]
        assert (entry["package"], entry["release"]) == ("releaselab", "2.1")


def test_a_class_without_a_known_release_records_none(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER)
    del lab.__version__
    persist.save([lab.Layer()], tmp_path / "a.persist", registry=lab.registry)
    with persist.open(tmp_path / "a.persist", registry=lab.registry) as file:
        assert "release" not in file.structure["schemas"][0]


POLICIES = [
    # written, here, the policies that refuse it, what a plan notes
    ("2.1", "2.1", (), ""),
    ("2.1", "2.1.3", ("exact",), ""),
    ("2.1.3", "2.1", ("exact",), "newer than 2.1"),
    ("2.0", "2.1", ("exact",), ""),
    ("2.2", "2.1", ("exact", "minor"), "newer than 2.1"),
    ("1.9", "2.1", ("exact", "minor", "major"), "of another major release than 2.1"),
    ("3.0", "2.1", ("exact", "minor", "major"), "newer than 2.1"),
    ("nightly", "2.1", ("exact", "minor", "major"), "cannot be compared"),
    ("2.1.0", "2.1", (), ""),
]


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize(("written", "here", "refused", "note"), POLICIES)
def test_policies(
    lab: Any,
    tmp_path: Path,
    written: str,
    here: str,
    refused: tuple[str, ...],
    note: str,
    columns: bool,
) -> None:
    lab.define(LAYER)
    lab.__version__ = written
    objects = [lab.Layer() for _ in range(1200 if columns else 1)]
    persist.save(objects, tmp_path / "a.persist", registry=lab.registry)
    lab.__version__ = here
    for policy in ("exact", "minor", "major", "any", "any for the class"):
        if policy == "any for the class":
            lab.registry.accept_releases("exact")
            lab.registry.accept_releases("any", lab.Layer)
        else:
            lab.registry.accept_releases(policy)
        plan = persist.explain(tmp_path / "a.persist", registry=lab.registry)
        if policy in refused:
            with pytest.raises(ReleaseError) as caught:
                persist.load(tmp_path / "a.persist", registry=lab.registry)
            assert f"releaselab {written} wrote" in str(caught.value)
            assert "persist.accept_releases(" in str(caught.value)
            assert isinstance(plan.problems[0], ReleaseError)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert len(persist.load(tmp_path / "a.persist", registry=lab.registry)) == len(
                    objects
                )
            assert not plan.problems
            assert (note in plan[0].note) if note else not plan[0].note


def test_a_policy_that_is_none(lab: Any) -> None:
    with pytest.raises(ValueError, match="'exact', 'minor', 'major', 'any'"):
        lab.registry.accept_releases("newest")


def test_errors_name_releases(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER)
    path = tmp_path / "a.persist"
    persist.save(lab.Layer(), path, registry=lab.registry)
    older = Registry("older")
    lab.__version__, lab.registry = "1.4", older
    lab.define(LAYER.replace("version=3", "version=2").replace(">=2", ">=1.2,<2"))
    with pytest.raises(
        FutureVersionError,
        match=r"knows version 2 \(releases >=1.2,<2\); releaselab 2.1 wrote it, and it needs "
        r"releaselab >= 2 \(releaselab 1.4 is here\)",
    ):
        persist.load(path, registry=older)
    gap = Registry("gap")
    gap.register("x.A", version=3, release=">=2")
    gap.released("x.A", 1, "<1.2")
    with pytest.raises(
        MissingMigrationError,
        match=r"version 1 \(releases <1.2\), this program wants 3 \(releases >=2\)",
    ):
        gap.path("x.A", 1, 3)
    gap.supported("x.A", since=2, reader="1.1")
    with pytest.raises(
        UnsupportedVersionError, match=r"version 1 \(releases <1.2\) of 'x.A' is no longer"
    ):
        gap.path("x.A", 1, 3)


def test_an_enum_has_no_releases(lab: Any) -> None:
    with pytest.raises(SchemaError, match="Leave release= out"):
        lab.define(
            "import enum\nclass C(persist.Versioned, enum.Enum, release='>1', registry=registry):\n    A = 1\n"
        )


def test_a_plain_pickle_is_accepted(lab: Any, tmp_path: Path) -> None:
    lab.define(LAYER)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(lab.Layer()))
    lab.registry.accept_releases("exact")
    assert persist.load(tmp_path / "a.pkl", registry=lab.registry).weights == 1.0


def test_one_step_for_several_versions(lab: Any) -> None:
    registry = lab.registry
    layer = lab.define(LAYER.partition("registry.migration")[0]).Layer
    registry.migration(layer, "1-2", persist.ops.rename("W", "weights"), release="<2")
    assert sorted(registry.migrations("releaselab.Layer")) == [(1, 3), (2, 3)]
    assert registry.releases(layer) == {1: "<2", 2: "<2", 3: ">=2"}
    assert any("is of version 1 and of version 2" in str(error) for error in registry.faults())
    for version in (1, 2):
        assert registry.upgrade({"W": 3.0}, layer, assume_version=version).weights == 3.0

    @registry.migration("x.A", "2-4", to=6)
    def forward(state: Any) -> Any:
        return state

    assert sorted(registry.migrations("x.A")) == [(2, 6), (3, 6), (4, 6)]
    assert forward.start == 4


@pytest.mark.parametrize("versions", ["1", "3-1", "0-2", "a-b", "1-", "1-2-3", "1-99999999999", ""])
def test_versions_that_are_no_range(lab: Any, versions: str) -> None:
    with pytest.raises(SchemaError, match='"1-3"'):
        lab.registry.migration("x.A", versions, persist.ops.drop("a"))
    with pytest.raises(SchemaError, match="leads from version 1-3 to 3"):
        lab.registry.migration("x.A", "1-3", persist.ops.drop("a"), to=3)


def _entry(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        (entry,) = json.loads(archive.read("manifest.json"))["schemas"]
    assert type(entry) is dict
    return entry


@pytest.mark.parametrize(("releases", "least"), [
    (">=1.2,<2", "1.2"), ("==2.1", "2.1"), ("~=2.1", "2.1"), ("<2", None), (">1,<2", None), ("==2.*", None),
    ("", None),
])  # fmt: skip
def test_a_file_states_the_least_reader(tmp_path: Path, releases: str, least: str | None) -> None:
    registry, path = Registry("least"), tmp_path / "a.persist"
    registry.register("least.A", version=2, fields=("a",))
    if releases:
        registry.released("least.A", 2, releases)
    persist.save(persist.Record("least.A", {"a": 1}, version=2), path, registry=registry)
    assert _entry(path)["reader"] == {"version": 2, **({"release": least} if least else {})}


def test_an_older_reader_is_refused_in_words(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.persist"
    older, newer = Registry("least older"), Registry("least newer")
    older.register("releaselab.A", version=1, fields=("a",))
    newer.register("releaselab.A", version=2, fields=("a",))
    record = persist.Record("releaselab.A", {"a": 1}, version=2)
    persist.save(record, path, registry=newer)
    with pytest.raises(FutureVersionError, match="it needs version >= 2 of 'releaselab.A'"):
        persist.load(path, registry=older)
    newer.released("releaselab.A", 2, ">=3.0,<4")
    persist.save(record, path, registry=newer)
    need = "it needs releaselab >= 3.0 (releaselab 2.1 is here)"
    with pytest.raises(FutureVersionError, match=re.escape(need)):
        persist.load(path, registry=older)
    (entry,) = persist.explain(path, registry=older)
    assert need in str(entry.problem)
    with pytest.warns(
        persist.errors.OpaqueWarning
    ):  # a reader that is new enough: no class, no error
        assert persist.load(path, registry=newer)["a"] == 1


def test_inspect_states_what_an_older_reader_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from persist._cli import main

    path, newer = tmp_path / "a.persist", Registry("inspected")
    persist.registry.default_registry.register("inspectedlab.A", version=1, fields=("a",))
    newer.register("inspectedlab.A", version=2, fields=("a",))
    persist.save(persist.Record("inspectedlab.A", {"a": 1}, version=2), path, registry=newer)
    assert main(["inspect", str(path)]) == 0
    said = "  reader   'inspectedlab.A' needs version >= 2 of 'inspectedlab.A'\n"
    assert said in capsys.readouterr().out
