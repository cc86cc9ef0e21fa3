"""Dask graphs whose arrays are computed once more, after something else, or not at all."""

from __future__ import annotations

import functools
from typing import Any


def read_again(w: Any, after: Any) -> Any:
    """Return ``w`` by tasks of its own, the first of which wait for another Dask array.

    ``dask.graph_manipulation.bind`` is there for this, but where layers are not blockwise it
    goes on with the old tasks: https://github.com/dask/dask/issues/12455.
    """
    from dask._task_spec import Task, TaskRef
    from dask.graph_manipulation import checkpoint

    signal = checkpoint(after)

    def made(name: Any, node: Any, is_first: bool) -> Any:
        if not is_first:
            return node
        producer = node.data_producer
        return Task(name, _value, node, TaskRef(signal.key), _data_producer=producer)

    return _anew(w, after.name, signal, made)


def read_unless(w: Any, done: Any) -> Any:
    """Return ``w`` by tasks of its own, each of which does nothing, and gives None, if done.

    ``done`` is a Dask array without dimensions, whose block is True or False.
    """
    from dask._task_spec import Task, TaskRef

    signal = TaskRef(done.__dask_keys__()[0])

    def made(name: Any, node: Any, is_first: bool) -> Any:
        keys = tuple(node.dependencies)
        function = functools.partial(_value_unless, node, keys)
        refs, producer = map(TaskRef, keys), node.data_producer
        return Task(name, function, signal, *refs, _data_producer=producer)

    return _anew(w, done.name, done, made)


def _anew(w: Any, seed: Any, signal: Any, made: Any) -> Any:
    """Return ``w`` with other names, and tasks that ``made`` has of the old ones."""
    from dask._task_spec import GraphNode, Task, convert_legacy_task
    from dask.array import Array
    from dask.base import clone_key
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph

    graph = dict(w.__dask_graph__().cull(set(flatten(w.__dask_keys__()))))
    nodes = {key: convert_legacy_task(key, value, graph) for key, value in graph.items()}
    tasks = {key for key, node in nodes.items() if isinstance(node, Task)}
    names, anew = {key: clone_key(key, seed) for key in graph}, {}
    for key, node in nodes.items():
        name = names[key]
        if not isinstance(node, GraphNode) or key in node.dependencies:  # data, or a future
            anew[name] = graph[key]
            continue
        anew[name] = node.substitute(names, key=name)
        if key in tasks:
            anew[name] = made(name, anew[name], not node.dependencies & tasks)
    name = clone_key(w.name, seed)
    layers = HighLevelGraph.from_collections(name, anew, dependencies=[signal])
    return Array(layers, name, w.chunks, meta=w._meta, dtype=w.dtype)


def _value(value: Any, signal: None) -> Any:
    return value


def _value_unless(node: Any, keys: tuple[Any, ...], done: bool, *values: Any) -> Any:
    return None if done else node(dict(zip(keys, values, strict=True)))
