"""Beside Keras itself: its results and its configs; docs/keras.md lists the differences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from libraries import Library

import array_constraints as ac

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "golden_numpy.json").read_text())
EPSILON = GOLDEN["epsilon"]
U = 2.0**-24
INPUTS = {
    name: np.asarray(values, dtype="float32") for name, values in GOLDEN["inputs"].items()
}
# float32 squares overflow at 1e20: Keras returns zeros or NaN. docs/keras.md, "Large weights".
OVERFLOWS = {"big"}


def norms(w: np.ndarray, config: dict) -> np.ndarray:
    axis = config.get("axis")
    axis = tuple(axis) if isinstance(axis, list) else axis
    return np.sqrt(np.sum(np.square(w.astype(np.float64)), axis=axis, keepdims=True))


def exact(w: np.ndarray, constraint: ac.NormConstraint) -> np.ndarray:
    """The definition, in float64, where nothing of float32 overflows."""
    size = norms(w, constraint.get_config())
    lower, upper, rate = constraint.interval()
    return w * ((1 - rate) + rate * np.clip(size, lower, upper) / size)


@pytest.mark.parametrize(
    "case",
    GOLDEN["cases"],
    ids=lambda case: f"{case['input']}-{case['class_name']}-{list(case['config'].values())}",
)
def test_golden_cases_agree_within_keras_epsilon(library: Library, case):
    """Keras divides by norm + epsilon: entries differ by epsilon / (norm + epsilon).

    Besides, ours are at most (12 + 1.5 L) u inside, and Keras rounds a few times: 20 u.
    """
    w = INPUTS[case["input"]]
    keras = np.asarray(case["output"], dtype="float32")
    constraint = ac.deserialize({k: case[k] for k in ("class_name", "config")})
    result = library.numpy(constraint(library.array(w)))
    if case["input"] in OVERFLOWS and case["class_name"] != "NonNeg":
        assert np.isnan(keras).any() or (keras == 0).any()
        np.testing.assert_allclose(result, exact(w, constraint), rtol=20 * U)
        return
    epsilon = 0.0
    if case["class_name"] != "NonNeg":
        epsilon = EPSILON / (norms(w, case["config"]) + EPSILON)
    difference = np.abs(result.astype(np.float64) - keras)
    assert (difference <= np.abs(result) * (epsilon * (1 + 1e-6) + 20 * U)).all()


KERAS = """
import json, sys, warnings
import keras, numpy as np
configs = json.load(sys.stdin)
w = np.random.default_rng(0).standard_normal((4, 3)).astype("float32") * 3
answers = []
for config in configs:
    constraint = keras.constraints.deserialize(config)
    image = keras.ops.convert_to_numpy(constraint(keras.ops.convert_to_tensor(w)))
    answers.append([type(constraint).__module__, keras.constraints.serialize(constraint),
                    image.tolist()])
print(json.dumps(answers))
"""


def ask_keras(backend: str, configs: list) -> list:
    """What Keras on one of its backends makes of the configs: one process for each backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", KERAS],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(run.stdout)


CONSTRAINTS = [
    ac.MaxNorm(1.5),
    ac.MaxNorm(1.5, axis=None),
    ac.MinMaxNorm(0.5, 2, rate=0.75, axis=1),
    ac.NonNeg(),
    ac.UnitNorm(axis=(0, 1)),
]


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_keras_loads_its_dialect_and_computes_the_same(backend):
    pytest.importorskip(backend)
    answers = ask_keras(backend, [ac.serialize(c, dialect="keras") for c in CONSTRAINTS])
    w = np.random.default_rng(0).standard_normal((4, 3)).astype("float32") * 3
    for constraint, (module, config, image) in zip(CONSTRAINTS, answers, strict=True):
        assert module.startswith("keras.")
        assert ac.deserialize(config) == constraint
        np.testing.assert_allclose(constraint(w), image, rtol=1e-6)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_keras_never_takes_our_dialect_for_its_own_class(constraint):
    import keras

    ours = ac.serialize(constraint)
    with pytest.raises(ValueError, match="Could not interpret constraint identifier"):
        keras.constraints.get(ours)
    with pytest.raises(TypeError, match="Could not locate class 'array_constraints>"):
        keras.saving.deserialize_keras_object(ours)
    # This one hands back the name, a string, where it knows no such class.
    assert not isinstance(keras.constraints.deserialize(ours), keras.constraints.Constraint)


def test_our_get_answers_as_keras_get_does():
    import keras

    for name in ("MaxNorm", "max_norm", "NonNeg", "non_neg", "UnitNorm", "min_max_norm"):
        ours, theirs = ac.get(name), keras.constraints.get(name)
        assert type(ours).__name__ == type(theirs).__name__
        assert ours.get_config() == theirs.get_config()
    for wrong in ("bogus", 3, {"config": {}}):
        for get in (ac.get, keras.constraints.get):
            with pytest.raises(ValueError, match=r"."):
                get(wrong)
