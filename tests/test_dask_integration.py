"""Dask arrays in two passes: lazy, right, read as often as promised, in bounded memory."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from libraries import DTYPES, ROUNDOFF, bits

from array_constraints import (
    Constraint,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    Slicewise,
    UnitNorm,
    WholeSlice,
    reductions,
)
from array_constraints.executors.dask import project

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

NORMS = [MaxNorm(1.0), MinMaxNorm(0.5, 1.0), MinMaxNorm(1.5, 2.0, rate=0.5), UnitNorm()]
CHUNKS = [(25, 11), (96, 15), ((1, 90, 0, 5), (20, 20))]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def weight(dtype: str = "float32", shape=(96, 40)) -> np.ndarray:
    w = np.random.default_rng(0).standard_normal(shape) * np.geomspace(1e-3, 1e3, shape[-1])
    return w.astype(DTYPES[dtype])


def computed(w) -> np.ndarray:
    return w.compute(scheduler="synchronous")


def edges(w) -> dict:
    """What each task of an array waits for."""
    graph = dict(w.__dask_graph__())
    return {key: dask.core.get_dependencies(graph, key) for key in graph}


def assert_agree(result: np.ndarray, expected: np.ndarray, entries: int) -> None:
    """Within twice the tolerance of the contract, and the rounding of an entry."""
    name = str(expected.dtype)
    assert result.dtype == expected.dtype
    half = name in ("float16", "bfloat16")
    tolerance = 2.05 if half else 12 + 1.5 * math.ceil(math.log2(entries))
    tiny = 2.0**-24 if name == "float16" else 0.0  # the spacing of its subnormal numbers
    a, b = result.astype(np.float64), expected.astype(np.float64)
    allowed = (2 * tolerance + 2) * ROUNDOFF[name] * np.abs(b) + tiny
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    assert (same | (np.abs(a - b) <= allowed)).all()


class Source:
    """A Dask array of ones, made chunk by chunk; ``reads`` are the chunks that were made."""

    def __init__(self, chunks=((4,) * 4, (4,) * 4)) -> None:
        self.reads: list[tuple[int, ...]] = []
        meta = np.empty((0, 0))
        self.array = da.map_blocks(self._read, chunks=chunks, dtype=float, meta=meta)

    def __dask_tokenize__(self):
        return "source", id(self)

    def _read(self, block_info=None):
        self.reads.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"])


class ZeroMean(Slicewise):
    """Slices whose entries add up to zero; not a multiple of what they were."""

    axis = 0

    def measure(self, block, axes, xp):
        total = xp.sum(reductions.accumulated(block, xp), axis=axes, keepdims=True)
        return total, reductions.count(block, axes, xp)

    def merge(self, a, b, xp):
        return a[0] + b[0], a[1] + b[1]

    def excess(self, measure, xp):
        return xp.abs(measure[0])

    def apply(self, block, measure, xp):
        return xp.astype(block - measure[0] / measure[1], block.dtype)


class Merged(Slicewise):
    """Nothing changes; the measure of a slice says what was merged with what."""

    axis = None

    def measure(self, block, axes, xp):
        return int(block.item())

    def merge(self, a, b, xp):
        return frozenset((a, b))

    def excess(self, measure, xp):
        self.found.append(measure)
        return xp.zeros((1,))

    def apply(self, block, measure, xp):
        raise NotImplementedError


class Sorted(WholeSlice):
    axis = 0

    def project(self, slices, xp):
        return xp.sort(slices, axis=-1)

    def excess(self, slices, xp):
        moved = xp.abs(slices - xp.sort(slices, axis=-1))
        return xp.max(moved, axis=-1, keepdims=True)


class TestResults:
    @every_dtype
    @pytest.mark.parametrize("constraint", NORMS, ids=repr)
    def test_norms_agree_with_numpy_for_all_axes_and_chunks(self, constraint, dtype):
        w = weight(dtype)
        for axis in (0, -1, None, (-1, 0)):
            constraint = type(constraint)(**{**vars(constraint), "axis": axis})
            entries = {0: 96, -1: 40}.get(axis, w.size)
            for chunks in CHUNKS:
                result = computed(project(constraint, da.from_array(w, chunks=chunks)))
                assert_agree(result, constraint(w), entries)

    @every_dtype
    def test_entries_are_those_of_numpy_bit_for_bit(self, dtype):
        w = weight(dtype)
        w[3:5] = [[np.nan], [-np.inf]]
        for chunks in CHUNKS:
            result = computed(project(NonNeg(), da.from_array(w, chunks=chunks)))
            assert bits(result) == bits(NonNeg()(w))

    @pytest.mark.parametrize("axis", [0, 1, (1, 2), (0, 2)])
    @pytest.mark.parametrize("entries_of_tile", [32, 2**20])
    def test_each_slice_has_its_own_radius(self, axis, entries_of_tile, monkeypatch):
        grid = "array_constraints.executors.grid.ENTRIES_OF_TILE"
        monkeypatch.setattr(grid, entries_of_tile)
        w = weight(shape=(9, 8, 7))
        axes = axis if isinstance(axis, tuple) else (axis,)
        slices = math.prod(n for i, n in enumerate(w.shape) if i not in axes)
        constraint = MaxNorm(tuple(np.geomspace(1e-3, 1e3, slices)), axis)
        for chunks in ((2, 3, 3), (9, 8, 3), (9, 3, 7), (5, 8, 7), (9, 8, 7)):
            result = computed(project(constraint, da.from_array(w, chunks=chunks)))
            assert_agree(result, constraint(w), w.size // slices)

    def test_slices_that_cross_chunks_in_four_dimensions(self):
        w = weight(shape=(3, 2, 3, 2))
        result = computed(project(MaxNorm(1.0, None), da.from_array(w, chunks=1)))
        assert_agree(result, MaxNorm(1.0, None)(w), 36)

    @every_dtype
    def test_chunks_of_many_tiles(self, dtype):
        w = np.tile(weight(dtype, (40, 2**8)), (1, 2**9))  # 2**17 slices, 16 rows in a tile
        for axis in (0, None):
            lazy = project(MaxNorm(1.0, axis), da.from_array(w, chunks=(20, 2**17)))
            entries = w.size if axis is None else 40
            assert_agree(computed(lazy), MaxNorm(1.0, axis)(w), entries)

    def test_a_form_that_does_more_than_multiply(self):
        w = weight("float64")
        result = computed(project(ZeroMean(), da.from_array(w, chunks=(25, 11))))
        np.testing.assert_allclose(result, ZeroMean()(w), rtol=1e-12, atol=1e-12)

    @every_dtype
    def test_nan_and_infinity_stay_in_their_slice(self, dtype):
        clean = weight(dtype)
        w = clean.copy()
        w[50, 1], w[70, 2], w[95, 3] = np.nan, np.inf, -np.inf
        for constraint in NORMS:
            with_them, without = (
                computed(project(constraint, da.from_array(x, chunks=(25, 11))))
                for x in (w, clean)
            )
            assert bits(with_them[:, 1:4]) == bits(w[:, 1:4])
            others = [np.delete(x, (1, 2, 3), 1) for x in (with_them, without)]
            assert_agree(*others, 96)

    @pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0,)], ids=str)
    def test_empty_arrays_come_back_empty(self, shape):
        for constraint in (MaxNorm(1.0), MaxNorm(1.0, None), NonNeg()):
            result = project(constraint, da.from_array(np.ones(shape, np.float32), chunks=2))
            assert (result.shape, result.dtype) == (shape, np.float32)
            assert computed(result).shape == shape

    def test_empty_chunks(self):
        w = weight(shape=(5, 4))
        lazy = da.from_array(w, chunks=((2, 0, 3), (0, 3, 1)))
        for constraint in (MaxNorm(1.0), UnitNorm(1), MaxNorm(1.0, None), NonNeg()):
            result = project(constraint, lazy)
            assert result.chunks == lazy.chunks
            assert_agree(computed(result), constraint(w), 20)

    def test_an_array_of_no_dimensions_is_one_slice(self):
        for w in (da.from_array(np.float32(3.0)), da.ones(3, chunks=1).sum()):
            for constraint in (MaxNorm(2.0, None), MaxNorm((2.0,), None)):
                assert float(computed(project(constraint, w))) == pytest.approx(2)

    def test_whole_slices_in_chunks(self):
        w = weight()
        result = project(Sorted(), da.from_array(w, chunks=(96, 11)))
        assert bits(computed(result)) == bits(np.sort(w, axis=0))

    def test_chunks_of_dask_are_never_written_to(self):
        w = weight()
        for constraint in (MaxNorm(1e-3), MaxNorm(1e-3, 1), MaxNorm((1e-3,) * 40), NonNeg()):
            array = da.from_array(w, chunks=(25, 40))
            before = array.persist(scheduler="synchronous")
            results = [bits(computed(project(constraint, before))) for _ in range(2)]
            assert results[0] == results[1]
            assert bits(computed(before)) == bits(w) == bits(weight())

    def test_the_same_bytes_however_it_is_computed(self):
        for axis in (0, 1, None):
            result = project(MaxNorm(1.0, axis), da.from_array(weight(), chunks=(7, 11)))
            expected = bits(computed(result))
            for workers in (2, 5):
                with dask.config.set(scheduler="threads", num_workers=workers):
                    assert bits(result.compute()) == expected
                    assert bits(result.compute(optimize_graph=False)) == expected


class TestGraphs:
    @every_dtype
    @pytest.mark.parametrize("constraint", [*NORMS, NonNeg(), MaxNorm((1.0,) * 40)], ids=repr)
    def test_nothing_is_computed_and_chunks_and_meta_are_kept(self, constraint, dtype):
        def refuse(*args, **kwargs):
            raise AssertionError("computed while the graph was built")

        for chunks in CHUNKS:
            w = da.from_array(weight(dtype), chunks=chunks)
            with dask.config.set(scheduler=refuse):
                result = project(constraint, w)
            assert (result.chunks, result.dtype) == (w.chunks, w.dtype)
            assert type(result._meta) is np.ndarray
            assert result._meta.dtype == w.dtype

    def test_the_same_call_makes_the_same_keys(self):
        w = Source().array
        assert project(MaxNorm(1.0), w).name == project(MaxNorm(1.0), w).name
        assert project(MaxNorm(1.0), w).name != project(MaxNorm(2.0), w).name

    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_tasks_per_chunk(self, axis):
        w = Source(chunks=((4,) * 12, (4,) * 12)).array
        (result,) = dask.optimize(project(MaxNorm(1.0, axis), w))
        assert len(dict(result.__dask_graph__())) <= (1 + 2.5) * w.npartitions  # 1: w, again
        whole = w.rechunk({0: -1})
        (result,) = dask.optimize(project(MaxNorm(1.0), whole))
        (source,) = dask.optimize(whole)
        graphs = [dict(x.__dask_graph__()) for x in (result, source)]
        assert len(graphs[0]) <= len(graphs[1]) + whole.npartitions

    def test_measures_are_merged_in_a_binary_tree(self, monkeypatch):
        monkeypatch.setattr(Merged, "found", [], raising=False)
        w = np.arange(6.0)
        assert bits(computed(project(Merged(), da.from_array(w, chunks=1)))) == bits(w)
        pairs = [frozenset((i, i + 1)) for i in (0, 2, 4)]
        assert set(Merged.found) == {frozenset((frozenset(pairs[:2]), pairs[2]))}

    def test_what_is_merged_at_a_time_leaves_one_measure(self):
        left = []

        class Watch(dask.callbacks.Callback):
            def _posttask(self, key, result, *_):
                left.extend([len(result)] if isinstance(result, tuple) else [])

        with Watch():
            computed(project(MaxNorm(1.0), da.ones(64, chunks=1)))
        assert left == [1] * (64 + 8)

    @pytest.mark.parametrize("blocks", [(40,), (20, 20), (2, 2, 40), (5, 5, 5)], ids=str)
    def test_no_task_waits_for_more_than_16_others(self, blocks):
        graph = edges(project(MaxNorm(1.0, None), da.ones(blocks, chunks=1)))
        assert max(map(len, graph.values())) <= 16

    def test_dimensions_in_one_chunk_make_no_difference(self):
        w = da.ones((40, 3), chunks=(1, 3))
        graphs = [edges(project(MaxNorm(1.0, axis), w)) for axis in (0, None)]
        assert len(graphs[0]) == len(graphs[1])

    def test_only_the_first_tasks_wait_for_the_measures(self):
        w = Source().array
        counts = [sum(map(len, edges(project(MaxNorm(1.0), x)).values())) for x in (w, w + 1)]
        assert counts[1] - counts[0] == 2 * w.npartitions  # of w to w + 1, in each pass

    @pytest.mark.parametrize(
        "derived",
        [
            lambda w: w,
            lambda w: w.astype("float32").T,
            lambda w: w.rechunk((8, 2)),
            lambda w: w[1:, ::2],
            lambda w: da.concatenate([w, w + 1]),
            lambda w: w - w.mean(axis=0),
            lambda w: w.map_overlap(lambda block: block, depth=1, boundary="none"),
            lambda w: dask.optimize(w.rechunk((8, 4)) + 1)[0],
            lambda w: da.Array(
                dict(w.rechunk(8).dask), w.rechunk(8).name, ((8, 8),) * 2, float
            ),
        ],
        ids=[
            "w",
            "T",
            "rechunk",
            "slice",
            "concatenate",
            "mean",
            "overlap",
            "optimised",
            "dict",
        ],
    )
    def test_chunks_are_read_twice_where_slices_cross_them(self, derived):
        source = Source()
        w = derived(source.array)
        for workers in (1, 4):
            source.reads.clear()
            with dask.config.set(scheduler="threads", num_workers=workers):
                result = project(MaxNorm(1.0), w).compute()
            half = len(source.reads) // 2
            for reads in (source.reads[:half], source.reads[half:]):
                assert sorted(reads) == sorted(set(reads))
                assert len(reads) == source.array.npartitions
        assert_agree(result, MaxNorm(1.0)(computed(w)), 32)

    @pytest.mark.parametrize(
        "constraint", [NonNeg(), MaxNorm(0.5, 1), MaxNorm((0.5,) * 16, 1)], ids=repr
    )
    def test_chunks_are_read_once_elsewhere(self, constraint):
        source = Source(chunks=((4,) * 4, (16,)))
        computed(project(constraint, source.array))
        assert len(source.reads) == 4

    def test_persisted_chunks_are_at_hand(self):
        source = Source()
        w = source.array.persist(scheduler="synchronous")
        result = project(MaxNorm(1.0), w + 0)
        assert_agree(computed(result), np.full((16, 16), 0.25), 16)
        assert len(source.reads) == 16

    def test_tuples_as_tasks_are_read_again_too(self):
        reads = []

        def read(n):
            reads.append(n)
            return np.ones(n)

        graph = {("w", 0): "alias", "alias": (read, 3), ("w", 1): (np.add, "one", 1), "one": 1}
        graph["one"] = np.ones(3)
        result = computed(project(MaxNorm(1.0), da.Array(graph, "w", ((3, 3),), dtype=float)))
        assert_agree(result, MaxNorm(1.0)(np.asarray([1.0, 1, 1, 2, 2, 2])), 6)
        assert reads == [3, 3]


class TestErrors:
    @pytest.mark.parametrize("w", [np.ones(3), [1.0, 2.0], 3.0], ids=repr)
    def test_only_dask_arrays(self, w):
        with pytest.raises(TypeError, match=r"takes a Dask array, got (numpy|builtins)\."):
            project(MaxNorm(1.0), w)

    def test_only_forms_that_are_called_as_they_are(self):
        class Own(Slicewise):
            def __call__(self, w, *, copy=None):
                return w

        Own.__abstractmethods__ = frozenset()
        for constraint in (abs, Constraint(), Own()):
            with pytest.raises(TypeError, match="call it on the array itself"):
                project(constraint, da.ones(4, chunks=2))

    def test_slices_that_are_needed_whole(self):
        w = da.from_array(weight(), chunks=(25, 11))
        with pytest.raises(ValueError, match=r"pass w\.rechunk\({0: -1}\)"):
            project(Sorted(), w)
        assert computed(project(Sorted(), w.rechunk({0: -1}))).shape == (96, 40)

    def test_unknown_chunk_sizes(self):
        w = da.from_array(weight(), chunks=(25, 11))
        with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
            project(MaxNorm(1.0), w[w[:, 0] > 0])

    def test_what_the_constraint_itself_raises(self):
        with pytest.raises(TypeError, match="real floating dtype"):
            project(MaxNorm(1.0), da.ones(4, chunks=2, dtype="int32"))
        with pytest.raises(ValueError, match="axis 1 does not fit"):
            project(MaxNorm(1.0, 1), da.ones(4, chunks=2))
        with pytest.raises(ValueError, match="max_value has 2 entries"):
            project(MaxNorm((1.0, 2.0)), da.ones((4, 3), chunks=2))

    def test_without_dask(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dask.array", None)
        with pytest.raises(ImportError, match=r"pip install 'dask\[array\]'"):
            project(MaxNorm(1.0), np.ones(3))

    def test_the_import_needs_no_array_library(self):
        code = "import sys, array_constraints.executors.dask; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert not {"dask", "numpy"} & set(run.stdout.decode().split())


BOUNDED = """
import resource, sys
import dask, dask.array as da, numpy as np
from array_constraints import MaxNorm
from array_constraints.executors.dask import project

def status(name):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines[name].split()[0]) * 1024

def summed(w):
    ones = tuple((1,) * n for n in w.numblocks)
    meta = {"dtype": float, "meta": np.empty((0, 0))}
    return w.map_blocks(lambda b: b.sum(keepdims=True, dtype=float), chunks=ones, **meta).sum()

chunk = 2**24
function, source = sys.argv[1:]
w = da.random.default_rng(0).random((2**15, 2**12), chunks=(2**10, 2**12), dtype=np.float32)
assert w.nbytes == 32 * chunk == 2**29
if source == "rechunked":
    w = w.rechunk((2**10, 2**11))
result = {"project": project, "call": lambda constraint, w: constraint(w)}[function]
with dask.config.set(scheduler="threads", num_workers=2):
    summed(project(MaxNorm(1.0), da.ones((4, 2), chunks=2))).compute()
    rss, limit = status("VmRSS"), status("VmData") + 12 * chunk
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    norm = summed(result(MaxNorm(1.0), w)).compute() / 2**12  # of equal entries: 2**7.5
print((status("VmHWM") - rss) / chunk, norm)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks are those of Linux")
class TestMemory:
    @staticmethod
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BOUNDED, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    @pytest.mark.parametrize("source", ["random", "rechunked"])
    def test_a_few_chunks_for_each_worker(self, source):
        run = self.run("project", source)
        assert run.returncode == 0, run.stderr
        chunks, norm = map(float, run.stdout.split())
        assert chunks < 8
        assert norm == pytest.approx(2**7.5 * 0.75**0.5, rel=1e-2)

    def test_a_call_holds_the_array(self):
        run = self.run("call", "random")
        assert run.returncode != 0
        assert "MemoryError" in run.stderr


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore:Port:UserWarning"
)
def test_the_same_bytes_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    w = da.from_array(weight(), chunks=(25, 11))
    cases = [(c, w) for c in (*NORMS, NonNeg(), MaxNorm(1.0, None), MaxNorm((1.0,) * 40))]
    cases += [(c, w.rechunk((50, 40))) for c in (MaxNorm(1.0), MaxNorm(1.0, 1))]
    cases += [(MaxNorm(1.0), w.astype(DTYPES["bfloat16"]))]
    expected = [bits(project(*case).compute(scheduler="threads")) for case in cases]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        results = dask.compute(*(project(*case) for case in cases))
        assert [bits(result) for result in results] == expected
        persisted = w.persist()
        assert bits(project(MaxNorm(1.0), persisted + 0).compute()) == expected[0]
        assert bits(project(MaxNorm(1.0), persisted).compute()) == expected[0]


def test_the_old_place_works_for_one_release():
    from array_constraints.integrations import dask as old

    assert old.project is project


def test_a_lazy_call_of_a_form_whose_methods_are_static():
    from array_constraints import reductions
    from array_constraints.forms import Slicewise

    class Halved(Slicewise):
        axis = 0
        measure = staticmethod(reductions.sum)
        merge = staticmethod(lambda a, b, xp: a + b)
        excess = staticmethod(lambda total, xp: xp.abs(total))
        apply = staticmethod(lambda block, total, xp: block / 2)

    w = np.ones((4, 3))
    lazy = da.from_array(w, chunks=2)
    assert Halved()(lazy).compute().tolist() == (w / 2).tolist()
    assert Halved().violation(lazy).compute().tolist() == [[4.0] * 3]
