"""The declared state of a class: its fields, and which class of the MRO owns which.

Nothing is read from a class before its first use: decorators such as
``dataclass`` add the fields, and some make the class a second time, after
``__init_subclass__`` has run.

"""

from __future__ import annotations

from persist.schema._declared import OWN_GETSTATE as OWN_GETSTATE
from persist.schema._declared import OWN_SETSTATE as OWN_SETSTATE
from persist.schema._declared import is_written as is_written
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
from persist.schema._declared import said_fields as said_fields
from persist.schema._declared import read_layout as read_layout
from persist.schema._declared import demangled as demangled
from persist.schema._declared import mangled as mangled
from persist.schema._declared import plain_name as plain_name
from persist.schema._declared import private_prefix as private_prefix

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
