"""What a class's state looks like, version by version: described, locked in a file, compared.

`description` describes the layout of any declared class, codecs and plain classes included, with a
fingerprint; `lockfile` reads and writes ``schemas.lock``; `checks` compares, when a module is imported
and when a file is loaded, what was written with what the class declares today.
"""
