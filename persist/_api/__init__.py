"""The spine: open, load, restore, save and explain, one after the other.

``open`` chooses the reader that claims a file (`Reader.claims`) and wraps what it gives in a `File`.
``load`` goes on: the packs of the libraries that the file names are gathered behind the user's
registry (`persist.packs`), the tree is upgraded (`persist._upgrade`), and objects are built
(`persist._objects`). ``explain`` plans the upgrade without effect. ``restore`` fills existing arrays
(`persist._restore`). ``save`` flattens objects to a tree and writes it (`persist._container`, or a
reader that writes its format).

What only a later stage needs is imported when that stage begins, so that ``open`` starts fast
(`tests/house/test_start.py`).
"""
