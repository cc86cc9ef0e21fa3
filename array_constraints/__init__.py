"""Weight constraints, written once against the Python array API standard."""

from array_constraints._margins import Interval, NormMeasure
from array_constraints.config import deserialize, get, register, serialize
from array_constraints.constraint import Constraint, Elementwise, Form, Slicewise, WholeSlice
from array_constraints.sets.elementwise import NonNeg, non_neg
from array_constraints.sets.kernels import RadialConstraint, radial_constraint
from array_constraints.sets.norms import (
    MaxNorm,
    MinMaxNorm,
    NormConstraint,
    UnitNorm,
    max_norm,
    min_max_norm,
    unit_norm,
)
from array_constraints.trees import apply
from array_constraints.typing import Array, Namespace

__all__ = [
    "Array",
    "Constraint",
    "Elementwise",
    "Form",
    "Interval",
    "MaxNorm",
    "MinMaxNorm",
    "Namespace",
    "NonNeg",
    "NormConstraint",
    "NormMeasure",
    "RadialConstraint",
    "Slicewise",
    "UnitNorm",
    "WholeSlice",
    "apply",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "radial_constraint",
    "register",
    "serialize",
    "unit_norm",
]
__version__ = "0.1.0"
