"""`persist draft`: the step that a changed class needs, written as a person would."""

from __future__ import annotations

from typing import Any

import pytest

LAYER = """
@attrs.define
class Layer(persist.Versioned, version=1, schema="ourlab.Layer"):
    lr: float = 0.1
    size: int = 3
"""


def test_nothing_is_written_without_an_answer(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    place.change("    lr: float", "    learning_rate: float")
    before = place.read("ourlab/models.py")
    said = place.persist("draft", 1)
    assert "was 'lr' renamed to 'learning_rate'?" in said
    assert "lr are the initials of learning_rate" in said
    assert place.read("ourlab/models.py") == before
    assert not (place.folder / "tests").exists()


def test_what_is_written_loads_old_files(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    save = "import persist; from ourlab.models import *; persist.save(Layer(0.5, 7), 'old.persist')"
    place.python(save)
    place.change(
        "    lr: float = 0.1",
        "    learning_rate: float = 0.1\n    names: list = attrs.field(factory=list)",
    )
    place.change("    size: int = 3", "    size: float = 3.0")
    place.persist("draft --yes")
    text = place.read("ourlab/models.py")
    assert 'class Layer(persist.Versioned, version=2, schema="ourlab.Layer"):' in text
    for call in (
        'rename("lr", "learning_rate")',
        'convert("size", float, inverse=int)',
        'add("names", factory=list)',
    ):
        assert f"persist.ops.{call}" in text
    place.persist("lock")
    loaded = place.python("import persist, ourlab.models; print(persist.load('old.persist'))")
    assert loaded.strip() == "Layer(learning_rate=0.5, names=[], size=7.0)"
    assert "1 passed" in place.pytest("tests/test_migrations.py")


def test_answers_decide_against_the_guess(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    place.change("    lr: float", "    learning_rate: float")
    place.write("answers.json", '{"ourlab.Layer": {"lr": null}}')
    place.persist("draft --answers answers.json --no-test")
    text = place.read("ourlab/models.py")
    assert '    persist.ops.drop("lr"),\n    persist.ops.add("learning_rate", 0.1),\n' in text
    place.write("answers.json", '{"ourlab.Layer": {"rate": "x"}}')
    place.persist("lock")
    place.change("learning_rate: float", "rate: float")
    assert "no field of it" in place.persist("draft --answers answers.json", 2)


def test_what_cannot_be_known_raises_until_it_is_filled_in(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    place.python(
        "import persist; from ourlab.models import *; persist.save(Layer(0.5, 7), 'old.persist')"
    )
    place.change("    lr: float = 0.1", "    depth: int\n    lr: float = 0.1")
    assert "to be filled in: what 'depth' was" in place.persist("draft --yes --no-test")
    said = place.python(
        """
        import persist, ourlab.models
        try:
            persist.load("old.persist")
        except persist.errors.MigrationFailedError as error:
            print(error)
        """
    )
    assert "to be filled in: what 'depth' was in states of version 1" in said
    text = place.read("ourlab/models.py")
    start = text.index("    raise NotImplementedError(")
    text = text[:start] + '    state["depth"] = 1\n    return state\n'
    place.write("ourlab/models.py", text)
    loaded = place.python("import persist, ourlab.models; print(persist.load('old.persist'))")
    assert loaded.strip() == "Layer(depth=1, lr=0.5, size=7)"


def test_a_version_that_is_no_number_is_counted_by_hand(place: Any) -> None:
    place.models(
        LAYER.replace("version=1", "version=VERSION").replace("@attrs", "VERSION = 1\n\n\n@attrs")
    )
    place.persist("lock")
    place.change("    lr: float", "    learning_rate: float")
    said = place.persist("draft --yes", 2)
    assert "Set it to 2 by hand, and run `persist draft` again" in said
    place.change("VERSION = 1", "VERSION = 2")
    place.persist("draft --yes --no-test")
    assert 'persist.migration(Layer, 1, persist.ops.rename("lr", "learning_rate"))' in place.read(
        "ourlab/models.py"
    )


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("return self.W, self.b", "return self.b, self.W", 'persist.ops.pack("b", "W")'),
        ("version=1", "version=1", ""),
    ],
)
def test_a_codec_that_changed(place: Any, before: str, after: str, line: str) -> None:
    place.models(
        """
        class Coded(persist.Versioned, version=1):
            def __getstate__(self):
                return self.W, self.b

            def __setstate__(self, state):
                self.W, self.b = state
        """
    )
    place.persist("lock")
    place.change(before, after)
    said = place.persist("draft --yes --no-test")
    if not line:
        assert "nothing to draft" in said
        return
    assert line in place.read("ourlab/models.py")


def test_line_ends_and_all_other_bytes_stay(place: Any) -> None:
    place.models(LAYER)
    path = place.folder / "ourlab" / "models.py"
    text = "# é is no ASCII\n" + path.read_text() + "\n\n# the end\n"
    path.write_bytes(text.encode().replace(b"\n", b"\r\n"))
    place.persist("lock")
    path.write_bytes(path.read_bytes().replace(b"lr: float", b"learning_rate: float"))
    place.persist("draft --yes --no-test")
    written = path.read_bytes()
    assert written.count(b"\r\n") == written.count(b"\n")
    assert written.endswith(b"# the end\r\n")
    assert "é is no ASCII".encode() in written


def test_layouts_are_written_into_the_heads(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock --write-layouts")
    assert 'schema="ourlab.Layer", layout="' in place.read("ourlab/models.py")
    place.persist("check")
    place.change("    lr: float", "    learning_rate: float")
    said = place.persist("check", 1)
    assert "ourlab.Layer changed, and its version did not (1)" in said
    assert "in its head, and its layout is" in said
    said = place.python("import ourlab.models", 1)
    assert "count the version (version=2) and add a step" in said
    assert "- lr: float; + learning_rate" in said
    place.persist("draft --yes --no-test")  # the remedy, followed
    place.persist("lock")
    place.persist("check")
    place.python("import ourlab.models")


def test_a_doubtful_rename_is_neither_taken_nor_passed_over(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    place.change(
        "    lr: float = 0.1\n    size: int = 3",
        "    step: float = 0.1\n    width: int = 3\n    more: int = 0",
    )
    said = place.persist("draft --yes --no-test")
    assert "to be filled in: whether 'lr' was renamed to 'step'" in said
    assert "raise NotImplementedError(" in place.read("ourlab/models.py")


def test_one_field_for_another_of_its_type_in_its_place_is_a_rename(place: Any) -> None:
    place.models(LAYER)
    place.persist("lock")
    place.change("    lr: float", "    step: float")
    place.persist("draft --yes --no-test")
    assert 'persist.ops.rename("lr", "step")' in place.read("ourlab/models.py")
