"""One constraint on several arrays whose slices belong together: a kernel and its bias."""

from __future__ import annotations

import copy as copying
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from array_constraints import parameters
from array_constraints.executors import acceptance, run
from array_constraints.executors.change import Change
from array_constraints.executors.needs import needs_of
from array_constraints.libraries import of_namespace, state
from array_constraints.typing import A, AxisLike, name_of


def apply_jointly(
    constraint: Any,
    arrays: Sequence[A],
    axes: Sequence[AxisLike],
    *,
    copy: bool | None = None,
) -> list[A]:
    r"""Return arrays constrained as the parts of one weight, whose slices belong together.

    Slice :math:`j` of that weight is slice :math:`j` of each array, taken together: the column
    of a kernel and the entry of the bias are all that goes into one unit.

    .. math::

        (P(w_1), P(w_2), \dots) = P((w_1, w_2, \dots)), \qquad \text{slice by slice}

    Parameters
    ----------
    constraint
        A constraint that states a form, on entries or on slices. Its own ``axis`` is not asked;
        bounds that differ between slices, or entries, are those of the whole slices.
    arrays
        Of one library and dtype; each has as many slices as the others, in C order of the
        dimensions that slices do not run along.
    axes
        For each array, the dimension or dimensions that a slice runs along; ``None`` for none:
        each entry is the part of a slice, that of its index.
    copy
        As when the constraint is called, for each array.

    Raises
    ------
    TypeError
        If an array is none, or its dtype is not one that the constraint takes; if libraries or
        dtypes differ; if the constraint states no form, or combines others.
    ValueError
        If ``axes`` do not fit, if the numbers of slices differ, or the bounds are not as many;
        if ``copy=False`` and one of the arrays cannot be written. Nothing is written then.

    Notes
    -----
    A constraint that measures slices measures each array, and merges: nothing is concatenated,
    and one decision holds for all parts of a slice. Satisfied slices come back bit for bit.
    One that needs all entries of a slice at once, or several rounds of measuring, gets them as
    one array. Lazy, traced and
    recorded arrays are taken as by a call; derivatives are those of the steps.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm, apply_jointly
    >>> kernel, bias = np.asarray([[3.0, 0.3]]), np.asarray([4.0, 0.4])
    >>> apply_jointly(MaxNorm(1.0), [kernel, bias], axes=[0, None])
    [array([[0.6, 0.3]]), array([0.8, 0.4])]
    """
    joint = _judged(constraint, list(arrays), list(axes), copy)
    if joint.form.needs == "entries":
        return [run.called(joint.form, w, copy) for w in joint.arrays]
    results = dict(zip(joint.places, _constrained(joint), strict=True))
    found = [results.get(i, w) for i, w in enumerate(joint.arrays)]
    return [
        run.deliver(w, result, copy, joint.library)
        for w, result in zip(joint.arrays, found, strict=True)
    ]


class _Joint(NamedTuple):
    """Arrays, as the rows of one array of two dimensions have their entries."""

    form: Any
    """The constraint, whose slices are these rows."""
    arrays: list[Any]
    axes: list[tuple[int, ...]]
    library: Any

    @property
    def places(self) -> list[int]:
        """Which of the arrays have entries: the others stay as they are."""
        return [i for i, w in enumerate(self.arrays) if 0 not in w.shape]

    def order(self, i: int) -> tuple[int, ...]:
        """Return the dimensions of an array with those of a slice at the end."""
        others = [k for k in range(self.arrays[i].ndim) if k not in self.axes[i]]
        return (*others, *self.axes[i])

    def rows(self, i: int) -> Any:
        """Return an array with a row for each slice."""
        w, xp = self.arrays[i], self.library.xp
        slices = parameters.number_of_slices(w.shape, self.axes[i])
        shape = (slices, math.prod([w.shape[k] for k in self.axes[i]]))
        if w.shape == shape and self.axes[i] == (1,):
            return w
        return xp.reshape(xp.permute_dims(w, self.order(i)), shape)

    def placed(self, i: int, rows: Any) -> Any:
        """Return rows as the array of which they are."""
        w, xp, order = self.arrays[i], self.library.xp, self.order(i)
        wide = xp.reshape(rows, tuple([w.shape[k] for k in order]))
        return xp.permute_dims(wide, tuple([order.index(k) for k in range(w.ndim)]))


def _constrained(joint: _Joint) -> list[Any]:
    """Return the results of the arrays that have entries."""
    if not joint.places:
        return []
    form, library, rows = joint.form, joint.library, tuple(map(joint.rows, joint.places))
    if form.needs == "measures" and form.rounds > 1:
        whole = form(library.xp.concat(rows, axis=1))
        results = [whole[:, part] for part in _places(rows)]
    elif form.needs != "slices" and all(map(library.at_hand, rows)):
        results = library.quietly(_changed, form, rows, library.xp)
    else:
        results = library.quietly(library.run, _projected, form, rows)
    return [
        joint.arrays[i] if result is own else joint.placed(i, result)
        for i, own, result in zip(joint.places, rows, results, strict=True)
    ]


def _changed(form: Any, rows: tuple[Any, ...], xp: Any) -> list[Any]:
    """Return the allowed rows of arrays at hand, themselves where nothing changes."""
    change = Change.of(form, _measured(form, rows, xp), of_namespace(xp))
    return [change.made(part, own, (1,)) for part, own in _parts(form, rows)]


def _projected(form: Any, rows: tuple[Any, ...], xp: Any) -> tuple[Any, ...]:
    """Return the allowed rows as one expression: no value is looked at."""
    if form.needs == "slices":
        result = form.project(xp.concat(rows, axis=1), xp)
        return tuple(result[:, part] for part in _places(rows))
    library, measure = of_namespace(xp), _measured(form, rows, xp)
    excess = library.by_slice(form.excess, measure)
    allowed = xp.equal(excess, xp.zeros_like(excess))
    return tuple(
        xp.where(allowed, own, library.by_slice(part.apply, measure, own))
        for part, own in _parts(form, rows)
    )


def _measured(form: Any, rows: tuple[Any, ...], xp: Any) -> Any:
    measures = (part.measure(own, (1,), xp) for part, own in _parts(form, rows))
    return functools.reduce(lambda a, b: form.merge(a, b, xp), measures)


def _parts(form: Any, rows: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of each array, and the form for that part of the slices."""
    places = list(_places(rows))
    shape = (rows[0].shape[0], places[-1].stop)
    for part, own in zip(places, rows, strict=True):
        yield form.for_part(shape, (1,), (slice(0, shape[0]), part)), own


def _places(rows: tuple[Any, ...]) -> Iterator[slice]:
    """Yield where in a slice the entries of each array are."""
    stops = list(itertools.accumulate(own.shape[1] for own in rows))
    yield from (slice(*ends) for ends in itertools.pairwise([0, *stops]))


def _judged(constraint: Any, arrays: list[Any], axes: list[Any], copy: bool | None) -> _Joint:
    """Return what is to be done, or raise what ``apply_jointly`` raises."""
    name = name_of(type(constraint))
    if needs_of(constraint) not in ("entries", "measures", "sizes", "slices"):
        raise TypeError(
            f"apply_jointly takes a constraint that states a form on entries or slices, got "
            f"{name}: apply the constraints that it is made of, one after the other"
        )
    if len(arrays) != len(axes) or not arrays:
        raise ValueError(
            f"apply_jointly takes arrays, and axes for each: got {len(arrays)} and {len(axes)}"
        )
    accepted = [acceptance.accepted(name, w, copy) for w in arrays]
    taken = [w for w, _ in accepted]
    kinds = {(library, library.name_of(w.dtype)) for w, library in accepted}
    if len(kinds) > 1:
        shown = ", ".join(f"{type(w).__module__.split('.')[0]} {w.dtype}" for w in taken)
        raise TypeError(f"apply_jointly takes arrays of one library and dtype, got {shown}")
    along = [
        ()
        if given is None
        else parameters.normalized_axes(name, parameters.axis(given), w.ndim)
        for w, given in zip(taken, axes, strict=True)
    ]
    joint = _Joint(_along_rows(constraint), taken, along, accepted[0][1])
    if joint.form.needs == "entries":
        for w in taken:
            constraint.validate(w)
    else:
        _require_one_shape(joint, name)
    return joint


def _along_rows(form: Any) -> Any:
    """Return a form whose slices are the rows of an array of two dimensions."""
    if hasattr(form, "with_members"):
        return form.with_members(_along_rows)
    if not hasattr(form, "axis") or form.needs == "entries":
        return form
    if state.is_frozen_with(form, "axis"):
        return state.with_values(form, {"axis": 1})
    other = copying.copy(form)
    object.__setattr__(other, "axis", 1)
    return other


def _require_one_shape(joint: _Joint, name: str) -> None:
    """Raise where slices, or bounds of them, are not as many; or a form takes no such array."""
    pairs = list(zip(joint.arrays, joint.axes, strict=True))
    counts = [parameters.number_of_slices(w.shape, axes) for w, axes in pairs]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{name}: arrays must have equally many slices, got {counts} along axes "
            f"{[axes or None for axes in joint.axes]} of shapes "
            f"{[tuple(w.shape) for w in joint.arrays]}"
        )
    entries = sum(math.prod([w.shape[k] for k in axes]) for w, axes in pairs)
    forms = [joint.form, *getattr(joint.form, "members", tuple)()]
    for form in forms:
        for field, numbers in state.numbers_of(form).items():
            by_entry = field in getattr(form, "_by_entry", ())
            expected, what = (entries, "entries") if by_entry else (counts[0], "slices")
            if len(numbers) != expected:
                raise ValueError(
                    f"{name}: {field} has {len(numbers)} numbers, there are {expected} {what}"
                )
    rows = tuple(map(joint.rows, joint.places))
    for part, own in _parts(joint.form, rows) if rows else ():
        part.validate(own)
