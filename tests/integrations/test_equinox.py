"""Equinox's models as they are: modules, parts of them, and weights that layers share."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
eqx = pytest.importorskip("equinox")

import jax.numpy as jnp
from libraries import bits

from array_constraints import MaxNorm, UnitNorm
from array_constraints.integrations.jax import constrain, projection
from array_constraints.rules import Rule

UNITS = [Rule("*", MaxNorm(0.3, axis="incoming"), kind=("dense", "embedding"))]
X = jnp.ones((4, 3))


def network():
    return eqx.nn.MLP(3, 2, 5, 1, key=jax.random.key(0))


def largest(project, model):
    return max(float(v) for v in project.violations(model).values())


def test_a_module_comes_back_as_a_new_one():
    model = network()
    project = projection(model, UNITS)
    assert project.constraints == dict.fromkeys(
        ("layers.0.weight", "layers.1.weight"), MaxNorm(0.3, axis=1)
    )
    before = bits(np.asarray(model.layers[0].weight))
    found = project(model)
    assert type(found) is eqx.nn.MLP
    assert found.activation is model.activation
    assert bits(np.asarray(model.layers[0].weight)) == before
    assert largest(project, model) > largest(project, found) == 0


@pytest.mark.parametrize("kept", [eqx.is_array, eqx.is_inexact_array])
def test_its_arrays_alone_are_taken_too(kept):
    model = network()
    project = projection(model, UNITS)
    arrays, rest = eqx.partition(model, kept)
    found = eqx.combine(project(arrays), rest)
    assert eqx.tree_equal(found, project(model))


def test_a_compiled_step_is_constrained():
    model = network()
    project = projection(model, UNITS)
    optimizer = optax.chain(optax.adam(0.1), constrain(model, UNITS))
    state = optimizer.init(eqx.filter(model, eqx.is_array))

    @eqx.filter_jit(donate="all")
    def step(model, state, x):
        gradients = eqx.filter_grad(lambda m: (jax.vmap(m)(x) ** 2).sum())(model)
        params = eqx.filter(model, eqx.is_array)
        updates, state = optimizer.update(gradients, state, params)
        return project(eqx.apply_updates(model, updates)), state

    for _ in range(2):
        model, state = step(model, state, jnp.array(X))
        assert largest(project, model) == 0


def test_shapes_are_enough():
    assert len(projection(eqx.filter_eval_shape(network), UNITS).constraints) == 2


def test_modules_in_a_dictionary_know_their_units():
    models = {"encoder": network(), "decoder": [network()]}
    project = projection(models, UNITS)
    assert "decoder.0.layers.1.weight" in project.constraints
    assert largest(project, project(models)) == 0


class Tied(eqx.Module):
    """An embedding, and the layer that turns its vectors into scores."""

    embedding: eqx.nn.Embedding
    scores: eqx.nn.Linear

    def __init__(self):
        first, second = jax.random.split(jax.random.key(0))
        self.embedding = eqx.nn.Embedding(7, 3, key=first)
        scores = eqx.nn.Linear(3, 7, key=second)
        self.scores = eqx.tree_at(lambda s: s.weight, scores, self.embedding.weight)


class Shared(eqx.Module):
    both: eqx.nn.Shared

    def __init__(self):
        model = Tied()
        self.both = eqx.nn.Shared(
            (model.embedding, model.scores),
            where=lambda pair: pair[1].weight,
            get=lambda pair: pair[0].weight,
        )


class TestSharedWeights:
    def test_of_shared_are_one_weight(self):
        project = projection(Shared(), UNITS)
        assert list(project.constraints) == ["both.pytree.0.weight"]
        embedding, scores = project(Shared()).both()
        assert embedding.weight is scores.weight
        assert np.linalg.norm(np.asarray(scores.weight), axis=1).max() <= 0.3

    def test_that_are_one_array_at_the_start_are_two(self):
        """JAX knows arrays by their place: they part at the first step."""
        rules = [("embedding.weight", UnitNorm("incoming"))]
        for model in (Tied(), eqx.filter_eval_shape(Tied)):
            assert projection(model, rules).constraints == {
                "embedding.weight": UnitNorm(axis=1)
            }
        found = projection(Tied(), rules)(Tied())
        assert bits(np.asarray(found.scores.weight)) == bits(np.asarray(Tied().scores.weight))
        norms = np.linalg.norm(np.asarray(found.embedding.weight), axis=1)
        np.testing.assert_allclose(norms, 1.0, rtol=1e-6)


def test_stacked_layers_have_no_known_axis():
    model = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 5, key=key))(
        jax.random.split(jax.random.key(0), 3)
    )
    with pytest.raises(ValueError, match=r"\(3, 5, 4\) is not that of one Linear"):
        projection(model, [("weight", MaxNorm(0.3, "incoming"))])


def test_what_another_weight_is_made_of_is_refused():
    model = eqx.nn.WeightNorm(eqx.nn.Linear(4, 5, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"'layer.weight'.* made of it, by WeightNorm"):
        projection(model, [("*.weight", MaxNorm(0.3, "incoming"))])
    assert projection(model, [("*.bias", MaxNorm(0.3, axis=None))]).constraints
