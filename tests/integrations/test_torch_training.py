"""Constraints in the training loops of PyTorch: after each step, in place, each weight once."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.torch import Parametrization, constrain, project
from array_constraints.rules import Rule, Rules

RULES = Rules(
    [
        Rule("head.weight", UnitNorm("incoming")),
        Rule("*", MaxNorm(0.3, "incoming"), kind=("dense", "conv", "recurrent")),
        Rule("*.bias", NonNeg(), exclude="norm.*"),
    ]
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(1, 4, 3)
        self.norm = nn.LayerNorm(6)
        self.body = nn.Linear(24, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.norm(torch.relu(self.conv(x[:, None])))
        return self.head(torch.relu(self.body(x.flatten(1))))


def loss_of(model):
    x, y = torch.randn(16, 8), torch.randint(3, (16,))
    return nn.functional.cross_entropy(model(x), y)


def step(model, *optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss_of(model).backward()
    for optimizer in optimizers:
        optimizer.step()


def violated(held):
    return [name for name, violation in held.violations().items() if violation.any()]


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


class Halved(Constraint):
    """Moves at each call, as a rate does: it shows how often it was called."""

    def __call__(self, w):
        return w / 2


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
        with pytest.raises(LookupError, match=r"'\*' \(ndim=4\) matches none"):
            optimizer.step()


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

    def test_adam_moves_rows_without_a_gradient_and_all_are_constrained(self):
        model = nn.Embedding(50, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        held = constrain(model, UnitNorm("incoming"), optimizer)
        for rows in ([3, 7], [1, 2]):
            optimizer.zero_grad()
            model(torch.tensor(rows)).sum().backward()
            optimizer.step()
            assert violated(held) == []


class TestMistakes:
    def test_the_order_of_the_arguments(self):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(TypeError, match=r"model, rules, optimizer, in this order.*got Net"):
            constrain(optimizer, RULES, model)

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
    def test_that_is_not_the_one_of_the_units(self):
        model = Net()
        with pytest.warns(UserWarning, match="MaxNorm along axis 0 is not") as caught:
            constrain(model, MaxNorm(2.0), torch.optim.SGD(model.parameters(), lr=0.1))
        (found,) = caught
        assert str(found.message).startswith(
            "'conv.weight': MaxNorm along axis 0 is not that of the weights into one unit of "
            "Conv1d, which is (1, 2), and 7 more weights; write axis='incoming'"
        )

    def test_that_takes_a_normalization_as_one_slice(self):
        model = nn.LayerNorm(3)
        with pytest.warns(UserWarning, match="'weight': MaxNorm along axis 0 takes all of the"):
            constrain(model, MaxNorm(2.0), torch.optim.SGD(model.parameters(), lr=0.1))

    @pytest.mark.parametrize("axis", [1, "incoming", (0,)], ids=str)
    def test_none_where_it_is_right_or_meant(self, axis):
        model = nn.Linear(3, 2, bias=False)
        constrain(model, MaxNorm(2.0, axis), torch.optim.SGD(model.parameters(), lr=0.1))


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


def test_project_constrains_once():
    model = Net()
    project(model, RULES)
    assert not MaxNorm(0.3, axis=1).violation(model.body.weight.detach()).any()


def test_without_pytorch_the_library_to_install_is_named():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import array_constraints.rules\n"
        "try:\n    import array_constraints.integrations.torch\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs PyTorch: pip install torch" in run.stdout, run.stderr


def test_no_warning_is_given():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = Net()
        constrain(model, RULES, torch.optim.Adam(model.parameters()))
    assert caught == []
