"""Rules for the modules of a package: no circles of imports, and their size."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "conformance" / "array_constraints_conformance"
PACKAGE = ROOT / "array_constraints"

LIBRARIES = {
    "array_api_compat", "array_api_strict", "cupy", "dask", "distributed", "jax", "mlx",
    "numpy", "sparse", "torch",
}  # fmt: skip
FRAMEWORKS = {"equinox", "flax", "optax", "tensorflow"}  # "keras" is a dialect, too


def modules(package_folder: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    named = {}
    for path in sorted(package_folder.rglob("*.py")):
        parts = path.relative_to(package_folder.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imported(name: str, path: Path) -> Iterator[str]:
    """Yield all that a module imports, wherever it does so: in functions and for types, too."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports(package_folder: Path) -> dict[str, set[str]]:
    """Return which modules of a package each of its modules imports.

    ``from a import b`` is an import of ``a.b`` where that is a module, else of ``a``.
    """
    files = modules(package_folder)
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for target in imported(name, path):
            found = target if target in files else target.rpartition(".")[0]
            graph[name] |= {found} & files.keys() - {name}
    return graph


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a circle, the first one again at its end; none if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def circles(package_folder: Path) -> list[list[str]]:
    """Return a circle among the modules of a package, and one among what lies at its top."""
    graph = imports(package_folder)
    rooms: dict[str, set[str]] = {}
    for name, targets in graph.items():
        room = _room(name)
        rooms.setdefault(room, set()).update({_room(t) for t in targets} - {room})
    return [circle for circle in map(circle_of, (graph, rooms)) if circle]


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def entries(package_folder: Path) -> list[str]:
    """Return the names at the top of a package, but for those that Python prescribes."""
    usual = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    return sorted({path.name for path in package_folder.iterdir()} - usual)


def long_functions(package_folder: Path, most: int) -> Iterator[tuple[str, int]]:
    """Yield the functions that have more lines than ``most``, docstrings not counted."""
    for name, path in modules(package_folder).items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first, lines = node.body[0], node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= first.end_lineno - first.lineno + 1
                if lines > most:
                    yield f"{name}.{node.name}", lines


@pytest.mark.parametrize("package", [PACKAGE, SUITE], ids=lambda folder: folder.name)
class TestAPackage:
    def test_has_no_circle_of_imports(self, package):
        assert circles(package) == []

    def test_has_no_module_above_300_lines(self, package):
        lines = {
            path: len(path.read_text("utf-8").splitlines()) for path in package.rglob("*.py")
        }
        assert {path.name: n for path, n in lines.items() if n > 300} == {}

    def test_has_at_most_16_entries_at_its_top_and_two_levels_of_folders(self, package):
        assert len(entries(package)) <= 16
        depths = {len(path.relative_to(package).parts) for path in package.rglob("*.py")}
        assert max(depths) <= 3

    def test_has_functions_of_at_most_40_lines_but_for_their_docstrings(self, package):
        assert dict(long_functions(package, 40)) == {}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "from package.b import B", "b.py": "B = 1"}, []),
        ({"a.py": "from package.b import B", "b.py": "from . import a"}, [["a", "b"]] * 2),
        (
            {"a.py": "import package.b", "b.py": "def f():\n    from .a import A"},
            [["a", "b"]] * 2,
        ),
        (
            {
                "one/a.py": "from package.two import b",
                "two/b.py": "B = 1",
                "two/c.py": "from ..one.d import D",
                "one/d.py": "D = 1",
            },
            [["one", "two"]],
        ),
    ],
    ids=["none", "relative", "in a function", "of folders alone"],
)
def test_circles_are_found(tmp_path, files, expected):
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = circles(tmp_path / "package")
    assert [sorted({name.split(".")[1] for name in circle}) for circle in found] == expected


def named(path: Path) -> set[str]:
    """Return the identifiers of a module, and the strings that are nothing but a name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
            found |= {(node.module or "").split(".")[0]} if hasattr(node, "module") else set()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.split(".")[0])
    return {name.split(".")[0] for name in found}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=room)
class TestARoom:
    def test_names_a_library_only_where_libraries_are(self, path):
        """NumPy holds what is read from files, and Dask runs them; frameworks are adapted."""
        allowed = set()
        if room(path).startswith("libraries/"):
            allowed = LIBRARIES
        elif room(path).startswith("files/"):
            allowed = {"numpy"}
            if room(path) in ("files/run/cluster.py", "files/run/scheduling.py"):
                allowed |= {"dask", "distributed"}
        elif room(path).startswith("executors/dask"):
            allowed = {"dask", "numpy"}
        elif room(path).startswith(("layers/", "integrations/")):
            allowed = LIBRARIES | FRAMEWORKS
        assert named(path) & (LIBRARIES | FRAMEWORKS) - allowed == set()

    def test_imports_only_what_lies_below(self, path):
        """One column: calls go down, and up only into the mathematics of a form."""
        above = {
            "numerics": {"libraries", "reductions", "executors", "constraint", "forms", "sets"},
            "libraries": {
                "reductions",
                "executors",
                "constraint",
                "forms",
                "sets",
                "parameters",
            },
            "reductions.py": {"executors", "constraint", "forms", "sets"},
            "executors": {
                "constraint",
                "forms",
                "sets",
                "files",
                "config",
                "trees",
                "layers",
                "rules",
            },
            "constraint.py": {"forms", "sets", "files", "config", "trees", "layers", "rules"},
            "forms": {"sets", "files", "config", "trees", "layers", "rules"},
            "layers": {"rules", "trees", "files", "config", "executors", "forms", "sets"},
            "rules": {"files", "integrations", "cli"},
            "trees.py": {"layers", "rules", "files", "config"},
            "sets": {"executors", "files", "config", "trees", "layers", "rules"},
        }.get(room(path).split("/")[0], set())
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found = {target.split(".")[1] for target in imported(name, path) if "." in target}
        ours = {t for t in imported(name, path) if t.startswith("array_constraints.")}
        assert {target.split(".")[1] for target in ours} & above == set(), found


PUBLIC = {
    "Constraint": {"violation", "get_config", "from_config", "get_build_config"},
    "Form": {"validate", "needs", "for_part"},
    "Elementwise": {"project", "excess", "outside", "groups"},
    "Slicewise": {"measure", "merge", "excess", "next", "rounds", "apply"},
    "Rescaling": {"size", "interval", "roundoffs"},
    "NormConstraint": {"unit"},
    "WholeSlice": {"project", "excess"},
}
"""What each class states beside what its bases do: mathematics, and nothing of execution."""


def public(cls: type) -> set[str]:
    """Return the public attributes of a class that it or a base of it gives a value."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("array_constraints")]
    return {name for base in bases for name in vars(base) if not name.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_form_states_its_mathematics_and_nothing_else(name):
    import array_constraints

    cls = getattr(array_constraints, name)
    stated = [PUBLIC[base.__name__] for base in cls.__mro__ if base.__name__ in PUBLIC]
    assert public(cls) <= set().union(*stated)
    assert {n for n in stated[0] if n != "needs"} <= public(cls)


def test_the_reference_lists_what_is_public():
    import array_constraints
    from array_constraints import reductions

    text = (ROOT / "docs" / "reference.md").read_text()
    listed = set(re.findall(r"auto(?:class|function|data):: (\S+)", text))
    aliases = {"max_norm", "min_max_norm", "non_neg", "unit_norm", "radial_constraint"}
    for name in set(array_constraints.__all__) - aliases:
        assert f"array_constraints.{name}" in listed, name
    for name, block in re.findall(
        r"autoclass:: array_constraints\.(\w+)\n((?:   :.*\n)*)", text
    ):
        members = re.findall(r":members: (.+)", block)
        if name in PUBLIC and members:
            own = set(members[0].split(", "))
            assert own <= public(getattr(array_constraints, name))
            assert own >= PUBLIC[name], name
    (members,) = re.findall(r"reductions\n   :members: (.+)", text)
    assert {*members.split(", "), "Largest", "Size", "Sum"} == set(reductions.__all__)
