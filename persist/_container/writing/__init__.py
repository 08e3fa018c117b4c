"""Writing a container: a tree becomes a graph in JSON and arrays in NPY members, in one pass, atomically."""
