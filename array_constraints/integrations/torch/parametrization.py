"""A constraint as a parametrization: a layer uses what is allowed, the raw one is trained."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from array_constraints.forms import Rescaling
from array_constraints.typing import Map


class Parametrization(torch.nn.Module):  # type: ignore[misc]
    """A constraint for ``torch.nn.utils.parametrize.register_parametrization``.

    The layer computes with ``constraint(raw)``, and the optimizer trains ``raw``, through the
    derivative of the constraint. That is right for maps that are smooth, as ``UnitNorm`` is
    away from zero. Most others stop the gradient where they act: an entry that ``NonNeg`` has
    made 0 stays 0, and the raw norm behind ``MaxNorm`` drifts away from what is used. For these
    use :func:`constrain`, which constrains the weight itself.

    Parameters
    ----------
    constraint
        A constraint, with the axis of its slices as a number.

    Warns
    -----
    UserWarning
        If the constraint is not known to be smooth.

    Examples
    --------
    >>> import torch
    >>> from array_constraints import UnitNorm
    >>> from array_constraints.integrations.torch import Parametrization
    >>> from torch.nn.utils import parametrize
    >>> layer = torch.nn.Linear(8, 4)
    >>> constraint = Parametrization(UnitNorm(axis=1))
    >>> _ = parametrize.register_parametrization(layer, "weight", constraint)
    >>> bool(UnitNorm(axis=1).violation(layer.weight.detach()).any())
    False
    """

    def __init__(self, constraint: Map) -> None:
        super().__init__()
        self.constraint = constraint
        if not _is_smooth(constraint):
            warnings.warn(
                f"{constraint!r} is not smooth: as a parametrization it gives no gradient "
                "where it acts, and the raw weight drifts; constrain(model, rules, optimizer) "
                "constrains the weight itself after each step",
                stacklevel=2,
            )

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the weight that the layer uses."""
        return self.constraint(raw)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the raw weight for one that is set: itself."""
        return weight


def _is_smooth(constraint: Any) -> bool:
    """Whether slices are always brought to one size: a sphere."""
    if not isinstance(constraint, Rescaling):
        return False
    lower, upper, rate = constraint.interval()
    return bool(lower == upper and rate == 1)
