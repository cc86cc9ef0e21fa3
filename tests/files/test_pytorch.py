"""Files of ``torch.save`` as people write them: nested, tied, views, parameters, options."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import tarfile
import tracemalloc
import zipfile

import damaged_pytorch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_weights import as_numpy

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, open_weights, project_file

torch = pytest.importorskip("torch")

OPTIONS = {"overwrite": True, "chunk_size": 2**16}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.pt"


def named(value, name=""):
    """Each tensor of what torch.load gives, by keys and indices with dots."""
    if isinstance(value, torch.Tensor):
        yield name, value.detach()
        return
    pairs = enumerate(value) if isinstance(value, list | tuple) else ()
    for key, entry in value.items() if isinstance(value, dict) else pairs:
        yield from named(entry, f"{name}.{key}" if name else str(key))


def entries_of(path):
    with open_weights(path) as opened:
        return {
            name: tensor.read(tuple(slice(0, n) for n in tensor.shape))
            for name, tensor in opened.tensors.items()
            if tensor.supported
        }


def projected(path, rules, **options):
    out = path.with_name("out.pt")
    project_file(path, out, rules, **OPTIONS, **options)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
    return dict(named(torch.load(out, weights_only=True)))


def random(*shape):
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype("f4"))


def views():
    """A tensor of shape (30, 20) for each way in which PyTorch may keep one."""
    long = random(90, 20)
    return {
        "plain": random(30, 20),
        "parameter": torch.nn.Parameter(random(30, 20)),
        "frozen": torch.nn.Parameter(random(30, 20), requires_grad=False),
        "transposed": random(20, 30).T,
        "columns": random(30, 40)[:, 1::2],
        "rows": random(60, 20)[::2],
        "both": random(60, 60)[::2, 3::3][:, :19].T[:, :30].T,
        "query": long[:30],
        "key": long[30:60],
        "value": long[60:],
        "permuted": random(4, 20, 30).permute(2, 1, 0)[..., 1],
        "half": random(30, 20).half(),
        "bfloat16": random(30, 20).bfloat16(),
        "double": random(30, 20).double(),
    }


@pytest.mark.parametrize(
    "constraint", [MaxNorm(3.0), MaxNorm(2.0, axis=1), NonNeg(), UnitNorm(axis=None)], ids=repr
)
def test_views_are_constrained_where_they_lie_and_nothing_else_is(constraint, path):
    made = views()
    whole = random(60, 40)
    torch.save({**made, "around": whole, "ids": torch.arange(5)}, path)
    found = projected(path, [("ids", None), ("around", None), ("*", constraint)])
    for name, weight in made.items():
        expected = constraint(as_numpy(weight.detach().contiguous()).copy())
        close = {torch.float64: 1e-14, torch.float32: 1e-6}.get(weight.dtype, 8e-3)
        np.testing.assert_allclose(
            as_numpy(found[name].contiguous()).astype("f8"), expected.astype("f8"), rtol=close
        )
        assert found[name].stride() == weight.stride()
    assert torch.equal(found["around"], whole)
    assert torch.equal(found["ids"], torch.arange(5))


def test_what_lies_between_the_entries_of_a_view_stays(path):
    whole = random(30, 40)
    torch.save({"columns": whole[:, ::2]}, path)
    projected(path, NonNeg())
    out = torch.load(path.with_name("out.pt"), weights_only=True)["columns"]
    storage = torch.empty(0).set_(out.untyped_storage()).reshape(30, 40)
    assert torch.equal(storage[:, 1::2], whole[:, 1::2])
    assert torch.equal(storage[:, ::2], whole[:, ::2].relu())


def test_tied_weights_are_one_with_both_names(path):
    weight = random(30, 20)
    torch.save({"wte": weight, "layer": random(30, 20), "head": weight}, path)
    with open_weights(path) as opened:
        assert list(opened.tensors) == ["wte", "layer"]
        assert opened.tensors["wte"].also == ("head",)
    for select in ("wte", "head"):
        found = projected(path, [(select, MaxNorm(1.0))])
        assert found["wte"].data_ptr() == found["head"].data_ptr()
        assert (found["head"].norm(dim=0) <= 1).all()
    report = check_file(path, [("head", MaxNorm(1.0))])
    assert [tensor.name for tensor in report.tensors] == ["wte"]


def test_entries_that_share_bytes_are_refused_when_they_are_selected(path):
    whole = random(30, 40)
    torch.save(
        {"left": whole[:, :25], "right": whole[:, 20:], "wide": random(1, 20).expand(30, 20)},
        path,
    )
    for name, message in {
        "left": r"'left' lies among the bytes of 'right'.*\.clone\(\)",
        "right": r"'right' lies among the bytes of 'left'",
        "wide": r"entries of 'wide' share their bytes: save it with \.clone\(\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            check_file(path, [(name, NonNeg())])
    with open_weights(path) as opened:
        assert [t.shape for t in opened.tensors.values()] == [(30, 25), (30, 20), (30, 20)]


def test_the_checkpoint_of_a_training_run_keeps_all_that_is_no_weight(path):
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5))
    optimizer = torch.optim.Adam(model.parameters())
    model(random(4, 7)).sum().backward()
    optimizer.step()
    saved = {
        "epoch": 3,
        "loss": [0.5, (0.25, None)],
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "args": {"lr": 1e-3, "dtype": torch.float16, "device": torch.device("cpu")},
        "seen": {1, 2},
        "shape": torch.Size([2, 3]),
        2: {True: torch.ones(3)},
    }
    torch.save(saved, path)
    found = projected(path, [("model.*.weight", MaxNorm(0.1, axis=0))])
    whole = torch.load(path.with_name("out.pt"), weights_only=True)
    assert {k: whole[k] for k in ("epoch", "loss", "args", "seen", "shape")} == {
        k: saved[k] for k in ("epoch", "loss", "args", "seen", "shape")
    }
    expected = dict(named(saved))
    changed = {name for name, t in expected.items() if not torch.equal(t, found[name])}
    assert changed == {"model.0.weight", "model.1.weight"}
    optimizer.load_state_dict(whole["optimizer"])
    model.load_state_dict(whole["model"])
    torch.load(path.with_name("out.pt"), weights_only=True, mmap=True)


DTYPES = ("float32", "bfloat16", "int64", "bool", "uint16", "float8_e4m3fn", "complex64")
CONTAINERS = st.recursive(
    st.builds(
        lambda shape, dtype: torch.full(shape, 2.0).to(dtype),
        st.lists(st.integers(0, 3), max_size=3),
        st.sampled_from([getattr(torch, name) for name in DTYPES]),
    )
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.text("abé/ ", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(value=CONTAINERS, protocol=st.sampled_from([2, 3, 4, 5]))
def test_what_torch_saves_is_listed_as_torch_loads_it(value, protocol, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "in.pt"
    torch.save(value, path, pickle_protocol=protocol)
    expected = {
        name: (tuple(t.shape), str(t.dtype).removeprefix("torch."))
        for name, t in named(torch.load(path, weights_only=False))
    }
    with open_weights(path) as opened:
        listed = {
            name: (tensor.shape, tensor.dtype)
            for tensor in opened.tensors.values()
            for name in (tensor.name, *tensor.also)
        }
        assert listed == expected
        assert all(t.fault is None for t in opened.tensors.values())


def test_a_tensor_with_attributes_of_its_own_and_one_without_a_name(path):
    weight = torch.nn.Parameter(random(3, 4))
    weight.role = "kernel"
    torch.save({"w": weight, (1, 2): random(2)}, path)
    assert set(entries_of(path)) == {"w", "?"}


def test_a_single_tensor_has_no_name(path):
    torch.save(random(3, 4), path)
    assert list(entries_of(path)) == [""]
    assert projected(path, NonNeg())[""].min() >= 0


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse_tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "qtensor"),
        (lambda: torch.empty(3, device="meta"), "meta_tensor_no_storage"),
    ],
    ids=["sparse", "quantised", "meta"],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_other_tensors_are_listed_and_refused_when_they_are_selected(made, kind, path):
    torch.save({"odd": made(), "w": random(3, 4)}, path)
    with open_weights(path) as opened:
        assert opened.tensors["odd"].dtype == kind
    assert check_file(path, [("w", NonNeg())]).tensors
    with pytest.raises(ValueError, match=r"'odd' is not a plain tensor, but made by torch\._"):
        check_file(path, [("odd", NonNeg())])


def test_checksums_that_were_not_computed_stay_zero(path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": random(30, 20)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    project_file(path, path.with_name("out.pt"), NonNeg())
    out = torch.load(path.with_name("out.pt"), weights_only=True)
    assert torch.equal(out["w"], random(30, 20).relu())
    with zipfile.ZipFile(path.with_name("out.pt")) as archive:
        assert {info.CRC for info in archive.infolist()} == {0}


def test_a_wrong_checksum_of_what_is_written_is_damage(path):
    torch.save({"w": random(30, 20), "v": random(3)}, path)
    raw = bytearray(path.read_bytes())
    at = raw.index(as_numpy(random(30, 20)).tobytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"the checksum of in/data/0 is wrong"):
        project_file(path, path.with_name("out.pt"), [("w", NonNeg())])
    project_file(path, path.with_name("out.pt"), [("v", NonNeg())])


def test_the_other_order_of_bytes(path):
    arrays = {"w": as_numpy(random(30, 20))}
    pickled = damaged_pytorch.pickled(damaged_pytorch.entries_of(arrays))
    raw = damaged_pytorch.archive(pickled, {"w": arrays["w"].astype(">f4")})
    path.write_bytes(raw.replace(b"byteorderlittle", b"byteorderbig   "))
    members = {"a/data.pkl": pickled, "a/byteorder": b"big"}
    members["a/data/0"] = arrays["w"].astype(">f4").tobytes()
    path.write_bytes(damaged_pytorch.zipped(members))
    np.testing.assert_array_equal(entries_of(path)["w"], arrays["w"])
    project_file(path, path.with_name("out.pt"), NonNeg())
    np.testing.assert_array_equal(
        entries_of(path.with_name("out.pt"))["w"], np.maximum(arrays["w"], 0)
    )


def test_what_torch_save_has_not_written_is_refused_with_what_to_do(path, tmp_path):
    torch.save({"w": random(3)}, path, _use_new_zipfile_serialization=False)
    message = r"PyTorch before 1\.6.*torch\.load\(\.\.\., weights_only=True\)"
    with pytest.raises(ValueError, match=message):
        open_weights(path)
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    with pytest.raises(ValueError, match=message):
        open_weights(path)
    path.write_bytes(pickle.dumps({"w": [1.0]}))
    with pytest.raises(ValueError, match=r"torch\.save has not written.*save its state_dict\("):
        open_weights(path)
    torch.save(torch.nn.Linear(2, 3), path)
    message = (
        r"its pickle asks for torch\.nn\.modules\.linear\.Linear, which weights do not need"
    )
    with pytest.raises(ValueError, match=message):
        open_weights(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("model/data.pkl", "model/constants.pkl", "model/code/x.py"):
            archive.writestr(name, b"")
    with pytest.raises(ValueError, match=r"a program of TorchScript.*state_dict\(\)"):
        open_weights(path)


class Runs:
    """Runs what it is told to when its pickle is opened."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_runs_nothing(protocol, path, tmp_path):
    for function in (__import__("os").mkdir, exec, eval, open, print, sys.exit):
        torch.save(
            {"w": random(3), "evil": Runs(function, f"{tmp_path}/hostile")},
            path,
            pickle_protocol=protocol,
        )
        message = rf"its pickle asks for \w+\.{function.__name__}, .*could run any code"
        for call in (open_weights, lambda path: check_file(path, [("w", NonNeg())])):
            with pytest.raises(ValueError, match=message):
                call(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.pt"]


def test_torch_refuses_the_hostile_pickles_too(path):
    """The control: what is refused here is no weight for ``weights_only=True`` either."""
    arrays = {"w": np.ones((6, 5), "f4")}
    for name in damaged_pytorch.REFUSED:
        module, _, function = name.rpartition(".")
        raw = b"\x80\x02}" + damaged_pytorch.text("evil")
        raw += f"c{module}\n{function}\n)Rs.".encode()
        path.write_bytes(damaged_pytorch.archive(raw, arrays))
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
        with pytest.raises(ValueError, match="which weights do not need"):
            open_weights(path)


def pickle_of(kind, count):
    """A pickle that is small, and large where it is not read with care."""
    long = b"X" + (10**6).to_bytes(4, "little") + b"k" * 10**6
    return {
        "long keys": b"}(X\x01\0\0\0a}(" + long + b"q\x01N" + b"h\x01N" * count + b"uu.",
        "a list in itself": b"]q\0(h\0" + b"N" * count + b"e.",
        "a dictionary in itself": b"}q\0(X\0\0\0\0q\x01h\0" + b"h\x01N" * count + b"u.",
        "lists of lists": b"]" + b"q\x000](h\0h\0e" * 250 + b".",
        "depth": b"N" + b"\x85" * count + b".",
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["long keys", "a list in itself", "a dictionary in itself", "lists of lists", "depth"],
)
def test_a_small_pickle_takes_no_more_memory_than_a_large_one(kind, path):
    path.write_bytes(damaged_pytorch.archive(b"\x80\x02" + pickle_of(kind, 20_000), {}))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"too often|longer than 4096 characters"):
        open_weights(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def test_a_thousand_names_of_one_tensor(path):
    w = random(2, 3)
    torch.save({"first": w, "others": [w] * 1000}, path)
    with open_weights(path) as opened:
        (tensor,) = opened.tensors.values()
        assert len(tensor.also) == 1000
    assert (
        projected(path, [("others.999", UnitNorm(axis=1))])["first"]
        .norm(dim=1)
        .allclose(torch.ones(2))
    )


@pytest.mark.parametrize("make", [lambda w: w.conj().imag, lambda w: w.conj()])
def test_a_tensor_with_a_sign_beside_its_bytes_is_refused(make, path):
    """What its bytes are is not what it is: torch negates them when it loads them."""
    torch.save({"w": make(torch.complex(random(3), random(3))), "v": random(3)}, path)
    with pytest.raises((TypeError, ValueError), match=r"is not a plain tensor|its dtype is"):
        check_file(path, [("w", NonNeg())])
    assert [t.name for t in check_file(path, NonNeg()).tensors] == ["v"]


def test_what_can_never_be_constrained_is_skipped_by_a_pattern(path):
    tensors = {
        "w": random(4, 4),
        "ids": torch.arange(4).expand(2, -1),
        "mask": torch.ones(1, 1, 4, 4, dtype=torch.bool),
        "sparse": random(3, 3).to_sparse(),
        "seen": collections.Counter(epochs=3),
    }
    torch.save(tensors, path)
    for axis in (0, "incoming"):
        report = check_file(path, MaxNorm(1.0, axis=axis), layout="torch")
        assert [t.name for t in report.tensors] == ["w"]
        assert {one.name for one in report.skipped} >= {"ids", "mask"}
    for name in ("ids", "sparse"):
        with pytest.raises((TypeError, ValueError), match=name):
            check_file(path, [(name, NonNeg())])
