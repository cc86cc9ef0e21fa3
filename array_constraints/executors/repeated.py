"""Run forms on the same arrays again and again, in place, as after the steps of a training.

What cannot change between two runs is asked once, and all arrays at hand are decided on at
once: for small ones that is most of the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_constraints import parameters, reductions
from array_constraints.executors import acceptance, in_memory, run
from array_constraints.executors.change import Rescaler
from array_constraints.executors.needs import needs_of
from array_constraints.libraries import state
from array_constraints.numerics import subnormals


class Repeated:
    """Constraints, each on an array of its own, in place as often as :meth:`run` is called.

    Parameters
    ----------
    constraints
        A constraint, or any callable, for each array.
    arrays
        Arrays that can be written: the same ones at each run, whatever their entries are then.

    Raises
    ------
    TypeError, ValueError
        What a constraint raises for its array.

    Notes
    -----
    The results are those of ``constraint(array, copy=False)``, bit for bit. Arrays of NumPy
    and PyTorch in memory whose slices are rescaled are decided on together: three small layers
    of PyTorch take a third of the time.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.executors.repeated import Repeated
    >>> w = np.asarray([[3.0, 0.3], [4.0, 0.4]])
    >>> held = Repeated([MaxNorm(1.0)], [w])
    >>> w += 1.0
    >>> held.run()
    >>> bool(MaxNorm(1.0).violation(w).any())
    False
    """

    def __init__(self, constraints: Sequence[Any], arrays: Sequence[Any]) -> None:
        self._alone: list[tuple[Any, Any]] = []
        groups: dict[Any, list[_Member]] = {}
        for constraint, w in zip(constraints, arrays, strict=True):
            member = _member(constraint, w)
            if member is None:
                self._alone.append((constraint, w))
            else:
                power, by_rows = member.rescaler.found.size.power, member.are_rows
                groups.setdefault((member.library, power, by_rows), []).append(member)
        self._groups = [
            _Group(library, power, found) for (library, power, _), found in groups.items()
        ]

    def run(self) -> None:
        """Bring each array to what its constraint allows."""
        for group in self._groups:
            for member in group.run():
                run.called(member.form, member.array, False)
        for constraint, w in self._alone:
            run.called(constraint, w, False)


@dataclass(frozen=True, slots=True)
class _Member:
    """An array at hand, and the numbers between which the sizes of its slices are kept."""

    form: Any
    array: Any
    library: Any
    rescaler: Rescaler
    axes: tuple[int, ...]
    are_rows: bool
    kind: Any
    slices: tuple[int, ...]


def _member(form: Any, w: Any) -> _Member | None:
    """Return an array to be decided on with others; None for one that is run alone."""
    if needs_of(form) != "sizes":
        return None
    library: Any = acceptance.accepted_by(form, w, False)[1]
    power = reductions.power_of(form)
    if power is None or not library.at_hand(w) or library.memory_order(w) is not None:
        return None
    if state.state_of(form) is None or in_memory.entries_of_block(w, library) is not None:
        return None
    axes = parameters.axes_of(form, w)
    if library.bound_sum(power, w, axes) is None or library.name_of(w.dtype) != "float32":
        return None
    rescaler = Rescaler(form, form.measure(w, axes, library.xp), library)
    if not rescaler.numbers or rescaler.ordinary is not True or not rescaler.rate:
        return None
    slices = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
    return _Member(
        form, w, library, rescaler, axes, library.are_rows(w, axes), library.kind_of(w), slices
    )


class _Group:
    """Arrays of one library, whose slices are decided on at once."""

    def __init__(self, library: Any, power: int, members: list[_Member]) -> None:
        members = sorted(members, key=lambda m: math.prod(m.array.shape[i] for i in m.axes))
        self.library, self.power, self.members = library, power, members
        self.arrays = [member.array for member in members]
        self.sums = library.bound_sums(power, self.arrays, [m.axes for m in members])
        rescalers = [member.rescaler for member in members]
        self.bounded = any(r.bounded for r in rescalers)
        self.near, self.far = rescalers[0].near, rescalers[0].far  # of this power
        self.most = self._for_slices([r.most for r in rescalers])
        self.upper = self._for_slices([float(r.upper_target) for r in rescalers])
        self.least = self._for_slices([r.least if r.bounded else -math.inf for r in rescalers])
        self.lower = self._for_slices([float(r.lower_target) for r in rescalers])
        rates = [r.rate for r in rescalers]
        self.two_targets = any(r.two_targets for r in rescalers)
        self.rate = self._for_slices(rates) if any(rate != 1 for rate in rates) else None
        self.one = library.number(1.0)
        self.kept_up_to = min(r.most for r in rescalers)
        self.kept_from = max((r.least for r in rescalers if r.bounded), default=-math.inf)
        shapes = [member.slices for member in members]
        self.factors = library.xp.astype(self.most, library.xp.float32)
        self.factors_of_arrays = library.apart(self.factors, shapes)
        self._quiet_run = library.quiet(_Group._run)

    def _for_slices(self, numbers: list[float]) -> Any:
        """Return a number of each array as one for each of its slices."""
        xp = self.library.xp
        counts = [math.prod(member.slices) for member in self.members]
        pairs = zip(counts, numbers, strict=True)
        return xp.concat([xp.full((count,), x, dtype=xp.float64) for count, x in pairs])

    def run(self) -> list[_Member]:
        """Change the arrays, and return those that have to be run alone."""
        library = self.library
        if subnormals.flushed() or not library.at_hand(self.arrays[0]):
            return self.members
        if any(library.kind_of(member.array) != member.kind for member in self.members):
            return self.members
        alone: list[_Member] = self._quiet_run(self)
        return alone

    def _run(self) -> list[_Member]:
        library = self.library
        value = self.sums()
        largest = library.largest(value)
        smallest = library.smallest(value) if self.bounded else math.inf
        if largest <= self.kept_up_to and smallest >= self.kept_from:
            return []
        arrays, factors, alone = self.arrays, self.factors_of_arrays, []
        if not largest <= self.far or smallest < self.near:  # NaN, too
            plain = self._plain(value)
            arrays, factors = (list(itertools.compress(x, plain)) for x in (arrays, factors))
            alone = [m for m, is_plain in zip(self.members, plain, strict=True) if not is_plain]
        if arrays:
            library.write(self.factors, self._factor(value))
            library.multiply_in_place(arrays, factors)
        return alone

    def _plain(self, value: Any) -> list[bool]:
        """Return which arrays have no slice that takes more than a product."""
        plain = value <= self.far
        if self.bounded:
            plain = plain & (value >= self.near)
        shapes = [member.slices for member in self.members]
        return [bool(self.library.xp.all(part)) for part in self.library.apart(plain, shapes)]

    def _factor(self, value: Any) -> Any:
        """Return the factor of each slice as ``Rescaler`` makes it: 1 where it is kept."""
        library, above, goal = self.library, value > self.most, self.upper
        moved = above
        if self.bounded:
            moved = above | (value < self.least)
        if self.two_targets:
            goal = library.where(above, goal, self.lower)
        factor = goal / (value if self.power == 1 else library.xp.sqrt(value))
        if self.rate is not None:
            factor = factor * self.rate + (1 - self.rate)
        return library.where(moved, factor, self.one)
