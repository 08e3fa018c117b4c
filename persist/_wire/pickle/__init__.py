"""Pickles of every protocol, executed by an iterative machine that imports and calls nothing.

`machine` decides and executes in one pass; `fast_loop` is its inner loop for the common opcodes.
A global becomes a name, an instance a `Record`. `stdlib_rebuild`, `numpy_rebuild` and `timezones` rebuild
dates, sets, arrays and the like from checked parts. `sidecars` reads arrays in separate files; `writer`
writes pickles of trees.
"""
