"""The opcodes of pickle protocols 0 to 5: one function each, registered by its byte and its name.

A function gets the machine and changes its stack, marks or memo:

- `numbers`: the protocol, frames, constants and numbers,
- `text`: text, bytes and out-of-band buffers,
- `memo`: the stack, its marks and the memo,
- `containers`: lists, tuples, dicts and sets,
- `instances`: globals, and what is made by classes and functions.

`TABLE` has the function for each byte. STOP is not in it: it ends the machine's loop.
"""

from __future__ import annotations

from persist._wire.pickle.opcodes import containers, instances, memo, numbers, text
from persist._wire.pickle.opcodes._registered import NAMES, TABLE

__all__ = ["NAMES", "TABLE", "containers", "instances", "memo", "numbers", "text"]
