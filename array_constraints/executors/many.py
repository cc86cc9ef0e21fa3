"""Run a form on many small arrays that are alike: their slices are decided on at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from array_constraints import parameters, reductions
from array_constraints.executors import acceptance
from array_constraints.executors.change import Rescaler
from array_constraints.executors.needs import needs_of
from array_constraints.numerics.rescaling import Size

_SMALL, _FEW = 2**14, 8  # entries of an array, and arrays, from which a stack pays
_ENTRIES_OF_STACK = 2**19  # 2 MiB of float32, which stay in the caches


def run(form: Any, arrays: list[Any]) -> dict[int, Any]:
    """Return the results of small arrays that are alike, by their places in the list.

    The others are missing, and those that need a call of their own.
    """
    if needs_of(form) != "sizes" or any(isinstance(b, tuple) for b in form.interval()):
        return {}
    results: dict[int, Any] = {}
    for places in _alike(arrays):
        found = _run_on_stack(form, [arrays[i] for i in places])
        results |= {places[i]: result for i, result in found.items()}
    return results


def _alike(arrays: list[Any]) -> Iterator[list[int]]:
    """Group small arrays of equal type, dtype and shape; yield the places of each group."""
    groups: dict[Any, list[int]] = {}
    for i, w in enumerate(arrays):
        groups.setdefault((type(w), w.dtype, w.shape), []).append(i)
    for (_, _, shape), places in groups.items():
        entries = math.prod(shape)
        if 0 < entries <= _SMALL and len(places) >= _FEW:
            count = _ENTRIES_OF_STACK // entries
            yield from (places[i : i + count] for i in range(0, len(places), count))


def _run_on_stack(form: Any, arrays: list[Any]) -> dict[int, Any]:
    """Return the constrained arrays that come out as from a call of their own, by place."""
    library: Any = acceptance.accepted_by(form, arrays[0])[1]
    some = arrays[:1] if library.at_hand_by_type else arrays
    if not all(map(library.at_hand, some)):
        return {}
    if any(library.memory_order(w) is not None for w in arrays):
        return {}
    results: dict[int, Any] = library.quietly(_rescaled, form, arrays, library)
    return results


def _rescaled(form: Any, arrays: list[Any], library: Any) -> dict[int, Any]:
    axes, xp = parameters.axes_of(form, arrays[0]), library.xp
    rescaler = Rescaler(form, form.measure(arrays[0], axes, xp), library)
    value = _sizes(form, arrays, axes, library, rescaler.entries)
    if value is None:
        return {}
    change = rescaler.change_of(value, None)
    if change.nothing:
        return dict(enumerate(arrays))
    factor: Any = change.factor
    if factor is None or factor.dtype != arrays[0].dtype:
        return {}
    apart = change.apart() or [False] * len(arrays)
    moved = library.rows_with_any(~xp.equal(factor, xp.ones_like(factor)))
    chosen = [i for i, own in enumerate(apart) if moved[i] and not own]
    products = library.multiply_each([arrays[i] for i in chosen], [factor[i] for i in chosen])
    kept = {i: w for i, w in enumerate(arrays) if not (moved[i] or apart[i])}
    return kept | dict(zip(chosen, products, strict=True))


def _sizes(
    form: Any, arrays: list[Any], axes: tuple[int, ...], library: Any, entries: int
) -> Any:
    """Return the sizes of all slices as one array; None where they are scaled.

    Each array is measured in the way that it is alone. ``entries``: what a sum is divided by.
    """
    power = reductions.power_of(form)
    if power is not None:
        found = library.sums_of_each(power, arrays, axes)
        if found is not None:
            return found if entries == 1 else found / entries
    values = []
    for w in arrays:
        size = form.size(form.measure(w, axes, library.xp), library.xp)
        size = size if isinstance(size, Size) else Size(size)
        if size.scale is not None:
            return None
        values.append(size.value)
    return library.xp.stack(values)
