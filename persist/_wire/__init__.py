"""Byte grammars, by family: bytes in, plain values, arrays and records out.

A grammar imports nothing that a file names, allocates nothing for a size that the file merely claims,
and charges the steps and bytes it spends to the limits of its `Source` (`persist._wire.base.source`).
Readers (`persist.readers`) decide which grammar a file needs.
"""
