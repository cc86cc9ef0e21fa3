"""Rules on pytrees: the parameters of a model, constrained exactly."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

import jax

from array_constraints.layers import Weight, pytrees
from array_constraints.layers import weights_of as weights_of_model
from array_constraints.layers.pytrees import Leaves
from array_constraints.rules import Explanation, RulesLike, Selection, as_rules, warn_of_axes
from array_constraints.rules.applying import constrained
from array_constraints.typing import A, Map


def projection(model: Any, rules: RulesLike, *, layout: str | None = None) -> Projection:
    """Return the map that brings the parameters of a model into what rules allow.

    The rules are resolved here, once, from names and shapes alone, so that a mistake in them
    is an error before training. Nothing of the model is kept.

    Parameters
    ----------
    model
        A module of Flax NNX or Equinox; what :func:`described` returns for one of Flax Linen;
        or any pytree of arrays, or of what ``jax.eval_shape`` returns for them. Names are the
        keys of their paths, joined by dots.
    rules
        Rules, a constraint for all weights, or pairs of a pattern of names and a constraint.
    layout
        ``"torch"`` or ``"keras"``: as what name and shape are taken to resolve
        ``axis="incoming"``, if there is no layer to ask.

    Raises
    ------
    LookupError
        If a required rule never acts.
    TypeError, ValueError
        If a constraint does not fit a weight, with the name of the weight; or
        ``axis="incoming"`` has no answer.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from array_constraints import NonNeg
    >>> from array_constraints.integrations.jax import projection
    >>> params = {"head": {"kernel": jnp.asarray([-2.0]), "bias": jnp.asarray([-3.0])}}
    >>> project = projection(params, [("*.bias", NonNeg())])
    >>> project
    Projection({'head.bias': NonNeg()})
    >>> project(params)["head"]["bias"], project(params)["head"]["kernel"]
    (Array([0.], dtype=float32), Array([-2.], dtype=float32))
    """
    return resolved_on(model, rules, layout, stacklevel=4)


def resolved_on(
    model: Any, rules: RulesLike, layout: str | None, stacklevel: int
) -> Projection:
    """Return the projection; ``stacklevel`` is of the line that a warning names."""
    weights = [_without_values(weight) for weight in _weights_in(model, layout)]
    if not weights:
        raise ValueError(
            "the model has no arrays to constrain: model and rules are taken in this order, "
            f"got {type(model).__name__} as the model"
        )
    selections = as_rules(rules).select(weights)
    for selection in selections:
        _judge(selection, selection.weight.array)
    warn_of_axes(selections, stacklevel)
    return Projection(weights, selections)


class Projection:
    """What :func:`projection` returns: a map of pytrees, for ``jit``, ``scan`` and ``grad``.

    Call it on the parameters after each update. What it returns satisfies the constraints,
    and satisfied slices come back bit for bit. Under ``jit`` it is part of the compiled step;
    eager arrays are constrained in one compiled call for each constraint.

    ``constraints`` has the constraint of each weight, by name, its axis resolved.
    """

    constraints: dict[str, Map]

    def __init__(self, weights: list[Weight], selections: list[Selection]) -> None:
        self._weights = {name: weight for weight in weights for name, _ in weight.places}
        self._selections = {name: s for s in selections for name, _ in s.weight.places}
        self.constraints = {name: s.constraint for name, s in self._selections.items()}

    def __repr__(self) -> str:
        return f"Projection({self.constraints})"

    def __call__(self, params: A) -> A:
        """Return the parameters constrained, in the same pytree.

        Parameters
        ----------
        params
            The parameters of the model, or some of them: names and shapes have to be those of
            the model, other leaves than arrays of floating numbers may be there. A module of
            Equinox, or any pytree, comes back as a new one; a module of NNX is updated in
            place, and returned.

        Raises
        ------
        TypeError, ValueError
            If a name or a shape is none of the model, or what the constraint raises; with the
            name of the weight.
        """
        if _is_module_of(params, "flax.nnx"):
            sys.modules["flax.nnx"].update(params, self(_state_of(params)))
            return params
        taken = Leaves.of(params)
        chosen = self._chosen(taken)
        present = [_with_values(selection, taken, i) for i, selection in chosen.items()]
        results = constrained(present, None)
        for selection, result in zip(present, results, strict=True):
            _require_alike(selection.weight, result)
        whole: A = taken.replaced(dict(zip(chosen, results, strict=True)))
        return whole

    def violations(self, params: Any) -> dict[str, jax.Array]:
        """Return the largest violation of each weight that has a constraint, by its name.

        It is 0 where the constraint is satisfied. It works under ``jit``, too: log it.
        """
        taken = Leaves.of(_state_of(params))
        return {
            taken.names[i]: jax.numpy.max(
                _with_values(selection, taken, i).violation(), initial=0.0
            )
            for i, selection in self._chosen(taken).items()
        }

    def explain(self, params: Any) -> Explanation:
        """Return a table of the weights in ``params``: their constraints, and what violates.

        Violations are counted, so that this does not work under ``jit``.
        """
        taken = Leaves.of(_state_of(params))
        chosen = {i: _with_values(s, taken, i) for i, s in self._chosen(taken).items()}
        weights = [
            chosen[i].weight if i in chosen else _of_leaf(self._weights[name], taken, i)
            for i, name in taken.weights().items()
        ]
        return Explanation(tuple(weights), tuple(chosen.values()))

    def check(self, params: Any) -> None:
        """Raise what a call raises for these parameters, without constraining them."""
        self._chosen(Leaves.of(_state_of(params)))

    def _chosen(self, taken: Leaves) -> dict[int, Selection]:
        """Return what is selected, by place; raise where a leaf is no weight of the model."""
        if not taken.weights():
            raise ValueError(
                "these parameters hold no weight of the model: pass the model's own"
            )
        chosen = {}
        for i, name in taken.weights().items():
            weight, leaf = self._weights.get(name), taken.leaves[i]
            if weight is None:
                raise ValueError(_unknown(name, self._weights, taken))
            if tuple(leaf.shape) != weight.shape:
                raise ValueError(
                    f"{name!r}: has the shape {tuple(leaf.shape)}, and had {weight.shape} when "
                    "the rules were resolved: call projection(model, rules) with this model"
                )
            selection = self._selections.get(name)
            if selection is not None:
                if leaf.dtype != weight.array.dtype:
                    _judge(selection, leaf)
                chosen[i] = selection
        return chosen


def _weights_in(model: Any, layout: str | None) -> list[Weight]:
    if isinstance(model, list | tuple) and any(isinstance(entry, Weight) for entry in model):
        return list(model)
    if _is_module_of(model, "flax.nnx") or _is_module_of(model, "flax.linen"):
        return weights_of_model(model)
    equinox = sys.modules.get("equinox")
    if equinox is not None and pytrees.holds(model, equinox.Module):
        from array_constraints.layers.equinox import weights_of as weights_of_equinox

        return weights_of_equinox(model)
    return pytrees.weights_of(model, layout)


def _is_module_of(model: Any, framework: str) -> bool:
    known = getattr(sys.modules.get(framework), "Module", None)
    return known is not None and isinstance(model, known)


def _state_of(params: Any) -> Any:
    """Return the parameters of a module of NNX as a pytree; any pytree as it is."""
    if not _is_module_of(params, "flax.nnx"):
        return params
    nnx = sys.modules["flax.nnx"]
    return nnx.state(params, nnx.Param)


def _without_values(weight: Weight) -> Weight:
    """Return a weight with its shape and dtype alone: its buffer may be donated."""
    array = weight.array
    return dataclasses.replace(weight, array=jax.ShapeDtypeStruct(array.shape, array.dtype))


def _with_values(selection: Selection, taken: Leaves, place: int) -> Selection:
    weight = _of_leaf(selection.weight, taken, place)
    return dataclasses.replace(selection, weight=weight)


def _of_leaf(weight: Weight, taken: Leaves, place: int) -> Weight:
    """Return a weight as the leaf that it is in a pytree."""
    roles = dict(weight.places)
    name = taken.names[place]
    return Weight(name, taken.leaves[place], roles[name], (), weight.refused)


def _judge(selection: Selection, array: Any) -> None:
    """Raise what the constraint raises for an array of that shape and dtype."""

    def judged(w: Any) -> Any:
        selection.judge(w)
        return w

    jax.eval_shape(judged, jax.ShapeDtypeStruct(array.shape, array.dtype))


def _require_alike(weight: Weight, result: Any) -> None:
    """Raise where a callable returned an array of another shape or dtype."""
    w = weight.array
    shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
    if shape != w.shape or dtype != w.dtype:
        raise ValueError(
            f"{weight.name!r}: its constraint has to return an array of shape {w.shape} and "
            f"dtype {w.dtype}, got shape {shape} and dtype {dtype}"
        )


def _unknown(name: str, known: Iterable[str], taken: Leaves) -> str:
    here = set(taken.names)
    missing = [repr(name) for name in known if name not in here]
    hint = (
        f"; the model also has {', '.join(missing[:3])}, which is not there" if missing else ""
    )
    return (
        f"{name!r} is no weight of the model that the rules were resolved on{hint}: pass the "
        "same pytree here and to projection(model, rules)"
    )
