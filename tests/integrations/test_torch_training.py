"""Constraints in the training loops of PyTorch: after each step, in place, each weight once."""

from __future__ import annotations

import copy
import functools

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch_network import RULES, Halved, Net, loss_of, step, violated

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm
from array_constraints.integrations.torch import constrain
from array_constraints.rules import Rule, Rules

OPTIMIZERS = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.5, momentum=0.9),
    "Adam": functools.partial(torch.optim.Adam, lr=0.1),
    "fused AdamW": functools.partial(torch.optim.AdamW, lr=0.1, fused=True),
    "Adagrad": functools.partial(torch.optim.Adagrad, lr=0.5),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_constraints_hold_when_attached_and_after_each_step(make):
    model = Net()
    optimizer = make(model.parameters())
    places = [p.data_ptr() for p in model.parameters()]
    names = list(model.state_dict())
    held = constrain(model, RULES, optimizer)
    assert set(held.violations()) == {
        "conv.weight", "conv.bias", "body.weight", "body.bias", "head.weight", "head.bias",
    }  # fmt: skip
    assert violated(held) == []
    for _ in range(3):
        step(model, optimizer)
        assert violated(held) == []
    assert [p.data_ptr() for p in model.parameters()] == places
    assert list(model.state_dict()) == names
    assert all(p.is_leaf and p.requires_grad for p in model.parameters())


def test_the_slices_are_the_incoming_weights_of_a_unit():
    model = Net()
    rules = [Rule("*.weight", UnitNorm("incoming"), exclude="norm.*")]
    constrain(model, rules, torch.optim.SGD(model.parameters(), lr=0.1))
    for weight in (model.conv.weight, model.body.weight, model.head.weight):
        norms = weight.detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(len(weight)))


def test_each_weight_once_for_each_update_of_it():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    optimizers = [torch.optim.SGD([p], lr=0.0) for p in model.parameters()]
    constrain(model, Halved(), optimizers)
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.ones(1, 2)).sum().backward()
    optimizers[0].step()
    assert torch.equal(model[0].weight, before[0] / 2)
    assert torch.equal(model[1].weight, before[1])
    optimizers[1].step()
    assert torch.equal(model[1].weight, before[1] / 2)


def test_a_rate_moves_once_for_each_step():
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 4.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    constrain(model, MinMaxNorm(0.0, 1.0, 0.5, axis="incoming"), optimizer)
    torch.testing.assert_close(model.weight.norm(), torch.tensor(3.0))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.weight.norm(), torch.tensor(2.0))


def test_an_optimizer_in_the_backward_pass():
    model = Net()
    optimizers = {p: torch.optim.SGD([p], lr=0.5) for p in model.parameters()}
    held = constrain(model, RULES, optimizers.values())

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    for _ in range(2):
        loss_of(model).backward()
        assert violated(held) == []


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_changes_no_bit(fused):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
    constrain(model, [("*.weight", Halved())], optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = copy.deepcopy(model.state_dict())
    scaler.scale(loss_of(model)).backward()
    model.head.weight.grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    optimizer.zero_grad()
    scaler.scale(loss_of(model)).backward()
    scaler.step(optimizer)
    assert not torch.equal(model.head.weight, before["head.weight"])


def test_lbfgs_and_schedulers():
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    held = constrain(model, RULES, optimizer)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
        scheduler.step()
        assert violated(held) == []


def test_tied_weights_are_found_once_by_every_name():
    model = nn.ModuleDict({"embed": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["embed"].weight
    before = model["embed"].weight.detach().clone()
    for name in ("embed.weight", "out.weight"):
        held = constrain(model, [(name, Halved())], torch.optim.SGD(model.parameters(), lr=0.0))
        assert list(held.violations()) == ["embed.weight"]
    assert torch.equal(model["out"].weight, before / 4)


def test_frozen_weights_are_constrained_when_attached():
    model = Net()
    model.body.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    held = constrain(model, RULES, optimizer)
    assert violated(held) == []
    model.body.requires_grad_(True)  # unfrozen later: its new group is known
    optimizer.add_param_group({"params": model.body.parameters()})
    step(model, optimizer)
    assert violated(held) == []


class TestLazyModules:
    def test_are_judged_at_the_first_step_after_they_have_shapes(self):
        model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        rules = [("*.weight", UnitNorm("incoming"))]
        held = constrain(model, rules, optimizer)
        assert violated(held) == []
        assert [row["violating"] for row in held.explain().rows] == [None, None, 0, None]
        model(torch.randn(3, 5)).square().sum().backward()
        optimizer.step()
        assert violated(held) == []
        assert set(held.violations()) == {"0.weight", "1.weight"}

    def test_a_rule_that_never_acts_is_an_error_then(self):
        model = nn.Sequential(nn.LazyLinear(4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        constrain(model, Rules([Rule("*", MaxNorm(1.0, axis=(1, 2, 3)), ndim=4)]), optimizer)
        model(torch.randn(3, 5)).square().sum().backward()
        for _ in range(2):  # and stays one
            with pytest.raises(LookupError, match=r"'\*' \(ndim=4\) matches none"):
                optimizer.step()


class TestCompiled:
    def test_a_compiled_model_has_the_names_of_its_module(self):
        model = Net()
        compiled = torch.compile(model, backend="eager")
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        held = constrain(compiled, RULES, optimizer)
        step(compiled, optimizer)
        assert violated(held) == []
        assert set(held.violations()) == set(constrain(model, RULES, optimizer).violations())

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
    def test_a_compiled_step(self):
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        held = constrain(model, RULES, optimizer)
        compiled = torch.compile(optimizer.step, backend="eager")
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            compiled()
            assert violated(held) == []


class TestEmbeddings:
    def test_rows_with_a_gradient_are_all_that_a_sparse_step_moves(self):
        for make in (
            torch.optim.SparseAdam,
            functools.partial(torch.optim.SGD, lr=0.1),
        ):
            model = nn.Embedding(50, 3, sparse=True)
            optimizer = make(model.parameters())
            held = constrain(model, UnitNorm("incoming"), optimizer)
            before = model.weight.detach().clone()
            model(torch.tensor([3, 7, 3])).square().sum().backward()
            optimizer.step()
            assert violated(held) == []
            changed = (model.weight != before).any(dim=1).nonzero().flatten().tolist()
            assert set(changed) <= {3, 7}

    def test_adam_moves_rows_without_a_gradient_and_all_are_constrained(self, caplog):
        caplog.set_level("INFO", "array_constraints")
        model = nn.Embedding(50, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        held = constrain(model, UnitNorm("incoming"), optimizer)
        for rows in ([3, 7], [1, 2]):
            optimizer.zero_grad()
            model(torch.tensor(rows)).sum().backward()
            optimizer.step()
            assert violated(held) == []
        assert caplog.messages == [
            "'weight': all rows are constrained after each step of Adam, moved or not"
        ]

    def test_momentum_that_comes_later_moves_all_rows(self):
        model = nn.Embedding(5, 3, sparse=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        held = constrain(model, UnitNorm("incoming"), optimizer)
        for row, momentum in ((2, 0.0), (2, 0.9), (3, 0.9)):
            optimizer.param_groups[0]["momentum"] = momentum
            optimizer.zero_grad()
            model(torch.tensor([row])).square().sum().backward()
            optimizer.step()
            assert violated(held) == []

    def test_dense_gradients_of_sgd_are_said_too(self, caplog):
        caplog.set_level("INFO", "array_constraints")
        model = nn.Embedding(5, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        constrain(model, UnitNorm("incoming"), optimizer)
        for _ in range(2):
            model(torch.tensor([1])).sum().backward()
            optimizer.step()
        assert caplog.messages == [
            "'weight': all rows are constrained after each step of SGD, moved or not"
        ]
