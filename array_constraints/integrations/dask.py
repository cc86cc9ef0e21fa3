"""Dask arrays larger than memory: chunks are measured, then read again and constrained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import _arrays, execution
from array_constraints.constraint import Elementwise, Form, Slicewise, WholeSlice
from array_constraints.files.grid import Column, Forest, Grid, Node, Region


def project(constraint: Form, w: Any) -> Any:
    r"""Return the allowed weight for a Dask array in memory bounded by its chunks.

    The result is that of ``constraint(w)``, and as lazy: its graph holds two passes where
    slices cross chunks,

    .. math::

        m = \operatorname{merge}_k \operatorname{measure}(w_k), \qquad
        P(w)_k = \operatorname{apply}(w_k, m),

    and the second pass reads each chunk :math:`w_k` anew, once all measures :math:`m` are
    there. ``constraint(w)`` reads it once, but Dask then holds all of ``w`` in between.

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
        If ``w`` is not a Dask array, if its dtype is not one that ``constraint`` takes, or if
        ``constraint`` has no form, or a ``__call__`` of its own.
    ValueError
        If the axis does not fit the shape, if chunk sizes are unknown, or if a whole-slice
        constraint has slices that cross chunks.

    Notes
    -----
    Memory: a few chunks for each worker, and a few numbers for each slice that crosses chunks,
    whatever the size of ``w``; while the chunks of the result are stored or reduced as they
    come. Work: at most three tasks for each chunk, beside those of ``w``.

    Everything that ``w`` is made from is computed twice where slices cross chunks, and has to
    give the same values again: files that stay as they are, random numbers from a seed. Where
    no slice does, or each entry is on its own, it is computed once. Measures are merged in an
    order that follows from the chunks alone: threads and clusters give the same bytes.

    Examples
    --------
    >>> import dask.array as da
    >>> from array_constraints import MaxNorm
    >>> w = da.asarray([[3.0, 0.3], [4.0, 0.4]]).rechunk((1, 2))
    >>> project(MaxNorm(1.0), w).compute(scheduler="synchronous")
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    w, axes = _accepted(constraint, w)
    if 0 in w.shape:
        return w
    like_w = {"dtype": w.dtype, "meta": w._meta}
    if not isinstance(constraint, Slicewise):
        return w.map_blocks(constraint, **like_w)
    chunks = _Chunks(constraint, w.shape, axes, w.chunksize, w._meta)
    if _cut(w, axes):
        return _read_twice(chunks, w).map_blocks(chunks.constrained, **like_w)
    return w.map_blocks(chunks.whole, **like_w)
