"""Truth values packed eight to a byte, as text."""

from __future__ import annotations

import functools

_VALUES = bytes.maketrans(b"01", b"\x00\x01")


@functools.lru_cache(maxsize=16)
def unpacked(text: str, count: int) -> bytes:
    """Return ``count`` truth values at most, a byte for each, from base64 of their bits."""
    import base64  # which nobody needs before

    bits = base64.b64decode(text)
    digits = f"{int.from_bytes(bits, 'big'):0{8 * len(bits)}b}" if bits else ""
    return digits[:count].encode("ascii").translate(_VALUES)
