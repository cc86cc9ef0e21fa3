"""What users of PyTorch and JAX complained of in public: shown first, then answered.

What the installed libraries no longer show, or only in part, and what is tested elsewhere:

- tensorflow#33755, keras#15818, #14459: the error was of Keras 2. The rows that a sparse step
  moves are in test_torch_training.py; that it leads to what a dense one does is here.
- pytorch#28959, #30899: the error in the backward pass is fixed, and what led to it is shown.
- pytorch#37246: the error needs two GPUs; with none, DataParallel calls the module itself.
- pytorch#69413, #121304, #121902: fixed; here, that our answers are copied and compiled, too.
- pytorch#113415: works on one CPU; names are here, processes in sharded_training.py, as are
  embeddings in shards (pytorch PR#67799).
- lightning#2382, ray#23894, geotorch#6, somax#172: shown without these packages.
- Threads about Keras, and handson-ml3#76, arl-eegmodels#1 with it: keras_complaints.py.
"""

from __future__ import annotations

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
eqx = pytest.importorskip("equinox")

import jax.numpy as jnp
from jax.example_libraries import optimizers
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.integrations import jax as on_jax
from array_constraints.integrations.torch import Parametrization, constrain, project
from array_constraints.rules import Rule, Rules

UNITS = [Rule("*", UnitNorm(axis="incoming"), kind=("dense", "conv", "embedding"))]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.5)


def train(model, optimizer, x, sign=1.0):
    """Take a step in a loop that knows nothing of constraints."""
    optimizer.zero_grad()
    (sign * model(x).sum()).backward()
    optimizer.step()


def holds(held):
    return not any(held.violations().values())


def linear(*rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data.copy_(torch.tensor(rows))
    return layer


class TestWhichAxis:
    def test_slices_are_counted(self):
        """handson-ml3#76: does ``axis=0`` mean the inputs, or each neuron?"""
        kernel = {"dense.kernel": np.ones((3, 2))}
        of_keras = Rules([Rule("*", MaxNorm(1.0, axis=0))]).explain(kernel, layout="keras")
        of_torch = Rules(UNITS).explain(nn.Linear(3, 2, bias=False))
        for found, axis in ((of_keras, (0,)), (of_torch, (1,))):
            (row,) = found.rows
            assert (row["axis"], row["slices"], row["entries"]) == (axis, 2, 3)

    def test_a_depthwise_kernel(self):
        """arl-eegmodels#1, PR#4: the default axis was wrong for the kernels of EEGNet."""
        layer = nn.Conv2d(2, 4, (3, 1), groups=2, bias=False)
        layer.weight.data.zero_()[0] = 1.0
        with pytest.warns(UserWarning, match=r"of Conv2d, which is \(1, 2, 3\)"):
            constrain(layer, MaxNorm(1.0), sgd(layer))
        assert (layer.weight[0] == 1.0).all()  # along axis 0 no norm is above 1
        expected = torch.renorm(layer.weight.detach(), p=2, dim=0, maxnorm=1.0)
        project(layer, [Rule("*", MaxNorm(1.0, axis="incoming"), kind="conv")])
        torch.testing.assert_close(layer.weight.detach(), expected)  # its dim is what is kept

    def test_a_port_without_the_axis(self):
        """equinox#809: ``max_norm`` lost its axis, and the result of ``.at[].set``."""

        class Ported(eqx.nn.Conv2d):
            def __call__(self, x):
                norms = jnp.sqrt(jnp.sum(jnp.square(self.weight), keepdims=True))
                self.weight.at[:].set(self.weight * (jnp.clip(norms, 0, 0.5) / norms))
                return super().__call__(x)

        layer = Ported(2, 4, 3, key=jax.random.key(0))
        eqx.filter_jit(layer)(jnp.ones((2, 3, 3)))
        assert np.linalg.norm(layer.weight) > 0.9
        rules = [Rule("*", MaxNorm(0.5, axis="incoming"), kind="conv")]
        found = on_jax.projection(model=layer, rules=rules)(layer)
        norms = np.linalg.norm(np.asarray(found.weight, "float64").reshape(4, -1), axis=1)
        assert norms.max() <= 0.5
        assert np.linalg.norm(norms) > 0.9  # each filter is one slice, not all of them

    def test_rows_of_a_pytree(self):
        """optax#1182: a projection has no axis, and takes a pytree as one vector."""
        params = {"w": jnp.asarray([[0.6, 0.0], [3.0, 4.0]])}
        together = optax.projections.projection_l2_ball(params, 1.0)["w"]
        assert float(together[0, 0]) < 0.2  # because of the other row
        found = on_jax.projection(model=params, rules=MaxNorm(1.0, axis=1))(params)["w"]
        assert np.array_equal(found[0], params["w"][0])
        np.testing.assert_allclose(found[1], [0.6, 0.8], rtol=1e-6)


class TestEmbeddings:
    def test_a_weight_that_is_used_twice(self):
        """pytorch#26596: ``max_norm`` overwrites what the backward pass needs."""

        def backward(embedding):
            scores = embedding.weight @ torch.ones(5, 2, requires_grad=True)
            (scores.sum() * embedding(torch.tensor([1, 2])).sum()).backward()

        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            backward(nn.Embedding(3, 5, max_norm=0.1))
        embedding = nn.Embedding(3, 5)
        held = constrain(embedding, UNITS, optimizer := sgd(embedding))
        backward(embedding)
        optimizer.step()
        assert holds(held)

    @pytest.mark.parametrize("wrap", [nn.Sequential, nn.DataParallel])
    def test_a_forward_pass_writes_nothing(self, wrap):
        """pytorch#28959, #30899, #37246: a call writes, and into the rows it reads alone."""

        def changed_rows(embedding):
            before = embedding.weight.detach().clone()
            with torch.no_grad():
                wrap(embedding).eval()(torch.arange(2).repeat(7, 1))
            return (embedding.weight != before).any(dim=1).tolist()

        assert changed_rows(nn.Embedding(4, 5, max_norm=0.1)) == [True, True, False, False]
        embedding = nn.Embedding(4, 5)
        assert holds(constrain(wrap(embedding), UNITS, sgd(embedding)))
        assert changed_rows(embedding) == [False] * 4

    def test_sparse_gradients(self):
        """tensorflow#33755, keras#15818, #14459: a constraint was refused because of them."""
        start, found = torch.arange(1.0, 19.0).reshape(6, 3), []
        for sparse in (False, True):
            model = nn.Embedding.from_pretrained(start.clone(), freeze=False, sparse=sparse)
            held = constrain(model, UNITS, optimizer := sgd(model))
            train(model, optimizer, torch.tensor([1, 4, 1]))
            assert model.weight.grad.is_sparse == sparse
            assert holds(held)
            found.append(model.weight)
        torch.testing.assert_close(*found)


class TestClampingByHand:
    def test_a_weight_at_0_comes_back(self):
        """pytorch#97452: ``relu(w)`` is stuck below 0, and a clamp is up to the loop."""
        x, stuck, model = torch.ones(1, 1), linear([-1.0]), linear([0.5])
        parametrize.register_parametrization(stuck, "weight", nn.ReLU())
        train(stuck, sgd(stuck), x, sign=-1.0)
        assert stuck.parametrizations.weight.original.item() == -1.0
        constrain(model, NonNeg(), optimizer := sgd(model))
        train(model, optimizer, 2 * x)
        assert model.weight.item() == 0.0
        train(model, optimizer, x, sign=-1.0)
        assert model.weight.item() == 0.5

    def test_where_the_optimizer_is_made(self):
        """lightning#2382: where to clamp? ``self.parameters.clamp`` is an error."""
        model = linear([-1.0, 2.0])
        with pytest.raises(AttributeError, match="clamp"):
            model.parameters.clamp(min=0.0)
        constrain(model, NonNeg(), optimizer := sgd(model))
        train(model, optimizer, torch.ones(2, 2))
        assert model.weight.tolist() == [[0.0, 1.0]]

    def test_some_parameters(self):
        """discuss.pytorch 1933, 60122: answers divide by other rows and 0, and clamp all."""
        model = nn.Sequential(linear([3.0, 4.0], [0, 0]), nn.LayerNorm(2), linear([-3, 0.5]))
        model[1].weight.data.fill_(2.0)
        w = model[0].weight.detach().clone()
        w.div_(torch.norm(w, 2, 1).expand_as(w))
        assert not torch.isfinite(w[:, 1]).any()
        rules = [Rule("2.*", lambda w: w.clamp(-1, 1)), *UNITS]
        constrain(model, rules, sgd(model))
        torch.testing.assert_close(model[0].weight[0].detach(), torch.tensor([0.6, 0.8]))
        assert torch.isfinite(model[0].weight).all()
        assert model[2].weight.tolist() == [[-1.0, 0.5]]
        assert (model[1].weight == 2.0).all()


@pytest.mark.parametrize("by_hand", [True, False])
def test_one_optimizer_for_each_parameter(by_hand):
    """torchtitan PR#851: a hook is called for each; a rate moves a weight each time."""
    half = MinMaxNorm(0.0, 1.0, rate=0.5, axis="incoming")
    model = nn.Sequential(linear([3.0, 4.0]), linear([0.5]))
    each = [torch.optim.SGD([p], lr=0.0) for p in model.parameters()]
    if by_hand:
        project(model, half)
        for optimizer in each:
            optimizer.register_step_post_hook(lambda *_: project(model, half))
    else:
        constrain(model, half, each)
    model(torch.ones(1, 2)).sum().backward()
    for optimizer in each:
        optimizer.step()
    expected = 1.5 if by_hand else 2.0  # 5, then 3, 2, 1.5
    assert model[0].weight.detach().norm().item() == pytest.approx(expected)


class TestOfParametrizations:
    @pytest.fixture
    def trained(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4))
        held = constrain(model, UNITS, optimizer := sgd(model))
        train(model, optimizer, torch.ones(2, 3))
        return model, optimizer, held

    def test_models_are_saved_and_loaded(self, trained):
        """ray#23894, ZEST#4, geotorch#6: a night of training was lost; files were not read."""
        plain, parametrized = nn.Linear(3, 4), parametrizations.orthogonal(nn.Linear(3, 4))
        with pytest.raises(RuntimeError, match="only supported through state_dict"):
            torch.save(parametrized, io.BytesIO())
        with pytest.raises(RuntimeError, match=r"Unexpected key.*parametrizations"):
            plain.load_state_dict(parametrized.state_dict())
        file = io.BytesIO()
        torch.save(trained[:2], file)
        file.seek(0)
        model, optimizer = torch.load(file, weights_only=False)
        held = constrain(model, UNITS, optimizer)
        assert torch.equal(model[0].weight, trained[0][0].weight)
        train(model, optimizer, torch.ones(2, 3))
        assert holds(held)
        plain.load_state_dict(model[0].state_dict())

    def test_an_average(self, trained):
        """pytorch#69413: parametrized models had no copies, and so no averages."""
        model, optimizer, held = trained
        average = AveragedModel(model)
        average.update_parameters(model)
        train(model, optimizer, torch.tensor([[3.0, -2.0, 1.0]]))
        average.update_parameters(model)
        assert float(average.module[0].weight.detach().norm(dim=1).min()) < 0.99
        held.project(average)
        torch.testing.assert_close(average.module[0].weight.norm(dim=1), torch.ones(4))

    def test_layers_are_compiled(self):
        """pytorch#121304, #121902: layers with ``weight_norm`` could not be compiled."""
        x, layer, unit = torch.ones(1, 2, 4), nn.Conv1d(2, 3, 3), nn.Conv1d(2, 3, 3)
        parametrize.register_parametrization(unit, "weight", Parametrization(UnitNorm((1, 2))))
        compiled = [torch.compile(m, fullgraph=True, backend="eager") for m in (layer, unit)]
        assert torch.equal(compiled[1](x), unit(x))
        with pytest.raises(ValueError, match="'weight': it is made by a parametrization"):
            constrain(compiled[1], UNITS, sgd(unit))
        held = constrain(compiled[0], UNITS, optimizer := sgd(layer))
        train(compiled[0], optimizer, x)
        assert holds(held)

    def test_names_within_wrappers(self):
        """pytorch#113415: compiled, parallel and parametrized were too much at once."""
        parallel = nn.DataParallel(nn.Sequential(nn.Linear(3, 4)))
        wrapped = torch.compile(parallel, backend="eager")
        assert next(iter(wrapped.state_dict())) == "_orig_mod.module.0.weight"
        held = constrain(wrapped, [("0.weight", UnitNorm("incoming"))], sgd(wrapped))
        assert list(held.violations()) == ["0.weight"]


class TestStepsOfJAX:
    def test_an_optimizer_that_holds_the_parameters(self):
        """jax#2843: how to change parameters after ``opt_update``, which keeps them inside?"""
        init, update, get_params = optimizers.momentum(0.5, mass=0.9)
        params, ones = {"w": jnp.asarray([1.0, 4.0])}, {"w": jnp.ones(2)}
        last = on_jax.constrain(model=params, rules=NonNeg())
        chain = optax.chain(optax.sgd(0.5, momentum=0.9), last)
        inside, state = init(params), chain.init(params)
        for i in range(2):
            inside = update(i, ones, inside)
            updates, state = chain.update(ones, state, params)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(get_params(inside)["w"], [-0.45, 2.55], rtol=1e-6)
        np.testing.assert_allclose(params["w"], [0.0, 2.55], rtol=1e-6)

    def test_a_number_of_a_model(self):
        """somax#172: a gradient step made ``lateral_viscosity`` negative."""

        class Params(eqx.Module):
            lateral_viscosity: jax.Array
            wind: jax.Array

        params = Params(jnp.asarray(0.1), jnp.asarray(0.2))
        project = on_jax.projection(model=params, rules=[("*_viscosity", NonNeg())])
        moved = jax.tree.map(lambda p: p - 1, params)
        assert float(moved.lateral_viscosity) < 0
        found = project(moved)
        assert float(found.lateral_viscosity) == 0.0
        assert found.wind is moved.wind
