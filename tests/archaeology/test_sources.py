"""Classes in sources of any release of Python: what their instances have in a file."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist.archaeology._classes import Reader, Source, _in_body
from persist.archaeology._python import parsed, reduced


def classes(text: str | bytes) -> dict[str, Source]:
    data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    found = Reader().read(data)
    assert found is not None
    return {one.name: one for one in found}


def layout(body: str, head: str = "class A:") -> str:
    text = f"{head}\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    return str(classes(text)["A"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def __init__(self, a):\n    self.a = self.b = a\n    self.c, (self.d, *self.e) = a", "a, b, c, d, e"),
        ("def __init__(this):\n    this.a = 1\n    self.b = 2", "a"),
        ("def __init__(self):\n    self.__w = 1\n    self._v = 2\n    self.__x__ = 3", "_A__w, _v, __x__"),
        ("def __init__(self):\n    if x:\n        self.a = 1\n    else:\n        self.a = 2\n        self.b = 3", "a, [b]"),
        ("def __init__(self):\n    for self.i in x:\n        self.a = 1", "i, [a]"),
        ("def __init__(self):\n    self.build()\ndef build(self):\n    self.a = 1", "a"),
        ("def __init__(self):\n    with open(x) as self.f:\n        self.a = 1", "f, a"),
        ("def __init__(self):\n    try:\n        self.a = 1\n    except E:\n        self.b = 1", "a, [b]"),
        ("def fit(self):\n    self.coef_ = 1", "[coef_]"),
        ("def __init__(self, **kw):\n    self.a = 1\n    self.__dict__.update(kw)", "a, and others"),
        ("def __init__(self, **kw):\n    for k, v in kw.items():\n        setattr(self, k, v)", "no attributes, and others"),
        ("__slots__ = ('a', 'b')\ndef __init__(self):\n    self.a = 1", "a, [b]"),
        ("x = 1\ndef f(self):\n    return self.x == 2\n@staticmethod\ndef g(c):\n    c.y = 1", "no attributes"),
        ("def __getstate__(self):\n    return self.W, self.b", "a tuple of 2 (W, b)"),
        ("def __getstate__(self):\n    return (self.W.get_value(), 3, f(self.b, self.c))", "a tuple of 3 (W, ?, ?)"),
        ("def __getstate__(self):\n    return {'w': self.W, 'v': 2}", "w, v"),
        ("def __getstate__(self):\n    return dict(w=self.W)", "w"),
        ("def __init__(self):\n    self.a = self.b = 1\ndef __getstate__(self):\n    d = self.__dict__.copy()\n"
         "    del d['b']\n    d['v'] = 2\n    return d", "a, v"),
        ("def __init__(self):\n    self.a = self.b = 1\ndef __getstate__(self):\n    d = dict(vars(self))\n"
         "    d.pop('b', None)\n    return d", "a"),
        ("def __init__(self):\n    self.a = self.b = 1\ndef __getstate__(self):\n"
         "    return {k: v for k, v in self.__dict__.items() if k != 'b'}", "[a], [b]"),
        ("def __getstate__(self):\n    return {**self.__dict__, 'v': 1}", "v"),
        ("def __getstate__(self):\n    return pack(self)", "a state that the code does not state"),
        ("def __reduce__(self):\n    return A, (self.a, self.b)", "2 arguments of a constructor (a, b)"),
        ("def __init__(self):\n    self.a = 1\ndef __reduce__(self):\n    return A, (), self.__dict__", "a"),
    ],
)  # fmt: skip
def test_what_methods_say(body: str, expected: str) -> None:
    assert layout(body) == expected


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        ("@attr.s\nclass A(object):", "x = attr.ib(default=1)\ny = attr.ib()\nz = 3", "x, y"),
        ("@attrs.define\nclass A:", "x: int = 1\nk: ClassVar[int] = 2\ny: Optional[str] = None\n"
         "def f(self):\n    self.z = 1", "x: int, y: str | None"),
        ("@dataclass\nclass A:", "x: int\ny: list = field(default_factory=list)\ndef f(self):\n    self.z = 1",
         "x: int, y: list, [z]"),
        ("@dataclasses.dataclass(frozen=True, slots=True)\nclass A:", "x: int", "x: int"),
        ("class A(NamedTuple):", "x: int\ny: str = ''", "2 arguments of a constructor (x: int, y: str)"),
        ("class A(persist.Versioned, version=3):", "persistent = ('w', 'b')\ndef f(self):\n    self.t = 1", "w, b"),
    ],
)  # fmt: skip
def test_declared_fields(head: str, body: str, expected: str) -> None:
    assert layout(body, head) == expected


def test_versions_and_names() -> None:
    found = classes(
        """
        try:
            class A(persist.Versioned, version=3, schema="lab.A"):
                class In:
                    def __init__(self):
                        self.x = 1
        except ImportError:
            A = None
        Run = collections.namedtuple("Run", "name, epochs")
        def f():
            class Local:
                pass
        """
    )
    assert sorted(found) == ["A", "A.In", "Run"]
    assert (found["A"].version, found["A"].schema, found["A"].bases) == (
        3,
        "lab.A",
        ("persist.Versioned",),
    )
    assert str(found["Run"]) == "2 arguments of a constructor (name, epochs)"


def test_python_2() -> None:
    found = classes(
        '''
        class Net:
            """Text with
        class Fake:
            in it.
            """
            def __init__(self, n_in, (a, b), mode=0644):
                print "training", n_in
                print >>sys.stderr, `a`
                exec "x = 1" in {}
                try:
                    self.W = 10L
                except (IOError, OSError), e:
                    raise RuntimeError, "bad", tb
                except ValueError, self.error:
                    pass
                if a <> b:
                    self.name = ur"a\\w"
                self.b = b
            def __setstate__(self, state):
                W, bias = state
                self.W = W
                self.b = bias

        class After(object):
            def __init__(self):
                self.x = 1
        '''
    )
    assert sorted(found) == ["After", "Net"]
    assert found["Net"].names == {"W", "b", "name"}
    assert found["Net"].unpacked == (("W", "b"),)
    assert str(found["After"]) == "x"


def test_lines_that_no_parser_takes() -> None:
    found = classes(
        "class A:\n    def __init__(self):\n        self.a = 1\n        ??? !\n        self.b = 2\n"
    )
    assert str(found["A"]) == "a, b"
    assert Reader().read(b"class A(:\n" * 200) is None
    assert Reader().read(b"class A:\n" + b"    ???\n" * 500) is None


def test_tabs_and_spaces_together() -> None:
    found = classes(
        b"class A:\n\tdef __init__(self):\n            self.a = 1\n\t    self.b = print_ >> 2\n\t    print 'x'\n"
    )
    assert "a" in found["A"].names


@pytest.mark.parametrize(
    "data",
    [
        "# -*- coding: latin-1 -*-\nclass A:\n    def __init__(self):\n        self.größe = 1\n".encode(
            "latin-1"
        ),
        "class A:\n    def __init__(self):\n        self.größe = 1\n".encode("utf-8-sig"),
        "# coding: koi8-r\nclass A:\n    def __init__(self):\n        self.a = 'ы'\n".encode(
            "koi8-r"
        ),
        b"# coding: nonsense\r\nclass A:\r\n    def __init__(self):\r\n        self.a = '\xff'\r\n",
        b"class A:\n    def __init__(self):\n        self.a = '\xe4'\n\x0c\0",
    ],
)
def test_encodings(data: bytes) -> None:
    assert len(classes(data)["A"].required) == 1


METHODS = st.lists(
    st.sampled_from(
        [
            "def f(self):\n    return self.a + 1",
            "def g(self, x):\n    self.g = x",
            "def h(me):\n    (me.h,\n     me.i) = x",
            "def j(self):\n    for self.j in x: pass",
            'def k(self):\n    """text\nself.k = 1\nclass B:\n    """\n    self.k == 1',
            "@property\ndef l(self):\n    return f(self.l, key=1)",
            "@deco(\n  1)\ndef m(self):\n    with x as self.m: pass",
            "async def n(self):\n    self.n: int = 3",
            "def o(self):\n    setattr(self, x, 1)",
            "x = 1\n# comment",
            "def p(self): self.p = 1",
            "def __init__(self):\n    self.q = 1\n    self.p()",
            "def r(self):\n    self.r += 1\n    self.s[0] = 1",
            "def t(self):\n    self.t = \\\n      1",
            "def u(self):\n    self.u \\\n      = 1",
            "def __getstate__(self):\n    return self.a, self.b",
        ]
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(METHODS, st.sampled_from(["    ", "\t", "  "]))
def test_a_reduced_class_has_the_same_layout(methods: list[str], indent: str) -> None:
    text = "class A(B):\n" + "\n\n".join(textwrap.indent(one, indent) for one in methods) + "\n"
    whole = list(_in_body(ast.parse(text).body, ""))
    tree = parsed(reduced(text))
    assert tree is not None
    assert list(_in_body(tree.body, "")) == whole
    assert Reader().read(text.encode()) == tuple({one.name: one for one in whole}.values())
