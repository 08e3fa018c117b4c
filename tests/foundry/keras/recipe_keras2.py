"""Tiny models of each layer by a genuine Keras 2, tf.keras or Keras 3, with their predictions.

    python recipe_keras2.py OUT.zip [tf] [WORD...]

With ``tf`` it uses ``tensorflow.keras``; words choose the cases whose names hold one of them. The archive has ``<case>.h5`` (from
tf.keras 2.12 and Keras 3 on ``<case>.keras``, too) and ``<case>.npz``: the inputs ``x0``, ``x1``, ... and the predictions ``y0``, ... A layer that the
release lacks, or that fails in it, is left out; ``cases.json`` says why.
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

    keras = tf.keras
    BACKEND = "tensorflow"
    V = tf.__version__
else:
    import keras

    BACKEND = keras.backend.backend()
    V = keras.__version__
L = keras.layers
Model, Sequential = keras.models.Model, keras.models.Sequential
IS_3 = V.startswith("3.") and sys.argv[2:3] != ["tf"]
# Archives came with 2.12.
HAS_ARCHIVES = IS_3 or (sys.argv[2:3] == ["tf"] and tuple(map(int, V.split(".")[:2])) >= (2, 12))
RNG = np.random.RandomState(7)
BATCH = 2
CASES = []


def case(name, shape, integers=None):
    def register(make):
        CASES.append((name, [shape], integers, lambda: sequence(shape, make(), integers)))
        return make

    return register


def network(name, *shapes):
    def register(make):
        CASES.append((name, list(shapes), None, make))
        return make

    return register


def sequence(shape, layers, integers=None):
    if shape is None:
        return Sequential(layers)
    if IS_3:
        return Sequential([keras.Input(shape, dtype="int32" if integers else "float32")] + layers)
    model = Sequential()
    # What input_shape= does; an Embedding knows its input.
    if not isinstance(layers[0], L.Embedding):
        layers[0].batch_input_shape = layers[0]._batch_input_shape = (None,) + tuple(shape)
        if getattr(layers[0], "dtype", None) is None and sys.argv[2:3] != ["tf"]:
            layers[0].dtype = "float32"
    for layer in layers:
        model.add(layer)
    return model


for activation in ("softmax", "softplus", "relu", "tanh", "sigmoid", "hard_sigmoid", "linear", "softsign", "elu", "selu", "exponential", "swish", "gelu"):
    case("dense-" + activation, (5,))(lambda activation=activation: [L.Dense(4, activation=activation)])
    case("activation-" + activation, (5,))(lambda activation=activation: [L.Activation(activation)])
case("dense-no-bias", (5,))(lambda: [L.Dense(4, use_bias=False)])
case("dense-regularized", (5,))(
    lambda: [
        L.Dense(4, kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.l2(0.01),
                bias_regularizer=keras.regularizers.l1(0.02), activity_regularizer=keras.regularizers.l2(0.03),
                kernel_constraint=keras.constraints.max_norm(2.0), bias_constraint=keras.constraints.non_neg()),
        L.Dense(3, kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_in", "normal"),
                kernel_regularizer=keras.regularizers.l1_l2(0.1, 0.2),
                kernel_constraint=keras.constraints.min_max_norm(0.1, 1.5)),
    ]
)
case("mlp", (5,))(lambda: [L.Dense(6), L.Activation("relu"), L.Dropout(0.5), L.Dense(3), L.Activation("softmax")])
case("reshape-permute", (2, 6))(lambda: [L.Reshape((3, 4)), L.Permute((2, 1)), L.Flatten()])
case("repeat-vector", (4,))(lambda: [L.RepeatVector(3)])
case("time-distributed", (3, 4))(lambda: [L.TimeDistributed(L.Dense(5))])
case("time-distributed-conv", (3, 7, 6, 2))(lambda: [L.TimeDistributed(L.Conv2D(2, 3))])
case("activity-regularization", (5,))(lambda: [L.ActivityRegularization(l1=0.1), L.Dense(2)])
case("lambda", (5,))(lambda: [L.Lambda(lambda x: x * 2)])
case("noise", (5,))(lambda: [L.GaussianNoise(0.3), L.GaussianDropout(0.4), L.AlphaDropout(0.1), L.Dense(3)])
case("leaky-relu", (5,))(lambda: [L.LeakyReLU(0.2)])
case("prelu", (5,))(lambda: [L.PReLU()])
case("prelu-shared", (4, 4, 2))(lambda: [L.PReLU(shared_axes=[1, 2])])
case("elu", (5,))(lambda: [L.ELU(0.7)])
case("thresholded-relu", (5,))(lambda: [L.ThresholdedReLU(0.3)])
case("softmax", (3, 5))(lambda: [L.Softmax(axis=1)])
case("relu-layer", (5,))(lambda: [L.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2)])
case("relu6", (5,))(lambda: [L.ReLU(6.0)])

for padding in ("valid", "same", "causal"):
    for size, stride in ((3, 1), (2, 1), (3, 2), (2, 2)):
        case("conv1d-%s-%d-stride%d" % (padding, size, stride), (8, 3))(
            lambda padding=padding, size=size, stride=stride: [
                L.Conv1D(4, size, strides=stride, padding=padding, activation="relu")
            ]
        )
for order in ("channels_last", "channels_first"):
    shape = (2, 7, 6) if order == "channels_first" else (7, 6, 2)
    solid = (2, 4, 5, 4) if order == "channels_first" else (4, 5, 4, 2)
    for padding in ("valid", "same"):
        for size, stride in ((3, 1), (2, 1), (3, 2), (2, 2)):
            case("conv2d-%s-%s-%d-stride%d" % (order, padding, size, stride), shape)(
                lambda order=order, padding=padding, size=size, stride=stride: [
                    L.Conv2D(3, size, strides=stride, padding=padding, data_format=order)
                ]
            )
        for kind in ("Max", "Average"):
            case("%s-pooling2d-%s-%s" % (kind.lower(), order, padding), shape)(
                lambda kind=kind, order=order, padding=padding: [
                    getattr(L, kind + "Pooling2D")(2, padding=padding, data_format=order)
                ]
            )
        case("transpose2d-%s-%s" % (order, padding), shape)(
            lambda order=order, padding=padding: [
                L.Conv2DTranspose(3, 3, strides=2, padding=padding, data_format=order)
            ]
        )
    case("cnn-" + order, shape)(
        lambda order=order: [
            L.Conv2D(3, 3, data_format=order, activation="relu"), L.BatchNormalization(axis=1 if order == "channels_first" else -1),
            L.MaxPooling2D(2, data_format=order), L.Flatten(data_format=order), L.Dense(3, activation="softmax"),
        ]
    )
    case("dilated2d-" + order, shape)(lambda order=order: [L.Conv2D(3, 2, dilation_rate=2, data_format=order)])
    case("conv3d-" + order, solid)(lambda order=order: [L.Conv3D(3, (2, 3, 2), data_format=order)])
    case("transpose3d-" + order, solid)(lambda order=order: [L.Conv3DTranspose(3, 2, data_format=order)])
    case("separable2d-" + order, shape)(
        lambda order=order: [L.SeparableConv2D(3, 3, depth_multiplier=2, data_format=order, activation="hard_sigmoid")]
    )
    case("depthwise2d-" + order, shape)(lambda order=order: [L.DepthwiseConv2D(3, depth_multiplier=2, data_format=order)])
    case("locally-connected2d-" + order, shape)(
        lambda order=order: [L.LocallyConnected2D(3, (3, 2), strides=(2, 1), data_format=order, activation="tanh")]
    )
    case("upsampling-padding2d-" + order, shape)(
        lambda order=order: [
            L.ZeroPadding2D(((1, 2), (0, 1)), data_format=order), L.UpSampling2D((2, 3), data_format=order),
            L.Cropping2D(((1, 0), (2, 1)), data_format=order),
        ]
    )
    case("bilinear-" + order, shape)(lambda order=order: [L.UpSampling2D(2, interpolation="bilinear", data_format=order)])
    case("global-pooling2d-" + order, shape)(lambda order=order: [L.GlobalAveragePooling2D(data_format=order)])
    case("spatial-dropout2d-" + order, shape)(lambda order=order: [L.SpatialDropout2D(0.5, data_format=order)])
    case("conv-lstm2d-" + order, (3,) + shape)(
        lambda order=order: [L.ConvLSTM2D(2, 3, data_format=order, padding="same", return_sequences=True)]
    )
case("batch-normalization", (5,))(lambda: [L.BatchNormalization(epsilon=0.01, momentum=0.9)])
case("batch-normalization-bare", (5,))(lambda: [L.BatchNormalization(center=False, scale=False)])
case("layer-normalization", (3, 5))(lambda: [L.LayerNormalization(epsilon=0.01)])
case("group-normalization", (6,))(lambda: [L.GroupNormalization(groups=3)])
case("locally-connected1d", (8, 3))(lambda: [L.LocallyConnected1D(4, 3, strides=2)])
case("separable1d", (8, 3))(lambda: [L.SeparableConv1D(4, 3)])
case("pooling1d", (8, 3))(
    lambda: [L.MaxPooling1D(2), L.AveragePooling1D(2, strides=1), L.UpSampling1D(3), L.ZeroPadding1D(1), L.Cropping1D((1, 2))]
)
case("global-max-pooling1d", (8, 3))(lambda: [L.GlobalMaxPooling1D()])

for kind in ("SimpleRNN", "GRU", "LSTM"):
    for options in ({}, {"return_sequences": True}, {"go_backwards": True}, {"use_bias": False}, {"unroll": True}):
        case("%s-%s" % (kind.lower(), "-".join(sorted(options))), (4, 3))(
            lambda kind=kind, options=options: [getattr(L, kind)(5, **options)]
        )
    if kind != "SimpleRNN":
        for activation in ("sigmoid", "hard_sigmoid"):
            case("%s-%s" % (kind.lower(), activation), (4, 3))(
                lambda kind=kind, activation=activation: [
                    getattr(L, kind)(5, recurrent_activation=activation, activation="relu")
                ]
            )
    case("%s-cell" % kind.lower(), (4, 3))(lambda kind=kind: [L.RNN(getattr(L, kind + "Cell")(5))])
case("gru-reset-after", (4, 3))(lambda: [L.GRU(5, reset_after=True, recurrent_activation="hard_sigmoid")])
case("gru-reset-before", (4, 3))(lambda: [L.GRU(5, reset_after=False)])
case("cudnn-lstm", (4, 3))(lambda: [L.CuDNNLSTM(5)])
case("rnn-stacked", (4, 3))(lambda: [L.RNN([L.LSTMCell(4), L.LSTMCell(3)])])
case("lstm-dropout", (4, 3))(
    lambda: [L.LSTM(5, dropout=0.2, recurrent_dropout=0.3, unit_forget_bias=False, implementation=1,
                    kernel_regularizer=keras.regularizers.l2(0.1))]
)
for mode in ("sum", "mul", "ave", "concat"):
    case("bidirectional-" + mode, (4, 3))(
        lambda mode=mode: [L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode=mode)]
    )
case("bidirectional-gru", (4, 3))(lambda: [L.Bidirectional(L.GRU(2))])
case("embedding", (4,), 11)(lambda: [L.Embedding(11, 3, input_length=4)] if not IS_3 else [L.Embedding(11, 3)])
case("embedding-mask", (4,), 11)(lambda: [L.Embedding(11, 3, mask_zero=True), L.LSTM(3)])
case("masking", (4, 3))(lambda: [L.Masking(0.0), L.LSTM(3)])

for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):

    def merged(kind=kind):
        a, b = keras.Input((5,)), keras.Input((3,))
        return Model([a, b], L.Dense(2)(getattr(L, kind)()([L.Dense(4)(a), L.Dense(4)(b)])))

    network("merge-" + kind.lower(), (5,), (3,))(merged)


@network("merge-dot", (4, 3), (5, 3))
def dot():
    a, b = keras.Input((4, 3)), keras.Input((5, 3))
    return Model([a, b], L.Dot(axes=2, normalize=True)([a, b]))


@network("shared", (5,), (5,))
def shared():
    a, b = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    dense = L.Dense(4, activation="tanh", name="twin")
    return Model([a, b], L.Dense(1, activation="sigmoid")(L.concatenate([dense(a), dense(b)])))


@network("nested", (5,))
def nested():
    inside = Sequential([L.Dense(6, activation="relu", input_shape=(5,)), L.BatchNormalization(), L.Dense(4)])
    a = keras.Input((5,))
    return Model(a, L.Dense(2)(inside(a)))


@network("nested-functional", (5,))
def nested_functional():
    b = keras.Input((5,))
    inside = Model(b, L.Dense(3, name="inner")(L.BatchNormalization(name="norm")(b)), name="encoder")
    a = keras.Input((5,))
    return Model(a, L.Dense(2)(inside(a)))


@network("nested-frozen", (5,))
def nested_frozen():
    inside = Sequential([L.Dense(6, activation="relu", input_shape=(5,)), L.BatchNormalization(), L.Dense(4)])
    inside.layers[0].trainable = False
    model = Sequential([inside, L.Dense(2)])
    model.build((None, 5))
    return model


@network("two-outputs", (5,))
def two_outputs():
    a = keras.Input((5,))
    hidden = L.Dense(4, activation="relu")(a)
    return Model(a, [L.Dense(2, name="first")(hidden), L.Dense(3, name="second")(hidden)])


@network("residual-add-op", (5,))
def operators():
    a = keras.Input((5,))
    hidden = L.Dense(5)(a)
    return Model(a, L.Dense(2)((hidden + a) * 2.0))


@network("lstm-states", (4, 3))
def states():
    a = keras.Input((4, 3))
    _, h, c = L.LSTM(4, return_state=True)(a)
    b = L.RepeatVector(3)(h)
    return Model(a, L.LSTM(4, return_sequences=True)(b, initial_state=[h, c]))


@network("attention", (4, 3), (5, 3))
def attention():
    a, b = keras.Input((4, 3)), keras.Input((5, 3))
    return Model([a, b], L.Attention()([a, b]))


@network("multi-head-attention", (4, 3))
def multi_head():
    a = keras.Input((4, 3))
    return Model(a, L.MultiHeadAttention(2, 4)(a, a))


@network("compiled-adam", (5,))
def compiled():
    model = Sequential([L.Dense(4, activation="relu", input_shape=(5,)), L.Dense(3, activation="softmax")])
    name = "learning_rate" if IS_3 or sys.argv[2:3] == ["tf"] else "lr"
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], optimizer=keras.optimizers.Adam(**{name: 0.002}))
    model.fit(RNG.randn(8, 5), np.eye(3)[RNG.randint(0, 3, 8)], verbose=0)
    return model


def fill(model):
    """Weights that differ from what a fresh model has; those of variances stay positive."""
    for layer in model.layers:
        layer.set_weights([
            RNG.uniform(0.5, 1.5, one.shape) if one.size and np.all(one == 1) else one + 0.4 * RNG.randn(*one.shape)
            for one in layer.get_weights()
        ])


def main(target):
    folder = tempfile.mkdtemp()
    notes = {"keras": getattr(keras, "__version__", V), "release": V, "backend": BACKEND, "left out": {}}
    words = [word for word in sys.argv[2:] if word != "tf"]
    for name, shapes, integers, make in CASES:
        if words and not any(word in name for word in words):
            continue
        try:
            if BACKEND == "tensorflow" and "channels_first" in name:
                raise NotImplementedError("TensorFlow on a CPU computes few of these, and some wrongly")
            if hasattr(keras.backend, "clear_session"):
                keras.backend.clear_session()
            model = make()
            xs = [
                RNG.randint(0, integers, (BATCH,) + shape).astype("int32") if integers
                else RNG.randn(BATCH, *shape).astype("float32")
                for shape in shapes
            ]
            if name == "masking":
                xs[0][:, -2:] = 0
            path = os.path.join(folder, name)
            model.predict(xs if len(xs) > 1 else xs[0])
            fill(model)
            y = model.predict(xs if len(xs) > 1 else xs[0])
            for suffix in (".h5", ".keras") if HAS_ARCHIVES else (".h5",):
                model.save(path + suffix)
            ys = y if isinstance(y, list) else [y]
            arrays = dict(("x%d" % i, x) for i, x in enumerate(xs))
            arrays.update(("y%d" % i, np.asarray(one)) for i, one in enumerate(ys))
            assert all(np.isfinite(one).all() for one in ys)
            np.savez(path + ".npz", **arrays)
        except Exception as error:
            for suffix in (".h5", ".keras", ".npz"):
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
