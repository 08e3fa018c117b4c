"""One declared class: from a state to an instance, and from an instance to a state.

`adapter` has one object for each class, made at first use, which knows what kind of class it is (plain
attributes, slots, attrs, dataclass, an own ``__getstate__``, a subclass of a built-in type) and dumps,
loads and copies its instances. Plain ``pickle`` calls it through `Versioned`; `persist._objects` calls
it for trees.

`profile` says once what kind of class it is; every route asks the profile, and nothing else, whether
it can take the instances of a class.

There are two routes in each direction. The general one handles everything. The compiled one is
generated, for classes whose state is their declared fields and nothing else, and is several times as
fast: `compiled_current` and `compiled_older` for plain pickle, `compiled_fields` for trees and the
columns of a container. Whatever it does not expect continues on the general route where it stopped.
`persist._upgrade.compiled.SWITCH` shuts all that is compiled; with it `tests/upgrade/test_compiled.py` and
`tests/upgrade/test_corpus.py` show that both routes give the same.

`builtin_bases` restores what a subclass of ``list``, ``dict``, ``ndarray`` and the like holds besides its
state; `constants` are functions, classes and sentinels that are stored by a registered name;
`resources` are values that are opened again instead of stored.
"""
