"""Weights that Hypothesis draws freely: small, so that counterexamples are small."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, configuration, given, settings
from hypothesis import strategies as st

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.weights.case import Case

_DRAWN: dict[tuple[object, ...], list[Case]] = {}
Fitting = Sequence[tuple[Format, Sequence[Rule]]]


def fitting(rules: Sequence[Rule], formats: Sequence[Format]) -> Fitting:
    """Return the formats with the rules whose laws speak of slices of two entries there."""
    usable = [rule for rule in rules if rule.along(0).suits((2, 3))]
    found = ((fmt, [rule for rule in usable if rule.fits(fmt, 2)]) for fmt in formats)
    return [(fmt, fit) for fmt, fit in found if fit]


def drawn(source: Fitting, seed: int, count: int) -> list[Case]:
    """Return weights that Hypothesis draws, drawn once: every law sees the same."""
    keys = ((fmt.name, *(rule.key for rule in rules)) for fmt, rules in source)
    key = (*keys, seed, count)
    if key not in _DRAWN:
        found: list[Case] = []
        if source:
            search(found.append, source, seed, count)
        _DRAWN[key] = found
    return _DRAWN[key]


def search(holds: Callable[[Case], object], source: Fitting, seed: int, count: int) -> None:
    """Draw weights for ``holds``; where it raises, raise for the smallest such weight."""
    limits = settings(
        max_examples=count,
        database=None,
        deadline=None,  # JAX compiles
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )

    def law(case: Case) -> None:
        holds(case)

    with _nothing_stored():
        hypothesis.seed(seed)(limits(given(weights(source))(law)))()


@contextmanager
def _nothing_stored() -> Iterator[None]:
    """Keep Hypothesis from making a folder ``.hypothesis`` where the user works."""
    home = getattr(configuration, "__hypothesis_home_directory", None)
    configuration.set_hypothesis_home_dir(Path(os.devnull) / "hypothesis")  # cannot be made
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(home)


def weights(source: Fitting) -> st.SearchStrategy[Case]:
    """Yield small weights whose every entry is drawn, ordinary numbers first."""

    def entries(pair: tuple[Format, Sequence[Rule]]) -> st.SearchStrategy[Case]:
        fmt, rules = pair
        width = {"float16": 16, "float64": 64}.get(fmt.name, 32)
        u, t = float(fmt.u), fmt.smallest
        hard = [0.0, 1.0, 2.0, 0.5, 1 + 2 * u, 1 - u, fmt.largest, t, 2 * u * t, t**0.5 / 2]
        signed = st.sampled_from([s * v for v in hard for s in (1.0, -1.0)])
        entry = st.floats(-4, 4, width=width) | signed | st.floats(width=width)

        def case(drawn: list[float], rule: Rule) -> Case:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                w = np.asarray(drawn).reshape(2, 3).astype(fmt.dtype)
                w[np.isnan(w)] = np.nan  # quiet: NumPy warns when it reads a signalling one
            return Case(w, rule.along(0).placed(w.shape))

        return st.builds(
            case, st.lists(entry, min_size=6, max_size=6), st.sampled_from(list(rules))
        )

    return st.sampled_from(list(source)).flatmap(entries)
