"""``constrain`` on models of Keras: at once, saved with them, taken off; without training."""

from __future__ import annotations

import numpy as np
import pytest

import array_constraints as ac
from array_constraints.rules import Rule, Rules

keras = pytest.importorskip("keras")
from keras_imported import integration  # noqa: F401
from keras_model import INCOMING, RULES, model

layers = keras.layers
# Keras itself meets a deprecation of NumPy's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
    pytest.mark.usefixtures("integration"),
]


def constrain(model, rules, **options):
    from array_constraints.integrations.keras import constrain

    return constrain(model, rules, **options)


def lengths(variable, axes) -> np.ndarray:
    return np.sqrt(np.sum(np.square(variable.value, dtype="float64"), axis=axes))


def constraints(model) -> dict:
    from array_constraints.layers import weights_of

    return {w.name: w.array.constraint for w in weights_of(model)}


class TestConstrain:
    def test_takes_effect_at_once_and_survives_saving(self, tmp_path, capsys):
        built = model()
        handle = constrain(built, RULES)
        assert not any(handle.violations().values())
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
            assert not any(handle.violations().values())
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

            def compute_output_shape(self, shape):  # else Keras calls it on what is in memory
                return shape

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
        violated = {name for name, found in handle.violations().items() if found}
        assert violated == {"conv/kernel"}
        assert repr(handle).startswith("Constrained({'")

    def test_a_variable_that_a_wrapper_holds_too_is_that_of_the_layer_in_it(self, tmp_path):
        wrapped = layers.SpectralNormalization(layers.Dense(4, name="in"), name="around")
        built = keras.Sequential([keras.Input((6,)), wrapped, layers.Dense(2, name="out")])
        handle = constrain(built, {"*kernel": INCOMING}, verbose=False)
        assert list(handle.violations()) == ["around/in/kernel", "out/kernel"]
        assert handle.unsaved == {}
        built.save(tmp_path / "model.keras")
        loaded = constraints(keras.models.load_model(tmp_path / "model.keras"))
        assert loaded["around/in/kernel"] == built.layers[0].layer.kernel.constraint

    def test_a_layer_at_two_places_has_both_names(self):
        shared = layers.Dense(4, name="shared")
        inner = keras.Sequential([keras.Input((4,)), shared], name="inner")
        built = keras.Sequential([keras.Input((4,)), inner, shared])
        rules = [Rule("*kernel", INCOMING, exclude="shared/*", required=False)]
        assert Rules(rules).match(built) == {}
        handle = constrain(built, {"shared/kernel": INCOMING}, verbose=False)
        assert list(handle.violations()) == ["inner/shared/kernel"]
