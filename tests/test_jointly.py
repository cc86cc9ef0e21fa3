"""One constraint on several arrays whose slices belong together."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import LIBRARIES

from array_constraints import (
    Box,
    Chain,
    Halfspace,
    L1Ball,
    MaxNorm,
    Mean,
    MinMaxNorm,
    Relaxed,
    Simplex,
    Sphere,
    Standardized,
    WholeSlice,
    apply_jointly,
)


class Sorted(WholeSlice):
    axis = 0

    def __repr__(self):  # xdist compares the names of tests
        return "Sorted()"

    def project(self, slices, xp):
        return xp.sort(slices, axis=-1)

    def excess(self, slices, xp):
        moved = xp.abs(slices - xp.sort(slices, axis=-1))
        return xp.max(moved, axis=-1, keepdims=True)


FORMS = [
    MaxNorm(1.0),
    MaxNorm((0.5, 1.0, 2.0), axis=None),
    MaxNorm(2.0, order=1),
    MinMaxNorm(0.1, 1.0, rate=0.5),
    Sphere(1.0, unit="rms"),
    Mean(),
    Standardized(),
    Halfspace((1.0, 2.0, -1.0, 0.5, 3.0)),
    Relaxed(Sphere(1.0), 0.5),
    Simplex(1.0),
    L1Ball(1.0),
    Relaxed(L1Ball(1.0), 0.5),
    Sorted(),
]


def parts() -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel of four inputs and three units, and a bias."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 3)).astype("float32"), rng.standard_normal(3).astype(
        "float32"
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_slices_are_those_of_the_arrays_one_above_the_other(form):
    kernel, bias = parts()
    fused = np.vstack([kernel, bias])
    joint = apply_jointly(form, [kernel, bias], axes=[0, None])
    if isinstance(form, MaxNorm) and form.axis is None:  # its own axis is not asked
        form = MaxNorm(form.max_value, axis=0)
    np.testing.assert_allclose(np.vstack(joint), form(fused), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_library_decides_alike(library):
    kernel, bias = parts()
    expected = apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None])
    with library.active():
        arrays = [library.array(x) for x in (kernel, bias)]
        found = library.values(*apply_jointly(MaxNorm(1.0), arrays, [0, None]))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("chunks", [(4, 3), (2, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("form", [Sphere(1.0), Standardized(), Sorted()], ids=str)
def test_chunks_of_lazy_arrays_need_not_agree(form, chunks):
    da = pytest.importorskip("dask.array")
    kernel, bias = parts()
    lazy = [da.from_array(kernel, chunks=chunks), da.from_array(bias, chunks=2)]
    found = [x.compute(scheduler="synchronous") for x in apply_jointly(form, lazy, [0, None])]
    for a, b in zip(found, apply_jointly(form, [kernel, bias], [0, None]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_slices_are_numbered_in_c_order_of_the_other_dimensions():
    rng = np.random.default_rng(0)
    filters, gains = rng.standard_normal((2, 3, 5, 2)), rng.standard_normal((3, 2))
    a, b = apply_jointly(Sphere(1.0), [filters, gains], axes=[(0, 2), None])
    size = np.sqrt((a**2).sum(axis=(0, 2)) + b**2)
    np.testing.assert_allclose(size, np.ones((3, 2)))
    turned = apply_jointly(Sphere(1.0), [filters.T, gains], axes=[[-1, 1], ()])
    assert turned[0].shape == filters.T.shape


def test_what_is_kept_comes_back_itself_and_nothing_else_moves_it():
    kernel, bias = parts()
    kernel[:, 0], bias[0] = 0.1, -0.0
    result = apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None])
    assert result[0][:, 0].tobytes() == kernel[:, 0].tobytes()
    assert result[1][:1].tobytes() == bias[:1].tobytes()
    kept = apply_jointly(MaxNorm(100.0), [kernel, bias], [0, None])
    assert kept[0] is kernel
    assert kept[1] is bias


def test_parts_that_are_kept_alone_are_moved_together():
    kernel, bias = np.asarray([[3.0], [0.0]]), np.asarray([4.0])
    assert MaxNorm(4.5)(kernel) is kernel
    found = apply_jointly(MaxNorm(4.5), [kernel, bias], [0, None])
    np.testing.assert_allclose(np.vstack(found), [[2.7], [0.0], [3.6]])


def test_in_place_all_are_written_or_none():
    kernel, bias = parts()
    expected = apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None])
    found = apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None], copy=False)
    assert found[0] is kernel
    assert found[1] is bias
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    kernel, bias = parts()
    bias.flags.writeable = False
    before = kernel.copy()
    with pytest.raises(ValueError, match="cannot write"):
        apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None], copy=False)
    np.testing.assert_array_equal(kernel, before)
    new = apply_jointly(MaxNorm(100.0), [kernel, bias], [0, None], copy=True)
    assert not np.shares_memory(new[0], kernel)


def test_entries_are_each_for_themselves_and_a_part_may_be_empty():
    kernel, bias = parts()
    a, b = apply_jointly(Box(-0.1, 0.1), [kernel, bias], [0, None])
    np.testing.assert_array_equal(a, Box(-0.1, 0.1)(kernel))
    assert np.max(np.abs(b)) <= 0.1
    none = np.empty((0, 3), "float32")
    empty, rest = apply_jointly(Sphere(1.0), [none, kernel], [0, 0])
    assert empty.shape == (0, 3)
    np.testing.assert_array_equal(rest, apply_jointly(Sphere(1.0), [kernel], [0])[0])


def test_derivatives_are_those_of_the_whole_on_torch():
    torch = pytest.importorskip("torch")
    kernel, bias = (torch.from_numpy(x).double().requires_grad_() for x in parts())
    factors = torch.arange(15.0, dtype=torch.float64).reshape(5, 3)
    joint = apply_jointly(MaxNorm(1.0), [kernel, bias], [0, None])
    (torch.vstack(joint) * factors).sum().backward()
    fused = torch.vstack([kernel, bias]).detach().requires_grad_()
    (MaxNorm(1.0)(fused) * factors).sum().backward()
    torch.testing.assert_close(torch.vstack([kernel.grad, bias.grad]), fused.grad)


def test_a_traced_bound_compiles_on_jax():
    jax = pytest.importorskip("jax")
    kernel, bias = map(jax.numpy.asarray, parts())
    traced = jax.jit(lambda c: apply_jointly(MaxNorm(c), [kernel, bias], [0, None]))(0.75)
    eager = apply_jointly(MaxNorm(0.75), [kernel, bias], [0, None])
    for a, b in zip(traced, eager, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("form", "axes", "error", "said"),
    [
        (MaxNorm(), [0, 0], ValueError, r"equally many slices, got \[3, 1\]"),
        (MaxNorm(), [0], ValueError, "axes for each: got 2 and 1"),
        (MaxNorm(), [2, None], ValueError, "axis 2 does not fit"),
        (MaxNorm((1.0, 2.0)), [0, None], ValueError, "max_value has 2 numbers, there are 3"),
        (Relaxed(MaxNorm((1.0, 2.0))), [0, None], ValueError, "max_value has 2 numbers"),
        (Halfspace((1.0, 2.0)), [0, None], ValueError, "normal has 2 numbers, there are 5"),
        (Chain([MaxNorm()]), [0, None], TypeError, "one after the other"),
        (abs, [0, None], TypeError, "states a form"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(form, axes, error, said):
    with pytest.raises(error, match=said):
        apply_jointly(form, list(parts()), axes)


def test_arrays_of_several_dtypes_or_libraries_are_refused():
    kernel, bias = parts()
    with pytest.raises(
        TypeError, match="one library and dtype, got numpy float32, numpy float64"
    ):
        apply_jointly(MaxNorm(), [kernel, bias.astype("float64")], [0, None])
    with pytest.raises(TypeError, match="real floating"):
        apply_jointly(MaxNorm(), [np.ones((2, 2), int), np.ones(2, int)], [0, None])
    with pytest.raises(TypeError, match="takes an array, got list"):
        apply_jointly(MaxNorm(), [kernel, [1.0, 2.0, 3.0]], [0, None])
