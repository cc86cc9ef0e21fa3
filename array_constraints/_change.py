"""What a measure does to the slices of a block: nothing, a product, or what the form says."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, TypeGuard

from array_constraints._in_memory import InMemory
from array_constraints.typing import Array, Namespace


class Factors(NamedTuple):
    """What slices are multiplied by, but for some."""

    each: Array | float
    """One factor for each slice, dimensions kept, and exactly 1 where it is kept; 1.0 for all
    of them."""
    others: Array
    """Which slices ``apply`` is asked for instead."""


Change: TypeAlias = Array | float | Factors | None
"""1.0: all slices are kept. An array: one factor for each. None: what ``apply`` returns."""


def is_product(change: Change, block: Array) -> TypeGuard[Array]:
    """Whether all slices are multiplied, and the products need no rounding to another dtype."""
    if change is None or isinstance(change, float | Factors):
        return False
    same: bool = change.dtype == block.dtype
    return same


def changed(form: Any, block: Array, measure: Any, change: Change, xp: Namespace) -> Array:
    """Return a block with its slices changed; the block itself where all are kept."""
    if isinstance(change, float):
        return block
    if change is None:
        applied: Array = form.apply(block, measure, xp)
        return applied
    if isinstance(change, Factors):
        applied = form.apply(block, measure, xp)
        rest = changed(form, block, measure, change.each, xp)
        return xp.where(change.others, applied, rest)
    return _scaled(block, change, xp)


def write_changed(
    form: Any,
    block: Array,
    measure: Any,
    change: Change,
    memory: InMemory,
    out: Any,
    xp: Namespace,
) -> None:
    """Write a block with its slices changed into ``out``, which may be the block."""
    if is_product(change, block):
        memory.multiply(block, change, out)
    else:
        out[...] = changed(form, block, measure, change, xp)


def _scaled(w: Array, factor: Array, xp: Namespace) -> Array:
    """Return ``w`` times a factor, in the dtype of ``w``."""
    if factor.dtype == w.dtype:
        return w * factor
    product = xp.astype(xp.astype(w, factor.dtype) * factor, w.dtype)
    return xp.where(xp.equal(factor, xp.ones_like(factor)), w, product)  # the bits of NaN, too
