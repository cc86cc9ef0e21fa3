"""Rounds of measuring on Dask arrays: each is a task for a chunk, and one for those merged.

How many rounds are needed is known once they are computed; the graph has as many as the form
says, and the tasks of those that are not needed do nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import dask.array
import numpy
from array_api_compat import array_namespace
from dask.core import flatten

from array_constraints.libraries.rounds import Round, State
from array_constraints.typing import Namespace


def projected(form: Any, w: Any, axes: tuple[int, ...]) -> Any:
    """Return a Dask array projected lazily; a chunk of whole slices by itself."""
    like: dict[str, Any] = {"dtype": w.dtype, "meta": w._meta}
    known = {"form": form, "shape": w.shape, "axes": axes}
    if all(w.numblocks[i] == 1 for i in axes):
        return w.map_blocks(_alone, **known, **like)
    xp, objects = array_namespace(w._meta), _objects(w)
    state = _whole(form, w, axes).map_blocks(_begun, xp=xp, **objects)
    for _ in range(1, form.rounds):
        again = w.map_blocks(
            _measured_again, state, shape=w.shape, axes=axes, chunks=w.chunks, **objects
        )
        state = state.map_blocks(_followed, _merged_chunks(again, axes, xp), xp=xp, **objects)
    return w.map_blocks(_applied, state, shape=w.shape, axes=axes, chunks=w.chunks, **like)


def excess(form: Any, w: Any, axes: tuple[int, ...], wide: Any) -> Any:
    """Return the excess of each slice lazily, from the measure by which it is projected.

    ``wide`` is ``w`` in the dtype of its accumulator.
    """
    like: dict[str, Any] = {"dtype": wide.dtype, "meta": wide._meta}
    return _whole(form, w, axes).map_blocks(_excess, xp=array_namespace(w._meta), **like)


def _objects(w: Any) -> dict[str, Any]:
    return {"dtype": object, "meta": numpy.empty((0,) * w.ndim, dtype=object)}


def _whole(form: Any, w: Any, axes: tuple[int, ...]) -> Any:
    """Return the first round of whole slices, an object for each column of chunks."""
    known = {"form": form, "shape": w.shape, "axes": axes}
    measured = w.map_blocks(_measured, **known, **_objects(w))
    return _merged_chunks(measured, axes, array_namespace(w._meta))


def _merged_chunks(parts: Any, axes: tuple[int, ...], xp: Namespace) -> Any:
    combine = functools.partial(_merged, xp=xp)
    return dask.array.reduction(
        parts,
        chunk=_as_they_are,
        combine=combine,
        aggregate=combine,
        axis=axes,
        keepdims=True,
        concatenate=False,
        **_objects(parts),
    )


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(numpy.errstate(all="ignore")(function))


def _form_for(form: Any, shape: tuple[int, ...], axes: tuple[int, ...], info: Any) -> Any:
    if any(n != n for n in shape):  # chunks of unknown size
        return form
    part = tuple([slice(*borders) for borders in info[0]["array-location"]])
    return form.for_part(shape, axes, part)


def _alone(
    block: Any, form: Any, shape: tuple[int, ...], axes: tuple[int, ...], block_info: Any = None
) -> Any:
    return _form_for(form, shape, axes, block_info)(block)


@_quiet
def _measured(
    block: Any, form: Any, shape: tuple[int, ...], axes: tuple[int, ...], block_info: Any = None
) -> Round | None:
    if not block.size:
        return None
    own = _form_for(form, shape, axes, block_info)
    return Round(own, own.measure(block, axes, array_namespace(block)))


@_quiet
def _measured_again(
    block: Any,
    state: State | None,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    block_info: Any = None,
) -> Round | None:
    if state is None or state.following is None or not block.size:
        return None
    form = state.following
    own = _form_for(form, shape, axes, block_info)
    return Round(form, own.measure(block, axes, array_namespace(block)))


def _as_they_are(part: Any, axis: object, keepdims: bool) -> Any:
    return part


@_quiet
def _merged(parts: Any, axis: object, keepdims: bool, xp: Namespace) -> Round | None:
    """Return the round of some chunks; None where there was nothing to measure."""
    found = [part for part in flatten([parts]) if part is not None]
    if not found:
        return None
    whole: Round = functools.reduce(lambda a, b: a.merged(b, xp), found)
    return whole


@_quiet
def _begun(first: Round | None, xp: Namespace) -> State | None:
    return first and first.begun(xp)


@_quiet
def _followed(state: State | None, found: Round | None, xp: Namespace) -> State | None:
    if state is None or found is None:
        return state
    return state.followed(found, xp)


@_quiet
def _excess(first: Round, xp: Namespace) -> Any:
    return first.form.excess(first.measure, xp)


@_quiet
def _applied(
    block: Any,
    state: State | None,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    block_info: Any = None,
) -> Any:
    if state is None:
        return block
    state.check_done()
    (form, measure), xp = state.last, array_namespace(block)
    if state.last is not state.first:  # which is for the slices of this chunk already
        form = _form_for(form, shape, axes, block_info)
    excess = form.excess(measure, xp)
    applied = form.apply(block, measure, xp)
    return xp.where(xp.equal(excess, xp.zeros_like(excess)), block, applied)
