"""Layers and variables of Keras: their axes and their names, and constraints called on them."""

from __future__ import annotations

import numpy as np
import pytest

import array_constraints as ac

keras = pytest.importorskip("keras")
from keras_imported import integration  # noqa: F401
from keras_model import INCOMING, model

layers = keras.layers
# Keras itself meets a deprecation of NumPy's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
    pytest.mark.usefixtures("integration"),
]


class TestWhichAxis:
    """keras#474, #3628, #1580, arl-eegmodels#1: the default axis is right for Dense alone."""

    @pytest.mark.parametrize(
        ("layer", "shape", "argument", "units"),
        [
            (layers.Conv2D(3, 2), (5, 5, 2), "kernel", 3),
            (layers.Conv2D(3, 2, data_format="channels_first"), (2, 5, 5), "kernel", 3),
            (layers.DepthwiseConv2D(2, depth_multiplier=3), (5, 5, 2), "depthwise", 6),
            (layers.Conv2DTranspose(3, 2), (5, 5, 2), "kernel", 3),
            (layers.Embedding(7, 4), (3,), "embeddings", 7),
        ],
        ids=["Conv2D", "channels first", "DepthwiseConv2D", "Conv2DTranspose", "Embedding"],
    )
    def test_incoming_is_the_weights_of_one_unit(self, layer, shape, argument, units):
        config = {**layer.get_config(), f"{argument}_constraint": INCOMING}
        layer = type(layer)(**{k: v for k, v in config.items() if k != "dtype"})
        layer.build((None, *shape))
        variable = layer.trainable_variables[0]
        violation = variable.constraint.violation(variable)
        assert violation.size == units
        assert keras.constraints.MaxNorm(0.01).axis == 0  # another number of slices
        axis_0 = np.prod(variable.shape[1:])
        assert axis_0 != units
        # What is saved is what was written, not the axis of this layer.
        assert getattr(layer, f"{argument}_constraint") == INCOMING

    def test_a_bias_and_a_layer_of_unknown_layout_are_errors_at_build(self):
        class Mine(keras.Layer):
            def build(self, shape):
                self.w = self.add_weight(shape=(3, 3), name="w", constraint=INCOMING)

        with pytest.raises(ValueError, match="'mine/w': axis='incoming': the layout of Mine"):
            Mine(name="mine").build((None, 3))
        with pytest.raises(ValueError, match="bias': axis='incoming': a bias"):
            layers.Dense(2, bias_constraint=INCOMING).build((None, 3))

    def test_a_callable_and_keras_own_constraints_are_left_alone(self):
        class Along:
            axis = "incoming"

            def __call__(self, w):
                return w

        for constraint in (Along(), keras.constraints.MaxNorm(1)):
            dense = layers.Dense(2, kernel_constraint=constraint)
            dense.build((None, 3))
            assert dense.kernel.constraint is constraint

    @pytest.mark.parametrize("axis", ["channels", np.int64(0), 1.5, {"of": 1}], ids=str)
    def test_what_a_constraint_of_ones_own_means_by_an_axis_is_its_own(self, axis):
        class Own(ac.Constraint):
            def __call__(self, w):
                return w

        own = Own()
        own.axis = axis
        dense = layers.Dense(2, kernel_constraint=own)
        dense.build((None, 3))
        assert dense.kernel.constraint is own

    def test_an_axis_that_is_seldom_meant_is_a_warning_and_a_tuple_is_none(self):
        for axis in ((0,), (0, 1, 2), "incoming", None):
            made = layers.Conv2D(2, 2, kernel_constraint=ac.MaxNorm(2.0, axis=axis))
            made.build((None, 4, 4, 3))
        made = layers.Conv2D(2, 2, kernel_constraint=ac.MaxNorm(2.0), name="unsaid")
        with pytest.warns(UserWarning, match="'unsaid/kernel': MaxNorm along axis 0 is not"):
            made.build((None, 4, 4, 3))


class TestAVariable:
    def test_is_taken_as_its_array(self):
        variable = keras.Variable(np.asarray([[3.0], [-4.0]], dtype="float32"))
        result = ac.MaxNorm(1.0)(variable)
        assert isinstance(result, np.ndarray)
        np.testing.assert_allclose(result, [[0.6], [-0.8]], rtol=1e-6)
        assert ac.NonNeg().violation(variable).tolist() == [[0.0], [4.0]]
        assert ac.Constraint()(variable) is variable.value
        assert ac.MaxNorm(1.0)(variable, copy=True) is not variable.value

    def test_is_not_written_into(self):
        variable = keras.Variable(np.ones((2, 2), dtype="float32"))
        for constraint in (ac.MaxNorm(1.0), ac.Constraint()):
            with pytest.raises(ValueError, match="copy=False cannot write into a keras"):
                constraint(variable, copy=False)

    def test_of_a_wrong_dtype_is_refused(self):
        variable = keras.Variable(np.ones((2, 2), dtype="int32"), dtype="int32")
        with pytest.raises(TypeError, match="MaxNorm takes a real floating dtype"):
            ac.MaxNorm(1.0)(variable)


def test_names_of_a_model_are_those_of_keras_on_any_backend():
    from array_constraints.layers import weights_of

    names = {w.name for w in weights_of(model())}
    assert {"conv/kernel", "lstm/lstm_cell/kernel", "attention/query/bias"} <= names
