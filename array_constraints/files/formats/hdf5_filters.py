"""The filters of an HDF5 dataset, and whether they keep all bits."""

from __future__ import annotations

import functools
from typing import Any

import h5py

from array_constraints.files.formats import lossy


def filters_of(plist: Any) -> tuple[tuple[int, int, tuple[int, ...], str], ...]:
    """Return the filters of a dataset: number, flags, parameters and name of each."""
    found = []
    for i in range(plist.get_nfilters()):
        code, flags, values, name = plist.get_filter(i)
        if code == h5py.h5z.FILTER_SZIP and not (
            len(values) > 1 and values[1] in range(2, 33, 2)
        ):
            raise ValueError(f"szip of {values}")  # which divides by the second
        found.append((code, flags, tuple(values), repr(name.decode("latin1"))))
    return tuple(found)


@functools.lru_cache(maxsize=1000)
def fault_of_filters(
    filters: tuple[tuple[int, int, tuple[int, ...], str], ...],
    kind: bytes,
    dtype: str,
    chunks: tuple[int, ...],
) -> str | None:
    """Say which numbers do not come back from a dataset with these filters, if any."""
    if not filters:
        return None
    most = lossy.longest_side(len(chunks))
    fault = None
    for shape in (tuple(min(n, most) for n in chunks), chunks):  # some want whole ones
        try:
            return _tried(filters, kind, dtype, shape)
        except (OSError, RuntimeError, ValueError) as error:
            fault = f"it cannot be written anew: {error}"
    return fault


def _tried(filters: Any, kind: bytes, dtype: str, shape: tuple[int, ...]) -> str | None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    for code, flags, values, _ in filters:
        plist.set_filter(code, flags, values)
    with h5py.File("probe", "w", driver="core", backing_store=False) as file:
        space, stored = h5py.h5s.create_simple(shape), h5py.h5t.decode(kind)
        h5py.h5d.create(file.id, b"probe", stored, space, plist)

        def rewritten(block: Any) -> Any:
            as_stored = block.view("V2") if dtype == "bfloat16" else block
            file["probe"][...] = as_stored
            return file["probe"][...].astype(as_stored.dtype)  # opened anew: not from a cache

        return lossy.fault_of(dtype, shape, rewritten)
