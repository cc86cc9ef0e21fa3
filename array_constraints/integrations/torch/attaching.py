"""PyTorch: constrain the parameters of a model after each step of its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.optim import Optimizer

from array_constraints.integrations.torch.after_step import Step, repeated, steps_of
from array_constraints.integrations.torch.judging import (
    is_lazy,
    judged,
    refuse_local_shards,
    refuse_other_tensors,
    require_in_optimizers,
)
from array_constraints.integrations.watching import Observation, observed
from array_constraints.layers import Weight, weights_of
from array_constraints.rules import (
    Explanation,
    Rules,
    RulesLike,
    Selection,
    as_rules,
    warn_of_axes,
)


def constrain(
    model: Any,
    rules: RulesLike,
    optimizer: Optimizer | Iterable[Optimizer],
    *,
    watch: Callable[[Observation], object] | Iterable[Callable[[Observation], object]] = (),
) -> Constrained:
    """Constrain the parameters of a model, now and after each step of its optimizer.

    They are written in place: each once after each step of the optimizer that has it, tied ones
    once. Nothing is kept in the state of the model or optimizer: after a copy, a pickle or a
    checkpoint is loaded, call this again. Called again, it takes the weights that it selects
    over from the earlier call.

    Parameters
    ----------
    model
        A module, compiled, sharded or wrapped too; or named parameters.
    rules
        A constraint for all parameters; pairs of a pattern of names and a constraint; or
        :class:`array_constraints.rules.Rules`.
    optimizer
        The optimizer, or all of them, of the parameters that are selected.
    watch
        A callable, or several, for what the constraint of each parameter finds: now, as step 0,
        and after each step, before the parameter is brought back. See
        :mod:`array_constraints.integrations.watching`. It takes another look at the weights.

    Returns
    -------
    Constrained
        What to ask and to remove it by.

    Raises
    ------
    LookupError
        If a rule that is required selects no parameter that is left for it. Where a parameter
        has no shape yet, in a lazy module, that is said at the first step after it has one.
    TypeError, ValueError
        If a constraint does not fit a parameter, or a selected one that is trained is in none
        of the optimizers; nothing is changed then.

    Warns
    -----
    UserWarning
        If a constraint has one number as its axis, and that is not the one of the weights into
        a unit of the layer, or the weight is a bias, or a normalization's: most often that is
        not meant. A tuple says that it is.

    Notes
    -----
    A step that ``torch.amp.GradScaler`` skips changes nothing. Of an embedding with sparse
    gradients, the rows that moved alone are looked at, with ``SparseAdam`` and with ``SGD``
    without momentum and weight decay; other optimizers move rows that have no gradient.

    Examples
    --------
    >>> import torch
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.integrations.torch import constrain
    >>> layer = torch.nn.Linear(8, 4)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> held = constrain(layer, [("*weight", MaxNorm(0.5, axis="incoming"))], optimizer)
    >>> layer(torch.randn(2, 8)).square().sum().backward()
    >>> optimizer.step()
    >>> float(held.violations()["weight"])
    0.0
    """
    optimizers = _optimizers(rules, optimizer)
    if isinstance(model, Iterator):  # named_parameters(), which is asked again
        model = list(model)
    watchers = (watch,) if callable(watch) else tuple(watch)
    if not all(callable(watcher) and not isinstance(watcher, type) for watcher in watchers):
        raise TypeError("watch must be a callable, such as History() or CSV(path), or several")
    return Constrained(model, as_rules(rules), optimizers, watchers)


def _optimizers(rules: Any, optimizer: Any) -> list[Optimizer]:
    """Return the optimizers, or raise where the arguments are in another order."""
    several = isinstance(optimizer, Iterable) and not isinstance(optimizer, torch.nn.Module)
    found = list(optimizer) if several else [optimizer]
    odd = [o for o in found if not isinstance(o, Optimizer)]
    if odd or not found or isinstance(rules, torch.nn.Module | Optimizer):
        raise TypeError(
            "constrain takes model, rules, optimizer, in this order; optimizer must be one of "
            f"torch.optim, or several, got {type(odd[0] if odd else optimizer).__name__}"
        )
    return found


def project(model: Any, rules: RulesLike) -> None:
    """Constrain the parameters of a model once, in place: an average of weights, for example.

    Parameters
    ----------
    model, rules
        As for :func:`constrain`.

    Raises
    ------
    LookupError, TypeError, ValueError
        As :func:`constrain`; nothing is changed then.

    Warns
    -----
    UserWarning
        As :func:`constrain`, of an axis that is seldom meant.
    """
    chosen = judged(as_rules(rules).select(weights_of(model)))
    warn_of_axes(chosen)
    _write(chosen)


class Constrained:
    """A model whose parameters are constrained after each step; made by :func:`constrain`."""

    model: Any
    rules: Rules

    def __init__(
        self,
        model: Any,
        rules: Rules,
        optimizers: list[Optimizer],
        watchers: tuple[Callable[[Observation], object], ...],
    ) -> None:
        self.model, self.rules, self._watchers = model, rules, watchers
        weights = weights_of(model)
        if not weights:
            raise ValueError("the model has no parameters to constrain")
        self._lazy = any(is_lazy(weight.array) for weight in weights)
        chosen = self._select(weights)
        refuse_local_shards(chosen, optimizers)
        refuse_other_tensors(chosen, optimizers)
        require_in_optimizers(chosen, optimizers)
        warn_of_axes(chosen, stacklevel=4)
        self.observe(chosen, 0)
        _write(chosen)
        self._steps = [Step(self, optimizer) for optimizer in optimizers]
        self._known: dict[int, Selection] = {}  # with the parameters, which keep their ids
        self._take(chosen)

    def remove(self) -> None:
        """Constrain the parameters no longer."""
        for step in self._steps:
            step.remove()
        self._steps = []

    def violations(self) -> dict[str, torch.Tensor]:
        """Return the largest violation of each parameter that has a constraint, by its name.

        A tensor of no dimensions: 0 where the constraint is satisfied, NaN where there is one.
        Of a callable that has no ``violation``: how far it moves an entry. Of sharded
        parameters, all processes ask together.
        """
        chosen = self._select(weights_of(self.model))
        with torch.no_grad():
            return {s.weight.name: _largest(s.violation()) for s in chosen}

    def __repr__(self) -> str:
        chosen = [selection for step in self._steps for selection in step.chosen]
        return f"Constrained({ {s.weight.name: s.constraint for s in chosen} })"

    def explain(self) -> Explanation:
        """Return a table of the parameters, their constraints, and what is violated now."""
        with torch.no_grad():
            return self.rules.explain(self.model)

    def project(self, model: Any) -> None:
        """Constrain once, in place, another model whose parameters have the same names.

        The average of weights that satisfy a constraint need not satisfy it: the mean of two
        vectors of norm 1 is shorter.
        """
        _write(judged(self.rules.select(weights_of(model))))

    def _select(self, weights: list[Weight]) -> list[Selection]:
        """Return what the rules select, judged; of a lazy model, what has a shape."""
        if not self._lazy:
            return judged(self.rules.select(weights))
        there = [weight for weight in weights if not is_lazy(weight.array)]
        return judged(self.rules.select(there, all_must_act=False))

    def _take(self, chosen: list[Selection]) -> None:
        """Constrain what was chosen, too, after each step, and nobody else."""
        for step in self._steps:
            for other in steps_of(step.optimizer):
                other.leave({id(s.weight.array) for s in chosen})
            step.chosen = [*step.chosen, *chosen]
        self._known |= {id(s.weight.array): s for s in chosen}

    def observe(self, chosen: list[Selection], step: int) -> None:
        """Tell the watcher, if there is one, what the constraints find now."""
        if not self._watchers:
            return
        with torch.no_grad():
            for selection in chosen:
                rule = self.rules.rules[selection.rule].shown
                found = observed(selection, rule, step)
                for watcher in self._watchers:
                    watcher(found)

    def judge_lazy(self) -> None:
        """Take over the parameters that have got a shape by now."""
        if self._lazy:
            self.choose_again()

    def choose_again(self) -> None:
        """Take over the parameters that are new in the model, or have got a shape by now."""
        weights = weights_of(self.model)
        lazy = any(is_lazy(weight.array) for weight in weights)
        there = [w for w in weights if not is_lazy(w.array) and id(w.array) not in self._known]
        if self._lazy and not lazy:
            there = weights  # now it is known whether each rule acts
        chosen = self.rules.select(there, all_must_act=there is weights)
        new = judged([s for s in chosen if id(s.weight.array) not in self._known])
        require_in_optimizers(new, [step.optimizer for step in self._steps])
        warn_of_axes(new)
        self._take(new)
        self._lazy = lazy  # and not before: what is wrong is wrong at the next step, too


def _largest(violation: Any) -> torch.Tensor:
    """Return the largest entry, of no dimensions; 0 if there is none."""
    whole = violation.full_tensor() if hasattr(violation, "full_tensor") else violation
    return whole.max() if whole.numel() else whole.new_zeros(())


def _write(selections: list[Selection]) -> None:
    """Constrain parameters once, in place."""
    with torch.no_grad():
        repeated(selections).run()
