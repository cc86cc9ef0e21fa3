"""Contestants in turn, in one process: what disturbs one disturbs the others."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_SAMPLE = 0.002  # seconds that one sample lasts at least


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """A call to be timed; ``restore`` runs before each one, untimed."""

    name: str
    call: Callable[[], Any]
    restore: Callable[[], Any] = _nothing


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of each round, with its quartiles."""

    median: float
    lower: float
    upper: float


def interleave(
    contestants: Sequence[Contestant], rounds: int, seed: int = 0
) -> dict[str, list[float]]:
    """Return the seconds of one call of each contestant in each round.

    The order of a round is random. Each contestant is called once before it is timed, so that
    it finds the allocator as it leaves it itself, not as the one before it did.
    """
    calls = {c.name: _calls(c) for c in contestants}
    seconds: dict[str, list[float]] = {c.name: [] for c in contestants}
    rng = random.Random(seed)
    for _ in range(rounds):
        for contestant in rng.sample(contestants, len(contestants)):
            contestant.restore()
            contestant.call()
            seconds[contestant.name].append(_time(contestant, calls[contestant.name]))
    return seconds


def steps_in_a_row(width: int) -> int:
    """Return how many steps of a network are one call: small ones are warm in training."""
    return max(1, 640 // width)


def _calls(contestant: Contestant) -> int:
    contestant.restore()
    contestant.call()
    once = _time(contestant, 1)
    return max(1, min(1000, int(_SAMPLE / once)))


def _time(contestant: Contestant, calls: int) -> float:
    call, restore, clock = contestant.call, contestant.restore, time.perf_counter
    if restore is _nothing:
        start = clock()
        for _ in range(calls):
            call()
        return (clock() - start) / calls
    total = 0.0
    for _ in range(calls):
        restore()
        start = clock()
        call()
        total += clock() - start
    return total / calls


def ratio(seconds: dict[str, list[float]], name: str, reference: str) -> Ratio:
    """Return how long ``name`` took, in units of ``reference``."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]
    if len(ratios) < 2:
        return Ratio(ratios[0], ratios[0], ratios[0])
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, lower, upper)
