"""Tree to live objects, and live objects to a tree.

`build` takes an upgraded tree and makes instances of the classes that are declared, and of those that
``trust=`` names exactly. It is the only module that imports a class by a name that came from a file,
and it starts when the whole tree is upgraded. Everything else stays a `Record`.

`flatten` is the reverse: each object becomes a `Record` of its declared state, shared references stay
shared. `rows` reads and writes many instances of one class field by field. `snapshot` copies arrays
before a background write.
"""
