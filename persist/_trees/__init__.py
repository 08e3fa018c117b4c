"""Trees of plain values, arrays and records: walked, copied, named, shown and compared.

`paths` gives every array and scalar its natural path, looking through the packs; `copier` copies a tree
children before parents, cycles and sharing kept; `driver` transforms one without recursion, so that no
file is too deep; `columns` holds many instances of one class as columns; `numpy_random` knows NumPy's random
states; `show` prints a tree, bounded; `compare` finds the first difference between two.
"""
