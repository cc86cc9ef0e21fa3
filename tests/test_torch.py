"""What PyTorch's library does in particular: which tensors it reads, ties and sums, and how."""

from __future__ import annotations

import functools
import math

import libraries
import numpy as np
import pytest
from libraries import DTYPES, TORCH, bits
from test_forms import L1Ball

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, apply, reductions
from benchmarks import memory

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from array_constraints.libraries.torch import TORCH as KIND  # noqa: E402
from array_constraints.libraries.torch_autograd import stated  # noqa: E402


class Tagged(torch.Tensor):
    """A subclass that changes nothing."""


class Seen(TorchDispatchMode):
    """A mode that sees all operations and changes none."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Called(Seen):
    """A mode that keeps the names of the operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.__name__)
        return super().__torch_dispatch__(function, types, args, kwargs)


def normal(shape, dtype="float32", seed=0):
    return TORCH.array(libraries.normal(shape, dtype, seed))


def same(a, b):
    """Whether two tensors have the same bits."""
    return bits(TORCH.numpy(a.detach())) == bits(TORCH.numpy(b.detach()))


class TestAtHand:
    def test_are_tensors_with_entries_in_memory(self):
        for w in (torch.zeros(1), torch.zeros(3), torch.zeros(1, 1), torch.zeros(3, 2).T):
            assert KIND.at_hand(w)
            assert KIND.at_hand(torch.nn.Parameter(w, requires_grad=False))

    def test_are_no_others(self):
        sparse, meta = torch.eye(2).to_sparse(), torch.zeros(3, device="meta")
        for w in (torch.zeros(()), torch.zeros(0), torch.zeros(2, 0), sparse, meta):
            assert not KIND.at_hand(w)
        assert not KIND.at_hand(torch.zeros(3).as_subclass(Tagged))

    def test_is_no_parameter_while_it_is_recorded(self):
        w = torch.nn.Parameter(torch.zeros(3))
        assert not KIND.at_hand(w)
        with torch.no_grad():
            assert KIND.at_hand(w)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own
    def test_is_no_tensor_while_a_mode_sees_it_or_it_is_mapped_traced_or_differentiated(self):
        w, found = torch.zeros(3, 2), []

        def ask(w):
            found.append(KIND.at_hand(w))
            return w * 1

        with Seen():
            ask(w)
        with FakeTensorMode(allow_non_fake_inputs=True):
            ask(w)
        with forward_ad.dual_level():
            ask(w)
        torch.vmap(ask)(w)
        torch.func.grad(lambda w: ask(w).sum())(w)
        torch.jit.trace(ask, w, check_trace=False)
        assert len(found) == 6
        assert not any(found)
        assert KIND.at_hand(w)


def test_float64_is_on_all_devices_but_those_of_metal():
    with FakeTensorMode():
        for device in ("cpu", "meta", "cuda", "xpu", "mtia"):
            assert KIND.has_float64(torch.empty(2, device=device))
        assert not KIND.has_float64(torch.empty(2, device="mps"))


def test_nothing_is_clamped_on_gpus_which_makes_negative_zeros_positive():
    with FakeTensorMode(), Called() as called:
        NonNeg()(torch.empty(3, device="cpu"))
        assert "clamp" in str(called.names)
        called.names.clear()
        for device in ("cuda", "mps", "xpu"):
            NonNeg()(torch.empty(3, device=device))
        assert called.names
        assert "clamp" not in str(called.names)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_less_than_zero_has_no_gradient_and_the_rest_has_it_whole(dtype):
    w = TORCH.array(np.asarray([-1.0, -0.0, 2.0], DTYPES[dtype])).requires_grad_()
    result = NonNeg()(w)
    assert result.requires_grad
    result.sum().backward()
    assert w.grad[0] == 0
    assert w.grad[2] == 1
    assert same(result, NonNeg()(w.detach()))


class TestCompiled:
    @pytest.fixture(autouse=True)
    def nothing_compiled_before(self):
        torch._dynamo.reset()
        yield
        torch._dynamo.reset()

    def test_bounds_are_numbers_several_numbers_or_tensors(self):
        w, several = normal((4, 3)), (0.5, 1.0, 1e3)
        bounds = 0.75, several, torch.tensor(0.25), torch.tensor(several)
        function = lambda w, bounds: [MaxNorm(m)(w) for m in bounds]  # noqa: E731
        call = torch.compile(function, backend="eager", fullgraph=True)
        for found, bound in zip(call(w, bounds), (0.75, several, 0.25, several), strict=True):
            torch.testing.assert_close(found, MaxNorm(bound)(w))


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


class TestTies:
    """Tensors that are the same entries are one weight: it is constrained once."""

    halfway = MinMaxNorm(1.0, 1.0, rate=0.5)  # twice would be three quarters of the way

    @pytest.mark.parametrize("shared", [2, 3])
    def test_views_of_the_same_entries(self, shared):
        w = torch.full((4, 2), 2.0)  # of norm 4
        views = [w, w.view(4, 2), torch.nn.Parameter(w, requires_grad=False)][:shared]
        results = apply(self.halfway, views)
        apply(self.halfway, [w[:] for _ in range(shared)], copy=False)
        assert results[0] is results[1] is results[-1]
        for found in (results[0], w):
            torch.testing.assert_close(found.norm(dim=0), torch.full((2,), 2.5))

    def test_parameters_that_are_not_recorded(self):
        w = torch.full((4, 2), 2.0)
        tied = [torch.nn.Parameter(w), torch.nn.Parameter(w)]
        with torch.no_grad():
            apply(self.halfway, [*tied, normal((3, 2))], copy=False)
        torch.testing.assert_close(w.norm(dim=0), torch.full((2,), 2.5))

    def test_views_of_other_entries_shapes_orders_and_dtypes(self):
        """Some of them begin at the same place of the memory."""
        whole = normal((4, 3, 3), seed=1)
        views = [*whole, whole[0].T, whole[0][:, :1], whole[:2, 0], whole[0].view(torch.int32)]
        for constraint, some in ((NonNeg(), views), (MaxNorm(0.5), views[:-1])):
            for w, found in zip(some, apply(constraint, some), strict=True):
                assert same(found, constraint(w))

    def test_a_view_with_the_sign_turned_is_another_weight(self):
        pair = torch.complex(torch.ones(4, 2), normal((4, 2)))
        views = [pair.imag, pair.conj().imag]
        for w, found in zip(views, apply(NonNeg(), views), strict=True):
            torch.testing.assert_close(found, w.clone().clamp(min=0))

    def test_each_parameter_that_is_recorded_has_a_result_of_its_own(self):
        """Those that share their entries too: each has its gradient."""
        w = torch.full((4, 2), 2.0)
        arrays = [torch.nn.Parameter(w), torch.nn.Parameter(w), torch.nn.Parameter(w + 1)]
        results = apply(MaxNorm(0.5), [*arrays, torch.full((4, 2), 2.0)])
        for i, (array, result) in enumerate(zip(arrays, results, strict=False)):
            (result[0] * (i + 1)).sum().backward()
            expected = torch.nn.Parameter(array.detach())
            (MaxNorm(0.5)(expected)[0] * (i + 1)).sum().backward()
            torch.testing.assert_close(array.grad, expected.grad)
            torch.testing.assert_close(result, MaxNorm(0.5)(array))

    def test_weights_without_entries_in_memory_are_apart(self):
        results = apply(NonNeg(), [torch.zeros(2, 2, device="meta") for _ in range(2)])
        assert results[0] is not results[1]
        empty = [torch.zeros(0, 2), torch.zeros(0, 2)]
        for w, found in zip(empty, apply(NonNeg(), empty), strict=True):
            assert found is w

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own
    def test_tensors_with_tangents_of_their_own(self):
        w, ones = torch.full((4, 2), 2.0), torch.ones(4, 2)
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(w, ones * i) for i in range(3)]
            results = apply(NonNeg(), duals)
            for i, result in enumerate(results):
                assert torch.equal(forward_ad.unpack_dual(result).tangent, ones * i)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
    @pytest.mark.parametrize("trace", ["jit", "fx"])
    def test_a_trace_of_tied_weights_takes_others(self, trace):
        w = torch.full((4, 2), 2.0)
        tied = w[:], w[:]

        def both(a, b):
            return tuple(apply(self.halfway, [a, b]))

        if trace == "jit":
            traced = torch.jit.trace(both, tied, check_trace=False)
        else:
            traced = make_fx(both)(*tied)
        others = w, w + 1
        for w, found in zip(others, traced(*others), strict=True):
            torch.testing.assert_close(found, self.halfway(w))

    def test_weights_that_are_mapped_over(self):
        pair = normal((3, 4, 2)), normal((3, 4, 2), seed=1)
        found = torch.vmap(lambda a, b: tuple(apply(MaxNorm(0.5), [a, b])))(*pair)
        for ws, results in zip(pair, found, strict=True):
            torch.testing.assert_close(results, torch.stack([MaxNorm(0.5)(w) for w in ws]))

    def test_weights_that_a_mode_sees(self):
        w = torch.full((4, 2), 2.0)
        with Seen():
            results = apply(self.halfway, [w, w[:], w + 1])
        for array, result in zip((w, w, w + 1), results, strict=True):
            torch.testing.assert_close(result, self.halfway(array))
        with FakeTensorMode():
            fake = [torch.empty(4, 2), torch.empty(4, 2)]
            assert [r.shape for r in apply(self.halfway, fake)] == [(4, 2)] * 2
        results = apply(self.halfway, fake)
        assert results[0] is not results[1]

    def test_what_is_refused_says_why(self):
        with pytest.raises(TypeError, match=r"of layout torch\.sparse_coo: make it dense"):
            apply(NonNeg(), [torch.eye(2), torch.eye(2).to_sparse(), torch.eye(2).to_sparse()])


class TestInPlace:
    def test_tensors_whose_entries_are_apart_are_written(self):
        whole = normal((6, 8))
        for view in (whole.T, whole[::2], whole[:, 1::3], whole[:, :3].T, whole[2:4, :1]):
            expected = NonNeg()(view)
            assert NonNeg()(view, copy=False) is view
            assert same(view, expected)

    def test_tensors_whose_entries_overlap_are_refused(self):
        w = torch.full((8,), -1.0)
        for shape, strides in (((4, 3), (0, 1)), ((3, 2), (1, 1)), ((3, 3), (2, 1))):
            with pytest.raises(ValueError, match="entries share memory"):
                NonNeg()(w.as_strided(shape, strides), copy=False)
        assert (w == -1).all()


SHAPES = [(5, 3), (2**10, 2**6), (2**6, 2**10), (4, 2**15), (2**15, 4), (3, 5, 2**12), (2**16,)]


class TestSums:
    """Of whole numbers, which are exact in whatever order they are added."""

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_are_exact_and_keep_the_dimensions(self, dtype, shape):
        w = np.random.default_rng(0).integers(-2, 3, shape).astype(DTYPES[dtype])
        x, wide = TORCH.array(w), w.astype("float64")
        for axes in {(), (0,), (len(shape) - 1,), tuple(range(len(shape)))}:
            found = reductions.sum(x, axes, KIND.xp)
            np.testing.assert_array_equal(
                found, np.sum(wide, axis=axes, keepdims=True), strict=True
            )

    @pytest.mark.parametrize("spare", [False, True])
    @pytest.mark.parametrize("shape", [*SHAPES, (2, 2**17), (2**17, 2), (2**18,)], ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_of_powers_are_exact(self, dtype, shape, spare):
        w = np.random.default_rng(0).choice([-3, -2, -1, 1, 2, 3], shape).astype(DTYPES[dtype])
        x, wide = TORCH.array(w), np.abs(w.astype("float64"))
        powers = {1: reductions.sum_of_magnitudes, 2: reductions.sum_of_squares}
        for (power, measure), axis in ((p, a) for p in powers.items() for a in {0, w.ndim - 1}):
            call = functools.partial(measure, x, (axis,), KIND.xp)
            found = KIND.sparingly(call) if spare else call()
            assert found.scale is None
            total = np.asarray(found.value, "float64")
            if found.rounding_error is not None:
                total = total + np.asarray(found.rounding_error)
            expected = np.sum(wide**power, axis=axis, keepdims=True)
            np.testing.assert_array_equal(total, expected, strict=True)

    @pytest.mark.parametrize("shape", [(30, 8000), (2**17,), (2**15 + 77, 3)], ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_have_the_same_bits_where_memory_is_spared(self, dtype, shape):
        w = normal(shape, dtype)
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            for axis in {0, w.ndim - 1}:
                found = KIND.sparingly(measure, w, (axis,), KIND.xp)
                assert same(found.value, measure(w, (axis,), KIND.xp).value)

    @pytest.mark.parametrize("axis", [0, 1, None])
    @pytest.mark.parametrize("shape", [(8, 4), (80, 100), (100, 50)], ids=str)
    def test_of_many_tensors_are_those_of_each(self, shape, axis):
        arrays = [normal(shape, seed=i) for i in range(19)]
        constraint = MaxNorm(2.0, axis)
        for w, found in zip(arrays, apply(constraint, arrays), strict=True):
            assert same(found, constraint(w))


class TestMemory:
    """What is made beyond the weight, as a share of it."""

    @staticmethod
    def share(call, w):
        call(w.clone())  # imports and tables are made once
        w = w.clone()
        return memory.torch_peak(lambda: call(w)) / w.nbytes

    @pytest.mark.parametrize(("shape", "axis"), [((2**18, 2), 0), ((2, 2**18), 1)], ids=str)
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_products_are_made_in_parts_of_an_eighth(self, dtype, shape, axis):
        """In float32 an operand and a result: half of the weight."""
        w, out = normal(shape, dtype), normal(shape, dtype)
        factor = torch.full(tuple(1 if i == axis else n for i, n in enumerate(shape)), 0.7)
        assert self.share(lambda w: KIND.multiply(w, factor, out), w) < 0.6
        assert same(out, (w.float() * factor).to(w.dtype))

    @pytest.mark.parametrize(("shape", "axis"), [((4, 2**17), 0), ((2**17, 4), 1)], ids=str)
    def test_products_of_short_slices_are_made_of_one_entry_of_each(self, shape, axis):
        w, out = normal(shape, "bfloat16"), normal(shape, "bfloat16")
        factor = torch.full(tuple(1 if i == axis else n for i, n in enumerate(shape)), 0.7)
        assert self.share(lambda w: KIND.multiply(w, factor, out), w) < 1.2
        assert same(out, (w.float() * factor).to(w.dtype))

    @pytest.mark.parametrize("axis", [0, 1])
    def test_half_types_are_widened_by_halves(self, axis):
        """A half of the block in float32 is as large as the weight."""
        w = normal((512, 512), "bfloat16")
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            assert self.share(lambda w, m=measure: m(w, (axis,), KIND.xp), w) < 1.2

    @pytest.mark.parametrize("axis", [0, 1])
    def test_where_memory_is_spared_they_are_widened_by_quarters(self, axis):
        w = normal((1024, 1024), "bfloat16")
        for measure in (reductions.sum_of_squares, reductions.sum_of_magnitudes):
            call = functools.partial(KIND.sparingly, measure)
            assert self.share(lambda w, c=call: c(w, (axis,), KIND.xp), w) < 0.6

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_in_place_a_quarter_is_made_of_the_sums(self, axis, dtype):
        w = normal((512, 512), dtype)
        for constraint in (MaxNorm(0.5, axis), L1Ball(0.5, axis)):
            assert self.share(lambda w, c=constraint: c(w, copy=False), w) < 0.6

    @pytest.mark.parametrize(
        ("shape", "axes"),
        [
            ((2**18, 2), (0,)),
            ((2, 2**18), (1,)),
            ((2**19,), (0,)),
            ((1, 8, 8, 8, 8, 8, 8, 2), tuple(range(1, 8))),
        ],
        ids=str,
    )
    def test_sums_of_entries_widen_a_part(self, shape, axes):
        """All of them would be twice the weight in float64."""
        w = normal(shape)
        assert self.share(lambda w: reductions.sum(w, axes, KIND.xp), w) < 0.3


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
