"""The class of the files of `bulk.py`, in its second version; imported by the workers, too."""

import persist


class Layer(persist.Versioned, version=2, schema="benchmarks.Layer"):
    """Version 1 had W."""

    persistent = ("weights", "b", "name")


persist.alias("oldlab.Layer", Layer)
persist.migration(Layer, 1, persist.ops.rename("W", "weights"))
