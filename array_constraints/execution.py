"""The executors: they run a form and hand over its result; they never name a constraint."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from array_constraints import _arrays
from array_constraints._in_memory import InMemory
from array_constraints._protocol import Array, Namespace


class Expression(Protocol):
    """What the executors need of a form: both of its maps as one expression each."""

    def whole(self, w: Array, xp: Namespace, /) -> Array: ...
    def whole_violation(self, w: Array, xp: Namespace, /) -> Array: ...
    def blocked(self, w: Array, copy: bool | None, memory: Any, xp: Namespace, /) -> Any: ...
    def blocked_violation(self, w: Array, memory: Any, xp: Namespace, /) -> Any: ...


def execute(form: Expression, w: Array, copy: bool | None, xp: Namespace) -> Any:
    """Run ``form`` on ``w`` and return the result as ``copy`` asks."""
    if 0 in w.shape:
        result = w
    elif w.ndim and (memory := _arrays.in_memory(w, xp)) is not None:
        result = form.blocked(w, copy, memory, xp)
    else:
        result = _arrays.library(xp).run(whole, form, w, xp)
    return deliver(w, result, copy, xp)


def whole(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run ``form`` as one expression: no value is looked at, no compute is triggered."""
    result = form.whole(w, xp)
    if result.dtype != w.dtype:  # NumPy drops a foreign byte order
        return xp.astype(result, w.dtype)
    return result


def violation(form: Expression, w: Array, xp: Namespace) -> Any:
    """Run the violation of ``form``, by the measure that a call makes."""
    if w.ndim and 0 not in w.shape and (memory := _arrays.in_memory(w, xp)) is not None:
        return form.blocked_violation(w, memory, xp)
    return _arrays.library(xp).run(whole_violation, form, w, xp)


def whole_violation(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run the violation of ``form`` as one expression."""
    return form.whole_violation(w, xp)


def deliver(w: Any, result: Any, copy: bool | None, xp: Namespace) -> Any:
    """Return ``result`` as a new array, or written into ``w``, as ``copy`` asks."""
    if copy is False:
        if result is not w:
            _arrays.library(xp).write(w, result)
        return w
    if copy is True:  # the result may be a view of w
        return _arrays.library(xp).copied(result, xp)
    return result


def scaled(w: Array, factor: Array, xp: Namespace) -> Array:
    """Return ``w`` times a factor, in the dtype of ``w``."""
    if factor.dtype == w.dtype:
        return w * factor
    return xp.astype(xp.astype(w, factor.dtype) * factor, w.dtype)


Index: TypeAlias = Any  # of one slice for each dimension, or an ellipsis


class Slices(Protocol):
    """What the blocked executor needs of a form on slices."""

    def measure_in_memory(
        self, block: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
    ) -> Any: ...
    def merge(self, a: Any, b: Any, xp: Namespace) -> Any: ...
    def factor(self, measure: Any, memory: InMemory, xp: Namespace) -> Array | float | None: ...
    def excess(self, measure: Any, xp: Namespace) -> Array: ...
    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array: ...


class Entries(Protocol):
    """What the blocked executor needs of a form on entries."""

    def satisfied(self, w: Array, xp: Namespace) -> bool: ...
    def project(self, w: Array, xp: Namespace) -> Array: ...


class _Target:
    """What a blocked run writes into: nothing while nothing changes, a new array, or ``w``.

    ``source`` and ``written`` have their dimensions in memory order.
    """

    def __init__(self, w: Any, copy: bool | None, memory: InMemory, xp: Namespace) -> None:
        self.w, self.memory, self.xp = w, memory, xp
        self.order = memory.memory_order(w)
        self.source = self.in_memory_order(w)
        self.written: Any = self.source if copy is False else None
        self.factors: Any = None
        self.scaled: list[Index] = []
        self.kept: list[Index] = []

    def in_memory_order(self, x: Any) -> Any:
        """Return a view of ``x``, an array like ``w``, with its dimensions in memory order."""
        return x if self.order is None else self.xp.permute_dims(x, self.order)

    def axes(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the axes of ``w`` as those of ``source``."""
        order = self.order
        return axes if order is None else tuple(sorted(order.index(i) for i in axes))

    def keep(self, index: Index) -> None:
        """Take over a block as it is."""
        if self.written is None:
            self.kept.append(index)
        elif self.written is not self.source:
            self.written[index] = self.source[index]

    def at(self, index: Index) -> Any:
        """Return the block to write into."""
        if self.written is None:
            self.written = self.in_memory_order(self.memory.empty_like(self.w))
            for kept in self.kept:
                self.written[kept] = self.source[kept]
        return self.written[index]

    def multiply(self, region: Index, factor: Any, shape: tuple[int, ...]) -> None:
        """Take over a region times a factor, in the end: one call for all regions is faster."""
        if self.factors is None:
            self.factors = self.xp.ones(shape, dtype=factor.dtype)
        self.factors[region] = factor
        self.scaled.append(region)

    def result(self) -> Any:
        """Return the result, its dimensions in the order of ``w``."""
        if self.written is None and self.scaled:
            self.written = self.source * self.factors
        else:
            for i in self.scaled:
                self.memory.multiply(self.source[i], self.factors[i], self.at(i))
        if self.written is None or self.written is self.source:
            return self.w
        if self.order is None:
            return self.written
        back = tuple(self.order.index(i) for i in range(len(self.order)))
        return self.xp.permute_dims(self.written, back)


def in_blocks_of_slices(
    form: Slices,
    w: Array,
    axes: tuple[int, ...],
    copy: bool | None,
    memory: InMemory,
    xp: Namespace,
) -> Any:
    """Run ``form`` block by block: measure the slices of a region, then write what changes."""
    most = _block(w, xp)
    if most is None:
        return _in_one_block(form, w, axes, memory, xp)
    target = _Target(w, copy, memory, xp)
    source, axes = target.source, target.axes(axes)
    slices = tuple([1 if i in axes else n for i, n in enumerate(source.shape)])
    long = 64 * math.prod(slices) <= math.prod(source.shape)
    for region, blocks in regions(source.shape, axes, most):
        measure = _measured(form, source, blocks, axes, memory, xp)
        factor = form.factor(measure, memory, xp)
        if isinstance(factor, float):
            target.keep(region)
        elif factor is None:
            for block in blocks:
                target.at(block)[...] = form.apply(source[block], measure, xp)
        elif long and factor.dtype == source.dtype:
            target.multiply(region, factor, slices)
        else:
            for block in blocks:
                if factor.dtype == source.dtype:
                    memory.multiply(source[block], factor, target.at(block))
                else:
                    target.at(block)[...] = scaled(source[block], factor, xp)
    return target.result()


def _measured(
    form: Slices,
    source: Any,
    blocks: list[Index],
    axes: tuple[int, ...],
    memory: InMemory,
    xp: Namespace,
) -> Any:
    return functools.reduce(
        lambda a, b: form.merge(a, b, xp),
        (form.measure_in_memory(source[block], axes, memory, xp) for block in blocks),
    )


def violation_in_blocks(
    form: Slices, w: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
) -> Any:
    """Measure slices block by block, and return how far each is from what is allowed."""
    most = _block(w, xp)
    if most is None:
        return form.excess(form.measure_in_memory(w, axes, memory, xp), xp)
    source = _Target(w, None, memory, xp)
    shape = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
    result: Any = None
    for region, blocks in regions(source.source.shape, source.axes(axes), most):
        measure = _measured(form, source.source, blocks, source.axes(axes), memory, xp)
        excess = form.excess(measure, xp)
        if result is None:
            result = xp.ones(shape, dtype=excess.dtype)
        source.in_memory_order(result)[region] = excess
    return result


_READY: dict[Any, Callable[[Any, bool | None], Any]] = {}
_READY_TYPES: set[type] = set()


def ready(form: Any, w: Any) -> Callable[[Any, bool | None], Any] | None:
    """Return how ``form`` runs on an array of one block, where one like ``w`` has been seen.

    Everything that follows from the type, dtype and shape has been judged and found then.
    """
    if type(w) not in _READY_TYPES or _arrays.compiling():
        return None
    try:
        return _READY.get((form, type(w), w.dtype, w.shape))
    except TypeError:  # a form that cannot be hashed
        return None


def _in_one_block(
    form: Any, w: Any, axes: tuple[int, ...], memory: InMemory, xp: Namespace
) -> Any:
    """Run ``form`` on ``w``, one block; keep what was found out for the arrays to come."""
    factor_of = form.factor_of(w.shape, axes, _arrays.precision(w, xp), memory, xp)
    if factor_of is None:
        measure = form.measure_in_memory(w, axes, memory, xp)
        factor = form.factor(measure, memory, xp)
        if factor is None:
            return form.apply(w, measure, xp)
        return w if isinstance(factor, float) else scaled(w, factor, xp)
    unwritable = _arrays.library(xp).unwritable

    def run(w: Any) -> Any:
        factor = factor_of(w)
        if factor is None:
            return form.apply(w, form.measure_in_memory(w, axes, memory, xp), xp)
        return w if isinstance(factor, float) else scaled(w, factor, xp)

    def call(w: Any, copy: bool | None) -> Any:
        judged = copy is None or copy is True or (copy is False and not unwritable(w))
        if not judged or not memory.holds(w):
            return form._run(w, copy)  # says what is wrong, or finds another way
        return deliver(w, run(w), copy, xp)

    if _arrays.is_frozen(form):
        if len(_READY) >= 4096:
            _READY.clear()
        _READY[form, type(w), w.dtype, w.shape] = call
        _READY_TYPES.add(type(w))
    return run(w)


def in_blocks_of_entries(
    form: Entries, w: Array, copy: bool | None, memory: InMemory, xp: Namespace
) -> Any:
    """Run ``form`` block by block, and write those that change."""
    most = _block(w, xp)
    if most is None:
        return w if form.satisfied(w, xp) else form.project(w, xp)
    target = _Target(w, copy, memory, xp)
    source = target.source
    for _, blocks in regions(source.shape, tuple(range(w.ndim)), most):
        for block in blocks:
            if form.satisfied(source[block], xp):
                target.keep(block)
            else:
                target.at(block)[...] = form.project(source[block], xp)
    return target.result()


def _block(w: Array, xp: Namespace) -> int | None:
    """Return how many entries a block has; None for an array that is one block.

    At least 2**18: each block costs some 30 calls. At most 2**20, out of the caches from there
    on; and a sixteenth of the array, so that what is made for a block is less than a tenth. A
    quarter of that for the half types, which are widened.
    """
    entries, half = math.prod(w.shape), _arrays.precision(w, xp).weight.digits < 24
    least, share = (2**16, 64) if half else (2**18, 16)
    return None if entries <= 2**21 else min(max(entries // share, least), 2**20)


def regions(
    shape: tuple[int, ...], axes: tuple[int, ...], most: int
) -> Iterator[tuple[Index, list[Index]]]:
    """Cut an array into regions of whole slices, and each region into blocks of entries.

    A block has at most ``most`` entries, of at most ``most / 16`` slices, side by side in
    memory as far as that goes.
    """
    steps, room, slices = [0] * len(shape), most, max(1, most // 16)
    for i in reversed(range(len(shape))):
        step = min(shape[i], room if i in axes else min(room, slices))
        if 64 < step < shape[i]:
            step -= step % 64  # the squares of a block are added up in parts of equal length
        steps[i], room = step, room // step
        slices = slices if i in axes else slices // step
        room, slices = max(1, room), max(1, slices)
    cuts = [
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(shape, steps, strict=True)
    ]
    everything = [slice(None)]
    for region in itertools.product(
        *(everything if i in axes else cut for i, cut in enumerate(cuts))
    ):
        inside = (cut if i in axes else [region[i]] for i, cut in enumerate(cuts))
        yield region, list(itertools.product(*inside))
