"""Measure what constraints add to a training step of PyTorch, as a share of the bare step.

``python -m benchmarks.torch_steps`` prints one table: an MLP 64-W-W-10 trained by Adam on
batches of 256, one thread, whose weights are constrained after each step, all of their slices
violating or all satisfied; beside it a loop of ``torch.renorm`` and ``copy_``, written by hand.
All are interleaved in one run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import rich
import torch
from rich.table import Table
from torch import nn

from array_constraints import MaxNorm
from array_constraints.integrations.torch import constrain
from array_constraints.rules import Rule, Rules
from benchmarks.interleaved import Contestant, interleave

WIDTHS = (64, 256, 1024)
RADII = {"violating": 1e-3, "satisfied": 1e3}
Attach = Callable[[nn.Module, Any, float], Any]


def ours(model: nn.Module, optimizer: Any, radius: float) -> None:
    constrain(model, Rules([Rule("*", MaxNorm(radius, "incoming"), kind="dense")]), optimizer)


def by_hand(model: nn.Module, optimizer: Any, radius: float) -> None:
    weights = [p for p in model.parameters() if p.ndim == 2]

    @torch.no_grad()
    def renorm(*_: Any) -> None:
        for w in weights:
            w.copy_(torch.renorm(w, 2, 0, radius))

    optimizer.register_step_post_hook(renorm)


def trained(width: int, attach: Attach | None, radius: float) -> Callable[[], None]:
    """Return a training step of its own model."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    if attach is not None:
        attach(model, optimizer, radius)
    x, y = torch.randn(256, 64), torch.randint(10, (256,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def added(width: int, radius: float, rounds: int) -> Iterator[tuple[str, float]]:
    """Yield by how much of the bare step each way makes it longer: the median over rounds."""
    ways: dict[str, Attach | None] = {"bare": None, "ours": ours, "renorm and copy": by_hand}
    steps = [Contestant(name, trained(width, way, radius)) for name, way in ways.items()]
    seconds = interleave(steps, rounds)
    for name in list(ways)[1:]:
        pairs = zip(seconds[name], seconds["bare"], strict=True)
        yield name, statistics.median(ours / bare for ours, bare in pairs) - 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("width", "slices", "ours", "renorm and copy", title="added to a step")
    for width in options.widths:
        for slices, radius in RADII.items():
            found = dict(added(width, radius, options.rounds))
            table.add_row(str(width), slices, *(f"{share:.1%}" for share in found.values()))
    rich.print(table)


if __name__ == "__main__":
    main()
