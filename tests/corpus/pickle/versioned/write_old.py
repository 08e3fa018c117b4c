"""Write the pickles beside this file: run it with Python 2.7 and with 3.6 (nothing else is needed).

    python2.7 write_old.py && python3.6 write_old.py

The classes are those of a laboratory before it knew of `persist`; the module is
`lab_of_old`, which no longer exists as it is here.
"""
import os
import pickle
import sys
import types

lab = types.ModuleType("lab_of_old")
sys.modules["lab_of_old"] = lab


class Classic:  # an old-style class under Python 2
    pass


class Rates(object):
    """Its state is a bare tuple."""

    def __getstate__(self):
        return (self.rate, self.decay)

    def __setstate__(self, state):
        self.rate, self.decay = state


class Secret(object):
    """A private attribute: ``_Secret__key``."""

    def __init__(self):
        self.__key = 7
        self.name = "s"


class Slotted(object):
    __slots__ = ("width", "height")


class Stack(list):
    pass


class Book(dict):
    pass


class Node(object):
    """Points in a circle."""


class Base(object):
    pass


class Heir(Base):
    pass


class Trouble(Exception):
    pass


for cls in (Classic, Rates, Secret, Slotted, Stack, Book, Node, Base, Heir, Trouble):
    cls.__module__ = "lab_of_old"
    setattr(lab, cls.__name__, cls)


def everything():
    classic = Classic()
    classic.W, classic.b = [1.0, 2.0], 0.5
    rates = Rates()
    rates.rate, rates.decay = 0.1, 0.99
    slotted = Slotted()
    slotted.width, slotted.height = 3, 4
    stack = Stack([classic, rates])
    stack.label = "st"
    book = Book(a=classic)
    book.label = "bo"
    first, second = Node(), Node()
    first.next, second.next = second, first
    first.number, second.number = 1, 2
    heir = Heir()
    heir.W, heir.depth = [3.0], 2
    trouble = Trouble("what", 3)
    trouble.code = 5
    return {
        "classic": classic, "rates": rates, "secret": Secret(), "slotted": slotted, "stack": stack,
        "book": book, "circle": first, "heir": heir, "trouble": trouble, "shared": [classic, classic],
    }


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        name = "lab-py%d%d-p%d.pkl" % (sys.version_info[0], sys.version_info[1], protocol)
        things = everything()
        if protocol < 2:
            del things["slotted"]  # Python refuses: "a class that defines __slots__ without ..."
        with open(os.path.join(here, name), "wb") as file:
            pickle.dump(things, file, protocol)
