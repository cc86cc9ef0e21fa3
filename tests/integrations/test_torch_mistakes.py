"""Mistakes in a call of ``constrain`` on PyTorch: errors that change nothing, and warnings."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch_network import RULES, Net

from array_constraints import MaxNorm, NonNeg
from array_constraints.integrations.torch import constrain


class TestMistakes:
    def test_the_order_of_the_arguments(self):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(TypeError, match=r"model, rules, optimizer, in this order.*got Net"):
            constrain(optimizer, RULES, model)
        for arguments in ((model, optimizer, RULES), (RULES, model, optimizer)):
            with pytest.raises(TypeError, match="model, rules, optimizer, in this order"):
                constrain(*arguments)

    @pytest.fixture
    def model(self):
        return Net()

    def unchanged(self, model, error, match, rules, optimizer):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(error, match=match):
            constrain(model, rules, optimizer)
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, before[name])

    def test_an_axis_that_does_not_fit(self, model):
        rules = [("head.weight", MaxNorm(1.0, axis=1)), ("*.bias", MaxNorm(1.0, axis=1))]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        match = r"'conv.bias': MaxNorm: axis 1 does not fit an array of 1 dim"
        self.unchanged(model, ValueError, match, rules, optimizer)

    def test_incoming_weights_of_a_bias(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        rules = [("head.bias", MaxNorm(1.0, "incoming"))]
        match = "'head.bias': axis='incoming': a bias, or the gain of a normalization"
        self.unchanged(model, ValueError, match, rules, optimizer)

    def test_a_rule_that_matches_nothing(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.unchanged(model, LookupError, "'layers", [("layers.*", NonNeg())], optimizer)

    def test_an_optimizer_of_another_model(self, model):
        optimizer = torch.optim.SGD(Net().parameters(), lr=0.1)
        match = "'conv.weight' and 5 more: selected and trained, but in none"
        self.unchanged(model, ValueError, match, RULES, optimizer)

    def test_no_optimizer(self, model):
        self.unchanged(model, TypeError, "optimizer must be one of torch.optim", RULES, [])

    def test_a_model_without_parameters(self):
        optimizer = torch.optim.SGD(Net().parameters(), lr=0.1)
        with pytest.raises(ValueError, match="no parameters"):
            constrain(nn.ReLU(), NonNeg(), optimizer)

    def test_a_grouped_transposed_convolution(self):
        model = nn.ConvTranspose1d(4, 4, 3, groups=2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match="'weight': axis='incoming': output channels of"):
            constrain(model, [("weight", MaxNorm(1.0, "incoming"))], optimizer)


class TestWarningsOfAnAxis:
    def test_counts_in_words_what_is_alike(self):
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4, bias=False))
        with pytest.warns(
            UserWarning, match="; the same holds for 1 more weight; 1 bias or ga"
        ):
            constrain(model, MaxNorm(2.0), torch.optim.SGD(model.parameters(), lr=0.1))

    def test_that_is_not_the_one_of_the_units(self):
        model = Net()
        with pytest.warns(UserWarning, match="MaxNorm along axis 0 is not") as caught:
            constrain(model, MaxNorm(2.0), torch.optim.SGD(model.parameters(), lr=0.1))
        (found,) = caught
        assert found.filename == __file__
        assert str(found.message).startswith(
            "'conv.weight': MaxNorm along axis 0 is not that of the weights into one unit of "
            "Conv1d, which is (1, 2); the same holds for 2 more weights; 5 biases "
            "or gains are each one slice. Write axis='incoming'"
        )

    def test_that_takes_a_normalization_as_one_slice(self):
        model = nn.LayerNorm(3)
        with pytest.warns(UserWarning, match="'weight': MaxNorm along axis 0 takes all of the"):
            constrain(model, MaxNorm(2.0), torch.optim.SGD(model.parameters(), lr=0.1))

    def test_of_a_parameter_that_gets_its_shape_later(self):
        model = nn.LazyLinear(2, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        constrain(model, MaxNorm(2.0), optimizer)
        model(torch.ones(4, 3)).sum().backward()
        with pytest.warns(UserWarning, match="'weight': MaxNorm along axis 0 is not"):
            optimizer.step()

    @pytest.mark.parametrize("axis", [1, "incoming", (0,)], ids=str)
    def test_none_where_it_is_right_or_meant(self, axis):
        model = nn.Linear(3, 2, bias=False)
        constrain(model, MaxNorm(2.0, axis), torch.optim.SGD(model.parameters(), lr=0.1))


def test_no_warning_is_given():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = Net()
        constrain(model, RULES, torch.optim.Adam(model.parameters()))
    assert caught == []


def test_without_pytorch_the_library_to_install_is_named():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import array_constraints.rules\n"
        "try:\n    import array_constraints.integrations.torch\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs PyTorch: pip install torch" in run.stdout, run.stderr
