"""The rename tables of NumPy and of the two Pythons: their form, and that they lead somewhere."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

import persist
from persist.errors import SchemaError
from persist.packs import _renames
from persist.registry import Registry

numpy_pack = pytest.importorskip("persist.migrations.numpy")
python2_pack = pytest.importorskip("persist.migrations.python2")

HEAD = "\t".join(_renames.COLUMNS) + "\n"


def found(name: str) -> Any:
    """Import what a dotted name stands for."""
    module, _, last = name.rpartition(".")
    while module:
        try:
            value = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, more = module.rpartition(".")
            last = f"{more}.{last}"
            continue
        for step in last.split("."):
            value = getattr(value, step)
        return value
    raise LookupError(name)


@pytest.mark.parametrize("pack", [numpy_pack, python2_pack], ids=["numpy", "python2"])
def test_no_chain_of_moves_leads_in_a_circle(pack: Any) -> None:
    for row in pack.renames:
        if row.kind == "move" and not row.is_prefix:
            name, taken = pack.pack.aliases_from(row.old)
            assert name != row.old
            assert len(taken) <= 4


@pytest.mark.filterwarnings("ignore")
def test_every_move_of_numpys_ends_at_something_that_this_numpy_has() -> None:
    here, rows = Version(np.__version__), numpy_pack.renames
    later = {row.new for row in rows if row.since and Version(row.since) > here}
    for row in rows:
        if row.kind == "removed" or row.is_prefix:
            continue
        if row.old in later or (here < Version("2.0") and row.old.startswith("numpy._core.")):
            continue  # a name in between, which this NumPy does not know yet
        name, step = row.old, _renames.find(rows, row.old)
        while step is not None and (not step.since or Version(step.since) <= here):
            if step.kind == "removed":
                break
            name = step.new[:-1] + name[len(step.old) - 1 :] if step.is_prefix else step.new
            step = _renames.find(rows, name)
        if step is None or step.kind == "move":
            assert found(name) is not None, row.old


def test_moves_of_the_standard_library_end_at_something() -> None:
    gone = {"dbm.bsd", "winreg", "_winreg", "tkinter", "distutils"}  # not on every machine
    for row in python2_pack.renames:
        if row.kind != "move" or row.is_prefix:
            continue
        today = python2_pack.pack.resolve(row.old)
        if today.partition(".")[0] in gone or today.startswith("multiprocessing.popen"):
            continue
        assert found(today) is not None, row.old


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
        ("numpy.core.records.recarray", "numpy.rec.recarray"),
        ("numpy.matrixlib.defmatrix.matrix", "numpy.matrix"),
        ("numpy.core._internal.AxisError", "numpy.exceptions.AxisError"),
        ("numpy.lib.polynomial.poly1d", "numpy.poly1d"),
        ("numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray"),
        ("numpy.random.__RandomState_ctor", "numpy.random._pickle.__randomstate_ctor"),
        ("numpy.core.fromnumeric.mean", "numpy.mean"),
        ("numpy.float128", "numpy.longdouble"),
        ("numpy.ndarray", "numpy.ndarray"),
    ],
)
def test_what_became_of_numpys_names(old: str, new: str) -> None:
    assert numpy_pack.pack.resolve(old) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("__builtin__.unicode", "builtins.str"),
        ("__builtin__.set", "builtins.set"),
        ("copy_reg._reconstructor", "copyreg._reconstructor"),
        ("exceptions.StandardError", "builtins.Exception"),
        ("exceptions.IOError", "builtins.OSError"),
        ("exceptions.MyOwn", "exceptions.MyOwn"),
        ("UserDict.UserDict", "collections.UserDict"),
        ("UserDict.IterableUserDict", "collections.UserDict"),
        ("Queue.Queue", "queue.Queue"),
        ("StringIO.StringIO", "StringIO.StringIO"),
        ("itertools.imap", "builtins.map"),
        ("urllib2.HTTPError", "urllib.error.HTTPError"),
        ("urllib2.Request", "urllib.request.Request"),
        ("types.ListType", "builtins.list"),
        ("collections.Mapping", "collections.abc.Mapping"),
        ("pathlib._local.PosixPath", "pathlib.PosixPath"),
        ("repr.mine", "repr.mine"),
    ],
)
def test_what_became_of_python_2s_names(old: str, new: str) -> None:
    assert python2_pack.pack.resolve(old) == new


def test_which_releases_can_have_written_a_name() -> None:
    rows = numpy_pack.renames
    old, new = "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"
    assert _renames.written_by(rows, ["numpy.dtype", old]) == (None, ("2.0", old))
    assert _renames.written_by(rows, [new]) == (("2.0", new), None)
    assert _renames.written_by(rows, ["numpy.matrix", old]) == (
        ("1.16", "numpy.matrix"),
        ("2.0", old),
    )
    assert _renames.written_by(rows, ["numpy.recarray"]) == (
        ("1.10", "numpy.recarray"),
        ("2.0", "numpy.recarray"),
    )
    assert _renames.written_by(rows, ["numpy.ndarray"]) == (None, None)


def test_the_numpy_that_is_here_contradicts_no_deduction() -> None:
    """What this NumPy pickles names releases among which it is itself."""
    things: list[Any] = [np.ones(2), np.float64(1), np.ma.array([1]), np.errstate, np.poly1d]
    things += [
        np.ones((1, 1)).view(np.matrix),
        np.random.RandomState(1),
        np.random.default_rng(1),
        np.exceptions.AxisError,
        np.mean,
    ]
    here = Version(np.__version__)
    for thing in things:
        for protocol in (2, 5):
            with persist.open(pickle.dumps(thing, protocol)) as file:
                names = [name.replace(" ", ".") for name in file.structure["globals"]]
            least, before = _renames.written_by(numpy_pack.renames, names)
            assert least is None or Version(least[0]) <= here
            assert before is None or here < Version(before[0])


def test_find_prefers_the_exact_row_and_then_the_longest_prefix() -> None:
    text = HEAD + "a.*\tx.*\tmove\na.b.*\ty.*\tmove\na.b.C\tz.C\tmove\na.Gone\t\tremoved\t1.2\n"
    rows = _renames.parse(text, "a.tsv")
    for name, old in {"a.b.C": "a.b.C", "a.b.D": "a.b.*", "a.D": "a.*", "a.Gone": "a.Gone"}.items():
        row = _renames.find(rows, name)
        assert row is not None
        assert row.old == old
    assert _renames.find(rows, "ab.C") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("old\tnew\n", "columns"),
        (HEAD + "a\tb\tmoved\n", "kind is 'moved'"),
        (HEAD + "a\t\tmove\n", "leads from 'a' to ''"),
        (HEAD + "a\tb\tremoved\n", "leads from"),
        (HEAD + "a.*\tb\tmove\n", r"Both must end in \.\*"),
        (HEAD + "a\tb\tmove\tlate\n", "release is 'late'"),
        (HEAD + "a\tb\tmove\n\n# why\na\tc\tmove\n", "line 5: 'a' has a row already"),
        (HEAD + "a\tb\tmove\t1\tx\ty\tz\n", "7 cells"),
    ],
)
def test_a_table_that_is_not_in_form_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        _renames.parse(text, "lab.tsv")


def test_teaching_a_pack(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "labpacks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    table = HEAD + "oldlab.Net\tlab.Net\tmove\t2.0\tchangelog\noldlab.Gone\t\tremoved\t2.0\n"
    (folder / "lab.tsv").write_text(table)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "labpacks", raising=False)
    pack = Registry("lab")
    rows = _renames.teach(pack, "labpacks.lab")
    assert [row.kind for row in rows] == ["move", "removed"]
    assert pack.resolve("oldlab.Net") == "lab.Net"
    assert pack.resolve("oldlab.Gone") == "oldlab.Gone"


def test_a_set_of_python_2s_module_sets_is_a_set() -> None:
    # pickle.dumps([sets.Set(["a", 1])], 2) of Python 2.7
    data = b"\x80\x02]q\0csets\nSet\nq\x01)\x81q\x02}q\x03(U\x01aq\x04\x88K\x01\x88u\x85q\x05ba."
    with persist.open(data) as file:
        assert file.scalars["0"] == frozenset(["a", 1])
        assert file.scalars["0/state/0/a"] is True
