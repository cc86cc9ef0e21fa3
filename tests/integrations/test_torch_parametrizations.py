"""Weights of PyTorch that are made of others: refused by ``constrain``, or made by our maps."""

from __future__ import annotations

import copy
import functools

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.torch import Parametrization, constrain


def test_weights_that_are_made_of_others_are_refused():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'0.weight': it is made by a param.*_WeightNorm"):
        constrain(model, [("*.weight", MaxNorm(1.0, "incoming"))], optimizer)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
    constrain(model, [("*.bias", NonNeg())], optimizer)


@pytest.mark.parametrize(
    ("make", "name", "maps"),
    [
        (nn.utils.spectral_norm, "weight_orig", "SpectralNorm"),
        (
            functools.partial(prune.l1_unstructured, name="weight", amount=1),
            "weight_orig",
            "L1Unstructured",
        ),
    ],
    ids=["spectral_norm", "prune"],
)
def test_what_a_weight_is_made_of_before_each_call_is_refused(make, name, maps):
    model = nn.Sequential(make(nn.Linear(3, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(
        ValueError, match=rf"'0.{name}': the weight .* is made of it, by {maps}"
    ):
        constrain(model, [("*.weight*", MaxNorm(0.1, "incoming"))], optimizer)
    constrain(model, [("*.bias", NonNeg())], optimizer)


class TestParametrizations:
    def test_a_smooth_map_holds_while_the_raw_weight_is_trained(self):
        layer = nn.Linear(8, 4)
        parametrize.register_parametrization(layer, "weight", Parametrization(UnitNorm(axis=1)))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.randn(5, 8)).square().sum().backward()
            optimizer.step()
            assert not UnitNorm(axis=1).violation(layer.weight.detach()).any()
        parametrize.remove_parametrizations(layer, "weight")
        assert not UnitNorm(axis=1).violation(layer.weight.detach()).any()

    @pytest.mark.parametrize(
        "constraint", [NonNeg(), MaxNorm(1.0), MinMaxNorm(1.0, 1.0, rate=0.5)], ids=repr
    )
    def test_one_that_is_not_smooth_warns(self, constraint):
        with pytest.warns(UserWarning, match=r"is not smooth: .* constrain\(model, rules"):
            Parametrization(constraint)
