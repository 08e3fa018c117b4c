"""An array of one object, by protocol 0: the wrapper, then a pickle of its own.

Python 2.7, joblib 0.11: python make.py OUT.
"""

import sys

import joblib
import numpy as np

joblib.dump(np.array(None), sys.argv[1], protocol=0)
