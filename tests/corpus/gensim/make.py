"""Save word vectors and an index in pieces, as gensim does with large arrays by itself.

    python make.py FOLDER

gensim 3.8.3 (Python 3.6, NumPy 1.16, SciPy 1.2) and 4.3.3 (Python 3.11, NumPy 1.26).
"""

import hashlib
import json
import os
import sys

import gensim
import numpy as np

texts = [["a", "b", "c"], ["b", "c", "d"], ["a", "d", "e"]] * 5
is_old = gensim.__version__ < "4"


def told(path, file, arrays):
    found = {}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        found[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
    answer = {
        "file": file,
        "what": "word vectors or an index, whose arrays stand in files beside the pickle",
        "written_by": "gensim %s, NumPy %s" % (gensim.__version__, np.__version__),
        "arrays": found,
        "scalars": {},
    }
    with open(os.path.join(path, "expected.json"), "w") as out:
        out.write(json.dumps(answer, indent=1, sort_keys=True) + "\n")


def place(kind):
    version = "%d%d" % sys.version_info[:2]
    path = os.path.join(sys.argv[1], "gensim-%s-py%s-%s" % (gensim.__version__, version, kind))
    os.makedirs(path)
    return path


def words():
    path = place("word2vec")
    file = os.path.join(path, "words.model")
    size = {"size": 4} if is_old else {"vector_size": 4}
    gensim.models.Word2Vec(texts, min_count=1, seed=1, workers=1, **size).save(file, sep_limit=10)
    model = gensim.models.Word2Vec.load(file)
    inner = model.trainables if is_old else model
    name = "trainables/syn1neg" if is_old else "syn1neg"
    told(path, "words.model", {"wv/vectors": model.wv.vectors, name: inner.syn1neg})


def index(suffix):
    path = place("index" + suffix.replace(".", "-"))
    names = gensim.corpora.Dictionary(texts)
    bags = [names.doc2bow(text) for text in texts]
    found = gensim.similarities.SparseMatrixSimilarity(bags, num_features=len(names))
    file = os.path.join(path, "index" + suffix)
    found.save(file, sep_limit=10)
    matrix = gensim.similarities.SparseMatrixSimilarity.load(file).index
    parts = ("data", "indices", "indptr")
    told(path, "index" + suffix, {"index/" + part: getattr(matrix, part) for part in parts})


words()
index("")
index(".gz")
