"""The options of a run: how much it holds at a time, who does it, what it may replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from array_constraints.layers import require_layout
from array_constraints.parameters import number

CHUNK_SIZE = 64 * 2**20
"""Bytes of a region, unless another number is asked for."""
PATIENCE = 30.0
"""Seconds without a sign of life: workers of Dask say twice a second that they live."""
MOST_WORKERS = 4096
"""Threads at most: more than any machine has processors."""

_LEAST_CHUNK_SIZE = 2**16
_MOST_SLICES = 1_000_000
_MOST_CHUNK_SIZE = 2**62  # bytes, so that sums of a few stay in 64 bits


class Detail(NamedTuple):
    """What a report tells beside how many slices violate, and how far the farthest is off."""

    slices: int = 0
    """How many of the worst slices of a tensor are listed."""
    distribution: bool = False
    """Whether violations are counted by their size."""


COUNTED = Detail()
"""Nothing more."""


@dataclass(frozen=True)
class Options:
    """The options of a run, as :func:`project_file` explains them.

    Raises
    ------
    TypeError, ValueError
        If a number is none, or out of range.
    """

    chunk_size: int = CHUNK_SIZE
    workers: int | None = None
    scheduler: Any = None
    patience: float = PATIENCE
    resume: bool = False
    overwrite: bool = False
    layout: str | None = None
    transposed: Sequence[str] | None = None
    strict: bool = False
    follow_links: bool = False
    detail: Detail = COUNTED

    def __post_init__(self) -> None:
        _check_whole("chunk_size", self.chunk_size, _LEAST_CHUNK_SIZE, _MOST_CHUNK_SIZE)
        if self.workers is not None:
            _check_whole("workers", self.workers, 1, MOST_WORKERS)
        _check_whole("slices", self.detail.slices, 0, _MOST_SLICES)
        if self.layout is not None:
            require_layout(self.layout)
        if self.transposed is not None:
            given = self.transposed
            several = (given,) if isinstance(given, str) else tuple(given)
            object.__setattr__(self, "transposed", several)
        object.__setattr__(self, "patience", number("patience", self.patience, lower=1))


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}")


DEFAULT = Options()
"""The options of a run that is asked for nothing else."""
