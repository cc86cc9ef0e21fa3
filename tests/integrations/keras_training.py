"""Training with Keras on the backend of ``KERAS_BACKEND``.

``keras_training.py FOLDER STEP...``: the test loads in another process than it saves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras_complaints import complaints

import array_constraints as ac
from array_constraints.integrations.keras import constrain, convert

layers = keras.layers


@ac.register(package="trained")
@dataclass(frozen=True)
class Box(ac.Elementwise):
    """A form of one's own."""

    bound: float = 0.3

    def project(self, w, xp):
        return xp.clip(w, -self.bound, self.bound)

    def excess(self, w, xp):
        return xp.abs(w - xp.clip(w, -self.bound, self.bound))


@ac.register(package="trained")
class MaxNorm(ac.Constraint):
    """One written as in Keras, with the name of one of Keras's own."""

    def __init__(self, scale=0.2):
        self.scale = scale

    def __call__(self, w):
        return keras.ops.clip(w, -self.scale, self.scale)

    def get_config(self):
        return {"scale": self.scale}


SHORT, UNIT = ac.MaxNorm(0.5, axis="incoming"), ac.UnitNorm(axis="incoming")
RING = ac.MinMaxNorm(0.3, 0.5, axis="incoming")
AXES = {
    "table/embeddings": 1,
    "conv2d/kernel": (0, 1, 2),
    "depthwise/kernel": (0, 1),
    "separable/depthwise_kernel": (0, 1),
    "separable/pointwise_kernel": (0, 1, 2),
    "transposed/kernel": (0, 1, 3),
    "conv3d/kernel": (0, 1, 2, 3),
    "transposed3d/kernel": (0, 1, 2, 4),
    "conv1d/kernel": (0, 1),
    "transposed1d/kernel": (0, 2),
    "lstm/lstm_cell/kernel": 0,
    "lstm/lstm_cell/recurrent_kernel": 0,
    "gru/gru_cell/kernel": 0,
    "attention/query/kernel": 0,
    "attention/key/kernel": 0,
    "attention/value/kernel": 0,
    "attention/attention_output/kernel": (0, 1),
    "einsum/kernel": (0, 1),
}


def every_layer() -> keras.Model:
    image, words = keras.Input((4, 4, 2)), keras.Input((4,), dtype="int32")
    x = layers.Conv2D(
        3, 2, kernel_constraint=SHORT, bias_constraint=ac.NonNeg(), name="conv2d"
    )(image)
    x = layers.DepthwiseConv2D(2, depthwise_constraint=UNIT, name="depthwise")(x)
    x = layers.Conv2DTranspose(2, 3, kernel_constraint=SHORT, name="transposed")(x)
    x = layers.SeparableConv2D(
        2, 1, depthwise_constraint=RING, pointwise_constraint=SHORT, name="separable"
    )(x)
    x = layers.BatchNormalization(
        gamma_constraint=Box(0.9), beta_constraint=ac.NonNeg(), name="norm"
    )(x)
    x = layers.Reshape((4, 4, 2, 1))(x)
    x = layers.Conv3D(2, 2, kernel_constraint=UNIT, name="conv3d")(x)
    x = layers.Conv3DTranspose(2, 2, kernel_constraint=SHORT, name="transposed3d")(x)
    x = layers.Flatten()(x)
    y = layers.Embedding(9, 4, embeddings_constraint=SHORT, name="table")(words)
    y = layers.Conv1D(3, 2, kernel_constraint=RING, name="conv1d")(y)
    y = layers.Conv1DTranspose(3, 2, kernel_constraint=UNIT, name="transposed1d")(y)
    y = layers.LSTM(
        2,
        return_sequences=True,
        kernel_constraint=SHORT,
        recurrent_constraint=UNIT,
        name="lstm",
    )(y)
    y = layers.GRU(2, return_sequences=True, kernel_constraint=SHORT, name="gru")(y)
    y = layers.MultiHeadAttention(
        2, 2, kernel_constraint=SHORT, bias_constraint=ac.NonNeg(), name="attention"
    )(y, y)
    y = layers.EinsumDense("bsd,sde->be", 3, kernel_constraint=SHORT, name="einsum")(y)
    z = layers.Concatenate()([x, y])
    z = layers.Dense(4, kernel_constraint=Box(), name="form")(z)
    z = layers.Dense(3, kernel_constraint=MaxNorm(), name="as_in_keras")(z)
    return keras.Model([image, words], z)


def data() -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((16, 4, 4, 2)).astype("float32")
    words = rng.integers(0, 9, (16, 4)).astype("int32")
    return [image, words], rng.standard_normal((16, 3)).astype("float32") * 5


def require_satisfied(model: keras.Model, least: int) -> None:
    """All that has a constraint satisfies it exactly: applied once more, not a bit moves."""
    constrained = [v for v in model.trainable_variables if v.constraint is not None]
    assert len(constrained) >= least, len(constrained)
    for variable in constrained:
        again = variable.constraint(variable)
        assert bool(keras.ops.all(keras.ops.equal(again, variable.value))), variable.path
        assert again.dtype == variable.value.dtype


def require_axes(model: keras.Model) -> None:
    found = {v.path: v.constraint for v in model.trainable_variables}
    assert {path: found[path].axis for path in AXES} == AXES


def train(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    model = every_layer()
    require_axes(model)
    assert model.get_layer("lstm").kernel_constraint == SHORT  # as it was written
    before = model.get_weights()
    model.compile(keras.optimizers.Adam(0.1), "mse")
    inputs, target = data()
    model.fit(inputs, target, batch_size=16, epochs=3, verbose=0)
    model.train_on_batch(inputs, target)
    require_satisfied(model, 26)
    moved = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert sum(moved) > 34, sum(moved)
    model.save(folder / "model.keras")
    np.savez(folder / "weights.npz", *model.get_weights())


def go_on(folder: Path) -> None:
    model = keras.models.load_model(folder / "model.keras")
    assert model.get_layer("as_in_keras").kernel_constraint.scale == 0.2
    assert isinstance(model.get_layer("as_in_keras").kernel_constraint, MaxNorm)
    assert model.get_layer("form").kernel_constraint == Box()
    require_axes(model)
    saved = np.load(folder / "weights.npz")
    for a, b in zip(model.get_weights(), saved.values(), strict=True):
        assert (a == b).all()
    inputs, target = data()
    model.fit(inputs, target, batch_size=16, epochs=2, verbose=0)
    require_satisfied(model, 26)
    for other in (
        keras.models.clone_model(model),
        keras.models.model_from_json(model.to_json()),
    ):
        require_axes(other)
        optimizer = keras.optimizers.SGD(1.0)
        rng = np.random.default_rng(0)
        gradients = [
            keras.ops.convert_to_tensor(rng.standard_normal(v.shape), v.dtype)
            for v in other.trainable_variables
        ]
        optimizer.apply(gradients, other.trainable_variables)
        require_satisfied(other, 26)


def converted(folder: Path) -> None:
    """Keras's constraints, ours, and ours with Keras's epsilon: the third is the first."""
    print("epsilon, Keras beside ours, Keras beside ours with its epsilon")
    for epsilon in (1e-7, 1e-4):
        keras.config.set_epsilon(epsilon)
        theirs, ours, with_epsilon = (regression() for _ in range(3))
        assert len(convert(ours, verbose=False)) == 2
        assert ours.layers[0].kernel_constraint == ac.MaxNorm(0.5)
        assert ours.layers[0].bias_constraint == ac.NonNeg()
        with_epsilon.layers[0].kernel.constraint = _with_epsilon
        kernels = [fitted(model) for model in (theirs, ours, with_epsilon)]
        apart, explained = (np.abs(kernels[0] - other).max() for other in kernels[1:])
        print(epsilon, apart, explained)
        assert apart < 100 * (epsilon / 0.5 + 8 * 2**-24)
        assert explained < apart / 10
        require_satisfied(ours, 2)


def _with_epsilon(w):
    length = keras.ops.norm(keras.ops.convert_to_tensor(w), axis=0, keepdims=True)
    return ac.MaxNorm(0.5)(w) * (length / (length + keras.config.epsilon()))


def regression() -> keras.Model:
    keras.utils.set_random_seed(3)
    dense = layers.Dense(
        4,
        kernel_constraint=keras.constraints.MaxNorm(0.5),
        bias_constraint="non_neg",
        name="dense",
    )
    model = keras.Sequential([keras.Input((5,)), dense])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def fitted(model: keras.Model) -> np.ndarray:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((32, 5)), rng.standard_normal((32, 4))
    model.fit(x, y, batch_size=32, epochs=100, shuffle=False, verbose=0)
    return model.get_weights()[0]


def averaged(folder: Path) -> None:
    """``use_ema`` ends ``fit`` with averages of what no constraint has seen: project them."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense")])
    handle = constrain(model, {"*/kernel": ac.NonNeg()}, verbose=False)
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9), "mse")
    x, y = np.random.default_rng(0).standard_normal((2, 32, 5))
    model.fit(x, y[:, :4], batch_size=8, epochs=2, verbose=0)
    assert handle.violations()["dense/kernel"] > 0, "Keras has mended it: so must the page"
    handle.project()
    assert not any(handle.violations().values())


STEPS = {step.__name__: step for step in (train, go_on, complaints, converted, averaged)}

if __name__ == "__main__":
    for step in sys.argv[2:]:
        STEPS[step](Path(sys.argv[1]))
