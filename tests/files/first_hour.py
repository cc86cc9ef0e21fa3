"""What a user types in the first hour, on models as they lie on disks, and what is printed.

``python tests/files/first_hour.py`` makes the models in a temporary folder, runs the commands
of ``first_hour.txt`` there, and writes what they print below each: to be read before it is
kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SESSION = Path(__file__).with_suffix(".txt")
SNAPSHOT = "models--tiny--llama/snapshots/1f2e3d"
LLAMA = {
    "model.embed_tokens.weight": (64, 16),
    **{
        f"model.layers.{i}.{name}.weight": shape
        for i in range(3)
        for name, shape in {
            "input_layernorm": (16,),
            "mlp.down_proj": (16, 40),
            "mlp.gate_proj": (40, 16),
            "self_attn.o_proj": (16, 16),
            "self_attn.q_proj": (16, 16),
        }.items()
    },
    "model.norm.weight": (16,),
    "lm_head.weight": (64, 16),
}
GPT2 = {
    "wte.weight": (50, 8),
    "h.0.ln_1.weight": (8,),
    "h.0.attn.c_attn.weight": (8, 24),
    "h.0.attn.c_attn.bias": (24,),
    "h.0.attn.c_proj.weight": (8, 8),
    "h.0.mlp.c_fc.weight": (8, 32),
    "h.0.mlp.c_proj.weight": (32, 8),
}


def make_models(folder: Path) -> None:
    """Make the models that the commands name."""
    make_llama_in_a_cache(folder)
    make_gpt2(folder / "gpt2")
    make_torch_checkpoint(folder / "checkpoint.pt")
    make_shards_of_torch(folder / "shards")
    make_keras_archive(folder / "model.keras")
    (folder / "rules.toml").write_text(
        '[[rules]]\nselect = "*"\nconstraint = "max-norm"\nmax_value = 1.0\naxis = "incoming"\n'
        'exclude = ["*norm*", "*embed*"]\nmin_size = 100\n'
    )


def numbers(
    shapes: dict[str, tuple[int, ...]], dtype: str = "float32"
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def make_llama_in_a_cache(folder: Path) -> None:
    """Make two shards as the cache of Hugging Face has them: links to what its blobs are."""
    from safetensors.numpy import save

    snapshot = folder / SNAPSHOT
    blobs = snapshot.parents[1] / "blobs"
    for made in (snapshot, blobs):
        made.mkdir(parents=True)
    tensors = {name: w / 4 for name, w in numbers(LLAMA).items()}
    tensors["model.position_ids"] = np.arange(64)
    files, placed = {}, {}
    for i, part in enumerate((list(tensors)[:9], list(tensors)[9:]), 1):
        shard = f"model-0000{i}-of-00002.safetensors"
        files[shard] = save({name: tensors[name] for name in part}, {"format": "pt"})
        placed |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": placed}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["config.json"] = b'{"model_type": "llama"}'
    files["tokenizer.json"] = b'{"model": {"type": "BPE"}}'
    for name, content in files.items():
        blob = blobs / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))


def make_gpt2(folder: Path) -> None:
    from safetensors.numpy import save_file

    folder.mkdir()
    save_file(numbers(GPT2, "float16"), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text('{"model_type": "gpt2"}')


def make_torch_checkpoint(path: Path) -> None:
    """Make what a training script saves: a network, its optimizer and where it stands."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 10),
    )
    state = model.state_dict()
    found = numbers(
        {name: tuple(w.shape) for name, w in state.items() if w.is_floating_point()}
    )
    for name, w in found.items():
        state[name].copy_(torch.from_numpy(np.abs(w) if "var" in name else w))
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    model.load_state_dict(state)
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path
    )


def make_shards_of_torch(folder: Path) -> None:
    import torch

    folder.mkdir()
    placed = {}
    for i, name in enumerate(("encoder.weight", "decoder.weight"), 1):
        shard = f"pytorch_model-0000{i}-of-00002.bin"
        w = numbers({name: (12, 20)})[name]
        w[0] = [np.nan, *w[0, 1:]] if i == 2 else w[0]
        torch.save({name: torch.from_numpy(w)}, folder / shard)
        placed[name] = shard
    index = {"metadata": {}, "weight_map": placed}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def make_keras_archive(path: Path) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    shapes = {str(i): w.shape for i, w in enumerate(model.get_weights())}
    model.set_weights(list(numbers(shapes).values()))
    model.save(path)


def commands() -> Iterator[str]:
    """Yield the commands of the session."""
    for line in SESSION.read_text("utf-8").splitlines():
        if line.startswith("$ "):
            yield line[2:]


def session(folder: Path) -> Iterator[str]:
    """Run the commands in a folder, and yield each with what it prints, and its exit code."""
    programs = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "COLUMNS": "80",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "error",
        "TERM": "dumb",  # no colours
    }
    for command in commands():
        printed, code = run_in_a_terminal(command, folder, environment)
        ends = f"(exits with {code})\n" if code else ""
        yield f"$ {command}\n{settled(printed, folder)}{ends}"


def run_in_a_terminal(
    command: str, folder: Path, environment: dict[str, str]
) -> tuple[str, int]:
    """Run a command in a terminal of 80 columns; what is wrong comes first."""
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=subprocess.PIPE,
        env=environment,
    ) as run:
        os.close(its_end)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while some := os.read(terminal, 2**16):
                printed += some
        os.close(terminal)
        said = run.stderr.read()
    return (said + printed.replace(b"\r\n", b"\n")).decode(), run.returncode


def settled(text: str, folder: Path) -> str:
    """Return what is printed without what differs from run to run, and blanks at ends."""
    text = text.replace(f"{folder}/", "").replace(str(folder.resolve()), ".")
    text = re.sub(r"\b[0-9a-f]{64}\b", "<digest>", text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        make_models(Path(name))
        made = list(session(Path(name)))
    SESSION.write_text("\n".join(made), "utf-8")
