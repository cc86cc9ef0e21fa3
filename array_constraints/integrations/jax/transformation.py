"""A gradient transformation of optax that ends a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from array_constraints.integrations.jax.projection import resolved_on
from array_constraints.rules import RulesLike

if TYPE_CHECKING:
    import optax


def constrain(
    model: Any, rules: RulesLike, *, layout: str | None = None
) -> optax.GradientTransformationExtraArgs:
    """Return a gradient transformation of optax that constrains, at the end of a chain.

    It changes the updates so that the parameters satisfy the rules once the updates are added.
    Slices that satisfy them keep their update as it is, bit for bit; the others get the
    difference between the constrained and the old weight. Their sum rounds: each entry may be
    off by a roundoff of its old or its new value, whichever is larger. Where a norm has to be
    exact, call the :func:`projection` after ``optax.apply_updates`` instead, or as well.
    ``NonNeg`` and other bounds at 0 are exact.

    It has no state, and needs the parameters: ``update(updates, state, params)``. Within
    ``optax.masked`` and ``optax.multi_transform`` it constrains the weights that it gets.

    Parameters
    ----------
    model, rules, layout
        As for :func:`projection`, which resolves the rules; raises what that raises.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        To be the last one in ``optax.chain``.

    Raises
    ------
    ModuleNotFoundError
        If optax is not installed.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import optax
    >>> from array_constraints import NonNeg
    >>> from array_constraints.integrations.jax import constrain
    >>> params = {"kernel": jnp.asarray([1.0, 0.5])}
    >>> transformation = optax.chain(optax.sgd(1.0), constrain(params, NonNeg()))
    >>> gradients, state = {"kernel": jnp.asarray([0.5, 2.0])}, transformation.init(params)
    >>> updates, state = transformation.update(gradients, state, params)
    >>> optax.apply_updates(params, updates)
    {'kernel': Array([0.5, 0. ], dtype=float32)}
    """
    try:
        import optax
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "constrain makes a gradient transformation of optax: pip install optax; "
            "projection works without it",
            name="optax",
        ) from None
    project = resolved_on(model, rules, layout, stacklevel=4)

    def init(params: Any) -> Any:
        project.check(params)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(
                "constrain needs params, the parameters that the updates are added to: call "
                "update(updates, state, params)"
            )
        moved = jax.tree.map(_moved, updates, params, is_leaf=_is_none)
        allowed = project(moved)
        changed = jax.tree.map(_change, updates, params, moved, allowed, is_leaf=_is_none)
        return changed, state

    return optax.GradientTransformationExtraArgs(init, update)


def _moved(update: Any, param: Any) -> Any:
    """Return what ``optax.apply_updates`` makes of a parameter."""
    return None if update is None else jax.numpy.asarray(param + update).astype(param.dtype)


def _change(update: Any, param: Any, moved: Any, allowed: Any) -> Any:
    """Return the update that leads to what is allowed; where nothing changed, as it is."""
    if allowed is moved:
        return update
    wide = jax.numpy.promote_types(update.dtype, param.dtype)
    difference = allowed.astype(wide) - param.astype(wide)
    return jax.numpy.where(allowed == moved, update, difference)


def _is_none(node: Any) -> bool:
    return node is None
