"""Derivatives: finite, the identity where nothing moves, the rescaling's Jacobian elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import DTYPES, JAX, JAX_X64, ROUNDOFF, TORCH, bits

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


def torch_cotangents(constraint, w, cotangents):
    """The Jacobian, transposed, times each cotangent."""
    w = TORCH.array(w).requires_grad_()
    result = constraint(w)
    pulled = []
    for g in cotangents:
        w.grad = None
        result.backward(TORCH.array(g), retain_graph=True)
        pulled.append(TORCH.numpy(w.grad))
    return pulled


def jax_cotangents(constraint, w, cotangents):
    import jax

    pull = jax.vjp(constraint, JAX.array(w))[1]
    return [np.asarray(pull(JAX.array(g))[0]) for g in cotangents]


EVERY_COTANGENT = [
    pytest.param((TORCH, torch_cotangents), id="torch"),
    pytest.param((JAX, jax_cotangents), id="jax"),
]
# The largest number, the smallest that is normal, and the smallest.
RANGES = {
    "float16": (65504.0, 2.0**-14, 2.0**-24),
    "bfloat16": (2.0**128 * (1 - 2.0**-8), 2.0**-126, 2.0**-133),
}


class TestEveryHalf:
    """Every bit pattern of a half type, repeated: a slice of n equal entries.

    With ``k`` the bound over the norm, the Jacobian takes ``g`` to ``k (g - mean(g))``. Allowed
    are four roundoffs of that, one of the accumulator's of ``k``, and the smallest number.
    """

    N = 3

    @pytest.fixture(params=EVERY_COTANGENT)
    def library(self, request):
        library, self.pulled = request.param
        with library.active():
            yield library

    @staticmethod
    def constraints(dtype):
        largest, normal, _ = RANGES[dtype]
        return [
            (UnitNorm(1), 1.0, 1.0, 1.0),
            (MaxNorm(2.0, 1), 0.0, 2.0, 1.0),
            (MaxNorm(normal, 1), 0.0, normal, 1.0),
            (MinMaxNorm(0.5, 1.0, 1.0, 1), 0.5, 1.0, 1.0),
            (MinMaxNorm(1.0, 1.0, 0.5, 1), 1.0, 1.0, 0.5),
            (MinMaxNorm(largest / 2, largest, 0.5, 1), largest / 2, largest, 0.5),
        ]

    def exact(self, entry, g, lower, upper, rate):
        """The identity where the slice is kept, the rescaling's elsewhere; and ``k``."""
        with np.errstate(all="ignore"):
            norm = np.sqrt(self.N) * entry
            k = np.where(norm > upper, upper, lower) / norm
            kept = (norm >= lower) & (norm <= upper) & (lower < upper)
            kept |= (norm == 0) | ~np.isfinite(norm)
            moved = (1 - rate) * g + rate * k * (g - np.mean(g))
        return np.where(kept, g, moved), np.where(kept, 1.0, k), norm

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_is_exact_or_honestly_infinite(self, library, dtype):
        w = np.arange(2**16, dtype=np.uint16).view(DTYPES[dtype])[:, None]
        with np.errstate(invalid="ignore"):  # ml_dtypes warns of NaN
            entry, u = np.abs(w.astype(np.float64)), ROUNDOFF[dtype]
        largest, normal, tiny = RANGES[dtype]
        flushed = (entry < normal) & (library is JAX) & (dtype == "bfloat16")
        entry, tiny = np.where(flushed, 0, entry), normal if flushed.any() else tiny
        w = np.repeat(w, self.N, axis=1)
        cotangents = [np.asarray(g, np.float64) for g in ((1, 1, 1), (1, 0, 0), (1, -1, 1))]
        full = [np.broadcast_to(g, w.shape).astype(w.dtype) for g in cotangents]
        for constraint, lower, upper, rate in self.constraints(dtype):
            found = self.pulled(constraint, w, full)
            for g, got in zip(cotangents, found, strict=True):
                expected, k, norm = self.exact(entry, g, lower, upper, rate)
                finite = np.abs(expected) < largest * (1 - 4 * u)
                allowed = 4 * u * np.abs(expected) + 2.0**-50 * k + tiny
                with np.errstate(invalid="ignore"):
                    got = got.astype(np.float64)
                    right = np.abs(got - expected) <= allowed
                honest = (got == np.copysign(np.inf, expected)) & ~finite
                beside = np.abs(norm - lower) <= 8 * u * lower
                beside |= np.abs(norm - upper) <= 8 * u * upper
                beside &= (lower < upper) & np.isfinite(got).all(axis=1, keepdims=True)
                wrong = ~(right | honest | beside)
                assert not wrong.any(), (constraint, g, w[wrong][0], got[wrong.any(axis=1)][0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_torch_gradients_of_subnormal_slices(dtype):
    """At every number of entries where the part across them is 0 exactly."""
    torch = pytest.importorskip("torch")
    for multiple in (1, 3, 7):
        for entries in (1, 2, 3, 4):
            w = torch.zeros(entries, dtype=getattr(torch, dtype))
            w = torch.nextafter(w, w + 1) * multiple
            w.requires_grad_()
            for constraint in (UnitNorm(), MinMaxNorm(0.5, 1.0), MinMaxNorm(0.5, 1.0, 0.5)):
                w.grad = None
                constraint(w).sum().backward()
                rate = getattr(constraint, "rate", 1)
                norm = float(w.detach().double()[0]) * entries**0.5
                expected = torch.full_like(w, 1 - rate)
                error = 2.0**-51 / norm if dtype == "float64" else 0
                assert (w.grad - expected).abs().max() <= error


@pytest.mark.parametrize("bound", [1.0, 1e300])
def test_torch_gradients_out_of_range_are_infinite(bound):
    torch = pytest.importorskip("torch")
    w = torch.tensor([3e-320, -4e-320], dtype=torch.float64, requires_grad=True)
    MinMaxNorm(bound, bound)(w)[0].backward()
    assert w.grad.tolist() == [np.inf, np.inf]


class TestNeighbours:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
    def test_a_slice_without_direction_has_the_identity(self, differentiate, bad):
        for constraint in (MaxNorm(1), UnitNorm(), MinMaxNorm(0.5, 1, 0.5)):
            jacobian = differentiate(constraint, [[bad, 0.6], [0.0, 2.8]])
            np.testing.assert_array_equal(jacobian[:, 0, :, 0], np.eye(2))
            assert np.isfinite(jacobian).all()


class TestTorchModes:
    """The same derivative however it is asked for."""

    W = np.asarray([[1e-6, 0.3], [1e-6, -0.4], [1e-6, 0.0]])

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("constraint", [UnitNorm(), MinMaxNorm(0.5, 1, 0.5)], ids=repr)
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_compiled_equals_eager(self, torch, constraint, dtype):
        torch.compiler.reset()
        compiled = torch.compile(constraint, fullgraph=True, backend="aot_eager")
        gradients = []
        for run in (constraint, compiled):
            w = torch.tensor(self.W, dtype=getattr(torch, dtype), requires_grad=True)
            result = run(w)
            result.sum().backward()
            gradients.append(w.grad)
        assert torch.isfinite(gradients[0]).all()
        assert torch.equal(*gradients)

    def test_what_is_written_in_place_has_the_derivative_of_before(self, torch):
        expected = torch.func.jacrev(UnitNorm())(torch.tensor(self.W)).sum((0, 1))
        torch.compiler.reset()
        compiled = torch.compile(
            lambda w: UnitNorm()(w * 1, copy=False), fullgraph=True, backend="aot_eager"
        )
        for run in (lambda w: UnitNorm()(w * 1, copy=False), compiled):
            w = torch.tensor(self.W, requires_grad=True)
            run(w).sum().backward()
            torch.testing.assert_close(w.grad, expected)

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # its own
    def test_second_derivatives(self, torch):
        """At a unit slice, too, also where its entries are zero."""
        w = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64, requires_grad=True)
        for constraint in (UnitNorm(), MaxNorm(0.5), MinMaxNorm(2, 3, 0.3)):
            assert torch.autograd.gradcheck(constraint, (w,), check_forward_ad=True)
            assert torch.autograd.gradgradcheck(constraint, (w,))
            torch.compiler.reset()
            hessian = torch.func.hessian(lambda w, c=constraint: (c(w) ** 3).sum())
            compiled = torch.compile(hessian, fullgraph=True, backend="aot_eager")
            torch.testing.assert_close(compiled(w.detach()), hessian(w.detach()))


def test_jax_differentiates_a_loop_after_the_call_that_traced_it():
    """Without x64, where the derivative has float64 of its own."""
    jax = pytest.importorskip("jax")
    with JAX.active():
        w = JAX.array(np.asarray([[1e-6, 0.3], [1e-6, 0.4]], dtype=np.float16))

        def looped(w):
            def step(w, _):
                return UnitNorm()(w), None

            return jax.lax.scan(step, w, None, length=2)[0].sum()

        gradient = jax.grad(looped)(w)
        assert gradient.dtype == w.dtype
        np.testing.assert_allclose(np.asarray(gradient)[:, 0], 0, atol=1e-7)
        hessian = jax.hessian(looped)(w.astype("float32"))
        assert np.isfinite(hessian).all()


@pytest.mark.parametrize("library", [JAX, JAX_X64], ids=str)
def test_jax_second_derivatives_of_kept_unit_slices(library):
    jax = pytest.importorskip("jax")
    with library.active():
        unit = JAX.array(np.asarray([0.6, 0.0, -0.8], dtype=np.float32))

        def plain(w):
            return ((w / jax.numpy.sqrt((w * w).sum())) ** 3).sum()

        found = jax.hessian(lambda w: (UnitNorm()(w) ** 3).sum())(unit)
        np.testing.assert_allclose(found, jax.hessian(plain)(unit), atol=2e-6)
