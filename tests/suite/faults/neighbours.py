"""Faults of slices that depend on their neighbours: in a weight, in a file, in a list."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from array_constraints.parameters import axes_of
from faults import making
from faults.making import Fault, implementation
from faults.scratch import Guard, Steps, divided

LARGE = 2**13  # entries from which on a weight is treated in another way


def _in_float64(s):
    """Return norms from sums of float64: those of a slice depend on nothing else."""
    return np.sqrt(np.sum(np.square(s.scaled), axis=1))


_GUARD = Guard(lambda s: s.levels + 9)
_RIGHT = Steps(norms=_in_float64, keeps=_GUARD.keeps, aims=_GUARD.aims)


def right(**others: Any) -> Any:
    """Return a module that is right but for what is replaced."""
    norms = {**_RIGHT.attributes(), **others.pop("norms", {})}
    return implementation(norms=norms, **others)


def crowded(s: Any) -> bool:
    """Whether a square overflows anywhere in a large weight."""
    return s.rows.size >= LARGE and s.dtype == "float32" and bool((s.peak > 2.0**64).any())


def _one_roundoff_less(s, norms, targets):
    """Round projected slices once more, towards zero, beside one whose squares overflow."""
    images = divided(s, norms, targets).astype(s.rows.dtype)
    return np.nextafter(images, images.dtype.type(0)) if crowded(s) else images


def _kept_beside(s, norms):
    """Keep what is a few roundoffs beyond a bound, beside a slice whose squares overflow."""
    above, below = s.upper * (1 + 4 * s.u), s.lower * (1 - 4 * s.u)
    return crowded(s) & (norms <= above) & (norms >= below) & s.directed


def _in_parts(s):
    """Add squares of large float32 weights in float32, where none of them overflows."""
    norms = _in_float64(s)
    plain = s.directed & (s.peak < 2.0**60) & (s.peak > 2.0**-60)
    if s.rows.size < LARGE or s.dtype != "float32" or not plain.all():
        return norms
    parts = np.add.reduce(np.square(s.scaled.astype(np.float32)).T, axis=0, dtype=np.float32)
    return np.sqrt(parts).astype(np.float64)


def _beside_nan(self, w, violation):
    """Round distances up where there is a NaN anywhere."""
    if not np.isnan(w.astype(np.float64)).any():
        return violation
    return np.where(violation > 0, np.nextafter(violation, np.inf), violation)


def reporting(change: Any) -> dict[str, Any]:
    judged = _RIGHT.attributes()["violation"]

    def violation(self: Any, w: Any) -> Any:
        with np.errstate(all="ignore"):
            return change(self, w, judged(self, w))

    return {"violation": violation}


def _forgiving(self, w, violation):
    """Call nothing what is less than two roundoffs of the bound."""
    unit = np.finfo(w.dtype).eps if w.dtype.kind == "f" else 0.0
    return np.where(violation < unit * self.max_value, 0.0, violation)


def _root_rounded_up(self, w, violation):
    """Compare a root that was rounded up: one digit, in float64."""
    with np.errstate(all="ignore"):
        squares = np.sum(np.square(w.astype(np.float64)), axis=axes_of(self, w), keepdims=True)
        norms = np.nextafter(np.sqrt(squares), np.inf)
    over = norms - float(self.max_value)
    return np.where((violation == 0) & (over > 0) & (over < 1e-9), over, violation)


# CALL-6


def _stacked(constraint: Any, weights: Any, change: Any, **options: Any) -> Any:
    """Constrain each weight; ``change`` the results of a list of many."""
    found = making.apply(constraint, weights, **options)
    several = isinstance(weights, list) and len(weights) > 10
    return change(weights, found) if several and found[0].dtype != object else found


def _nearer(w, image):
    if not np.issubdtype(image.dtype, np.floating):
        return image
    return np.where(w == image, image, np.nextafter(image, image.dtype.type(0)))


def _beside_infinity(weights, found):
    """Rescale in another way all weights of a stack with an infinity in it."""
    spoiled = any(np.isinf(w.astype(np.float64)).any() for w in weights)
    return [_nearer(*pair) for pair in zip(weights, found, strict=True)] if spoiled else found


def _in_a_stack(weights, found):
    """Rescale in another way what is stacked."""
    return [_nearer(*pair) for pair in zip(weights, found, strict=True)]


def applying(change: Any) -> Any:
    return partial(right, apply=partial(_stacked, change=change))


def _flat(constraint: Any, weights: Any, **options: Any) -> Any:
    """Return lists for tuples."""
    found = making.apply(constraint, weights, **options)
    if isinstance(found, dict):
        return {key: _listed(x) for key, x in found.items()}
    return found


def _listed(x: Any) -> Any:
    return [_listed(y) for y in x] if isinstance(x, list | tuple) else x


# FILE


def _project_in_float32(source: Any, target: Any, constraint: Any) -> None:
    """Round once more what comes of a weight with a number beyond float32's squares."""
    w = np.load(source)
    found = constraint(w)
    with np.errstate(all="ignore"):
        beyond = bool((np.abs(w.astype(np.float64)) > 2.0**64).any())
    np.save(target, _nearer(w, found) if beyond and w.dtype == np.float32 else found)


def _project_a_little_more(source: Any, target: Any, constraint: Any) -> None:
    """Round towards zero what is on the bound already."""
    w = np.load(source)
    found = np.nextafter(w, w.dtype.type(0)) if np.array_equal(w, constraint(w)) else None
    np.save(target, constraint(w) if found is None else found)


def _check_zeros_only(source: Any, constraint: Any) -> Any:
    """Take for satisfied what is nothing but zeros."""
    return type("Report", (), {"satisfied": not np.load(source).any()})


def with_files(**replaced: Any) -> Any:
    files = type("files", (), {
        "project_file": staticmethod(replaced.get("project_file", making.project_file)),
        "check_file": staticmethod(replaced.get("check_file", making.check_file)),
    })  # fmt: skip
    return partial(right, files=files)


ABOUT_THE_BOUND = frozenset({"SET-8", "NUM-9", "VIO-3", "VIO-7", "VIO-8", "FILE-1", "FILE-2"})

FAULTS = [
    Fault(
        "SET-8",
        "beside huge numbers, slices of a large weight are rounded once more",
        lambda: right(norms=replace(_RIGHT, rescaled=_one_roundoff_less).attributes()),
        also=frozenset({"FILE-1"}),
    ),
    Fault(
        "NUM-9",
        "beside huge numbers, what is nearly allowed is kept",
        lambda: right(norms=replace(_RIGHT, keeps_too=_kept_beside).attributes()),
        also=ABOUT_THE_BOUND,
    ),
    Fault(
        "NUM-9",
        "large weights are measured in parts, but for those with huge numbers",
        lambda: right(norms=replace(_RIGHT, norms=_in_parts).attributes()),
        also=ABOUT_THE_BOUND,
    ),
    Fault(
        "VIO-7",
        "beside NaN, all violations are rounded up",
        lambda: right(MaxNorm=reporting(_beside_nan)),
    ),
    Fault(
        "VIO-8",
        "a violation of a roundoff is none",
        lambda: right(MaxNorm=reporting(_forgiving)),
    ),
    Fault(
        "VIO-8",
        "the root of an exact sum is rounded up",
        lambda: right(MaxNorm=reporting(_root_rounded_up)),
        also=frozenset({"VIO-3", "FILE-2"}),
    ),
    Fault("CALL-6", "an infinity changes what is stacked with it", applying(_beside_infinity)),
    Fault("CALL-6", "what is stacked is rounded in another way", applying(_in_a_stack)),
    Fault("CALL-6", "tuples come back as lists", partial(right, apply=_flat)),
    Fault(
        "FILE-1",
        "beside huge numbers, a file is rounded once more",
        with_files(project_file=_project_in_float32),
    ),
    Fault(
        "FILE-2",
        "a file that is allowed is moved all the same",
        with_files(project_file=_project_a_little_more),
    ),
    Fault(
        "FILE-2", "no file is satisfied but of zeros", with_files(check_file=_check_zeros_only)
    ),
]
