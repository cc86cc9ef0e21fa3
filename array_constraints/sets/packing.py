"""Masks as text: eight truth values to a byte, and base64 of these."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from typing import Any

from array_constraints import parameters

_DIGITS = bytes.maketrans(b"\x00\x01", b"01")


def packed(mask: Any, shape: Any) -> tuple[str, tuple[int, ...]]:
    """Return a mask as text, and its lengths; one that is such a text already is judged.

    Raises
    ------
    TypeError
        If it holds other than truth values.
    ValueError
        If it is no array, or a text that does not fit ``shape``.
    """
    if isinstance(mask, str):
        return _judged(mask, shape)
    if shape is not None:
        raise ValueError(f"shape is that of a mask given as text, got {shape!r} beside another")
    plain = mask.tolist() if hasattr(mask, "tolist") else mask
    lengths = tuple(mask.shape) if hasattr(mask, "shape") else tuple(_lengths(plain))
    raw = bytes(_flat(plain, lengths))
    digits = raw.translate(_DIGITS) + b"0" * (-len(raw) % 8)
    count = len(digits) // 8
    bits = int(digits, 2).to_bytes(count, "big") if count else b""
    import base64  # which nobody needs before

    return base64.b64encode(bits).decode("ascii"), lengths


def _judged(text: str, shape: Any) -> tuple[str, tuple[int, ...]]:
    if not isinstance(shape, tuple | list):
        raise ValueError(f"shape must be that of the mask, which is a text, got {shape!r}")
    lengths = tuple([parameters.whole_number("shape", n, lower=0) for n in shape])
    import base64

    count = math.prod(lengths)
    try:
        bits = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("mask must be base64 of its bits, got another text") from None
    if len(bits) != -(-count // 8) or (count % 8 and bits[-1] & (0xFF >> count % 8)):
        raise ValueError(f"mask has {len(bits)} bytes, and does not fit shape {lengths}")
    return text, lengths


def _lengths(plain: Any) -> Iterator[int]:
    while isinstance(plain, list | tuple):
        yield len(plain)
        if not plain:
            return
        plain = plain[0]


def _flat(plain: Any, lengths: tuple[int, ...]) -> Iterator[bool]:
    """Yield the truth values of nested lists; raise where they are none, or uneven."""
    if not lengths:
        plain = plain.item() if hasattr(plain, "item") else plain
        if not isinstance(plain, bool):
            kind = type(plain).__name__
            shown = f"{reprlib.repr(plain)}, a {kind}"
            raise TypeError(f"mask must hold truth values, True or False, got {shown}")
        yield plain
        return
    if not isinstance(plain, list | tuple) or len(plain) != lengths[0]:
        raise ValueError(
            f"mask must be an array: its rows differ in length from {lengths[0]}, got "
            f"{reprlib.repr(plain)}"
        )
    for entry in plain:
        yield from _flat(entry, lengths[1:])
