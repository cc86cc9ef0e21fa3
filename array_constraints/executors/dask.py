"""Dask arrays larger than memory: chunks are measured, then read again and constrained."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.executors import acceptance
from array_constraints.executors.change import Change
from array_constraints.executors.grid import Column, Forest, Grid, Node
from array_constraints.executors.needs import EVERYTHING, extent_of, needs_of
from array_constraints.typing import A, Map, name_of

Nodes = tuple[Node, ...]


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

    All that ``w`` is computed from is computed twice where slices cross chunks, and has to give
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
    if needs in _AT_ONCE:
        part = functools.partial(_project_part, constraint, w.shape, axes)
        return w.map_blocks(part, **like_w)
    chunks = _Chunks(constraint, axes, w.shape, w.chunksize, w._meta)
    if not crossed:
        return w.map_blocks(chunks.alone, **like_w)
    measures = _measured(chunks, w)
    again = _read_again(w, measures)
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


def _measured(chunks: _Chunks, w: Any) -> Any:
    """Return a Dask array of objects: the measures of each column of chunks."""
    import dask.array
    import numpy

    objects = {"dtype": object, "meta": numpy.empty((0,) * w.ndim, dtype=object)}
    crossed = sum(w.numblocks[i] > 1 for i in chunks.axes)
    most = max(2, 16 >> crossed)  # powers of two: what is merged at a time is a tree of its own
    return dask.array.reduction(
        w.map_blocks(chunks.nodes, **objects),
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


@dataclass(frozen=True, eq=False)
class _Chunks:
    """The chunks of one array, measured and changed in tiles under a form on slices."""

    form: Any
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    largest: tuple[int, ...]
    """The largest chunk in each dimension: the borders of tiles follow from it."""
    meta: Any

    def alone(self, block: Any, block_info: Any) -> Any:
        """Return the allowed chunk, whose slices are whole."""
        measures = self.measures([self.nodes(block, block_info)], None, True)
        return self.constrained(block, measures, block_info)

    def nodes(self, block: Any, block_info: Any) -> Nodes:
        """Return the measures of a chunk: one for each column of its tiles."""
        found: Nodes = self._quietly(self._nodes, block, block_info[0])
        return found

    def merged(self, nodes: Any, axis: object, keepdims: bool) -> Nodes:
        """Return the nodes of some chunks of a column, merged as far as that goes."""
        del axis, keepdims
        forest: Forest = self._quietly(self._forest, nodes)
        return tuple(forest.left())

    def measures(self, nodes: Any, axis: object, keepdims: bool) -> dict[Column, Any]:
        """Return the measures of whole slices, from the nodes of all chunks of a column."""
        del axis, keepdims
        forest: Forest = self._quietly(self._forest, nodes)
        found: dict[Column, Any] = self._quietly(forest.measures)
        return found

    def constrained(self, block: Any, measures: dict[Column, Any], block_info: Any) -> Any:
        """Return the allowed chunk: a new one if anything changes, as Dask owns the block."""
        return self._quietly(self._constrained, block, measures, block_info[0])

    def _quietly(self, function: Any, *arguments: Any) -> Any:
        """Call a function so that the library of the chunks reports no roundoff."""
        return libraries.of(self.meta).quietly(_call, function, *arguments)

    def _nodes(self, block: Any, place: dict[str, Any]) -> Nodes:
        forest, number, xp = self._forest(), 0, libraries.of(block).xp
        for column, index, tile, form in self._tiles(block, place):
            forest.add(column, 0, index, form.measure(block[tile], self.axes, xp))
        for i in self.axes:
            number = number * place["num-chunks"][i] + place["chunk-location"][i]
        return tuple((column, 0, number, whole) for column, whole in forest.measures().items())

    def _constrained(
        self, block: Any, measures: dict[Column, Any], place: dict[str, Any]
    ) -> Any:
        library, result, changes = libraries.of(block), block, dict[Column, Change]()
        for column, _, tile, form in self._tiles(block, place):
            if column not in changes:
                changes[column] = Change.of(form, measures[column], library)
            if changes[column].nothing:
                continue
            if result is block:
                result = library.copied(block)
            result[tile] = changes[column].made(form, block[tile], self.axes)
        return result

    def _tiles(self, block: Any, place: dict[str, Any]) -> Iterator[Any]:
        """Return the column, index and place of each tile, and the form for its slices."""
        shape = block.shape
        part = tuple(slice(*borders) for borders in place["array-location"])
        form = self.form.for_part(self.shape, self.axes, part)
        grid = Grid(self.largest, self.axes, None, tuple(range(block.ndim)))
        for column, index, tile in grid.tiles(tuple(slice(0, n) for n in shape)):
            yield column, index, tile, form.for_part(shape, self.axes, tile)

    def _forest(self, nodes: Any = ()) -> Forest:
        """Return where measures are merged, with the nodes in nested lists added."""
        from dask.core import flatten

        xp = libraries.of(self.meta).xp
        forest = Forest(lambda a, b: self.form.merge(a, b, xp))
        for some in flatten(list(nodes)):
            forest.add_all(some)
        return forest


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
