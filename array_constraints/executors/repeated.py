"""Run forms on the same arrays again and again, in place, as after the steps of a training.

What cannot change between two runs is asked once, and all arrays at hand are decided on at
once: for small ones that is most of the time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
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
    and PyTorch whose slices are rescaled are decided on together: three small layers of PyTorch
    take a third of the time in memory, and on an accelerator a quarter of the kernels.

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
                power, way = member.rescaler.found.size.power, (member.are_rows, member.device)
                groups.setdefault((member.library, power, way), []).append(member)
        self._groups: list[_Group | _DeviceGroup] = []
        for (library, power, (_, device)), found in groups.items():
            if device is None:
                self._groups.append(_Group(library, power, found))
            else:
                self._groups += [_DeviceGroup(library, power, part) for part in _parts(found)]

    def run(self) -> None:
        """Bring each array to what its constraint allows."""
        for group in self._groups:
            for member in group.run():
                run.called(member.form, member.array, False)
        for constraint, w in self._alone:
            run.called(constraint, w, False)


@dataclass(frozen=True, slots=True)
class _Member:
    """An array, and the numbers between which the sizes of its slices are kept."""

    form: Any
    array: Any
    library: Any
    rescaler: Rescaler
    axes: tuple[int, ...]
    are_rows: bool
    kind: Any
    slices: tuple[int, ...]
    device: Any
    """The accelerator that it is on; None for an array at hand."""


def _member(form: Any, w: Any) -> _Member | None:
    """Return an array to be decided on with others; None for one that is run alone."""
    if needs_of(form) != "sizes":
        return None
    library: Any = acceptance.accepted_by(form, w, False)[1]
    power, axes = reductions.power_of(form), parameters.axes_of(form, w)
    on_device = library.on_device(w)
    if power is None or not (on_device or library.at_hand(w)) or state.state_of(form) is None:
        return None
    if not (_is_small if on_device else _is_small_block)(power, w, axes, library):
        return None
    rescaler = Rescaler(form, form.measure(w, axes, library.xp), library)
    if not rescaler.numbers or rescaler.ordinary is not True or not rescaler.rate:
        return None
    if on_device and rescaler.rate != 1:
        return None
    by_rows = not on_device and library.are_rows(w, axes)
    slices = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
    device = library.device(w) if on_device else None
    return _Member(
        form, w, library, rescaler, axes, by_rows, library.kind_of(w), slices, device
    )


def _is_small(power: int, w: Any, axes: tuple[int, ...], library: Any) -> bool:
    """Whether an array on an accelerator is summed in float64, widened with others."""
    small = math.prod(w.shape) <= _ENTRIES_ON_DEVICE
    return small and bool(library.precision(w).any_order)


def _is_small_block(power: int, w: Any, axes: tuple[int, ...], library: Any) -> bool:
    """Whether an array at hand is one block, summed in float64 in one pass."""
    return (
        library.memory_order(w) is None
        and in_memory.entries_of_block(w, library) is None
        and library.bound_sum(power, w, axes) is not None
        and library.name_of(w.dtype) == "float32"
    )


_ENTRIES_ON_DEVICE = 2**22
"""Entries that are widened to float64 at a time on an accelerator: 32 MiB."""


def _parts(members: list[_Member]) -> Iterator[list[_Member]]:
    """Yield neighbours that are widened at a time."""
    part: list[_Member] = []
    entries = 0
    for member in members:
        own = math.prod(member.array.shape)
        if part and entries + own > _ENTRIES_ON_DEVICE:
            yield part
            part, entries = [], 0
        part.append(member)
        entries += own
    yield part


def _for_slices(members: list[_Member], numbers: list[float]) -> Any:
    """Return a number of each array as one for each of its slices, where the arrays are."""
    xp, options = members[0].library.xp, {"device": members[0].library.device(members[0].array)}
    pairs = zip([math.prod(member.slices) for member in members], numbers, strict=True)
    return xp.concat([xp.full((n,), x, dtype=xp.float64, **options) for n, x in pairs])


def _entries_of(members: list[_Member]) -> Any:
    """Return what the sum of each slice is divided by to be a size; None where by 1 alone."""
    entries = [m.rescaler.entries for m in members]
    return _for_slices(members, entries) if any(n != 1 for n in entries) else None


class _DeviceGroup:
    """Arrays on one accelerator, whose slices are decided on at once: no value is read.

    All are multiplied, in float64 as a call does it: by 1 what is kept.
    """

    def __init__(self, library: Any, power: int, members: list[_Member]) -> None:
        self.library, self.power, self.members = library, power, members
        self.arrays = [member.array for member in members]
        self.axes, rescalers = [m.axes for m in members], [m.rescaler for m in members]
        self.bounded = any(r.bounded for r in rescalers)
        self.most = _for_slices(members, [r.most for r in rescalers])
        self.least = _for_slices(
            members, [r.least if r.bounded else -math.inf for r in rescalers]
        )
        limits = [r.found.limits for r in rescalers]
        self.upper = _for_slices(members, [found.upper_target for found in limits])
        self.lower = _for_slices(members, [found.lower_target for found in limits])
        self.one = self.library.xp.ones_like(self.most)
        self.entries = _entries_of(members)

    def run(self) -> list[_Member]:
        """Change the arrays, and return those that have to be run alone."""
        library, xp = self.library, self.library.xp
        if any(library.kind_of(m.array) != m.kind for m in self.members):
            return self.members
        if not (library.on_device(self.arrays[0]) or library.at_hand(self.arrays[0])):
            return self.members
        value = library.sums_on_device(self.power, self.arrays, self.axes)
        value = value if self.entries is None else value / self.entries
        above, goal = value > self.most, self.upper
        moved = above & (value < math.inf)
        if self.bounded:
            moved = (above | (value < self.least)) & (value > 0) & (value < math.inf)
            goal = xp.where(above, goal, self.lower)
        size = xp.where(moved, value, self.one)
        factor = xp.where(moved, goal, self.one) / (size if self.power == 1 else xp.sqrt(size))
        for w, own in zip(
            self.arrays, library.apart(factor, [m.slices for m in self.members]), strict=True
        ):
            w *= own
        return []


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
        self.most = _for_slices(members, [r.most for r in rescalers])
        self.upper = _for_slices(members, [float(r.upper_target) for r in rescalers])
        self.least = _for_slices(
            members, [r.least if r.bounded else -math.inf for r in rescalers]
        )
        self.lower = _for_slices(members, [float(r.lower_target) for r in rescalers])
        rates = [r.rate for r in rescalers]
        self.two_targets = any(r.two_targets for r in rescalers)
        self.rate = _for_slices(members, rates) if any(rate != 1 for rate in rates) else None
        self.one = library.number(1.0)
        self.entries = _entries_of(members)
        self.kept_up_to = min(r.most for r in rescalers)
        self.kept_from = max((r.least for r in rescalers if r.bounded), default=-math.inf)
        shapes = [member.slices for member in members]
        self.factors = library.xp.astype(self.most, library.xp.float32)
        self.factors_of_arrays = library.apart(self.factors, shapes)
        self._quiet_run = library.quiet(_Group._run)

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
        value = self.sums() if self.entries is None else self.sums() / self.entries
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
