"""Slices that are hard for a threshold search, and its exact answer in rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from libraries import DTYPES

TOTALS = (0.01, 1.0, 100.0)

# Ordered ones are there because samples are strided; heavy tails because few entries say all;
# ties, offsets and one large entry because counts jump or stay.
FAMILIES = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "small": lambda rng, n: 0.02 * rng.standard_normal(n),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: np.exp(3 * rng.standard_normal(n)),
    "pareto": lambda rng, n: rng.random(n) ** -0.5,
    "ordered cauchy": lambda rng, n: np.sort(rng.standard_cauchy(n)),
    "ordered pareto": lambda rng, n: np.sort(rng.random(n) ** -0.5)[::-1],
    "ramp": lambda rng, n: np.arange(1, n + 1) / n,
    "falling ramp": lambda rng, n: -np.arange(1, n + 1) / n,
    "harmonic": lambda rng, n: 1 / np.arange(1, n + 1),
    "logarithms": lambda rng, n: -np.log(np.arange(1, n + 1)),
    "roots": lambda rng, n: -np.sqrt(np.arange(1, n + 1)),
    "geometric": lambda rng, n: np.exp(-20 * np.arange(1, n + 1) / n),
    "equal": lambda rng, n: np.full(n, 0.3),
    "two values": lambda rng, n: rng.choice([0.0, 1.0], n),
    "one large": lambda rng, n: np.where(np.arange(n) == n // 2, 5.0, 1e-3 * rng.random(n)),
    "offset": lambda rng, n: 1e4 + np.round(8 * rng.standard_normal(n)),
}


def slice_of(family: str, n: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Return a slice of a family, in the range of every dtype."""
    values = FAMILIES[family](np.random.default_rng(seed), n)
    return np.clip(values, -6e4, 6e4).astype(DTYPES[dtype])


@st.composite
def slices(draw: st.DrawFn, dtype: str, lengths: tuple[int, ...]) -> np.ndarray:
    """One slice of a family, times a power of two where the dtype has the range for it."""
    family = draw(st.sampled_from(sorted(FAMILIES)), label="family")
    n = draw(st.sampled_from(lengths), label="n")
    found = slice_of(family, n, dtype, draw(st.integers(0, 2**16), label="seed"))
    exponent = draw(st.integers(-12, 0 if dtype == "float16" else 60), label="exponent")
    return (found.astype(np.float64) * 2.0**exponent).astype(found.dtype)


def exact_sum(values: np.ndarray) -> Fraction:
    """Return the sum of entries, exactly."""
    return sum(map(Fraction, values.astype(np.float64).tolist()), Fraction(0))


def exact_projection(values: np.ndarray, total: float) -> list[Fraction]:
    """Return the nearest point of the simplex: sorted, and its threshold in rationals."""
    entries = [Fraction(v) for v in values.astype(np.float64).tolist()]
    running, threshold = Fraction(0), None
    for k, entry in enumerate(sorted(entries, reverse=True), 1):
        running += entry
        root = (running - Fraction(total)) / k
        if threshold is not None and entry <= threshold:
            break
        threshold = root
    return [max(entry - threshold, Fraction(0)) for entry in entries]


def exact_ball(values: np.ndarray, radius: float) -> list[Fraction]:
    """Return the nearest point of the L1 ball."""
    magnitudes = np.abs(values.astype(np.float64))
    if exact_sum(magnitudes) <= Fraction(radius):
        return [Fraction(v) for v in values.astype(np.float64).tolist()]
    found = exact_projection(magnitudes, radius)
    return [v if w >= 0 else -v for v, w in zip(found, values.tolist(), strict=True)]
