"""Violations of constraints before and after a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


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
    """The number of those that hold infinity, and violate infinitely."""

    def __add__(self, other: Summary) -> Summary:  # type: ignore[override]
        return Summary(
            self.slices + other.slices,
            self.violating + other.violating,
            max(self.largest, other.largest),
            self.nan + other.nan,
            self.infinite + other.infinite,
        )


@dataclass(frozen=True)
class TensorReport:
    """Violations in one tensor, and those that are left in the result."""

    name: str
    constraint: Any
    before: Summary
    after: Summary | None = None


class Skipped(NamedTuple):
    """A tensor that a pattern selects, and its constraint does not fit."""

    name: str
    reason: str


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
