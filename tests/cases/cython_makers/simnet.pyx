# A small simulation, as a group that compiles its inner loop writes one.
import numpy as np


def newObj(cls):
    return cls.__new__(cls)


cdef class Walker:
    """Pickled by what Cython makes: __pyx_unpickle_Walker(type, checksum, state)."""

    cdef public double x, y
    cdef public int steps
    cdef public object trail

    def __init__(self, x=0.0, y=0.0, steps=0, trail=None):
        self.x, self.y, self.steps, self.trail = x, y, steps, trail


cdef class Named(Walker):
    """With a __dict__, which goes as the last item of the state."""

    cdef public str name
    cdef dict __dict__


cdef class Empty:
    pass


cdef class Point:
    """Numbers only: the state is the third argument of the call, and no BUILD follows."""

    cdef public double x
    cdef public int n

    def __init__(self, x, n):
        self.x, self.n = x, n


class Child(Named):
    """A Python class upon it."""


cdef class Grid:
    """Pickled by hand: newObj(cls) and __getstate__."""

    cdef object cells
    cdef double pitch

    def __init__(self, cells, pitch):
        self.cells, self.pitch = cells, pitch

    def __reduce__(self):
        return newObj, (type(self),), self.__getstate__()

    def __getstate__(self):
        return (self.cells, self.pitch)

    def __setstate__(self, state):
        self.cells, self.pitch = state


cdef class Table:
    """The same with a dict as state."""

    cdef object rows

    def __init__(self, rows):
        self.rows = rows

    def __reduce__(self):
        return newObj, (type(self),), {"rows": self.rows}

    def __setstate__(self, state):
        self.rows = state["rows"]
