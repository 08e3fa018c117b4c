"""Write models of xgboost, LightGBM or gensim with a genuine old release, and what they answered.

    PYTHONPATH=RELEASE python make.py xgboost OUT      # also: lightgbm, gensim

OUT/<library>-<release>.zip holds a pickle of each object and ``answers.json``. gensim's releases of before
4.3 need an empty module ``smart_open`` with a function ``open`` or ``smart_open`` on the path: they do not
use it here.
"""

import io
import json
import os
import pickle
import sys
import zipfile

import numpy as np

X = np.sin(np.arange(240.0)).reshape(60, 4)
Y = np.arange(60) % 3
TWO = (X[:, 0] + X[:, 1] > 0).astype(int)
TEXTS = np.array(["no", "yes"])[TWO]
HOLES = np.where(np.cos(np.arange(240.0)).reshape(60, 4) > 0.8, np.nan, X)


def answer(values):
    """What a model answered, as a list of float64."""
    return np.asarray(values, "f8").tolist()


def of_xgboost():
    """Objects of xgboost: name -> object, how it is asked, what it answered."""
    import xgboost as xgb

    data = xgb.DMatrix(X, label=TWO)
    booster = xgb.train({"max_depth": 2, "objective": "binary:logistic"}, data, 4)
    yield "booster", booster, "booster", booster.predict(xgb.DMatrix(X))
    linear = xgb.train(
        {"booster": "gblinear", "objective": "reg:squarederror" if xgb.__version__ >= "0.9" else "reg:linear"}, data, 4
    )
    yield "gblinear", linear, "booster", linear.predict(xgb.DMatrix(X))
    dart = xgb.train({"booster": "dart", "rate_drop": 0.5, "max_depth": 2, "seed": 1}, data, 4)
    whole = {"ntree_limit": 4} if xgb.__version__ < "1" else {}  # else it drops trees at random, as in training
    yield "dart", dart, "booster", dart.predict(xgb.DMatrix(X), **whole)
    few = dict(n_estimators=5, max_depth=2, learning_rate=0.4)
    for name, model, x, y in (
        ("classifier", xgb.XGBClassifier(**few), X, TWO),
        ("three", xgb.XGBClassifier(**few), X, Y),
        ("holes", xgb.XGBClassifier(subsample=0.8, **few), HOLES, TWO),
        ("texts", xgb.XGBClassifier(**few), X, TEXTS),
    ):
        try:
            model.fit(x, y)
        except (AttributeError, ValueError) as error:  # since 1.6, labels are numbers
            sys.stderr.write("%s: %s\n" % (name, error))
            continue
        yield name, model, "predict_proba", model.predict_proba(x)
    regressor = xgb.XGBRegressor(base_score=0.3, **few).fit(X, X[:, 0] * 2)
    yield "regressor", regressor, "predict", regressor.predict(X)
    ranker = xgb.XGBRanker(**few) if hasattr(xgb, "XGBRanker") else None
    if ranker is not None:
        ranker.fit(X, Y, group=[20, 20, 20])
        yield "ranker", ranker, "predict", ranker.predict(X)
    early = xgb.XGBRegressor(n_estimators=60, max_depth=3, learning_rate=0.9)
    asked = {"eval_set": [(X[40:], -X[40:, 0])], "verbose": False}
    if "early_stopping_rounds" in early.get_params():
        early.set_params(early_stopping_rounds=2)
    else:
        asked["early_stopping_rounds"] = 2
    early.fit(X[:40], X[:40, 0], **asked)
    yield "early", early, "predict", early.predict(X)


def of_lightgbm():
    """Objects of LightGBM."""
    import lightgbm as lgb

    few = dict(n_estimators=5, num_leaves=4, min_child_samples=2, n_jobs=1)
    for name, model, x, y in (
        ("classifier", lgb.LGBMClassifier(**few), X, TWO),
        ("three", lgb.LGBMClassifier(**few), X, Y),
        ("texts", lgb.LGBMClassifier(**few), X, TEXTS),
        ("holes", lgb.LGBMClassifier(class_weight="balanced", **few), HOLES, TWO),
    ):
        model.fit(x, y)
        yield name, model, "predict_proba", model.predict_proba(x)
        if name == "classifier":
            yield "booster", model.booster_, "booster", model.booster_.predict(X)
    regressor = lgb.LGBMRegressor(objective="regression_l1", **few).fit(X, X[:, 0])
    yield "regressor", regressor, "predict", regressor.predict(X)
    random = lgb.LGBMRegressor(boosting_type="rf", subsample=0.7, subsample_freq=1, colsample_bytree=0.8, **few)
    yield "forest", random.fit(X, X[:, 0]), "predict", random.predict(X)
    ranker = lgb.LGBMRanker(**few).fit(X, Y, group=[20, 20, 20])
    yield "ranker", ranker, "predict", ranker.predict(X)
    early = lgb.LGBMRegressor(n_estimators=60, learning_rate=0.9, min_child_samples=2, n_jobs=1)
    asked = {"eval_set": [(X[40:], -X[40:, 0])]}
    if hasattr(lgb, "early_stopping"):
        asked["callbacks"] = [lgb.early_stopping(2)]
    else:
        asked.update(early_stopping_rounds=2, verbose=False)
    early.fit(X[:40], X[:40, 0], **asked)
    yield "early", early, "predict", early.predict(X)


def of_gensim():
    """Vectors of gensim: how near the other words are to one."""
    import gensim

    words = ["tree", "forest", "leaf", "root", "sea"] * 4
    texts = [[words[(a * b) % 5] for b in range(1, 9)] for a in range(20)]
    size = "vector_size" if gensim.__version__ >= "4" else "size"
    model = gensim.models.Word2Vec(texts, min_count=1, workers=1, seed=1, **{size: 6})
    yield "vectors", model.wv, "similar", [model.wv.similarity("tree", w) for w in words[:5]]
    model.wv.most_similar("tree")
    yield "asked", model.wv, "similar", [model.wv.similarity("tree", w) for w in words[:5]]
    yield "model", model, "refused", []
    text = io.BytesIO(b"2 3\na 1 2 3\nb 4 5 6\n")
    path = "/tmp/vectors-%d.txt" % os.getpid()
    with open(path, "wb") as file:
        file.write(text.getvalue())
    loaded = gensim.models.KeyedVectors.load_word2vec_format(path)
    os.remove(path)
    yield "text", loaded, "vector", loaded["b"]


def main(library, out):
    """Write the archive."""
    module = __import__(library)
    makers = {"xgboost": of_xgboost, "lightgbm": of_lightgbm, "gensim": of_gensim}
    asked = {}
    name = "%s-%s.zip" % (library, module.__version__)
    with zipfile.ZipFile(os.path.join(out, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, made, how, answers in makers[library]():
            archive.writestr("%s.pkl" % name, pickle.dumps(made, 2))
            asked[name] = {"how": how, "answers": answer(answers)}
        archive.writestr("answers.json", json.dumps(asked, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
