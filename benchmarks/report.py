"""Tables and a picture of what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import rich
from rich.table import Table

from benchmarks.cases import CASES, MANY

Record = dict[str, Any]
PEERS = {
    "numpy": ("Keras", "bare expression", "copy"),
    "torch": ("Keras", "bare expression", "torch.renorm", "F.normalize", "torch.clamp", "copy"),
    "jax": ("Keras, jit", "optax, jit", "bare expression, jit", "Keras"),
}
PLAIN = ("float32", "MaxNorm")
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # the colour-blind tell them apart
DRAWN = (
    ("numpy", "ours", "Keras", "NumPy, new result", {"color": BLUE}),
    ("numpy", "ours, in place", "Keras", "NumPy, in place", {"fc": "none", "ec": BLUE}),
    ("jax", "ours, jit", "Keras, jit", "JAX, under jit", {"color": GREEN, "marker": "s"}),
    ("torch", "ours", "Keras", "PyTorch, new result", {"color": ORANGE}),
    ("torch", "ours, in place", "Keras", "PyTorch, in place", {"fc": "none", "ec": ORANGE}),
)


def ratio_text(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['lower']:.2f}-{ratio['upper']:.2f})"


def cells(record: Record, library: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of one library: our ratio to each peer, case by case."""
    rows = {(r["case"], r["contestant"]): r for r in record["rows"] if r["library"] == library}
    peers = [p for p in PEERS[library] if any(contestant == p for _, contestant in rows)]
    table = []
    for case in [*map(str, CASES), f"{MANY} tensors of 64x64"]:
        for ours in ("ours", "ours, in place", "ours, jit"):
            row = rows.get((case, ours))
            if row is None:
                continue
            ratios = [row["ratios"].get(peer) for peer in peers]
            if ours == "ours, jit" or library != "jax":
                shown = [ratio_text(r) if r else "" for r in ratios]
            else:  # eager against eager
                shown = [
                    ratio_text(r) if r and "jit" not in peer else ""
                    for r, peer in zip(ratios, peers, strict=True)
                ]
            time = f"{row['seconds'] * 1e6:,.0f}"
            table.append([case, ours.removeprefix("ours, ").replace("ours", ""), time, *shown])
    return ["weight", "call", "us", *(f"x {peer}" for peer in peers)], table


def target_cells(record: Record) -> tuple[list[str], list[list[str]]]:
    header = ["library", "call", "beside", "weight", "ratio", "at most", ""]
    return header, [
        [
            t["library"],
            t["contestant"],
            t["reference"],
            t["case"],
            ratio_text(t["ratio"]),
            f"{t['most']:.2f}",
            "met" if t["met"] else "**not met**",
        ]
        for t in record["targets"]
    ]


def growth_cells(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [r for r in record["rows"] if "seconds per entry" in r]
    return ["library", "weight", "call", "ns per entry"], [
        [
            r["library"],
            r["case"].removeprefix("growth: "),
            r["contestant"].removeprefix("ours, ").replace("ours", "new result"),
            f"{r['seconds per entry'] * 1e9:.3f}",
        ]
        for r in rows
    ]


def memory_cells(record: Record) -> tuple[list[str], list[list[str]]]:
    return ["library", "weight", "call", "peak / weight"], [
        [
            m["library"],
            f"{'x'.join(map(str, m['shape']))} axis {m['axis']}",
            m["call"],
            f"{m['peak']:.3f}",
        ]
        for m in record["memory"]
    ]


def sections(record: Record) -> dict[str, tuple[list[str], list[list[str]]]]:
    libraries = [name for name in PEERS if any(r["library"] == name for r in record["rows"])]
    found = {f"On {name}": cells(record, name) for name in libraries}
    found["Memory"] = memory_cells(record)
    found["Growth"] = growth_cells(record)
    return found


def circumstances(record: Record) -> str:
    """Return where and how it was measured."""
    environment = record["environment"]
    packages = ", ".join(f"{name} {v}" for name, v in environment["packages"].items())
    return (
        f"{environment['processor']}, one thread; Python {environment['python']}, {packages}; "
        f"{record['rounds']} rounds. Ratios of medians with their quartiles: below 1, this "
        "library is faster."
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def markdown(record: Record) -> str:
    """Return the tables of the documentation in Markdown, one section each."""
    found = [f"### {title}\n\n{table(*both)}" for title, both in sections(record).items()]
    return "\n\n".join([circumstances(record), *found])


def targets_markdown(record: Record) -> str:
    """Return the table of the targets, which only those who work on speed need."""
    return f"{circumstances(record)}\n\n{table(*target_cells(record))}"


def show(record: Record) -> None:
    """Print the tables."""
    for title, (header, rows) in (sections(record) | {"Targets": target_cells(record)}).items():
        table = Table(*header, title=title)
        for row in rows:
            table.add_row(*(cell.replace("*", "") for cell in row))
        rich.print(table)


def draw(record: Record, file: Path) -> None:
    """Draw our time in units of Keras's over the size of the weight: below 1 is faster."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "performance", "svg.fonttype": "none"})
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    cases = {str(case): case for case in CASES if (case.dtype, case.constraint) == PLAIN}
    for library, ours, peer, label, look in DRAWN:
        found = [
            (math.prod(cases[row["case"]].shape), row["ratios"][peer]["median"])
            for row in record["rows"]
            if (row["library"], row["contestant"]) == (library, ours) and row["case"] in cases
        ]
        aside = {"numpy": 0.85, "torch": 1.0, "jax": 1.18}[library]
        x, y = [aside * entries for entries, _ in found], [time for _, time in found]
        axes.scatter(x, y, s=30, label=label, linewidths=1.2, **look)
    axes.axhline(1, color="0.4", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="entries of the weight", ylabel="time / Keras")
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1: as Keras", "2"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.set_title("MaxNorm in float32, beside Keras on the same library: below 1 is faster")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, metadata={"Date": None})
