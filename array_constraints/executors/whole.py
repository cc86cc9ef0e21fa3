"""Run a form as one expression: no value is looked at, and no compute is triggered.

Lazy arrays, traced and recorded ones, those on accelerators, and sharded ones run so.
"""

from __future__ import annotations

from typing import Any

from array_constraints import parameters
from array_constraints.libraries import of_namespace, state
from array_constraints.typing import Array, Namespace


def project(form: Any, w: Array, xp: Namespace) -> Array:
    """Return the allowed weight for all of ``w``."""
    result = _PROJECT[form.needs](form, w, xp)
    if not w.ndim:
        result = of_namespace(xp).zero_dimensional(result)
    if result.dtype != w.dtype:  # NumPy drops a foreign byte order
        result = xp.astype(result, w.dtype)
    found: Array = result
    return found


def violation(form: Any, w: Array, xp: Namespace) -> Array:
    """Return the violation of all of ``w``."""
    library = of_namespace(xp)
    if form.needs == "entries":
        result = library.by_entry(_excess_of_entries, form, w)
    elif form.needs == "regions":
        result = form.excess(w, xp)
    elif form.needs == "slices":
        axes = parameters.axes_of(form, w)
        result = library.by_whole_slice(_excess_of_slices, form, w, axes, reduced=True)
    elif form.rounds > 1:
        result = library.excess_in_rounds(form, w, parameters.axes_of(form, w))
    else:
        measure = form.measure(w, parameters.axes_of(form, w), xp)
        result = library.by_slice(form.excess, measure)
    found: Array = result if w.ndim else library.zero_dimensional(result)
    return found


def _excess_of_entries(form: Any, w: Array, xp: Namespace) -> Any:
    return form.excess(of_namespace(xp).accumulated(w), xp)


def _project_entries(form: Any, w: Array, xp: Namespace) -> Any:
    return of_namespace(xp).by_entry(_projected_entries, form, w)


def _projected_entries(form: Any, w: Array, xp: Namespace) -> Any:
    return form.project(w, xp)


def _project_by_measure(form: Any, w: Array, xp: Namespace) -> Any:
    axes, library = parameters.axes_of(form, w), of_namespace(xp)

    def value(w: Array, data: dict[str, Any]) -> Any:
        own = state.with_values(form, data)
        if own.rounds > 1:
            return library.in_rounds(own, w, axes)
        measure = own.measure(w, axes, xp)
        excess = library.by_slice(own.excess, measure)
        allowed = xp.equal(excess, xp.zeros_like(excess))
        return xp.where(allowed, w, library.by_slice(own.apply, measure, w))

    def derivative(w: Array, tangent: Array, data: dict[str, Any]) -> Any:
        return state.with_values(form, data)._stated_derivative(w, tangent, axes, xp)

    if form._stated_derivative is None:
        return value(w, {})
    return library.differentiated(value, derivative, w, state.data_of(form))


def _rescale(form: Any, w: Array, xp: Namespace) -> Any:
    """Rescale slices; what its bounds are is an operand of its own, to differentiate by."""
    rate, axes = form.interval().rate, parameters.axes_of(form, w)
    if isinstance(rate, int | float) and rate == 0:
        return w

    def value(w: Array, data: dict[str, Any]) -> Any:
        own = state.with_values(form, data)
        return of_namespace(xp).by_slice(own.apply, own.measure(w, axes, xp), w)

    def derivative(w: Array, tangent: Array, data: dict[str, Any]) -> Any:
        return state.with_values(form, data)._derivative(w, tangent, axes, xp)

    data = state.data_of(form)
    if form._derivative is None:
        return value(w, data)
    return of_namespace(xp).differentiated(value, derivative, w, data)


def _excess_of_slices(form: Any, w: Array, xp: Namespace) -> Any:
    order, back = _slices_last(form, w)
    slices = xp.permute_dims(of_namespace(xp).accumulated(w), order)
    return xp.permute_dims(form.excess(slices, xp), back)


def _project_slices(form: Any, w: Array, xp: Namespace) -> Any:
    axes = parameters.axes_of(form, w)
    return of_namespace(xp).by_whole_slice(_projected_slices, form, w, axes)


def _projected_slices(form: Any, w: Array, xp: Namespace) -> Any:
    order, back = _slices_last(form, w)
    slices = xp.permute_dims(w, order)

    def value(slices: Array, data: dict[str, Any]) -> Any:
        return state.with_values(form, data).project(slices, xp)

    def derivative(slices: Array, tangent: Array, data: dict[str, Any]) -> Any:
        return state.with_values(form, data)._stated_derivative(slices, tangent, xp)

    if getattr(form, "_stated_derivative", None) is None:
        result = form.project(slices, xp)
    else:
        data = state.data_of(form)
        result = of_namespace(xp).differentiated(value, derivative, slices, data)
    return xp.permute_dims(result, back)


def _project_region(form: Any, w: Array, xp: Namespace) -> Any:
    return form.project(w, xp)


def _slices_last(form: Any, w: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the dimensions of ``w`` with those of a slice at the end, and the way back."""
    axes = parameters.axes_of(form, w)
    order = tuple([i for i in range(w.ndim) if i not in axes]) + axes
    return order, tuple([order.index(i) for i in range(w.ndim)])


_PROJECT = {
    "entries": _project_entries,
    "measures": _project_by_measure,
    "regions": _project_region,
    "sizes": _rescale,
    "slices": _project_slices,
}
