"""Models of each framework, one file each: the names of their weights, and what a unit is.

A *unit* is what a layer computes one output number with, or one entry of an embedding; its
*incoming weights* are all that this number is made of. They are

- of a dense or bilinear layer, the weights of one output;
- of a convolution, grouped, depthwise or transposed too, the kernels of one output channel;
- of an embedding, the vector of one entry of its vocabulary;
- of a recurrent layer, one row of one gate: of the inputs and of the state apart;
- of attention, the weights of one number of one head's query, key or value, and of one output.

A bias, and the gain of a normalization, are one weight for each unit: they have no axis of
incoming weights.
"""

from array_constraints.layers.by_shape import KERAS, LAYOUTS, TORCH, require_layout
from array_constraints.layers.table import weights_of
from array_constraints.layers.weight import (
    KINDS,
    OR_BY_KIND,
    Role,
    UnknownAxisError,
    Weight,
    resolved,
)

__all__ = [
    "KERAS",
    "KINDS",
    "LAYOUTS",
    "OR_BY_KIND",
    "TORCH",
    "Role",
    "UnknownAxisError",
    "Weight",
    "require_layout",
    "resolved",
    "weights_of",
]
