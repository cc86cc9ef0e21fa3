"""One constraint on many weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from libraries import DASK, JAX, JAX_X64, NUMPY, STRICT, TORCH, bits, installed
from test_forms import L1Ball, LInfinityBall, RootMeanSquare

from array_constraints import (
    Constraint,
    Elementwise,
    Interval,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    NormConstraint,
    RadialConstraint,
    apply,
)

LIBRARIES = [library for library in (NUMPY, TORCH, JAX, JAX_X64) if installed(library)]


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


class Sub(np.ndarray):
    pass


class Pair(NamedTuple):
    first: object
    second: object


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_each_array_of_a_nested_container_is_constrained(library):
    with library.active():
        arrays = [library.array(normal((5, 3), seed)) for seed in range(5)]
        a, b, c, d, e = arrays
        weights = {"layers": [a, (b, c)], "pair": Pair(d, e), "none": []}
        result = apply(MaxNorm(1), weights)
        assert list(result) == ["layers", "none", "pair"] or list(result) == list(weights)
        assert type(result["layers"][1]) is tuple
        assert type(result["pair"]) is Pair
        assert result["none"] == []
        found = [result["layers"][0], *result["layers"][1], *result["pair"]]
        for array, constrained in zip(arrays, found, strict=True):
            assert bits(library.numpy(constrained)) == bits(library.numpy(MaxNorm(1)(array)))
        assert bits(library.numpy(apply(NonNeg(), a))) == bits(library.numpy(NonNeg()(a)))


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_iterators_come_back_as_lists_beside_jax_too(library):
    """Generators, such as module.parameters(), within containers too."""
    pytest.importorskip("jax")
    with library.active():
        arrays = [library.array(normal((5, 3), seed)) for seed in range(4)]
        a, b, c, d = arrays
        outer = apply(MaxNorm(1), (w for w in arrays))
        inner = apply(MaxNorm(1), {"first": iter([a, b]), "others": [iter([c]), d]})
        (third,), fourth = inner["others"]
        for found in (outer, [*inner["first"], third, fourth]):
            assert isinstance(found, list)
            for w, constrained in zip(arrays, found, strict=True):
                assert bits(library.numpy(constrained)) == bits(library.numpy(MaxNorm(1)(w)))


class Named(NamedTuple):
    shape: object
    dtype: object


def test_a_named_tuple_is_no_array_whatever_its_fields_are_called():
    given = Named(normal((3, 2)), normal((4, 2), 1))
    found = apply(MaxNorm(1.0), given)
    assert type(found) is Named
    for w, result in zip(given, found, strict=True):
        assert bits(result) == bits(MaxNorm(1.0)(w))


def test_the_weights_may_be_named_and_copy_has_to_be():
    w = normal((3, 2))
    (found,) = apply(weights=[w], constraint=MaxNorm(1.0))
    assert bits(found) == bits(MaxNorm(1.0)(w))
    with pytest.raises(TypeError, match="positional argument"):
        apply(MaxNorm(1.0), [w], True)


def test_the_parameters_of_a_module_are_written_in_place():
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Linear(8, 4, bias=False), torch.nn.Linear(4, 3, False)
    )
    before = [p.detach().clone() for p in module.parameters()]
    with torch.no_grad():
        result = apply(MaxNorm(0.1, axis=1), module.parameters(), copy=False)
        named = apply(MaxNorm(0.1, axis=1), dict(module.named_parameters()), copy=False)
    assert all(a is b for a, b in zip(result, module.parameters(), strict=True))
    assert list(named) == ["0.weight", "1.weight"]
    for old, new in zip(before, module.parameters(), strict=True):
        assert torch.equal(new, MaxNorm(0.1, axis=1)(old))
        assert not torch.equal(new, old)


def test_a_pytree_of_jax_is_traced_once_for_its_structure():
    jax = pytest.importorskip("jax")
    traced = []

    class Halved(Elementwise):  # not frozen: array by array
        def project(self, w, xp):
            traced.append(1)
            return w / 2

        def excess(self, w, xp):
            return xp.abs(w)

    weights = {"a": jax.numpy.ones((2, 3)), "b": jax.numpy.ones((2, 3))}
    apply(Halved(), weights)
    assert len(traced) == 2
    jitted = jax.jit(lambda tree: apply(MaxNorm(1), tree))(weights)
    eager = apply(MaxNorm(1), weights)
    for name in weights:
        assert bits(np.asarray(jitted[name])) == bits(np.asarray(eager[name]))
    with pytest.raises(ValueError, match="immutable"):
        apply(MaxNorm(1), weights, copy=False)
    with pytest.raises(TypeError, match="copy must be"):
        apply(MaxNorm(1), weights, copy=1)
    jax.tree_util.register_pytree_node_class(Node)
    node = apply(MaxNorm(1), Node(weights["a"]))
    assert isinstance(node, Node)
    assert float(jax.numpy.linalg.norm(node.w[:, 0])) <= 1


class Node:
    def __init__(self, w):
        self.w = w

    def tree_flatten(self):
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@pytest.mark.parametrize("weights", [1.0, [1.0], {"a": "text"}, {"a": [np.ones(3), None]}])
def test_what_is_no_array_is_refused(weights):
    with pytest.raises(TypeError, match="MaxNorm takes an array"):
        apply(MaxNorm(1), weights)


def test_a_weight_that_does_not_fit_is_named_by_its_error():
    with pytest.raises(ValueError, match="axis 1 does not fit an array of 1 dimensions"):
        apply(MaxNorm(1, axis=1), {"kernel": np.ones((2, 2)), "bias": np.ones(2)})


@pytest.mark.parametrize("library", [*LIBRARIES, DASK, STRICT], ids=str)
def test_many_that_are_alike_on_every_library(library):
    values = [normal((5, 4), seed) for seed in range(9)]
    with library.active():
        for constraint in (MaxNorm(0.5), NonNeg(), L1Ball()):
            arrays = [library.array(w) for w in values]
            for array, found in zip(arrays, apply(constraint, arrays), strict=True):
                alone = library.numpy(constraint(array))
                assert bits(library.numpy(found)) == bits(alone)


def assert_same(library, constraint, arrays):
    """Each comes out with the bits that a call of its own gives it."""
    for array, found in zip(arrays, apply(constraint, arrays), strict=True):
        assert bits(library.numpy(found)) == bits(library.numpy(constraint(array)))


def assert_same_at_the_edge(library, array):
    """Two neighbouring numbers: by one as its bound an array is moved, by the other kept."""
    moves, keeps = 30.0, 40.0
    while (bound := (moves + keeps) / 2) not in (moves, keeps):
        if bits(library.numpy(MaxNorm(bound, None)(array))) == bits(library.numpy(array)):
            keeps = bound
        else:
            moves = bound
    copies = [copy.deepcopy(array) for _ in range(9)]
    for bound in (moves, keeps):
        assert_same(library, MaxNorm(bound, None), copies)


@pytest.mark.parametrize(
    "library", [lib for lib in LIBRARIES if lib in (NUMPY, TORCH)], ids=str
)
class TestManySmallArrays:
    """Those that are alike are measured at once: the results are those of one call for each."""

    @pytest.mark.parametrize("axis", [0, -1, (0, 1), None])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
    @pytest.mark.parametrize("count", [7, 8, 700])
    def test_are_constrained_as_one_by_one(self, library, axis, dtype, count):
        u = {"float16": 2 * 2.05 * 2.0**-11, "float64": 2 * 30 * 2.0**-53}
        values = [normal((6, 64), seed).astype(dtype) for seed in range(count)]
        for i in range(0, count, 3):
            values[i] *= values[i].dtype.type(0.001)
        arrays = [library.array(w) for w in values]
        constraint = MaxNorm(2.0, axis)
        result = apply(constraint, dict(enumerate(arrays)))
        for i, (w, array) in enumerate(zip(values, arrays, strict=True)):
            np.testing.assert_allclose(
                library.numpy(result[i]),
                library.numpy(constraint(array)),
                rtol=u.get(dtype, 2 * 30 * 2.0**-24),
            )
            assert bits(library.numpy(array)) == bits(w)
            if i % 3 == 0:
                assert result[i] is array

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("shape", [(33, 33, 5), (5, 31, 16)], ids=str)
    def test_are_decided_on_as_one_by_one_at_the_bound(self, library, dtype, shape):
        """The bound is the norm of a slice itself: a roundoff decides."""
        w = normal(shape).astype(dtype)
        norms = np.linalg.norm(w.astype("float64"), axis=(0, 2))
        arrays = [library.array(w) for _ in range(9)]
        for norm in norms[:8]:
            constraint = MaxNorm(float(norm), (0, 2))
            alone = library.numpy(constraint(arrays[0]))
            for found in apply(constraint, arrays):
                assert bits(library.numpy(found)) == bits(alone)

    def test_with_one_that_needs_more_than_a_factor(self, library):
        arrays = [library.array(normal((5, 4), seed)) for seed in range(20)]
        arrays[7][2, 1] = float("nan")
        arrays[9][:, 0] = 0
        result = apply(MaxNorm(0.5), arrays)
        for array, found in zip(arrays, result, strict=True):
            assert bits(library.numpy(found)) == bits(library.numpy(MaxNorm(0.5)(array)))

    @pytest.mark.parametrize("turned", [False, True])
    def test_are_moved_up_to_the_same_bound(self, library, turned):
        for seed in range(5):
            array = library.array(normal((40, 30), seed))
            assert_same_at_the_edge(library, array.T if turned else array)

    @pytest.mark.parametrize(
        "constraint",
        [LInfinityBall(0.5), RootMeanSquare(0.5, None), MinMaxNorm(0.5, 1, 0.3), L1Ball(0.5)],
        ids=repr,
    )
    def test_of_every_size(self, library, constraint):
        assert_same(library, constraint, [library.array(normal((5, 4), i)) for i in range(9)])

    def test_of_whole_slices(self, library):
        kernels = [library.array(normal((3, 3, 2, 2), seed)) for seed in range(9)]
        assert_same(library, RadialConstraint(), kernels)

    def test_without_entries_or_dimensions(self, library):
        assert_same(library, MaxNorm(), [library.array(normal((0, 3))) for _ in range(9)])
        points = [library.array(np.asarray(3.0 + i, "float32")) for i in range(9)]
        assert_same(library, MaxNorm(1, None), points)

    def test_that_are_not_small(self, library):
        memory = library.array(normal(2**19 + 9))
        assert_same(library, MaxNorm(9), [memory[i : i + 2**19 + 1] for i in range(8)])

    @pytest.mark.parametrize("huge", [range(3, 4), range(9)], ids=["one", "all"])
    @pytest.mark.parametrize(
        ("dtype", "exponent"), [("float32", 90), ("float64", 90), ("float64", 700)]
    )
    def test_with_huge_ones(self, library, huge, dtype, exponent):
        values = [normal((5, 4), seed).astype(dtype) for seed in range(9)]
        for i in huge:
            values[i] *= 2.0**exponent
        arrays = [library.array(w) for w in values]
        for bound in (1.0, 2.0**50):  # which is so large that no factor is taken
            assert_same(library, MaxNorm(bound, None), arrays)

    def test_that_are_tied_are_written_once(self, library):
        shared = library.array(normal((5, 4)))
        expected = library.numpy(MaxNorm(0.5)(shared)).copy()
        apply(MaxNorm(0.5), [shared] * 20, copy=False)
        assert bits(library.numpy(shared)) == bits(expected)
        assert len(apply(MaxNorm(0.1), [shared] * 20)) == 20

    def test_beside_others_and_with_one_radius_per_slice(self, library):
        arrays = [library.array(normal((3, 2), seed)) for seed in range(10)]
        arrays.insert(4, library.array(normal((9, 2))))
        for constraint in (MaxNorm((0.1, 0.2)), NonNeg(), MaxNorm(0.1)):
            result = apply(constraint, arrays)
            for array, found in zip(arrays, result, strict=True):
                one = library.numpy(constraint(array))
                np.testing.assert_allclose(library.numpy(found), one, rtol=4e-6)


@pytest.mark.parametrize("kind", ["foreign bytes", "subclass"])
def test_many_of_another_kind_are_moved_up_to_the_same_bound(kind):
    for seed in range(5):
        w = normal((40, 30), seed)
        other = w.astype(">f4") if kind == "foreign bytes" else w.view(Sub)
        assert_same_at_the_edge(NUMPY, other)


def test_many_of_which_some_require_gradients_in_torch():
    torch = pytest.importorskip("torch")
    weights = [torch.ones(4, 3, requires_grad=i in (5, 7)) for i in range(9)]
    results = apply(MaxNorm(1.0), weights)
    for i, (w, found) in enumerate(zip(weights, results, strict=True)):
        assert found.requires_grad == w.requires_grad == (i in (5, 7))
        if w.requires_grad:
            given, alone = (
                torch.autograd.grad(image, w, torch.arange(12.0).reshape(4, 3))[0]
                for image in (found, MaxNorm(1.0)(w))
            )
            assert torch.equal(given, alone)


class TestCopy:
    """What ``copy`` means for arrays that are alike, tied ones among them."""

    def weights(self):
        arrays = [normal((5, 4), seed) for seed in range(9)]
        return [*arrays, arrays[3], arrays[4][:]]

    def test_none_leaves_them_as_they_are(self):
        given = self.weights()
        found = apply(MaxNorm(0.5), given)
        for w, expected, result in zip(given, self.weights(), found, strict=True):
            assert bits(w) == bits(expected)
            assert bits(result) == bits(MaxNorm(0.5)(expected))
        assert found[-2] is found[3]
        assert np.shares_memory(found[-1], found[4])

    def test_none_returns_themselves_where_nothing_changes(self):
        given = self.weights()
        found = apply(MaxNorm(100.0), given)
        assert all(result is w for result, w in zip(found, given, strict=True))

    def test_false_writes_into_each(self):
        given = self.weights()
        found = apply(MaxNorm(0.5), given, copy=False)
        for w, expected, result in zip(given, self.weights(), found, strict=True):
            assert result is w
            assert bits(w) == bits(MaxNorm(0.5)(expected))

    @pytest.mark.parametrize("bound", [0.5, 100.0])
    def test_true_makes_a_new_array_of_each(self, bound):
        given = self.weights()
        found = apply(MaxNorm(bound), given, copy=True)
        for w, expected, result in zip(given, self.weights(), found, strict=True):
            assert bits(w) == bits(expected)
            assert bits(result) == bits(MaxNorm(bound)(expected))
            assert sum(np.shares_memory(result, other) for other in (*given, *found)) == 1


@dataclass(frozen=True)
class Marked(NormConstraint):
    """A form with a call of its own."""

    axis: int = 0

    def interval(self):
        return Interval(0.0, 1.0)

    def __call__(self, w, *, copy=None):
        return super().__call__(w, copy=copy) * 0 + 7


def test_a_call_of_ones_own_is_called():
    for count in (1, 20):
        assert all((w == 7).all() for w in apply(Marked(), [normal((4, 2))] * count))


def test_nothing_is_written_where_one_of_equal_kind_may_not_be():
    good, bad = normal((4, 2)), normal((4, 2))
    before = good.copy()
    bad.flags.writeable = False
    with pytest.raises(ValueError, match="cannot write into a read-only array"):
        apply(MaxNorm(0.1), [good, bad], copy=False)
    assert bits(good) == bits(before)


def test_the_first_weight_that_does_not_fit_is_named():
    integers = [np.ones((2, 2), int) for _ in range(9)]
    with pytest.raises(ValueError, match="axis 1 does not fit"):
        apply(MaxNorm(0.1, axis=1), [normal((4, 2)), np.ones(3), *integers])


class Doubled(Constraint):
    """A constraint that takes numbers, too."""

    def __call__(self, w, *, copy=None):
        return 2 * w


def test_what_a_constraint_of_ones_own_takes_need_not_be_an_array():
    found = apply(Doubled(), [1.0, {"a": (2.0, np.ones(2))}, [3.0]])
    assert found[0] == 2.0
    assert found[1]["a"][0] == 4.0
    np.testing.assert_array_equal(found[1]["a"][1], [2.0, 2.0])
    assert found[2] == [6.0]


def test_nothing_is_written_where_one_weight_does_not_fit():
    good, bad = normal((4, 2)), np.ones(3, "float32")
    before = good.copy()
    with pytest.raises(ValueError, match="axis 1 does not fit"):
        apply(MaxNorm(0.1, axis=1), [good, bad, *[np.ones((2, 2), int)] * 8], copy=False)
    assert bits(good) == bits(before)


class TestWarnings:
    def test_of_weights_with_different_dimensions(self, library):
        weights = [library.array(np.ones(shape, "float32")) for shape in ((4, 3), (3,))]
        with pytest.warns(UserWarning, match=r"MaxNorm along axis 0 meets weights of shapes"):
            apply(MaxNorm(2.0), weights)

    def test_of_slices_of_one_entry(self):
        with pytest.warns(
            UserWarning, match=r"slices of one entry in a weight of shape \(1, 8"
        ):
            apply(MaxNorm(2.0), {"w": np.ones((1, 8))})

    @pytest.mark.parametrize("axis", [None, (0,)])
    def test_none_where_the_axis_is_not_one_number(self, axis):
        apply(MaxNorm(2.0, axis), [np.ones((4, 3)), np.ones(3)])

    def test_none_for_weights_that_are_alike_or_need_no_axis(self):
        apply(MaxNorm(2.0), [np.ones((4, 3)), np.ones((2, 5))])
        apply(NonNeg(), [np.ones((4, 3)), np.ones(3)])

    def test_before_anything_is_written(self):
        weights = [np.full((4, 3), 9.0), np.full(3, 9.0)]
        with pytest.raises(UserWarning, match="meets weights of shapes"):  # errors in tests
            apply(MaxNorm(2.0), weights, copy=False)
        assert weights[0][0, 0] == 9.0
