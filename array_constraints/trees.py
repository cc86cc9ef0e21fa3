"""One constraint on many weights: dictionaries, lists and pytrees of arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from array_constraints import libraries
from array_constraints.executors import acceptance, many, run
from array_constraints.executors.needs import needs_of
from array_constraints.forms import Form
from array_constraints.typing import A, Map, name_of

K = TypeVar("K")


@overload
def apply(constraint: Map, weights: dict[K, A], *, copy: bool | None = ...) -> dict[K, A]: ...
@overload
def apply(
    constraint: Map, weights: Mapping[K, A], *, copy: bool | None = ...
) -> Mapping[K, A]: ...
@overload
def apply(constraint: Map, weights: Iterator[A], *, copy: bool | None = ...) -> list[A]: ...
@overload
def apply(constraint: Map, weights: A, *, copy: bool | None = ...) -> A: ...
def apply(constraint: Map, weights: Any, *, copy: bool | None = None) -> Any:
    """Return ``weights`` with ``constraint`` applied to each array in it.

    Parameters
    ----------
    constraint
        Applied to every array; its ``axis`` and dtype have to fit them all.
    weights
        Arrays in dictionaries, lists, tuples and iterators, nested as you like; of JAX arrays,
        any pytree. Mappings come back as dictionaries, iterators as lists, the rest as it is.
        Of a model whose layers differ, :class:`array_constraints.rules.Rules` say which weight
        gets which constraint, along which axis.
    copy
        As when the constraint is called: ``None`` leaves every array as it is and makes new
        ones where something changes, ``False`` writes into them. Tied weights, which are the
        same entries of one memory under several names, are constrained once, and stay tied;
        other views of one memory are constrained one after the other. ``True`` makes a new
        array of each.

    Raises
    ------
    TypeError, ValueError
        What the constraint raises for the first array that does not fit: a form, before
        anything is written.

    Warns
    -----
    UserWarning
        If the axis is one number, and the weights differ in how many dimensions they have, or
        a slice has one entry: :class:`array_constraints.rules.Rules` constrains some of them.

    Notes
    -----
    Eager JAX arrays are constrained in one compiled call for those on the same devices or mesh,
    kept for the next pytree of the same structure and shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import NonNeg
    >>> apply(NonNeg(), {"kernel": np.asarray([1.0, -2.0]), "biases": [np.asarray([-3.0])]})
    {'kernel': array([1., 0.]), 'biases': [array([0.])]}
    """
    return constrained(constraint, weights, copy, _warn_of_axis)


def _nothing(constraint: Any, arrays: list[Any]) -> None:
    """Look at no axis."""


def constrained(
    constraint: Any,
    weights: Any,
    copy: bool | None,
    looked_at: Callable[[Any, list[Any]], None] = _nothing,
) -> Any:
    """Return what :func:`apply` does; the arrays are looked at before anything is written."""
    if copy is None or copy is True:
        mapped = libraries.mapped_at_once(constraint, weights)
        if mapped is not None:
            looked_at(constraint, mapped.leaves)
            return mapped.tree
    arrays: list[Any] = []
    taken_apart = take_apart(weights, arrays)
    if isinstance(constraint, Form):
        _judge(constraint, arrays, copy)
    looked_at(constraint, arrays)
    return put_together(taken_apart, _constrained(constraint, arrays, copy))


def _warn_of_axis(constraint: Any, arrays: list[Any]) -> None:
    """Warn where one integer axis is most often not what is meant for all of the arrays."""
    axis = getattr(constraint, "axis", None)
    if not isinstance(axis, int) or needs_of(constraint) == "regions":
        return
    name = name_of(type(constraint))
    shapes = {tuple(w.shape): None for w in arrays if hasattr(w, "shape")}
    found = {len(shape): shape for shape in shapes}
    single = next(
        (s for s in shapes if len(s) > 1 and s[axis : axis + 1 or None] == (1,)), None
    )
    if len(found) > 1:
        several = " and ".join(map(str, found.values()))
        said = f"meets weights of shapes {several}: one axis seldom means the same in all"
    elif single is not None:
        said = f"makes slices of one entry in a weight of shape {single}"
    else:
        return
    warnings.warn(
        f"{name} along axis {axis} {said}; rules (array_constraints.rules) say which weights a "
        "constraint is for, and axis='incoming' which axis it has in each",
        stacklevel=4,
    )


def _constrained(constraint: Map, arrays: list[Any], copy: bool | None) -> list[Any]:
    """Return each array constrained; those that are the same memory, tied weights, once."""
    if copy is True:  # new arrays: nothing is tied any more
        return [run.called(constraint, w, True) for w in arrays]
    ties = libraries.ties(arrays)
    if len(set(ties)) == len(arrays):
        return _each(constraint, arrays, copy)
    places = sorted(set(ties))
    results = _each(constraint, [arrays[i] for i in places], copy)
    found = dict(zip(places, results, strict=True))
    return [w if found[i] is arrays[i] else found[i] for w, i in zip(arrays, ties, strict=True)]


def _judge(form: Form, arrays: list[Any], copy: bool | None) -> None:
    """Raise what the constraint raises; of arrays that are alike, one is looked at."""
    judged = set()
    for w in arrays:
        kind = _kind(w)
        if copy is False or kind not in judged:
            acceptance.accepted_by(form, w, copy)
            judged.add(kind)


def _kind(w: Any) -> Any:
    """Return what a form judges an array by; None where it has not got all of that."""
    try:
        return type(w), w.dtype, w.shape, getattr(w, "layout", None)
    except (AttributeError, RuntimeError):  # no array, or a nested or lazy tensor
        return None


def _each(constraint: Map, arrays: list[Any], copy: bool | None) -> list[Any]:
    """Return each array constrained, small ones that are alike at once."""
    results = many.run(constraint, arrays) if copy is None else {}
    return [
        results[i] if i in results else run.called(constraint, w, copy)
        for i, w in enumerate(arrays)
    ]


@dataclass(frozen=True)
class _Place:
    index: int


def take_apart(weights: Any, arrays: list[Any]) -> Any:
    """Return the containers with the place of each array in ``arrays`` instead of it."""
    # The type is asked, because a lazy or nested tensor has no shape.
    if hasattr(type(weights), "shape") and not isinstance(weights, tuple):
        arrays.append(weights)
        return _Place(len(arrays) - 1)
    if hasattr(weights, "items"):
        return {name: take_apart(w, arrays) for name, w in weights.items()}
    if isinstance(weights, list | tuple | Iterator):
        return _like(weights, [take_apart(w, arrays) for w in weights])
    arrays.append(weights)  # the constraint says what is wrong with it
    return _Place(len(arrays) - 1)


def put_together(taken_apart: Any, arrays: list[Any]) -> Any:
    """Return the containers of :func:`take_apart` with ``arrays`` in their places."""
    if isinstance(taken_apart, _Place):
        return arrays[taken_apart.index]
    if isinstance(taken_apart, dict):
        return {name: put_together(part, arrays) for name, part in taken_apart.items()}
    return _like(taken_apart, [put_together(part, arrays) for part in taken_apart])


def _like(container: Any, parts: list[Any]) -> Any:
    if hasattr(container, "_fields"):  # a named tuple
        return type(container)(*parts)
    return tuple(parts) if isinstance(container, tuple) else parts
