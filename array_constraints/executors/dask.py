"""Dask arrays larger than memory: chunks are measured, then read again and constrained."""

from __future__ import annotations

import functools
import math
from typing import Any

from array_constraints.executors import acceptance
from array_constraints.executors.dask_chunks import Chunks, ChunksInRounds
from array_constraints.executors.dask_graphs import read_again
from array_constraints.executors.needs import EVERYTHING, extent_of, needs_of
from array_constraints.typing import A, Map, name_of


def project(constraint: Map, w: A) -> A:
    r"""Return the allowed weight for a Dask array, in memory bounded by its chunks.

    The result is that of ``constraint(w)``, and as lazy. Where slices cross chunks, it takes
    two passes over the chunks :math:`w_k`,

    .. math::

        m = \operatorname{merge}_k \operatorname{measure}(w_k), \qquad
        P(w)_k = \operatorname{apply}(w_k, m),

    and the second reads them again, once all measures are there. ``constraint(w)`` reads them
    once, but Dask then holds all of them in between.

    Parameters
    ----------
    constraint
        An :class:`~array_constraints.Elementwise`, :class:`~array_constraints.Slicewise` or
        :class:`~array_constraints.WholeSlice` constraint.
    w
        A Dask array with known chunk sizes.

    Returns
    -------
    dask.array.Array
        Lazy, with the shape, dtype, chunks and meta of ``w``.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If ``w`` is not a Dask array, or its dtype is not one that ``constraint`` takes; if
        ``constraint`` has no form, or a ``__call__`` of its own.
    ValueError
        If the axis does not fit the shape, if chunk sizes are unknown, or if slices that a
        constraint needs whole cross chunks.

    Notes
    -----
    Memory: a few chunks for each worker and a few numbers for each slice, whatever the size of
    ``w``, where the chunks of the result are stored or reduced as they come. Work: about three
    tasks for each chunk, beside those of ``w``.

    All that ``w`` is computed from is computed twice where slices cross chunks, or once more
    than slices are measured by a constraint that does so in several rounds, and has to give
    the same values again: files that stay as they are, random numbers from a seed. Elsewhere
    it is computed once. The bytes of the result depend on the chunks, not on who computes it.

    Examples
    --------
    >>> import dask.array as da
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.executors.dask import project
    >>> w = da.asarray([[3.0, 0.3], [4.0, 0.4]]).rechunk((1, 2))
    >>> project(MaxNorm(1.0), w).compute(scheduler="synchronous")
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    result: A = _projected(constraint, w)
    return result


def _projected(constraint: Any, w: Any) -> Any:
    _judge(constraint, w)
    if 0 in w.shape:
        return w
    like_w = {"dtype": w.dtype, "meta": w._meta}
    crossed, needs = _crossed(constraint, w), needs_of(constraint)
    axes = extent_of(constraint, w.ndim)[0]
    in_rounds = needs not in _AT_ONCE and constraint.rounds > 1
    if needs in _AT_ONCE or (in_rounds and not crossed):
        part = functools.partial(_project_part, constraint, w.shape, axes)
        return w.map_blocks(part, **like_w)
    kind = ChunksInRounds if in_rounds else Chunks
    chunks = kind(constraint, axes, w.shape, w.chunksize, w._meta)
    if not crossed:
        return w.map_blocks(chunks.alone, **like_w)
    measures = chunks.measured(w)
    again = read_again(w, measures)
    return again.map_blocks(chunks.constrained, measures, chunks=w.chunks, **like_w)


def _judge(constraint: Any, w: Any) -> None:
    """Raise what ``project`` raises."""
    try:
        import dask.array
    except ImportError:
        raise ImportError("project needs Dask: pip install 'dask[array]'") from None
    name = name_of(type(constraint))
    if not isinstance(w, dask.array.Array):
        raise TypeError(
            f"project takes a Dask array, got {type(w).__module__}.{type(w).__qualname__}: "
            "call the constraint itself, or make w one with dask.array.from_array"
        )
    needs = needs_of(constraint)
    if needs == EVERYTHING:
        raise TypeError(
            "project takes an Elementwise, Slicewise or WholeSlice constraint without a "
            f"__call__ of its own, got {name}: call it on the array itself"
        )
    if any(math.isnan(n) for n in w.shape):
        raise ValueError(
            "project takes a Dask array with known chunk sizes, got unknown ones: call "
            "w.compute_chunk_sizes() first"
        )
    acceptance.accepted_by(constraint, w)
    if needs in _AT_ONCE and (crossed := _crossed(constraint, w)):
        axes, groups = extent_of(constraint, w.ndim)
        lengths = {i: -(-max(w.chunks[i]) // groups[i]) * groups[i] for i in crossed}
        lengths |= {i: -1 for i in crossed if i in axes}
        raise ValueError(
            f"{name} needs whole {_AT_ONCE[needs]}, and these cross chunks in dimension "
            f"{', '.join(map(str, crossed))}: pass w.rechunk({lengths})"
        )


_AT_ONCE = {"entries": "groups", "slices": "slices", "regions": "slices or blocks"}
"""What is called on chunks as they are, by what it needs, and what these have to hold."""


def _project_part(
    form: Any, shape: tuple[int, ...], axes: tuple[int, ...], block: Any, block_info: Any
) -> Any:
    """Return the allowed chunk of an array of that shape, in which slices are whole."""
    part = tuple([slice(*borders) for borders in block_info[0]["array-location"]])
    return form.for_part(shape, axes, part)(block)


def _crossed(constraint: Any, w: Any) -> list[int]:
    """Return the dimensions in which slices, or groups, cross the borders of chunks."""
    axes, groups = extent_of(constraint, w.ndim)
    parted = [any(n % groups[i] for n in w.chunks[i][:-1]) for i in range(w.ndim)]
    return [i for i in range(w.ndim) if (w.numblocks[i] > 1 if i in axes else parted[i])]
