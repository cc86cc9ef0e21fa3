"""The implementations that are judged: how the suite is called for them, what they document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITE = "array_constraints_conformance"
KERAS = """\
Keras documents names, parameters and configs, which are judged as the scope *Keras API*,
and what each constraint is for, without a word on accuracy. Those of norms divide by the
norm plus `keras.config.epsilon()`, 1e-7, documented as "the fuzz factor used in numeric
expressions": a contract of its own, by which a result may be short by that much. In float32
that is about two roundoffs for a slice of norm 1, more for shorter ones; the gaps below
that say so are no more than that. Keras promises nothing for entries near the ends of the
exponent range, for NaN, or for derivatives at zero."""


@dataclass(frozen=True)
class Peer:
    """An implementation, how the suite is called for it, and what it documents."""

    title: str
    module: str
    libraries: tuple[str, ...]
    package: str
    contract: str = ""
    scopes: tuple[str, ...] = ("map",)
    gaps: str = ""
    backend: str = "numpy"

    @property
    def arguments(self) -> list[str]:
        words = ["--constraints", self.module]
        for option, values in (("--xp", self.libraries), ("--scope", self.scopes)):
            words += [word for value in values for word in (option, value)]
        return words + (["--known-gaps", self.gaps] if self.gaps else [])

    @property
    def command(self) -> str:
        """The line that judges the peer again."""
        before = f"KERAS_BACKEND={self.backend} " if self.module.startswith("keras") else ""
        options = re.sub(r" (--xp|--known-gaps)", r" \\\n    \1", " ".join(self.arguments))
        return f"{before}python -m {SUITE} \\\n    {options}"

    def run(self, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """Judge the peer in a process of its own, its record written to the folder."""
        path = os.pathsep.join([str(ROOT / "conformance"), os.environ.get("PYTHONPATH", "")])
        chosen = {"KERAS_BACKEND": self.backend, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
        words = [sys.executable, "-m", SUITE, *self.arguments, "--report", str(folder), *more]
        env = os.environ | chosen
        return subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True)


def keras(title: str, backend: str, library: str, contract: str = "") -> Peer:
    contract = contract or "Documented as [Keras on NumPy](#keras-on-numpy) is."
    module, scopes = "keras.constraints", ("map", "keras")
    return Peer(title, module, (library,), "keras", contract, scopes, "keras", backend)


def adapted(title: str, name: str, library: str, contract: str, package: str = "") -> Peer:
    module, package = f"{SUITE}.peers.{name}", package or name
    return Peer(title, module, (library,), package, contract, gaps=name)


def published(title: str, name: str, contract: str) -> Peer:
    """Return the formula of a paper, written in PyTorch for the suite."""
    return adapted(title, name, "torch", contract, package="torch")


JAX = "jax.numpy+x64"  # with float64: all four dtypes
OURS = Peer(
    "array_constraints",
    "array_constraints",
    ("numpy", "torch", JAX, "array_api_strict"),
    "array-constraints",
    scopes=("map", "keras", "this"),
)
PEERS = {
    "keras-numpy": keras("Keras on NumPy", "numpy", "numpy", KERAS),
    "keras-torch": keras("Keras on PyTorch", "torch", "torch"),
    "keras-jax": keras("Keras on JAX", "jax", JAX),
    "torch": adapted(
        "PyTorch",
        "torch",
        "torch",
        """\
`MaxNorm` is `torch.renorm`, which takes one dimension, so the adapter makes the slices
rows. It documents that shorter rows come back unchanged, and that the norm of the others
becomes "lower than the value maxnorm". `UnitNorm` is `torch.nn.functional.normalize`, which
documents $v / \\max(\\lVert v\\rVert, \\epsilon)$ with $\\epsilon = 10^{-12}$: by that
contract slices shorter than $\\epsilon$ stay short, which is counted below as a gap of the
unit norm, not as a fault of the function. `NonNeg` and `Box` are `torch.clamp`, `Triangular`
is `torch.tril` and `torch.triu`, and `Mask` is `torch.nn.utils.prune.CustomFromMask`, which
multiplies by the mask. `NMSparse` and `Sparse` multiply by a mask that `torch.topk` makes, as
pruning scripts do; which of equal entries it takes is documented as not fixed. There is no
`MinMaxNorm`.""",
    ),
    "optax": adapted(
        "Optax",
        "optax",
        JAX,
        """\
`MaxNorm` is `projection_l2_ball`, `UnitNorm` and `Sphere` are `projection_l2_sphere`; `NonNeg`,
`Box`, `Simplex`, `L1Ball`, `Halfspace` and `Hyperplane` are `projection_non_negative`,
`projection_box`, `projection_simplex` and so on. They project a whole tree; the adapter maps
them over the slices with `jax.vmap`. Each documents the problem that it solves,
$\\min \\lVert x - y\\rVert^2$ over the set, which has no single solution on the sphere for
$x = 0$; nothing is said of accuracy or of the exponent range. There is no `MinMaxNorm`.""",
    ),
    "jaxopt": adapted(
        "JAXopt",
        "jaxopt",
        JAX,
        """\
The names and the documented problems are those of Optax; the code differs. JAXopt says on
import that it is no longer maintained: its gaps are listed to compare, not to be mended.""",
    ),
    "pyproximal": adapted(
        "PyProximal",
        "pyproximal",
        "numpy",
        """\
The classes of `pyproximal.projection`, which take one vector of NumPy: `EuclideanBallProj` is
`MaxNorm`, `BoxProj` is `NonNeg` and `Box`, `HalfSpaceProj` is `Halfspace`, `HyperPlaneBoxProj`
without bounds is `Hyperplane`, `SimplexProj` is `Simplex` and `L1BallProj` is `L1Ball`;
`L0BallProj` is `Sparse`, and `NMSparse` called for each group. Hyperplane, simplex and L1
ball are found by bisection to `xtol`, which is documented as $10^{-5}$. Half types are not
mentioned.""",
    ),
    "ngpt": published(
        "nGPT",
        "ngpt",
        """\
`UnitNorm` is the published training code's $w / \\lVert w\\rVert$ for each row, in float32
where entries have 16 bits, after each step. No epsilon and no range are stated. That a row
moves by a roundoff or two whenever it is applied again is within what *map* tolerates.""",
    ),
    "edm2": published(
        "EDM2",
        "edm2",
        """\
`Sphere` is forced weight normalisation, $w / (\\epsilon + \\mathrm{rms}(w))$ with the paper's
$\\epsilon = 10^{-4}$, times the radius. By that contract the root mean square is short by one
part in ten thousand, again at each call.""",
    ),
    "hyperball": published(
        "Hyperball",
        "hyperball",
        """\
`Sphere` is $R\\,w / \\lVert w\\rVert$ with `torch.linalg.vector_norm`, as hooks after the step
compute it. They ask for weights that are not zero; no range is stated.""",
    ),
}
