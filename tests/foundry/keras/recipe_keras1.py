"""Tiny models of each layer by a genuine Keras 0.3 or 1.x, with their predictions.

    python recipe_keras1.py OUT.zip [WORD...]

Words choose the cases whose names hold one of them. Convolutions with padding 'same' and transposed ones
need a compiler: run those without ``cxx=``.

Run under Python 2.7 with Keras, Theano 1.0.5 (KERAS_BACKEND=theano, THEANO_FLAGS=cxx=), h5py 2.10 and NumPy 1.16. The
archive has ``<case>.h5`` (before ``model.save``: ``<case>.json`` and ``<case>.h5`` of the weights) and
``<case>.npz``: the inputs ``x0``, ``x1``, ... and the prediction ``y``. A layer that the release lacks,
or that fails in it, is left out; ``cases.json`` says why.
"""
from __future__ import print_function

import json
import os
import shutil
import sys
import tempfile
import zipfile

import numpy as np
import theano.ifelse  # Keras uses it without importing it

import keras
from keras import backend as K
from keras import layers as L
from keras.models import Sequential

V = keras.__version__
IS_0 = V.startswith("0.")
RNG = np.random.RandomState(7)
BATCH = 2
CASES = []

if IS_0:
    from keras.layers import advanced_activations as A
    from keras.layers import convolutional as C
    from keras.layers import core, embeddings, noise, normalization, recurrent, wrappers

    class _All(object):
        def __getattr__(self, name):
            for module in (core, C, A, embeddings, noise, normalization, recurrent, wrappers):
                if hasattr(module, name):
                    return getattr(module, name)
            raise AttributeError(name)

    L = _All()
else:
    from keras.models import Model


def case(name, shape, integers=None):
    """Register a function that returns the layers of a sequence whose input has this shape."""

    def register(make):
        CASES.append((name, [shape], integers, lambda: sequence(make())))
        return make

    return register


def network(name, *shapes):
    """Register a function that returns a model with inputs of these shapes."""

    def register(make):
        CASES.append((name, list(shapes), None, make))
        return make

    return register


def sequence(layers):
    model = Sequential()
    for layer in layers:
        model.add(layer)
    return model


# Core.

for activation in ("softmax", "softplus", "relu", "tanh", "sigmoid", "hard_sigmoid", "linear", "softsign"):
    case("dense-" + activation, (5,))(
        lambda activation=activation: [L.Dense(4, activation=activation, input_shape=(5,))]
    )
    case("activation-" + activation, (5,))(
        lambda activation=activation: [L.Activation(activation, input_shape=(5,))]
    )

case("dense-no-bias", (5,))(lambda: [L.Dense(4, bias=False, input_dim=5)])
case("dense-regularized", (5,))(
    lambda: [
        L.Dense(4, init="he_normal", W_regularizer=keras.regularizers.l2(0.01),
                b_regularizer=keras.regularizers.l1(0.02),
                activity_regularizer=keras.regularizers.activity_l2(0.03),
                W_constraint=keras.constraints.maxnorm(2), b_constraint=keras.constraints.nonneg(),
                input_dim=5),
        L.Dense(3, init="glorot_uniform", W_regularizer=keras.regularizers.l1l2(0.1, 0.2),
                W_constraint=keras.constraints.unitnorm()),
    ]
)
case("mlp", (5,))(
    lambda: [L.Dense(6, input_dim=5), L.Activation("relu"), L.Dropout(0.5), L.Dense(3), L.Activation("softmax")]
)
case("reshape-permute", (2, 6))(
    lambda: [L.Reshape((3, 4), input_shape=(2, 6)), L.Permute((2, 1)), L.Flatten()]
)
case("repeat-vector", (4,))(lambda: [L.RepeatVector(3, input_shape=(4,))])
case("time-distributed-dense", (3, 4))(lambda: [L.TimeDistributedDense(5, input_shape=(3, 4))])
case("time-distributed", (3, 4))(lambda: [L.TimeDistributed(L.Dense(5), input_shape=(3, 4))])
case("maxout-dense", (5,))(lambda: [L.MaxoutDense(4, nb_feature=3, input_dim=5)])
case("highway", (5,))(lambda: [L.Highway(activation="tanh", input_dim=5), L.Dense(2)])
case("activity-regularization", (5,))(lambda: [L.ActivityRegularization(l1=0.1, input_shape=(5,)), L.Dense(2)])
case("lambda", (5,))(lambda: [L.Lambda(lambda x: x * 2, output_shape=(5,), input_shape=(5,))])
case("gaussian", (5,))(
    lambda: [L.GaussianNoise(0.3, input_shape=(5,)), L.GaussianDropout(0.4), L.Dense(3)]
)

# Activations with parameters.

case("leaky-relu", (5,))(lambda: [L.LeakyReLU(alpha=0.2, input_shape=(5,))])
case("prelu", (5,))(lambda: [L.PReLU(input_shape=(5,))])
case("elu", (5,))(lambda: [L.ELU(alpha=0.7, input_shape=(5,))])
case("thresholded-relu", (5,))(lambda: [L.ThresholdedReLU(theta=0.3, input_shape=(5,))])
case("thresholded-linear", (5,))(lambda: [L.ThresholdedLinear(theta=0.3, input_shape=(5,))])
case("parametric-softplus", (5,))(lambda: [L.ParametricSoftplus(0.3, 4.0, input_shape=(5,))])
case("srelu", (5,))(lambda: [L.SReLU(input_shape=(5,))])
case("prelu-shared", (2, 4, 4))(lambda: [L.PReLU(shared_axes=[2, 3], input_shape=(2, 4, 4))])

# Convolutions.

for mode in ("valid", "same"):
    for length in (3, 2):
        case("conv1d-%s-%d" % (mode, length), (8, 3))(
            lambda mode=mode, length=length: [
                L.Convolution1D(4, length, border_mode=mode, activation="relu", input_shape=(8, 3))
            ]
        )
    case("conv1d-stride-" + mode, (8, 3))(
        lambda mode=mode: [
            L.Convolution1D(4, 3, border_mode=mode, subsample_length=2, input_shape=(8, 3))
        ]
    )
    for order in ("th", "tf"):
        shape = (2, 7, 6) if order == "th" else (7, 6, 2)
        for rows, step in ((3, 1), (2, 1), (3, 2), (2, 2)):
            case("conv2d-%s-%s-%d-stride%d" % (order, mode, rows, step), shape)(
                lambda order=order, mode=mode, rows=rows, step=step, shape=shape: [
                    L.Convolution2D(3, rows, rows, border_mode=mode, dim_ordering=order,
                                    subsample=(step, step), input_shape=shape)
                ]
            )
        for kind in ("Max", "Average"):
            case("%s-pooling2d-%s-%s" % (kind.lower(), order, mode), shape)(
                lambda kind=kind, order=order, mode=mode, shape=shape: [
                    getattr(L, kind + "Pooling2D")((2, 2), border_mode=mode, dim_ordering=order,
                                                   input_shape=shape)
                ]
            )
for order in ("th", "tf"):
    shape = (2, 7, 6) if order == "th" else (7, 6, 2)
    solid = (2, 4, 5, 4) if order == "th" else (4, 5, 4, 2)
    case("cnn-" + order, shape)(
        lambda order=order, shape=shape: [
            L.Convolution2D(3, 3, 3, dim_ordering=order, activation="relu", input_shape=shape),
            L.MaxPooling2D((2, 2), dim_ordering=order), L.Flatten(), L.Dense(3, activation="softmax"),
        ]
    )
    case("upsampling-padding2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.Convolution2D(2, 1, 1, dim_ordering=order, input_shape=shape),
            L.ZeroPadding2D((1, 2), dim_ordering=order),
            L.UpSampling2D((2, 3), dim_ordering=order),
        ]
    )
    case("cropping2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.Convolution2D(2, 1, 1, dim_ordering=order, input_shape=shape),
            L.Cropping2D(((1, 2), (1, 1)), dim_ordering=order),
        ]
    )
    case("conv3d-" + order, solid)(
        lambda order=order, solid=solid: [
            L.Convolution3D(3, 2, 3, 2, dim_ordering=order, input_shape=solid),
        ]
    )
    case("upsampling-padding3d-" + order, solid)(
        lambda order=order, solid=solid: [
            L.Convolution3D(2, 1, 1, 1, dim_ordering=order, input_shape=solid),
            L.ZeroPadding3D((1, 0, 1), dim_ordering=order),
            L.UpSampling3D((2, 1, 2), dim_ordering=order),
        ]
    )
    case("pooling3d-" + order, solid)(
        lambda order=order, solid=solid: [
            L.MaxPooling3D((2, 2, 2), dim_ordering=order, input_shape=solid)
        ]
    )
    case("atrous2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.AtrousConvolution2D(3, 2, 2, atrous_rate=(2, 2), dim_ordering=order, input_shape=shape)
        ]
    )
    case("deconv2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.Deconvolution2D(3, 3, 3, (None, 3, 9, 8) if order == "th" else (None, 9, 8, 3),
                              dim_ordering=order, input_shape=shape)
        ]
    )
    case("deconv2d-stride-" + order, shape)(
        lambda order=order, shape=shape: [
            L.Deconvolution2D(3, 3, 3, (None, 3, 15, 13) if order == "th" else (None, 15, 13, 3),
                              subsample=(2, 2), dim_ordering=order, input_shape=shape)
        ]
    )
    case("separable2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.SeparableConvolution2D(3, 3, 3, depth_multiplier=2, dim_ordering=order, input_shape=shape)
        ]
    )
    case("locally-connected2d-" + order, shape)(
        lambda order=order, shape=shape: [
            L.LocallyConnected2D(3, 3, 2, dim_ordering=order, activation="tanh", input_shape=shape)
        ]
    )
    case("global-pooling2d-" + order, shape)(
        lambda order=order, shape=shape: [L.GlobalAveragePooling2D(dim_ordering=order, input_shape=shape)]
    )
    case("spatial-dropout2d-" + order, shape)(
        lambda order=order, shape=shape: [L.SpatialDropout2D(0.5, dim_ordering=order, input_shape=shape)]
    )
    case("conv-lstm2d-" + order, (3,) + shape)(
        lambda order=order, shape=shape: [
            L.ConvLSTM2D(2, 3, 3, dim_ordering=order, border_mode="same", return_sequences=True,
                         input_shape=(3,) + shape)
        ]
    )
    case("batch-normalization-" + order, shape)(
        lambda order=order, shape=shape: [
            L.BatchNormalization(axis=1 if order == "th" else -1, input_shape=shape)
        ]
    )
    case("time-distributed-conv-" + order, (3,) + shape)(
        lambda order=order, shape=shape: [
            L.TimeDistributed(L.Convolution2D(2, 3, 3, dim_ordering=order), input_shape=(3,) + shape)
        ]
    )
case("atrous1d", (8, 3))(lambda: [L.AtrousConvolution1D(4, 3, atrous_rate=2, input_shape=(8, 3))])
case("locally-connected1d", (8, 3))(lambda: [L.LocallyConnected1D(4, 3, subsample_length=2, input_shape=(8, 3))])
case("pooling1d", (8, 3))(
    lambda: [L.MaxPooling1D(2, input_shape=(8, 3)), L.AveragePooling1D(2, stride=1), L.UpSampling1D(3), L.ZeroPadding1D(1)]
)
case("cropping1d", (8, 3))(lambda: [L.Cropping1D((1, 2), input_shape=(8, 3))])
case("global-max-pooling1d", (8, 3))(lambda: [L.GlobalMaxPooling1D(input_shape=(8, 3))])

# Normalization.

case("batch-normalization", (5,))(
    lambda: [L.Dense(4, input_dim=5), L.BatchNormalization(epsilon=0.01, momentum=0.9)]
)
case("batch-normalization-mode1", (5,))(lambda: [L.BatchNormalization(mode=1, input_shape=(5,))])
case("batch-normalization-mode2", (5,))(lambda: [L.BatchNormalization(mode=2, input_shape=(5,))])

# Recurrent.

for kind in ("SimpleRNN", "GRU", "LSTM"):
    for sequences in (False, True):
        case("%s%s" % (kind.lower(), "-sequences" * sequences), (4, 3))(
            lambda kind=kind, sequences=sequences: [
                getattr(L, kind)(5, return_sequences=sequences, input_shape=(4, 3))
            ]
        )
    case("%s-backwards" % kind.lower(), (4, 3))(
        lambda kind=kind: [getattr(L, kind)(5, go_backwards=True, input_shape=(4, 3))]
    )
    case("%s-sigmoid" % kind.lower(), (4, 3))(
        lambda kind=kind: [
            getattr(L, kind)(5, input_shape=(4, 3), activation="relu",
                             **({} if kind == "SimpleRNN" else {"inner_activation": "sigmoid"}))
        ]
    )
case("lstm-options", (4, 3))(
    lambda: [
        L.LSTM(5, init="uniform", inner_init="identity", forget_bias_init="zero", dropout_W=0.2,
               dropout_U=0.3, W_regularizer=keras.regularizers.l2(0.1), consume_less="mem",
               input_dim=3, input_length=4)
    ]
)
for mode in ("sum", "mul", "ave", "concat"):
    case("bidirectional-" + mode, (4, 3))(
        lambda mode=mode: [
            L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode=mode, input_shape=(4, 3))
        ]
    )
case("bidirectional-gru", (4, 3))(lambda: [L.Bidirectional(L.GRU(2), input_shape=(4, 3))])
case("embedding", (4,), 11)(lambda: [L.Embedding(11, 3, input_length=4)])
case("embedding-dropout", (4,), 11)(lambda: [L.Embedding(11, 3, input_length=4, dropout=0.2), L.GRU(3)])
case("embedding-mask", (4,), 11)(lambda: [L.Embedding(11, 3, mask_zero=True, input_length=4), L.LSTM(3)])
case("masking", (4, 3))(lambda: [L.Masking(0.0, input_shape=(4, 3)), L.LSTM(3)])

# Networks.

for mode in ("sum", "mul", "concat", "ave", "max", "dot", "cos"):

    def branches(mode=mode):
        model = Sequential()
        left = sequence([L.Dense(4, input_dim=5)])
        right = sequence([L.Dense(4, input_dim=3, activation="tanh")])
        options = {"dot_axes": ([1], [1]) if IS_0 else 1} if mode in ("dot", "cos") else {}
        model.add(L.Merge([left, right], mode=mode, **options))
        if mode in ("sum", "concat"):
            model.add(L.Dense(2))
        return model

    network("merge-sequential-" + mode, (5,), (3,))(branches)

    def merged(mode=mode):
        a, b = L.Input(shape=(5,)), L.Input(shape=(3,))
        options = {"dot_axes": 1} if mode in ("dot", "cos") else {}
        both = L.merge([L.Dense(4)(a), L.Dense(4)(b)], mode=mode, **options)
        return Model(input=[a, b], output=L.Dense(2)(both) if mode != "cos" else both)

    network("merge-functional-" + mode, (5,), (3,))(merged)


@network("merge-dot-3d", (4, 3), (5, 3))
def dot_3d():
    a, b = L.Input(shape=(4, 3)), L.Input(shape=(5, 3))
    return Model(input=[a, b], output=L.merge([a, b], mode="dot", dot_axes=2))


@network("merge-lambda", (5,), (5,))
def merge_lambda():
    a, b = L.Input(shape=(5,)), L.Input(shape=(5,))
    return Model(input=[a, b], output=L.merge([a, b], mode=lambda x: x[0] - x[1], output_shape=(5,)))


@network("shared", (5,), (5,))
def shared():
    a, b = L.Input(shape=(5,), name="left"), L.Input(shape=(5,), name="right")
    dense = L.Dense(4, activation="tanh", name="twin")
    out = L.Dense(1, activation="sigmoid")(L.merge([dense(a), dense(b)], mode="concat"))
    return Model(input=[a, b], output=out)


@network("nested", (5,))
def nested():
    inside = sequence([L.Dense(6, input_dim=5, activation="relu"), L.BatchNormalization(), L.Dense(4)])
    a = L.Input(shape=(5,))
    return Model(input=a, output=L.Dense(2)(inside(a)))


@network("nested-functional", (5,))
def nested_functional():
    b = L.Input(shape=(5,))
    inside = Model(input=b, output=L.Dense(3, name="inner")(L.BatchNormalization(name="norm")(b)))
    a = L.Input(shape=(5,))
    return Model(input=a, output=L.Dense(2)(inside(a)))


@network("nested-sequential", (5,))
def nested_sequential():
    inside = sequence([L.Dense(6, input_dim=5), L.Activation("relu")])
    return sequence([inside, L.Dense(2)])


@network("two-outputs", (5,))
def two_outputs():
    a = L.Input(shape=(5,))
    hidden = L.Dense(4, activation="relu")(a)
    return Model(input=a, output=[L.Dense(2, name="first")(hidden), L.Dense(3, name="second")(hidden)])


@network("graph", (5,), (3,))
def graph():
    from keras.models import Graph

    model = Graph()
    model.add_input(name="one", input_shape=(5,))
    model.add_input(name="two", input_shape=(3,))
    model.add_node(L.Dense(4), name="hidden", input="one")
    model.add_node(L.Dense(4), name="beside", input="two")
    model.add_node(L.Dense(2), name="top", inputs=["hidden", "beside"], merge_mode="sum")
    model.add_output(name="out", input="top")
    return model


@network("compiled-rmsprop", (5,))
def compiled():
    model = sequence([L.Dense(4, input_dim=5, activation="relu"), L.Dense(3, activation="softmax")])
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(lr=0.002, rho=0.8))
    return model


@network("compiled-sgd", (5,))
def compiled_sgd():
    model = sequence([L.Dense(4, input_dim=5, activation="relu"), L.Dense(1)])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(lr=0.1, momentum=0.9, decay=0.01, nesterov=True))
    if IS_0:
        model.fit(RNG.randn(8, 5), RNG.randn(8, 1), nb_epoch=2, verbose=0)
    else:
        model.fit(RNG.randn(8, 5), RNG.randn(8, 1), nb_epoch=2, verbose=0)
    return model


def fill(model):
    """Weights that differ from what a fresh model has; those of variances stay positive."""
    for layer in getattr(model, "flattened_layers", None) or getattr(model, "layers", None) or list(model.nodes.values()):
        weights = layer.get_weights()
        layer.set_weights([
            RNG.uniform(0.5, 1.5, one.shape) if np.all(one == 1) else one + 0.4 * RNG.randn(*one.shape)
            for one in weights
        ])


def main(target):
    folder = tempfile.mkdtemp()
    notes = {"keras": V, "backend": K._BACKEND, "left out": {}}
    for name, shapes, integers, make in CASES:
        if sys.argv[2:] and not any(word in name for word in sys.argv[2:]):
            continue
        try:
            model = make()
            fill(model)
            xs = [
                RNG.randint(0, integers, (BATCH,) + shape).astype("int32") if integers
                else RNG.randn(BATCH, *shape).astype("float32")
                for shape in shapes
            ]
            if name == "masking":
                xs[0][:, -2:] = 0
            path = os.path.join(folder, name)
            if IS_0 or not hasattr(model, "save"):
                if not name.startswith("compiled"):
                    model.compile("sgd", {"out": "mse"} if name == "graph" else "mse")
                with open(path + ".json", "w") as file:
                    file.write(model.to_json())
                model.save_weights(path + ".h5", overwrite=True)
            else:
                model.save(path + ".h5")
            if name == "graph" and IS_0:
                y = model.predict(dict(zip(("one", "two"), xs)))["out"]
            else:
                y = model.predict(xs if len(xs) > 1 else xs[0])
            ys = y if isinstance(y, list) else [y]
            arrays = dict(("x%d" % i, x) for i, x in enumerate(xs))
            arrays.update(("y%d" % i, np.asarray(one)) for i, one in enumerate(ys))
            assert all(np.isfinite(one).all() for one in ys)
            np.savez(path + ".npz", **arrays)
        except Exception as error:
            for suffix in (".h5", ".json", ".npz"):
                if os.path.exists(os.path.join(folder, name + suffix)):
                    os.remove(os.path.join(folder, name + suffix))
            notes["left out"][name] = "%s: %s" % (type(error).__name__, str(error)[:150])
            print(name, notes["left out"][name])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cases.json", json.dumps(notes, indent=1, sort_keys=True))
        for name in sorted(os.listdir(folder)):
            archive.write(os.path.join(folder, name), name)
    shutil.rmtree(folder)
    print(target, os.path.getsize(target))


if __name__ == "__main__":
    main(sys.argv[1])
