"""Keras: archives, HDF5 files, and models as JSON or YAML text."""
