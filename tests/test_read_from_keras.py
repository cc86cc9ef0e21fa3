"""Constraints in models that Keras 3 saves itself: every argument of every layer is found."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
from saved_models import FORMS, saved

from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.config import read_constraints

keras = pytest.importorskip("keras")
layers, constraints = keras.layers, keras.constraints

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")

LAYERS = {
    "BatchNormalization": ({}, (4,)),
    "Conv1D": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "Conv1DTranspose": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "Conv2D": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "Conv3D": ({"filters": 2, "kernel_size": 2}, (3, 3, 3, 2)),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2}, (3, 3, 3, 2)),
    "ConvLSTM1D": ({"filters": 2, "kernel_size": 2}, (2, 4, 3)),
    "ConvLSTM2D": ({"filters": 2, "kernel_size": 2}, (2, 4, 4, 3)),
    "ConvLSTM3D": ({"filters": 2, "kernel_size": 2}, (2, 3, 3, 3, 2)),
    "Dense": ({"units": 2}, (3,)),
    "DepthwiseConv1D": ({"kernel_size": 2}, (5, 3)),
    "DepthwiseConv2D": ({"kernel_size": 2}, (4, 4, 3)),
    "EinsumDense": ({"equation": "ab,bc->ac", "output_shape": 2, "bias_axes": "c"}, (3,)),
    "Embedding": ({"input_dim": 5, "output_dim": 2}, (4,)),
    "GRU": ({"units": 2}, (4, 3)),
    "GroupNormalization": ({"groups": 2}, (4,)),
    "GroupQueryAttention": (
        {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1},
        (4, 3),
    ),
    "LSTM": ({"units": 2}, (4, 3)),
    "LayerNormalization": ({}, (4,)),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 2}, (4, 3)),
    "PReLU": ({}, (4,)),
    "ReversibleEmbedding": ({"input_dim": 5, "output_dim": 2}, (4,)),
    "SeparableConv1D": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "SimpleRNN": ({"units": 2}, (4, 3)),
}
"""What each layer takes beside its constraints, and the shape of what it is called with."""
CELLS = {"GRUCell", "LSTMCell", "SimpleRNNCell"}  # in RNN, below


def arguments(layer: type) -> list[str]:
    return [name for name in inspect.signature(layer).parameters if "constraint" in name]


def pairs() -> list[tuple[object, Constraint]]:
    """Constraints of Keras, all different, and the same ones here."""
    return [
        (
            constraints.MinMaxNorm(0.5, 1.5, rate=0.75, axis=[0]),
            MinMaxNorm(0.5, 1.5, 0.75, (0,)),
        ),
        (constraints.MaxNorm(3, axis=-1), MaxNorm(3, axis=-1)),
        (constraints.UnitNorm(axis=None), UnitNorm(axis=None)),
    ]


def test_the_layers_of_keras_that_take_constraints_are_all_here():
    found = {layer for layer in vars(layers).values() if inspect.isclass(layer)}
    tested = {getattr(layers, name, None) for name in (*LAYERS, *CELLS)}
    assert {layer for layer in found if arguments(layer)} <= tested


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_argument_of_every_layer_of_keras_is_found(name, form, tmp_path):
    if not hasattr(layers, name):
        pytest.skip("not in this version of Keras")
    options, shape = LAYERS[name]
    given = dict(zip(arguments(getattr(layers, name)), pairs(), strict=False))
    theirs = {argument: constraint for argument, (constraint, _) in given.items()}
    layer = getattr(layers, name)(**options, **theirs, name="mine")
    start = keras.Input(shape, name="start")
    end = layer(start, start) if "Attention" in name else layer(start)
    found = read_constraints(saved(keras.Model(start, end), form, tmp_path))
    assert found == {f"mine/{argument}": ours for argument, (_, ours) in given.items()}
    assert found


@pytest.mark.parametrize("form", FORMS)
def test_layers_in_layers_are_named_from_the_outermost_one(form, tmp_path):
    start = keras.Input((6, 4), name="start")
    lstm = layers.LSTM(3, bias_constraint="non_neg", return_sequences=True, name="lstm")
    x = layers.Bidirectional(lstm, name="both")(start)
    dense = layers.Dense(4, kernel_constraint=constraints.MaxNorm(1), name="dense")
    x = layers.TimeDistributed(dense, name="each")(x)
    cells = [
        layers.LSTMCell(3, recurrent_constraint=constraints.MaxNorm(2), name="first"),
        layers.GRUCell(3, kernel_constraint=constraints.MaxNorm(3), name="second"),
    ]
    x = layers.RNN(
        layers.StackedRNNCells(cells, name="stack"), return_sequences=True, name="rnn"
    )(x)
    cell = layers.SimpleRNNCell(3, kernel_constraint=constraints.MaxNorm(4), name="cell")
    x = layers.RNN(cell, return_sequences=True, name="simple")(x)
    dense = layers.Dense(3, kernel_constraint=constraints.MaxNorm(5), name="dense")
    inner = keras.Sequential([keras.Sequential([dense], name="inner")], name="outer")
    x = layers.Lambda(lambda t: t, output_shape=(6, 3), name="same")(inner(x))
    found = read_constraints(saved(keras.Model(start, x, name="net"), form, tmp_path))
    assert found == {
        "both/forward_lstm/bias_constraint": NonNeg(),
        "both/backward_lstm/bias_constraint": NonNeg(),
        "each/dense/kernel_constraint": MaxNorm(1),
        "rnn/stack/first/recurrent_constraint": MaxNorm(2),
        "rnn/stack/second/kernel_constraint": MaxNorm(3),
        "simple/cell/kernel_constraint": MaxNorm(4),
        "outer/inner/dense/kernel_constraint": MaxNorm(5),
    }
    assert [path.partition("/")[0] for path in found] == [
        "both", "both", "each", "rnn", "rnn", "simple", "outer",
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_constrains_the_weights_of_that_layer_as_keras_does(form, tmp_path):
    theirs = constraints.MaxNorm(0.25, axis=1)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, kernel_constraint=theirs)])
    ((path, ours),) = read_constraints(saved(model, form, tmp_path)).items()
    assert path == f"{model.layers[0].name}/kernel_constraint"
    kernel = np.asarray(model.layers[0].kernel)
    np.testing.assert_allclose(ours(kernel), theirs(kernel), atol=1e-6)


REGISTERED = """
import sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import keras
import array_constraints.integrations.keras
from array_constraints import MaxNorm
constraint = MaxNorm((1.0, float("inf")), axis=-1)
dense = keras.layers.Dense(2, kernel_constraint=constraint, name="dense")
model = keras.Sequential([keras.Input((3,)), dense])
model.save("m.keras")
model.save("m.h5")
open("m.json", "w").write(model.to_json())
"""


def test_our_own_classes_registered_with_keras_are_read_as_ours(tmp_path):
    """By the integration, in a process of its own: Keras does not forget a class again."""
    subprocess.run([sys.executable, "-c", REGISTERED], cwd=tmp_path, check=True)
    for name in ("m.keras", "m.h5", "m.json"):
        found = read_constraints(tmp_path / name)
        assert found == {"dense/kernel_constraint": MaxNorm((1.0, math.inf), axis=-1)}
