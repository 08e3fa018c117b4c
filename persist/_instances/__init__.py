"""One declared class: from a state to an instance, and from an instance to a state.

`adapter` has one object for each class, made at first use, which knows what kind of class it is (plain
attributes, slots, attrs, dataclass, an own ``__getstate__``, a subclass of a built-in type) and dumps,
loads and copies its instances. Plain ``pickle`` calls it through `Versioned`; `persist._objects` calls
it for trees.

There are two routes in each direction. The general one handles everything. `compiled_current` and
`compiled_older` generate, for classes whose state is their declared fields and nothing else, a function
that is several times as fast; whatever it does not expect goes to the general route, and
`tests/upgrade/test_compiled.py` shows that both give the same.

`builtin_bases` restores what a subclass of ``list``, ``dict``, ``ndarray`` and the like holds besides its
state; `constants` are functions, classes and sentinels that are stored by a registered name;
`resources` are values that are opened again instead of stored.
"""
