"""The library's own constraints by name, and other names that they are known by."""

from __future__ import annotations

from array_constraints.constraint import Constraint
from array_constraints.sets.blocks import Blocks
from array_constraints.sets.chain import Chain
from array_constraints.sets.elementwise import Box, NonNeg
from array_constraints.sets.halfspaces import Halfspace, Hyperplane
from array_constraints.sets.kernels import RadialConstraint
from array_constraints.sets.masks import Mask
from array_constraints.sets.monotone import Monotone
from array_constraints.sets.norms import MaxNorm, MinMaxNorm
from array_constraints.sets.patterns import Banded, Triangular
from array_constraints.sets.relaxed import Relaxed
from array_constraints.sets.sparse import Sparse
from array_constraints.sets.sparsity import NMSparse
from array_constraints.sets.spheres import Sphere, UnitNorm
from array_constraints.sets.standardized import Standardized
from array_constraints.sets.sums import Mean, Sum
from array_constraints.sets.thresholds import L1Ball, Simplex
from array_constraints.typing import name_of

BUILT_IN: dict[str, type[Constraint]] = {
    name_of(cls): cls
    for cls in (
        Constraint,
        MaxNorm,
        MinMaxNorm,
        NonNeg,
        UnitNorm,
        RadialConstraint,
        Banded,
        Blocks,
        Box,
        Chain,
        Halfspace,
        Hyperplane,
        L1Ball,
        Mask,
        Mean,
        Monotone,
        NMSparse,
        Relaxed,
        Simplex,
        Sparse,
        Sphere,
        Standardized,
        Sum,
        Triangular,
    )
}

ALIASES = {
    "Box": ("clip", "Clip", "weight_clip", "WeightClip"),
    "L1Ball": ("max_l1_norm",),
    "Mean": ("zero_mean",),
    "Monotone": ("isotonic",),
    "NMSparse": ("semi_structured",),
    "Simplex": ("probability_simplex", "sparsemax"),
    "Sparse": ("l0_ball", "top_k"),
    "Sphere": ("hyperball", "fixed_norm", "l2_sphere"),
    "Standardized": ("weight_standardization",),
    "Sum": ("unit_sum",),
}
"""What others call them, as ``get`` takes it; beside the spellings of each name."""
