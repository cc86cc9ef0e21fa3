"""What pyright says of calls on tensors and models; never run: see ``test_types.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_type

from array_constraints import MaxNorm, NonNeg, apply, get
from array_constraints.integrations.watching import History, Observation
from array_constraints.rules import Rule

if TYPE_CHECKING:
    import jax
    import torch


def tensors(w: torch.Tensor) -> None:
    assert_type(MaxNorm(1.0)(w), torch.Tensor)
    assert_type(MaxNorm(1.0).violation(w), torch.Tensor)
    assert_type(get("max_norm")(w, copy=False), torch.Tensor)
    MaxNorm(w[0, 0], axis=[0, 1])


def a_model_of_torch(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    from array_constraints.integrations.torch import Constrained, constrain, project

    def watch(observation: Observation) -> None: ...

    held = constrain(model, MaxNorm(1.0), optimizer, watch=[History(), watch])
    assert_type(held, Constrained)
    assert_type(held.violations(), dict[str, torch.Tensor])
    constrain(model, [Rule("*", NonNeg())], [optimizer], watch=watch)
    project(model, [("*.weight", "max_norm"), ("*.bias", NonNeg())])
    constrain(model, 3, optimizer)  # pyright: ignore[reportArgumentType]
    constrain(model, NonNeg())  # pyright: ignore[reportCallIssue]
    constrain(optimizer, NonNeg(), model)  # pyright: ignore[reportArgumentType]


def arrays_of_jax(params: dict[str, jax.Array], bound: jax.Array) -> None:
    from array_constraints.integrations.jax import projection

    project = projection(params, [("*", MaxNorm(bound))])
    assert_type(project(params), dict[str, jax.Array])
    assert_type(project.violations(params), dict[str, jax.Array])
    assert_type(project.constraints, dict[str, Callable[[Any], Any]])
    assert_type(NonNeg().violation(params["w"]), jax.Array)
    assert_type(apply(NonNeg(), params), dict[str, jax.Array])
