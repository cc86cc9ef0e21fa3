"""Constraints for a model that is built already, by rules, taking effect at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from array_constraints.integrations.keras.names import why_not_saved
from array_constraints.integrations.keras.printing import say
from array_constraints.integrations.keras.saving import Place, composites, places_of
from array_constraints.layers import weights_of
from array_constraints.rules import (
    Explanation,
    Rules,
    RulesLike,
    Selection,
    as_rules,
    warn_of_axes,
)


@dataclass(frozen=True, eq=False, repr=False)
class Constrained:
    """A model whose variables have the constraints of rules; what :func:`constrain` returns.

    Parameters
    ----------
    model
        The model, of which nothing is copied.
    rules
        The rules that its constraints are from.
    unsaved
        The weights whose constraint Keras will not save with the model, by name, with the
        reason: call ``constrain`` again with the same rules after loading.
    """

    model: Any
    rules: Rules
    unsaved: dict[str, str]
    _before: list[tuple[Any, str, Any]]

    def explain(self) -> Explanation:
        """Return the table of all weights, and what is violated now; frozen ones, too."""
        return self.rules.explain(self.model)

    def violations(self) -> dict[str, float]:
        """Return the largest violation of each weight that has a constraint, by its name.

        It is 0 where the constraint is satisfied, NaN where there is one.
        """
        return {s.weight.name: _violation(s) for s in self._selections(self.model)}

    def __repr__(self) -> str:
        chosen = {s.weight.name: s.constraint for s in self._selections(self.model)}
        return f"Constrained({chosen})"

    def project(self, model: Any = None) -> None:
        """Project the weights of the model now, frozen ones too.

        Parameters
        ----------
        model
            Another model, whose weights have the same names: one of averages, for example.

        Raises
        ------
        LookupError, TypeError, ValueError
            As ``Rules.apply``, before anything is changed.
        """
        _project(self._selections(self.model if model is None else model))

    def remove(self) -> None:
        """Put back the constraints that the variables and layers had before."""
        for owner, name, value in reversed(self._before):
            setattr(owner, name, value)
        forget_compiled(self.model)

    def _selections(self, model: Any) -> list[Selection]:
        return self.rules.select(weights_of(model))


def constrain(model: Any, rules: RulesLike, *, verbose: bool = True) -> Constrained:
    """Give the variables of a built model their constraints, and project them at once.

    From then on the optimizer applies them, as it applies those that a layer is built with.
    Its state is left alone.

    Parameters
    ----------
    model
        A built model or layer of Keras.
    rules
        Rules, or what makes them: one constraint for all weights, or pairs of a pattern and a
        constraint. Names are those of ``array_constraints.layers.weights_of(model)``: of the
        layers around a variable, and its own, ``"lstm/lstm_cell/kernel"``.
    verbose
        Whether to print the table of all weights, and which constraints will not be saved.

    Returns
    -------
    Constrained
        To ask for violations, and to take the constraints away again.

    Raises
    ------
    TypeError
        If it is no model of Keras, or a constraint does not take the dtype of a weight.
    ValueError
        If the model is not built, or an axis does not fit, or is not known.
    LookupError
        If a required rule matches nothing.

    Notes
    -----
    Where the config of the layer has the argument, such as ``kernel_constraint``, that is set
    too, so that the constraint is saved with the model; other weights are named as not saved.
    Frozen variables get their constraint, and keep their values. All errors come before
    anything is changed. Training steps that Keras has compiled are compiled anew; steps of your
    own under ``jax.jit`` know only the constraints of when they were traced.
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"constrain takes a model of Keras, got {type(model).__name__}")
    rules = as_rules(rules)
    explanation = rules.explain(model)
    selections = explanation.selections
    for selection in selections:
        selection.judge(selection.weight.array)
    warn_of_axes(selections)
    trained = [s for s in selections if s.weight.array.trainable]
    images = _images(trained)
    if verbose:
        say(explanation)
    places = places_of(model)
    stated = {id(s.weight.array): rules.rules[s.rule].constraint for s in selections}
    before = _attach(selections, places, stated)
    saved = _give_to_composites(model, stated, before)
    _assign(trained, images)
    forget_compiled(model)
    unsaved = _unsaved(selections, places, stated, saved)
    if verbose:
        frozen = [s.weight.name for s in selections if not s.weight.array.trainable]
        _say_notes(frozen, unsaved)
    return Constrained(model, rules, unsaved, before)


def forget_compiled(model: Any) -> None:
    """Make Keras compile its training step anew: a traced one has the constraints in it."""
    if hasattr(model, "train_function"):
        model.train_function = None


def _attach(
    selections: Iterable[Selection], places: dict[int, Place], stated: dict[int, Any]
) -> list[tuple[Any, str, Any]]:
    """Set constraints on variables and in the arguments of layers; return what was there."""
    before: list[tuple[Any, str, Any]] = []
    for selection in selections:
        variable = selection.weight.array
        place, constraint = places[id(variable)], stated[id(variable)]
        _set(variable, "constraint", selection.constraint, before)
        if place.argument is not None and not why_not_saved(constraint):
            _set(place.layer, place.argument, constraint, before)
    return before


def _give_to_composites(
    model: Any, stated: dict[int, Any], before: list[tuple[Any, str, Any]]
) -> set[int]:
    """Set the argument of layers whose inner layers all have one constraint now.

    Returns the ids of the variables whose constraint is saved by that.
    """
    saved: set[int] = set()
    for layer, attribute, is_saved, variables in composites(model):
        given = [stated.get(id(variable)) for variable in variables]
        if given and given[0] is not None and all(c == given[0] for c in given):
            if why_not_saved(given[0]):
                continue
            _set(layer, attribute, given[0], before)
            if is_saved:
                saved |= {id(variable) for variable in variables}
    return saved


def _set(owner: Any, name: str, value: Any, before: list[tuple[Any, str, Any]]) -> None:
    before.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def _unsaved(
    selections: Iterable[Selection],
    places: dict[int, Place],
    stated: dict[int, Any],
    saved: set[int],
) -> dict[str, str]:
    found = {}
    for selection in selections:
        key = id(selection.weight.array)
        place = places[key]
        reason = why_not_saved(stated[key])
        if not reason and not place.saved and key not in saved:
            where = type(place.outermost).__name__
            reason = f"the config of {where} has no argument for it"
        if reason:
            found[selection.weight.name] = reason
    return found


def _project(selections: list[Selection]) -> None:
    for selection in selections:
        selection.judge(selection.weight.array)
    _assign(selections, _images(selections))


def _images(selections: Iterable[Selection]) -> list[Any]:
    return [s.constraint(s.weight.array) for s in selections]


def _assign(selections: Iterable[Selection], images: Iterable[Any]) -> None:
    for selection, image in zip(selections, images, strict=True):
        selection.weight.array.assign(image)


def _violation(selection: Selection) -> float:
    """Return the largest violation of a variable."""
    found = keras.ops.stop_gradient(selection.violation())
    return 0.0 if 0 in found.shape else float(keras.ops.max(found))


def _say_notes(frozen: list[str], unsaved: dict[str, str]) -> None:
    if frozen:
        say(f"Frozen, so their values are left as they are: {', '.join(frozen)}")
    for name, reason in unsaved.items():
        say(f"{name} will not be saved with its constraint: {reason}")
    if unsaved:
        say("After loading, constrain(model, rules) restores these.")
