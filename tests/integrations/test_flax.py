"""Flax's models as they are: NNX in place, as a state and in its optimizer; Linen described."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
pytest.importorskip("flax")

import jax.numpy as jnp
from flax import linen, nnx
from flax.training.train_state import TrainState

from array_constraints import MaxNorm, NonNeg
from array_constraints.integrations.jax import constrain, described, projection
from array_constraints.rules import Rule

UNITS = [Rule("*", MaxNorm(0.3, axis="incoming"), kind=("dense", "conv"))]


class Network(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])

    def __call__(self, x):
        return self.layers[0](self.norm(self.conv(x)).mean(axis=(1, 2)))


IMAGES = jnp.ones((2, 6, 6, 1))


def largest(project, model):
    return max(float(v) for v in project.violations(model).values())


class TestNNX:
    def test_names_are_those_that_the_user_wrote_and_units_those_of_the_layers(self):
        project = projection(Network(nnx.Rngs(0)), UNITS)
        assert project.constraints == {
            "conv.kernel": MaxNorm(0.3, axis=(0, 1, 2)),
            "layers.0.kernel": MaxNorm(0.3, axis=0),
        }

    def test_a_module_is_updated_in_place_and_a_state_comes_back_as_one(self):
        model = Network(nnx.Rngs(0))
        project = projection(model, UNITS)
        mean, everything = model.norm.mean.get_value(), nnx.state(model)
        state = nnx.state(model, nnx.Param)
        plain = nnx.to_pure_dict(state)
        assert largest(project, model) > 0
        assert project(model) is model
        assert largest(project, model) == 0
        assert model.norm.mean.get_value() is mean
        expected = np.asarray(model.conv.kernel.get_value())
        for found in (project(everything), project(state), project(nnx.as_pure(state))):
            assert type(found) is nnx.State
            kernel = found["conv"]["kernel"]
            kernel = kernel.get_value() if isinstance(kernel, nnx.Param) else kernel
            assert np.array_equal(kernel, expected)
        assert np.array_equal(project(plain)["conv"]["kernel"], expected)

    def test_a_compiled_step_of_its_optimizer_is_constrained(self):
        model = Network(nnx.Rngs(0))
        project = projection(model, UNITS)
        chain = optax.chain(optax.adam(0.1), constrain(model, UNITS))
        optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            optimizer.update(model, nnx.grad(lambda m: (m(IMAGES) ** 2).sum())(model))
            return project.violations(model), nnx.state(project(model), nnx.Param)

        for _ in range(3):
            violations, _ = step(model, optimizer)
            assert max(map(float, violations.values())) < 1e-6
            assert largest(project, model) == 0

    def test_shapes_are_enough(self):
        shapes = nnx.eval_shape(lambda: Network(nnx.Rngs(0)))
        assert len(projection(shapes, UNITS).constraints) == 2

    def test_a_module_of_another_shape_is_refused_by_name(self):
        project = projection(Network(nnx.Rngs(0)), UNITS)
        other = Network(nnx.Rngs(0))
        other.layers[0] = nnx.Linear(4, 6, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match=r"'layers.0.bias': has the shape \(6,\)"):
            project(other)


class Shared(nnx.Module):
    def __init__(self, rngs):
        self.a, self.z = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)
        self.z.kernel = self.a.kernel
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), self.a])


class TestUnusualModules:
    RULE = ("*kernel", MaxNorm(0.3, "incoming"))

    def test_a_shared_weight_has_all_of_its_names(self):
        model = Shared(nnx.Rngs(0))
        assert set(projection(model, [self.RULE]).constraints) == {
            "a.kernel", "z.kernel", "layers.0.kernel", "layers.1.kernel",
        }  # fmt: skip
        rule = Rule(*self.RULE, exclude="z.*")
        assert set(projection(model, [rule]).constraints) == {"layers.0.kernel"}

    def test_units_that_differ_are_refused(self):
        model = Shared(nnx.Rngs(0))
        model.embed = nnx.Embed(4, 4, rngs=nnx.Rngs(0))
        model.a.kernel = model.embed.embedding
        with pytest.raises(ValueError, match=r"Linear .* and Embed .* share this weight"):
            projection(model, [self.RULE])

    def test_stacked_layers_have_no_known_axis(self):
        make = nnx.vmap(lambda rngs: nnx.Linear(4, 5, rngs=rngs))
        model = nnx.split_rngs(splits=3)(make)(nnx.Rngs(0))
        with pytest.raises(ValueError, match=r"\(3, 4, 5\) is not that of one Linear"):
            projection(model, [self.RULE])
        project = projection(model, [("*kernel", MaxNorm(0.3, axis=1))])  # no warning
        project(model)
        assert jnp.linalg.norm(model.kernel[...], axis=1).max() <= 0.3 * (1 + 2**-23)

    def test_what_another_weight_is_made_of_is_refused(self):
        rngs = nnx.Rngs(0)
        model = nnx.WeightNorm(nnx.Linear(4, 5, rngs=rngs), rngs=rngs)
        with pytest.raises(ValueError, match=r"instance.kernel'.* made of it, by WeightNorm"):
            projection(model, [self.RULE])
        module = linen.SpectralNorm(linen.Dense(3))
        params = module.init(jax.random.key(0), IMAGES, update_stats=False)["params"]
        weights = described(module, params, IMAGES, update_stats=False)
        with pytest.raises(ValueError, match=r"kernel'.* made of it, by SpectralNorm"):
            projection(weights, [self.RULE])
        assert projection(weights, [("*bias", MaxNorm(0.3, axis=None))]).constraints


class Classifier(linen.Module):
    norm: bool = False

    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3), name="conv")(x))
        if self.norm:
            x = linen.BatchNorm(use_running_average=True)(x)
        return linen.Dense(5)(x.mean(axis=(1, 2)))


class TestLinen:
    def test_an_example_input_tells_the_layers(self):
        module = Classifier()
        variables = module.init(jax.random.key(0), IMAGES)
        for params, prefix in ((variables["params"], ""), (variables, "params.")):
            project = projection(described(module, params, IMAGES), UNITS)
            assert project.constraints == {
                f"{prefix}Dense_0.kernel": MaxNorm(0.3, axis=0),
                f"{prefix}conv.kernel": MaxNorm(0.3, axis=(0, 1, 2)),
            }
            assert largest(project, project(params)) == 0

    def test_a_train_state_is_trained_with_it(self):
        module = Classifier()
        params = module.init(jax.random.key(0), IMAGES)["params"]
        weights = described(module, params, IMAGES)
        project = projection(weights, UNITS)
        chain = optax.chain(optax.adam(0.1), constrain(weights, UNITS))
        state = TrainState.create(apply_fn=module.apply, params=params, tx=chain)

        @jax.jit
        def step(state):
            def loss(params):
                return (state.apply_fn({"params": params}, IMAGES) ** 2).sum()

            state = state.apply_gradients(grads=jax.grad(loss)(state.params))
            return state.replace(params=project(state.params))

        for _ in range(2):
            state = step(state)
            assert largest(project, state.params) == 0

    def test_the_module_alone_is_refused_with_what_to_pass(self):
        with pytest.raises(TypeError, match=r"pass described\(module, variables\['params'\]"):
            projection(Classifier(), NonNeg())

    def test_other_collections_are_no_parameters(self):
        module = Classifier(norm=True)
        variables = module.init(jax.random.key(0), IMAGES)
        with pytest.raises(
            ValueError, match=r"params, batch_stats: pass variables\['params'\]"
        ):
            described(module, variables, IMAGES)
        with pytest.raises(TypeError, match=r"parameters, and an input, in this order, got"):
            described(module, IMAGES, variables["params"])
        weights = described(module, variables["params"], IMAGES)
        assert [w.kind for w in weights if "BatchNorm" in w.name] == ["norm", "norm"]
