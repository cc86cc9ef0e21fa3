"""What is done after a step of an optimizer of PyTorch."""

from __future__ import annotations

import logging
import weakref
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from array_constraints.executors import run
from array_constraints.executors.repeated import Repeated
from array_constraints.forms import Form
from array_constraints.rules import Selection

_LOGGER = logging.getLogger(__name__)

_STEPS: weakref.WeakKeyDictionary[Optimizer, list[Step]] = weakref.WeakKeyDictionary()
"""What runs after the steps of each optimizer, so that a weight is never constrained twice."""


class Held(Protocol):
    """The model whose parameters are constrained."""

    def observe(self, chosen: list[Selection], step: int) -> None: ...
    def judge_lazy(self) -> None: ...
    def choose_again(self) -> None: ...


def steps_of(optimizer: Optimizer) -> list[Step]:
    """Return what runs after the steps of an optimizer."""
    return _STEPS.setdefault(optimizer, [])


class Step:
    """What is done after a step of one optimizer."""

    def __init__(self, held: Held, optimizer: Optimizer) -> None:
        self.held, self.optimizer = held, optimizer
        self.chosen: list[Selection] = []
        self._count = 0
        self._groups: list[Any] = []
        self._moved = _ids_of(optimizer)
        self._own: list[Selection] = []
        self._by_rows: list[Selection] = []
        self._whole = Repeated([], [])
        self._said: set[str] = set()
        self._handle = optimizer.register_step_post_hook(self)
        steps_of(optimizer).append(self)

    def __call__(self, optimizer: Optimizer, *arguments: Any) -> None:
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):  # GradScaler: the step was skipped
            return
        self.held.judge_lazy()
        moved = _ids_of(optimizer)
        groups = [
            (ids, bool(group.get("momentum")), bool(group.get("weight_decay")))
            for ids, group in zip(moved, optimizer.param_groups, strict=True)
        ]
        with torch.no_grad():
            if moved != self._moved:
                self.held.choose_again()
                self._moved = moved
            if groups != self._groups:
                self._prepare(groups)
            self._count += 1
            self.held.observe(self._own, self._count)
            self._whole.run()
            for selection in self._by_rows:
                self._constrain_rows(selection)

    def _prepare(self, groups: list[Any]) -> None:
        """Ask once what the next steps have to do."""
        own = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        chosen = [s for s in self.chosen if id(s.weight.array) in own]
        self._by_rows = [s for s in chosen if _moves_by_rows(s, self.optimizer)]
        whole = [s for s in chosen if s not in self._by_rows]
        self._own, self._whole = chosen, repeated(whole)
        self._groups = groups
        for selection in whole:
            self._say_of_rows(selection)

    def _constrain_rows(self, selection: Selection) -> None:
        """Constrain the rows of an embedding that a step has moved: those with a gradient."""
        parameter, gradient = selection.weight.array, selection.weight.array.grad
        if gradient is None:
            return
        if gradient.layout is not torch.sparse_coo:
            self._say_of_rows(selection)
            run.called(selection.constraint, parameter, False)
            return
        rows = gradient.coalesce().indices()[0].unique()
        parameter.index_copy_(0, rows, selection.constraint(parameter[rows]))

    def _say_of_rows(self, selection: Selection) -> None:
        """Log once that all rows of an embedding are constrained, though few may have moved."""
        name = selection.weight.name
        if selection.weight.kind == "embedding" and name not in self._said:
            self._said.add(name)
            message = "%r: all rows are constrained after each step of %s, moved or not"
            _LOGGER.info(message, name, type(self.optimizer).__name__)

    def leave(self, weights: set[int]) -> None:
        """Leave weights to another."""
        self.chosen = [s for s in self.chosen if id(s.weight.array) not in weights]
        self._groups = []

    def remove(self) -> None:
        self._handle.remove()
        steps_of(self.optimizer).remove(self)


def _ids_of(optimizer: Optimizer) -> list[list[int]]:
    """Return which parameters are in each group, to see when they change."""
    return [list(map(id, group["params"])) for group in optimizer.param_groups]


def repeated(selections: list[Selection]) -> Repeated:
    """Return the constraints of parameters, to be run again and again."""
    return Repeated(
        [selection.constraint for selection in selections],
        [selection.weight.array for selection in selections],
    )


def _moves_by_rows(selection: Selection, optimizer: Optimizer) -> bool:
    """Whether steps move the rows that have a gradient alone, and rows are slices."""
    constraint, apart = selection.constraint, selection.axes is None or 0 not in selection.axes
    if selection.weight.kind != "embedding" or not isinstance(constraint, Form) or not apart:
        return False
    if _differs_by_slice(constraint):
        return False
    return _moves_what_has_a_gradient(optimizer, selection.weight.array)


def _differs_by_slice(constraint: Any) -> bool:
    return any(isinstance(value, tuple) for value in vars(constraint).values())


def _moves_what_has_a_gradient(optimizer: Optimizer, parameter: Any) -> bool:
    if type(optimizer) is torch.optim.SparseAdam:
        return True
    if type(optimizer) is not torch.optim.SGD:
        return False
    groups = optimizer.param_groups
    group = next(g for g in groups if any(p is parameter for p in g["params"]))
    return not group["momentum"] and not group["weight_decay"]
