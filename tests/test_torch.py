"""What PyTorch's library does in particular: which tensors it reads and writes, and ties."""

from __future__ import annotations

import libraries
import pytest
from libraries import TORCH, bits

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, apply

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from array_constraints.libraries.torch import TORCH as KIND  # noqa: E402


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
