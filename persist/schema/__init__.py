"""The declared state of a class: its fields, and which class of the MRO owns which.

Nothing is read from a class before its first use: decorators such as
``dataclass`` add the fields, and some make the class a second time, after
``__init_subclass__`` has run.

- `_declared`: what is declared: fields, schemas, parts, layouts.
- `_fields`: reads the fields that a class declares.
- `_layouts`: reads which class owns which of them.
- `_codecs`, `_private_names`: code of the class that takes its state; mangled names.
"""

from __future__ import annotations

from persist.schema._codecs import OWN_GETSTATE as OWN_GETSTATE
from persist.schema._codecs import OWN_SETSTATE as OWN_SETSTATE
from persist.schema._codecs import is_written as is_written
from persist.schema._declared import DECLARED as DECLARED
from persist.schema._declared import MAKERS as MAKERS
from persist.schema._declared import Declared as Declared
from persist.schema._declared import Field as Field
from persist.schema._declared import Layout as Layout
from persist.schema._declared import Part as Part
from persist.schema._declared import Schema as Schema
from persist.schema._declared import dotted as dotted
from persist.schema._declared import field as field
from persist.schema._declared import fingerprint as fingerprint
from persist.schema._declared import minor_of as minor_of
from persist.schema._declared import split_version as split_version
from persist.schema._fields import said_fields as said_fields
from persist.schema._layouts import read_layout as read_layout
from persist.schema._private_names import demangled as demangled
from persist.schema._private_names import mangled as mangled
from persist.schema._private_names import plain_name as plain_name
from persist.schema._private_names import private_prefix as private_prefix

__all__ = [
    "Declared",
    "Field",
    "Layout",
    "Part",
    "Schema",
    "dotted",
    "field",
    "minor_of",
    "read_layout",
    "split_version",
]
