"""The catalogue of constraints known by name: their parameters, and the slices they allow."""

from __future__ import annotations

import math

from array_constraints_conformance.catalogue import (
    affine,
    combined,
    entries,
    monotone,
    norms,
    patterns,
    sparsity,
    standardized,
    thresholds,
)
from array_constraints_conformance.catalogue.definition import Definition
from array_constraints_conformance.catalogue.exact import ExactRule
from array_constraints_conformance.catalogue.membership import Membership, MembershipRule
from array_constraints_conformance.catalogue.nearest import NearestRule
from array_constraints_conformance.catalogue.norms import NormRule
from array_constraints_conformance.catalogue.rule import KnownRule, Rule

__all__ = [
    "CATALOGUE",
    "KERAS",
    "Definition",
    "ExactRule",
    "KnownRule",
    "Membership",
    "MembershipRule",
    "NearestRule",
    "NormRule",
    "Rule",
]

_KERAS = (
    Definition(
        "MaxNorm",
        {"max_value": 2, "axis": 0},
        # 2 by default, one that no binary format holds, and one of many digits.
        ({"max_value": 2}, {"max_value": 0.7}, {"max_value": 1.5 + 2.0**-20}),
        norms.max_norm,
        (
            {"max_value": 0.7, "unit": "rms"},
            {"max_value": 0.7, "order": 1},
            {"max_value": 0.7, "order": math.inf},
        ),
        beyond={"unit": "norm", "order": 2},
    ),
    Definition(
        "MinMaxNorm",
        {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0},
        (
            {"min_value": 0.5, "max_value": 1.5},
            {"min_value": 0.0, "max_value": 1.0},
            {"min_value": 0.5, "max_value": 1.0, "rate": 0.25},
            {"min_value": 0.7, "max_value": 0.7},
        ),
        norms.min_max_norm,
        # Bounds 16 roundoffs apart, in float32 and in float64, 256 in float64, and one in
        # float16; the annulus without an end.
        (
            {"min_value": 1.0, "max_value": 1 + 2.0**-20},
            {"min_value": 1.0, "max_value": 1 + 2.0**-49},
            {"min_value": 1.0, "max_value": 1 + 2.0**-45},
            {"min_value": 0.7, "max_value": 0.7 * (1 + 2.0**-11)},
            {"min_value": 0.5, "max_value": math.inf},
            {"min_value": 0.5, "max_value": 0.7, "unit": "rms"},
        ),
        beyond={"unit": "norm"},
    ),
    Definition("NonNeg", {}, ({},), entries.non_neg),
    Definition("UnitNorm", {"axis": 0}, ({},), norms.unit_norm),
)

_FURTHER = (
    Definition(
        "Box",
        {"min_value": -1.0, "max_value": 1.0},
        # Bounds that no binary format holds, which are rounded inwards; 0 not allowed.
        ({"min_value": -0.7, "max_value": 0.7}, {"min_value": 0.3, "max_value": 2.0}),
        entries.box,
        ({}, {"max_value": math.inf}, {"min_value": -math.inf, "max_value": -0.1}),
    ),
    Definition(
        "Mask",
        {"mask": [True, False, True]},
        ({"mask": [True, False, True, True, False]},),
        patterns.mask,
        ({"mask": [False]}, {"mask": [True]}),
        required=("mask",),
    ),
    Definition(
        "Triangular",
        {"part": "lower", "offset": 0, "axis": (-2, -1)},
        ({}, {"part": "upper", "offset": 1, "axis": (-1, -2)}),
        patterns.triangular,
        ({"offset": -2, "axis": (0, -1)}, {"part": "upper", "offset": 5}),
    ),
    Definition(
        "Banded",
        {"lower": 0, "upper": 0, "axis": (-2, -1)},
        ({"lower": 1, "upper": 2}, {"lower": None, "upper": 0}),
        patterns.banded,
        ({}, {"lower": 2, "upper": None, "axis": (0, -1)}),
    ),
    Definition(
        "NMSparse",
        {"n": 2, "m": 4, "axis": -1},
        ({}, {"n": 1, "m": 2}),
        sparsity.GroupRule.of,
        ({"n": 3, "m": 4}, {"n": 1, "m": 3}, {"n": 1, "m": 1}),
    ),
    Definition(
        "Sparse",
        {"k": 1, "density": None, "axis": 0},
        ({"k": 2}, {"k": None, "density": 0.5}),
        sparsity.SparseRule.of,
        ({"k": 0}, {"k": None, "density": 0.1}, {"k": None, "density": 1}),
        required=("k",),
    ),
    Definition(
        "Sphere",
        {"radius": 1.0, "axis": 0, "unit": "norm"},
        ({"radius": 0.7}, {"radius": 1.0, "unit": "rms"}),
        norms.sphere,
        ({},),
    ),
    Definition(
        "Mean",
        {"value": 0.0, "axis": 0},
        ({}, {"value": 0.5}),
        affine.mean,
        ({"value": -0.1},),
    ),
    Definition(
        "Sum",
        {"total": 1.0, "axis": 0},
        ({}, {"total": 0.0}),
        affine.total,
        ({"total": -0.3},),
    ),
    Definition("Standardized", {"axis": 0}, ({},), standardized.StandardizedRule.of),
    Definition(
        "Monotone",
        {"increasing": True, "axis": 0},
        ({}, {"increasing": False}),
        monotone.MonotoneRule.of,
    ),
    Definition(
        "Simplex",
        {"total": 1.0, "axis": 0},
        ({}, {"total": 0.7}),
        thresholds.simplex,
        ({"total": 8.0},),
    ),
    Definition(
        "L1Ball",
        {"radius": 1.0, "axis": 0},
        ({}, {"radius": 0.7}),
        thresholds.l1_ball,
        ({"radius": 8.0},),
    ),
    Definition(
        "Halfspace",
        {"normal": 1.0, "bound": 0.0, "axis": 0},
        ({"normal": (2.0, -1.0, 0.5, 3.0), "bound": 0.5}, {"normal": 1.0, "bound": 0.0}),
        affine.halfspace,
        ({"normal": (0.1, -0.3), "bound": -0.7},),
        required=("normal",),
    ),
    Definition(
        "Hyperplane",
        {"normal": 1.0, "value": 0.0, "axis": 0},
        ({"normal": (2.0, -1.0, 0.5, 3.0), "value": 0.5}, {"normal": 1.0, "value": 0.0}),
        affine.hyperplane,
        # Squares of the second normal are 0 in float32.
        ({"normal": (0.1, -0.3), "value": -0.7}, {"normal": (1e-30, -2e-30), "value": 0.0}),
        required=("normal",),
    ),
)

_MAX_NORM = combined.config("MaxNorm", max_value=0.7, axis=0)
_MADE_OF_OTHERS = (
    Definition(
        "Chain",
        {"constraints": [combined.config("NonNeg"), _MAX_NORM]},
        ({},),
        combined.chain,
        required=("constraints",),
    ),
    Definition(
        "Relaxed",
        {"constraint": _MAX_NORM, "rate": 0.5},
        ({}, {"rate": 1.0}),
        combined.relaxed,
        ({"constraint": combined.config("UnitNorm", axis=0), "rate": 0.3},),
        required=("constraint",),
    ),
    Definition(
        "Blocks",
        {"constraint": _MAX_NORM, "axis": 0, "size": 4, "sizes": None},
        ({}, {"size": 1}),
        combined.blocks,
        ({"constraint": combined.config("UnitNorm", axis=0), "size": 2},),
        required=("constraint", "size"),
    ),
)

CATALOGUE: dict[str, Definition] = {d.name: d for d in (*_KERAS, *_FURTHER, *_MADE_OF_OTHERS)}
KERAS = tuple(definition.name for definition in _KERAS)
"""The names of the constraints that Keras has; the others are further sets."""
