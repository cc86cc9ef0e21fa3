"""The executors: they run a form and hand over its result; they never name a constraint."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from array_constraints import _arrays
from array_constraints._blocks import Index, Target, entries_of_block, regions
from array_constraints._change import Change, Factors, changed, is_product, write_changed
from array_constraints._in_memory import InMemory
from array_constraints.typing import Array, Namespace


class Expression(Protocol):
    """What the executors need of a form: both of its maps as one expression each."""

    def whole(self, w: Array, xp: Namespace, /) -> Array: ...
    def whole_violation(self, w: Array, xp: Namespace, /) -> Array: ...
    def blocked(self, w: Array, copy: bool | None, memory: Any, xp: Namespace, /) -> Any: ...
    def blocked_violation(self, w: Array, memory: Any, xp: Namespace, /) -> Any: ...


def execute(form: Expression, w: Array, copy: bool | None, xp: Namespace) -> Any:
    """Run ``form`` on ``w`` and return the result as ``copy`` asks."""
    library = _arrays.library(xp)
    if 0 in w.shape:
        result = w
    elif w.ndim and (memory := _arrays.in_memory(w, xp)) is not None:
        result = library.quiet(_blocked)(form, w, copy, memory, xp)
    else:
        result = library.quiet(library.run)(whole, form, w, xp)
    return deliver(w, result, copy, xp)


def _blocked(form: Expression, *arguments: Any) -> Any:
    return form.blocked(*arguments)


def _blocked_violation(form: Expression, *arguments: Any) -> Any:
    return form.blocked_violation(*arguments)


def whole(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run ``form`` as one expression: no value is looked at, no compute is triggered."""
    result = form.whole(w, xp)
    if not w.ndim:
        result = _arrays.zero_dimensional(result, xp)
    if result.dtype != w.dtype:  # NumPy drops a foreign byte order
        return xp.astype(result, w.dtype)
    return result


def violation(form: Expression, w: Array, xp: Namespace) -> Any:
    """Run the violation of ``form``, by the measure that a call makes."""
    library = _arrays.library(xp)
    if w.ndim and 0 not in w.shape and (memory := _arrays.in_memory(w, xp)) is not None:
        return library.quiet(_blocked_violation)(form, w, memory, xp)
    return library.quiet(library.run)(whole_violation, form, w, xp)


def whole_violation(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run the violation of ``form`` as one expression."""
    result = form.whole_violation(w, xp)
    return result if w.ndim else _arrays.zero_dimensional(result, xp)


def deliver(w: Any, result: Any, copy: bool | None, xp: Namespace) -> Any:
    """Return ``result`` as a new array, or written into ``w``, as ``copy`` asks."""
    if copy is False:
        if result is not w:
            _arrays.library(xp).write(w, result)
        return w
    if copy is True:  # the result may be a view of w
        return _arrays.library(xp).copied(result, xp)
    return result


class Slices(Protocol):
    """What the blocked executor needs of a form on slices."""

    def measure_in_memory(
        self, block: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
    ) -> Any: ...
    def merge(self, a: Any, b: Any, xp: Namespace) -> Any: ...
    def factor(self, measure: Any, memory: InMemory, xp: Namespace) -> Change: ...
    def excess(self, measure: Any, xp: Namespace) -> Array: ...
    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array: ...


class Entries(Protocol):
    """What the blocked executor needs of a form on entries."""

    def satisfied(self, w: Array, xp: Namespace) -> bool: ...
    def project(self, w: Array, xp: Namespace) -> Array: ...


def in_blocks_of_slices(
    form: Slices,
    w: Array,
    axes: tuple[int, ...],
    copy: bool | None,
    memory: InMemory,
    xp: Namespace,
) -> Any:
    """Run ``form`` block by block: measure the slices of a region, then write what changes."""
    most = entries_of_block(w, memory, xp)
    if most is None:
        return _in_one_block(form, w, axes, memory, xp)
    target = Target(w, copy, memory, xp)
    source, axes = target.source, target.axes(axes)
    slices = tuple([1 if i in axes else n for i, n in enumerate(source.shape)])
    long = 64 * math.prod(slices) <= math.prod(source.shape)
    for region, blocks in regions(source.shape, axes, most):
        measure = _measured(form, source, blocks, axes, memory, xp)
        change = form.factor(measure, memory, xp)
        if isinstance(change, float):
            target.keep(region)
        elif long and is_product(change, source):
            target.multiply(region, change, slices)
        else:
            for block in blocks:
                write_changed(
                    form, source[block], measure, change, memory, target.at(block), xp
                )
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
    most = entries_of_block(w, memory, xp)
    if most is None:
        return form.excess(form.measure_in_memory(w, axes, memory, xp), xp)
    source = Target(w, None, memory, xp)
    shape = tuple([1 if i in axes else n for i, n in enumerate(w.shape)])
    result: Any = None
    for region, blocks in regions(source.source.shape, source.axes(axes), most):
        measure = _measured(form, source.source, blocks, source.axes(axes), memory, xp)
        excess = form.excess(measure, xp)
        if result is None:
            result = xp.ones(shape, dtype=excess.dtype, device=_arrays.device(w))
        source.in_memory_order(result)[region] = excess
    return result


_READY: dict[Any, Callable[[Any, bool | None], Any]] = {}
_READY_TYPES: set[type] = set()


def ready(form: Any, w: Any) -> Callable[[Any, bool | None], Any] | None:
    """Return how ``form`` runs on an array of one block, where it has seen one like ``w``.

    Everything that follows from the type, dtype and shape has been judged and found then.
    """
    if type(w) not in _READY_TYPES or _arrays.compiling():
        return None
    try:
        return _READY.get((id(form), type(w), w.dtype, w.shape))
    except RuntimeError:  # a nested tensor has no shape
        return None


def _in_one_block(
    form: Any, w: Any, axes: tuple[int, ...], memory: InMemory, xp: Namespace
) -> Any:
    """Run ``form`` on ``w``, one block; keep what was found out for the arrays to come."""
    change_of = form.factor_of(w.shape, axes, _arrays.precision(w, xp), memory, xp)
    if change_of is None:
        measure = form.measure_in_memory(w, axes, memory, xp)
        return changed(form, w, measure, form.factor(measure, memory, xp), xp)
    library = _arrays.library(xp)
    unwritable = library.unwritable

    def run(w: Any) -> Any:
        change = change_of(w)
        if isinstance(change, float):
            return w
        rest = change is None or isinstance(change, Factors)
        measure = form.measure_in_memory(w, axes, memory, xp) if rest else None
        return changed(form, w, measure, change, xp)

    quietly = run if library.ignoring is None else library.ignoring(run)

    def call(w: Any, copy: bool | None) -> Any:
        held = memory.by_type or memory.holds(w)
        if not held or memory.memory_order(w) is not None:
            return form._run(w, copy)  # says what is wrong, or finds another way
        if not (copy is None or copy is True or (copy is False and not unwritable(w))):
            return form._run(w, copy)
        return deliver(w, quietly(w), copy, xp)

    if _arrays.is_constant(form) and _is_final(form):
        if len(_READY) >= 4096:
            _READY.clear()
        _READY[id(form), type(w), w.dtype, w.shape] = call  # which keeps the form alive
        _READY_TYPES.add(type(w))
    return run(w)


def _is_final(form: Any) -> bool:
    """Whether nobody can have given the class of a form a method that says something else."""
    return bool(vars(type(form)).get("__final__", False))


def in_blocks_of_entries(
    form: Entries, w: Array, copy: bool | None, memory: InMemory, xp: Namespace
) -> Any:
    """Run ``form`` block by block, and write those that change."""
    most = entries_of_block(w, memory, xp)
    if most is None:
        return w if form.satisfied(w, xp) else form.project(w, xp)
    target = Target(w, copy, memory, xp)
    source = target.source
    for _, blocks in regions(source.shape, tuple(range(w.ndim)), most):
        for block in blocks:
            if form.satisfied(source[block], xp):
                target.keep(block)
            else:
                target.at(block)[...] = form.project(source[block], xp)
    return target.result()


_SMALL, _FEW = 2**14, 8  # entries of an array, and arrays, from which stacking them pays


def in_stacks(form: Any, arrays: list[Any]) -> dict[int, Any]:
    """Return the results of small arrays that are alike, measured at once, by their places."""
    results: dict[int, Any] = {}
    for indices in _alike(arrays):
        found = _in_one_stack(form, [arrays[i] for i in indices])
        results |= {indices[i]: result for i, result in found.items()}
    return results


def _alike(arrays: list[Any]) -> Iterator[list[int]]:
    """Return the places of small arrays of one type, dtype and shape, 2**19 entries each."""
    groups: dict[Any, list[int]] = {}
    for i, w in enumerate(arrays):
        if hasattr(w, "dtype") and hasattr(w, "shape"):
            groups.setdefault((type(w), w.dtype, w.shape), []).append(i)
    for (_, _, shape), indices in groups.items():
        entries = math.prod(shape) if shape else 0
        if 0 < entries <= _SMALL and len(indices) >= _FEW:
            count = 2**19 // entries
            yield from (indices[i : i + count] for i in range(0, len(indices), count))


def _in_one_stack(form: Any, arrays: list[Any]) -> dict[int, Any]:
    """Return the constrained arrays that come out as from a call of their own, by place."""
    first, xp = form._accepted(arrays[0])
    memory = _arrays.in_memory(first, xp)
    if memory is None or not (memory.by_type or all(map(memory.holds, arrays))):
        return {}
    if any(memory.memory_order(w) is not None for w in arrays):
        return {}
    results: dict[int, Any] = _arrays.library(xp).quiet(_stacked)(form, arrays, memory, xp)
    return results


def _stacked(form: Any, arrays: list[Any], memory: InMemory, xp: Any) -> dict[int, Any]:
    """Measure arrays as one stack, each in the way that it is measured alone."""
    first, axes = arrays[0], form.axes(arrays[0])
    change_of = form.factor_of(first.shape, axes, _arrays.precision(first, xp), memory, xp)
    if change_of is None:
        return {}
    change: Any = change_of(arrays)
    if isinstance(change, float):
        return dict(enumerate(arrays))
    apart = [False] * len(arrays)
    if isinstance(change, Factors):
        change, apart = change.each, memory.rows_with_any(change.others)
    if not is_product(change, first):
        return {}
    moved = memory.rows_with_any(~xp.equal(change, xp.ones_like(change)))
    chosen = [i for i, own in enumerate(apart) if moved[i] and not own]
    products = memory.multiply_each([arrays[i] for i in chosen], [change[i] for i in chosen])
    kept = {i: w for i, w in enumerate(arrays) if not (moved[i] or apart[i])}
    return kept | dict(zip(chosen, products, strict=True))
