"""NUM-12: a proof for the 16-bit dtypes: all 65,536 slices of one entry are tried."""

from __future__ import annotations

import math
import warnings

import numpy as np

from array_constraints_conformance.catalogue import ExactRule, NormRule, Rule
from array_constraints_conformance.catalogue.combined import ChainRule
from array_constraints_conformance.checks.registry import check
from array_constraints_conformance.checks.shared import known
from array_constraints_conformance.numerics.bits import same_bits, same_values
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.trial import Trial
from array_constraints_conformance.weights.case import Case


@check("NUM-12")
def all_slices_of_one_16_bit_entry(trial: Trial) -> int:
    applied = 0
    for turn, fmt in enumerate(trial.formats):
        if fmt.half:
            patterns = np.arange(1 << 16, dtype=np.uint16).view(fmt.dtype)
            rules = trial.rules[:2] if trial.profile.quick else trial.rules
            for rule in (r.along(0) for r in trial.half(rules, turn) if r.fits(fmt, 1)):
                shape = (256, 256) if rule.exact and not rule.uniform else (1, 1 << 16)
                if not rule.suits(shape):
                    continue
                few = (
                    trial.profile.quick
                    and "sliced constraints" in rule.traits
                    and "Keras constraints" not in rule.traits
                )
                w = patterns.reshape(shape)[:, :: 32 if few else 1]
                case = Case(np.ascontiguousarray(w), rule.placed(w.shape))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # NumPy warns of signalling NaN
                    applied += _all(trial.observe(case))
    return applied


def _all(seen: Observation) -> int:
    if seen.result.dtype != seen.w.dtype:
        seen.fail(None, "the dtype changed", seen.w.dtype.name, seen.result.dtype.name)
    rule, rows = seen.rule, seen.slices(seen.again).rows
    again = same_bits(seen.after.rows, rows, seen.flushes)
    laws = {"NUM-9": again | ("idempotent maps" not in rule.traits)}
    if "sets that keep signs" in rule.traits:
        laws["SET-11"] = _signs_kept(seen)
    if isinstance(rule, ExactRule):
        laws |= _exact_laws(seen, rule)
    elif isinstance(rule, NormRule) and not isinstance(rule, ChainRule):
        w, image = seen.before.values[:, 0], seen.after.values[:, 0]
        laws |= _norm_laws(seen, w, image, seen.same)
    else:
        laws |= _other_laws(seen)
    for requirement, holds in laws.items():
        wrong, expected = _SAID[requirement]
        for i in np.flatnonzero(~holds)[:1]:
            words = np.ascontiguousarray(seen.before.rows[i]).view(np.uint16)
            bits = ", ".join(f"{int(word):#06x}" for word in words)
            message = f"{wrong} ({requirement}), at the bits {bits}"
            seen.fail(int(i), message, expected, seen.after.rows[i])
    return int(seen.w.size)


def _signs_kept(seen: Observation) -> np.ndarray:
    w, image = seen.before.values, seen.after.values
    kept = ~np.isfinite(w) | (image == 0) | (np.sign(w) == np.sign(image))
    found: np.ndarray = kept.all(axis=1)
    return found


_SAID = {
    "SET-1": ("the result is not allowed", "an allowed value"),
    "SET-3": ("not the nearest allowed entry", "the nearest one"),
    "SET-11": ("the entry changed its sign", "the same sign, or 0"),
    "SET-12": ("a slice without a direction did not stay", "the same entry"),
    "NUM-5": ("an allowed slice changed a bit", "the same bits"),
    "NUM-6": ("over the bound", "at most the bound"),
    "NUM-7": ("shrunk too far", "the bound, within the depth"),
    "NUM-8": ("a slice beyond the band was kept", "a projected slice"),
    "NUM-9": ("applied again, it changed", "the same bits again"),
    "NUM-10": ("a slice of NaN or infinity changed", "the same bits"),
}


def _exact_laws(seen: Observation, rule: ExactRule) -> dict[str, np.ndarray]:
    nearest = rule.nearest_rows(seen.before)
    right = same_values(nearest, seen.after.rows, seen.flushes)
    kept = same_values(seen.before.rows, nearest)
    holes = np.isnan(seen.before.values).any(axis=1)
    return {"SET-1": right | holes, "NUM-5": seen.same | ~kept, "SET-3": right}


def _other_laws(seen: Observation) -> dict[str, np.ndarray]:
    """Return the laws for slices of one entry of a set whose nearest points are rounded."""
    allowed = seen.rule.allowed(seen.before, seen.after, seen.fmt, seen.underflow)
    interior = seen.rule.interior(seen.before, seen.fmt, seen.underflow)
    return {
        "SET-1": ~seen.rule.demanded(seen.before, seen.directed) | allowed,
        "SET-12": ~known(seen).undirected(seen.before) | seen.same,
        "NUM-5": ~interior | seen.same,
        "NUM-10": seen.before.finite
        | seen.same
        | ("sliced constraints" not in seen.rule.traits),
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
