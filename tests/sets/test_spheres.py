"""Spheres, root mean squares, other orders, and bounds of each slice: on every library."""

import math
from fractions import Fraction

import numpy as np
import pytest
from array_constraints_conformance.numerics.exact import Slices, root
from array_constraints_conformance.numerics.formats import FORMATS
from libraries import LIBRARIES_AND_DTYPES, bits, normal

from array_constraints import MaxNorm, MinMaxNorm, Sphere, UnitNorm, apply
from array_constraints.executors.repeated import Repeated

INF = math.inf
RADII = (1.0, 2.5, 0.25, 3.0, 0.1)


def sizes(w: np.ndarray, axes: tuple[int, ...], unit: str = "norm") -> list[Fraction]:
    """Return the exact norm, or root mean square, of each slice."""
    slices = Slices(w, axes)
    n = slices.length if unit == "rms" else 1
    return [root(slices.square(i) / n) for i in range(len(slices))]


@pytest.mark.parametrize(("library", "dtype"), LIBRARIES_AND_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(7, 5), (64, 5), (1, 5), (3000, 5)])
def test_a_root_mean_square_keeps_the_contract_of_a_norm(library, dtype, shape):
    w = normal(shape, dtype) * np.asarray([0.5, 1, 3, 1e-3, 1e3]).astype(
        dtype if dtype[0] == "f" else "f4"
    )
    w = w.astype(FORMATS[dtype].dtype)
    fmt, n = FORMATS[dtype], shape[0]
    for constraint, low, high in (
        (Sphere(0.7, unit="rms"), 0.7, 0.7),
        (MaxNorm(0.7, unit="rms"), 0.0, 0.7),
        (MinMaxNorm(0.5, 0.7, unit="rms"), 0.5, 0.7),
        (MinMaxNorm(0.7, INF, unit="rms"), 0.7, INF),
    ):
        with library.active():
            x = library.array(w)
            result, violation = library.values(constraint(x), constraint.violation(x))
            again = library.numpy(constraint(library.array(result)))
            left = library.numpy(constraint.violation(library.array(result)))
        assert bits(again) == bits(result)
        assert not left.any()
        found, before = sizes(result, (0,), "rms"), sizes(w, (0,), "rms")
        slack = fmt.tolerance(n)
        for i, (size, was) in enumerate(zip(found, before, strict=True)):
            assert Fraction(low) * (1 - slack) <= size
            assert high == INF or size <= Fraction(high) * (1 + slack)
            distance = max(
                Fraction(0), Fraction(low) - was, was - Fraction(high) if high < INF else 0
            )
            assert abs(Fraction(float(violation[0, i])) - distance) <= 8 * slack * max(was, 1)
            if low == 0 and result[0, i] != w[0, i]:  # MaxNorm: inside, in exact arithmetic
                assert size**2 <= Fraction(high) ** 2
                assert size >= Fraction(high) * (1 - fmt.depth(n))
            unit_slack = fmt.band(n)
            if (
                Fraction(low) * (1 + unit_slack)
                <= was
                <= Fraction(high if high < INF else 2e300) * (1 - unit_slack)
            ):
                assert bits(result[:, i]) == bits(w[:, i])


def test_edm2_and_ngpt_by_hand(library):
    w = library.array(np.asarray([[3.0, 0.0], [4.0, 0.0]], "f4"))
    np.testing.assert_allclose(library.numpy(Sphere()(w)), [[0.6, 0], [0.8, 0]], rtol=1e-6)
    rms = Sphere(1.0, unit="rms")
    np.testing.assert_allclose(
        library.numpy(rms(w)), [[0.6 * math.sqrt(2), 0], [0.8 * math.sqrt(2), 0]], rtol=1e-6
    )
    found = library.numpy(rms.violation(w))
    np.testing.assert_allclose(found, [[5 / math.sqrt(2) - 1, 1]], rtol=1e-6)
    assert (library.numpy(Sphere(1)(w)) == library.numpy(UnitNorm()(w))).all()


@pytest.mark.parametrize(
    ("order", "size"), [(1, lambda r: abs(r).sum(0)), (INF, lambda r: abs(r).max(0))]
)
def test_other_orders_shrink_the_slice(library, order, size):
    for dtype in library.dtypes:
        w = (normal((6, 5), dtype).astype(np.float64) * [0.01, 0.1, 1, 2, 9]).astype(
            FORMATS[dtype].dtype
        )
        constraint = MaxNorm(0.5, order=order)
        result = library.numpy(constraint(library.array(w)))
        again = library.numpy(constraint(library.array(result)))
        assert bits(again) == bits(result)
        assert not library.numpy(constraint.violation(library.array(result))).any()
        exact = [[Fraction(float(x)) for x in row] for row in result.astype(np.float64).T]
        for i, row in enumerate(exact):
            magnitude = max(map(abs, row)) if order == INF else sum(map(abs, row))
            assert magnitude <= Fraction(0.5)
            if size(w.astype(np.float64))[i] > 0.51:
                assert magnitude >= Fraction(0.5) * (1 - FORMATS[dtype].depth(6))
            else:
                assert bits(result[:, i]) == bits(w[:, i])


@pytest.mark.parametrize(("library", "dtype"), LIBRARIES_AND_DTYPES, ids=str)
def test_each_slice_has_bounds_of_its_own(library, dtype):
    w = normal((6, 5), dtype)
    with library.active():
        x = library.array(w)
        for constraint, one in (
            (Sphere(RADII), Sphere),
            (Sphere(RADII, unit="rms"), lambda r: Sphere(r, unit="rms")),
            (MinMaxNorm(RADII, 3.0), lambda r: MinMaxNorm(r, 3.0)),
            (MinMaxNorm(0.1, RADII), lambda r: MinMaxNorm(0.1, r)),
            (
                MinMaxNorm(RADII, [2 * r for r in RADII], 0.5),
                lambda r: MinMaxNorm(r, 2 * r, 0.5),
            ),
        ):
            result, violation = library.values(constraint(x), constraint.violation(x))
            for i, radius in enumerate(RADII):
                column = library.array(np.ascontiguousarray(w[:, i : i + 1]))
                alone = library.values(one(radius)(column), one(radius).violation(column))
                near = float(FORMATS[dtype].near(6))
                for found, expected in zip((result[:, i], violation[:, i]), alone, strict=True):
                    wide = found.astype(np.float64), expected[:, 0].astype(np.float64)
                    np.testing.assert_allclose(*wide, rtol=2 * near, atol=8 * near)


def test_bounds_that_do_not_fit_are_refused(library):
    w = library.array(np.ones((2, 3), "f4"))
    for constraint in (
        Sphere((1.0, 2.0)),
        MinMaxNorm((0.0, 0.1), 1.0),
        MinMaxNorm(0.0, (1, 2)),
    ):
        with pytest.raises(
            ValueError, match=r"has 2 entries, an array of shape \(2, 3\) has 3"
        ):
            constraint(w)


def test_many_arrays_and_arrays_again_and_again_are_as_one_call():
    """Where many weights are decided on at once, means are means of each."""
    torch = pytest.importorskip("torch")
    shapes = [(3, 5), (64, 8), (3, 5), (200, 30)]
    for constraint in (
        Sphere(0.5, unit="rms"),
        MaxNorm(0.9, unit="rms"),
        MaxNorm(2.0, order=1),
    ):
        arrays = [normal(shape, seed=i) for i, shape in enumerate(shapes)]
        expected = [constraint(w) for w in arrays]
        tensors = [torch.from_numpy(w.copy()) for w in arrays]
        held = [w.copy() for w in arrays]
        Repeated([constraint] * 4, held).run()
        Repeated([constraint] * 4, tensors).run()
        alone = [constraint(torch.from_numpy(w.copy())) for w in arrays]
        for w, tensor, one, right in zip(held, tensors, alone, expected, strict=True):
            assert bits(w) == bits(right)
            assert bits(tensor.numpy()) == bits(one.numpy())
        small = [normal((5, 4), seed=i) for i in range(20)]
        for w, one in zip(small, apply(constraint, small), strict=True):
            assert bits(one) == bits(constraint(w))


@pytest.mark.parametrize("constraint", [Sphere(0.7, 1, "rms"), MaxNorm(0.2, 1, "rms")], ids=str)
def test_derivatives_in_units_of_the_root_mean_square(constraint):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    w = torch.from_numpy(normal((3, 4), "float64")).requires_grad_()
    assert torch.autograd.gradcheck(constraint, (w,))
    for values in (w.detach().numpy(), np.zeros((3, 4))):
        given = jax.numpy.asarray(values, "f4")
        found = jax.jacobian(lambda w: constraint(w))(given)
        assert np.isfinite(np.asarray(found)).all()
        tensor = torch.from_numpy(values.astype("f4"))
        expected = torch.autograd.functional.jacobian(constraint, tensor)
        np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [1, INF])
def test_derivatives_of_other_orders(order):
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(normal((3, 4), "float64")).requires_grad_()
    assert torch.autograd.gradcheck(MaxNorm(0.3, 1, order=order), (w,))
    zero = torch.zeros((3, 4), requires_grad=True)
    MaxNorm(0.3, 1, order=order)(zero).sum().backward()
    assert (zero.grad == 1).all()
