"""A network of PyTorch, rules for it and steps of its training: for the tests beside it."""

from __future__ import annotations

import torch
from torch import nn

from array_constraints import Constraint, MaxNorm, NonNeg, UnitNorm
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
    return [name for name, violation in held.violations().items() if violation]


class Halved(Constraint):
    """Moves at each call, as a rate does: it shows how often it was called."""

    def __call__(self, w):
        return w / 2
