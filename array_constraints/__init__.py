"""Weight constraints, written once against the Python array API standard."""

from array_constraints.config import deserialize, get, register, serialize
from array_constraints.constraint import Constraint
from array_constraints.executors.jointly import apply_jointly
from array_constraints.forms import Elementwise, Form, Rescaling, Slicewise, WholeSlice
from array_constraints.numerics.margins import Interval
from array_constraints.sets.blocks import Blocks
from array_constraints.sets.chain import Chain
from array_constraints.sets.elementwise import Box, NonNeg, non_neg
from array_constraints.sets.halfspaces import Halfspace, Hyperplane
from array_constraints.sets.kernels import RadialConstraint, radial_constraint
from array_constraints.sets.masks import Mask
from array_constraints.sets.monotone import Monotone
from array_constraints.sets.norms import (
    MaxNorm,
    MinMaxNorm,
    NormConstraint,
    max_norm,
    min_max_norm,
)
from array_constraints.sets.patterns import Banded, Triangular
from array_constraints.sets.relaxed import Relaxed
from array_constraints.sets.sparse import Sparse
from array_constraints.sets.sparsity import NMSparse
from array_constraints.sets.spheres import Sphere, UnitNorm, unit_norm
from array_constraints.sets.standardized import Standardized
from array_constraints.sets.sums import Mean, Sum
from array_constraints.sets.thresholds import L1Ball, Simplex
from array_constraints.trees import apply
from array_constraints.typing import Array, Bound, Namespace

__all__ = [
    "Array",
    "Banded",
    "Blocks",
    "Bound",
    "Box",
    "Chain",
    "Constraint",
    "Elementwise",
    "Form",
    "Halfspace",
    "Hyperplane",
    "Interval",
    "L1Ball",
    "Mask",
    "MaxNorm",
    "Mean",
    "MinMaxNorm",
    "Monotone",
    "NMSparse",
    "Namespace",
    "NonNeg",
    "NormConstraint",
    "RadialConstraint",
    "Relaxed",
    "Rescaling",
    "Simplex",
    "Slicewise",
    "Sparse",
    "Sphere",
    "Standardized",
    "Sum",
    "Triangular",
    "UnitNorm",
    "WholeSlice",
    "apply",
    "apply_jointly",
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
