"""The shipped packs: knowledge about other libraries, one module a library.

Imported as ``persist.migrations``. A pack is named by the library's top-level
import name (``numpy.py``, ``theano.py``); it holds aliases, stamps, upgrades
and plain views, and no machinery. ``persist`` imports a pack only when a file
names that library, and works with none at all.
"""
