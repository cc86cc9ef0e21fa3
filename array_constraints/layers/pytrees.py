"""Pytrees of JAX: the paths of their leaves as names, and the weights among them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import jax

from array_constraints.layers.table import weights_of as weights_of_named
from array_constraints.layers.weight import Weight


@dataclass(frozen=True)
class Leaves:
    """The leaves of a pytree, and their names: the keys of their paths, joined by dots.

    A variable of Flax NNX has the name of its own path, without the ``value`` in it;
    ``others`` are the places of variables that are no parameters, such as running means.
    """

    names: list[str]
    leaves: list[Any]
    structure: Any
    others: frozenset[int]

    @classmethod
    def of(cls, tree: Any) -> Leaves:
        """Take a pytree apart."""
        pairs, structure = jax.tree_util.tree_flatten_with_path(tree)
        variables = _variables_of(tree)
        names, others = [], set()
        for i, (path, _) in enumerate(pairs):
            is_parameter = variables.get(path[:-1])
            if is_parameter is False:
                others.add(i)
            names.append(name_of(path if is_parameter is None else path[:-1]))
        return cls(names, [leaf for _, leaf in pairs], structure, frozenset(others))

    def weights(self) -> dict[int, str]:
        """Return the names of what can be weights, by place: floats that are parameters."""
        return {
            i: name
            for i, (name, leaf) in enumerate(zip(self.names, self.leaves, strict=True))
            if i not in self.others and is_inexact(leaf)
        }

    def replaced(self, leaves: dict[int, Any]) -> Any:
        """Return the pytree with other leaves at some places."""
        return self.structure.unflatten(
            [leaves.get(i, leaf) for i, leaf in enumerate(self.leaves)]
        )


def name_of(path: tuple[Any, ...]) -> str:
    """Return the keys of a path, joined by dots."""
    return str(jax.tree_util.keystr(path, simple=True, separator="."))


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is an array of real or complex floating numbers, or stands for one."""
    return hasattr(type(leaf), "shape") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)


def weights_of(tree: Any, layout: str | None = None) -> list[Weight]:
    """Return the weights in a pytree of arrays, which knows no layers.

    Raises
    ------
    TypeError
        If a leaf is a number: it would be no weight here, and one within ``jit``.
    ValueError
        If two leaves have the same name.
    """
    taken = Leaves.of(tree)
    for name, leaf in zip(taken.names, taken.leaves, strict=True):
        if isinstance(leaf, float | complex):
            raise TypeError(f"{name!r}: is a number: make it an array, jax.numpy.asarray(...)")
    found = taken.weights()
    if len(set(found.values())) < len(found):
        names = list(found.values())
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two arrays have the name {twice!r}: rename one of their keys")
    return weights_of_named([(name, taken.leaves[i]) for i, name in found.items()], layout)


def holds(tree: Any, cls: Any) -> bool:
    """Whether a pytree is of that class, or a node in it is."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, cls))
    return any(isinstance(node, cls) for node in nodes)


def _variables_of(tree: Any) -> dict[tuple[Any, ...], bool]:
    """Return the paths of variables of NNX, and whether they are parameters."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:
        return {}
    nodes = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda node: isinstance(node, nnx.Variable)
    )
    return {
        path: isinstance(node, nnx.Param)
        for path, node in nodes
        if isinstance(node, nnx.Variable)
    }
