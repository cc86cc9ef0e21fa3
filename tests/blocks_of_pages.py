"""The Python blocks of the README and the docs, each as a module for a type checker."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules_of(page: str, package: str = "") -> dict[str, str]:
    """Return the text of a module for each Python block of a page, by the module's name.

    A block uses what earlier ones of its page define: its module imports that from theirs, and
    what they import as they do, so that a name may have another meaning further down.
    """
    text = (ROOT / page).read_text("utf-8")
    stem = re.sub(r"\W", "_", page.removesuffix(".md"))
    modules: dict[str, str] = {}
    known: dict[str, str] = {}
    for number, block in enumerate(re.findall(r"```py(?:thon)?\n(.*?)```", text, re.DOTALL)):
        name, tree = f"{stem}_{number}", ast.parse(block)
        used = sorted(_missing(tree) & known.keys())
        modules[name] = "".join(known[n] for n in used) + block
        known |= {n: f"from {package}{name} import {n}\n" for n in _bound(tree.body)}
        known |= dict(_imports(tree))
    return modules


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that a block imports, and the statement that does so."""
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                name = alias.asname or alias.name.partition(".")[0]
                statement.names = [alias]
                yield name, f"{ast.unparse(statement)}\n"


def imported_by(text: str) -> set[str]:
    """Return the names of the packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def _missing(tree: ast.Module) -> set[str]:
    """Return the names that a block reads before it has bound them."""
    missing: set[str] = set()
    bound = set(dir(builtins))
    for statement in tree.body:
        missing |= _read(statement) - bound
        bound |= set(_bound([statement]))
    return missing


def _read(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads, but for those that it binds in a function."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    read = {n.id for n in names if isinstance(n.ctx, ast.Load)}
    changed = {
        node.target.id
        for node in ast.walk(statement)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }
    written = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    arguments = {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
    inside = isinstance(statement, ast.FunctionDef | ast.ClassDef)
    own = arguments | (written if inside else set()) | set(_of_loops(statement))
    return (read | changed) - (own - changed)


def _of_loops(statement: ast.stmt) -> Iterator[str]:
    """Yield what loops, comprehensions and ``with`` give a name."""
    for node in ast.walk(statement):
        targets: list[ast.expr | None] = []
        if isinstance(node, ast.For | ast.comprehension):
            targets = [node.target]
        elif isinstance(node, ast.withitem):
            targets = [node.optional_vars]
        for target in targets:
            for name in ast.walk(target) if target is not None else ():
                if isinstance(name, ast.Name):
                    yield name.id


def _bound(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind at the top of a module."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
