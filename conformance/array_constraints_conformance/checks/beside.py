"""Comparisons of a weight with weights of which some slices were replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.neighbours import (
    FEW,
    IN_TURN,
    ORDINARY,
    Neighbourhood,
)

Compare = Callable[[Observation, Observation, np.ndarray, str], None]


def beside_anything(trial: Trial, compare: Compare) -> int:
    """Compare a weight with others of which only chosen slices differ.

    ``compare`` takes both observations, a mask of the equal slices, and the name of what the
    others hold.
    """
    applied = 0
    for hood in [*_small(trial), *trial.neighbourhoods]:
        kept = ~hood.chosen
        first = Observation(trial.calls, hood.case(ORDINARY))
        large = hood.rows.size > 2**14
        few = trial.slow or (trial.profile.quick and large)
        for name in FEW if few else (*hood.beside, IN_TURN):
            compare(first, Observation(trial.calls, hood.case(name)), kept, name)
            applied += int(kept.sum())
    return applied


def _small(trial: Trial) -> Iterator[Neighbourhood]:
    """Yield the sample decks: a slice of every kind."""
    for case in trial.samples:
        seen = trial.observe(case)
        if len(seen.before) > 1:
            rows = seen.before.rows
            yield Neighbourhood(case.rule, rows, case.w.shape, seen.before.fmt)
