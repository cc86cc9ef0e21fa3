"""Who runs: this library, its peers, the bare expression, and a copy as the limit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

import array_constraints
from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from benchmarks.cases import Case
from benchmarks.interleaved import Contestant

Array = Any
Call = Callable[[], Any]


def constraints(case: Case, bound: float) -> tuple[Any, Any]:
    """Return our constraint and that of Keras."""
    import keras

    theirs = keras.constraints
    if case.constraint == "NonNeg":
        return NonNeg(), theirs.NonNeg()
    if case.constraint == "UnitNorm":
        return UnitNorm(case.axis), theirs.UnitNorm(case.axis)
    if case.constraint == "MinMaxNorm":
        low = bound * 0.99
        return MinMaxNorm(low, bound, 1.0, case.axis), theirs.MinMaxNorm(
            low, bound, 1.0, case.axis
        )
    return MaxNorm(bound, case.axis), theirs.MaxNorm(bound, case.axis)


def bare(case: Case, bound: float, xp: Any) -> Callable[[Array], Array]:
    """Return the expression that one would write by hand: neither accurate nor safe."""

    def norm(w: Array) -> Array:
        return xp.sqrt(xp.sum(w * w, axis=case.axes, keepdims=True))

    def max_norm(w: Array) -> Array:
        size = norm(w)
        return w * xp.where(size > bound, bound / size, 1)

    def min_max_norm(w: Array) -> Array:
        size = norm(w)
        return w * (xp.clip(size, bound * 0.99, bound) / size)

    return {
        "MaxNorm": max_norm,
        "MinMaxNorm": min_max_norm,
        "UnitNorm": lambda w: w / norm(w),
        "NonNeg": lambda w: xp.where(w < 0, xp.zeros_like(w), w),
    }[case.constraint]


def numpy(case: Case) -> tuple[list[Contestant], dict[str, Call]]:
    """Return the contestants on NumPy, and for each the call whose result is checked."""
    weight = case.weight()
    bound = case.bound(weight)
    ours, theirs = constraints(case, bound)
    expression = bare(case, bound, np)
    target, scratch = np.empty_like(weight), weight.copy()
    calls: dict[str, Call] = {"ours": lambda: ours(weight), "Keras": lambda: theirs(weight)}
    if case.dtype != "bfloat16":  # the bare expression turns it into float32 or float64
        calls["bare expression"] = lambda: expression(weight)
    contestants = [Contestant(name, call) for name, call in calls.items()]
    contestants.append(Contestant("copy", lambda: np.copyto(target, weight)))
    contestants.append(
        Contestant(
            "ours, in place",
            lambda: ours(scratch, copy=False),
            lambda: np.copyto(scratch, weight),
        )
    )
    return contestants, calls


def torch(case: Case) -> tuple[list[Contestant], dict[str, Call]]:
    """Return the contestants on PyTorch."""
    import torch

    torch.set_num_threads(1)
    values = case.weight()
    bound = case.bound(values)
    weight = torch.from_numpy(values.astype("float32")).to(getattr(torch, case.dtype))
    ours, theirs = constraints(case, bound)
    expression = bare(case, bound, torch)
    target, scratch = torch.empty_like(weight), weight.clone()
    kept = [i for i in range(weight.ndim) if i not in case.axes]
    calls: dict[str, Call] = {
        "ours": lambda: ours(weight),
        "Keras": lambda: theirs(weight),
        "bare expression": lambda: expression(weight),
    }
    if case.constraint == "MaxNorm":
        calls["torch.renorm"] = lambda: torch.renorm(weight, 2, kept[0], bound)
    if case.constraint == "UnitNorm":
        calls["F.normalize"] = lambda: torch.nn.functional.normalize(weight, dim=case.axes[0])
    if case.constraint == "NonNeg":
        calls["torch.clamp"] = lambda: torch.clamp(weight, min=0)
    contestants = [Contestant(name, call) for name, call in calls.items()]
    contestants.append(Contestant("copy", lambda: target.copy_(weight)))
    contestants.append(
        Contestant(
            "ours, in place", lambda: ours(scratch, copy=False), lambda: scratch.copy_(weight)
        )
    )
    return contestants, calls


def jax(case: Case) -> tuple[list[Contestant], dict[str, Call]]:
    """Return the contestants on JAX: compiled, and eager."""
    import jax
    import jax.numpy as jnp
    import optax

    values = case.weight()
    bound = case.bound(values)
    weight = jnp.asarray(values)
    ours, theirs = constraints(case, bound)

    def waiting(function: Callable[[Array], Array]) -> Call:
        return lambda: jax.block_until_ready(function(weight))

    calls = {
        "ours, jit": waiting(jax.jit(lambda w: ours(w))),
        "Keras, jit": waiting(jax.jit(lambda w: theirs(w))),
        "bare expression, jit": waiting(jax.jit(bare(case, bound, jnp))),
        "ours": waiting(ours),
        "Keras": waiting(theirs),
    }
    if case.constraint == "MaxNorm" and len(case.shape) == 2:
        project = jax.vmap(
            lambda w: optax.projections.projection_l2_ball(w, bound),
            1 - case.axes[0],
            1 - case.axes[0],
        )
        calls["optax, jit"] = waiting(jax.jit(project))
    return [Contestant(name, call) for name, call in calls.items()], calls


def many(library: str, count: int) -> list[Contestant]:
    """Return the contestants for a dictionary of tensors of 64x64."""
    case = Case((64, 64), 0)
    values = case.weight()
    bound = case.bound(values)
    ours, theirs = constraints(case, bound)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((64, 64), "float32") for _ in range(count)]
    if library == "torch":
        import torch

        torch.set_num_threads(1)
        weights: dict[str, Any] = {str(i): torch.from_numpy(a) for i, a in enumerate(arrays)}
    elif library == "jax":
        import jax
        import jax.numpy as jnp

        weights = {str(i): jnp.asarray(a) for i, a in enumerate(arrays)}
        expression = jax.jit(lambda tree: jax.tree.map(bare(case, bound, jnp), tree))
        keras_tree = jax.jit(lambda tree: jax.tree.map(lambda w: theirs(w), tree))
        wait = jax.block_until_ready
        return [
            Contestant("ours", lambda: wait(array_constraints.apply(ours, weights))),
            Contestant("bare expression, one jit", lambda: wait(expression(weights))),
            Contestant("Keras, one jit", lambda: wait(keras_tree(weights))),
        ]
    else:
        weights = {str(i): a for i, a in enumerate(arrays)}
    return [
        Contestant("ours", lambda: array_constraints.apply(ours, weights)),
        Contestant("Keras", lambda: {k: theirs(w) for k, w in weights.items()}),
    ]


LIBRARIES: dict[str, Callable[[Case], tuple[list[Contestant], dict[str, Call]]]] = {
    "numpy": numpy,
    "torch": torch,
    "jax": jax,
}


def one_thread(library: str) -> dict[str, str]:
    """Return the environment in which ``library`` uses one thread, and Keras uses it."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return os.environ | {
        "KERAS_BACKEND": library,
        "JAX_PLATFORMS": "cpu",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "XLA_FLAGS": flags,
    }
