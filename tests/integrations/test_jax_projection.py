"""Rules on pytrees of JAX: the projection is exact, traced, and says what it does."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp
from jax_network import RULES, network, normal, same, satisfied, trained

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.jax import projection
from array_constraints.rules import Rule


class TestAProjection:
    def test_is_what_each_constraint_does_on_its_own(self):
        params = network()
        found = projection(params, RULES)(params)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        expected = {
            "first": {
                "kernel": MaxNorm(1.0, axis=0)(params["first"]["kernel"]),
                "bias": NonNeg()(params["first"]["bias"]),
            },
            "second": {"kernel": MaxNorm(1.0, axis=0)(params["second"]["kernel"])},
        }
        assert same(found, expected)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_is_exact_after_updates_and_satisfied_bit_for_bit(self, dtype):
        params = network(dtype)
        project = projection(params, RULES)
        history = trained(optax.adam(0.1), params, 30, project)
        for i in range(30):
            now = jax.tree.map(lambda p, i=i: p[i], history)
            assert satisfied(project, now)
            assert same(project(now), now)
            assert same(jax.jit(project)(now), now)

    def test_of_slices_at_their_bound_is_that_of_what_is_returned(self):
        """XLA computes an update anew where it needs it: a roundoff must not decide twice."""
        params = {"w": normal(300, 8)}
        optimizer = optax.sgd(0.3)
        state = optimizer.init(params)
        plain = jax.jit(lambda p, g: optax.apply_updates(p, optimizer.update(g, state, p)[0]))
        for seed in range(6):
            gradients = {"w": normal(300, 8, seed=seed + 1)}
            moved = np.asarray(plain(params, gradients)["w"], "float64")
            bound = np.float32(np.linalg.norm(moved[:, seed % 8]))
            for value in (np.nextafter(bound, np.float32(0)), bound):
                project = projection(params, MaxNorm(float(value)))
                step = jax.jit(lambda p, g, project=project: project(plain(p, g)))
                found = step(params, gradients)
                assert satisfied(project, found)
                assert same(project(found), found)

    def test_is_traced_by_jit_grad_and_vmap(self):
        params = network()
        project = projection(params, RULES)
        assert same(jax.jit(project)(params), project(params))
        assert same(jax.jit(lambda p: projection(p, RULES)(p))(params), project(params))

        def loss(p):
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(project(p)))

        gradients = jax.jit(jax.grad(loss))(params)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
        several = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
        found = jax.jit(jax.vmap(project))(several)
        assert same(jax.tree.map(lambda p: p[0], found), project(params))

    def test_leaves_alone_what_no_rule_selects_and_what_is_no_weight(self):
        params = {"kernel": normal(3, 2), "count": jnp.asarray(-3), "name": None}
        found = projection(params, [("kernel", NonNeg())])(params)
        assert found["count"] is params["count"]
        assert found["name"] is None
        assert not (np.asarray(found["kernel"]) < 0).any()

    def test_takes_a_part_of_the_model(self):
        params = network()
        project = projection(params, RULES)
        assert same(
            project({"second": params["second"], "first": None})["second"],
            project(params)["second"],
        )

    def test_is_resolved_on_shapes_alone_and_keeps_no_array(self):
        shapes = jax.eval_shape(network)
        params = network()
        assert same(projection(shapes, RULES)(params), projection(params, RULES)(params))
        weight = projection(params, RULES)._weights["first.kernel"]
        assert isinstance(weight.array, jax.ShapeDtypeStruct)

    def test_says_what_is_violated_and_what_it_does(self):
        params = network()
        project = projection(params, [Rule("*.kernel", MaxNorm(1.0, axis=0))])
        found = jax.jit(project.violations)(params)
        assert list(found) == ["first.kernel", "second.kernel"]
        expected = MaxNorm(1.0, axis=0).violation(params["first"]["kernel"]).max()
        assert float(found["first.kernel"]) == float(expected) > 0
        rows = {row["weight"]: row for row in project.explain(params).rows}
        assert rows["first.bias"]["constraint"] is None
        assert rows["second.kernel"]["violating"] == 24
        assert project.constraints["second.kernel"] == MaxNorm(1.0, axis=0)
        assert repr(project).startswith("Projection({'first.kernel': MaxNorm")

    def test_takes_any_callable(self):
        params = {"w": normal(3, 2)}
        project = projection(params, [("w", lambda w: jnp.clip(w, -0.1, 0.1))])
        assert float(jnp.abs(project(params)["w"]).max()) == np.float32(0.1)
        assert float(project.violations(params)["w"]) > 0
        wrong = projection(params, [("w", lambda w: w.sum(axis=0))])
        with pytest.raises(ValueError, match=r"'w': its constraint has to return .*\(3, 2\)"):
            wrong(params)

    def test_has_bounds_that_are_traced(self):
        params = {"a": normal(8, 3), "b": normal(8, 3, seed=1)}

        @jax.jit
        def bounded(params, first, second):
            rules = [("a", MaxNorm(first)), ("b", MaxNorm(second))]
            return projection(params, rules)(params)

        found = bounded(params, 0.5, 0.25)
        for name, bound in (("a", 0.5), ("b", 0.25)):
            assert same(found[name], MaxNorm(bound)(params[name]))

    def test_reads_the_layout_that_it_is_told(self):
        params = {"layer": {"weight": normal(5, 3)}}
        project = projection(params, UnitNorm("incoming"), layout="torch")
        assert project.constraints["layer.weight"] == UnitNorm(axis=1)
        with pytest.raises(ValueError, match=r"'layer.weight': axis='incoming' is known from"):
            projection(params, UnitNorm("incoming"))

    def test_writes_into_donated_buffers(self):
        params = network()
        project = projection(params, RULES)
        expected = project(params)
        found = jax.jit(project, donate_argnums=0)(params)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
        assert same(found, expected)
