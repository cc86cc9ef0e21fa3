"""Judge this library and its peers with the conformance suite, and write the page of results.

``nox -s results`` runs this. Each peer is judged in a process of its own, by the command line
of the suite, with the known gaps that the suite has for it; the page is made of the records.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from array_constraints_conformance.known_gaps import read
from array_constraints_conformance.report.outcomes import OUTCOMES, SYMBOLS
from array_constraints_conformance.report.summary import cell
from array_constraints_conformance.specification import Requirement, requirements
from results_lead import LEAD, draw
from rich.progress import track

Record = dict[str, Any]

ROOT = Path(__file__).parents[1]
SUITE = "array_constraints_conformance"
SCOPES = ("map", "Keras API")
OUTSIDE = "·"
LEGEND = ("known gap", "met", "not provided", "not applicable")  # all that can be left
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
multiplies by the mask. `NMSparse` multiplies by a mask that `torch.topk` makes, as pruning
scripts do; which of equal entries it takes is documented as not fixed. There is no
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
`L0BallProj` is `NMSparse`, called for each group. Hyperplane, simplex and L1 ball are found by
bisection to `xtol`, which is documented as $10^{-5}$. Half types are not mentioned.""",
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


def judged(peer: Peer, profile: str) -> Record:
    """Return the record of a peer, of which nothing may be left unexplained."""
    with tempfile.TemporaryDirectory() as folder:
        size = [f"--{profile}"] if profile != "default" else []
        done = peer.run(Path(folder), *size)
        if done.returncode:
            raise SystemExit(f"{peer.title}:\n{done.stdout}\n{done.stderr}")
        return json.loads(Path(folder, "report.json").read_text("utf-8"))  # type: ignore[no-any-return]


def shortened(value: str, length: int = 70) -> str:
    """Return text on one line, safe in a table cell."""
    line = " ".join(value.split()).replace("`", "'").replace("|", "\\|")
    return line if len(line) <= length else line[: length - 2].rstrip(" ,") + " …"


def code(value: str) -> str:
    return f"`{shortened(value)}`" if value else ""


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def results_of(record: Record, requirement: str) -> list[Record]:
    return [r for r in record["results"] if r["requirement"] == requirement]


def symbol(record: Record, requirement: str) -> str:
    """Return the worst outcome of a requirement, and how many share it if not all do."""
    results = results_of(record, requirement)
    if not results:
        return OUTSIDE
    worst = cell(results)
    shared = f" {worst.times}/{worst.judged}" if worst.times < worst.judged else ""
    return SYMBOLS[worst.outcome] + shared


def anchor(requirement: Requirement) -> str:
    """Return the anchor of a requirement's heading in the specification."""
    heading = f"{requirement.id} — {requirement.title}".lower()
    return re.sub(r"[^\w -]", "", heading).replace(" ", "-")


def matrix(records: dict[str, Record]) -> Iterator[str]:
    """Yield the table of requirements by implementation."""
    yield row("", "requirement", *records)
    yield "|---|---|" + "---|" * len(records)
    for requirement in requirements().values():
        if requirement.scope in SCOPES:
            cells = [symbol(record, requirement.id) for record in records.values()]
            title = f"[{requirement.title}](specification.md#{anchor(requirement)})"
            yield row(requirement.id, title, *cells)


def verdicts(records: dict[str, Record]) -> Iterator[str]:
    """Yield the table of what was judged, and how much of it is met, by scope."""
    yield row("implementation", "version", "on", *SCOPES)
    yield "|---|---|---|" + "---|" * len(SCOPES)
    for peer in (OURS, *PEERS.values()):
        record = records[peer.title]
        counts = {v["scope"]: v["counts"] for v in record["verdicts"]}
        cells = [counted(counts[scope]) if scope in counts else OUTSIDE for scope in SCOPES]
        on = ", ".join(f"`{library['name']}`" for library in record["libraries"])
        yield row(peer.title, version(peer.package), on, *cells)


def counted(counts: dict[str, int]) -> str:
    met, gaps = counts.get("met", 0), counts.get("known gap", 0)
    return f"{met} of {met + gaps} met"


def section(peer: Peer, record: Record) -> Iterator[str]:
    """Yield what a peer documents, the causes of its gaps, and a counterexample of each gap."""
    yield from (f"## {peer.title}", "", peer.contract, "", "```", peer.command, "```", "")
    gaps: dict[tuple[str, str], list[Record]] = {}
    for requirement in requirements():
        for result in results_of(record, requirement):
            if result["outcome"] == "known gap":
                gaps.setdefault((requirement, result["reason"]), []).append(result)
    links = {gap.reason: gap.link for gap in read(peer.gaps)}
    causes = list(dict.fromkeys(reason for _, reason in gaps))
    yield from (f"{i}. {cause} ([source]({links[cause]}))" for i, cause in enumerate(causes, 1))
    yield from ("", row("", "for", "cause", "input", "expected", "got"), "|---" * 6 + "|")
    for (requirement, reason), results in gaps.items():
        yield example(requirement, causes.index(reason) + 1, results)
    yield ""


def example(requirement: str, cause: int, results: list[Record]) -> str:
    """Return the row of a gap: where it is, why, and the shortest counterexample."""
    names = ", ".join(dict.fromkeys(result["constraint"] for result in results))
    shown = min((r["counterexample"] for r in results), key=lambda found: len(found["input"]))
    given = shown["constraint"] or shown["message"]
    dtype = f" {shown['dtype']}" if shown["dtype"] else ""
    entries = f" {code(shown['input'])}" if shown["input"] != given else ""
    put_in = f"{code(given)}{dtype}{entries}"
    return row(
        requirement, names, str(cause), put_in, code(shown["expected"]), code(shown["got"])
    )


def page(records: dict[str, Record], profile: str) -> str:
    """Return the page of results as Markdown."""
    ours = records[OURS.title]
    own = next(v["counts"] for v in ours["verdicts"] if v["scope"] == "this API")
    packages = ("numpy", "torch", "jax", "ml-dtypes", "hypothesis")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    legend = [f"{o.symbol} {o.name}: {o.meaning}" for o in OUTCOMES if o.name in LEGEND]
    lines = [
        LEAD,
        "## Verdicts",
        "",
        "Each implementation is judged within the scope that it claims: *map* for what a",
        "function from weights to weights has to satisfy, *Keras API* for names, parameters",
        "and configs. A requirement counts once for each constraint and library. This page is",
        f"made by `nox -s results`, with the profile *{profile}* and the seed {ours['seed']}.",
        "",
        *verdicts(records),
        "",
        f"Of *this API*, which only this library offers, {counted(own)}. With Python",
        f"{platform.python_version()} on {platform.machine()}, {versions}.",
        "",
        "## Requirements",
        "",
        *(f"- {line}" for line in legend),
        f"- {OUTSIDE} outside the scope that is claimed",
        "",
        "△ 2/3: the requirement is about 3 constraints, and 2 of them have a known gap.",
        "",
        *matrix(records),
        "",
        "What follows is each peer's documented contract, the line that judges it, the causes",
        "of its gaps, and one counterexample for each.",
        "",
    ]
    for peer in PEERS.values():
        lines += section(peer, records[peer.title])
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    profiles = ("quick", "default", "thorough")
    parser.add_argument("--profile", choices=profiles, default="default")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args(argv)
    everyone = (OURS, *PEERS.values())
    records = {p.title: judged(p, options.profile) for p in track(everyone, "judging")}
    text = page(records, options.profile)
    options.output.write_text(text, "utf-8")
    draw(text, options.output.with_suffix(".svg"))


if __name__ == "__main__":
    main()
