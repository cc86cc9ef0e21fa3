"""Train a network of PyTorch under two rules, and draw what its constraints found at each step.

The picture of the gallery is made by::

    python docs/examples/watched.py docs/examples
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from array_constraints import MaxNorm, UnitNorm
from array_constraints.integrations.torch import constrain
from array_constraints.integrations.watching import History
from array_constraints.rules import Rule

RULES = [
    Rule("2.weight", UnitNorm(axis="incoming")),
    Rule("*.weight", MaxNorm(1.0, axis="incoming"), kind="dense"),
]


def train(steps: int) -> History:
    """Train on handwritten digits; return what was found before each projection."""
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    model.append(nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    seen = History()
    held = constrain(model, RULES, optimizer, watch=seen)
    for _ in range(steps):
        chosen = torch.randperm(len(images))[:128]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        if any(held.violations().values()):
            raise SystemExit("a constraint was violated right after it had been applied")
    return seen


def main(folder: Path, steps: int = 200) -> None:
    """Write the picture into a folder."""
    matplotlib.rcParams.update({"svg.hashsalt": "watched", "svg.fonttype": "none"})
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    train(steps).draw(figure.add_subplot())
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "watched.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
