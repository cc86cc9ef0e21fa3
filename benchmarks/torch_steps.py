"""Measure what constraints add to a training step of PyTorch, as a share of the bare step.

``python -m benchmarks.torch_steps`` prints one table: an MLP 64-W-W-10 trained by Adam on
batches of 256, one thread, whose weights are constrained after each step, all of their slices
violating or all satisfied; beside it a loop of ``torch.renorm`` and ``copy_``, written by hand,
and the bare step once more, for the noise. All are interleaved in one run, on one model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import rich
import torch
from rich.table import Table
from torch import nn

from array_constraints import MaxNorm
from array_constraints.integrations.torch import constrain
from array_constraints.rules import Rule, Rules
from benchmarks.interleaved import Contestant, interleave, ratio, steps_in_a_row

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


WAYS: dict[str, Attach | None] = {
    "bare": None,
    "again": None,
    "ours": ours,
    "renorm and copy": by_hand,
}


def trained(width: int, radius: float, device: str) -> list[Contestant]:
    """Return the steps of one model in each way.

    They share its weights, and the moments of Adam: where arrays lie makes as much of a
    difference as what is measured.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 10),
    ).to(device)  # fmt: skip
    x, y = torch.randn(256, 64).to(device), torch.randint(10, (256,)).to(device)
    optimizers = {way: torch.optim.Adam(model.parameters()) for way in WAYS}
    for way, attach in WAYS.items():
        optimizers[way].state = optimizers["bare"].state
        if attach is not None:
            attach(model, optimizers[way], radius)

    def steps(optimizer: Any) -> None:
        for _ in range(steps_in_a_row(width)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        if device != "cpu":
            torch.accelerator.synchronize()

    return [Contestant(way, partial(steps, made)) for way, made in optimizers.items()]


def added(width: int, radius: float, rounds: int, device: str) -> Iterator[float]:
    """Yield by how much of the bare step each way makes it longer: the median over rounds."""
    seconds = interleave(trained(width, radius, device), rounds)
    for way in list(WAYS)[1:]:
        yield ratio(seconds, way, "bare").median - 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--device", default="cpu", help="where the model is trained")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("width", "slices", *list(WAYS)[1:], title="added to a step")
    for width in options.widths:
        for slices, radius in RADII.items():
            shares = added(width, radius, options.rounds, options.device)
            table.add_row(str(width), slices, *(f"{share:.1%}" for share in shares))
    rich.print(table)


if __name__ == "__main__":
    main()
