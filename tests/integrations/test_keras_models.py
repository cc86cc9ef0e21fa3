"""``constrain`` and ``convert`` on models, and axes from layers: what needs no training."""

from __future__ import annotations

import json

import numpy as np
import pytest

import array_constraints as ac

keras = pytest.importorskip("keras")
from keras_imported import integration  # noqa: F401

from array_constraints.rules import Rule, Rules

layers = keras.layers
# Keras itself meets a deprecation of NumPy's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
    pytest.mark.usefixtures("integration"),
]


def constrain(model, rules, **options):
    from array_constraints.integrations.keras import constrain

    return constrain(model, rules, **options)


def convert(model, **options):
    from array_constraints.integrations.keras import convert

    return convert(model, **options)


INCOMING = ac.MaxNorm(0.01, axis="incoming")


def lengths(variable, axes) -> np.ndarray:
    return np.sqrt(np.sum(np.square(variable.value, dtype="float64"), axis=axes))


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


def model() -> keras.Model:
    image, words = keras.Input((4, 4, 2)), keras.Input((3,), dtype="int32")
    x = layers.Conv2D(3, 2, name="conv")(image)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = layers.Flatten()(layers.BatchNormalization(name="norm")(x))
    y = layers.Embedding(5, 4, name="table")(words)
    y = layers.RMSNormalization(name="rms")(y)
    y = layers.LSTM(2, return_sequences=True, name="lstm")(y)
    y = layers.MultiHeadAttention(1, 2, name="attention")(y, y)
    inner = keras.Sequential(
        [keras.Input((3, 2)), layers.Dense(2, name="inside")], name="inner"
    )
    y = layers.Flatten()(inner(y))
    return keras.Model([image, words], layers.Concatenate()([x, y]), name="outer")


def constraints(model) -> dict:
    from array_constraints.layers import weights_of

    return {w.name: w.array.constraint for w in weights_of(model)}


RULES = Rules(
    [
        Rule("*", INCOMING, kind=("conv", "embedding", "recurrent", "attention", "dense")),
        Rule("*", ac.NonNeg(), kind=("bias", "norm")),
    ]
)


class TestConstrain:
    def test_takes_effect_at_once_and_survives_saving(self, tmp_path, capsys):
        built = model()
        handle = constrain(built, RULES)
        assert handle.violations() == {}
        assert lengths(built.get_layer("conv").kernel, (0, 1, 2)).max() <= 0.01
        assert handle.unsaved == {
            "rms/scale": "the config of RMSNormalization has no argument for it"
        }
        printed = capsys.readouterr().out
        assert "rms/scale will not be saved" in printed
        assert "lstm" in printed

        built.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        found, expected = constraints(loaded), constraints(built)
        assert {n for n in expected if found[n] != expected[n]} == set(handle.unsaved)
        # One call after loading restores all from the rules.
        constrain(loaded, RULES, verbose=False)
        assert constraints(loaded) == expected

    def test_the_clone_has_what_the_file_has(self):
        built = model()
        constrain(built, RULES, verbose=False)
        clone = keras.models.clone_model(built)
        assert clone.get_layer("lstm").cell.kernel.constraint == ac.MaxNorm(0.01, axis=0)
        again = keras.models.model_from_json(built.to_json())
        projection = again.get_layer("attention").output_dense.kernel
        assert projection.constraint == ac.MaxNorm(0.01, axis=(0, 1))

    def test_one_projection_of_attention_is_named_as_not_saved(self):
        built = model()
        handle = constrain(built, {"*query/kernel": ac.NonNeg()}, verbose=False)
        assert list(handle.unsaved) == ["attention/query/kernel"]
        assert built.get_layer("attention").get_config()["kernel_constraint"] is None

    def test_a_function_is_named_as_not_saved(self, tmp_path):
        """tensorflow#26061: it is saved by Keras, and cannot be loaded."""

        def clip(w):
            return keras.ops.clip(w, -0.1, 0.1)

        built = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
        for function in (clip, lambda w: clip(w)):
            handle = constrain(built, {"*kernel": function}, verbose=False)
            assert "is not registered" in handle.unsaved["dense/kernel"]
            assert handle.violations() == {}
            built.save(tmp_path / "model.keras")
            loaded = keras.models.load_model(tmp_path / "model.keras")
            assert loaded.layers[0].kernel.constraint is None

    def test_a_function_that_is_registered_is_saved(self):
        @keras.saving.register_keras_serializable("functions")
        def clip(w):
            return keras.ops.clip(w, -0.1, 0.1)

        built = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
        assert constrain(built, {"*kernel": clip}, verbose=False).unsaved == {}
        again = keras.models.model_from_json(built.to_json())
        assert again.layers[0].kernel.constraint is clip

    def test_weights_of_a_layer_of_ones_own_are_named_as_not_saved(self):
        @keras.saving.register_keras_serializable("own")
        class Scale(keras.Layer):
            def build(self, shape):
                self.scale = self.add_weight(shape=(3,), name="scale")
                self.inside = layers.Dense(3, name="inside")
                self.inside.build(shape)

            def call(self, x):
                return self.inside(x) * self.scale

        built = keras.Sequential([keras.Input((3,)), Scale(name="mine")])
        handle = constrain(built, ac.NonNeg(), verbose=False)
        assert set(handle.unsaved) == {"mine/scale", "mine/inside/kernel", "mine/inside/bias"}

    def test_errors_come_before_anything_is_changed(self):
        built = model()
        before = [v.constraint for v in built.trainable_variables], built.get_weights()
        for rules, error in (
            ({"*kernel": ac.NonNeg(), "nothing": ac.NonNeg()}, LookupError),
            ({"conv/kernel": ac.NonNeg(), "conv/bias": ac.MaxNorm(axis=1)}, ValueError),
            ({"conv/kernel": ac.NonNeg(), "conv/bias": INCOMING}, ValueError),
            ({"conv/kernel": ac.NonNeg(), "conv/bias": lambda w: 1 / 0}, ZeroDivisionError),
        ):
            with pytest.raises(error):
                constrain(built, rules, verbose=False)
            assert [v.constraint for v in built.trainable_variables] == before[0]
            for a, b in zip(built.get_weights(), before[1], strict=True):
                assert (a == b).all()

    def test_of_what_is_no_built_model_is_an_error(self):
        with pytest.raises(TypeError, match="constrain takes a model of Keras, got dict"):
            constrain({}, ac.NonNeg())
        with pytest.raises(ValueError, match="has no weights yet"):
            constrain(layers.Dense(2), ac.NonNeg())

    def test_remove_puts_back_what_was_there(self):
        first = ac.UnitNorm()
        dense = layers.Dense(2, kernel_constraint=first)
        built = keras.Sequential([keras.Input((3,)), dense])
        config = built.to_json()
        handle = constrain(built, ac.NonNeg(), verbose=False)
        assert dense.kernel_constraint == dense.kernel.constraint == ac.NonNeg()
        handle.remove()
        assert dense.kernel_constraint is dense.kernel.constraint is first
        assert dense.bias.constraint is None
        assert built.to_json() == config

    def test_another_model_of_the_same_names_is_projected(self):
        built, averages = model(), model()
        handle = constrain(built, RULES, verbose=False)
        averages.set_weights([w - 1 for w in averages.get_weights()])
        handle.project(averages)
        assert lengths(averages.get_layer("conv").kernel, (0, 1, 2)).max() <= 0.01
        assert (averages.get_layer("conv").bias.value == 0).all()
        assert averages.get_layer("conv").bias.constraint is None

    def test_explain_shows_slices_and_what_is_violated(self):
        built = model()
        handle = constrain(built, RULES, verbose=False)
        built.get_layer("conv").kernel.assign(np.ones((2, 2, 2, 3)))
        row = {r["weight"]: r for r in handle.explain().rows}["conv/kernel"]
        assert (row["axis"], row["slices"], row["entries"], row["violating"]) == (
            (0, 1, 2), 3, 8, 3,
        )  # fmt: skip
        assert handle.violations().keys() == {"conv/kernel"}


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


def test_names_of_a_model_are_those_of_keras_on_any_backend():
    from array_constraints.layers import weights_of

    names = {w.name for w in weights_of(model())}
    assert {"conv/kernel", "lstm/lstm_cell/kernel", "attention/query/bias"} <= names
