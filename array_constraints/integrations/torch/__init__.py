"""PyTorch: constrain the parameters of a model after each step of its optimizer."""

from array_constraints.integrations.torch.attaching import Constrained, constrain, project
from array_constraints.integrations.torch.parametrization import Parametrization

__all__ = ["Constrained", "Parametrization", "constrain", "project"]
