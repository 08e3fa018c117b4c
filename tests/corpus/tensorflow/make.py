"""Write the cases of TensorFlow that are named ``made-...`` here, with what was put into them.

Recipe (2.15.1 and 2.20.0 under Python 3.11 were run):

    python3.11 -m venv tf && tf/bin/pip install tensorflow-cpu==2.15.1
    tf/bin/python make.py 2.15.1-py311
"""

import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import ml_dtypes
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2, tensor_pb2

HERE = Path(__file__).parent
v1 = tf.compat.v1
rng = np.random.RandomState(0)


def case(name):
    folder = HERE / f"made-{sys.argv[1]}-{name}"
    folder.mkdir(exist_ok=True)
    return folder


def tell(folder, file, what, arrays, scalars=None):
    told = {}
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        if array.dtype == object:
            values = [{"bytes_hex": bytes(item).hex()} for item in array.reshape(-1)]
            told[name] = {"dtype": "string", "shape": list(array.shape), "values": values}
        else:
            digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            shape = list(array.shape)
            told[name] = {"dtype": array.dtype.name, "shape": shape, "sha256": digest}
    writer = {"tensorflow": tf.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    spec = {"file": file, "what": what, "written_by": writer, "arrays": told, "scalars": scalars or {}}
    (folder / "expected.json").write_text(json.dumps(spec, indent=1, sort_keys=True) + "\n")


def partitioned(name, value, axis, parts):
    """A variable in parts, each with its share of the value."""

    def initial(shape, dtype, partition_info):
        spans = zip(partition_info.var_offset, shape)
        return tf.constant(value[tuple(slice(start, start + size) for start, size in spans)])

    with v1.variable_scope("p", partitioner=v1.fixed_size_partitioner(parts, axis=axis)):
        v1.get_variable(
            name, shape=value.shape, dtype=value.dtype, initializer=initial, use_resource=False
        )


def savers():
    """Two steps of each format, on two devices, with partitioned variables."""
    values = {
        "p/emb": rng.randn(7, 3).astype("f4"),
        "p/cols": rng.randn(2, 9),
        "p/many": rng.randn(40, 2).astype("f4"),
        "neg": np.array([-1, -300, 2**40]),
        "s": np.float32(3.5),
        "b": np.array([True, False, True]),
        "str": np.array([b"a", b"", b"\0\xff"], object),
        "u8": np.arange(300, dtype="u1").reshape(3, 100),
        "c": np.array([1 + 2j, 3 - 1j], "c8"),
    }
    for form in ("V1", "V2"):
        folder = case(f"saver-{form.lower()}-sharded")
        with tf.Graph().as_default():
            partitioned("emb", values["p/emb"], 0, 3)
            partitioned("cols", values["p/cols"], 1, 4)
            partitioned("many", values["p/many"], 0, 20)
            for number, name in enumerate(("neg", "s", "b", "str", "u8", "c")):
                kind = tf.string if name == "str" else None
                with tf.device(f"/cpu:{number % 2}"):
                    v1.Variable(values[name], name=name, use_resource=False, dtype=kind)
            saver = v1.train.Saver(write_version=getattr(v1.train.SaverDef, form), sharded=True)
            config = v1.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=True)
            with v1.Session(config=config) as session:
                session.run(v1.global_variables_initializer())
                for step in (10, 200):
                    saver.save(session, f"{folder}/model.ckpt", step, write_meta_graph=False)
        names = {f"{part}": value for part, value in values.items()}
        tell(folder, "model.ckpt-200", f"{form}, two shards, two steps, partitioned", names)
        state = (folder / "checkpoint").read_text().replace(f"{folder}/", "")
        (folder / "checkpoint").write_text(state)


def bundle():
    """Every type, and tensors cut in two dimensions, by the op itself."""
    grid, rows = rng.randn(5, 6).astype("f4"), rng.randint(0, 99, (200, 3)).astype("i4")
    whole = {
        "f8": np.array([1, 2, -0.5], ml_dtypes.float8_e4m3fn),
        "f8 wide": np.array([[1, 2]], ml_dtypes.float8_e5m2),
        "bf": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
        "i4": np.array([-3, 7], ml_dtypes.int4),
        "u4": np.array([3, 15], ml_dtypes.uint4),
        "u32": np.array([2**31], "u4"),
        "u64": np.array([2**63], "u8"),
        "c16": np.array([1j], "c16"),
        "none": np.zeros((0, 3), "f4"),
        "n\0m": np.arange(3),
    }
    parts = [
        ("grid", "5 6 0,2:-", grid[:2]),
        ("grid", "5 6 2,3:0,4", grid[2:, :4]),
        ("grid", "5 6 2,3:4,2", grid[2:, 4:]),
        ("rows", "200 3 0,150:-", rows[:150]),
        ("rows", "200 3 150,50:-", rows[150:]),
        *((name, "", value) for name, value in whole.items()),
    ]
    folder = case("bundle-types")
    names, cuts, tensors = zip(*parts)
    tf.raw_ops.SaveV2(
        prefix=f"{folder}/x", tensor_names=names, shape_and_slices=cuts, tensors=tensors
    )
    tell(folder, "x", "types of today, a grid of parts", {**whole, "grid": grid, "rows": rows})


def objects():
    """A model, its optimizer, an iterator, lists."""
    model = tf.keras.Sequential([tf.keras.layers.Input((3,)), tf.keras.layers.Dense(2, name="a")])
    model.compile("adam", "mse")
    model.fit(rng.randn(8, 3), rng.randn(8, 2), verbose=0)
    iterator = iter(tf.data.Dataset.range(10))
    next(iterator)
    extra = [tf.Variable(1.0), tf.Variable([2, 3])]
    checkpoint = tf.train.Checkpoint(model=model, opt=model.optimizer, it=iterator, extra=extra)
    folder = case("objects")
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
    for _ in range(3):
        manager.save()
    reader = tf.train.load_checkpoint(manager.latest_checkpoint)
    arrays = {}
    for key in reader.get_variable_to_shape_map():
        if not key.endswith("ITERATOR_STATE"):
            value = reader.get_tensor(key)
            arrays[key] = np.array(value, object) if isinstance(value, bytes) else value
    tell(folder, "ckpt-3", "a CheckpointManager's: model, Adam, iterator, list", arrays)


def saved_model():
    """Two meta graphs, an asset, one variable; as text with one."""
    value = np.arange(4, dtype="f4")
    for text in (False, True):
        folder = case("saved-model-text" if text else "saved-model-two")
        builder = v1.saved_model.Builder(f"{folder}/export")
        with tf.Graph().as_default(), v1.Session() as session:
            weights = v1.Variable(value, name="w")
            x = v1.placeholder(tf.float32, [None, 4], name="x")
            y = tf.multiply(x, weights, name="y")
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            if not text:
                asset = folder / "vocabulary.txt"
                asset.write_text("a\nb\n")
                os.chdir(folder)
                assets = [tf.constant("vocabulary.txt", name="asset")]
                builder.add_meta_graph_and_variables(session, ["train"], assets_collection=assets)
                signatures = {"serving_default": signature}
                builder.add_meta_graph(["serve"], signatures, assets_collection=assets)
                asset.unlink()
            else:
                signatures = {"serving_default": signature}
                builder.add_meta_graph_and_variables(session, ["serve"], signatures)
            builder.save(as_text=text)
        tell(folder, "export", "text" if text else "two meta graphs, an asset", {"w": value})


FIELDS = {
    1: ("float_val", float), 2: ("double_val", float), 9: ("int64_val", int), 10: ("bool_val", bool),
    22: ("uint32_val", int), 23: ("uint64_val", int),
    **dict.fromkeys((3, 4, 5, 6, 17), ("int_val", int)),
}  # fmt: skip


def typed(array):
    """The same tensor, its values in the field of its type."""
    raw = tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=raw.dtype, tensor_shape=raw.tensor_shape)
    flat = np.ravel(array)
    if raw.dtype in FIELDS:
        field, kind = FIELDS[raw.dtype]
        getattr(proto, field).extend(map(kind, flat))
    elif raw.dtype in (14, 19):
        proto.half_val.extend(map(int, flat.view("u2")))
    elif raw.dtype in (8, 18):
        field = proto.scomplex_val if raw.dtype == 8 else proto.dcomplex_val
        field.extend(part for value in flat for part in (float(value.real), float(value.imag)))
    else:
        proto.float8_val = flat.tobytes()
    return proto


def graph():
    """Const nodes of every type, in both forms, as binary and as text."""
    arrays = {
        "f": rng.randn(2, 3).astype("f4"), "d": rng.randn(3), "h": np.float16([1, 2, 3]),
        "i": np.arange(-5, 5, dtype="i4"), "i64": np.array([-1, 2**50]), "u8": np.uint8([1, 255]),
        "i8": np.int8([-1, 3]), "i16": np.int16([[-300]]), "u16": np.uint16([60000]),
        "u32": np.uint32([4 * 10**9]), "u64": np.uint64([2**63]), "b": np.array([True, False]),
        "c": np.complex64([1 + 2j]), "z": np.complex128([1 - 2j, 3]),
        "bf": np.array([1, 2], ml_dtypes.bfloat16), "f8": np.array([1, 2], ml_dtypes.float8_e5m2),
        "scalar": np.float32(7),
    }  # fmt: skip
    protos = {name: tf.make_tensor_proto(array) for name, array in arrays.items()}
    protos.update({f"{name}_typed": typed(array) for name, array in arrays.items()})
    arrays.update({f"{name}_typed": array for name, array in list(arrays.items())})
    arrays["text"] = np.array([b'x\0"\n', b"caf\xc3\xa9"], object)
    protos["text"] = tf.make_tensor_proto(arrays["text"])
    for name, kind, values, whole in (
        ("inf", "float_val", [float("inf")], np.full(3, np.inf, "f4")),
        ("rest", "float_val", [1e-45, -1e30], np.array([1e-45, -1e30, -1e30], "f4")),
        ("zeros", "float_val", [], np.zeros(3, "f4")),
    ):
        protos[name] = tensor_pb2.TensorProto(dtype=1)
        protos[name].tensor_shape.dim.add(size=3)
        getattr(protos[name], kind).extend(values)
        arrays[name] = whole
    definition = graph_pb2.GraphDef()
    for name, proto in protos.items():
        node = definition.node.add(name=name, op="Const")
        node.attr["dtype"].type = proto.dtype
        node.attr["value"].tensor.CopyFrom(proto)
    for form in ("pb", "pbtxt"):
        folder = case(f"graph-{form}")
        tf.io.write_graph(definition, str(folder), f"graph.{form}", as_text=form == "pbtxt")
        tell(folder, f"graph.{form}", "Const nodes of every type, raw and typed", arrays)


def pickles():
    """Eager tensors and a variable, pickled."""
    tree = {
        "x": tf.constant([1, 2]), "s": tf.constant([b"a", b"b"]), "one": tf.constant("q"),
        "v": tf.Variable([1.0, 2.0], name="vv"), "shape": tf.TensorShape([None, 3]),
        "type": tf.bfloat16, "bf": tf.constant([1.0, 2.0], tf.bfloat16), "n": tf.constant(2.5),
    }  # fmt: skip
    folder = case("pickle-eager")
    with open(folder / "tensors.pkl", "wb") as out:
        pickle.dump(tree, out)
    arrays = {name: tree[name].numpy() for name in ("x", "s", "v", "bf", "n")}
    scalars = {"one": {"bytes_hex": b"q".hex()}, "shape": [None, 3], "type": "bfloat16"}
    tell(folder, "tensors.pkl", "eager tensors, a variable, a shape, a type", arrays, scalars)


for make in (savers, bundle, objects, graph, pickles, saved_model):
    make()
