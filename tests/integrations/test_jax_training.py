"""Rules on pytrees of JAX: the exact projection, and the end of a chain of optax."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp
from libraries import bits

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.jax import constrain, projection
from array_constraints.rules import Rule, Rules

FOLDER = Path(__file__).parent
RULES = Rules([Rule("*.kernel", MaxNorm(1.0, axis=0)), Rule("*.bias", NonNeg())])


def normal(*shape, seed=0, dtype="float32"):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def network(dtype="float32", seed=0):
    return {
        "first": {
            "kernel": normal(24, 16, seed=seed, dtype=dtype),
            "bias": normal(16, seed=seed + 1, dtype=dtype),
        },
        "second": {"kernel": normal(16, 24, seed=seed + 2, dtype=dtype)},
    }


def same(a, b):
    leaves = jax.tree.leaves(a), jax.tree.leaves(b)
    return [bits(np.asarray(x)) for x in leaves[0]] == [bits(np.asarray(x)) for x in leaves[1]]


def satisfied(project, params):
    return all(float(v) == 0 for v in project.violations(params).values())


def trained(optimizer, params, steps, project=lambda p: p, scale=1.0):
    """Return the parameters after each step, in one compiled scan; gradients look random."""

    def step(carry, i):
        params, state = carry
        gradients = jax.tree.map(
            lambda p: (scale * jnp.sin(99 * p + i)).astype(p.dtype), params
        )
        updates, state = optimizer.update(gradients, state, params)
        params = project(optax.apply_updates(params, updates))
        return (params, state), params

    carry = (params, optimizer.init(params))
    return jax.lax.scan(step, carry, jnp.arange(steps))[1]


class TestAProjection:
    def test_is_what_each_constraint_does_on_its_own(self):
        params = network()
        found = projection(RULES, params)(params)
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
        project = projection(RULES, params)
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
                project = projection(MaxNorm(float(value)), params)
                step = jax.jit(lambda p, g, project=project: project(plain(p, g)))
                found = step(params, gradients)
                assert satisfied(project, found)
                assert same(project(found), found)

    def test_is_traced_by_jit_grad_and_vmap(self):
        params = network()
        project = projection(RULES, params)
        assert same(jax.jit(project)(params), project(params))
        assert same(jax.jit(lambda p: projection(RULES, p)(p))(params), project(params))

        def loss(p):
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(project(p)))

        gradients = jax.jit(jax.grad(loss))(params)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
        several = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
        found = jax.jit(jax.vmap(project))(several)
        assert same(jax.tree.map(lambda p: p[0], found), project(params))

    def test_leaves_alone_what_no_rule_selects_and_what_is_no_weight(self):
        params = {"kernel": normal(3, 2), "count": jnp.asarray(-3), "name": None}
        found = projection([("kernel", NonNeg())], params)(params)
        assert found["count"] is params["count"]
        assert found["name"] is None
        assert not (np.asarray(found["kernel"]) < 0).any()

    def test_takes_a_part_of_the_model(self):
        params = network()
        project = projection(RULES, params)
        assert same(
            project({"second": params["second"], "first": None})["second"],
            project(params)["second"],
        )

    def test_is_resolved_on_shapes_alone_and_keeps_no_array(self):
        shapes = jax.eval_shape(network)
        params = network()
        assert same(projection(RULES, shapes)(params), projection(RULES, params)(params))
        weight = projection(RULES, params)._weights["first.kernel"]
        assert isinstance(weight.array, jax.ShapeDtypeStruct)

    def test_says_what_is_violated_and_what_it_does(self):
        params = network()
        project = projection([Rule("*.kernel", MaxNorm(1.0, axis=0))], params)
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
        project = projection([("w", lambda w: jnp.clip(w, -0.1, 0.1))], params)
        assert float(jnp.abs(project(params)["w"]).max()) == np.float32(0.1)
        assert float(project.violations(params)["w"]) > 0
        wrong = projection([("w", lambda w: w.sum(axis=0))], params)
        with pytest.raises(ValueError, match=r"'w': its constraint has to return .*\(3, 2\)"):
            wrong(params)

    def test_has_bounds_that_are_traced(self):
        params = {"a": normal(8, 3), "b": normal(8, 3, seed=1)}

        @jax.jit
        def bounded(params, first, second):
            rules = [("a", MaxNorm(first)), ("b", MaxNorm(second))]
            return projection(rules, params)(params)

        found = bounded(params, 0.5, 0.25)
        for name, bound in (("a", 0.5), ("b", 0.25)):
            assert same(found[name], MaxNorm(bound)(params[name]))

    def test_reads_the_layout_that_it_is_told(self):
        params = {"layer": {"weight": normal(5, 3)}}
        project = projection(UnitNorm("incoming"), params, layout="torch")
        assert project.constraints["layer.weight"] == UnitNorm(axis=1)
        with pytest.raises(ValueError, match=r"'layer.weight': axis='incoming' is known from"):
            projection(UnitNorm("incoming"), params)

    def test_writes_into_donated_buffers(self):
        params = network()
        project = projection(RULES, params)
        expected = project(params)
        found = jax.jit(project, donate_argnums=0)(params)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
        assert same(found, expected)


class TestAMistake:
    def test_in_a_rule_is_an_error_before_training(self):
        params = network()
        with pytest.raises(LookupError, match="matches none"):
            projection([("*.weight", NonNeg())], params)
        with pytest.raises(ValueError, match=r"'first.bias': MaxNorm: axis 1 does not fit"):
            projection(MaxNorm(1.0, axis=1), params)
        with pytest.raises(TypeError, match=r"'w': MaxNorm takes a real floating dtype"):
            projection(MaxNorm(1.0), {"w": jnp.ones((2, 2), "complex64")})

    def test_in_a_pytree_is_named(self):
        with pytest.raises(TypeError, match="'scale': is a number"):
            projection(NonNeg(), {"scale": 1.0})
        with pytest.raises(ValueError, match=r"two arrays have the name 'a\.b'"):
            projection(NonNeg(), {"a.b": normal(2), "a": {"b": normal(2)}})

    def test_in_the_names_or_shapes_of_a_call_is_named(self):
        params = network()
        project = projection(RULES, params)
        other = {"first": params["first"], "third": params["second"]}
        with pytest.raises(ValueError, match=r"'third.kernel' is no weight .* 'second.kernel'"):
            project(other)
        params["second"] = {"kernel": normal(16, 25)}
        with pytest.raises(ValueError, match=r"'second.kernel': has the shape \(16, 25\), and"):
            jax.jit(project)(params)
        with pytest.raises(TypeError, match="'w': MaxNorm takes a real floating dtype"):
            projection(MaxNorm(1.0), {"w": normal(2, 2)})({"w": jnp.ones((2, 2), "complex64")})

    def test_of_parameters_that_are_not_passed_is_named(self):
        params = network()
        transformation = constrain(RULES, params)
        with pytest.raises(ValueError, match="constrain needs params"):
            transformation.update(params, transformation.init(params))
        with pytest.raises(ValueError, match="is no weight of the model"):
            transformation.init({"params": params})


class TestTheEndOfAChain:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_leads_to_what_is_allowed_up_to_roundoffs_and_exactly_at_0(self, dtype):
        params = network(dtype)
        optimizer = optax.chain(optax.sgd(0.3), constrain(RULES, params))
        history = trained(optimizer, params, 50, scale=3.0)
        assert not (np.asarray(history["first"]["bias"], "float32") < 0).any()
        u = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
        for layer in history.values():
            norms = np.linalg.norm(np.asarray(layer["kernel"], "float64"), axis=1)
            assert norms.max() <= 1 + 4 * u
            assert norms.max() > 1 - 16 * u

    def test_is_off_by_roundoffs_of_large_weights_in_its_first_step_alone(self):
        params = {"w": 1e4 * normal(24, 16)}
        optimizer = optax.chain(optax.sgd(0.1), constrain(MaxNorm(1.0), params))
        found = np.asarray(trained(optimizer, params, 2)["w"], "float64")
        first, second = np.linalg.norm(found, axis=1).max(axis=-1) - 1
        assert 2.0**-24 < first < 5e4 * 2.0**-24
        assert second < 4 * 2.0**-24

    def test_followed_by_the_projection_is_exact(self):
        params = network()
        project = projection(RULES, params)
        optimizer = optax.chain(optax.adam(0.1), constrain(RULES, params))
        history = trained(optimizer, params, 30, project)
        for i in range(30):
            now = jax.tree.map(lambda p, i=i: p[i], history)
            assert satisfied(project, now)
            assert same(project(now), now)

    def test_keeps_the_updates_of_what_is_satisfied(self):
        params = jax.tree.map(lambda p: abs(p) / 100 + 1, network())
        updates = jax.tree.map(lambda p: 0.001 * p * normal(*p.shape, seed=5), params)
        transformation = constrain([Rule("*", MinMaxNorm(0.1, 1e3, axis=0))], params)
        changed, _ = jax.jit(transformation.update)(updates, optax.EmptyState(), params)
        assert same(changed, updates)

    def test_moves_nothing_in_steps_without_an_update(self):
        params = projection(RULES, network())(network())
        optimizer = optax.MultiSteps(
            optax.chain(optax.sgd(0.1), constrain(RULES, params)), every_k_schedule=3
        ).gradient_transformation()
        history = trained(optimizer, params, 6)
        assert same(jax.tree.map(lambda p: p[1], history), params)
        assert not same(jax.tree.map(lambda p: p[2], history), params)
        assert same(
            jax.tree.map(lambda p: p[3], history), jax.tree.map(lambda p: p[2], history)
        )
        after = optax.chain(
            optax.MultiSteps(optax.sgd(0.1), 3).gradient_transformation(),
            constrain(RULES, params),
        )
        assert same(jax.tree.map(lambda p: p[1], trained(after, params, 2)), params)

    def test_is_masked_and_chosen_by_labels(self):
        params = network()
        rules = [Rule("*.kernel", MaxNorm(0.5, axis=0))]
        mask = {"first": True, "second": {"kernel": False}}
        masked = optax.chain(optax.sgd(0.1), optax.masked(constrain(rules, params), mask))
        labels = {"first": {"kernel": "a", "bias": "b"}, "second": {"kernel": "b"}}
        chosen = optax.multi_transform(
            {"a": optax.chain(optax.sgd(0.1), constrain(rules, params)), "b": optax.sgd(0.1)},
            labels,
        )
        for optimizer in (masked, chosen):
            last = jax.tree.map(lambda p: p[-1], trained(optimizer, params, 3))
            violations = projection(rules, params).violations(last)
            assert float(violations["first.kernel"]) < 1e-6
            assert float(violations["second.kernel"]) > 1

    def test_has_a_bound_that_is_a_hyperparameter(self):
        params = {"w": normal(24, 16)}

        def transformation(largest):
            return constrain([("w", MaxNorm(largest))], params)

        def schedule(count):
            return 2.0 / (1 + count)

        optimizer = optax.chain(
            optax.sgd(0.01), optax.inject_hyperparams(transformation)(largest=schedule)
        )
        norms = np.linalg.norm(np.asarray(trained(optimizer, params, 3)["w"]), axis=1)
        np.testing.assert_allclose(norms.max(axis=1), [2.0, 1.0, 2 / 3], rtol=1e-6)

    def test_is_skipped_where_updates_are_not_finite(self):
        params = projection(RULES, network())(network())
        chain = optax.chain(optax.sgd(0.1), constrain(RULES, params))
        optimizer = optax.apply_if_finite(chain, max_consecutive_errors=5)
        gradients = jax.tree.map(lambda p: p * jnp.nan, params)
        updates, state = optimizer.update(gradients, optimizer.init(params), params)
        assert same(optax.apply_updates(params, updates), params)
        assert int(state.total_notfinite) == 1

    def test_takes_updates_wider_than_the_parameters_and_passes_arguments_on(self):
        params = {"w": normal(24, 16, dtype="bfloat16")}
        project = projection(MaxNorm(1.0), params)
        optimizer = optax.chain(constrain(MaxNorm(1.0), params))
        updates = {"w": normal(24, 16, seed=1)}
        changed, _ = optimizer.update(updates, optimizer.init(params), params, value=1.0)
        found = optax.apply_updates(params, changed)
        assert same(found, project(optax.apply_updates(params, updates)))


class TestComplaints:
    """What users of other libraries ran into: what is done here instead."""

    def test_no_axis_is_dropped_and_no_result_lost(self):
        """equinox#809: a port without the axis, whose ``.at[].set`` was discarded."""
        params = {"weight": normal(16, 24)}
        project = projection(MaxNorm(1.0, axis=1), params)
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
        optimizer = optax.chain(optax.sgd(0.1), constrain(rules, params))
        last = jax.tree.map(lambda p: p[-1], trained(optimizer, params, 3))
        for name, axis in (("dense", 0), ("conv", (0, 1, 2)), ("all", None)):
            norms = (np.asarray(last[name], "float64") ** 2).sum(axis=axis) ** 0.5
            np.testing.assert_allclose(norms, 1.0, rtol=1e-6)

    def test_a_step_of_any_optimizer_leaves_the_set_and_comes_back(self):
        """jax#2843: constraints in an optimizer; and a step may make a rate negative."""
        params = {"rate": jnp.asarray([1e-3, 2.0])}
        for optimizer in (optax.sgd(1.0), optax.adam(1.0), optax.lion(1.0)):
            chain = optax.chain(optimizer, constrain(NonNeg(), params))
            updates, _ = chain.update({"rate": jnp.ones(2)}, chain.init(params), params)
            assert (np.asarray(optax.apply_updates(params, updates)["rate"]) >= 0).all()


def test_without_optax_there_is_the_projection():
    code = (
        "import sys; sys.modules['optax'] = None\n"
        "import jax.numpy as jnp\n"
        "from array_constraints import NonNeg\n"
        "from array_constraints.integrations.jax import constrain, projection\n"
        "params = {'w': jnp.asarray([-1.0])}\n"
        "assert projection(NonNeg(), params)(params)['w'][0] == 0\n"
        "try:\n    constrain(NonNeg(), params)\n"
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


def printed_by(*arguments):
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_shards_stay_where_they_are():
    """On four devices: nothing is gathered that the constraint alone does not gather."""
    found = json.loads(printed_by(str(FOLDER / "sharded_on_jax.py")))
    assert found.pop("cases") == 9
    assert found == {}
