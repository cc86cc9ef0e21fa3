"""A case: a weight, and the rule that it is to be brought under."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from array_constraints_conformance.catalogue import Rule
from array_constraints_conformance.numerics.exact import Slices


@dataclass(frozen=True)
class Case:
    """A weight, and the rule that it is to be brought under."""

    w: np.ndarray
    rule: Rule

    @cached_property
    def key(self) -> tuple[object, ...]:
        return (self.rule.key, self.w.dtype.name, self.w.shape, self.w.tobytes())

    @cached_property
    def slices(self) -> Slices:
        """The slices of the weight; their exact norms are computed once."""
        return self.rule.slices(self.w)
