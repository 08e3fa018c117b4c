"""Arrays and objects that are rarely pickled: python make.py OUT (Python 2.7 or 3, NumPy)."""

import collections
import functools
import operator
import pickle
import sys

import numpy as np
import numpy.ma.mrecords


class Readings(np.ma.MaskedArray):
    pass


masked = np.ma.array([1, "a"], mask=[0, 1], dtype=object)
records = numpy.ma.mrecords.fromarrays([np.array([1, 2], "i4"), np.array([3.0, 4.0])], names="a,b")
records.mask = [False, True]
readings = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0], fill_value=-9.0).view(Readings)
rng = np.random.RandomState(3)
found = {
    "matrix": np.matrix([["a", 1], [None, 2.5]], dtype=object),
    "masked": masked,
    "records": records,
    "readings": readings,
    "rng": rng,
    "empty": collections.deque(maxlen=5),
    "method": functools.partial(int, base=2),
}
if str is not bytes:  # Python 2 pickles no methodcaller
    found["called"] = operator.methodcaller("f", 1, k=2)
if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
    found["text"] = np.array(["a", "a longer text, kept elsewhere", ""], np.dtypes.StringDType())
    found["missing"] = np.array(["a", None], np.dtypes.StringDType(na_object=None))
with open(sys.argv[1], "wb") as file:
    pickle.dump(found, file, 2)
