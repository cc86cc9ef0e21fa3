"""Mistakes in rules and pytrees of JAX, and libraries that are missing: all are named."""

from __future__ import annotations

import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("optax")

import jax.numpy as jnp
from jax_network import RULES, network, normal, printed_by

from array_constraints import MaxNorm, NonNeg
from array_constraints.integrations.jax import constrain, projection


class TestAMistake:
    def test_in_a_rule_is_an_error_before_training(self):
        params = network()
        with pytest.raises(ValueError, match="model and rules are taken in this order"):
            projection(RULES, params)
        with pytest.raises(LookupError, match="matches none"):
            projection(params, [("*.weight", NonNeg())])
        with pytest.raises(ValueError, match=r"'first.bias': MaxNorm: axis 1 does not fit"):
            projection(params, MaxNorm(1.0, axis=1))
        with pytest.raises(TypeError, match=r"'w': MaxNorm takes a real floating dtype"):
            projection({"w": jnp.ones((2, 2), "complex64")}, MaxNorm(1.0))

    def test_in_a_pytree_is_named(self):
        with pytest.raises(TypeError, match="'scale': is a number"):
            projection({"scale": 1.0}, NonNeg())
        with pytest.raises(ValueError, match=r"two arrays have the name 'a\.b'"):
            projection({"a.b": normal(2), "a": {"b": normal(2)}}, NonNeg())

    def test_in_the_names_or_shapes_of_a_call_is_named(self):
        params = network()
        project = projection(params, RULES)
        other = {"first": params["first"], "third": params["second"]}
        with pytest.raises(ValueError, match=r"'third.kernel' is no weight .* 'second.kernel'"):
            project(other)
        params["second"] = {"kernel": normal(16, 25)}
        with pytest.raises(ValueError, match=r"'second.kernel': has the shape \(16, 25\), and"):
            jax.jit(project)(params)
        with pytest.raises(TypeError, match="'w': MaxNorm takes a real floating dtype"):
            projection({"w": normal(2, 2)}, MaxNorm(1.0))({"w": jnp.ones((2, 2), "complex64")})

    def test_of_parameters_that_are_not_passed_is_named(self):
        params = network()
        transformation = constrain(params, RULES)
        with pytest.raises(ValueError, match="constrain needs params"):
            transformation.update(params, transformation.init(params))
        with pytest.raises(ValueError, match="is no weight of the model"):
            transformation.init({"params": params})


def test_without_optax_there_is_the_projection():
    code = (
        "import sys; sys.modules['optax'] = None\n"
        "import jax.numpy as jnp\n"
        "from array_constraints import NonNeg\n"
        "from array_constraints.integrations.jax import constrain, projection\n"
        "params = {'w': jnp.asarray([-1.0])}\n"
        "assert projection(params, NonNeg())(params)['w'][0] == 0\n"
        "try:\n    constrain(params, NonNeg())\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    assert "pip install optax" in printed_by("-c", code)


def test_without_jax_the_library_to_install_is_named():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import array_constraints.rules\n"
        "try:\n    import array_constraints.integrations.jax\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    assert "needs JAX: pip install jax" in printed_by("-c", code)
