"""Models saved by their own frameworks, through the command line, and loaded there again."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "array_constraints", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def constrain(path: Path, out: Path, rules: Path | list[str]) -> dict:
    """``check`` fails, ``project`` runs, ``check`` passes; what ``project`` said."""
    chosen = ["--rules", rules] if isinstance(rules, Path) else rules
    first = command("check", path, *chosen)
    assert first.returncode == 1, first.stderr
    run = command("project", path, out, *chosen, "--json")
    assert run.returncode == 0, run.stderr
    last = command("check", out, *chosen)
    assert last.returncode == 0, last.stderr + last.stdout
    return json.loads(run.stdout)


def test_the_digits_network_of_the_demo(tmp_path):
    from safetensors.numpy import load_file, save_file

    example = runpy.run_path(str(ROOT / "docs" / "examples" / "digits.py"))
    images = example["load_digits"]()
    run = example["train"](
        (images.data / 16).astype(np.float32), images.target, 3, 0, constrained=False
    )
    names = [f"{layer.replace(' ', '.')}.kernel" for layer in example["CONSTRAINTS"]]
    path, out = tmp_path / "digits.safetensors", tmp_path / "out.safetensors"
    tensors = dict(zip(names, run.weights, strict=True)) | {"hidden.1.bias": np.full(64, -1.0)}
    save_file(tensors, path, metadata={"widths": "64 64 64 64 10"})
    rules = tmp_path / "rules.toml"
    rules.write_text(
        """
        [[rules]]
        select = "hidden.1.kernel"
        constraint = "max_norm"
        max_value = 1.75
        [[rules]]
        select = "hidden.2.kernel"
        constraint = "min_max_norm"
        min_value = 1.3
        max_value = 1.6
        [[rules]]
        select = "*.bias"
        constraint = "none"
        [[rules]]
        select = "hidden.*"
        constraint = "unit_norm"
        axis = 0
        [[rules]]
        select = "output.*"
        constraint = "non_neg"
        """
    )
    report = constrain(path, out, rules)
    assert [t["name"] for t in report["tensors"]] == sorted(names)
    found = load_file(out)
    for name, constraint, weight in zip(
        names, example["CONSTRAINTS"].values(), run.weights, strict=True
    ):
        np.testing.assert_allclose(found[name], constraint(weight), rtol=1e-6)
        assert not constraint.violation(found[name]).any()
    assert found["hidden.1.bias"].tobytes() == tensors["hidden.1.bias"].tobytes()
    assert header(out) == header(path)


def header(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: 8 + int.from_bytes(data[:8], "little")]


def test_a_torch_model_in_bfloat16_with_metadata(tmp_path):
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_model

    from array_constraints import MaxNorm

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Embedding(50, 16), torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)
    ).to(torch.bfloat16)
    path, out = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
    save_model(model, str(path), metadata={"epoch": "3"})
    options = ["--constraint", "max_norm", "--max-value", "0.5", "--axis", "1"]
    constrain(path, out, [*options, "--select", "[12].weight"])
    before, after = load_file(path), load_file(out)
    for name, tensor in before.items():
        expected = MaxNorm(0.5, axis=1)(tensor) if name in ("1.weight", "2.weight") else tensor
        assert after[name].dtype == torch.bfloat16
        torch.testing.assert_close(after[name], expected, rtol=2**-7, atol=0)
    assert after["0.weight"].view(torch.int16).equal(before["0.weight"].view(torch.int16))
    assert header(out) == header(path)
    with safe_open(out, "pt") as file:
        assert file.metadata()["epoch"] == "3"
    model.load_state_dict(after)


@pytest.fixture(scope="module")
def keras_model():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((12,)),
            keras.layers.Dense(8, kernel_initializer="he_normal"),
            keras.layers.Dense(3, bias_initializer="ones"),
        ]
    )


OPTIONS = [
    "--constraint",
    "max_norm",
    "--max-value",
    "0.5",
    "--axis",
    "0",
    "--select",
    "*vars/0",
]


def matches(model, weights: list[np.ndarray]) -> None:
    from array_constraints import MaxNorm

    for found, weight in zip(model.get_weights(), weights, strict=True):
        if weight.ndim == 1:
            assert found.tobytes() == weight.tobytes()
        else:
            np.testing.assert_allclose(found, MaxNorm(0.5, axis=0)(weight), rtol=1e-6)
            assert (np.linalg.norm(found.astype("f8"), axis=0) <= 0.5).all()


def test_weights_of_keras_are_loaded_by_keras_again(keras_model, tmp_path):
    import keras

    path, out = tmp_path / "model.weights.h5", tmp_path / "out.weights.h5"
    keras_model.save_weights(path)
    constrain(path, out, OPTIONS)
    loaded = keras.models.clone_model(keras_model)
    loaded.load_weights(out)
    matches(loaded, keras_model.get_weights())
    before, after = path.read_bytes(), out.read_bytes()
    assert len(before) == len(after)
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= 4 * (12 * 8 + 8 * 3)


def test_a_keras_archive_is_loaded_by_keras_again(keras_model, tmp_path):
    import keras

    path, out = tmp_path / "model.keras", tmp_path / "out.keras"
    keras_model.save(path)
    constrain(path, out, OPTIONS)
    matches(keras.models.load_model(out), keras_model.get_weights())
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(out) as after:
        assert after.testzip() is None
        assert before.namelist() == after.namelist()
        for name in ("config.json", "metadata.json"):
            assert before.read(name) == after.read(name)


def test_keras_in_bfloat16(tmp_path):
    import keras

    path, out = tmp_path / "model.weights.h5", tmp_path / "out.weights.h5"
    model = keras.Sequential(
        [keras.layers.Input((12,)), keras.layers.Dense(8, dtype="bfloat16")]
    )
    model.save_weights(path)
    constrain(path, out, OPTIONS)
    before = np.asarray(model.weights[0]).astype("f4")
    model.load_weights(out)
    after = np.asarray(model.weights[0]).astype("f4")
    scale = np.minimum(1, 0.5 / np.linalg.norm(before, axis=0))
    np.testing.assert_allclose(after, before * scale, rtol=2**-6)
