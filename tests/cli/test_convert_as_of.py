"""`persist convert --as-of`: yesterday's layout, class path and pickle protocol, read by yesterday's Python."""

from __future__ import annotations

import os
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warm import run

# The class of 2012, in the module of 2012, which knows nothing of persist.
OF_2012 = '''
class Layer(object):
    """A layer."""
    def __init__(self, W, b):
        self.W, self.b = W, b
    def __getstate__(self):
        return self.W, self.b
    def __setstate__(self, state):
        self.W, self.b = state
'''
TODAY = """
import persist

__version__ = "4.0"

class Dense(persist.Versioned, version=3, schema="lab.Layer"):
    persistent = ("weights", "bias", "note")

    def __init__(self, weights, bias, note=""):
        self.weights, self.bias, self.note = weights, bias, note

persist.migration(Dense, 1, persist.ops.unpack("W", "b"), persist.ops.rename({"W": "weights", "b": "bias"}))
persist.migration(Dense, 2, persist.ops.add("note", ""))
DECLARED
"""
DATES = """
known = persist.registry.default
known.released(Dense, 1, ">=1,<2", date="2011-06-01")
known.released(Dense, 2, ">=2,<3", date="2014-01-01")
known.released(Dense, 3, ">=3", date="2019-05-05")
"""
MOVES = """
persist.alias("oldlab.Layer", "lab.layers.Layer", since=SINCE[0])
persist.alias("lab.layers.Layer", Dense, since=SINCE[1])
"""
READ = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    layer, again = pickle.load(file)
assert layer is again
assert "persist" not in sys.modules
print("%s.%s %r %r" % (type(layer).__module__, type(layer).__name__, layer.W, layer.b))
"""
# What is written, to the byte: the file that Python 2.7 loads, for machines without it.
GOLDEN = (
    "80025d710028636f6c646c61620a4c617965720a7101298171025d7103284b01474004000000000000"
    "6547bfe0000000000000867104626802652e"
)
_INSTALLED = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
PYTHON_27 = str(_INSTALLED[0]) if _INSTALLED else shutil.which("python2.7") or ""


def _folder(tmp_path: Path, declared: str) -> Path:
    (tmp_path / "today" / "newlab").mkdir(parents=True)
    (tmp_path / "today" / "newlab" / "__init__.py").write_text(TODAY.replace("DECLARED", declared))
    (tmp_path / "then").mkdir()
    (tmp_path / "then" / "oldlab.py").write_text(OF_2012)
    (tmp_path / "read.py").write_text(READ)
    make = (
        "import newlab, persist\n"
        "layer = newlab.Dense([1, 2.5], -0.5)\n"
        "persist.save([layer, layer], 'now.persist')\n"
        "persist.save([newlab.Dense([], 0.0, 'kept')], 'noted.persist')\n"
    )
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path / "today", check=True)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _folder(tmp_path, DATES + MOVES.replace("SINCE", '("2013-01-01", "2016-01-01")'))


def _convert(folder: Path, *more: str, name: str = "now.persist") -> tuple[int, str]:
    words = ["-m", "persist", "convert", name, "--to", "pickle", "--import", "newlab"]
    made = run(
        [*words, "--out", "../old.pkl", "--force", *more], folder / "today", dict(os.environ)
    )
    return made.returncode, made.stdout


def _named(path: Path) -> tuple[int, str]:
    """The protocol of a pickle, and the class that it names."""
    said = list(pickletools.genops(path.read_bytes()))
    named = [str(arg).replace(" ", ".") for op, arg, _ in said if op.name == "GLOBAL"]
    texts = [str(arg) for op, arg, _ in said if "UNICODE" in op.name]
    return said[0][1], named[0] if named else ".".join(texts[:2])


@pytest.mark.parametrize(
    "python",
    [
        sys.executable,
        pytest.param(
            PYTHON_27, marks=pytest.mark.skipif(not PYTHON_27, reason="there is no Python 2.7")
        ),
    ],
    ids=["today", "2.7"],
)
def test_the_class_of_2012_loads_it(folder: Path, python: str) -> None:
    status, text = _convert(folder, "--as-of", "2012")
    assert status == 0, text
    assert _named(folder / "old.pkl") == (2, "oldlab.Layer")
    result = subprocess.run(
        [python, str(folder / "read.py"), str(folder / "old.pkl")],
        cwd=folder / "then", env={"PYTHONPATH": str(folder / "then")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "oldlab.Layer [1, 2.5] -0.5"


def test_the_file_that_python_27_loads_is_the_golden_one(folder: Path) -> None:
    assert _convert(folder, "--as-of", "2012")[0] == 0
    assert (folder / "old.pkl").read_bytes().hex() == GOLDEN


@pytest.mark.parametrize(
    ("moment", "protocol", "name"),
    [
        ("2012-12", 2, "oldlab.Layer"),
        ("2013-06-30", 2, "lab.layers.Layer"),
        ("2015", 2, "lab.layers.Layer"),
        ("2018", 2, "newlab.Dense"),
        ("2024", 4, "newlab.Dense"),
        ("v1.5", 4, "oldlab.Layer"),
        ("2.1", 4, "lab.layers.Layer"),
        ("3.0", 4, "newlab.Dense"),
    ],
)
def test_the_class_path_of_each_time(folder: Path, moment: str, protocol: int, name: str) -> None:
    since = '("2013-01-01", "2016-01-01")' if moment[:2] == "20" else '("2.0", "3.0")'
    (folder / "today" / "newlab" / "__init__.py").write_text(
        TODAY.replace("DECLARED", DATES + MOVES.replace("SINCE", since))
    )
    status, text = _convert(folder, "--as-of", moment)
    assert status == 0, text
    assert _named(folder / "old.pkl") == (protocol, name)


def test_one_old_name_needs_no_date(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 'persist.alias("oldlab.Layer", Dense)')
    status, text = _convert(folder, "--to-version", "lab.Layer=1", "--protocol", "2")
    assert status == 0, text
    assert (folder / "old.pkl").read_bytes().hex() == GOLDEN
    assert _convert(folder, "--to-version", "lab.Layer=3")[0] == 0
    assert _named(folder / "old.pkl") == (4, "newlab.Dense")


def test_of_several_old_names_one_is_chosen(tmp_path: Path) -> None:
    folder = _folder(tmp_path, MOVES.replace("SINCE", '("", "")'))
    status, text = _convert(folder, "--to-version", "lab.Layer=1")
    assert status == 1
    assert "was called lab.layers.Layer, oldlab.Layer" in text
    assert "--class-path lab.Layer=lab.layers.Layer" in text
    remedy = ("--class-path", "lab.Layer=oldlab.Layer")
    assert _convert(folder, "--to-version", "lab.Layer=1", *remedy)[0] == 0
    assert _named(folder / "old.pkl") == (4, "oldlab.Layer")


def test_what_is_not_known_is_an_error_with_a_remedy_that_works(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "")
    status, text = _convert(folder, "--as-of", "2012")
    assert status == 1
    assert "nothing says which version of 'lab.Layer' was current then" in text
    assert _convert(folder, "--as-of", "2012", "--to-version", "lab.Layer=1")[0] == 0
    assert _named(folder / "old.pkl") == (2, "newlab.Dense")
    for text in ("2012-13", "2012-02-30", "nonsense", "-x"):
        assert _convert(folder, f"--as-of={text}")[0] == 1


def test_a_time_before_the_first_version(folder: Path) -> None:
    status, text = _convert(folder, "--as-of", "2009")
    assert status == 1
    assert "no version of 'lab.Layer' is that old: 1 of 2011-06-01" in text


def test_what_that_time_cannot_hold_is_refused(folder: Path) -> None:
    status, text = _convert(folder, "--as-of", "2012", name="noted.persist")
    assert status == 1
    assert "note = 'kept'" in text
    assert _convert(folder, "--as-of", "2012", "--lossy", name="noted.persist")[0] == 0


def test_the_lock_file_and_the_tags_of_git_have_dates(tmp_path: Path) -> None:
    folder = _folder(tmp_path, MOVES.replace("SINCE", '("1.5", "2.5")'))
    (folder / "today" / "schemas.lock").write_text(LOCK)
    for moment, name in (
        ("2012", "oldlab.Layer"),
        ("v2.2", "lab.layers.Layer"),
        ("2022", "newlab.Dense"),
    ):
        status, text = _convert(folder, "--as-of", moment)
        assert status == 0, text
        assert _named(folder / "old.pkl")[1] == name
    who = ("-c", "user.name=L", "-c", "user.email=l@example.org", "-c", "commit.gpgsign=false")
    env = {
        **os.environ,
        "GIT_AUTHOR_DATE": "2012-07-01T12:00:00Z",
        "GIT_COMMITTER_DATE": "2012-07-01T12:00:00Z",
    }
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"], ["tag", "paper"]):
        subprocess.run(["git", *words], cwd=folder / "today", env=env, check=True)
    assert _convert(folder, "--as-of", "paper")[0] == 0
    assert _named(folder / "old.pkl") == (2, "oldlab.Layer")


LOCK = """
format = 1
[schemas."lab.Layer"]
class = "newlab.Dense"
""" + "".join(
    f"""
[schemas."lab.Layer".versions.{number}]
kind = "fields"
fingerprint = "00000000"
release = "{number}.0"
date = "{date}"
"""
    for number, date in ((1, "2011-01-01"), (2, "2014-01-01"), (3, "2020-01-01"))
)
