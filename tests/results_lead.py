"""What the page of results begins with: a picture, and ten lines for those who read no more."""

from __future__ import annotations

import re
from pathlib import Path

LEAD = """\
# Results

![How many requirements each implementation meets](results.svg)

The conformance suite judges implementations of weight constraints by a
[specification](specification.md). This page says what it finds in this library, in Keras, in
the projections of PyTorch, Optax, JAXopt and PyProximal, and in three formulas of training
code (nGPT, EDM2, hyperball), written for the suite. Each library ran unmodified.

- **This library** meets every requirement, on every array library that is named below.
- **Keras** divides by `norm + 1e-7`, so that weights which are allowed already shrink a
  little at each step. Squares of large entries overflow and those of small ones vanish:
  results become zero, NaN or too long. Bounds that make no sense are accepted.
- **PyTorch**'s `renorm` and `normalize` have the same two weaknesses, each with an epsilon of
  its own.
- **Optax and JAXopt** have no epsilon. Squares leave the range there too, and zero slices
  become NaN where norms have to be 1. Sums of simplices and L1 balls are off by what adding
  up sorted entries loses; Optax changes their dtype, or raises. JAXopt's L1 ball of radius 0
  is NaN.
- **PyProximal** bisects hyperplanes, simplices and L1 balls to 0.00001, and raises at NaN; to
  keep none of the entries keeps all of them.
- **nGPT and hyperball** make NaN of zero slices, and lose digits of long float32 sums on CPUs;
  **EDM2** is short by one part in ten thousand, again at each step.
- **For everyday use**: on float32 weights with short slices and norms near 1, all of them but
  EDM2 and the bisections agree to one part in a million. The gaps show at the ends of the
  exponent range, in 16-bit formats, at zero, with NaN, on long slices, and in what happens to a
  weight over many steps.
- A gap is no accusation: each section below says what the implementation documents.
"""
COUNT = re.compile(r"(\d+) of (\d+) met")


def counts(page: str) -> dict[str, tuple[int, int]]:
    """Return how many requirements of *map* each implementation meets, and of how many."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7 and (match := COUNT.fullmatch(cells[4])):
            found[cells[1]] = int(match[1]), int(match[2])
    return found


def draw(page: str, path: Path) -> None:
    """Draw one bar for each implementation: what is met, and what is not."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "results", "svg.fonttype": "none"})
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for place, (met, judged) in enumerate(counts(page).values()):
        share = 100 * met / judged
        axes.barh(place, share, color="#0072b2")
        axes.barh(place, 100 - share, left=share, color="#f7dfcc")
        axes.text(1, place, f"{met} of {judged}", va="center", color="white")
    axes.set_yticks(range(len(counts(page))), list(counts(page)))
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="requirements that are met, in percent")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
