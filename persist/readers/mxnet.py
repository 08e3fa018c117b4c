"""MXNet's ``.params``: a list of arrays, then the list of their names; and the symbol file.

Written by  ``mx.nd.save``, ``Module.save_checkpoint``, ``model.save_checkpoint``,
            Gluon's ``save_params``, ``save_parameters`` and ``export``, and
            ``npx.save``, of MXNet 0.5 to 1.9; ``Trainer.save_states`` and
            ``save_optimizer_states``; MXNet 2 writes ``.npz``, read as such.
Evidence    MXNet's ``src/ndarray/ndarray.cc``, ``python/mxnet/model.py``,
            ``gluon/block.py``, ``gluon/trainer.py``, ``optimizer/optimizer.py``,
            nnvm's ``src/pass/saveload_json.cc``; files of 0.9.5 to 1.9.1.
Traps       The magic number is that of the list; the arrays have four layouts of
            their own. Names follow the arrays. A file may have no suffix. A
            single array is a list of length 1. Trainer states are a pickle whose arrays
            are bytes in this format; newer releases write a pair with the optimizer.
            ``mlp-symbol.json`` belongs to any number of ``mlp-NNNN.params``.
Gives       A dict by the names in the file (``arg:fc1_weight``), or a list.
            Sparse arrays: a record with ``dense`` and its parts. Trainer states:
            a dict by the parameter's index, with ``optimizer`` if it was
            saved. ``structure``: the symbol's graph.
"""

from __future__ import annotations

import json
import re
from typing import IO, Any

from persist._runtime.free_names import free_name
from persist._runtime.lazy_regex import regex
from persist._wire.base.numbered_steps import Step, chosen
from persist._wire.base.source import Source
from persist._wire.mxnet.ndarray_list import LIST_MAGIC, read_list, write_list
from persist.errors import DamagedFileError, FormatError
from persist.readers.base import Content, Options, Reader
from persist.tree import Record

__all__ = ["MXNetReader", "MXNetStatesReader"]

_PARAMS = regex(r"(?P<prefix>.*)-(?P<epoch>\d{4,})\.params\Z", re.DOTALL)
_SYMBOL = "-symbol.json"
_SYMBOL_FIRST = regex(rb"\s*\{\s*\"nodes\"\s*:\s*\[\s*\{")
_SPARSE = "mxnet.ndarray.sparse"


class MXNetReader(Reader):
    """Arrays of MXNet with their symbol file, opened by either file or by the prefix."""

    name = "mxnet"
    suffixes = (".params", ".nd")
    writes = True
    is_flat = True

    def claims(self, source: Source) -> str | None:
        if source.kind == "prefix":
            prefix = source.basename
            found = [step.name for step in _epochs(source, prefix)]
            if f"{prefix}{_SYMBOL}" in source.children():
                found.append(f"{prefix}{_SYMBOL}")
            return f"the prefix of {', '.join(found[:4])}" if found else None
        if source.kind != "file":
            return None
        if source.head(16) == LIST_MAGIC:
            return "begins with the magic number of a list of NDArrays (0x112)"
        head = source.head(4096)
        if _SYMBOL_FIRST.match(head) and b'"op"' in head and b'"name"' in head:
            return 'JSON that begins with the "nodes" of a symbol'
        return None

    def read(self, source: Source, options: Options) -> Content:
        if source.kind == "file" and source.head(16) == LIST_MAGIC:
            match = _PARAMS.match(source.basename)
            symbol = source.sibling(f"{match['prefix']}{_SYMBOL}") if match else None
            content = _params(source)
            return _with_symbol(content, symbol, source, match["prefix"] if match else None, [])
        if source.kind == "file":
            prefix = source.basename.removesuffix(_SYMBOL)
            symbol = source
            steps = _epochs(source, prefix) if prefix != source.basename else []
        else:
            prefix = source.basename
            symbol = source.sibling(f"{prefix}{_SYMBOL}")
            steps = _epochs(source, prefix)
        content = Content({})
        if steps:
            step = chosen(steps, options.step, source.name)
            params = source.sibling(step.name)
            if params is not None and params.kind == "file":
                content = _params_of_any_kind(params, options)
        elif options.step is not None:
            chosen([], options.step, source.name)
        return _with_symbol(content, symbol, source, prefix, steps)

    def write(self, tree: Any, target: IO[bytes], **options: object) -> None:
        """Write arrays by name, as ``mx.nd.save`` does.

        Raises:
            FormatError: an array has a type that MXNet lacks.
        """
        if options:
            raise TypeError(f"mxnet knows no option {sorted(options)[0]!r}")
        write_list(tree, target)


def _epochs(source: Source, prefix: str) -> list[Step]:
    """Return the files ``prefix-NNNN.params`` next to a file or prefix, by epoch."""
    found = []
    for name in source.children():
        match = _PARAMS.match(name)
        if match is not None and match["prefix"] == prefix and len(match["epoch"]) < 20:
            found.append(Step(int(match["epoch"]), name))
    return sorted(found, key=lambda step: (step.number, step.name))


def _params(source: Source) -> Content:
    cursor = source.cursor()
    arrays, names = read_list(cursor)
    damage = []
    if cursor.left:
        damage.append(f"{cursor.left:,} bytes follow the names, at offset {cursor.offset:,}")
    tree: Any = arrays
    if names:
        tree = {}
        for name, array in zip(names, arrays, strict=True):
            tree[free_name(name, tree)] = array
    is_sparse = any(isinstance(array, Record) for array in arrays)
    return Content(tree, damage=damage, globals={_SPARSE} if is_sparse else set())


def _params_of_any_kind(source: Source, options: Options) -> Content:
    """MXNet 2 exports NPZ under the same name."""
    if source.head(16) == LIST_MAGIC or options.open_nested is None:
        return _params(source)
    return options.open_nested(source)


# The symbol.


def _with_symbol(
    content: Content, symbol: Source | None, source: Source, prefix: str | None, steps: list[Step]
) -> Content:
    """Add the description of the graph, and of the files that belong together."""
    structure: dict[str, object] = {}
    graph = None
    if symbol is not None and symbol.kind == "file":
        try:
            graph = _graph(symbol)
        except FormatError as error:
            if symbol is source:
                raise
            content.damage.append(f"the symbol was left out, for {error}")
    if graph is not None:
        structure = _described(graph, content.tree)
    if prefix is not None:
        structure["files"] = [
            name
            for name in source.children()
            if name == f"{prefix}{_SYMBOL}"
            or re.fullmatch(rf"{re.escape(prefix)}-\d{{4,}}\.(params|states)", name)
        ]
    if steps:
        structure["series"] = {"steps": [step.number for step in steps]}
    content.structure = structure
    version = None if graph is None else _version(graph)
    if version:
        content.writer = {"mxnet": version}
    return content


def _graph(source: Source) -> dict[str, object]:
    source.spend(8 * source.size)
    try:
        graph: Any = json.loads(source.read(0, source.size))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            f"the symbol is no JSON: {error}.",
            file=source.name,
            remedy="The file is truncated or damaged.",
        ) from error
    nodes = graph.get("nodes") if isinstance(graph, dict) else None
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise DamagedFileError("the symbol has no nodes.", file=source.name)
    found: dict[str, Any] = graph
    return found


def _described(graph: dict[str, Any], tree: object) -> dict[str, object]:
    nodes = graph["nodes"]
    names = [str(node.get("name")) for node in nodes]
    leaves = [name for name, node in zip(names, nodes, strict=True) if node.get("op") == "null"]
    aux = _auxiliary(nodes, names, tree)
    return {
        "symbol": {
            **{key: value for key, value in graph.items() if key != "nodes"},
            "nodes": [
                {
                    "name": node.get("name"),
                    "op": node.get("op"),
                    "attrs": _attributes(node),
                    "inputs": node.get("inputs", []),
                }
                for node in nodes
            ],
        },
        "arguments": [name for name in leaves if name not in aux],
        "aux": [name for name in leaves if name in aux],
    }


def _attributes(node: dict[str, object]) -> dict[str, Any]:
    """Return the attributes of a node: ``param`` and ``attr`` until 0.12, ``attrs`` since."""
    values: dict[str, Any] = {}
    for key in ("param", "attr", "attrs"):
        value = node.get(key)
        if isinstance(value, dict):
            values.update(value)
    return values


def _auxiliary(nodes: list[dict[str, object]], names: list[str], tree: object) -> set[str]:
    """The states that are no arguments: by their prefix in the file, else by what normalizes."""
    if isinstance(tree, dict) and any(str(key).startswith(("arg:", "aux:")) for key in tree):
        return {str(key)[4:] for key in tree if str(key).startswith("aux:")}
    found = set()
    for node in nodes:
        inputs = node.get("inputs")
        if "BatchNorm" not in str(node.get("op")) or not isinstance(inputs, list):
            continue
        for item in inputs[3:5]:
            number = item[0] if isinstance(item, list) and item else None
            if isinstance(number, int) and 0 <= number < len(names):
                found.add(names[number])
    return found


def _version(graph: dict[str, object]) -> str | None:
    """The release that wrote it, 10905 for 1.9.5."""
    attrs = graph.get("attrs")
    values = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    number = values[1] if isinstance(values, list) and len(values) == 2 else None
    if not isinstance(number, int) or not 0 < number < 1_000_000:
        return None
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


# Trainer states.

# A dict whose first key is a whole number, by itself or first in a pair.
_STATES_FIRST = regex(
    rb"(?s)(?:\x80[\x02-\x05](?:\x95.{8})?|\(?)\}(?:q.|r....|\x94)?\(?(?:K.|M..|J....)"
    rb"|\(?\(dp?\d*\r?\n(?:p\d+\r?\n)?I\d+\r?\n"
)
_STATES_NAMES = (b"mxnet.ndarray", b"mxnet.numpy.multiarray", b"mxnet.optimizer")


class MXNetStatesReader(Reader):
    """What ``Trainer.save_states`` writes: a pickle of states by parameter, and the optimizer."""

    name = "mxnet-states"
    suffixes = (".states",)
    refines = ("pickle",)

    def claims(self, source: Source) -> str | None:
        if source.kind != "file" or not _STATES_FIRST.match(source.head(32)):
            return None
        head = source.head(1 << 16)
        for name in _STATES_NAMES:
            if name in head:
                return f"a pickle of a dict by number that names {name.decode()}"
        return None

    def read(self, source: Source, options: Options) -> Content:
        from persist._wire.npy.npy import plain_machine

        machine = plain_machine(source, py2_str=options.py2_str)
        cursor = source.cursor()
        value = machine.load(cursor)
        damage = []
        if cursor.left:
            damage.append(f"{cursor.left:,} bytes follow the pickle, at offset {cursor.offset:,}")
        structure: dict[str, Any] = {
            "protocol": machine.protocol,
            "pickle_top": "states",
            "globals": sorted(f"{item.module} {item.name}" for item in machine.globals.values()),
        }
        tree = value
        if _is_pair(value):
            states, optimizer = value
            tree = {**states, "optimizer": optimizer}
            structure["pickle_top"] = "tuple(states, optimizer)"
            structure["optimizer"] = _optimizer(optimizer)
        return Content(
            tree,
            structure=structure,
            writer={"python": "2"} if machine.has_py2_str else {},
            damage=damage,
            globals=set(machine.globals),
        )


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], dict)
        and isinstance(value[1], Record)
        and "optimizer" not in value[0]
    )


def _optimizer(record: Record) -> dict[str, object]:
    """Its class, and what is a plain number or text of it."""
    facts: dict[str, object] = {"class": record.qualname}
    for name, value in record.fields().items():
        if isinstance(name, str) and isinstance(value, str | int | float | bool | type(None)):
            facts[name] = value
    return facts
