"""What ``constrain`` returns on PyTorch: removed, attached again, explained, on an average."""

from __future__ import annotations

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch_network import RULES, Halved, Net, step, violated

from array_constraints import MaxNorm, UnitNorm
from array_constraints.integrations.torch import constrain, project


class TestHandles:
    def test_remove(self):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
        held = constrain(model, RULES, optimizer)
        held.remove()
        step(model, optimizer)
        assert violated(held)

    def test_attaching_twice_constrains_once(self):
        model = nn.Linear(2, 2, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        held = [constrain(model, Halved(), optimizer) for _ in range(2)]
        before = model.weight.detach().clone()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        assert torch.equal(model.weight, before / 2)
        held[0].remove()  # which has left its weights to the second
        optimizer.step()
        assert torch.equal(model.weight, before / 4)

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_copies_are_attached_again_by_one_call(self, again):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
        constrain(model, RULES, optimizer)
        model, optimizer = again((model, optimizer))
        held = constrain(model, RULES, optimizer)
        step(model, optimizer)
        assert violated(held) == []

    def test_an_average_is_projected(self):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        held = constrain(model, RULES, optimizer)
        average = torch.optim.swa_utils.AveragedModel(model)
        for _ in range(3):
            step(model, optimizer)
            average.update_parameters(model)
        norms = average.module.head.weight.norm(dim=1)
        assert (norms < 0.999).any()  # the mean of unit vectors is shorter
        held.project(average)
        torch.testing.assert_close(average.module.head.weight.norm(dim=1), torch.ones(3))

    def test_explain_lists_all_and_what_nothing_selects(self):
        model = Net()
        held = constrain(model, RULES, torch.optim.SGD(model.parameters(), lr=1.0))
        found = held.explain()
        assert found.unselected == ["norm.weight", "norm.bias"]
        row = found.rows[0]
        assert (row["weight"], row["axis"], row["slices"], row["entries"]) == (
            "conv.weight", (1, 2), 4, 3,
        )  # fmt: skip
        assert "conv.weight" in str(found)
        assert "<pre" in found._repr_html_()


def test_project_constrains_once():
    model = Net()
    project(model, RULES)
    assert not MaxNorm(0.3, axis=1).violation(model.body.weight.detach()).any()


def test_project_warns_of_an_axis_that_is_seldom_meant():
    with pytest.warns(UserWarning, match="'weight': MaxNorm along axis 0") as caught:
        project(torch.nn.Linear(3, 2, bias=False), MaxNorm(1.0))
    assert caught[0].filename == __file__


def test_a_callable_violates_by_how_far_it_moves_an_entry():
    layer = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    held = constrain(layer, [("weight", lambda w: w.clamp_(-1, 1))], optimizer)
    layer.weight.data.copy_(torch.tensor([[3.0, 0.5]]))
    assert held.violations()["weight"] == 2.0
    assert held.explain().rows[0]["violating"] == 1
    assert layer.weight.tolist() == [[3.0, 0.5]]
    held = constrain(layer, [("weight", lambda w: w)], optimizer)
    layer.weight.data.fill_(float("inf"))
    assert held.violations()["weight"] == 0.0


class TestParametersThatComeLater:
    """Each constrained after the next step of its optimizer, as one that was there before."""

    RULES = (("*weight", MaxNorm(0.3, "incoming")),)

    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))

    def train(self, model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            (10 * model(torch.randn(8, 4)).tanh().sum()).backward()
            optimizer.step()

    def test_in_a_group_that_is_added(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        held = constrain(model, list(self.RULES), optimizer)
        model.append(torch.nn.Linear(4, 2))
        optimizer.add_param_group({"params": list(model[2].parameters())})
        self.train(model, optimizer)
        assert set(held.violations()) == {"0.weight", "1.weight", "2.weight"}
        assert not any(held.violations().values())

    def test_in_the_place_of_others(self, model):
        model[1].requires_grad_(False)
        optimizer = torch.optim.SGD(model[0].parameters(), lr=1.0)
        held = constrain(model, list(self.RULES), optimizer)
        self.train(model, optimizer)
        model[1].requires_grad_(True)
        model[0].weight = torch.nn.Parameter(9 * torch.randn(4, 4))
        optimizer.param_groups[0]["params"] = [model[0].weight, model[1].weight]
        self.train(model, optimizer)
        assert not any(held.violations().values())

    def test_what_a_later_call_holds_stays_with_it(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        held = constrain(model, [("*weight", UnitNorm("incoming"))], optimizer)
        constrain(model, [("1.weight", MaxNorm(0.3, "incoming"))], optimizer)
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
        self.train(model, optimizer)
        assert violated(held) == ["1.weight"]

    def test_an_iterator_of_named_parameters_is_kept(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        rules = [("*weight", MaxNorm(0.3, axis=1))]
        held = constrain(model.named_parameters(), rules, optimizer)
        self.train(model, optimizer)
        assert list(held.violations()) == ["0.weight", "1.weight"]
        assert repr(held).startswith("Constrained({'0.weight': MaxNorm(")
        held.remove()
        assert repr(held) == "Constrained({})"

    def test_tensors_of_a_state_dict_are_refused(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        with pytest.raises(ValueError, match=r"'0.weight' is another tensor than"):
            constrain(model.state_dict(), [("*weight", MaxNorm(0.3, axis=1))], optimizer)
