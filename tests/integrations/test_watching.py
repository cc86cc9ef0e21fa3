"""What watchers are told, and what they make of it."""

from __future__ import annotations

import csv
import io

import pytest

torch = pytest.importorskip("torch")
from rich.console import Console
from torch import nn

from array_constraints import MaxNorm, NonNeg
from array_constraints.integrations.torch import constrain
from array_constraints.integrations.watching import (
    CSV,
    History,
    LiveTable,
    Observation,
    TensorBoard,
)
from array_constraints.rules import Rule, Rules

RULES = Rules(
    [
        Rule("weight", MaxNorm(1.0, "incoming")),
        Rule("bias", NonNeg()),
        Rule("*", lambda w: w, required=False),
    ]
)


def trained(watch, steps=2):
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        model.bias.copy_(torch.tensor([-2.0, 1.0]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    constrain(model, RULES, optimizer, watch=watch)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        model.weight.grad[1, 0] = -1.0
        optimizer.step()
    return model


def test_what_is_found_before_each_projection():
    history = History()
    trained(history, steps=1)
    assert history[:2] == [
        Observation(0, "weight", "'weight'", 2, 1, 4.0),
        Observation(0, "bias", "'bias'", 2, 1, 2.0),
    ]
    after_step, bias = history[2:]
    assert (after_step.step, after_step.violating, after_step.share) == (1, 1, 0.5)
    assert after_step.largest == pytest.approx((1.3**2 + 0.4**2) ** 0.5 - 1)
    assert (bias.violating, bias.largest) == (0, 0.0)


def test_a_file_of_csv(tmp_path):
    with CSV(tmp_path / "watched.csv") as watch:
        trained(watch)
    with (tmp_path / "watched.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[0] == {
        "step": "0", "weight": "weight", "rule": "'weight'", "slices": "2", "violating": "1",
        "largest": "4.0",
    }  # fmt: skip


def test_several_watchers_at_once_and_what_is_none():
    histories = History(), History()
    trained(list(histories))
    assert histories[0] == histories[1]
    assert len(histories[0]) == 6
    for wrong in ("watched.csv", [3], CSV):
        with pytest.raises(TypeError, match="watch must be a callable, such as History"):
            trained(wrong)


def test_a_live_table():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with LiveTable(console) as watch:
        trained(watch)
    shown = console.file.getvalue()
    assert "step 2" in shown
    assert "1 of 2" in shown


def test_scalars_of_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        trained(TensorBoard(writer))
    events = EventAccumulator(str(tmp_path)).Reload()
    shares = [scalar.value for scalar in events.Scalars("constraints/share/weight")]
    assert shares == [0.5, 0.5, 0.5]
    with pytest.raises(TypeError, match="writer must have add_scalar, got str"):
        TensorBoard("folder")


def test_a_plot_has_a_line_for_each_rule():
    history = History()
    trained(history)
    axes = history.draw()
    assert [line.get_label() for line in axes.lines] == ["'weight'", "'bias'"]
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.5, 0.5]
