"""Readers: one family of formats, one module or package, found by walking (see `persist.readers.base`)."""
