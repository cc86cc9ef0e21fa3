"""Measure the numeric contract on every installed library, and write the tables of the docs.

``nox -s numerics`` runs this. Norms are computed in exact rational arithmetic; distances are in
units u of the dtype's roundoff.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
from exact import relative_excess
from libraries import (
    DTYPES,
    LIBRARIES,
    ROUNDOFF,
    Library,
    bits,
    counts_as_zero,
    installed,
)
from rich.progress import track

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm, deserialize
from benchmarks import pages

ROOT = Path(__file__).parents[1]
LENGTHS = (1, 3, 64, 4096, 65536, 2**20)
CONSTRAINTS = {
    "MaxNorm(2)": (MaxNorm(2), 0.0, 2.0),
    "UnitNorm()": (UnitNorm(), 1.0, 1.0),
    "MinMaxNorm(0.2, 0.5)": (MinMaxNorm(0.2, 0.5), 0.2, 0.5),
}


@functools.cache
def columns(dtype: str, n: int, bound: float) -> np.ndarray:
    """Slices of length n: random, equal, of any magnitude, within 3 eps of the bound, on it.

    Of any magnitude: the entries, by powers of two, from normal numbers to near the largest.
    """
    rng = np.random.default_rng(n)
    info = ml_dtypes.finfo(DTYPES[dtype])
    repeats = max(2, min(40, 2**14 // n))
    drawn = []
    for _ in range(repeats):
        v = rng.standard_normal(n)
        unit = v / math.sqrt(math.fsum(v * v))
        sign = rng.choice([-1.0, 1.0])
        entry = unit / np.max(np.abs(unit))
        exponent = rng.uniform(math.log2(float(info.tiny)), math.log2(float(info.max)))
        drawn += [
            unit * bound * rng.uniform(1.1, 9),
            unit * bound * rng.uniform(0.1, 0.9),
            np.full(n, sign * bound * rng.uniform(0.2, 3)),
            entry * 2.0**exponent,
            unit * bound * (1 + rng.integers(-3, 4) * float(info.eps)),
            np.eye(1, n, rng.integers(n))[0] * sign * bound,
        ]
    return np.stack(drawn, axis=1).astype(DTYPES[dtype])


@functools.cache
def exact_excess(dtype: str, n: int, bound: float, near: float) -> list[float]:
    return [relative_excess(column, near) for column in columns(dtype, n, bound).T]


def measure(library: Library, dtype: str, name: str, n: int) -> dict[str, float]:
    """Return counts, and the extreme distances to the nearest bound, in u."""
    constraint, lower, upper = CONSTRAINTS[name]
    u, band = ROUNDOFF[dtype], (math.ceil(math.log2(n)) / 2 + 1.5) * ROUNDOFF[dtype]
    w = columns(dtype, n, upper)
    above = exact_excess(dtype, n, upper, upper)
    below = exact_excess(dtype, n, upper, lower) if lower else [math.inf] * len(above)
    x = library.array(w)
    image = constraint(x)
    result, again = library.numpy(image), library.numpy(constraint(image))
    found: dict[str, float] = {
        "low": math.inf,
        "high": -math.inf,
        **dict.fromkeys(("satisfied", "kept", "projected", "over", "slices", "fixed"), 0),
        "kept_excess": -math.inf,
    }
    for i in range(w.shape[1]):
        same = bits(w[:, i]) == bits(result[:, i])
        found["slices"] += 1
        found["fixed"] += bits(result[:, i]) == bits(again[:, i])
        inside = below[i] >= band and above[i] <= -band
        if inside or above[i] == below[i] == 0:  # of norm 1, exactly
            found["satisfied"] += 1
            found["kept"] += same
        if same and counts_as_zero(library, w[:, i]):
            continue
        if same:
            found["kept_excess"] = max(found["kept_excess"], above[i] / u, -below[i] / u)
            continue
        # In the band below the upper bound a slice may be moved, too: to that bound.
        bound, sign = (upper, 1) if above[i] > -band or lower == 0 else (lower, -1)
        distance = sign * relative_excess(result[:, i], bound)
        found["projected"] += 1
        found["over"] += distance > 0
        found["low"] = min(found["low"], distance / u)
        found["high"] = max(found["high"], distance / u)
    return found


def rows(
    name: str, libraries: list[Library], lengths: list[int]
) -> Iterator[tuple[Library, str, list[dict[str, float]]]]:
    pairs = [(library, dtype) for library in libraries for dtype in library.dtypes]
    for library, dtype in track(pairs, description=name):
        with library.active():
            yield library, dtype, [measure(library, dtype, name, n) for n in lengths]


def table(name: str, libraries: list[Library], lengths: list[int]) -> str:
    """Return the measurements of one constraint as a Markdown table."""
    sphere = name == "UnitNorm()"
    header = ["library", "dtype", *(f"n = {n:,}" for n in lengths)]
    header += ["kept, worst", "satisfied and kept bit for bit", "idempotent"]
    header += [] if sphere else ["projected, beyond the bound"]
    lines = [f"### {name}", "", "| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for library, dtype, found in rows(name, libraries, lengths):
        total = {key: sum(f[key] for f in found) for key in ("satisfied", "kept", "slices")}
        total |= {key: sum(f[key] for f in found) for key in ("fixed", "projected", "over")}
        cells = [library.name, dtype, *(f"{f['low']:+.2f} to {f['high']:+.2f}" for f in found)]
        worst = max(f["kept_excess"] for f in found)
        cells += [f"{worst:+.2f}" if worst > 0 else "inside"]
        cells += [
            share(total["kept"], total["satisfied"]),
            share(total["fixed"], total["slices"]),
        ]
        cells += [] if sphere else [share(total["over"], total["projected"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:g} % of {whole:,.0f}" if whole else "none drawn"


def is_broken(row: str) -> bool:
    """Tell whether a share of satisfied and kept, of idempotent, or of beyond is not as due."""
    shares = [cell.strip() for cell in row.split(" | ") if "% of" in cell]
    due = ("100 % of", "100 % of", "0 % of")
    return any(not cell.startswith(share) for cell, share in zip(shares, due, strict=False))


def golden_table() -> str:
    """Return how far each of Keras's own results is from ours, and the bound it must keep."""
    golden = json.loads((ROOT / "tests" / "data" / "golden_numpy.json").read_text())
    epsilon, u = golden["epsilon"], ROUNDOFF["float32"]
    lines = [
        "| input | constraint | largest relative difference | bound |",
        "|---|---|---|---|",
    ]
    for case in golden["cases"]:
        w = np.asarray(golden["inputs"][case["input"]], dtype="float32")
        constraint = deserialize({key: case[key] for key in ("class_name", "config")})
        ours = constraint(w).astype(np.float64)
        keras = np.asarray(case["output"], dtype=np.float64)
        if case["input"] == "big" and case["class_name"] != "NonNeg":
            lines.append(f"| big | `{constraint}` | Keras overflows | see above |")
            continue
        bound = np.full(w.shape, 20 * u)
        if case["class_name"] != "NonNeg":
            axis = case["config"]["axis"]
            axis = tuple(axis) if isinstance(axis, list) else axis
            norm = np.sqrt(np.sum(w.astype(np.float64) ** 2, axis=axis, keepdims=True))
            bound = bound + epsilon / (norm + epsilon)
        difference = np.abs(ours - keras) / np.where(ours == 0, 1, np.abs(ours))
        worst = np.unravel_index(np.argmax(difference / bound), w.shape)
        numbers = f"{difference[worst]:.1e} | {bound[worst]:.1e}"
        lines.append(f"| {case['input']} | `{constraint}` | {numbers} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--libraries", nargs="+", default=[str(lib) for lib in LIBRARIES])
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="of the pages")
    options = parser.parse_args(argv)
    chosen = [lib for lib in LIBRARIES if lib.name in options.libraries and installed(lib)]
    tables = [table(name, chosen, options.lengths) for name in CONSTRAINTS]
    broken = [line for text in tables for line in text.splitlines() if is_broken(line)]
    if broken:
        raise SystemExit("the contract is not kept:\n" + "\n".join(broken))
    pages.replace(options.output / "numerics.md", "numerics", "\n\n".join(tables))
    pages.replace(options.output / "keras.md", "golden", golden_table())


if __name__ == "__main__":
    main()
