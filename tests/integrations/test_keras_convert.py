"""``convert`` on models of Keras: its own constraints are replaced by ours."""

from __future__ import annotations

import json

import pytest

import array_constraints as ac

keras = pytest.importorskip("keras")
from keras_imported import integration  # noqa: F401

layers = keras.layers
# Keras itself meets a deprecation of NumPy's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
    pytest.mark.usefixtures("integration"),
]


def convert(model, **options):
    from array_constraints.integrations.keras import convert

    return convert(model, **options)


class TestConvert:
    def built(self) -> keras.Model:
        x = keras.Input((3, 4))
        y = layers.LSTM(
            2,
            return_sequences=True,
            kernel_constraint=keras.constraints.MaxNorm(3, axis=[0]),
            recurrent_constraint="unit_norm",
        )(x)
        y = layers.MultiHeadAttention(
            1, 2, kernel_constraint=keras.constraints.MinMaxNorm(0.1, 2, 0.5)
        )(y, y)
        y = layers.Dense(2, bias_constraint=keras.constraints.NonNeg())(y)
        return keras.Model(x, y)

    def test_makes_ours_of_those_of_keras(self, capsys):
        built = self.built()
        weights = built.get_weights()
        found = convert(built)
        ring = ac.MinMaxNorm(0.1, 2, 0.5)
        assert list(found.values()) == [
            ac.MaxNorm(3, axis=(0,)), ac.UnitNorm(), ring, ring, ring, ring, ac.NonNeg(),
        ]  # fmt: skip
        assert all(found.get(v.path) == v.constraint for v in built.trainable_variables)
        assert "keras.constraints" not in built.to_json()
        with pytest.warns(UserWarning, match="attention_output.*along axis 0"):
            again = keras.models.model_from_json(built.to_json())
        assert [v.constraint for v in again.trainable_variables] == [
            v.constraint for v in built.trainable_variables
        ]
        for a, b in zip(weights, built.get_weights(), strict=True):
            assert (a == b).all()
        assert "constraints of Keras were replaced, 7 on variables" in capsys.readouterr().out
        assert convert(built, verbose=False) == {}

    def test_nonsense_is_an_error_before_anything_is_replaced(self):
        built = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(2, kernel_constraint="max_norm", name="fine"),
                layers.Dense(2, kernel_constraint=keras.constraints.MaxNorm(-1), name="wrong"),
            ]
        )
        with pytest.raises(ValueError, match="kernel_constraint of 'wrong': max_value must be"):
            convert(built)
        assert (
            "MaxNorm"
            in json.loads(built.to_json())["config"]["layers"][1]["config"][
                "kernel_constraint"
            ]["class_name"]
        )
        assert type(built.layers[0].kernel.constraint) is keras.constraints.MaxNorm
        with pytest.raises(TypeError, match="convert takes a model of Keras"):
            convert([])

    def test_subclasses_stay(self):
        class Own(keras.constraints.MaxNorm):
            pass

        dense = layers.Dense(2, kernel_constraint=Own())
        dense.build((None, 3))
        assert convert(dense, verbose=False) == {}
        assert type(dense.kernel.constraint) is Own
