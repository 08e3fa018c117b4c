"""`persist lock` and `persist check`: what a release would break is found, in words, with status 1."""

from __future__ import annotations

import json
from typing import Any

import pytest

CONFIG = """
@attrs.define
class Config(persist.Versioned, version=1, schema="ourlab.Config"):
    lr: float = 0.1
    name: str = "x"
"""


def kinds(place: Any, line: str = "check --json", status: int = 1) -> list[tuple[str, str]]:
    found = json.loads(place.persist(line, status))
    assert found["ok"] == (status == 0)
    return [(one["kind"], one["severity"]) for one in found["findings"]]


def test_a_lock_says_what_each_version_looks_like(place: Any) -> None:
    place.models(CONFIG)
    place.persist("lock")
    text = place.read("schemas.lock")
    assert (
        '[schemas."ourlab.Config".versions.1.fields]\nlr = { type = "float", default = true }'
        in text
    )
    assert 'date = "2023-11-14"' in text
    assert 'release = "1.0"' in text
    assert "as released" in place.persist("check")
    place.persist("lock")
    assert place.read("schemas.lock") == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    lr: float = 0.1", "    learning_rate: float = 0.1"),
        ("    lr: float = 0.1", "    lr: str = '0.1'"),
        ('    name: str = "x"\n', ""),
        ('    name: str = "x"', '    name: str = "x"\n    more: int = 0'),
    ],
)
def test_a_class_that_changed_without_its_version(place: Any, before: str, after: str) -> None:
    place.models(CONFIG)
    place.persist("lock")
    place.change(before, after)
    assert kinds(place) == [("changed", "error")]
    said = place.persist("check", 1)
    assert "ourlab.Config changed, and its version did not (1)" in said
    assert "persist draft" in said
    assert "was not written" in place.persist("lock", 1)


def test_a_default_or_the_order_is_no_part_of_a_layout(place: Any) -> None:
    place.models(CONFIG)
    place.persist("lock")
    place.change("    lr: float = 0.1\n", "")
    place.change('    name: str = "x"', '    name: str = "y"\n    lr: float = 0.2')
    assert kinds(place, status=0) == []


PLAIN = """
class Plain(persist.Versioned, version=1):
    def __init__(self):
        self.W = 1
"""
CODEC = """
class Coded(persist.Versioned, version=1):
    def __getstate__(self):
        return self.W, self.b

    def __setstate__(self, state):
        self.W, self.b = state
"""
DECLARED = """
class Layer(persist.Versioned, version=1):
    persistent = {"W": persist.schema.Field(dtype="f4", shape=(None, 3))}
"""


@pytest.mark.parametrize(
    ("models", "before", "after", "said"),
    [
        (PLAIN, "self.W = 1", "self.weights = 1", "+ weights"),
        (CODEC, "return self.W, self.b", "return self.b, self.W", "the parts of the state were W, b"),
        (CODEC, "return self.W, self.b", "return self.W, self.b, self.c", "gives a tuple of 3"),
        (CODEC, "return self.W, self.b", "return {'W': self.W, 'b': self.b}", "no plain tuple"),
        (DECLARED, 'dtype="f4"', 'dtype="f8"', "its dtype was <f4, and is <f8"),
        (DECLARED, "(None, 3)", "(3, None)", "its shape was (None, 3)"),
    ],
)  # fmt: skip
def test_every_kind_of_class_has_a_fingerprint(
    place: Any, models: str, before: str, after: str, said: str
) -> None:
    place.models(models.replace("persist.schema", "__import__('persist.schema').schema"))
    place.persist("lock")
    assert 'fingerprint = ""' not in place.read("schemas.lock")
    place.change(before, after)
    assert said in place.persist("check", 1)


def test_what_is_not_in_the_lock(place: Any) -> None:
    place.models(CONFIG)
    assert kinds(place) == [("unlocked", "error")]
    place.persist("lock")
    place.change("version=1", "version=2")
    found = kinds(place)
    assert ("unlocked", "error") in found
    assert ("gap", "error") in found  # no step leads from 1


STEP = """

@persist.migration(Config, 1)
def to_2(state):
    \"\"\"The rate is called by its name.\"\"\"
    state["rate"] = state.pop("lr")
    return state
"""


def test_steps_that_changed_or_are_gone(place: Any) -> None:
    place.models(CONFIG.replace("lr:", "rate:").replace("version=1", "version=2") + STEP)
    place.persist("lock")
    place.change('"""The rate is called by its name."""', '"""Another docstring."""  # a comment')
    assert ("step-changed", "warning") not in kinds(place, status=0)
    place.change('state.pop("lr")', 'state.pop("lr") * 2')
    assert ("step-changed", "warning") in kinds(place, status=0)
    place.models(CONFIG.replace("lr:", "rate:").replace("version=1", "version=2"))
    found = kinds(place)
    assert ("gap", "error") in found
    assert ("step-gone", "warning") in found


def test_a_class_that_is_gone_or_went_back(place: Any) -> None:
    place.models(
        CONFIG.replace("version=1", "version=2")
        + "\npersist.migration(Config, 1, persist.ops.add('a', 1))\n"
    )
    place.persist("lock")
    place.models(CONFIG)
    assert ("back", "error") in kinds(place)
    place.models("")
    assert kinds(place) == [("gone", "error")]
    place.models('persist.migration("ourlab.Config", 2, persist.ops.delete())\n')
    assert "gone" not in dict(kinds(place))


def test_a_name_that_comes_back(place: Any) -> None:
    head = "@attrs.define\nclass C(persist.Versioned, version={}):\n    a: int = 0\n    {}\n"
    place.models(head.format(1, "cache: dict = None"))
    place.persist("lock")
    place.models(head.format(2, "") + "\npersist.migration(C, 1, persist.ops.drop('cache'))\n")
    place.persist("lock")
    steps = "\npersist.migration(C, 1, persist.ops.drop('cache'))\npersist.migration(C, 2, persist.ops.add('cache', ''))\n"
    place.models(head.format(3, "cache: str = ''") + steps)
    assert ("reserved", "error") in kinds(place)
    place.persist("lock")
    assert ("reserved", "error") in kinds(place)
    settings = place.read("pyproject.toml")
    place.write("pyproject.toml", settings + 'reuse = ["ourlab.models.C.cache"]\n')
    assert ("reserved", "error") not in kinds(place, status=0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('persist.alias("old.Config", "ourlab.models.Gone")', "which is not there"),
        ('persist.alias("old.Config", "ourlab.Konfig")', "which is not there"),
        ('persist.alias("old.A", "old.B")\npersist.alias("old.B", "old.A")', "lead in a circle"),
    ],
)  # fmt: skip
def test_aliases_that_lead_nowhere(place: Any, line: str, said: str) -> None:
    place.models(CONFIG + "\n\n" + line + "\n")
    place.persist("lock")
    assert said in place.persist("check", 1)


DECLARATIONS = {
    "alias": ('persist.alias("old.A", Config)\npersist.alias("old.A", "builtins.dict")', "would lead to 'builtins.dict'"),
    "twice": ("persist.migration(Config, 1, persist.ops.drop('a'))\n"
              "persist.migration(Config, 1, persist.ops.drop('b'))", "two migrations lead from version 1 to 2"),
    "back": ("persist.migration(Config, 3, persist.ops.drop('a'), to=2)", "leads from version 3 to 2"),
    "op": ("\npersist.migration(Config, 1, 'drop')", "is no step of persist.ops"),
    "version": ("\n\n\nclass Other(persist.Versioned, version=0): pass", "its version is 0"),
    "since": ("\npersist.supported(Config, since=0)", "is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_declaration_that_is_refused_at_import_is_a_finding(place: Any, name: str) -> None:
    lines, said = DECLARATIONS[name]
    place.models(f"{CONFIG}\n\n{lines}\n")
    (found,) = json.loads(place.persist("check --json", 1))["findings"]
    last = len(place.read("ourlab/models.py").splitlines())
    assert found["where"] == f"ourlab/models.py:{last}"
    assert found["kind"] == ("alias" if name == "alias" else "declaration")
    assert said in found["text"]
    assert found["remedy"]
    text = place.persist("check", 1)
    assert f"error: ourlab/models.py:{last}: " in text
    assert "nothing else was checked" in text
    assert f"ourlab/models.py:{last}: " in place.persist("lock", 2)


def test_declarations_of_all_modules_are_looked_at(place: Any) -> None:
    settings = place.read("pyproject.toml").replace(
        '["ourlab.models"]', '["ourlab.models", "ourlab.more"]'
    )
    place.write("pyproject.toml", settings)
    place.models(f"{CONFIG}\npersist.supported(Config, since=0)\n")
    place.write("ourlab/more.py", "import persist\npersist.supported('x', since=-1)\n")
    assert kinds(place) == [("declaration", "error"), ("declaration", "error")]


def test_a_module_that_cannot_be_imported_is_named_with_its_line(place: Any) -> None:
    place.models(f"{CONFIG}\n\nimport not_there_at_all\n")
    last = len(place.read("ourlab/models.py").splitlines())
    said = place.persist("check", 2)
    assert f"ourlab/models.py:{last}: " in said
    assert "No module named 'not_there_at_all'" in said
    place.models("def broken(:\n")
    assert (
        "ourlab/models.py:6: the module 'ourlab.models' cannot be imported: SyntaxError"
        in place.persist("check", 2)
    )
    place.write("pyproject.toml", '[tool.persist]\nimport = ["notours.models"]\n')
    assert "adds folders" in place.persist("check", 2)


def test_an_alias_that_was_released_and_is_gone(place: Any) -> None:
    place.models(CONFIG + '\n\npersist.alias("old.Config", Config)\n')
    place.persist("lock")
    place.persist("check")
    place.models(CONFIG)
    assert "was released and is gone" in place.persist("check", 1)


def test_below_the_oldest_supported_version(place: Any) -> None:
    models = (
        CONFIG.replace("version=1", "version=3")
        + '\n\npersist.supported("ourlab.Config", since=3, reader="0.9")\n'
    )
    place.models(models)
    place.persist("lock")
    assert kinds(place, status=0) == []
    said = place.python(
        """
        import persist, ourlab.models
        from persist.tree import Record
        try:
            persist.registry.default.path("ourlab.Config", 1, 3)
        except persist.errors.UnsupportedVersionError as error:
            print(error)
        """
    )
    assert "Release 0.9 of ourlab still reads it" in said


def test_an_older_lock_is_what_must_be_there_still(place: Any) -> None:
    place.models(CONFIG)
    place.persist("lock")
    old = place.write("old.lock", place.read("schemas.lock"))
    place.persist("check --against old.lock")
    place.write("schemas.lock", old.read_text().replace('type = "float"', 'type = "int"'))
    assert "released with another layout" in place.persist("check --against old.lock", 1)


def test_settings_that_nobody_knows_are_refused(place: Any) -> None:
    place.write("pyproject.toml", '[tool.persist]\nimports = ["ourlab.models"]\n')
    assert "'imports', which nobody knows" in place.persist("check", 2)
    place.write("pyproject.toml", "")
    assert "--import MODULE" in place.persist("check", 2)
    place.models(CONFIG)
    assert kinds(place, "check --json --import ourlab.models") == [("unlocked", "error")]


def test_a_conflict_in_the_lock_says_what_to_do(place: Any) -> None:
    place.models(CONFIG)
    place.persist("lock")
    place.write(
        "schemas.lock", place.read("schemas.lock") + '\n[schemas."ourlab.Config".versions.1]\n'
    )
    assert "two branches released the same version" in place.persist("check", 2)


def test_releases_are_in_the_lock_and_compared_with_it(place: Any) -> None:
    place.models(CONFIG.replace("version=1", 'version=1, release=">=1.0"'))
    place.persist("lock")
    assert 'releases = ">=1.0"' in place.read("schemas.lock")
    assert kinds(place, status=0) == []
    place.change(">=1.0", ">=0.9")
    assert kinds(place, status=0) == [("release", "warning")]
    place.persist("lock")
    assert kinds(place, status=0) == []
    place.change(">=0.9", ">=1.1")  # the lock file says that release 1.0 released it
    assert kinds(place) == [("release", "error")]
    place.change(">=1.1", "about 1")
    (found,) = json.loads(place.persist("check --json", 1))["findings"]
    assert (found["kind"], found["where"]) == ("declaration", "ourlab/models.py:7")


def test_steps_that_are_no_longer_supported_are_pruned(place: Any) -> None:
    models = CONFIG.replace("version=1", "version=3").replace("lr:", "learning_rate:")
    steps = (
        '\npersist.migration(Config, 1, persist.ops.rename("rate", "lr"))'
        '\npersist.migration(Config, 2, persist.ops.rename("lr", "learning_rate"))\n'
    )
    place.models(CONFIG.replace("lr:", "rate:"))
    place.persist("lock")
    place.python(
        "import persist; from ourlab.models import *; persist.save(Config(0.5), 'old.persist')"
    )
    place.models(CONFIG.replace("version=1", "version=2") + steps.splitlines()[1] + "\n")
    place.persist("lock")
    place.models(models + steps)
    place.persist("lock")
    assert ("gap", "error") not in kinds(place, status=0)
    # The steps from versions 1 and 2 are removed: the check asks for what is declared, and for no more.
    place.models(models)
    assert ("gap", "error") in kinds(place)
    place.models(models + '\npersist.supported("ourlab.Config", since=3, reader="1.0")\n')
    assert kinds(place, status=0) == []
    assert kinds(place, "check --json --coverage", status=0) == []
    place.persist("lock")
    assert kinds(place, status=0) == []
    said = place.python(
        """
        import persist, ourlab.models
        for verb in (persist.load, persist.explain):
            try:
                print(verb("old.persist"))
            except persist.errors.UnsupportedVersionError as error:
                print(error)
        """
    )
    assert said.count("version 1 of 'ourlab.Config' is no longer supported; the oldest is 3.") == 2
    assert said.count('pip install "ourlab==1.0"') == 2
    # Of version 2 the step is there still: only that one is asked for a golden file.
    place.models(models + steps + '\npersist.supported("ourlab.Config", since=2, reader="1.0")\n')
    said = place.persist("check")
    assert "no golden file covers the step 2 → 3" in said
    assert "1 → 2" not in said


def test_an_oldest_version_that_was_never_reached(place: Any) -> None:
    place.models(CONFIG + '\npersist.supported("ourlab.Config", since=2)\n')
    place.persist("lock")
    assert "later than its version 1" in place.persist("check", 1)


def test_schemas_say_where_everything_is_declared(place: Any) -> None:
    place.models(
        CONFIG.replace("version=1", 'version=2, release=">=1"')
        + "\n\npersist.migration(Config, 1, persist.ops.drop('a'))\n"
        + "persist.alias('old.Config', Config)\npersist.alias('older.*', 'ourlab.*')\n"
        + "\n\n@persist.stamp(Config)\ndef version_of(state):\n    return 1\n"
    )
    said = place.persist("schemas --places").splitlines()
    assert said[0].startswith("ourlab.Config 2 (")
    assert said[0].endswith("): lr: float, name: str; steps 1 → 2")
    assert [line.strip() for line in said[1:]] == [
        "class ourlab.models.Config (ourlab/models.py:6)",
        "step 1 → 2 (ourlab/models.py:12)",
        "stamp (ourlab/models.py:17)",
        "alias old.Config (ourlab/models.py:13)",
        "alias older.* (ourlab/models.py:14)",
        "version 2: releases >=1",
    ]
    (row,) = json.loads(place.persist("schemas --json"))["schemas"]
    assert row["where"] == "ourlab/models.py:6"
    assert row["steps"] == ["1 → 2"]
    assert row["aliases"][0] == {"old": "old.Config", "where": "ourlab/models.py:13"}
