"""One constraint on many weights: dictionaries, lists and pytrees of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from array_constraints import _arrays
from array_constraints.constraint import Constraint


def apply(constraint: Constraint, weights: Any, *, copy: bool | None = None) -> Any:
    """Return ``weights`` with ``constraint`` applied to each array in it.

    Parameters
    ----------
    constraint
        Applied to every array; its ``axis`` and dtype have to fit them all.
    weights
        Arrays in dictionaries, lists, tuples and iterators, nested as you like, such as
        ``module.parameters()``; of JAX arrays, any pytree. Mappings come back as
        dictionaries, iterators as lists, the rest as it is.
    copy
        As when the constraint is called: ``None`` leaves every array as it is and makes new
        ones where something changes, ``False`` writes into them.

    Raises
    ------
    TypeError, ValueError
        What the constraint raises for the first array that does not fit. With ``copy=False``,
        the arrays before it have been written then.

    Notes
    -----
    Eager JAX arrays are constrained in one compiled call for the whole pytree, kept for the
    next pytree of the same structure and shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import NonNeg
    >>> apply(NonNeg(), {"kernel": np.asarray([1.0, -2.0]), "biases": [np.asarray([-3.0])]})
    {'kernel': array([1., 0.]), 'biases': [array([0.])]}
    """
    mapped = _arrays.mapped_at_once(constraint, weights, copy)
    return _each(constraint, weights, copy) if mapped is None else mapped


def _each(constraint: Constraint, weights: Any, copy: bool | None) -> Any:
    if hasattr(weights, "items"):
        return {name: _each(constraint, w, copy) for name, w in weights.items()}
    if isinstance(weights, list | tuple | Iterator):
        each = [_each(constraint, w, copy) for w in weights]
        if hasattr(weights, "_fields"):  # a named tuple
            return type(weights)(*each)
        return tuple(each) if isinstance(weights, tuple) else each
    return constraint(weights, copy=copy)
