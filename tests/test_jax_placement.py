"""Where results of JAX lie, on one device: placed_on_jax.py has eight."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import bits, normal
from test_jax import Elsewhere

from array_constraints import Elementwise, MaxNorm, NonNeg, apply

jax = pytest.importorskip("jax")

from array_constraints.executors import whole  # noqa: E402
from array_constraints.libraries.jax import _jitted, _jitted_map  # noqa: E402
from array_constraints.libraries.jax_placement import _everywhere, together  # noqa: E402


class Limit(Elementwise):
    """A form that may change, so that JAX runs it operation by operation."""

    def project(self, w, xp):
        return xp.minimum(w, xp.full_like(w, 0.1))

    def excess(self, w, xp):
        return xp.maximum(w - 0.1, xp.zeros_like(w))


class TestPlaces:
    """On one device: meshes, memories and how what is computed there is sharded."""

    matrix = normal((8, 4))

    @pytest.fixture(autouse=True)
    def explicit_meshes(self):
        if not hasattr(jax.sharding, "auto_axes"):
            pytest.skip("this JAX has no explicit meshes")

    def weight(self, *parts, kind="Explicit", names="xy", memory="device"):
        kinds = (getattr(jax.sharding.AxisType, kind),) * 2
        mesh = jax.make_mesh((1, 1), tuple(names), axis_types=kinds)
        spec = jax.sharding.PartitionSpec(*parts)
        place = jax.sharding.NamedSharding(mesh, spec, memory_kind=memory)
        return jax.device_put(self.matrix, place)

    def offloaded(self):
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0], memory_kind="pinned_host")
        return jax.device_put(self.matrix, place)

    def judge(self, constraint, w):
        found = constraint(w)
        np.testing.assert_allclose(found, constraint(self.matrix), rtol=1e-6)
        assert found.dtype == w.dtype
        assert found.sharding.is_equivalent_to(w.sharding, w.ndim)
        assert found.sharding.memory_kind == w.sharding.memory_kind
        violation = constraint.violation(w)
        expected = constraint.violation(self.matrix)
        np.testing.assert_allclose(violation, expected, rtol=1e-6, atol=1e-7)
        assert violation.sharding.memory_kind == w.sharding.memory_kind
        return violation

    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_violations_of_slices_are_sharded_along_the_dimensions_that_remain(self, axis):
        w = self.weight("x", "y")
        violation = self.judge(MaxNorm(1.0, axis), w)
        kept = [None if axis in (i, None) else name for i, name in enumerate("xy")]
        assert tuple(violation.sharding.spec) == tuple(kept)

    @pytest.mark.parametrize("parts", [("x",), (None, "y"), (("x", "y"),), ()], ids=str)
    def test_weights_are_sharded_along_some_dimensions(self, parts):
        self.judge(MaxNorm(1.0), self.weight(*parts))

    @pytest.mark.parametrize("kind", ["Auto", "Explicit"])
    def test_weights_of_a_mesh_may_lie_in_host_memory(self, kind):
        self.judge(MaxNorm(1.0), self.weight("x", "y", kind=kind, memory="pinned_host"))

    def test_weights_may_lie_in_host_memory(self):
        for constraint in (MaxNorm((0.5, 1.0, 2.0, 1e3)), NonNeg()):
            self.judge(constraint, self.offloaded())

    def test_weights_of_a_form_that_may_change(self):
        for w in (self.offloaded(), self.weight("x", "y")):
            self.judge(Limit(), w)

    def test_weights_of_a_jax_so_old_that_arrays_have_no_types(self, monkeypatch):
        monkeypatch.delattr(jax, "typeof", raising=False)
        for constraint in (Limit(), MaxNorm(1.0)):
            self.judge(constraint, jax.numpy.asarray(self.matrix))

    def test_violations_lie_where_the_weight_lies_wherever_its_image_is(self):
        for w in (self.offloaded(), self.weight("x", "y")):
            violation = Elsewhere().violation(w)
            assert violation.dtype == w.dtype
            assert violation.sharding.is_equivalent_to(w.sharding, w.ndim)
            assert violation.sharding.memory_kind == w.sharding.memory_kind
            np.testing.assert_allclose(violation, np.abs(self.matrix) / 2, rtol=1e-6)

    def test_arrays_of_one_mesh_or_device_are_compiled_together(self):
        auto, alone = self.weight("x", kind="Auto"), jax.numpy.asarray(self.matrix)
        first, second = self.weight("x"), self.weight("a", names="ab")
        weights = [alone, first, self.offloaded(), second, self.weight(None, "y"), auto]
        assert [list(each) for each in together(weights)] == [[0, 2], [1, 4], [3], [5]]
        assert [list(each) for each in together([first, second])] == [[0], [1]]
        assert [list(each) for each in together([first, first])] == [[0, 1]]
        for w, found in zip(weights, apply(MaxNorm(1.0), weights), strict=True):
            assert bits(np.asarray(found)) == bits(np.asarray(MaxNorm(1.0)(w)))
            assert found.sharding.is_equivalent_to(w.sharding, w.ndim)
            assert found.sharding.memory_kind == w.sharding.memory_kind

    def test_a_number_lies_on_the_devices_of_the_weight_if_a_mesh_names_them(self):
        alone, meshed = self.offloaded().sharding, self.weight("x").sharding
        assert _everywhere(alone).device_set == alone.device_set
        assert _everywhere(meshed).device_set == meshed.device_set

        class Several(jax.sharding.Sharding):  # older versions of JAX have such
            device_set = frozenset({0, 1})

        assert _everywhere(Several()) is None

    @pytest.mark.parametrize("bound", [1.0, (0.5, 1.0, 2.0, 3.0)])
    def test_bounds_are_brought_to_the_device_once(self, bound):
        constraint = MaxNorm(bound)
        for w in (jax.numpy.asarray(self.matrix), self.weight("x", "y")):
            constraint(w)
            constraint.violation(w)
            with jax.transfer_guard("disallow"):
                constraint(w)
                constraint.violation(w)
                apply(constraint, [w, w])

    @pytest.mark.parametrize("bound", [1.0, (0.5, 1.0, 2.0, 3.0)])
    def test_a_result_may_leave_its_device_where_the_weight_may(self, bound):
        """Bound to the device, it would be compiled for anew in the next call."""
        constraint = MaxNorm(bound)
        for w in (jax.numpy.asarray(self.matrix), self.weight("x", "y")):
            found = [constraint(w), constraint.violation(w), *apply(constraint, [w, w])]
            assert {x.committed for x in found} == {w.committed}
            programs = [whole.project, whole.violation]
            counts = [_jitted(f)._cache_size() for f in programs] + [
                _jitted_map()._cache_size()
            ]
            constraint(found[0])
            constraint.violation(found[0])
            apply(constraint, found[2:])
            again = [_jitted(f)._cache_size() for f in programs] + [_jitted_map()._cache_size()]
            assert counts == again
