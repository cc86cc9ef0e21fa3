"""Measure one library in this process: ``python -m benchmarks.measure LIBRARY ROUNDS FILE``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases, contestants
from benchmarks.cases import Case
from benchmarks.interleaved import interleave, ratio

ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


def expected(case: Case) -> Any:
    """Return the result in float64, by the definition."""
    weight = case.weight()
    bound, w = case.bound(weight), weight.astype("float64")
    if case.constraint == "NonNeg":
        return np.maximum(w, 0)
    norm = np.sqrt(np.sum(w * w, axis=case.axes, keepdims=True))
    low, high = {
        "MaxNorm": (0, bound),
        "UnitNorm": (1, 1),
        "MinMaxNorm": (0.99 * bound, bound),
    }[case.constraint]
    return w * (np.clip(norm, low, high) / norm)


def errors(case: Case, calls: dict[str, contestants.Call]) -> dict[str, float]:
    """Return how far the results are off, in roundoffs of the largest entry; raise for ours.

    What Keras makes of float16 is up to 3 % off: it is timed all the same.
    """
    exact = expected(case)
    scale = float(np.max(np.abs(exact))) * ROUNDOFF[case.dtype]
    found = {}
    for name, call in calls.items():
        result = call()
        result = result.double() if "torch" in type(result).__module__ else result
        found[name] = (
            float(np.max(np.abs(np.asarray(result).astype("float64") - exact))) / scale
        )
        most = 60 if name.startswith("ours") else 0.1 / ROUNDOFF[case.dtype]
        if not found[name] <= most:
            raise ValueError(f"{name} is off by {found[name]:.3g} roundoffs on {case}")
    return found


def measured(library: str, case: Case, rounds: int) -> list[dict[str, Any]]:
    """Return one row for each contestant: its seconds, and its ratios to all the others."""
    entrants, calls = contestants.LIBRARIES[library](case)
    off = errors(case, calls)
    found = rows(library, str(case), interleave(entrants, rounds))
    return [row | {"roundoffs": off.get(row["contestant"])} for row in found]


def rows(library: str, case: str, seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    return [
        {
            "library": library,
            "case": case,
            "contestant": name,
            "seconds": float(np.median(times)),
            "ratios": {
                other: asdict(ratio(seconds, name, other)) for other in seconds if other != name
            },
        }
        for name, times in seconds.items()
    ]


def growing(library: str, rounds: int) -> list[dict[str, Any]]:
    """Return the seconds per entry of arrays and slices that grow: of this library alone."""
    found = []
    for case in (*(c for pair in cases.LENGTHS for c in pair), *cases.SLICES):
        entrants, _ = contestants.LIBRARIES[library](case)
        chosen = [e for e in entrants if e.name in {"ours", "ours, in place"}]
        seconds = interleave(chosen, rounds)
        found += [
            row | {"ratios": {}, "seconds per entry": row["seconds"] / np.prod(case.shape)}
            for row in rows(library, f"growth: {case}", seconds)
        ]
    return found


def main(library: str, rounds: int, file: Path) -> None:
    chosen = list(cases.CASES)
    if library == "jax":  # float64 is off, and half types are converted as a whole
        chosen = [c for c in chosen if c.dtype == "float32"]
    found = [row for case in chosen for row in measured(library, case, rounds)]
    seconds = interleave(contestants.many(library, cases.MANY), rounds)
    found += rows(library, f"{cases.MANY} tensors of 64x64", seconds)
    if library != "jax":
        found += growing(library, rounds)
    file.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
