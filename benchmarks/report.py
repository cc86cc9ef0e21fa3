"""Tables and a picture of what was measured."""

from __future__ import annotations

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
    found["Targets"] = target_cells(record)
    return found


def markdown(record: Record) -> str:
    """Return the tables in Markdown, one section each."""
    environment = record["environment"]
    packages = ", ".join(f"{name} {v}" for name, v in environment["packages"].items())
    lines = [
        f"{environment['processor']}, one thread; Python {environment['python']}, {packages}; "
        f"{record['rounds']} rounds. Ratios of medians with their quartiles: below 1, this "
        "library is faster.",
        "",
    ]
    for title, (header, rows) in sections(record).items():
        lines += [f"### {title}", "", "| " + " | ".join(header) + " |"]
        lines.append("|" + "---|" * len(header))
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def show(record: Record) -> None:
    """Print the tables."""
    for title, (header, rows) in sections(record).items():
        table = Table(*header, title=title)
        for row in rows:
            table.add_row(*(cell.replace("*", "") for cell in row))
        rich.print(table)


def draw(record: Record, file: Path) -> None:
    """Draw our time beside that of Keras: one dot for each case, below the line is faster."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    pairs = [
        ("numpy", "ours", "Keras", "o", "C0"),
        ("numpy", "ours, in place", "Keras", "x", "C0"),
        ("torch", "ours", "Keras", "o", "C1"),
        ("torch", "ours, in place", "Keras", "x", "C1"),
        ("jax", "ours, jit", "Keras, jit", "o", "C2"),
    ]
    times = {(r["library"], r["contestant"], r["case"]): r["seconds"] for r in record["rows"]}
    plain = [str(case) for case in CASES if case.dtype == "float32"]
    for library, ours, peer, marker, color in pairs:
        known = [
            c for c in plain if (library, ours, c) in times and (library, peer, c) in times
        ]
        x = [times[library, peer, c] for c in known]
        y = [times[library, ours, c] for c in known]
        axes.scatter(x, y, marker=marker, color=color, label=f"{library}: {ours}")
    both = axes.get_xlim()
    axes.plot(both, both, color="0.7", linewidth=1, zorder=0)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="Keras on the same library, seconds",
        ylabel="seconds",
    )
    axes.set_title("Below the line, this library is faster")
    axes.legend()
    figure.savefig(file)
    plt.close(figure)
