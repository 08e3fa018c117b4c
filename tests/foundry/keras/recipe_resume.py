"""Runs of each optimizer that a genuine Keras saved half-way, and what the network predicted at their end.

    python recipe_resume.py OUT.zip [tf]

It works with Keras 1.2, 2.x and, with ``tf``, ``tensorflow.keras``. The archive has ``resumed-<optimizer>.h5``, saved
after three batches (from tf.keras 2.12 on ``.keras``, too), and ``resumed-<optimizer>.npz``: the batch ``x0``, ``t0``, on which two more steps were done, and the predictions
``y0`` after these.
"""
from __future__ import print_function

import json
import os
import shutil
import sys
import tempfile
import zipfile

import numpy as np

if sys.argv[2:3] == ["tf"]:
    import tensorflow as tf

    keras, V, BACKEND = tf.keras, tf.__version__, "tensorflow"
else:
    import keras

    V, BACKEND = keras.__version__, keras.backend.backend()
    if BACKEND == "theano":
        import theano.ifelse  # which Keras 1 takes for granted
L = keras.layers
RELEASE = tuple(int(part) for part in V.split(".")[:2])
IS_1 = RELEASE[0] == 1
HAS_ARCHIVES = sys.argv[2:3] == ["tf"] and RELEASE >= (2, 12)
RATE = "learning_rate" if sys.argv[2:3] == ["tf"] else "lr"
RNG = np.random.RandomState(3)
FIRST = BACKEND == "theano"
SHAPE = (2, 6, 5) if FIRST else (6, 5, 2)
OPTIMIZERS = {
    "sgd": ("SGD", {RATE: 0.01, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {RATE: 0.002}),
    "adagrad": ("Adagrad", {RATE: 0.01}),
    "adadelta": ("Adadelta", {RATE: 1.0}),
    "adam": ("Adam", {RATE: 0.002}),
    "adamax": ("Adamax", {RATE: 0.002}),
    "nadam": ("Nadam", {RATE: 0.002}),
}


def made():
    if IS_1:
        convolution = L.Convolution2D(3, 3, 2, activation="relu", dim_ordering="th" if FIRST else "tf", input_shape=SHAPE)
        last = L.Dense(2, W_regularizer=None)
    else:
        order = "channels_first" if FIRST else "channels_last"
        convolution = L.Conv2D(3, (3, 2), activation="relu", data_format=order, input_shape=SHAPE)
        last = L.Dense(2)
    return keras.models.Sequential([convolution, L.BatchNormalization(axis=1 if FIRST else -1), L.Flatten(), L.Dense(4, activation="tanh"), last])


def main(target):
    folder = tempfile.mkdtemp()
    for name, (kind, options) in sorted(OPTIMIZERS.items()):
        model = made()
        model.compile(loss="mse", optimizer=getattr(keras.optimizers, kind)(**options))
        x, t = RNG.randn(8, *SHAPE).astype("float32"), RNG.randn(8, 2).astype("float32")
        for _ in range(3):
            model.train_on_batch(x, t)
        path = os.path.join(folder, "resumed-" + name)
        for suffix in (".h5", ".keras") if HAS_ARCHIVES else (".h5",):
            model.save(path + suffix)
        for _ in range(2):
            model.train_on_batch(x, t)
        np.savez(path + ".npz", x0=x, t0=t, y0=model.predict(x))
    with open(os.path.join(folder, "cases.json"), "w") as out:
        json.dump({"keras": V, "backend": BACKEND}, out)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(os.listdir(folder)):
            archive.write(os.path.join(folder, name), name)
    shutil.rmtree(folder)
    print(target, os.path.getsize(target))


if __name__ == "__main__":
    main(sys.argv[1])
