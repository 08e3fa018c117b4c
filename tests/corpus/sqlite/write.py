"""Write a database of results as a program of one's own does, and what `sqlite3` finds in it.

    python write.py FOLDER
"""

import hashlib
import io
import json
import os
import sqlite3
import sys

import numpy as np

folder = sys.argv[1]
os.makedirs(folder)
path = os.path.join(folder, "results.sqlite")
file = sqlite3.connect(path)
file.execute("PRAGMA page_size=512")
file.execute(
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, seed INT, loss REAL, comment TEXT, weights BLOB)"
)
chance = np.random.RandomState(2)
for number in range(40):
    weights = chance.randn(number + 1).astype("<f4").tobytes()
    loss = None if number == 3 else float(number) / 4
    comment = u"S\u00e4ure %d" % number
    file.execute(
        "INSERT INTO runs (seed, loss, comment, weights) VALUES (?, ?, ?, ?)",
        (number * 10 ** (number // 3), loss, comment, sqlite3.Binary(weights)),
    )
file.execute("CREATE INDEX by_loss ON runs (loss)")
file.execute("CREATE VIEW best AS SELECT * FROM runs WHERE loss < 1")
file.execute("DELETE FROM runs WHERE id = 7")
file.commit()

rows = file.execute("SELECT id, seed, loss, comment, weights FROM runs ORDER BY id").fetchall()
file.close()
arrays, scalars = {}, {}
for place, (name, dtype) in enumerate((("id", "<i8"), ("seed", "<i8"), ("loss", "<f8"))):
    values = [np.nan if row[place] is None else row[place] for row in rows]
    array = np.array(values, dtype)
    arrays["runs/" + name] = {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }
for index, row in enumerate(rows):
    scalars["runs/comment/%d" % index] = row[3]
    data = bytearray(bytes(row[4]))
    scalars["runs/weights/%d" % index] = {"bytes_hex": "".join("%02x" % byte for byte in data)}
told = {
    "file": "results.sqlite",
    "what": "a table of results, a view, an index, a deleted row",
        "written_by": "SQLite %s, Python %d.%d.%d" % ((sqlite3.sqlite_version,) + sys.version_info[:3]),
    "arrays": arrays,
    "scalars": scalars,
}
with io.open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as out:
    out.write(u"%s\n" % json.dumps(told, indent=1, sort_keys=True))
