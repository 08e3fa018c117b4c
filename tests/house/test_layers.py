"""The floors of docs/architecture.md: page and code cannot part."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "architecture.md"

pytestmark = pytest.mark.checkout

FRAMEWORKS = {
    *("torch", "tensorflow", "keras", "tf_keras", "theano", "aesara", "pytensor", "lasagne", "blocks"),
    *("mxnet", "jax", "sklearn", "pandas", "scipy", "joblib", "pymc3", "pymc", "dill", "cloudpickle"),
    *("safetensors", "statsmodels", "xarray", "networkx", "pyarrow", "nltk", "gensim", "chainer"),
}  # fmt: skip


@functools.cache
def floors() -> list[tuple[int, str]]:
    """The rooms of the page, from the top down: (floor, module or module.*)."""
    block = re.search(r"^```floors\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    rows = [re.match(r"(\d+)\s+(\S+)\s+\S", line) for line in block[1].splitlines()]
    assert all(rows)
    return [(int(row[1]), row[2]) for row in rows if row]


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of all that is shipped."""
    found = {}
    for path in [*TOP.glob("persist/**/*.py"), *TOP.glob("migrations/**/*.py")]:
        parts = list(path.relative_to(TOP).with_suffix("").parts)
        if parts[0] == "migrations":
            parts = ["persist", *parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> int:
    """The place in the list of the room that a module is in."""
    rooms = [
        index
        for index, (_, room) in enumerate(floors())
        if module == room or (room.endswith(".*") and f"{module}.".startswith(room[:-1]))
    ]
    assert len(rooms) == 1, f"{module} is in {len(rooms)} rooms of {PAGE.name}"
    return rooms[0]


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it; not those for type checkers."""
    tree = ast.parse(path.read_text())
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only.update(inner for line in node.body for inner in ast.walk(line))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in modules() else node.module


def test_the_list_goes_down() -> None:
    numbers = [number for number, _ in floors()]
    assert numbers == sorted(numbers, reverse=True)


def test_every_room_is_there() -> None:
    for _, room in floors():
        name = room.removesuffix(".*")
        assert name in modules(), f"{room} of {PAGE.name} does not exist"


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_from_rooms_below(module: str) -> None:
    own = room_of(module)
    for name in imported(modules()[module]):
        if name.partition(".")[0] != "persist":
            continue
        if (
            own <= room_of("persist._cli") and name == "persist"
        ):  # the command uses the face, as a user does
            continue
        assert name in modules(), f"{module} imports {name}, which is not there"
        assert room_of(name) >= own, f"{module} imports {name}, which is above it"


# What a user hands over may be a tensor or a module of torch; then torch is there.
HANDED_OVER = {"persist._wire.torch.storage": {"torch"}}


@pytest.mark.parametrize("module", sorted(modules()))
def test_nothing_imports_a_framework(module: str) -> None:
    tops = {name.partition(".")[0] for name in imported(modules()[module])}
    assert tops & FRAMEWORKS <= HANDED_OVER.get(module, set())
    at_once = [
        ast.unparse(node)
        for node in ast.parse(modules()[module].read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not [line for line in at_once if line.split()[1].partition(".")[0] in FRAMEWORKS]


def test_readers_import_neither_each_other_nor_the_registry() -> None:
    for module, path in modules().items():
        if not module.startswith("persist.readers."):
            continue
        for name in imported(path):
            is_reader = name.startswith("persist.readers.") and name != "persist.readers.base"
            # A module with an underscore holds what one reader, or one family, imports to read.
            twin = module.rpartition(".")[2].lstrip("_")
            leaf = name.rpartition(".")[2]
            assert not is_reader or leaf.startswith("_") or leaf == twin, module
            assert not name.startswith(("persist.registry", "persist._trees.pa")), (
                f"{module}: {name}"
            )


def test_the_engine_of_migration_knows_no_bytes() -> None:
    engine = (
        "persist.registry",
        "persist._upgrade",
        "persist.schema",
        "persist.ops",
        "persist.versioned",
    )
    for module, path in modules().items():
        if module.startswith(engine):
            for name in imported(path):
                known = ("persist.readers", "persist._wire", "persist._container")
                assert not name.startswith(known), module


def test_the_packs_are_never_imported_by_name() -> None:
    for module, path in modules().items():
        if module.startswith("persist.migrations"):
            continue
        assert not any(name.startswith("persist.migrations") for name in imported(path)), module


def test_only_the_command_prints() -> None:
    for module, path in modules().items():
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        names = {ast.unparse(call.func) for call in calls}
        if not module.startswith("persist._cli"):
            assert "print" not in names, module


DANGEROUS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "marshal.loads"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "numpy.load", "np.load", "shelve.open"),
    *("subprocess.run", "subprocess.Popen", "ctypes.CDLL"),
}  # fmt: skip
# Code that is made for one class, from text of ours alone.
COMPILERS = {"persist._upgrade.compiled", "persist._objects.rows"}
# What the user's own workers are sent and return; never what a file holds.
RESULTS = {
    "persist.bulk._job",
    "persist.bulk._living",
    "persist.bulk._plan",
    "persist.bulk._readings",
    "persist.bulk._worker",
}
# What is asked of git, Graphviz and the foundry's interpreters, for a project's own source; a process of our own.
CALLERS = {"persist.history.evidence", "persist.history.tags", "persist.history.drawing", "persist.history.foundry",
           "persist.testing._files", "persist._cli.check", "persist.archaeology._git",
           "persist.bulk._living"}  # fmt: skip


def test_nothing_runs_code_that_comes_from_elsewhere() -> None:
    for module, path in modules().items():
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        found = {ast.unparse(call.func) for call in calls} & DANGEROUS
        found -= {"subprocess.run", "subprocess.Popen"} if module in CALLERS else set()
        found -= {"pickle.loads"} if module in RESULTS else set()
        assert not found or module in COMPILERS, f"{module} calls {found}"


def test_only_one_room_imports_by_a_name_from_a_file() -> None:
    # Elsewhere the name is written in the code, or comes from walking a package of ours, from an
    # entry point, or from the command line.
    allowed = {
        *("persist", "persist._runtime.lazy_exports", "persist.packs._gather", "persist._api.detect", "persist._cli", "persist._cli._knowledge"),
        "persist._objects.names",
        "persist._api.networks",  # classes that the user names in trust=
        "persist.history.project",  # modules that the user's own settings name
        *("persist.bulk._convert", "persist.bulk._declared", "persist.bulk._engine"),  # what the caller names
        "persist.migrations._sklearn.rebuilding",  # classes of its own table
        "persist.migrations._sklearn.trees",  # one of two modules
        "persist.migrations._stdlib",  # classes of the table in stdlib.py
        "persist._wire.hdf5.filters",  # libraries of filters, from its own table
    }  # fmt: skip
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                assert isinstance(node.args[0], ast.Constant) or module in allowed, module
