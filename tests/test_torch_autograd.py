"""Derivatives of PyTorch that are stated, and where they are finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from libraries import DTYPES, TORCH
from test_torch import same

from array_constraints import MaxNorm, MinMaxNorm, NonNeg

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad  # noqa: E402

from array_constraints.libraries.torch_autograd import stated  # noqa: E402


def rounded(w):
    """Round to whole numbers, with a derivative stated to be ``w**2``: its own is zero."""
    return stated(torch.round, lambda w, tangent: w * w * tangent, w)


def made(function, how, like):
    """Return a function as it is, or as a program that was made of it."""
    if how == "eager":
        return function
    if how == "traced":
        return torch.jit.trace(function, like, check_trace=False)
    torch.compiler.reset()
    return torch.compile(function, backend="eager", fullgraph=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own
class TestStated:
    """Maps whose derivative is stated: whoever differentiates gets that, and no other."""

    @staticmethod
    def entries():
        return torch.tensor([-2.6, -0.3, 0.0, 1.4, 5.0], dtype=torch.float64)

    @pytest.mark.parametrize("how", ["eager", "traced", "compiled"])
    def test_values_are_those_of_the_map_to_the_bit(self, how):
        w = torch.tensor([-2.6, -0.3, -0.0, 0.0, math.nan, math.inf, -math.inf])
        call, recorded = made(rounded, how, w), w.clone().requires_grad_()
        with torch.no_grad():
            found = [call(recorded), call(w)]
        assert not any(result.requires_grad for result in found)
        found += [call(w), call(recorded)]
        assert [result.requires_grad for result in found[2:]] == [False, True]
        for result in found:
            assert same(result, torch.round(w))

    @pytest.mark.parametrize("how", ["eager", "traced", "compiled"])
    def test_gradients_are_the_stated_ones_twice(self, how):
        w = self.entries().requires_grad_()
        call = made(rounded, how, w.detach())
        (first,) = torch.autograd.grad(call(w).sum(), w, create_graph=True)
        torch.testing.assert_close(first, w * w)
        (second,) = torch.autograd.grad(first.sum(), w)
        torch.testing.assert_close(second, 2 * w)

    @pytest.mark.parametrize("how", ["eager", "compiled"])
    def test_transforms_of_functions_give_them_too(self, how):
        w, ones = self.entries(), torch.ones(5, dtype=torch.float64)
        gradient = torch.func.grad(lambda w: rounded(w).sum())

        def both(w):
            _, tangent = torch.func.jvp(rounded, (w,), (ones,))
            return tangent, *torch.func.jvp(gradient, (w,), (ones,))

        for found, expected in zip(made(both, how, w)(w), (w * w, w * w, 2 * w), strict=True):
            torch.testing.assert_close(found, expected)

    def test_mapped_over_they_are_those_of_each(self):
        w = self.entries()
        assert torch.equal(torch.vmap(rounded)(w), torch.round(w))
        torch.testing.assert_close(torch.vmap(torch.func.grad(rounded))(w), w * w)
        twice = torch.vmap(torch.func.grad(torch.func.grad(rounded)))(w)
        torch.testing.assert_close(twice, 2 * w)

    def test_tangents_are_too(self):
        w, ones = self.entries(), torch.ones(5, dtype=torch.float64)
        for array in (w, w.clone().requires_grad_()):
            with forward_ad.dual_level():
                result = rounded(forward_ad.make_dual(array, ones))
                value, tangent = forward_ad.unpack_dual(result)
                torch.testing.assert_close(tangent, w * w)
                assert same(value, torch.round(w))
                if array.requires_grad:
                    (second,) = torch.autograd.grad(tangent.sum(), array)
                    torch.testing.assert_close(second, 2 * w)

    @pytest.mark.parametrize("how", ["eager", "compiled"])
    def test_what_is_written_afterwards_has_the_derivative_of_before(self, how):
        leaf = self.entries().requires_grad_()

        def call(leaf):
            w = leaf * 1
            result = rounded(w)
            w.zero_()
            return result, w

        result, w = made(call, how, leaf)(leaf)
        assert not w.any()
        result.sum().backward()
        torch.testing.assert_close(leaf.grad, leaf.detach() ** 2)

    def test_what_nobody_records_is_the_map_alone(self):
        w = self.entries()
        assert stated(lambda w: w, torch.mul, w) is w
        with torch.no_grad():
            w.requires_grad_()
            assert stated(lambda w: w, torch.mul, w) is w


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_less_than_zero_has_no_gradient_and_the_rest_has_it_whole(dtype):
    w = TORCH.array(np.asarray([-1.0, -0.0, 2.0], DTYPES[dtype])).requires_grad_()
    result = NonNeg()(w)
    assert result.requires_grad
    result.sum().backward()
    assert w.grad[0] == 0
    assert w.grad[2] == 1
    assert same(result, NonNeg()(w.detach()))


def test_finite_entries_have_finite_gradients_of_finite_violations_beside_nan():
    w = torch.tensor([[math.nan, 1.0], [2.0, 1.0]], requires_grad=True)
    MaxNorm(1.0).violation(w)[0, 1].backward()
    found = [w.grad[0, 1], *w.grad[1]]
    np.testing.assert_allclose(found, [0.5**0.5, 0.0, 0.5**0.5], rtol=1e-6)


def test_the_violation_of_zeros_has_a_gradient_of_zero():
    """Their norm has no gradient there; one of NaN would spoil all that is trained with it."""
    w = torch.zeros(2, 3, requires_grad=True)
    violation = MinMaxNorm(0.5, 1.0).violation(w)
    assert violation.tolist() == [[0.5] * 3]
    violation.sum().backward()
    assert not w.grad.any()
