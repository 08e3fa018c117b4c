"""The pytest plugin: golden files are tests, and with ``laws = true`` the laws are.

It does something only where the ``pyproject.toml`` of the tests has ``[tool.persist]``, and imports
nothing of ``persist`` before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from persist.history.project import Project

__all__ = [
    "GoldenFile", "GoldenItem", "pytest_addoption", "pytest_collect_file", "pytest_terminal_summary",
]  # fmt: skip

_ENDING = ".golden.json"  # as in persist.history.golden
_KEY = "_persist_project"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--no-golden``."""
    group = parser.getgroup("persist")
    group.addoption("--no-golden", action="store_true", help="leave persist's golden files out")


def _project_of(config: pytest.Config) -> Project | None:
    """The project of the tests; None where there are no settings."""
    if not hasattr(config, _KEY):
        project = None
        place = config.rootpath / "pyproject.toml"
        if place.is_file() and "[tool.persist" in place.read_text(encoding="utf-8"):
            from persist.history.project import find_project

            project = find_project(config.rootpath)
        setattr(config, _KEY, project)
        setattr(config, f"{_KEY}_steps", {})
    found: Project | None = getattr(config, _KEY)
    return found


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect what is recorded of golden files, and the lock file's laws."""
    if not file_path.name.endswith(_ENDING) or parent.config.getoption("--no-golden"):
        return None
    project = _project_of(parent.config)
    if project is None or not file_path.is_relative_to(project.golden_path):
        return None
    collected: GoldenFile = GoldenFile.from_parent(parent, path=file_path)
    return collected


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the laws, where the settings say ``laws = true``."""
    project = _project_of(config)
    if project is None or not project.laws or config.getoption("--no-golden"):
        return
    from persist.testing._laws import cases

    for schema, version, law in cases(project):
        name = f"laws::{schema.name}-{version}-{law}"
        item: LawItem = LawItem.from_parent(session, name=name)
        item.case = (schema, version, law)
        items.append(item)


class LawItem(pytest.Item):
    """One law on the states of one released version.

    Attributes:
        case: the arguments of the check: the schema and its version, and the law.
    """

    case: Any = None

    def runtest(self) -> None:
        """Try it."""
        from persist.testing._laws import check_or_skip

        project = _project_of(self.config)
        assert project is not None
        check_or_skip(project, *self.case)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The law that is broken, without our own frames."""
        from persist.testing._laws import Broken

        if isinstance(excinfo.value, Broken):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the step is: the lock file."""
        return self.config.rootpath, None, self.name


class GoldenFile(pytest.File):
    """What is recorded of one golden file."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its one test."""
        yield GoldenItem.from_parent(self, name=self.path.name.removesuffix(_ENDING))


class GoldenItem(pytest.Item):
    """One golden file loads to what is recorded."""

    def runtest(self) -> None:
        """Load it, and compare."""
        from persist.history import golden

        project = _project_of(self.config)
        assert project is not None
        findings, steps = golden.verify(project, golden.read(self.path))
        getattr(self.config, f"{_KEY}_steps").update(dict.fromkeys(steps, True))
        wrong = [finding for finding in findings if finding.severity == "error"]
        for finding in findings:
            if finding not in wrong:
                self.add_report_section("call", "persist", str(finding))
        if wrong:
            raise GoldenFailure("\n".join(map(str, wrong)))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """What differs, without our own frames."""
        if isinstance(excinfo.value, GoldenFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The file."""
        return self.path, None, f"golden file {self.name}"


class GoldenFailure(AssertionError):
    """A golden file does not load to what is recorded."""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which steps no golden file covers, where golden files were collected."""
    project = getattr(config, _KEY, None)
    covered = getattr(config, f"{_KEY}_steps", None)
    if project is None or not covered:
        return
    registry = project.load()
    missing = []
    for schema in project.schemas():
        oldest = registry.oldest_supported(schema.name)
        for first, last in sorted(registry.migrations(schema.name)):
            is_pruned = oldest is not None and first < oldest.since
            if (schema.name, first, last) not in covered and not is_pruned:
                missing.append(f"{schema.name} {first} → {last}")
    if missing:
        terminalreporter.section("persist: steps that no golden file covers")
        for line in missing:
            terminalreporter.line(line)
