"""Rules at the end of a chain of optax: with its masks, labels and schedules."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp
from jax_network import RULES, network, normal, same, satisfied, trained

from array_constraints import MaxNorm, MinMaxNorm
from array_constraints.integrations.jax import constrain, projection
from array_constraints.rules import Rule


class TestTheEndOfAChain:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_leads_to_what_is_allowed_up_to_roundoffs_and_exactly_at_0(self, dtype):
        params = network(dtype)
        optimizer = optax.chain(optax.sgd(0.3), constrain(params, RULES))
        history = trained(optimizer, params, 50, scale=3.0)
        assert not (np.asarray(history["first"]["bias"], "float32") < 0).any()
        u = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
        for layer in history.values():
            norms = np.linalg.norm(np.asarray(layer["kernel"], "float64"), axis=1)
            assert norms.max() <= 1 + 4 * u
            assert norms.max() > 1 - 16 * u

    def test_is_off_by_roundoffs_of_large_weights_in_its_first_step_alone(self):
        params = {"w": 1e4 * normal(24, 16)}
        optimizer = optax.chain(optax.sgd(0.1), constrain(params, MaxNorm(1.0)))
        found = np.asarray(trained(optimizer, params, 2)["w"], "float64")
        first, second = np.linalg.norm(found, axis=1).max(axis=-1) - 1
        assert 2.0**-24 < first < 5e4 * 2.0**-24
        assert second < 4 * 2.0**-24

    def test_followed_by_the_projection_is_exact(self):
        params = network()
        project = projection(params, RULES)
        optimizer = optax.chain(optax.adam(0.1), constrain(params, RULES))
        history = trained(optimizer, params, 30, project)
        for i in range(30):
            now = jax.tree.map(lambda p, i=i: p[i], history)
            assert satisfied(project, now)
            assert same(project(now), now)

    def test_keeps_the_updates_of_what_is_satisfied(self):
        params = jax.tree.map(lambda p: abs(p) / 100 + 1, network())
        updates = jax.tree.map(lambda p: 0.001 * p * normal(*p.shape, seed=5), params)
        transformation = constrain(params, [Rule("*", MinMaxNorm(0.1, 1e3, axis=0))])
        changed, _ = jax.jit(transformation.update)(updates, optax.EmptyState(), params)
        assert same(changed, updates)

    def test_moves_nothing_in_steps_without_an_update(self):
        params = projection(network(), RULES)(network())
        optimizer = optax.MultiSteps(
            optax.chain(optax.sgd(0.1), constrain(params, RULES)), every_k_schedule=3
        ).gradient_transformation()
        history = trained(optimizer, params, 6)
        assert same(jax.tree.map(lambda p: p[1], history), params)
        assert not same(jax.tree.map(lambda p: p[2], history), params)
        assert same(
            jax.tree.map(lambda p: p[3], history), jax.tree.map(lambda p: p[2], history)
        )
        after = optax.chain(
            optax.MultiSteps(optax.sgd(0.1), 3).gradient_transformation(),
            constrain(params, RULES),
        )
        assert same(jax.tree.map(lambda p: p[1], trained(after, params, 2)), params)

    def test_is_masked_and_chosen_by_labels(self):
        params = network()
        rules = [Rule("*.kernel", MaxNorm(0.5, axis=0))]
        mask = {"first": True, "second": {"kernel": False}}
        masked = optax.chain(optax.sgd(0.1), optax.masked(constrain(params, rules), mask))
        labels = {"first": {"kernel": "a", "bias": "b"}, "second": {"kernel": "b"}}
        chosen = optax.multi_transform(
            {"a": optax.chain(optax.sgd(0.1), constrain(params, rules)), "b": optax.sgd(0.1)},
            labels,
        )
        for optimizer in (masked, chosen):
            last = jax.tree.map(lambda p: p[-1], trained(optimizer, params, 3))
            violations = projection(params, rules).violations(last)
            assert float(violations["first.kernel"]) < 1e-6
            assert float(violations["second.kernel"]) > 1

    def test_has_a_bound_that_is_a_hyperparameter(self):
        params = {"w": normal(24, 16)}

        def transformation(largest):
            return constrain(params, [("w", MaxNorm(largest))])

        def schedule(count):
            return 2.0 / (1 + count)

        optimizer = optax.chain(
            optax.sgd(0.01), optax.inject_hyperparams(transformation)(largest=schedule)
        )
        norms = np.linalg.norm(np.asarray(trained(optimizer, params, 3)["w"]), axis=1)
        np.testing.assert_allclose(norms.max(axis=1), [2.0, 1.0, 2 / 3], rtol=1e-6)

    def test_is_skipped_where_updates_are_not_finite(self):
        params = projection(network(), RULES)(network())
        chain = optax.chain(optax.sgd(0.1), constrain(params, RULES))
        optimizer = optax.apply_if_finite(chain, max_consecutive_errors=5)
        gradients = jax.tree.map(lambda p: p * jnp.nan, params)
        updates, state = optimizer.update(gradients, optimizer.init(params), params)
        assert same(optax.apply_updates(params, updates), params)
        assert int(state.total_notfinite) == 1

    def test_takes_updates_wider_than_the_parameters_and_passes_arguments_on(self):
        params = {"w": normal(24, 16, dtype="bfloat16")}
        project = projection(params, MaxNorm(1.0))
        optimizer = optax.chain(constrain(params, MaxNorm(1.0)))
        updates = {"w": normal(24, 16, seed=1)}
        changed, _ = optimizer.update(updates, optimizer.init(params), params, value=1.0)
        found = optax.apply_updates(params, changed)
        assert same(found, project(optax.apply_updates(params, updates)))
