"""The chunks of a Dask array, measured and changed in tiles under a form on slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from array_constraints import libraries
from array_constraints.executors import dask_graphs
from array_constraints.executors.change import Change
from array_constraints.executors.grid import Column, Forest, Grid, Node, Region
from array_constraints.libraries.rounds import Round, State

Nodes = tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Chunks:
    """The chunks of one array, whose slices are measured once."""

    form: Any
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    largest: tuple[int, ...]
    """The largest chunk in each dimension: the borders of tiles follow from it."""
    meta: Any

    def measured(self, w: Any) -> Any:
        """Return a Dask array of objects: the measures of each column of chunks."""
        return self._merged(w, w.map_blocks(self.nodes, **_objects(w)))

    def _merged(self, w: Any, nodes: Any) -> Any:
        """Return the measures of each column of chunks from the nodes of each chunk."""
        import dask.array

        crossed = sum(w.numblocks[i] > 1 for i in self.axes)
        most = max(2, 16 >> crossed)  # powers of two: what is merged at a time is a tree
        return dask.array.reduction(
            nodes,
            chunk=_as_they_are,
            combine=self.merged,
            aggregate=self.measures,
            axis=self.axes,
            keepdims=True,
            concatenate=False,
            split_every=dict.fromkeys(self.axes, most),
            **_objects(w),
        )

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
        forest, xp = self._forest(), libraries.of(block).xp
        for column, index, tile, form in self._tiles(block, place):
            forest.add(column, 0, index, self._measure(form, block[tile], xp))
        return self._numbered(forest, place)

    def _numbered(self, forest: Forest, place: dict[str, Any]) -> Nodes:
        """Return the measures of a chunk as nodes with its number in the column of chunks."""
        number = 0
        for i in self.axes:
            number = number * place["num-chunks"][i] + place["chunk-location"][i]
        return tuple((column, 0, number, whole) for column, whole in forest.measures().items())

    def _measure(self, form: Any, tile: Any, xp: Any) -> Any:
        return form.measure(tile, self.axes, xp)

    def _merge(self, a: Any, b: Any, xp: Any) -> Any:
        return self.form.merge(a, b, xp)

    def _change(self, form: Any, measure: Any, library: Any) -> Change:
        return Change.of(form, measure, library)

    def _form_of(self, measure: Any, form: Any, place: dict[str, Any], tile: Region) -> Any:
        """Return the form that changes a tile, of which ``form`` is the one for it."""
        return form

    def _for_tile(self, form: Any, place: dict[str, Any], tile: Region) -> Any:
        """Return a form for a tile of a chunk that is at ``place``."""
        starts = [start for start, _ in place["array-location"]]
        pairs = zip(tile, starts, strict=True)
        part = tuple([slice(p.start + start, p.stop + start) for p, start in pairs])
        return form.for_part(self.shape, self.axes, part)

    def _constrained(
        self, block: Any, measures: dict[Column, Any], place: dict[str, Any]
    ) -> Any:
        library, result, changes = libraries.of(block), block, dict[Column, Change]()
        for column, _, tile, form in self._tiles(block, place):
            if column not in changes:
                changes[column] = self._change(form, measures[column], library)
            if changes[column].nothing:
                continue
            if result is block:
                result = library.copied(block)
            own = self._form_of(measures[column], form, place, tile)
            result[tile] = changes[column].made(own, block[tile], self.axes)
        return result

    def _tiles(self, block: Any, place: dict[str, Any]) -> Iterator[Any]:
        """Return the column, index and place of each tile, and the form for its slices."""
        grid = Grid(self.largest, self.axes, None, tuple(range(block.ndim)))
        for column, index, tile in grid.tiles(tuple(slice(0, n) for n in block.shape)):
            yield column, index, tile, self._for_tile(self.form, place, tile)

    def _forest(self, nodes: Any = ()) -> Forest:
        """Return where measures are merged, with the nodes in nested lists added."""
        from dask.core import flatten

        xp = libraries.of(self.meta).xp
        forest = Forest(lambda a, b: self._merge(a, b, xp))
        for some in flatten(list(nodes)):
            forest.add_all(some)
        return forest


@dataclass(frozen=True, eq=False)
class ChunksInRounds(Chunks):
    """The chunks of one array, whose slices are measured until no form asks for more.

    Measures are a :class:`Round`, and those of whole slices in the end a :class:`State`.
    """

    def measured(self, w: Any) -> Any:
        """Return the states of each column of chunks; it is read no more once all are done."""
        objects = _objects(w)
        states = super().measured(w).map_blocks(self.begun, **objects)
        for _ in range(1, self.form.rounds):
            again = dask_graphs.read_unless(w, _done(states))
            nodes = again.map_blocks(self.nodes_again, states, chunks=w.chunks, **objects)
            states = states.map_blocks(self.followed, self._merged(w, nodes), **objects)
        return states

    def begun(self, rounds: dict[Column, Round]) -> dict[Column, State]:
        """Return the states after the first round."""
        xp = libraries.of(self.meta).xp
        return {column: self._quietly(whole.begun, xp) for column, whole in rounds.items()}

    def nodes_again(self, block: Any, states: dict[Column, State], block_info: Any) -> Nodes:
        """Return the rounds of a chunk, for the columns that need one more."""
        if block is None:
            return ()
        found: Nodes = self._quietly(self._nodes_again, block, states, block_info[0])
        return found

    def _nodes_again(
        self, block: Any, states: dict[Column, State], place: dict[str, Any]
    ) -> Nodes:
        forest, xp = self._forest(), libraries.of(block).xp
        for column, index, tile, _ in self._tiles(block, place):
            following = states[column].following
            if following is not None:
                own = self._for_tile(following, place, tile)
                again = Round(following, own.measure(block[tile], self.axes, xp))
                forest.add(column, 0, index, again)
        return self._numbered(forest, place)

    def followed(
        self, states: dict[Column, State], rounds: dict[Column, Round]
    ) -> dict[Column, State]:
        """Return the states after one more round of some columns."""
        xp = libraries.of(self.meta).xp
        new = {
            column: self._quietly(states[column].followed, whole, xp)
            for column, whole in rounds.items()
        }
        return states | new

    def _measure(self, form: Any, tile: Any, xp: Any) -> Round:
        return Round(form, form.measure(tile, self.axes, xp))

    def _merge(self, a: Round, b: Round, xp: Any) -> Round:
        return a.merged(b, xp)

    def _change(self, form: Any, measure: State, library: Any) -> Change:
        measure.check_done()
        return Change.of(measure.last.form, measure.last.measure, library)

    def _form_of(self, measure: State, form: Any, place: dict[str, Any], tile: Region) -> Any:
        if measure.last is measure.first:
            return form
        return self._for_tile(measure.last.form, place, tile)


def _done(states: Any) -> Any:
    """Return lazily whether no column of any chunk has a form that asks for another round."""
    import dask.array

    return dask.array.reduction(
        states,
        chunk=_is_done,
        combine=_are_done,
        aggregate=_are_done,
        concatenate=False,
        dtype=bool,
        meta=states._meta,
    )


def _is_done(states: dict[Column, State], axis: object, keepdims: bool) -> bool:
    return all(state.following is None for state in states.values())


def _are_done(parts: Any, axis: object, keepdims: bool) -> bool:
    from dask.core import flatten

    return all(flatten([parts]))


def _objects(w: Any) -> dict[str, Any]:
    import numpy

    return {"dtype": object, "meta": numpy.empty((0,) * w.ndim, dtype=object)}


def _as_they_are(nodes: Nodes, axis: object, keepdims: bool) -> Nodes:
    return nodes


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
