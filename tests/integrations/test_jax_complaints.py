"""What users of other libraries on JAX ran into."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp
from jax_network import normal, trained

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.jax import constrain, projection


class TestComplaints:
    """What users of other libraries ran into: what is done here instead."""

    def test_no_axis_is_dropped_and_no_result_lost(self):
        """equinox#809: a port without the axis, whose ``.at[].set`` was discarded."""
        params = {"weight": normal(16, 24)}
        project = projection(params, MaxNorm(1.0, axis=1))
        found = project(params)
        assert found["weight"] is not params["weight"]
        rows = np.linalg.norm(np.asarray(found["weight"]), axis=1)
        assert rows.max() <= 1.0
        assert np.linalg.norm(np.asarray(found["weight"])) > 3  # not all of it as one slice

    def test_each_weight_has_its_axis_in_one_chain(self):
        """optax#1182: no axis could be given."""
        params = {"dense": normal(8, 5), "conv": normal(3, 3, 4, 5), "all": normal(4, 4)}
        rules = [
            ("dense", UnitNorm(axis=0)),
            ("conv", UnitNorm(axis=(0, 1, 2))),
            ("all", UnitNorm(axis=None)),
        ]
        optimizer = optax.chain(optax.sgd(0.1), constrain(params, rules))
        last = jax.tree.map(lambda p: p[-1], trained(optimizer, params, 3))
        for name, axis in (("dense", 0), ("conv", (0, 1, 2)), ("all", None)):
            norms = (np.asarray(last[name], "float64") ** 2).sum(axis=axis) ** 0.5
            np.testing.assert_allclose(norms, 1.0, rtol=1e-6)

    def test_a_step_of_any_optimizer_leaves_the_set_and_comes_back(self):
        """jax#2843: constraints in an optimizer; and a step may make a rate negative."""
        params = {"rate": jnp.asarray([1e-3, 2.0])}
        for optimizer in (optax.sgd(1.0), optax.adam(1.0), optax.lion(1.0)):
            chain = optax.chain(optimizer, constrain(params, NonNeg()))
            updates, _ = chain.update({"rate": jnp.ones(2)}, chain.init(params), params)
            assert (np.asarray(optax.apply_updates(params, updates)["rate"]) >= 0).all()
