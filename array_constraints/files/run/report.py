"""Violations of constraints before and after a run, and the norms of slices."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from array_constraints.files.run.distribution import NOTHING, Distribution


class SliceViolation(NamedTuple):
    """A slice, or an entry, that violates its constraint, and how far it is off."""

    at: tuple[int | None, ...]
    """Where it is in the tensor; None for the dimensions that it runs along."""
    violation: float
    """How far it is off: infinity or NaN where it holds such an entry."""

    @property
    def shown(self) -> str:
        """The index as it is written in Python: ``[3, :]``."""
        return f"[{', '.join(':' if i is None else str(i) for i in self.at)}]"


class Summary(NamedTuple):
    """The violation of slices, or of entries, in numbers."""

    slices: int = 0
    """The number of slices, or of entries."""
    violating: int = 0
    """The number of those that violate the constraint."""
    largest: float = 0.0
    """The largest violation that is finite."""
    nan: int = 0
    """The number of those that hold NaN."""
    infinite: int = 0
    """The number of those that hold infinity, and no NaN."""
    worst: tuple[SliceViolation, ...] = ()
    """The violations that are largest, NaN and infinity first, as many as were asked for."""
    most: int = 0
    """How many were asked for."""
    distribution: Distribution = NOTHING
    """How the violations are distributed, where that was asked for."""

    def __add__(self, other: Summary) -> Summary:  # type: ignore[override]
        most = max(self.most, other.most)
        return Summary(
            self.slices + other.slices,
            self.violating + other.violating,
            max(self.largest, other.largest),
            self.nan + other.nan,
            self.infinite + other.infinite,
            tuple(heapq.nlargest(most, (*self.worst, *other.worst), key=_badness)),
            most,
            self.distribution + other.distribution,
        )

    def __repr__(self) -> str:
        default = type(self)()._asdict()
        shown = [
            f"{name}={value!r}"
            for i, (name, value) in enumerate(self._asdict().items())
            if i < 3 or value != default[name]
        ]
        return f"Summary({', '.join(shown)})"


def _badness(found: SliceViolation) -> tuple[float, tuple[int, ...]]:
    """Order slices by their violation; of those that are equal the first one is worse."""
    size = math.inf if math.isnan(found.violation) else found.violation
    return size, tuple(0 if i is None else -i for i in found.at)


class Skipped(NamedTuple):
    """A tensor that a pattern selects, and its constraint does not fit."""

    name: str
    reason: str
    shape: tuple[int, ...] = ()
    is_weight: bool = False
    """Whether it looks like one: it has dimensions enough, and floating-point numbers."""


@dataclass(frozen=True)
class TensorReport:
    """Violations in one tensor, and those that are left in the result."""

    name: str
    constraint: Any
    before: Summary
    after: Summary | None = None


@dataclass(frozen=True)
class Report:
    """Violations, tensor by tensor."""

    tensors: tuple[TensorReport, ...]
    warnings: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    """What patterns select, and no constraint is on, since none fits."""

    @property
    def satisfied(self) -> bool:
        """Whether no slice violates its constraint: in the result, if there is one."""
        last = [t.before if t.after is None else t.after for t in self.tensors]
        return not any(summary.violating for summary in last)
