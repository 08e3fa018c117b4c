"""NumPy's NPY format, versions 1 to 3."""
