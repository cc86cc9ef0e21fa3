"""NUM-12: a proof for the 16-bit dtypes: all 65,536 slices of one entry are tried."""

from __future__ import annotations

import math
import warnings

import numpy as np

from array_constraints_conformance.catalogue import NormRule, Rule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.numerics.bits import same_bits
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


@check("NUM-12")
def all_slices_of_one_16_bit_entry(trial: Trial) -> int:
    applied = 0
    for fmt in trial.formats:
        if fmt.half:
            patterns = np.arange(1 << 16, dtype=np.uint16).view(fmt.dtype).reshape(1, -1)
            rules = trial.rules[:2] if trial.profile.quick else trial.rules
            for rule in (rule for rule in rules if rule.fits(fmt, 1)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # NumPy warns of signalling NaN
                    applied += _all(trial.observe(Case(patterns, rule.along(0))))
    return applied


def _all(seen: Observation) -> int:
    w, image = seen.w[0].astype(np.float64), seen.result[0].astype(np.float64)
    if seen.result.dtype != seen.w.dtype:
        seen.fail(None, "the dtype changed", seen.w.dtype.name, seen.result.dtype.name)
    same = same_bits(seen.w.reshape(-1, 1), seen.result.reshape(-1, 1), seen.flushes)
    again = same_bits(seen.result.reshape(-1, 1), seen.again.reshape(-1, 1), seen.flushes)
    laws = {
        "NUM-9": again | ("idempotent maps" not in seen.rule.traits),
        "SET-11": ~np.isfinite(w) | (image == 0) | (np.sign(w) == np.sign(image)),
        **(
            _norm_laws(seen, w, image, same)
            if isinstance(seen.rule, NormRule)
            else _entry_laws(w, image, same)
        ),
    }
    for requirement, holds in laws.items():
        wrong, expected = _SAID[requirement]
        for i in np.flatnonzero(~holds)[:1]:
            bits = f"{int(seen.w.view(np.uint16)[0, i]):#06x}"
            seen.fail(
                int(i), f"{wrong} ({requirement}), at the bits {bits}", expected, image[i]
            )
    return len(w)


_SAID = {
    "SET-1": ("the result is not allowed", "an allowed value"),
    "SET-3": ("a negative entry is not zero", "0"),
    "SET-11": ("the entry changed its sign", "the same sign, or 0"),
    "SET-12": ("a zero slice did not stay zero", "0"),
    "NUM-5": ("an allowed slice changed a bit", "the same bits"),
    "NUM-6": ("over the bound", "at most the bound"),
    "NUM-7": ("shrunk too far", "the bound, within the depth"),
    "NUM-8": ("a slice beyond the band was kept", "a projected slice"),
    "NUM-9": ("applied again, it changed", "the same bits again"),
    "NUM-10": ("a slice of NaN or infinity changed", "the same bits"),
}


def _entry_laws(w: np.ndarray, image: np.ndarray, same: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "SET-1": ~(image < 0),
        "NUM-5": same | (w < 0),
        "SET-3": ~(w < 0) | (image == 0),
    }


def _norm_laws(
    seen: Observation, w: np.ndarray, image: np.ndarray, same: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the laws for slices of one entry, whose norm is its magnitude, exact in float64.

    Bounds with margins are rounded to float64, which moves them by 2**-53 of themselves: no
    number with 11 bits lies in between, unless it is the bound itself, which has no margin.
    """
    rule: Rule = seen.rule
    lower, upper, rate = rule.lower, rule.upper, rule.rate  # type: ignore[attr-defined]
    tolerance, band = float(seen.fmt.tolerance(1)), float(seen.fmt.band(1))
    size, found = np.abs(w), np.abs(image)
    finite, zero = (
        np.isfinite(w),
        size < (seen.fmt.smallest if seen.flushes else math.ulp(0.0)),
    )
    directed = finite & ~zero
    moves = directed & (rate == 1)
    thin = 2 * tolerance * lower >= upper - lower
    slack = max(band, tolerance) if thin and lower > 0 else band
    kept_allowed = (size >= lower * (1 - slack)) & (size <= upper * (1 + slack))
    inner = finite & (size >= lower * (1 + band)) & (size <= upper * (1 - band))
    laws = {
        "SET-1": ~moves
        | ((found >= lower * (1 - tolerance)) & (found <= upper * (1 + tolerance))),
        "SET-12": (w != 0) | (image == 0),
        "NUM-5": ~inner | same,
        "NUM-8": ~(moves & same) | kept_allowed,
        "NUM-10": finite | same,
    }
    if rule.name == "MaxNorm":
        projected = directed & ~same
        laws["NUM-6"] = ~projected | (found <= upper)
        depth = float(seen.fmt.depth(1))
        laws["NUM-7"] = ~projected | (found >= upper * (1 - depth))
    return laws
