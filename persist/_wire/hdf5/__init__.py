"""HDF5, read only, in pure Python on NumPy.

`file` opens a file and finds its superblock; `object_headers` and `heaps` read metadata; `objects` gives groups,
datasets and attributes; `dataset` reads contiguous, compact and chunked data through `chunk_index` and
`filters`; `datatypes` and `values` decode elements; `virtual` and `selections` put virtual datasets
together. docs/hdf5.md says what is read, and why this is not h5py.
"""
