"""A map of the bytes of a file: what each range of it is. `persist dissect`.

`dissect` recognises a format by the bytes alone and describes their ranges; what it does not know is
said to be unknown. The ranges follow each other from the first byte to the last. Nothing is decoded into
objects, imported or called.

    _ranges.py   the ranges, and what fills the gaps between them
    _archives.py ZIP, tar, gzip, zlib and other compressed streams, SQLite
    _arrays.py   NPY, safetensors, MATLAB 4 and 5, HDF5
    _frameworks.py MXNet, TensorFlow's tables, MessagePack
    _torch7.py   files of Lua Torch
    _streams.py  pickles, protobuf messages, TFRecord, text
"""

from persist._dissect._map import dissect
from persist._dissect._ranges import Range

__all__ = ["Range", "dissect"]
