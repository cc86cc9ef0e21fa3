"""Derivatives: finite, the identity where nothing moves, the rescaling's Jacobian elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import JAX, JAX_X64, ROUNDOFF, TORCH, bits

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm


def torch_jacobian(constraint, w):
    import torch

    return TORCH.numpy(torch.func.jacrev(constraint)(TORCH.array(w)))


def jax_jacobian(constraint, w):
    import jax

    return np.asarray(jax.jacrev(constraint)(JAX.array(w)))


DIFFERENTIABLE = [
    pytest.param((TORCH, torch_jacobian, dtype), id=f"torch-{dtype}")
    for dtype in ("float32", "float64")
] + [
    pytest.param((JAX, jax_jacobian, "float32"), id="jax-float32"),
    pytest.param((JAX_X64, jax_jacobian, "float32"), id="jax-x64-float32"),
    pytest.param((JAX_X64, jax_jacobian, "float64"), id="jax-x64-float64"),
]


@pytest.fixture(params=DIFFERENTIABLE)
def differentiate(request):
    """The Jacobian of a constraint at a vector, in one of the libraries."""
    library, jacobian, dtype = request.param
    with library.active():
        yield lambda constraint, w: jacobian(constraint, np.asarray(w, dtype=dtype))


def rescaling(w, target):
    """The Jacobian of ``target * w / norm(w)``."""
    w = np.asarray(w, dtype=np.float64)
    norm = np.linalg.norm(w)
    unit = w / norm
    return target / norm * (np.eye(len(w)) - np.outer(unit, unit))


W = [0.3, -1.2, 0.5, 2.0]


class TestJacobian:
    def test_of_a_projected_slice_is_that_of_the_rescaling(self, differentiate):
        for constraint, target in (
            (MaxNorm(1), 1),
            (UnitNorm(), 1),
            (MinMaxNorm(0.5, 1), 1),
            (MinMaxNorm(4, 5), 4),
            (MinMaxNorm(0.7, 0.7), 0.7),
        ):
            jacobian = differentiate(constraint, W)
            np.testing.assert_allclose(jacobian, rescaling(W, target), atol=2e-6)

    def test_with_a_rate_is_that_share_of_it(self, differentiate):
        expected = 0.7 * np.eye(4) + 0.3 * rescaling(W, 1)
        np.testing.assert_allclose(
            differentiate(MinMaxNorm(0.5, 1, rate=0.3), W), expected, atol=2e-6
        )

    def test_of_a_satisfied_slice_is_the_identity(self, differentiate):
        for constraint in (MaxNorm(3), MinMaxNorm(0.5, 3), MinMaxNorm(0, 3, rate=0.5)):
            np.testing.assert_array_equal(differentiate(constraint, W), np.eye(4))
            tiny = differentiate(MaxNorm(3), np.asarray(W) * 1e-30)
            np.testing.assert_array_equal(tiny, np.eye(4))

    def test_of_unit_norm_where_the_slice_is_already_unit(self, differentiate):
        unit = [0.6, -0.0, 0.8, 0.0]
        np.testing.assert_allclose(
            differentiate(UnitNorm(), unit), rescaling(unit, 1), atol=1e-6
        )

    def test_at_zero_is_the_identity(self, differentiate):
        for constraint in (MaxNorm(2), UnitNorm(), MinMaxNorm(0.5, 1), MaxNorm(0), NonNeg()):
            np.testing.assert_array_equal(differentiate(constraint, np.zeros(4)), np.eye(4))

    def test_is_finite_at_extreme_magnitudes(self, differentiate):
        for scale in (1e37, 1e20, 1e-20, 1e-30):
            for constraint in (MaxNorm(2), MinMaxNorm(0.5, 1), UnitNorm()):
                jacobian = differentiate(constraint, np.asarray(W) * scale)
                assert np.isfinite(jacobian).all()
        expected = rescaling(W, 2) / 1e20
        jacobian = differentiate(MaxNorm(2), np.asarray(W) * 1e20)
        np.testing.assert_allclose(jacobian, expected, atol=1e-6 * np.abs(expected).max())

    def test_of_non_neg_is_one_from_zero_on(self, differentiate):
        jacobian = differentiate(NonNeg(), [-1.0, -0.0, 0.0, 2.0])
        np.testing.assert_array_equal(np.diag(jacobian), [0, 1, 1, 1])

    def test_a_slice_of_nan_does_not_touch_its_neighbour(self, differentiate):
        w = np.asarray([[np.nan, 0.6], [1.0, 2.8]])
        for constraint in (MaxNorm(1), UnitNorm()):
            jacobian = differentiate(constraint, w)
            np.testing.assert_allclose(jacobian[:, 1, :, 1], rescaling(w[:, 1], 1), atol=2e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_torch_records_a_kept_unit_slice_with_its_bits_and_the_jacobian(dtype):
    torch = pytest.importorskip("torch")
    w = UnitNorm()(torch.asarray([[0.3, -0.0], [-0.4, 2.0]]).to(getattr(torch, dtype)))
    w.requires_grad_()
    result = UnitNorm()(w)
    assert bits(TORCH.numpy(result)) == bits(TORCH.numpy(w))
    result.backward(torch.ones_like(result))
    unit = TORCH.numpy(w).astype(np.float64)
    expected = 1 - unit * unit.sum(axis=0)
    np.testing.assert_allclose(w.grad.double().numpy(), expected, atol=8 * ROUNDOFF[dtype])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_jax_gradients_of_half_types_are_finite_and_right(dtype):
    import jax

    for mode in (JAX, JAX_X64):
        with mode.active():
            w = jax.numpy.asarray([[0.3, 0.0], [-0.4, 0.0]], dtype=dtype)
            for constraint, scale in ((MaxNorm(2), 1.0), (UnitNorm(), 2.0)):
                gradient = jax.grad(lambda w, c=constraint: c(w)[0].sum())(w)
                assert np.isfinite(np.asarray(gradient, dtype=float)).all()
                expected = 1.0 if scale == 1 else scale * (1 - 0.36)
                assert float(gradient[0, 0]) == pytest.approx(expected, rel=8 * ROUNDOFF[dtype])


def test_torch_gradcheck():
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 3))).requires_grad_()
    for constraint in (MaxNorm(1), UnitNorm(None), MinMaxNorm(3, 4, 0.3), MaxNorm((1, 2, 3))):
        assert torch.autograd.gradcheck(constraint, (w,))


def test_equal_bounds_make_a_sphere():
    """Also where they are two objects, as from a config: the kept slice has its derivative."""
    torch = pytest.importorskip("torch")
    sphere = MinMaxNorm(1.0, float("1.0"))
    assert sphere.min_value is not sphere.max_value
    unit = np.asarray([0.6, -0.8])
    found = torch.autograd.functional.jacobian(sphere, torch.from_numpy(unit))
    np.testing.assert_allclose(found, np.eye(2) - np.outer(unit, unit), atol=1e-12)


def test_a_violation_can_be_a_penalty():
    torch = pytest.importorskip("torch")
    w = torch.tensor([[3.0, 0.0], [4.0, 0.0]], requires_grad=True)
    MaxNorm(1).violation(w).sum().backward()
    torch.testing.assert_close(w.grad, torch.tensor([[0.6, 0.0], [0.8, 0.0]]))
