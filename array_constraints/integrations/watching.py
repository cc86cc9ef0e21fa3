"""Watch constraints while a model is trained: what they find after a step, and change.

A watcher is any callable that takes an :class:`Observation`; here are a few.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Any, Self

from array_constraints import libraries
from array_constraints.rules import Selection


@dataclass(frozen=True, slots=True)
class Observation:
    """What a constraint found in a weight after a step, before it was brought back.

    Parameters
    ----------
    step
        The number of the step, from 1; 0 where the constraint is attached.
    weight
        The name of the weight.
    rule
        The rule that selects it, as messages name it.
    slices
        How many slices it has, or entries, if each is constrained alone.
    violating
        How many of them the constraint moves.
    largest
        How far the farthest is off, in units of the weight: what it moves by, or nearly.
    """

    step: int
    weight: str
    rule: str
    slices: int
    violating: int
    largest: float

    @property
    def share(self) -> float:
        """The share of slices, or entries, that are moved."""
        return self.violating / max(1, self.slices)


def observed(selection: Selection, rule: str, step: int) -> Observation:
    """Return what the constraint of a weight finds in it now."""
    found = selection.violation()
    xp = libraries.of(found).xp
    largest = float(xp.max(found)) if 0 not in found.shape else 0.0
    violating = int(xp.count_nonzero(found))
    slices = selection.slices
    if slices is None:
        slices = int(xp.count_nonzero(xp.ones_like(found)))
    return Observation(step, selection.weight.name, rule, slices, violating, largest)


class History(list[Observation]):
    """A watcher that keeps all observations, and draws them."""

    def __call__(self, observation: Observation) -> None:
        """Keep an observation."""
        self.append(observation)

    def draw(self, axes: Any = None) -> Any:
        """Draw the share of slices that each rule moves, over the steps, by matplotlib.

        Parameters
        ----------
        axes
            Axes of matplotlib; by default those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(layout="constrained").add_subplot()
        for rule in dict.fromkeys(o.rule for o in self):
            steps = sorted({o.step for o in self if o.rule == rule})
            shares = [_share(o for o in self if (o.rule, o.step) == (rule, s)) for s in steps]
            axes.plot(steps, shares, label=rule)
        axes.set(xlabel="step", ylabel="share of slices moved", ylim=(-0.02, 1.02))
        axes.legend()
        return axes


class CSV:
    """A watcher that writes a line for each observation; a context manager.

    Parameters
    ----------
    path
        The file, which is made new.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: PTH123, SIM115
        self._writer = csv.writer(self._file)
        self._writer.writerow(field.name for field in fields(Observation))

    def __call__(self, observation: Observation) -> None:
        """Write an observation, to be seen at once."""
        self._writer.writerow(astuple(observation))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TensorBoard:
    """A watcher that writes two scalars for each weight: ``share`` moved and ``largest``.

    Parameters
    ----------
    writer
        One with ``add_scalar``, such as ``torch.utils.tensorboard.SummaryWriter``.
    """

    def __init__(self, writer: Any) -> None:
        if not callable(getattr(writer, "add_scalar", None)):
            raise TypeError(f"writer must have add_scalar, got {type(writer).__name__}")
        self._writer = writer

    def __call__(self, observation: Observation) -> None:
        """Write an observation."""
        o = observation
        self._writer.add_scalar(f"constraints/share/{o.weight}", o.share, o.step)
        self._writer.add_scalar(f"constraints/largest/{o.weight}", o.largest, o.step)


class LiveTable:
    """A watcher that shows the last observations in the terminal, by rich; a context manager.

    Parameters
    ----------
    console
        A console of rich; by default the usual one.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.live import Live

        self._last: dict[str, Observation] = {}
        self._live = Live(get_renderable=self._table, console=console)

    def __call__(self, observation: Observation) -> None:
        """Show an observation."""
        self._last[observation.weight] = observation

    def _table(self) -> Any:
        from rich.table import Table

        step = max((o.step for o in self._last.values()), default=0)
        table = Table("weight", "rule", "moved", "farthest", title=f"step {step}")
        for o in self._last.values():
            moved = f"{o.violating} of {o.slices}"
            table.add_row(o.weight, o.rule, moved, f"{o.largest:.3g}")
        return table

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _share(observations: Iterable[Observation]) -> float:
    observations = list(observations)
    slices = sum(o.slices for o in observations)
    return sum(o.violating for o in observations) / max(1, slices)
