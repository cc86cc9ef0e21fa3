"""Run the benchmarks: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import memory, pages, report
from benchmarks.contestants import LIBRARIES, one_thread
from benchmarks.targets import judged

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "torch", "jax", "keras", "optax", "array-api-compat")


def environment() -> dict[str, Any]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": cpu,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def run(library: str, rounds: int) -> list[dict[str, Any]]:
    """Measure one library in a process of its own: Keras has one backend in each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.measure", library, str(rounds), str(file)]
        subprocess.run(command, env=one_thread(library), check=True)
        return list(json.loads(file.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each case")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--json", type=Path, help="write all that was measured")
    parser.add_argument("--write", action="store_true", help="write the documentation")
    options = parser.parse_args()
    rows = [row for library in options.libraries for row in run(library, options.rounds)]
    record = {
        "environment": environment(),
        "rounds": options.rounds,
        "rows": rows,
        "memory": memory.measured(),
    }
    record["targets"] = judged(rows)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1, allow_nan=False))
    if options.write:
        pages.replace(ROOT / "docs" / "performance.md", "times", report.markdown(record))
        targets = report.targets_markdown(record)
        pages.replace(ROOT / "benchmarks" / "README.md", "targets", targets)
        report.draw(record, ROOT / "docs" / "performance.svg")
    report.show(record)


if __name__ == "__main__":
    main()
