"""What this library promises of its speed: ratios that ``docs/performance.md`` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import CONV, LARGE, MANY, SMALL, Case

_BIG = [str(Case(*both)) for both in LARGE]
_CONV = str(Case(*CONV))
_TINY = [str(Case(*both)) for both in SMALL[:2]]
_MIDDLE = [str(Case(*both)) for both in SMALL[2:]]


@dataclass(frozen=True)
class Target:
    """Contestant and reference, the cases, and how large their ratio may be."""

    library: str
    contestant: str
    reference: str
    cases: tuple[str, ...]
    most: float


def _targets() -> Iterator[Target]:
    leading, innermost = (tuple(c for c in _BIG if c.endswith(f"axis {i}")) for i in (0, 1))
    large, feasible = tuple(_BIG), tuple(f"{c}, feasible" for c in _BIG)
    half = tuple(f"4096x4096 axis {i}, float16" for i in (0, 1))
    yield Target("numpy", "ours", "Keras", (*large, _CONV), 0.35)
    yield Target("numpy", "ours", "bare expression", (*large, _CONV), 0.85)
    yield Target("numpy", "ours, in place", "Keras", large, 0.20)
    yield Target("numpy", "ours", "Keras", feasible, 0.12)
    yield Target("numpy", "ours", "copy", feasible, 1.15)
    yield Target("numpy", "ours", "Keras", half, 0.45)
    yield Target("torch", "ours", "Keras", large, 0.65)
    yield Target("torch", "ours", "Keras", (*_MIDDLE, _CONV), 0.90)
    yield Target("torch", "ours, in place", "Keras", large, 0.30)
    yield Target("torch", "ours", "torch.renorm", leading, 0.35)
    yield Target("torch", "ours", "torch.renorm", innermost, 1.15)
    small_innermost = tuple(c for c in _MIDDLE if c.endswith("axis 1"))
    yield Target("torch", "ours", "torch.renorm", small_innermost, 2.0)
    yield Target("torch", "ours", "Keras", ("4096x4096 axis 0, bfloat16",), 0.75)
    every = (*_TINY, *_MIDDLE, _CONV, *large)
    yield Target("jax", "ours, jit", "Keras, jit", every, 1.6)
    yield Target("jax", "ours, jit", "optax, jit", tuple(c for c in every if c != _CONV), 1.6)
    eager = tuple(c for c in every if c.startswith(("784", "3x3", "4096", "30522")))
    yield Target("jax", "ours", "Keras", eager, 1.0)
    tiny = tuple(_TINY)
    for library in ("numpy", "torch"):
        kept = tuple(f"{c}, feasible" for c in tiny)
        yield Target(library, "ours", "bare expression", kept, 1.1)
    yield Target("numpy", "ours", "bare expression", tiny, 1.75)
    yield Target("torch", "ours", "bare expression", tiny, 1.85)
    many = (f"{MANY} tensors of 64x64",)
    yield Target("numpy", "ours", "Keras", many, 0.15)
    yield Target("torch", "ours", "Keras", many, 0.35)
    yield Target("jax", "ours", "bare expression, one jit", many, 1.6)


TARGETS = tuple(_targets())


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each target and case: its ratio, and whether it is met."""
    found = {(r["library"], r["case"], r["contestant"]): r["ratios"] for r in rows}
    return [
        {
            "library": t.library,
            "case": case,
            "contestant": t.contestant,
            "reference": t.reference,
            "most": t.most,
            "ratio": found[t.library, case, t.contestant][t.reference],
            "met": found[t.library, case, t.contestant][t.reference]["median"] <= t.most,
        }
        for t in TARGETS
        for case in t.cases
        if (t.library, case, t.contestant) in found
    ]
