"""Strategies: graphs of plain values, and opcodes as a writer or an attacker puts them together."""

from __future__ import annotations

from hypothesis import strategies as st

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**31, 2**63, 2**2040]),
    st.floats(),
    st.text(),
    st.text("\0\n\r\\'\"\u00e9\ud800\U0001f600", max_size=6),
    st.binary(),
    st.binary(max_size=3).map(bytearray),
)
keys = st.one_of(st.text(max_size=5), st.integers(), st.binary(max_size=4), st.none())
graphs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        inner.map(lambda value: [value, value]),  # shared
        inner.map(lambda value: (value, [value], {"a": value})),
    ),
    max_leaves=25,
)


PUSHES = st.sampled_from(
    [
        b"N", b"\x88", b"\x89", b"K\x07", b"M\x01\x02", b"J\xff\xff\xff\xff", b"I01\n", b"I5\n",
        b"L12345678901234567890L\n", b"\x8a\x01\xff", b"\x8a\x00", b"F1.5\n", b"G?\xf0\0\0\0\0\0\0",
        b"Vtext\\u00e9\n", b"X\x02\0\0\0ab", b"\x8c\x01c", b"C\x02\xff\0", b"B\x01\0\0\0x",
        b"]", b")", b"}", b"\x8f", b"\x96\x01\0\0\0\0\0\0\0z", b"\x8e\x01\0\0\0\0\0\0\0y",
        b"\x8d\x01\0\0\0\0\0\0\0w",
    ]
)  # fmt: skip
WORKS = st.sampled_from(
    [
        b"(", b"0", b"1", b"2", b"a", b"e", b"l", b"t", b"\x85", b"\x86", b"\x87", b"d", b"s", b"u",
        b"\x90", b"\x91", b"\x94", b"q\x00", b"q\x01", b"r\x02\0\0\0", b"p3\n", b"h\x00", b"h\x01",
        b"j\x02\0\0\0", b"g3\n", b"\x80\x04",
    ]
)  # fmt: skip
GADGETS = st.sampled_from(
    [
        b"cos\nsystem\n", b"cbuiltins\neval\n", b"c__builtin__\ngetattr\n", b"\x93", b"R", b"b", b"\x81",
        b"\x92", b"(cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n",
        b"Vf8\n", b"K\x00\x85", b"cdatetime\ndatetime\n", b"ccollections\nOrderedDict\n",
        b"ccollections\ndefaultdict\n", b"c__builtin__\nset\n", b"carray\narray\n", b"cuuid\nUUID\n",
        b"(ios\nsystem\n", b"o", b"P1\n", b"Q", b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\0\0\0",
        b"S'\\xff'\n", b"U\x01\xff", b"T\x01\0\0\0\x80", b"\x95\x01\0\0\0\0\0\0\0", b"\x97", b"\xff",
        b"cdecimal\nDecimal\n", b"cfractions\nFraction\n", b"c_codecs\nencode\n", b"Vlatin1\n",
        b"ccopy_reg\n_reconstructor\n", b"c__builtin__\nobject\n", b"cnumpy.core.multiarray\nscalar\n",
    ]
)  # fmt: skip
parts = st.one_of(PUSHES, PUSHES, WORKS, GADGETS)
