"""The adapters compute what their peers do, and the known gaps are neither more nor fewer."""

from __future__ import annotations

import importlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from array_constraints_conformance.known_gaps import read
from judged_peers import PEERS, Peer

SOME = ("SET-1", "SET-12", "SET-14", "NUM-1", "NUM-2", "GRAD-1", "GRAD-2")
W = np.asarray([[3.0, 0.3], [4.0, 0.4]], dtype="float32")  # of norm 5, and of norm 0.5
KERNEL = np.asarray([[[3.0, 0.3]], [[4.0, 0.4]], [[0.0, 1.2]]], dtype="float32")  # 5, and 1.3
LIBRARY = {
    **dict.fromkeys(("torch", "ngpt", "edm2", "hyperball"), "torch"),
    **dict.fromkeys(("optax", "jaxopt"), "jax.numpy"),
    "pyproximal": "numpy",
}
GROUPS = np.asarray([[3.0, -4.0, 0.5, 1.0], [0.0, 2.0, -3.0, 1.0]], dtype="float32")
# Of each set one that is worked by hand: arguments, a weight, what it becomes.
BY_HAND = {
    "MaxNorm": ({"max_value": 1}, W, [[0.6, 0.3], [0.8, 0.4]]),
    "UnitNorm": ({"axis": -1}, W.T, [[0.6, 0.8], [0.6, 0.8]]),
    "NonNeg": ({}, 1 - W, [[0.0, 0.7], [0.0, 0.6]]),
    "Box": ({"min_value": 0.35, "max_value": 3.5}, W, [[3.0, 0.35], [3.5, 0.4]]),
    "Sphere": ({"radius": 2.0, "axis": (0, 1), "unit": "rms"}, np.ones((2, 2), "f4"), 2.0),
    "Halfspace": ({"normal": (1.0, 3.0), "bound": 5.0}, W, [[2.0, 0.3], [1.0, 0.4]]),
    "Hyperplane": ({"normal": 1.0, "value": 1.0}, W, [[0.0, 0.45], [1.0, 0.55]]),
    "Simplex": ({"total": 1.0, "axis": 1}, W, [[1.0, 0.0], [1.0, 0.0]]),
    "L1Ball": ({"radius": 2.0}, -W, [[-0.5, -0.3], [-1.5, -0.4]]),
    "NMSparse": ({"axis": 1}, GROUPS, [[3.0, -4.0, 0.0, 0.0], [0.0, 2.0, -3.0, 0.0]]),
    "Mask": ({"mask": [[True, False], [False, True]]}, W, [[3.0, 0.0], [0.0, 0.4]]),
    "Triangular": ({"part": "upper", "axis": (-1, -2)}, W, [[3.0, 0.0], [4.0, 0.4]]),
}


def peer(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # JAXopt is no longer maintained
        return importlib.import_module(f"array_constraints_conformance.peers.{name}")


class TestTheAdaptersByHand:
    @pytest.mark.parametrize("name", LIBRARY)
    def test_bring_slices_where_they_belong(self, name):
        adapter, xp = peer(name), importlib.import_module(LIBRARY[name])
        there = [constraint for constraint in BY_HAND if hasattr(adapter, constraint)]
        assert there
        for constraint in there:
            arguments, w, expected = BY_HAND[constraint]
            found = np.asarray(getattr(adapter, constraint)(**arguments)(xp.asarray(w)))
            near = {"edm2": 2e-4, "pyproximal": 2e-5}.get(name, 1e-6)  # by their contracts
            expected = np.broadcast_to(np.asarray(expected), w.shape)
            np.testing.assert_allclose(
                found, expected, rtol=near, atol=near, err_msg=constraint
            )

    @pytest.mark.parametrize("name", ["torch", "optax", "jaxopt", "pyproximal"])
    def test_take_an_axis_of_any_form(self, name):
        adapter, xp = peer(name), importlib.import_module(LIBRARY[name])
        w, close = xp.asarray(KERNEL), {"rtol": 1e-6, "atol": 0}
        np.testing.assert_allclose(
            np.asarray(adapter.MaxNorm(1, axis=[0, 1])(w)),
            [[[0.6, 3 / 13]], [[0.8, 4 / 13]], [[0.0, 12 / 13]]],
            **close,
        )
        whole = np.asarray(adapter.MaxNorm(1, axis=None)(w))
        np.testing.assert_allclose(whole, KERNEL / np.linalg.norm(KERNEL), **close)

    @pytest.mark.parametrize("name", ["torch", "optax", "jaxopt", "pyproximal"])
    def test_refuse_an_axis_that_is_not_there(self, name):
        with pytest.raises(IndexError):
            peer(name).MaxNorm(axis=2)(W)

    @pytest.mark.parametrize("name", LIBRARY)
    def test_claim_to_be_maps_and_nothing_more(self, name):
        assert peer(name).CONFORMANCE_SCOPES == ("map",)
        assert not hasattr(peer(name), "MinMaxNorm")


class TestTheAdaptersBesideTheirPeer:
    """The bits are those of a direct call, its faults included."""

    def test_torch(self):
        import torch

        adapter = peer("torch")
        for w in (torch.asarray(W), torch.full((3, 2), 1e20), torch.full((4096, 2), 2.6)):
            assert adapter.MaxNorm(1)(w).equal(torch.renorm(w, 2, 1, 1))
            assert adapter.UnitNorm()(w).equal(torch.nn.functional.normalize(w, dim=0))
            assert adapter.NonNeg()(-w).equal(torch.clamp(-w, min=0))
            assert adapter.Box(-0.7, 0.7)(w).equal(torch.clamp(w, -0.7, 0.7))
            assert adapter.Triangular(offset=-1)(w).equal(torch.tril(w, -1))
        ties = torch.ones((1, 4))
        kept = torch.topk(ties, 2).indices.sort().values
        assert adapter.NMSparse()(ties).nonzero()[:, 1].equal(kept[0])

    @pytest.mark.parametrize("name", ["ngpt", "edm2", "hyperball"])
    def test_published_formulas(self, name):
        import torch

        for w in (torch.asarray(W), torch.full((3, 2), 1e20), torch.zeros((3, 2))):
            norm = w.norm(dim=0, keepdim=True)
            if name == "edm2":
                expected = w / (1e-4 + norm / len(w) ** 0.5) * 3
                ours = peer(name).Sphere(3.0, unit="rms")(w)
            else:
                expected = w / norm
                ours = peer(name).UnitNorm()(w) if name == "ngpt" else peer(name).Sphere()(w)
            torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0, equal_nan=True)

    def test_pyproximal(self):
        from pyproximal import projection

        adapter, ones = peer("pyproximal"), np.ones(2, dtype="float32")
        for ours, direct in (
            (adapter.MaxNorm(1.0), projection.EuclideanBallProj(0, 1.0)),
            (adapter.Halfspace(1.0, 0.5), projection.HalfSpaceProj(ones, 0.5)),
            (adapter.Hyperplane(1.0, 0.5), projection.HyperPlaneBoxProj(ones, 0.5)),
            (adapter.Simplex(0.7), projection.SimplexProj(2, 0.7)),
            (adapter.L1Ball(0.7), projection.L1BallProj(2, 0.7)),
            (adapter.NMSparse(1, 2, 0), projection.L0BallProj(1)),
        ):
            expected = np.stack([direct(W[:, 0]), direct(W[:, 1])], axis=1)
            np.testing.assert_array_equal(ours(W), expected)

    @pytest.mark.parametrize("name", ["optax", "jaxopt"])
    def test_jax(self, name):
        import jax.numpy as jnp

        adapter = peer(name)
        package = importlib.import_module(name)
        theirs = package.projections if name == "optax" else package.projection
        for w in (jnp.asarray(W), jnp.full((3, 2), 1e20), jnp.zeros((3, 2))):
            for ours, direct in (
                (adapter.MaxNorm(1.0), lambda v: theirs.projection_l2_ball(v, 1.0)),
                (adapter.UnitNorm(), theirs.projection_l2_sphere),
            ):
                expected = jnp.stack([direct(w[:, 0]), direct(w[:, 1])], axis=1)
                np.testing.assert_array_equal(ours(w), expected)
            direct = theirs.projection_non_negative(-w)
            np.testing.assert_array_equal(adapter.NonNeg()(-w), direct)
        plane = (jnp.ones(2), 0.5) if name == "optax" else ((jnp.ones(2), 0.5),)
        for constraint, call, *arguments in (
            (adapter.Simplex(0.7), theirs.projection_simplex, 0.7),
            (adapter.L1Ball(0.7), theirs.projection_l1_ball, 0.7),
            (adapter.Halfspace(1.0, 0.5), theirs.projection_halfspace, *plane),
            (adapter.Hyperplane(1.0, 0.5), theirs.projection_hyperplane, *plane),
        ):
            expected = jnp.stack([call(jnp.asarray(v), *arguments) for v in W.T], axis=1)
            np.testing.assert_allclose(constraint(jnp.asarray(W)), expected, rtol=1e-6)


def judged(chosen: Peer, folder: Path, *more: str) -> tuple[int, str, list[dict]]:
    done = chosen.run(folder, "--quick", *more)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said
    return done.returncode, said, json.loads((folder / "report.json").read_text())["results"]


class TestKnownGaps:
    @pytest.mark.parametrize("name", ["keras", *LIBRARY])
    def test_say_why_once_for_each_cause(self, name):
        gaps = read(name)
        reasons = {gap.reason for gap in gaps}
        assert len({reason.casefold().rstrip(".") for reason in reasons}) == len(reasons)
        covered = [(gap.requirement, gap.constraint, gap.library) for gap in gaps]
        assert len(set(covered)) == len(covered)

    @pytest.mark.parametrize("name", PEERS)
    def test_leave_nothing_unexplained_and_nothing_that_holds(self, name, tmp_path):
        only = [word for requirement in SOME for word in ("--only", requirement)]
        slow = name == "pyproximal" or PEERS[name].libraries[0].startswith("jax")
        code, said, results = judged(PEERS[name], tmp_path, *(only if slow else ()))
        assert code == 0, said
        outcomes = {result["outcome"] for result in results}
        assert {"met", "known gap"} <= outcomes
        assert not outcomes & {"not met", "gap closed"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The counterexamples of one command that judges Keras on NumPy, nothing excused."""
    folder = tmp_path_factory.mktemp("keras")
    code, said, results = judged(replace(PEERS["keras-numpy"], gaps=""), folder)
    assert code == 1, said
    return {
        (result["requirement"], result["constraint"]): result["counterexample"]
        for result in results
        if result["outcome"] == "not met"
    }


class TestKerasWithoutKnownGaps:
    def test_satisfied_weights_move(self, found):
        shown = found["SET-2", "MaxNorm"]
        assert "changed" in shown["message"]
        given, got = (shown[key].partition("  # ")[0] for key in ("input", "got"))
        assert shown["expected"] == given != got

    def test_large_entries_overflow(self, found):
        got, _, dtype = found["NUM-1", "MaxNorm"]["got"].partition("  # ")
        assert dtype in ("", "float32")
        assert set(got.strip("[]").split(", ")) <= {"0.0", "-0.0", "nan"}  # the weight is lost
        assert {("NUM-1", "MinMaxNorm"), ("NUM-1", "UnitNorm")} <= set(found)

    def test_float64_comes_back_as_float32(self, found):
        for constraint in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"):
            assert found["ARR-2", constraint]["got"] == "float32"
        assert found["ARR-2", "NonNeg"]["expected"] == "float64"

    def test_nonsense_is_accepted(self, found):
        assert found["ERR-1", "MaxNorm"]["input"] == "MaxNorm(max_value=-1)"
        assert found["ERR-1", "MaxNorm"]["got"] == "no error"
        assert ("ERR-1", "MinMaxNorm") in found

    def test_what_keras_promises_is_met(self, found):
        assert not [requirement for requirement, _ in found if requirement.startswith("CFG")]
