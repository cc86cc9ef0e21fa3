"""What users of Keras complain about, one function for each subject, by the threads.

Each shows what Keras does, where it still does that, and what is done here. Not shown are
tfjs#130, #3345 and #3979, of JavaScript; keras#8360, of an optimizer that Keras 3 has not.
Gradients of Keras 3 are dense on these backends, so that of tensorflow#33755, keras#15818 and
keras#14459 there is only what they ask for, in ``embedding_rows``.
"""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

import array_constraints as ac
from array_constraints.integrations.keras import constrain
from array_constraints.rules import Rules

layers = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((16, 3)).astype("float32"), RNG.standard_normal((16, 2)) * 9


def norms(variable: keras.Variable, axis) -> np.ndarray:
    """The norms along axes, in float64."""
    return np.sqrt((np.asarray(variable.value.tolist()) ** 2).sum(axis))


def dense(**options) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense", **options)])
    model.compile(keras.optimizers.SGD(0.3), "mse")
    return model


def said(function) -> list[str]:
    """The messages of the warnings that a call gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function()
    return [str(one.message) for one in found if "axis" in str(one.message)]


def axis_of_a_convolution() -> None:
    """keras#474, #1504, #3628: Keras's axis of 0 makes slices of single numbers of a kernel."""
    kernel = keras.Variable(np.full((1, 3, 3, 2), 5.0, "float32"))
    short = keras.constraints.MaxNorm(2.0)(kernel.value)
    assert np.allclose(np.asarray(short.tolist()), 2.0)  # each number, not each kernel

    made = layers.Conv2D(2, 2, kernel_constraint=ac.MaxNorm(2.0, axis="incoming"), name="conv")
    made.build((None, 4, 4, 3))
    assert made.kernel.constraint.axis == (0, 1, 2)
    keras.optimizers.SGD(1.0).apply([keras.ops.ones((2, 2, 3, 2)) * 9], [made.kernel])
    assert np.allclose(norms(made.kernel, (0, 1, 2)), 2.0)
    unsaid = layers.Conv2D(2, 2, kernel_constraint=ac.MaxNorm(2.0), name="unsaid")
    (message,) = said(lambda: unsaid.build((None, 4, 4, 3)))
    assert "'unsaid/kernel'" in message
    assert "one unit of Conv2D, which is (0, 1, 2)" in message


def axis_that_does_not_fit() -> None:
    """keras#474: the error names the weight, when the layer is built."""
    wrong = layers.Dense(2, kernel_constraint=ac.MaxNorm(2.0, axis=2), name="wrong")
    with pytest.raises(ValueError, match="'wrong/kernel': MaxNorm: axis 2"):
        wrong.build((None, 3))


def kernels_of_eegnet() -> None:
    """arl-eegmodels#1, #4: ``channels_first`` moves the channels of images, not of kernels."""
    for order, shape in (("channels_last", (5, 7, 2)), ("channels_first", (2, 5, 7))):
        spatial = layers.DepthwiseConv2D(
            (5, 1),
            depth_multiplier=3,
            data_format=order,
            depthwise_constraint=ac.MaxNorm(1.0, axis="incoming"),
        )
        spatial.build((None, *shape))
        assert spatial.kernel.constraint.axis == (0, 1)
        assert tuple(spatial.kernel.shape) == (5, 1, 2, 3)


def what_an_axis_means() -> None:
    """handson-ml3#76: how many slices an axis makes, and of how many entries, is a table."""
    rows = Rules([("*kernel", ac.MaxNorm(1.0, axis="incoming"))]).explain(dense()).rows
    kernel = next(row for row in rows if row["weight"] == "dense/kernel")
    assert (kernel["axis"], kernel["slices"], kernel["entries"]) == ((0,), 2, 3)


def embedding_rows() -> None:
    """keras#1580, #2276, #14459, #15818, tensorflow#33755: the rows, and all, are constrained.

    Adam moves those that had no gradient, too.
    """
    short = ac.MaxNorm(0.5, axis="incoming")
    table = layers.Embedding(20, 4, embeddings_constraint=short)
    model = keras.Sequential([keras.Input((3,), dtype="int32"), table, layers.Flatten()])
    model.compile(keras.optimizers.Adam(0.5), "mse")
    for high in (20, 5):
        model.fit(RNG.integers(0, high, (16, 3)), np.ones((16, 12)), epochs=2, verbose=0)
    assert table.embeddings.constraint.axis == 1
    assert norms(table.embeddings, 1).max() <= 0.5


def attribute_of_a_built_layer() -> None:
    """keras#7628, #10226: to set ``kernel_constraint`` later does nothing; here it does."""
    model = dense()
    model.layers[0].kernel_constraint = ac.MaxNorm(0.5)
    model.fit(X, Y, epochs=2, verbose=0)
    assert norms(model.layers[0].kernel, 0).max() > 1

    handle = constrain(model, {"*kernel": ac.MaxNorm(0.5, axis="incoming")}, verbose=False)
    assert not any(handle.violations().values())  # at once
    model.fit(X, Y, epochs=2, verbose=0)  # and a step that was compiled knows it
    assert not any(handle.violations().values())
    handle.remove()
    model.fit(X, Y, epochs=3, verbose=0)
    assert norms(model.layers[0].kernel, 0).max() > 1


def assigned_and_frozen_weights() -> None:
    """keras#9068, #11304: when a constraint is applied; what is not, is reported."""
    model = dense(kernel_constraint=ac.MaxNorm(0.1))
    assert norms(model.layers[0].kernel, 0).max() > 0.1  # Keras: not before the first step
    handle = constrain(model, {"*kernel": ac.MaxNorm(0.1)}, verbose=False)
    assert not any(handle.violations().values())
    model.layers[0].kernel.assign(keras.ops.ones((3, 2)))
    assert handle.violations()["dense/kernel"] > 0
    handle.project()
    assert not any(handle.violations().values())

    frozen = dense(trainable=False)
    values = frozen.get_weights()
    handle = constrain(frozen, {"*kernel": ac.MaxNorm(0.1)}, verbose=False)
    assert all((a == b).all() for a, b in zip(values, frozen.get_weights(), strict=True))
    assert handle.violations()["dense/kernel"] > 0  # reported, until it is asked for
    handle.project()
    assert not any(handle.violations().values())


def step_by_hand() -> None:
    """keras#18883: ``optimizer.apply`` without a trainer constrains Dense and attention."""
    made = layers.Dense(2, kernel_constraint=ac.MaxNorm(0.1), bias_constraint=ac.NonNeg())
    made.build((None, 3))
    attention = layers.MultiHeadAttention(
        2, 2, kernel_constraint=ac.MaxNorm(0.1, axis="incoming")
    )
    attention.build((None, 4, 6), (None, 4, 6))
    trained = [*made.trainable_variables, *attention.trainable_variables]
    gradients = [keras.ops.ones_like(v.value) for v in trained]
    keras.optimizers.SGD(1.0).apply(gradients, trained)
    assert norms(made.kernel, 0).max() <= 0.1
    assert np.asarray(made.bias.value.tolist()).tolist() == [0.0, 0.0]
    kernels = [v for v in attention.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 4
    assert all(norms(v, v.constraint.axis).max() <= 0.1 for v in kernels)


def clipped(w):
    """A function, as Keras 2 took them."""
    return keras.ops.clip(w, -0.5, 0.5)


@ac.register(package="complaints")
class Clip(ac.Constraint):
    """A class as people write them for Keras."""

    def __init__(self, most=0.5):
        self.most = most

    def __call__(self, w):
        return keras.ops.clip(w, -self.most, self.most)

    def get_config(self):
        return {"most": self.most}


def saved_and_loaded() -> None:
    """tensorflow#26061, #39009, #42505, keras3#381, nn_playground#6: a class comes back."""
    model = dense(kernel_constraint=Clip(0.25))
    again = keras.models.model_from_json(model.to_json())
    copied = keras.models.clone_model(model)
    for other in (again, copied):
        assert other.layers[0].kernel_constraint.most == 0.25
        other.compile(keras.optimizers.SGD(0.3), "mse")
        other.fit(X, Y, epochs=2, verbose=0)
        assert np.abs(other.layers[0].kernel.value.tolist()).max() <= 0.25


def function_of_keras_2() -> None:
    """keras#20067, tensorflow#26061: where Keras cannot load a function, a rule takes it."""
    model = dense(kernel_constraint=clipped)
    with pytest.raises((TypeError, ValueError)):
        keras.models.model_from_json(model.to_json())
    model = dense()
    handle = constrain(model, {"*kernel": clipped}, verbose=False)
    model.fit(X, Y, epochs=2, verbose=0)
    assert np.abs(model.layers[0].kernel.value.tolist()).max() <= 0.5
    assert not any(handle.violations().values())


def mixed_precision() -> None:
    """tensorflow#47454: a constraint under mixed precision keeps the dtype of the variable."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = dense(kernel_constraint=ac.UnitNorm(axis="incoming"), bias_constraint=ac.NonNeg())
    keras.config.set_dtype_policy("float32")
    model.fit(X, Y, epochs=2, verbose=0)
    kernel = model.layers[0].kernel
    assert kernel.dtype == "float32"
    assert not np.asarray(kernel.constraint.violation(kernel).tolist()).any()


SUBJECTS = (
    axis_of_a_convolution, axis_that_does_not_fit, kernels_of_eegnet, what_an_axis_means,
    embedding_rows, attribute_of_a_built_layer, assigned_and_frozen_weights, step_by_hand,
    saved_and_loaded, function_of_keras_2, mixed_precision,
)  # fmt: skip


def complaints(folder: object = None) -> None:
    for subject in SUBJECTS:
        subject()


if __name__ == "__main__":
    complaints()
