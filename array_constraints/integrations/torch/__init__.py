"""PyTorch: constrain the parameters of a model after each step of its optimizer."""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ModuleNotFoundError(
        "array_constraints.integrations.torch needs PyTorch: pip install torch", name="torch"
    )

from array_constraints.integrations.torch.attaching import Constrained, constrain, project
from array_constraints.integrations.torch.parametrization import Parametrization

__all__ = ["Constrained", "Parametrization", "constrain", "project"]
