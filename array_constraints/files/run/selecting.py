"""Which tensors of a file are constrained, and which are skipped, since they cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from array_constraints.constraint import Constraint
from array_constraints.executors import grid
from array_constraints.executors.needs import extent_of, needs_of
from array_constraints.files.formats.base import Source, Tensor
from array_constraints.files.options import Options
from array_constraints.files.run.layers import weights_in
from array_constraints.files.run.report import Skipped
from array_constraints.files.run.work import TensorWork, stand_in
from array_constraints.files.run.work_on_entries import EntriesWork
from array_constraints.files.run.work_on_slices import SlicesWork
from array_constraints.files.run.work_on_whole import CallableConstraint, WholeWork
from array_constraints.forms import Form
from array_constraints.layers import UnknownAxisError, resolved
from array_constraints.rules import Rule, Rules, matches_any, meant_by

_OF_OPTIMIZER = "a state of the optimizer, no weight"
_WORK: dict[str, type[TensorWork]] = {
    "entries": EntriesWork,
    "measures": SlicesWork,
    "sizes": SlicesWork,
}
"""The work on a tensor, by what its constraint needs; all others are called."""


def selected(
    source: Source, rules: Rules, options: Options, *, to_project: bool
) -> tuple[list[TensorWork], tuple[Skipped, ...]]:
    """Return the work on each tensor that a rule selects, and what is skipped.

    A pattern with wildcards skips what its constraint does not fit: buffers of integers, gains
    where the axis is that of matrices. What is named in full, or everything where ``strict`` is
    asked for, has to fit.

    Raises
    ------
    LookupError
        If a rule is left without a tensor.
    UnknownAxisError
        If an axis is ``"incoming"``, and no layer, or more than one, is known to have it.
    TypeError, ValueError
        If a constraint does not fit a tensor that has to; if a tensor is damaged, or its
        storage would round what is written.
    """
    weights = weights_in(source, options)
    first = rules.acting_on(weights)
    works: list[TensorWork] = []
    skipped: list[tuple[Rule, Skipped]] = []
    left = set[int]()
    in_full = [rule for rule in rules.rules if not rule.is_pattern]
    for weight, (number, rule) in zip(weights, first, strict=True):
        if rule is None or rule.constraint is None:
            continue
        tensor = source.tensors[weight.name]
        if rule.is_pattern and _of_optimizer(weight.name) and not _of_optimizer(rule.select):
            skipped.append((rule, Skipped(weight.name, _OF_OPTIMIZER, tensor.shape)))
            continue
        has_to = options.strict or any(other.matches(weight) for other in in_full)
        if tensor.supported or has_to:
            tensor.check_usable(to_project)
        try:
            require_supported(tensor)
            works.append(work_of(resolved(rule.constraint, weight), tensor))
            left.add(number)
        except (TypeError, ValueError) as error:
            unknown = isinstance(error, UnknownAxisError) and not options.detail.distribution
            if unknown or has_to:
                told = "leave it out" in str(error)  # with how
                hint = "" if told else "; leave this weight out if it is not meant"
                raise type(error)(f"{weight.name!r}: {error}{hint}") from None
            is_weight = tensor.supported and len(tensor.shape) > 1
            skipped.append((rule, Skipped(weight.name, str(error), tensor.shape, is_weight)))
    for number, rule in enumerate(rules.rules):
        if rule.required and number not in left:
            _require_other([one for by, one in skipped if by is rule], rule)
    return works, tuple([one for _, one in skipped])


def unmatched(source: Source, rules: Rules, strict: bool) -> tuple[str, ...]:
    """Return warnings of the patterns of ``exclude`` that match no tensor.

    Raises
    ------
    LookupError
        If there is one, and ``strict`` is asked for.
    """
    names = [name for t in source.tensors.values() for name in (t.name, *t.also)]
    found = tuple(
        f"exclude={pattern!r} matches no tensor{meant_by(pattern, names)}"
        for pattern in dict.fromkeys(p for rule in rules.rules for p in rule.exclude)
        if not matches_any(pattern, names)
    )
    if found and strict:
        raise LookupError(found[0])
    return found


def _of_optimizer(name: str) -> bool:
    """Whether a tensor is what an optimizer remembers, by the usual names of checkpoints."""
    return re.match(r"optim(izer)?(_states?)?(_dict)?[./]", name) is not None


def _require_other(skipped: Sequence[Skipped], rule: Rule) -> None:
    """Raise if all that a rule selects was skipped."""
    if skipped:
        most = max(skipped, key=lambda one: (one.reason != _OF_OPTIMIZER, math.prod(one.shape)))
        raise LookupError(
            f"none of the tensors that the rule {rule.shown} selects can be constrained, "
            f"{len(skipped)} in all: {most.name!r}: {most.reason}"
        )


def require_supported(tensor: Tensor) -> None:
    """Raise if a tensor has no dtype that constraints take: its fault, where it has one."""
    if not tensor.supported:
        raise tensor.fault or TypeError(
            f"its dtype is {tensor.dtype}, and constraints on files take float16, bfloat16, "
            "float32 and float64"
        )


def work_of(constraint: Any, tensor: Tensor) -> TensorWork:
    """Return the work for a constraint and a tensor, or raise where they do not fit.

    Raises
    ------
    TypeError
        If the dtype of the tensor is not one that the constraint takes.
    ValueError
        If the shape or the axis does not fit.
    """
    if not isinstance(constraint, Constraint):
        constraint = CallableConstraint(constraint)
    if isinstance(constraint, Form):
        constraint.validate(stand_in(tensor))
    kind = _WORK.get(needs_of(constraint), WholeWork)
    most = 1 if kind is WholeWork else grid.ENTRIES_OF_TILE
    axes, groups = extent_of(constraint, len(tensor.shape))
    if kind is SlicesWork and constraint.rounds > 1 and not tensor.chunks:
        groups = _together(tensor.shape, axes, tensor.order)
    cut = grid.grid_of(tensor.shape, axes, tensor.chunks, tensor.order, most, groups)
    return kind(constraint, tensor, cut)


_TOGETHER = 2**9
"""Entries of a slice that no border parts, where it takes rounds of measuring.

Shorter slices are whole in a tile, and projected at once. A tile of longer ones has few: 2**11,
so that little is held of their ranks, and 8 KiB of float32 are read at a time.
"""


def _together(
    shape: tuple[int, ...], axes: tuple[int, ...], order: tuple[int, ...]
) -> tuple[int, ...]:
    """Return how many neighbours in each dimension no border of tiles parts."""
    found, room = [1] * len(shape), _TOGETHER
    for i in reversed(order):
        if i in axes:
            found[i] = max(1, min(shape[i], room))
            room //= found[i]
    return tuple(found)
