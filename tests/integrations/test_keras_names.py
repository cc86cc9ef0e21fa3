"""Keras never takes a class of its own for one of ours: with the integration, and without."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import array_constraints as ac

pytest.importorskip("keras")
from keras_imported import integration  # noqa: F401

SAVE = """
import json, sys
import keras
import array_constraints as ac
import array_constraints.integrations.keras

@ac.register(package="mine")
class MaxNorm(ac.Constraint):
    pass

def model(constraint):
    layer = keras.layers.Dense(2, kernel_constraint=constraint)
    return keras.Sequential([keras.Input((3,)), layer])

for name, constraint in (("ours", ac.MaxNorm(3, axis="incoming")), ("mine", MaxNorm())):
    model(constraint).save(f"{sys.argv[1]}/{name}.keras")
    with open(f"{sys.argv[1]}/{name}.json", "w") as file:
        json.dump([json.loads(model(constraint).to_json()), constraint.get_config(),
                   keras.saving.serialize_keras_object(constraint)], file)
"""

LOAD = """
import json, sys
import keras
folder = sys.argv[1]
for name in ("ours", "mine"):
    model, config, constraint = json.load(open(f"{folder}/{name}.json"))
    for load in (
        lambda: keras.models.load_model(f"{folder}/{name}.keras").layers[0].kernel_constraint,
        lambda: keras.models.model_from_json(json.dumps(model)).layers[0].kernel_constraint,
        lambda: keras.saving.deserialize_keras_object(constraint),
        lambda: keras.constraints.get(constraint),
    ):
        try:
            loaded = load()
        except (TypeError, ValueError):
            print("raised")
        else:
            print(type(loaded).__module__, "|", loaded)
"""


def run(code: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "numpy"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    run(SAVE, str(folder))
    return folder


@pytest.mark.parametrize("process", ["import keras", "import array_constraints"])
def test_a_process_without_the_integration_raises(folder, process):
    assert run(f"{process}\n{LOAD}", str(folder)) == ["raised"] * 8


def test_a_process_with_the_integration_loads_ours(folder):
    lines = run("import array_constraints.integrations.keras\n" + LOAD, str(folder))
    ours = "array_constraints.sets.norms | MaxNorm(max_value=3, axis='incoming')"
    # Of a class in a module that is not imported, there is nothing to load.
    assert lines == [ours] * 4 + ["raised"] * 4


def test_the_names_in_the_file(folder):
    for name, key in (("ours", "array_constraints>MaxNorm"), ("mine", "mine>MaxNorm")):
        _, _, config = json.loads((folder / f"{name}.json").read_text())
        assert config["class_name"] == config["registered_name"] == key
    assert ac.deserialize(json.loads((folder / "ours.json").read_text())[2]) == ac.MaxNorm(
        3, axis="incoming"
    )


WITHOUT = """
import keras
import array_constraints as ac
dense = keras.layers.Dense(2, kernel_constraint=ac.MaxNorm(3))
model = keras.Sequential([keras.Input((3,)), dense])  # nothing of ours is asked here
for use in (
    dense.get_config,
    model.to_json,
    lambda: model.save("never.keras"),
    lambda: keras.models.clone_model(model),
    lambda: dense.kernel_constraint(dense.kernel),  # as an optimizer does
):
    try:
        use()
    except TypeError as error:
        print("array_constraints.integrations.keras" in str(error))
"""


def test_without_the_integration_saving_and_training_name_the_import(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(WITHOUT) == ["True"] * 5


def test_without_keras_the_package_works_and_the_adapter_says_what_to_install():
    code = """
import sys
sys.modules["keras"] = None
import array_constraints as ac
import numpy as np
print(ac.NonNeg()(np.asarray([3.0, -4.0])).tolist())
del sys.modules["keras"]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            raise ModuleNotFoundError("No module named 'keras'", name="keras")
sys.meta_path.insert(0, Absent())
try:
    import array_constraints.integrations.keras
except ModuleNotFoundError as error:
    print(error.name, "pip install keras" in str(error))
"""
    assert run(code) == ["[3.0, 0.0]", "keras True"]


@dataclass(frozen=True)
class Halve(ac.Constraint):
    """Registered after the import of the integration."""

    by: float = 2.0

    def __call__(self, w):
        return w / self.by


@pytest.mark.usefixtures("integration")
class TestAClassThatIsRegistered:
    @pytest.fixture(autouse=True)
    def registered_as_before(self):
        from array_constraints.config import registry

        before = dict(registry._registered)
        yield
        registry._registered.clear()
        registry._registered.update(before)

    @pytest.mark.parametrize("constraint", [ac.MaxNorm(3), ac.NonNeg(), Halve(4.0)], ids=repr)
    def test_is_printed_pickled_and_serialised_as_before(self, constraint):
        cls = type(constraint)
        if cls is Halve:
            ac.register(package="late", name="Other")(cls)
            assert cls.__name__ == "late>Other"
        assert repr(constraint).startswith(f"{cls.__qualname__}(")
        again = pickle.loads(pickle.dumps(constraint))
        assert again == constraint
        assert hash(again) == hash(constraint)
        assert type(again) is cls
        assert ac.deserialize(ac.serialize(constraint)) == constraint
        assert ac.serialize(constraint)["class_name"] == cls.__name__

    def test_has_its_name_in_messages(self):
        with pytest.raises(TypeError, match=r"^MaxNorm takes an array, got list"):
            ac.MaxNorm()([1.0])
        with pytest.raises(ValueError, match=r"^MaxNorm: axis 5 does not fit"):
            ac.MaxNorm(axis=5)(np.ones((2, 2)))
        with pytest.raises(TypeError, match=r"^NonNeg takes a real numeric dtype"):
            ac.NonNeg()(np.ones(2, dtype="complex64"))

    def test_is_found_by_name(self):
        ac.register(package="late")(Halve)
        assert ac.get("late>Halve") == Halve()
        assert ac.serialize(ac.MaxNorm(3), dialect="keras")["class_name"] == "MaxNorm"

    def test_is_saved_and_loaded_by_keras(self):
        import keras

        ac.register(package="late")(Halve)
        for constraint in (Halve(3.0), ac.UnitNorm(axis=(0, 1)), ac.MaxNorm(float("inf"))):
            config = keras.saving.serialize_keras_object(constraint)
            assert config["class_name"] == config["registered_name"]
            json.dumps(config, allow_nan=False)
            assert keras.constraints.get(config) == constraint

    def test_one_that_is_not_registered_is_refused_when_it_is_saved(self):
        import keras

        class MaxNorm(ac.Constraint):
            pass

        layer = keras.layers.Dense(2, kernel_constraint=MaxNorm())
        with pytest.raises(TypeError, match=r"decorate it with array_constraints.register"):
            layer.get_config()
        # Registered with Keras alone, another process would load Keras's MaxNorm for it.
        keras.saving.register_keras_serializable("elsewhere")(MaxNorm)
        with pytest.raises(TypeError, match="could take Keras's own MaxNorm for it"):
            layer.get_config()

    def test_registered_with_keras_under_a_name_that_keras_has_not_is_saved(self):
        import keras

        @keras.saving.register_keras_serializable("elsewhere")
        class Quarter(ac.Constraint):
            pass

        config = keras.layers.Dense(2, kernel_constraint=Quarter()).get_config()
        assert config["kernel_constraint"]["registered_name"] == "elsewhere>Quarter"
        layer = keras.layers.Dense.from_config(config)
        assert isinstance(layer.kernel_constraint, Quarter)


def test_the_integration_wraps_add_weight_once(integration):  # noqa: F811
    import importlib

    import keras

    import array_constraints.integrations.keras.variables as variables

    wrapped = keras.Layer.add_weight
    importlib.reload(variables).make_known()
    assert keras.Layer.add_weight is wrapped
