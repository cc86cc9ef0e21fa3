"""A few faults, as a pattern for the others."""

from __future__ import annotations

import numpy as np

import array_constraints as ac
from faults.making import Fault, after, implementation


def _epsilon(self, w, result):
    """Divide by norm + epsilon, as Keras does."""
    norm = np.sqrt(np.sum(np.square(w.astype(np.float64)), axis=self.axis, keepdims=True))
    scale = np.minimum(norm, self.max_value) / (1e-7 + norm)
    return (w * scale).astype(w.dtype)


FAULTS = [
    Fault(
        "SET-2",
        "a satisfied slice shrinks by Keras's epsilon",
        lambda: implementation(MaxNorm=after(_epsilon)),
    ),
    Fault(
        "ERR-1",
        "a negative bound is accepted",
        lambda: implementation(MaxNorm={"__post_init__": lambda self: ac.Constraint()}),
    ),
]
