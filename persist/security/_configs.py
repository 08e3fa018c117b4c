"""Code and imports in configurations: Keras models as JSON or YAML, TensorFlow graphs.

Sources: ``keras/src/layers/core/lambda_layer.py`` and ``saving/serialization_lib.py`` of Keras 3
(``__lambda__``, ``module``, ``registered_name``), ``keras/layers/core.py`` of Keras 2;
``yaml/constructor.py`` of PyYAML (tags); TensorFlow's ``graph.proto`` (``NodeDef.op``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from persist._runtime.lazy_regex import regex
from persist.security._names import Verdict, judged

__all__ = ["LAMBDA_TEXT", "found_in_graph", "found_in_json", "found_in_yaml"]

Found = tuple[Verdict, str, str, int | None]  # verdict, name, why, offset

_RUNS_LAMBDA = "a Lambda layer: loading the model runs the code that is stored in it"
_REFERS = "a Lambda layer, whose function is looked up by name when the model is loaded"
LAMBDA_TEXT = regex(rb'"class_name"\s*:\s*"(Lambda|__lambda__)"')
_YAML_TAG = regex(rb"!(?:!python/|<tag:yaml\.org,2002:python/)([\w/]+):([\w.]+)")
_YAML_LAMBDA = regex(rb"class_name:\s*['\"]?(Lambda|__lambda__)\b")
# Operations of a graph that reach files or run Python.
_OPS = (
    "ReadFile|WriteFile|PyFunc|PyFuncStateless|EagerPyFunc|LoadLibrary|Save|SaveSlices|MatchingFiles|"
    "WholeFileReader|WholeFileReaderV2|PrintV2|RpcCall|TryRpc"
)
_OP = regex(rb"\x12([\x01-\x7f])(" + _OPS.encode() + rb")(?=[\x1a\x22\x2a\x32\x3a\x0a\x12]|\Z)")
_HARMLESS_OPS = frozenset(("Save", "SaveSlices", "PrintV2", "WholeFileReader", "WholeFileReaderV2"))
_LAYER_FILES = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup")
_NODES = 2_000_000  # values of one configuration that are looked at


def found_in_json(text: bytes) -> Iterator[Found]:
    """Yield what a configuration makes Keras run or import.

    Raises:
        ValueError, RecursionError: it is no JSON, or too deep.
    """
    todo: list[object] = [json.loads(text)]
    seen = 0
    while todo:
        value = todo.pop()
        seen += 1
        if seen > _NODES:
            raise ValueError("more values than are looked at")
        if isinstance(value, list):
            todo += reversed(value)
        elif isinstance(value, dict):
            yield from _of_object(value)
            todo += reversed(value.values())
        elif isinstance(value, str) and value[:1] in "{[" and '"class_name"' in value:
            try:
                todo.append(json.loads(value))  # a configuration as text in a configuration
            except ValueError:
                continue


def _of_object(value: dict[object, object]) -> Iterator[Found]:
    name, module, config = (value.get(key) for key in ("class_name", "module", "config"))
    if name == "__lambda__":
        yield "dangerous", "__lambda__", _RUNS_LAMBDA, None
        return
    if name == "Lambda":
        function = config.get("function") if isinstance(config, dict) else None
        is_name = isinstance(function, str) and len(function) < 100
        yield (
            ("suspicious", "Lambda", _REFERS, None)
            if is_name
            else ("dangerous", "Lambda", _RUNS_LAMBDA, None)
        )
        return
    if not isinstance(name, str):
        return
    vocabulary = config.get("vocabulary") if isinstance(config, dict) else None
    if name in _LAYER_FILES and isinstance(vocabulary, str):
        yield "suspicious", name, "reads a file of the machine that loads the model", None
    if isinstance(module, str) and module:
        own = config if name == "function" and isinstance(config, str) else name
        if (module, name) == ("builtins", "function"):
            return  # a name of Keras or of what the caller registers
        if (module, name) in (("builtins", "slice"), ("builtins", "type")):
            return
        verdict, why = judged(module, own)
        yield verdict, f"{module}.{own}", why, None


def found_in_yaml(text: bytes) -> Iterator[Found]:
    """Yield what a text makes an unsafe YAML loader, or Keras, run or import."""
    for match in _YAML_TAG.finditer(text):
        kind, name = match[1].decode(), match[2].decode()
        module, _, last = name.rpartition(".")
        if kind.split("/")[0] not in ("object", "name", "module"):
            continue
        verdict, why = judged(module or name, last) if module else judged("builtins", name)
        if kind.startswith("module"):
            verdict, why = "suspicious", "imports a module"
        yield verdict, name, why, match.start()
    for match in _YAML_LAMBDA.finditer(text):
        yield "dangerous", match[1].decode(), _RUNS_LAMBDA, match.start()


def found_in_graph(data: bytes) -> Iterator[Found]:
    """Yield operations of a TensorFlow graph that reach files or run Python."""
    for match in _OP.finditer(data):
        name = match[2].decode()
        if match[1][0] != len(name) or name in _HARMLESS_OPS:
            continue
        yield "dangerous", name, "an operation that reaches files or runs Python", match.start()
