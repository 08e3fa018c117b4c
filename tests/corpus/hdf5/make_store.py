"""Keep frames in pandas' HDFStore, whose text is pickled, and what pandas finds in it.

    python make_store.py FOLDER COMPLIB

pandas 0.24.2 with PyTables 3.5.2 (Python 2.7): lzo; pandas 3 with PyTables 3.11 (Python 3.11): zlib.
"""

import gzip
import hashlib
import io
import json
import os
import sys

import numpy as np
import pandas as pd
import tables

folder, complib = sys.argv[1:]
name = "pandas-%s-py%d%d-store-%s" % ((pd.__version__,) + sys.version_info[:2] + (complib,))
path = os.path.join(folder, name)
os.makedirs(path)
target = os.path.join(path, "run.h5")
frame = pd.DataFrame({"loss": np.arange(6) / 4.0, "name": ["a", "bc", "d", "", "e", "f"]})
with pd.HDFStore(target, "w", complib=complib, complevel=9) as store:
    store.put("fixed", frame)
    store.put("mixed", pd.Series(["a", 3, None], dtype=object))
    store.append("table", frame, data_columns=["loss"], index=False, expectedrows=10)
with tables.open_file(target, "a") as file:
    words = file.create_vlarray("/", "words", tables.VLUnicodeAtom(), expectedrows=3)
    raw = file.create_vlarray("/", "raw", tables.VLStringAtom(), expectedrows=3)
    for word in (u"S\u00e4ure", u"", u"b"):
        words.append(word)
        raw.append(word.encode("utf-8"))
    file.root._v_attrs.settings = {"lr": 0.5, "layers": [8, 4]}
    file.root._v_attrs.nothing = None
    file.root._v_attrs.text = "ends in a stop."
with pd.HDFStore(target, "r") as store:
    loss = store["fixed"]["loss"].values
    text = store["fixed"]["name"].values
    mixed = store["mixed"].values
scalars = {"words/0": u"S\u00e4ure", "words/1": u"", "words/2": u"b", "raw/0": u"S\u00e4ure", "raw/1": u""}
scalars.update({"@settings/lr": 0.5, "@settings/layers/1": 4, "@nothing": None, "@text": "ends in a stop."})
scalars.update({"fixed/name/%d" % index: word for index, word in enumerate(text)})
scalars.update({"mixed/values/%d" % index: value for index, value in enumerate(mixed)})
with open(target, "rb") as file:  # pandas asks for chunks of a megabyte
    data = file.read()
with gzip.GzipFile(target + ".gz", "wb", mtime=0) as file:
    file.write(data)
os.remove(target)
column = {
    "dtype": "float64",
    "shape": [6],
    "sha256": hashlib.sha256(np.ascontiguousarray(loss).tobytes()).hexdigest(),
}
told = {
    "file": "run.h5.gz",
    "what": "frames with text and rows of objects, compressed by " + complib,
    "written_by": "pandas %s, PyTables %s" % (pd.__version__, tables.__version__),
    "arrays": {"fixed/loss": column, "table/loss": column},
    "scalars": scalars,
}
with io.open(os.path.join(path, "expected.json"), "w", encoding="utf-8") as out:
    out.write(u"%s\n" % json.dumps(told, indent=1, sort_keys=True))
