"""Mutants of the library's modules, by the operators of Cosmic Ray, and where each one runs."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MODULES = tuple(
    path.relative_to(ROOT / "array_constraints").with_suffix("").as_posix()
    for pattern in ("numerics/*.py", "libraries/*.py", "executors/*.py", "sets/*.py", "*.py")
    for path in sorted((ROOT / "array_constraints").glob(pattern))
    if not path.name.startswith("__") and path.name not in ("typing.py", "rules.py")
)

REPLACED = {
    "Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul",
    "Pow": "Mul", "BitAnd": "BitOr", "BitOr": "BitAnd", "BitXor": "BitOr", "LShift": "RShift",
    "RShift": "LShift", "Lt": "LtE NotEq GtE", "LtE": "Lt Eq Gt", "Gt": "GtE NotEq LtE",
    "GtE": "Gt Eq Lt", "Eq": "LtE GtE NotEq", "NotEq": "Lt Gt Eq", "Is": "IsNot", "IsNot": "Is",
    "Delete": "USub Invert Not",
}  # fmt: skip
"""What replaces an operator: the rest is noticed where these are (decision 22)."""


class Mutant(NamedTuple):
    """A mutant: the lines that changed, in a function or class, the ``count``-th such there."""

    module: str
    within: str
    was: str
    now: str
    count: int
    lines: range
    """Those of the statement that changed; one of them runs where the mutant does."""
    code: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.within, self.was, self.now

    @property
    def place(self) -> tuple[str, str, str, str, int]:
        return *self.key, self.count


def mutants(module: str) -> Iterator[Mutant]:
    """Yield the mutants of a module, each once, that differ when they run."""
    source = (ROOT / "array_constraints" / f"{module}.py").read_text()
    tree = ast.parse(source)
    idle, statements = list(_idle(tree)), dict(_statements(tree, "", inside=False))
    seen = {ast.dump(tree)}
    counts: Counter[tuple[str, ...]] = Counter()
    for (line, column), code in _mutated(source):
        if any(start <= (line, column) < stop for start, stop in idle):
            continue
        try:
            shape = ast.dump(ast.parse(code))
        except SyntaxError:
            continue
        if shape not in seen:
            seen.add(shape)
            within, lines = statements.get(line, ("", range(0)))
            changed = _changed(source, code)
            counts[within, *changed] += 1
            yield Mutant(module, within, *changed, counts[within, *changed], lines, code)


def _mutated(source: str) -> Iterator[tuple[tuple[int, int], str]]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        _, was, now = f"{name}__".split("_")[:3]
        if "Variable" in name or (was and now not in REPLACED.get(was, "").split()):
            continue  # those of variables need arguments
        operator = get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for i, (start, _) in enumerate(places):
            yield start, mutate_code(source, operator, i)


def _idle(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield where nothing changes a result: annotations, protocols, caches, ``@final``."""
    for node in ast.walk(tree):
        idle: list[ast.AST | None] = [getattr(node, "annotation", None)]
        idle.append(getattr(node, "returns", None))
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            idle.append(node)
        idle += [d for d in getattr(node, "decorator_list", []) if _is_idle(ast.unparse(d))]
        for each in idle:
            if each is not None:
                sign = each in getattr(node, "decorator_list", [])  # "@" stands before it
                start = each.lineno, each.col_offset - sign
                yield start, (each.end_lineno, each.end_col_offset)


def _is_idle(decorator: str) -> bool:
    return decorator == "final" or decorator.startswith(
        ("functools.cache", "functools.lru_cache")
    )


def _statements(
    node: ast.AST, within: str, inside: bool
) -> Iterator[tuple[int, tuple[str, range]]]:
    """Yield each line with what it stands in and the lines of its statement.

    These are none where the line runs as its module is imported, not as a function is called.
    """
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, []) if not isinstance(node, ast.Lambda) else []:
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            name = f"{within}.{child.name}".lstrip(".") if named else within
            first = min(
                [child.lineno, *(d.lineno for d in getattr(child, "decorator_list", []))]
                if hasattr(child, "lineno")
                else [child.pattern.lineno]
            )
            body = getattr(child, "body", None)
            head = (body[0].lineno - 1 if body else child.end_lineno) or first
            lines = range(first, max(head, first) + 1)
            for line in lines:
                yield line, (name, lines if inside else range(0))
            within_function = isinstance(child, ast.FunctionDef) or inside
            yield from _statements(child, name, within_function)


def _changed(source: str, code: str) -> tuple[str, str]:
    lines = list(difflib.unified_diff(source.splitlines(), code.splitlines(), n=0))[3:]
    parts = ([line[1:].strip() for line in lines if line[0] == sign] for sign in "-+")
    was, now = (" ".join(part) for part in parts)
    return was, now
