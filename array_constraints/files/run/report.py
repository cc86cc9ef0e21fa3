"""Violations of constraints before and after a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple


class Summary(NamedTuple):
    """The violation of slices, or of entries, in numbers."""

    slices: int = 0
    """The number of slices, or of entries."""
    violating: int = 0
    """The number of those that violate the constraint."""
    largest: float = 0.0
    """The largest violation; NaN if there is a NaN."""

    def __add__(self, other: Summary) -> Summary:  # type: ignore[override]
        largest = max(self.largest, other.largest)
        if math.isnan(self.largest) or math.isnan(other.largest):
            largest = math.nan
        return Summary(self.slices + other.slices, self.violating + other.violating, largest)


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

    @property
    def satisfied(self) -> bool:
        """Whether no slice violates its constraint: in the result, if there is one."""
        last = [t.before if t.after is None else t.after for t in self.tensors]
        return not any(summary.violating for summary in last)
