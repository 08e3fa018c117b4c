"""The messages of tensor graphs, tensors and checkpoints: names, numbers, kinds.

Sources: TensorFlow's ``core/framework/{graph,node_def,attr_value,function,op_def,
tensor,tensor_shape,tensor_slice,types,versions,variable}.proto``,
``core/protobuf/{meta_graph,saved_model,saver,tensor_bundle,
trackable_object_graph,saved_object_graph,struct}.proto``,
``core/util/saved_tensor_slice.proto`` and
``python/training/checkpoint_state.proto``, from 0.5 to 2.21. Fields that nothing
here needs are left out: they are passed over.
"""

from __future__ import annotations

import functools

from persist._wire.messages.protobuf import Message, Schemas

__all__ = ["DTYPES", "SCHEMAS", "dtype_name", "shape_of"]

DTYPES = {
    1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 5: "DT_INT16", 6: "DT_INT8",
    7: "DT_STRING", 8: "DT_COMPLEX64", 9: "DT_INT64", 10: "DT_BOOL", 11: "DT_QINT8",
    12: "DT_QUINT8", 13: "DT_QINT32", 14: "DT_BFLOAT16", 15: "DT_QINT16", 16: "DT_QUINT16",
    17: "DT_UINT16", 18: "DT_COMPLEX128", 19: "DT_HALF", 20: "DT_RESOURCE", 21: "DT_VARIANT",
    22: "DT_UINT32", 23: "DT_UINT64", 24: "DT_FLOAT8_E5M2", 25: "DT_FLOAT8_E4M3FN",
    26: "DT_FLOAT8_E4M3FNUZ", 27: "DT_FLOAT8_E4M3B11FNUZ", 28: "DT_FLOAT8_E5M2FNUZ",
    29: "DT_INT4", 30: "DT_UINT4", 31: "DT_INT2", 32: "DT_UINT2",
}  # fmt: skip
_REFERENCE = 100  # added for a reference to a tensor of that type

_NAMES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


@functools.lru_cache(maxsize=256)
def dtype_name(number: int) -> str:
    """Return the name that people use of a data type: ``float32``, ``bfloat16``, ``string``."""
    name = DTYPES.get(number % _REFERENCE if number > _REFERENCE else number, f"DT_{number}")
    return _NAMES.get(name, name[3:].lower())


_TEXT, _DATA, _FLAG = "string", "bytes", "bool"

_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "TensorShapeProto": {"dim": (2, "Dim"), "unknown_rank": (3, _FLAG)},
    "Dim": {"size": (1, "int64"), "name": (2, _TEXT)},
    "TensorProto": {
        "dtype": (1, "DataType"),
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, _DATA),
        "float_val": (5, "float"),
        "double_val": (6, "double"),
        "int_val": (7, "int32"),
        "string_val": (8, _DATA),
        "scomplex_val": (9, "float"),
        "int64_val": (10, "int64"),
        "bool_val": (11, _FLAG),
        "dcomplex_val": (12, "double"),
        "half_val": (13, "int32"),
        "resource_handle_val": (14, "Unknown"),
        "variant_val": (15, "Unknown"),
        "uint32_val": (16, "uint32"),
        "uint64_val": (17, "uint64"),
        "float8_val": (18, _DATA),
    },
    "Unknown": {},
    # Graphs.
    "GraphDef": {
        "node": (1, "NodeDef"),
        "library": (2, "FunctionDefLibrary"),
        "version": (3, "int32"),
        "versions": (4, "VersionDef"),
    },
    "NodeDef": {
        "name": (1, _TEXT),
        "op": (2, _TEXT),
        "input": (3, _TEXT),
        "device": (4, _TEXT),
        "attr": (5, "map:AttrValue"),
    },
    "AttrValue": {
        "list": (1, "AttrList"),
        "s": (2, _DATA),
        "i": (3, "int64"),
        "f": (4, "float"),
        "b": (5, _FLAG),
        "type": (6, "DataType"),
        "shape": (7, "TensorShapeProto"),
        "tensor": (8, "TensorProto"),
        "placeholder": (9, _TEXT),
        "func": (10, "NameAttrList"),
    },
    "AttrList": {
        "s": (2, _DATA),
        "i": (3, "int64"),
        "f": (4, "float"),
        "b": (5, _FLAG),
        "type": (6, "DataType"),
        "shape": (7, "TensorShapeProto"),
        "tensor": (8, "TensorProto"),
        "func": (9, "NameAttrList"),
    },
    "NameAttrList": {"name": (1, _TEXT)},
    "FunctionDefLibrary": {"function": (1, "FunctionDef"), "gradient": (2, "Unknown")},
    "FunctionDef": {"signature": (1, "OpDef"), "node_def": (3, "NodeDef")},
    "OpDef": {"name": (1, _TEXT)},
    "VersionDef": {"producer": (1, "int32"), "min_consumer": (2, "int32")},
    # Graphs with what belongs to them.
    "MetaGraphDef": {
        "meta_info_def": (1, "MetaInfoDef"),
        "graph_def": (2, "GraphDef"),
        "saver_def": (3, "SaverDef"),
        "collection_def": (4, "map:CollectionDef"),
        "signature_def": (5, "map:SignatureDef"),
        "asset_file_def": (6, "AssetFileDef"),
        "object_graph_def": (7, "SavedObjectGraph"),
    },
    "MetaInfoDef": {
        "meta_graph_version": (1, _TEXT),
        "stripped_op_list": (2, "Unknown"),
        "tags": (4, _TEXT),
        "tensorflow_version": (5, _TEXT),
        "tensorflow_git_version": (6, _TEXT),
        "stripped_default_attrs": (7, _FLAG),
    },
    "SaverDef": {
        "filename_tensor_name": (1, _TEXT),
        "save_tensor_name": (2, _TEXT),
        "restore_op_name": (3, _TEXT),
        "max_to_keep": (4, "int32"),
        "sharded": (5, _FLAG),
        "keep_checkpoint_every_n_hours": (6, "float"),
        "version": (7, "SaverVersion"),
    },
    "CollectionDef": {
        "node_list": (1, "TextList"),
        "bytes_list": (2, "DataList"),
        "int64_list": (3, "IntegerList"),
        "float_list": (4, "FloatList"),
        "any_list": (5, "AnyList"),
    },
    "AnyList": {"value": (1, "Any")},
    "Any": {"type_url": (1, _TEXT), "value": (2, _DATA)},
    "TextList": {"value": (1, _TEXT)},
    "DataList": {"value": (1, _DATA)},
    "IntegerList": {"value": (1, "int64")},
    "FloatList": {"value": (1, "float")},
    "SignatureDef": {
        "inputs": (1, "map:TensorInfo"),
        "outputs": (2, "map:TensorInfo"),
        "method_name": (3, _TEXT),
    },
    "TensorInfo": {
        "name": (1, _TEXT),
        "dtype": (2, "DataType"),
        "tensor_shape": (3, "TensorShapeProto"),
        "coo_sparse": (4, "CooSparse"),
        "composite_tensor": (5, "CompositeTensor"),
    },
    "CooSparse": {
        "values_tensor_name": (1, _TEXT),
        "indices_tensor_name": (2, _TEXT),
        "dense_shape_tensor_name": (3, _TEXT),
    },
    "CompositeTensor": {"components": (2, "TensorInfo")},
    "AssetFileDef": {"tensor_info": (1, "TensorInfo"), "filename": (2, _TEXT)},
    "SavedModel": {
        "saved_model_schema_version": (1, "int64"),
        "meta_graphs": (2, "MetaGraphDef"),
    },
    "SavedObjectGraph": {"nodes": (1, "SavedObject")},
    "SavedObject": {
        "children": (1, "ObjectReference"),
        "slot_variables": (3, "SlotVariableReference"),
        "user_object": (4, "SavedUserObject"),
        "asset": (5, "SavedAsset"),
        "function": (6, "SavedFunction"),
        "variable": (7, "SavedVariable"),
        "bare_concrete_function": (8, "SavedBareConcreteFunction"),
        "constant": (9, "SavedConstant"),
        "resource": (10, "SavedResource"),
        "captured_tensor": (12, "SavedConstant"),
    },
    "SavedUserObject": {"identifier": (1, _TEXT), "metadata": (3, _TEXT)},
    "SavedAsset": {"asset_file_def_index": (1, "int32")},
    "SavedFunction": {"concrete_functions": (1, _TEXT)},
    "SavedVariable": {
        "dtype": (1, "DataType"),
        "shape": (2, "TensorShapeProto"),
        "trainable": (3, _FLAG),
        "name": (6, _TEXT),
    },
    "SavedBareConcreteFunction": {"concrete_function_name": (1, _TEXT)},
    "SavedConstant": {"operation": (1, _TEXT)},
    "SavedResource": {"device": (1, _TEXT)},
    # What the high-level library writes next to a saved model.
    "SavedMetadata": {"nodes": (1, "MetadataObject")},
    "MetadataObject": {
        "node_id": (2, "int32"),
        "node_path": (3, _TEXT),
        "identifier": (4, _TEXT),
        "metadata": (5, _TEXT),
    },
    # Checkpoints of tensors in shards, behind a table of entries.
    "BundleHeaderProto": {
        "num_shards": (1, "int32"),
        "endianness": (2, "Endianness"),
        "version": (3, "VersionDef"),
    },
    "BundleEntryProto": {
        "dtype": (1, "DataType"),
        "shape": (2, "TensorShapeProto"),
        "shard_id": (3, "int32"),
        "offset": (4, "int64"),
        "size": (5, "int64"),
        "crc32c": (6, "fixed32"),
        "slices": (7, "TensorSliceProto"),
    },
    "TensorSliceProto": {"extent": (1, "Extent")},
    "Extent": {"start": (1, "int64"), "length": (2, "int64")},
    "TrackableObjectGraph": {"nodes": (1, "TrackableObject")},
    "TrackableObject": {
        "children": (1, "ObjectReference"),
        "attributes": (2, "SerializedTensor"),
        "slot_variables": (3, "SlotVariableReference"),
        "registered_saver": (4, "RegisteredSaver"),
    },
    "ObjectReference": {"node_id": (1, "int32"), "local_name": (2, _TEXT)},
    "SerializedTensor": {
        "name": (1, _TEXT),
        "full_name": (2, _TEXT),
        "checkpoint_key": (3, _TEXT),
    },
    "SlotVariableReference": {
        "original_variable_node_id": (1, "int32"),
        "slot_name": (2, _TEXT),
        "slot_variable_node_id": (3, "int32"),
    },
    "RegisteredSaver": {"name": (1, _TEXT), "object_name": (2, _TEXT)},
    # Checkpoints of tensors in a table.
    "SavedTensorSlices": {"meta": (1, "SavedTensorSliceMeta"), "data": (2, "SavedSlice")},
    "SavedTensorSliceMeta": {"tensor": (1, "SavedSliceMeta"), "versions": (2, "VersionDef")},
    "SavedSliceMeta": {
        "name": (1, _TEXT),
        "shape": (2, "TensorShapeProto"),
        "type": (3, "DataType"),
        "slice": (4, "TensorSliceProto"),
    },
    "SavedSlice": {
        "name": (1, _TEXT),
        "slice": (2, "TensorSliceProto"),
        "data": (3, "TensorProto"),
    },
    # The file that names the checkpoints of a folder.
    "CheckpointState": {
        "model_checkpoint_path": (1, _TEXT),
        "all_model_checkpoint_paths": (2, _TEXT),
        "all_model_checkpoint_timestamps": (3, "double"),
        "last_preserved_timestamp": (4, "double"),
    },
}

SCHEMAS = Schemas(
    _MESSAGES,
    {
        "DataType": {
            **DTYPES,
            **{number + _REFERENCE: f"{name}_REF" for number, name in DTYPES.items()},
        },
        "Endianness": {0: "LITTLE", 1: "BIG"},
        "SaverVersion": {0: "LEGACY", 1: "V1", 2: "V2"},
    },
)


def shape_of(message: Message | None) -> list[int] | None:
    """Return the extents of a shape, -1 where one is open; None where even their number is."""
    if message is None:
        return []
    if message.integer("unknown_rank"):
        return None
    return [dim.integer("size") for dim in message.messages("dim")]


def jsonable_shape(message: Message | None) -> object:
    """Return the shape of a description, None where none is there."""
    return None if message is None else shape_of(message)
