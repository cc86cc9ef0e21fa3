"""Dask arrays larger than memory: chunks are measured, then read again and constrained."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import _arrays
from array_constraints._change import Change, changed
from array_constraints.constraint import Elementwise, Form, Slicewise, WholeSlice
from array_constraints.files.grid import Column, Forest, Grid, Node

Nodes = tuple[Node, ...]


def project(constraint: Form, w: Any) -> Any:
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

    All that ``w`` is computed from is computed twice where slices cross chunks, and has to give
    the same values again: files that stay as they are, random numbers from a seed. Elsewhere
    it is computed once. The bytes of the result depend on the chunks, not on who computes it.

    Examples
    --------
    >>> import dask.array as da
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.integrations.dask import project
    >>> w = da.asarray([[3.0, 0.3], [4.0, 0.4]]).rechunk((1, 2))
    >>> project(MaxNorm(1.0), w).compute(scheduler="synchronous")
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    _judge(constraint, w)
    if 0 in w.shape:
        return w
    like_w = {"dtype": w.dtype, "meta": w._meta}
    crossed = _crossed(constraint, w)
    if not isinstance(constraint, Slicewise) or (constraint.uniform and not crossed):
        return w.map_blocks(constraint, **like_w)
    chunks = _Chunks(constraint, constraint.axes(w), w.shape, w.chunksize, w._meta)
    if not crossed:
        return w.map_blocks(chunks.alone, **like_w)
    measures = _measured(chunks, w)
    again = _read_again(w, measures)
    return again.map_blocks(chunks.constrained, measures, chunks=w.chunks, **like_w)


def _judge(constraint: Form, w: Any) -> None:
    """Raise what ``project`` raises."""
    try:
        import dask.array
    except ImportError:
        raise ImportError("project needs Dask: pip install 'array-constraints[dask]'") from None
    name = type(constraint).__name__
    if not isinstance(w, dask.array.Array):
        raise TypeError(
            f"project takes a Dask array, got {type(w).__module__}.{type(w).__qualname__}: "
            "call the constraint itself, or make w one with dask.array.from_array"
        )
    forms = Elementwise | Slicewise | WholeSlice
    if not isinstance(constraint, forms) or type(constraint).__call__ is not Form.__call__:
        raise TypeError(
            "project takes an Elementwise, Slicewise or WholeSlice constraint without a "
            f"__call__ of its own, got {name}: call it on the array itself"
        )
    if any(math.isnan(n) for n in w.shape):
        raise ValueError(
            "project takes a Dask array with known chunk sizes, got unknown ones: call "
            "w.compute_chunk_sizes() first"
        )
    constraint._accepted(w)
    if isinstance(constraint, WholeSlice) and (crossed := _crossed(constraint, w)):
        raise ValueError(
            f"{name} needs whole slices, and these cross chunks in dimension "
            f"{', '.join(map(str, crossed))}: pass w.rechunk({dict.fromkeys(crossed, -1)})"
        )


def _crossed(constraint: Form, w: Any) -> list[int]:
    """Return the dimensions in which slices cross the borders of chunks."""
    axes = constraint.axes(w) if isinstance(constraint, Slicewise | WholeSlice) else ()
    return [i for i in axes if w.numblocks[i] > 1]


def _measured(chunks: _Chunks, w: Any) -> Any:
    """Return a Dask array of objects: the measures of each column of chunks."""
    import dask.array
    import numpy

    objects = {"dtype": object, "meta": numpy.empty((0,) * w.ndim, dtype=object)}
    ones = tuple(
        (1,) * n if i in chunks.axes else w.chunks[i] for i, n in enumerate(w.numblocks)
    )
    crossed = sum(w.numblocks[i] > 1 for i in chunks.axes)
    most = max(2, 16 >> crossed)  # powers of two: what is merged at a time is a tree of its own
    return dask.array.reduction(
        w.map_blocks(chunks.nodes, chunks=ones, **objects),
        chunk=_as_they_are,
        combine=chunks.merged,
        aggregate=chunks.measures,
        axis=chunks.axes,
        keepdims=True,
        concatenate=False,
        split_every=dict.fromkeys(chunks.axes, most),
        **objects,
    )


def _as_they_are(nodes: Nodes, axis: object, keepdims: bool) -> Nodes:
    return nodes


def _read_again(w: Any, after: Any) -> Any:
    """Return ``w`` by tasks of its own, the first of which wait for another Dask array.

    ``dask.graph_manipulation.bind`` is there for this, but where layers are not blockwise it
    goes on with the old tasks: https://github.com/dask/dask/issues/12455.
    """
    from dask._task_spec import GraphNode, Task, TaskRef, convert_legacy_task
    from dask.array import Array
    from dask.base import clone_key
    from dask.core import flatten
    from dask.graph_manipulation import checkpoint
    from dask.highlevelgraph import HighLevelGraph

    graph = dict(w.__dask_graph__().cull(set(flatten(w.__dask_keys__()))))
    nodes = {key: convert_legacy_task(key, value, graph) for key, value in graph.items()}
    tasks = {key for key, node in nodes.items() if isinstance(node, Task)}
    names = {key: clone_key(key, after.name) for key in graph}
    signal, anew = checkpoint(after), {}
    for key, node in nodes.items():
        name = names[key]
        if not isinstance(node, GraphNode) or key in node.dependencies:  # data, or a future
            anew[name] = graph[key]
            continue
        anew[name] = node.substitute(names, key=name)
        if key in tasks and not node.dependencies & tasks:
            wait, producer = TaskRef(signal.key), node.data_producer
            anew[name] = Task(name, _first, anew[name], wait, _data_producer=producer)
    name = clone_key(w.name, after.name)
    layers = HighLevelGraph.from_collections(name, anew, dependencies=[signal])
    return Array(layers, name, w.chunks, meta=w._meta, dtype=w.dtype)


def _first(value: Any, signal: None) -> Any:
    return value


def _quiet(method: Any) -> Any:
    """Return a method of chunks in which their library reports no roundoff."""

    @functools.wraps(method)
    def run(self: _Chunks, *arguments: Any, **named: Any) -> Any:
        library = _arrays.library(_arrays.namespace(self.meta))
        return library.quiet(method)(self, *arguments, **named)

    return run


@dataclass(frozen=True, eq=False)
class _Chunks:
    """What is done with the chunks of one array, in tiles, under a constraint on slices."""

    constraint: Slicewise
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    largest: tuple[int, ...]
    """The largest chunk in each dimension: the borders of tiles follow from it."""
    meta: Any

    @_quiet
    def alone(self, block: Any, block_info: Any) -> Any:
        """Return the allowed chunk, whose slices are whole."""
        measures = self._forest([self.nodes(block, block_info)]).measures()
        return self.constrained(block, measures, block_info)

    @_quiet
    def nodes(self, block: Any, block_info: Any) -> Nodes:
        """Return the measures of a chunk: one for each column of its tiles."""
        forest, place, number = self._forest(), block_info[0], 0
        for column, index, tile, form, memory, xp in self._tiles(block, block_info):
            if memory is None:
                measure = form.measure(block[tile], self.axes, xp)
            else:
                measure = form.measure_in_memory(block[tile], self.axes, memory, xp)
            forest.add(column, 0, index, measure)
        for i in self.axes:
            number = number * place["num-chunks"][i] + place["chunk-location"][i]
        return tuple((column, 0, number, whole) for column, whole in forest.measures().items())

    @_quiet
    def merged(self, nodes: Any, axis: object, keepdims: bool) -> Nodes:
        """Return the nodes of some chunks of a column, merged as far as that goes."""
        del axis, keepdims
        return tuple(self._forest(nodes).left())

    @_quiet
    def measures(self, nodes: Any, axis: object, keepdims: bool) -> dict[Column, Any]:
        """Return the measures of whole slices, from the nodes of all chunks of a column."""
        del axis, keepdims
        return self._forest(nodes).measures()

    @_quiet
    def constrained(self, block: Any, measures: dict[Column, Any], block_info: Any) -> Any:
        """Return the allowed chunk: a new one if anything changes, as Dask owns the block."""
        result, changes = block, dict[Column, Change]()
        for column, _, tile, form, memory, xp in self._tiles(block, block_info):
            measure = measures[column]
            if column not in changes:
                changes[column] = None if memory is None else form.factor(measure, memory, xp)
            change = changes[column]
            if isinstance(change, float):
                continue
            if result is block:
                result = _arrays.library(xp).copied(block, xp)
            result[tile] = changed(form, block[tile], measure, change, xp)
        return result

    def _tiles(self, block: Any, block_info: Any) -> Iterator[Any]:
        """Return the column, index and place of each tile, and how to work on it."""
        xp, shape = _arrays.namespace(block), block.shape
        part = tuple(slice(*borders) for borders in block_info[0]["array-location"])
        form = self.constraint.for_slices(self.shape, self.axes, part)
        grid = Grid(self.largest, self.axes, None, tuple(range(block.ndim)))
        for column, index, tile in grid.tiles(tuple(slice(0, n) for n in shape)):
            memory = _arrays.in_memory(block[tile], xp)
            yield column, index, tile, form.for_slices(shape, self.axes, tile), memory, xp

    def _forest(self, nodes: Any = ()) -> Forest:
        """Return where measures are merged, with the nodes in nested lists added."""
        from dask.core import flatten

        xp = _arrays.namespace(self.meta)
        forest = Forest(lambda a, b: self.constraint.merge(a, b, xp))
        for some in flatten(list(nodes)):
            forest.add_all(some)
        return forest
