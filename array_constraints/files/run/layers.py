"""What a file tells of the layers of its tensors, so that ``axis="incoming"`` has an answer.

That is: the length of the bias of the same module, and the type of a transformer in the
``config.json`` beside PyTorch's weights; the layers that Keras names in its paths.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from array_constraints.config import strict_json
from array_constraints.files.formats.base import Source
from array_constraints.files.options import Options
from array_constraints.layers import Role, Weight, weights_of
from array_constraints.layers.by_shape import (
    CONV1D,
    CONV1D_MODULES,
    KERAS,
    TORCH,
    module_of,
    role_of,
)
from array_constraints.layers.weight import NO_UNITS
from array_constraints.parameters import judge_depth

_OF_CONV1D = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder")
"""The ``model_type`` of models of transformers that have layers ``Conv1D``."""
_OF_A_LAYER = re.compile(
    r"(^|\.)(weight|bias|weight_[ih]h_l[0-9]+(_reverse)?|weight_hr_l[0-9]+(_reverse)?"
    r"|weight_[ih]h|in_proj_weight|[qkv]_proj_weight)$"
)
"""How the layers of PyTorch name what they learn."""
_WRITE = "write the axis"
_NO_LAYER = f"its name is that of no layer's weight: to constrain it all the same, {_WRITE}"
_LONGEST = 2**24
"""Bytes of a ``config.json`` that is read."""


def named_in(source: Source) -> list[Weight]:
    """Return the tensors of a file as weights, each with all of its names, and no role."""
    return [
        Weight(name, tensor, ties=tuple([(other, None) for other in tensor.also]))
        for name, tensor in source.tensors.items()
    ]


def weights_in(source: Source, options: Options) -> list[Weight]:
    """Return the tensors of a file as weights, their roles where the file tells them."""
    layout = options.layout or source.layout
    weights = weights_of(named_in(source), layout)
    if layout == TORCH:
        known = OfPyTorch(source, options)
        return [known.weight(weight) for weight in weights]
    if layout == KERAS:
        return [of_keras(weight) for weight in weights]
    return weights


class OfPyTorch:
    """What the file of a model of PyTorch tells of its layers."""

    def __init__(self, source: Source, options: Options) -> None:
        self.tensors, self.folder = source.tensors, source.root
        self.transposed = options.transposed
        self.vouched = options.layout is not None
        """Whether somebody has said that all weights here are those of layers."""

    def weight(self, weight: Weight) -> Weight:
        """Return a weight with the roles that the file leaves it."""
        role, *others = [self.role(name, weight.array.shape) for name, _ in weight.places]
        names = [name for name, _ in weight.ties]
        ties = tuple(zip(names, others, strict=True))
        return dataclasses.replace(weight, role=role, ties=ties)

    def role(self, name: str, shape: tuple[int, ...]) -> Role:
        """Return what the file tells of a weight."""
        bias = self.tensors.get(f"{name.removesuffix('.weight')}.bias")
        if bias is not None and bias.shape == shape and bias.name != name:
            return Role("normalization", None, NO_UNITS)
        if not (self.vouched or _OF_A_LAYER.search(name)):
            return Role("other", None, _NO_LAYER)
        if self.outputs(name, shape) == 1:  # as no layer of PyTorch itself keeps it
            return Role(CONV1D, None, (0,))
        role = role_of(name, shape, TORCH, functools.partial(self._allows, name, shape))
        if role.undecided and len(shape) > 2 and isinstance(role.incoming, str):
            why = role.incoming.replace(_WRITE, f"say by transposed= which are so, or {_WRITE}")
            return dataclasses.replace(role, incoming=why)
        return role

    def outputs(self, name: str, shape: tuple[int, ...]) -> int | None:
        """Return the dimension of the outputs of a matrix, if its bias has their number."""
        bias = self.bias(name)
        if bias is None or len(shape) != 2 or shape[0] == shape[1] or bias not in shape:
            return None
        return shape.index(bias)

    def _allows(
        self, name: str, shape: tuple[int, ...], layer: str, axes: tuple[int, ...]
    ) -> bool:
        if len(shape) == 2:
            own = self.outputs(name, shape)
            told = self.conv1d if own is None else own == 1
            named = module_of(name) in CONV1D_MODULES and told is not None
            return not named or (layer == CONV1D) == told
        transposed = layer.startswith("ConvTranspose")
        if self.transposed is not None and transposed != self.is_transposed(name):
            return False
        bias = self.bias(name)
        outputs = math.prod([n for i, n in enumerate(shape) if i not in axes])
        return bias is None or bias == outputs

    def is_transposed(self, name: str) -> bool:
        """Whether a convolution has been said to be a transposed one."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.transposed or ())

    def bias(self, name: str) -> int | None:
        """Return how many entries the bias of the same module has, if it has one."""
        bias = self.tensors.get(f"{name.removesuffix('.weight')}.bias")
        if bias is None or not name.endswith(".weight") or len(bias.shape) != 1:
            return None
        return bias.shape[0]

    @functools.cached_property
    def conv1d(self) -> bool | None:
        """Whether the layers named as in GPT-2 are ``Conv1D``: None where nothing tells it."""
        found = {
            self.outputs(name, tensor.shape)
            for name, tensor in self.tensors.items()
            if module_of(name) in CONV1D_MODULES
        } - {None}
        if found:  # both, in a model of several
            return found == {1} if len(found) == 1 else None
        kinds = set(_model_types(self._config))
        return bool(kinds & set(_OF_CONV1D)) if kinds else None

    @functools.cached_property
    def _config(self) -> Mapping[str, Any]:
        path = (self.folder if self.folder.is_dir() else self.folder.parent) / "config.json"
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1)
        try:
            found = strict_json.parsed(text.decode("utf-8-sig"))
            judge_depth(found)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}: is no JSON, and would tell the layers: {error}"
            ) from None
        return found if isinstance(found, dict) else {}


def _model_types(config: Any) -> Iterator[str]:
    """Return the type of a model, and of those that it is made of."""
    if isinstance(config, dict):
        if isinstance(config.get("model_type"), str):
            yield config["model_type"]
        for value in config.values():
            yield from _model_types(value)


_PATH = re.compile(
    r"(?:.*/)?layers/(?P<layer>[a-z][a-z0-9_]*?)(?:_[0-9]+)?(?P<part>/cell|/[a-z]+_layer/cell"
    r"|/_?[a-z]+_dense)?/vars/(?P<number>[0-9]+)"
)
"""In a list of layers each has the name of its class; elsewhere, that of an attribute."""
_OUTPUTS_LAST = re.compile(r"dense|(separable_)?conv[123]d")
_RECURRENT = re.compile(r"lstm|gru|simple_rnn|bidirectional")
_TRANSPOSED = re.compile(r"conv[123]d_transpose")
_DEPTHWISE = re.compile(r"(depthwise|separable)_conv[12]d")
_ATTENTION = re.compile(r"(multi_head|grouped_query)_attention")


def of_keras(weight: Weight) -> Weight:
    """Return a weight with the role that its path gives it, where Keras 3 has written it.

    A path has the class of each layer, in lower case, and the number of the variable in it.
    """
    found, shape = _PATH.fullmatch(weight.name), weight.array.shape
    if found is None or len(shape) < 2:
        return weight
    axes = _axes_of_keras(found["layer"], found["part"] or "", int(found["number"]), len(shape))
    if axes is None:
        return weight
    return dataclasses.replace(weight, role=Role(found["layer"], None, axes))


def _axes_of_keras(
    layer: str, part: str, number: int, ndim: int
) -> tuple[int, ...] | str | None:
    """Return the incoming axes of a variable of a layer of Keras; None if it is not known."""
    every, last = tuple(range(ndim)), ndim - 1
    if part.endswith("/cell"):  # the kernel, that of the state, and a bias of two rows
        known = _RECURRENT.fullmatch(layer)
        return None if not known else every[:-1] if number < 2 else NO_UNITS
    if part:
        if not _ATTENTION.fullmatch(layer):
            return None
        if number:
            return NO_UNITS
        # (inputs, heads, numbers), or (heads, numbers, outputs)
        return every[:-1] if part.endswith("output_dense") else every[:1]
    if layer == "embedding" and number == 0:
        return (last,)
    if _TRANSPOSED.fullmatch(layer) and number == 0:  # (*kernel, outputs, inputs)
        return (*every[:-2], last)
    if _DEPTHWISE.fullmatch(layer) and number == 0:  # (*kernel, inputs, multiplier)
        return every[:-2]
    return every[:-1] if _OUTPUTS_LAST.fullmatch(layer) and number < 2 else None
