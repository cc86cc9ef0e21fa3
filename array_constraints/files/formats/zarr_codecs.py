"""The codecs of a Zarr array, and whether they keep all bits."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from typing import Any, Literal

import zarr
from zarr.core.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from array_constraints.files.formats import lossy


def fault_of_codecs(
    metadata: dict[str, Any], version: Literal[2, 3], dtype: str, chunks: Sequence[int]
) -> str | None:
    """Say which numbers do not come back from an array of such metadata, if any.

    It is tried with chunks that are smaller, where they are large, and as they are where some
    codec takes no others.
    """
    kept = ("attributes", "dimension_names", "consolidated_metadata")
    whole = {key: value for key, value in metadata.items() if key not in kept}
    small = copy.deepcopy(whole)
    if version == 3:
        small["codecs"], sides = _smaller(small["codecs"], list(chunks))
    else:
        sides = [min(n, lossy.longest_side(len(chunks))) for n in chunks]
    fault = None
    for tried, shape in ((small, sides), (whole, list(chunks))):
        _set_shape(tried, version, shape)
        try:
            text = json.dumps(tried, sort_keys=True)
            return _tried(text, version, dtype, tuple(shape))
        except Exception as error:  # neither zarr nor its codecs document what they raise
            fault = f"it cannot be written anew: {error or type(error).__name__}"
    return fault


def storage_of(metadata: dict[str, Any]) -> str:
    """Return the names of the codecs, as the metadata has them."""
    codecs = metadata.get("codecs")
    if codecs is None:
        codecs = [*(metadata.get("filters") or ()), metadata.get("compressor")]
    names = []
    for codec in filter(None, codecs):
        fields = codec if isinstance(codec, dict) else {"name": codec}
        names.append(str(fields.get("name", fields.get("id"))))
        inner = fields.get("configuration", {}).get("codecs")
        names += [storage_of({"codecs": inner})] if inner else []
    return ", ".join(names)


def _smaller(codecs: list[Any], shape: list[int]) -> tuple[list[Any], list[int]]:
    """Return codecs and the shape of a chunk that is no longer than has to be tried.

    A shard keeps two of its inner chunks in each dimension, if it has them.
    """
    most, order = lossy.longest_side(len(shape)), list(range(len(shape)))
    for codec in codecs:
        fields = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        if isinstance(codec, dict) and codec.get("name") == "transpose":
            order = [order[i] for i in fields["order"]]
        if "chunk_shape" in fields and "codecs" in fields:  # a shard
            inner = fields["chunk_shape"]
            fields["codecs"], sides = _smaller(fields["codecs"], inner)
            counts = [min(2, shape[i] // n) for i, n in zip(order, inner, strict=True)]
            fields["chunk_shape"] = sides
            small = [n * count for n, count in zip(sides, counts, strict=True)]
            return codecs, [small[order.index(i)] for i in range(len(shape))]
    return codecs, [min(n, most) for n in shape]


def _set_shape(metadata: dict[str, Any], version: int, shape: list[int]) -> None:
    metadata["shape"] = shape
    if version == 2:
        metadata["chunks"] = shape
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
        metadata["chunk_grid"] = grid


@functools.lru_cache(maxsize=1000)
def _tried(
    metadata: str, version: Literal[2, 3], dtype: str, shape: tuple[int, ...]
) -> str | None:
    name = "zarr.json" if version == 3 else ".zarray"
    store = MemoryStore({name: Buffer.from_bytes(metadata.encode())})
    opened: Any = zarr.open_array(store, mode="r+", zarr_format=version)
    array = opened.with_config({"write_empty_chunks": True})

    def rewritten(block: Any) -> Any:
        import numpy

        array[...] = block
        return numpy.asarray(array[...]).astype(block.dtype, copy=False)

    return lossy.fault_of(dtype, shape, rewritten)
