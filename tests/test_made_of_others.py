"""Constraints made of others: their configs, files, chunks, rules, and what compiles them."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest

from array_constraints import (
    Blocks,
    Chain,
    Constraint,
    MaxNorm,
    Mean,
    NonNeg,
    Relaxed,
    Sphere,
    Triangular,
    UnitNorm,
    apply,
    deserialize,
    get,
    register,
    serialize,
)
from array_constraints.executors.dask import project
from array_constraints.files import check_file, project_file
from array_constraints.rules import Rule, Rules, read_rules

MADE = [
    Chain([NonNeg(), MaxNorm(float("inf"), axis=(0, 1)), UnitNorm()]),
    Chain([Blocks(Relaxed(Mean(), 0.25), axis=1, sizes=(1, 2)), Triangular()]),
    Relaxed(MaxNorm((1.0, 2.0)), rate=0.1),
    Blocks(Chain([NonNeg()]), size=4),
]
IN_PIECES = [
    Chain([NonNeg(), MaxNorm(1.0)]),
    Chain([Triangular(), NonNeg()]),
    Chain([Triangular(), MaxNorm(tuple(np.linspace(0.1, 1, 512).tolist()), axis=1)]),
    Blocks(Sphere(1.0, axis=(0, 1)), size=8),
    Blocks(MaxNorm(tuple(np.linspace(0.1, 1, 64).tolist())), size=4),
    Blocks(Mean(), sizes=(12, 300, 200)),
    Relaxed(MaxNorm(1.0), 0.5),
    Relaxed(Triangular(), 0.5),
    Relaxed(Blocks(UnitNorm(axis=1), axis=1, size=8), 0.7),
]


def weight() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((512, 64)).astype("float32")


@pytest.mark.parametrize("made", MADE, ids=str)
class TestConfigs:
    def test_survive_json_with_their_members(self, made):
        text = json.dumps(serialize(made), allow_nan=False)
        assert deserialize(json.loads(text)) == made
        assert type(made).from_config(json.loads(json.dumps(made.get_config()))) == made

    def test_are_told_apart_hashed_shown_and_pickled(self, made):
        again = pickle.loads(pickle.dumps(made))
        assert again == made
        assert hash(again) == hash(made)
        assert (
            eval(repr(made), dict(vars(__import__("array_constraints")), inf=float("inf")))
            == made
        )
        others = [other for other in MADE if other is not made]
        assert made not in others


class TestMembers:
    def test_are_given_by_name_or_config(self):
        named = Chain(["non_neg", {"class_name": "MaxNorm", "config": {"max_value": 3}}])
        assert named == Chain([NonNeg(), MaxNorm(3)])
        assert get({"class_name": "Relaxed", "config": {"constraint": "unit_norm"}}) == Relaxed(
            UnitNorm()
        )

    def test_of_registered_classes_are_read_back(self):
        @register(package="made_of_others")
        @dataclasses.dataclass(frozen=True)
        class Halve(Constraint):
            by: float = 2.0

            def __call__(self, w):
                return w / self.by

        chain = Chain([Halve(4.0), NonNeg()])
        assert deserialize(json.loads(json.dumps(serialize(chain)))) == chain

    def test_of_custom_objects_are_those_that_are_named(self):
        class Mine(NonNeg.__base__):
            def project(self, w, xp):
                return xp.abs(w)

            def excess(self, w, xp):
                return xp.abs(w)

        config = {
            "class_name": "Blocks",
            "config": {
                "constraint": {
                    "class_name": "Chain",
                    "config": {"constraints": [{"class_name": "Mine", "config": {}}]},
                },
                "size": 2,
            },
        }
        found = deserialize(config, {"Mine": Mine})
        assert type(found.constraint.constraints[0]) is Mine
        with pytest.raises(ValueError, match="unknown constraint 'Mine'"):
            deserialize(config)

    def test_that_are_not_registered_cannot_be_written(self):
        class Unknown(Constraint):
            def __call__(self, w):
                return w

        with pytest.raises(ValueError, match="not registered"):
            serialize(Chain([Unknown()]))

    def test_keras_has_no_such_class(self):
        with pytest.raises(ValueError, match="Keras 3 has no Chain"):
            serialize(Chain([NonNeg()]), dialect="keras")


@pytest.mark.parametrize("made", IN_PIECES, ids=lambda c: str(c)[:60])
class TestFiles:
    @pytest.mark.parametrize("chunk_size", [2**16, 2**20])
    def test_have_the_same_bytes_whatever_a_chunk_holds(self, made, chunk_size, tmp_path):
        w, target = weight(), tmp_path / "out.npy"
        np.save(tmp_path / "in.npy", w)
        if isinstance(made, Blocks) and made.sizes and chunk_size < w.nbytes:
            made = Blocks(made.constraint, axis=0, size=64)
        report = project_file(tmp_path / "in.npy", target, made, chunk_size=chunk_size)
        np.testing.assert_allclose(np.load(target), made(w), rtol=1e-6, atol=1e-7)
        violation = made.violation(w)
        assert report.tensors[0].before.slices == violation.size
        assert report.tensors[0].before.violating == np.count_nonzero(violation)

    def test_say_where_the_worst_are(self, made, tmp_path):
        np.save(tmp_path / "in.npy", weight())
        report = check_file(tmp_path / "in.npy", made, chunk_size=2**18, slices=3)
        violation = made.violation(weight())
        for worst in report.tensors[0].before.worst:
            index = tuple(0 if i is None else i for i in worst.at)
            assert violation[index] == pytest.approx(worst.violation, rel=1e-6)


def test_what_exceeds_a_chunk_is_refused_with_its_size_and_what_to_do(tmp_path):
    np.save(tmp_path / "in.npy", weight())
    message = (
        "Chain needs whole slices or blocks of .* 131072 bytes, .* 65536 .* raise chunk_size"
    )
    with pytest.raises(ValueError, match=message):
        check_file(
            tmp_path / "in.npy", Chain([NonNeg(), UnitNorm(axis=None)]), chunk_size=2**16
        )


def test_a_relaxed_constraint_reads_a_file_as_often_as_its_constraint(tmp_path):
    np.save(tmp_path / "in.npy", weight())
    target = tmp_path / "out.npy"
    whole = Relaxed(UnitNorm(axis=None), 0.5)
    project_file(tmp_path / "in.npy", target, whole, chunk_size=2**16)
    np.testing.assert_allclose(np.load(target), whole(weight()), rtol=1e-6)


class TestChunksOfDask:
    @pytest.mark.parametrize("made", IN_PIECES, ids=lambda c: str(c)[:60])
    def test_are_constrained_one_by_one_or_refused_with_a_cure(self, made):
        da = pytest.importorskip("dask.array")
        w = weight()
        for chunks in ((512, 64), (96, 20)):
            lazy = da.from_array(w, chunks=chunks)
            try:
                found = project(made, lazy)
            except ValueError as error:
                cure = eval(str(error).partition("pass w.rechunk(")[2].rstrip(")"))
                found = project(made, lazy.rechunk(cure))
            np.testing.assert_allclose(
                found.compute(scheduler="synchronous"), made(w), rtol=1e-6, atol=1e-7
            )

    def test_of_lazy_arrays_a_call_takes_any(self):
        da = pytest.importorskip("dask.array")
        w = weight()[:24, :8]
        made = Chain([Blocks(Sphere(1.0, axis=(0, 1)), size=6), NonNeg()])
        for chunks in ((24, 8), (5, 3)):
            lazy = da.from_array(w, chunks=chunks)
            for function in (made, made.violation):
                found = function(lazy).compute(scheduler="synchronous")
                np.testing.assert_allclose(found, function(w), rtol=1e-6, atol=1e-7)


class TestRules:
    def test_resolve_the_axis_of_each_member(self):
        made = Chain([NonNeg(), Relaxed(MaxNorm(1.0, axis="incoming"))])
        rules, weights = Rules([Rule("*", made)]), {"a.weight": weight()}
        found = rules.apply(weights, layout="torch")["a.weight"]
        along = Chain([NonNeg(), Relaxed(MaxNorm(1.0, axis=1))])
        np.testing.assert_array_equal(found, along(weight()))
        assert "Chain" in str(rules.explain(weights, layout="torch"))
        with pytest.raises(ValueError, match="axis='incoming' is known from a layer"):
            made(weight())

    @pytest.mark.parametrize("suffix", ["json", "toml"])
    def test_are_read_with_nested_configs(self, suffix, tmp_path):
        config = {"constraint": serialize(MaxNorm(1.5)), "size": 4}
        rule = {"select": "*", "constraint": {"class_name": "Blocks", "config": config}}
        text = {
            "json": json.dumps({"rules": [rule]}),
            "toml": '[[rules]]\nselect = "*"\nconstraint = "chain"\nconstraints = ["non_neg", '
            '{class_name = "MaxNorm", config = {max_value = 1.5}}]',
        }[suffix]
        path = tmp_path / f"rules.{suffix}"
        path.write_text(text)
        expected = {
            "json": Blocks(MaxNorm(1.5), size=4),
            "toml": Chain(["non_neg", MaxNorm(1.5)]),
        }
        assert read_rules(path).rules[0].constraint == expected[suffix]

    def test_warn_of_no_axis_that_numbers_blocks(self):
        apply(Blocks(NonNeg(), axis=0, size=1), [np.ones((1, 2)), np.ones(3)])


def test_a_run_with_members_can_be_resumed_unless_one_is_code():
    from array_constraints.files.delivery.identity import why_not_identified

    class Mine(Constraint):
        pass

    assert why_not_identified(Rules([Rule("a", made) for made in MADE])) == ""
    told = why_not_identified(Rules([Rule("a", Chain([NonNeg(), Mine()]))]))
    assert "the constraint of 'a' is code of one's own" in told


def test_torch_compiles_them_and_maps_over_them():
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(weight()[:8, :6])
    for made in (
        Chain([NonNeg(), UnitNorm(axis=1)]),
        Blocks(Chain([NonNeg(), Sphere(1.0, axis=(0, 1))]), size=4),
        Blocks(Mean(), sizes=(2, 6)),
        Relaxed(MaxNorm(1.0)),
        Relaxed(Blocks(MaxNorm(1.0), size=2)),
    ):
        torch._dynamo.reset()
        compiled = torch.compile(lambda w, made=made: made(w), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(w), made(w))
        torch.testing.assert_close(torch.vmap(made)(torch.stack([w, 2 * w]))[1], made(2 * w))


def test_bounds_of_members_are_data_on_jax():
    jax = pytest.importorskip("jax")
    w = jax.numpy.asarray(weight()[:8, :6])
    for make in (
        lambda c: Chain([NonNeg(), MaxNorm(c)]),
        lambda c: Blocks(MaxNorm(c), size=4),
        lambda c: Relaxed(MaxNorm(c), 0.5),
        lambda c: Relaxed(MaxNorm(1.0), c),
    ):
        found = jax.jit(lambda c, make=make: make(c)(w))(0.75)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(make(0.75)(w)))
        slope = jax.grad(lambda c, make=make: (make(c)(w) ** 2).sum())(0.75)
        above, below = (
            (np.asarray(make(c)(weight()[:8, :6].astype(float))) ** 2).sum()
            for c in (0.75001, 0.74999)
        )
        assert float(slope) == pytest.approx((above - below) / 2e-5, rel=1e-3)


@pytest.mark.parametrize(
    "made",
    [
        Relaxed(UnitNorm(), 0.3),
        Relaxed(Mean(), 0.7),
        Relaxed(MaxNorm(0.5)),
        Chain([NonNeg(), UnitNorm()]),
        Blocks(Sphere(1.0, axis=(0, 1)), size=2),
    ],
    ids=str,
)
def test_derivatives_are_those_of_the_map(made):
    torch = pytest.importorskip("torch")
    w = torch.from_numpy(weight()[:4, :3]).double().requires_grad_()
    assert torch.autograd.gradcheck(made, w, atol=1e-6)
