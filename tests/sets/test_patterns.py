"""Masks, triangles, bands and N:M sparsity: by hand, against NumPy, in parts and on files."""

import json
from itertools import product

import numpy as np
import pytest
from libraries import DTYPES, bits

from array_constraints import Banded, Mask, NMSparse, Triangular, deserialize, serialize
from array_constraints.executors.dask import project
from array_constraints.files import check_file, project_file

RNG = np.random.default_rng(17)
MASK = RNG.random((4, 8)) < 0.5


def kept_of_groups(w: np.ndarray, n: int, m: int, axis: int) -> np.ndarray:
    """Return which entries are kept, one group after the other."""
    exact = object if w.dtype.kind in "iu" else np.float64  # Python's integers
    rows = np.moveaxis(w.astype(exact), axis, -1)
    kept = np.ones(rows.shape, bool).reshape(-1, m)
    for group, row in zip(kept, rows.reshape(-1, m), strict=True):
        order = sorted(range(m), key=lambda i: (-abs(row[i]), i))
        if (row == row).all():
            group[order[n:]] = False
    return np.moveaxis(kept.reshape(rows.shape), -1, axis)


def kept(constraint, w: np.ndarray) -> np.ndarray:
    """Return where ``w`` may be other than zero, in another way."""
    if isinstance(constraint, NMSparse):
        return kept_of_groups(w, constraint.n, constraint.m, constraint.axis)
    if isinstance(constraint, Mask):
        shapes = {(4, 8): MASK, (1, 8): MASK[:1], (4, 1): MASK[:, :1]}
        return np.broadcast_to(shapes[constraint.shape], w.shape)
    i, j = np.indices(w.shape)[list(constraint.axis)]
    if isinstance(constraint, Triangular):
        return (
            j - i <= constraint.offset
            if constraint.part == "lower"
            else j - i >= constraint.offset
        )
    low = -np.inf if constraint.lower is None else -constraint.lower
    high = np.inf if constraint.upper is None else constraint.upper
    return (low <= j - i) & (j - i <= high)


CONSTRAINTS = [
    Mask(MASK),
    Mask(MASK[:1]),
    Mask(MASK[:, :1].tolist()),
    Triangular(),
    Triangular("upper", 2),
    Triangular(offset=-2, axis=(1, 0)),
    Banded(),
    Banded(1, None),
    Banded(None, 2, axis=(-1, 0)),
    NMSparse(axis=1),
    NMSparse(1, 2, 0),
    NMSparse(3, 8, -1),
    NMSparse(2, 2),
    NMSparse(1, 1),
]
EACH = pytest.mark.parametrize("constraint", CONSTRAINTS, ids=str)


def hard(dtype: str) -> np.ndarray:
    """Return entries with ties, zeros of both signs, NaN and infinities."""
    w = (RNG.standard_normal((4, 8)) * 3).astype(DTYPES[dtype])
    w[0, :4] = [2, 2, -2, 2]
    w[1, 0], w[2, 1], w[3, 0], w[3, 2] = np.nan, np.inf, -0.0, -np.inf
    w[2, 4:] = [0, -0.0, 0, 5]
    return w


@EACH
def test_what_is_left_out_is_zero_and_the_rest_keeps_its_bits(library, constraint):
    for dtype in library.dtypes:
        w = hard(dtype)
        wide = w.astype(np.float64)
        dropped = ~kept(constraint, w) & (wide != 0) & ~np.isnan(wide)
        x = library.array(w)
        result, violation = library.values(constraint(x), constraint.violation(x))
        assert bits(result) == bits(np.where(dropped, np.zeros_like(w), w))
        far = np.where(dropped, abs(wide), np.where(np.isnan(wide), wide, 0))
        np.testing.assert_array_equal(violation, far)
        again = constraint(library.array(result))
        left = constraint.violation(library.array(result))
        again, left = library.values(again, left)
        assert bits(again) == bits(result)
        np.testing.assert_array_equal(left, np.where(np.isnan(wide), wide, 0))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "int64"])
@EACH
def test_integers(dtype, constraint):
    info = np.iinfo(dtype)
    w = RNG.integers(info.min, info.max, (4, 8), dtype=dtype, endpoint=True)
    w[0, :4] = info.min, info.max, info.min, 1
    if dtype == "int64":
        w[1] = w[1] >> 20
    result = constraint(w)
    np.testing.assert_array_equal(result, np.where(kept(constraint, w), w, 0), strict=True)


@EACH
def test_configs_and_repr(constraint):
    again = deserialize(json.loads(json.dumps(serialize(constraint), allow_nan=False)))
    assert again == constraint == eval(repr(constraint))
    assert hash(again) == hash(constraint)


SHAPE = (768, 640)
LARGE = [
    Mask(RNG.random(SHAPE) < 0.5),
    Mask(RNG.random((1, 640)) < 0.5),
    Triangular(offset=-100),
    Banded(7, 300),
    NMSparse(axis=0),
    NMSparse(3, 5, 1),
]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("constraint", LARGE, ids=lambda c: type(c).__name__)
def test_parts_make_the_whole(constraint, order, tmp_path):
    """In blocks, in place, in chunks of Dask whose borders lie anywhere, and on files."""
    da, torch = pytest.importorskip("dask.array"), pytest.importorskip("torch")
    w = np.asarray(RNG.standard_normal((2, *SHAPE)), "f4", order=order)[0]
    expected = constraint.project(w, np)
    np.testing.assert_array_equal(constraint(w), expected)
    found = w.copy(order="K")
    constraint(found, copy=False)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(constraint(torch.from_numpy(w.copy())).numpy(), expected)
    lazy = constraint(da.from_array(w, chunks=(100, 77)))
    assert lazy.chunks == da.from_array(w, chunks=(100, 77)).chunks
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), expected)
    whole = project(constraint, da.from_array(w, chunks=(120, 160)))
    np.testing.assert_array_equal(whole.compute(scheduler="synchronous"), expected)
    np.save(tmp_path / "w.npy", w)
    for size, workers in product((2**16, 2**19), (1, 2)):
        target = tmp_path / f"{size}_{workers}.npy"
        report = project_file(
            tmp_path / "w.npy", target, constraint, chunk_size=size, workers=workers
        )
        np.testing.assert_array_equal(np.load(target), expected)
        assert report.satisfied
        assert check_file(target, constraint, chunk_size=size).satisfied


def test_large_arrays_are_run_in_blocks():
    w = RNG.standard_normal((1600, 1400)).astype("f4")
    for constraint in (Triangular(), NMSparse(axis=0), NMSparse(axis=1)):
        expected = constraint.project(w, np)
        np.testing.assert_array_equal(constraint(w), expected)
        found = np.asfortranarray(w)
        constraint(found, copy=False)
        np.testing.assert_array_equal(found, expected)


def test_chunks_that_part_groups_are_refused_or_cut_otherwise():
    da = pytest.importorskip("dask.array")
    w = da.ones((6, 8), chunks=(6, 3))
    with pytest.raises(ValueError, match=r"needs whole groups, and these cross chunks in .* 1"):
        project(NMSparse(), w)
    lazy = NMSparse()(w)
    assert lazy.chunks == w.chunks
    assert lazy.compute(scheduler="synchronous").sum() == 6 * 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Triangular("left"), ValueError, "part must be 'lower' or 'upper', got 'left'"),
        (lambda: Triangular(offset=0.5), TypeError, "offset must be an int, got 0.5"),
        (lambda: Triangular(axis=0), TypeError, "axis must be a pair"),
        (lambda: Banded(axis=(0, 1, 2)), ValueError, "axis must be a pair"),
        (lambda: Triangular(axis=(0, 0)), ValueError, "axis must name each dimension once"),
        (lambda: Banded(-1), ValueError, "lower must be at least 0, got -1"),
        (lambda: NMSparse(3, 2), ValueError, "n must be between 1 and 2, got 3"),
        (lambda: NMSparse(0), ValueError, "n must be between 1 and 4, got 0"),
        (lambda: NMSparse(axis=None), TypeError, "axis must be an int, got None"),
        (
            lambda: Mask([[1, 0]]),
            TypeError,
            "mask must hold truth values, True or False, got 1",
        ),
        (lambda: Mask([[True], []]), ValueError, "its rows differ in length from 1"),
        (lambda: Mask("gA=="), ValueError, "shape must be that of the mask"),
        (lambda: Mask("gA==", (2, 9)), ValueError, "mask has 1 bytes, and does not fit shape"),
        (lambda: Mask("/w==", (2, 2)), ValueError, "mask has 1 bytes, and does not fit shape"),
        (lambda: Mask("?", (1,)), ValueError, "mask must be base64 of its bits"),
        (lambda: Mask([True], (1,)), ValueError, "shape is that of a mask given as text"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("constraint", "shape", "message"),
    [
        (Mask([[True, False]]), (2, 3), "does not fit an array of shape"),
        (Mask([[True, False]]), (2,), "does not fit an array of shape"),
        (Triangular(), (3,), "axis -2 does not fit an array of 1 dimensions"),
        (Triangular(axis=(0, -2)), (2, 2), "names a dimension of 2 twice"),
        (NMSparse(), (3, 6), "no whole number of groups of m=4 entries"),
        (NMSparse(axis=2), (4, 4), "axis 2 does not fit"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(library, constraint, shape, message):
    for call in (constraint, constraint.violation):
        with pytest.raises(ValueError, match=message):
            call(library.array(np.zeros(shape, "f4")))


def test_a_mask_of_another_library_is_the_same():
    torch = pytest.importorskip("torch")
    assert Mask(torch.from_numpy(MASK)) == Mask(MASK) == Mask(MASK.tolist())
    assert Mask(np.zeros((0, 3), bool)).shape == (0, 3)
    assert Mask(np.zeros((2, 0, 3), bool))(np.ones((2, 0, 3))).shape == (2, 0, 3)


@EACH
def test_derivatives_are_1_where_entries_are_kept(constraint):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    values = RNG.standard_normal((4, 8))
    expected = kept(constraint, values).astype(float)
    w = torch.from_numpy(values).requires_grad_()
    constraint(w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), expected)
    found = jax.jit(jax.grad(lambda w: constraint(w).sum()))(jax.numpy.asarray(values, "f4"))
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize(("n", "m"), [(150, 200), (2, 129), (129, 256)])
def test_groups_of_many_entries(n, m):
    torch = pytest.importorskip("torch")
    w = RNG.standard_normal((3, m))
    expected = np.where(kept_of_groups(w, n, m, 1), w, 0)
    np.testing.assert_array_equal(NMSparse(n, m)(w), expected)
    np.testing.assert_array_equal(NMSparse(n, m)(torch.from_numpy(w)).numpy(), expected)
