"""The ZIP archives that ``.npz`` and ``.keras`` are: their members listed, checked, copied."""

from __future__ import annotations

import copy
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from array_constraints.files.formats.damaged import DamagedFileError, as_damaged_file
from array_constraints.files.formats.disk import COPIED_AT_ONCE, naming

ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    OverflowError, OSError,
)  # fmt: skip
"""The errors that the ZIP library raises on damaged archives."""

_LARGEST_RATIO = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""The highest compression ratio that each method can reach; others have no such bound."""
_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd"}
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800  # bits of the flags


def zip_errors(path: Path, what: str = "the archive") -> AbstractContextManager[None]:
    """Return a context that raises what the ZIP library raises as :class:`DamagedFileError`."""
    return as_damaged_file(path, f"{what} cannot be read", ERRORS)


def members_of(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the members of an archive: each has a name, its own header, and lies inside."""
    infos, size = archive.infolist(), path.stat().st_size
    for info in infos:
        if info.filename != info.orig_filename:
            raise DamagedFileError(
                path, f"{info.filename} has another name, {info.orig_filename}"
            )
        if info.header_offset < 0 or info.header_offset + info.compress_size > size:
            raise DamagedFileError(path, f"{info.filename} does not lie inside of the archive")
    with path.open("rb", buffering=0) as file:
        for info in infos:
            local_of(file.fileno(), info)
    return infos


def fault_of(info: zipfile.ZipInfo, path: Path) -> ValueError | None:
    """Return why a member cannot be unpacked, if so: it takes a password, or has no bound."""
    most = _LARGEST_RATIO.get(info.compress_type)
    if info.flag_bits & _ENCRYPTED:
        return ValueError(f"{path}: {info.filename} is encrypted: save it without a password")
    if most is None:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        return ValueError(
            f"{path}: {info.filename} is compressed by {method}, which is not unpacked: save "
            "it with numpy.savez_compressed, or leave it out"
        )
    if info.file_size > most * info.compress_size:
        return DamagedFileError(path, f"{info.filename} promises {info.file_size} bytes")
    return None


def local_of(file: int, info: zipfile.ZipInfo) -> tuple[int, bytes]:
    """Return where the bytes of a member begin, and the extra field before them."""
    header = os.pread(file, 30, info.header_offset)
    whole = len(header) == 30 and header.startswith(b"PK\3\4")
    lengths = struct.unpack("<HH", header[26:]) if whole else (0, 0)
    behind = os.pread(file, sum(lengths), info.header_offset + 30)
    name = behind[: lengths[0]].decode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    if not whole or name != info.orig_filename or len(behind) < sum(lengths):
        raise zipfile.BadZipFile(f"the header of {info.filename} is not before it")
    return info.header_offset + 30 + len(behind), behind[lengths[0] :]


def copy_member(info: zipfile.ZipInfo, old: Path, new: zipfile.ZipFile) -> Iterator[int]:
    """Add a member of another archive, packed as it is; return the bytes copied, by and by."""
    target: Any = new.fp
    with old.open("rb", buffering=0) as file:
        at, extra = local_of(file.fileno(), info)
        added, local = copy.copy(info), copy.copy(info)
        added.extra, local.extra = _without_zip64(info.extra), _without_zip64(extra)
        added.header_offset = new.start_dir
        zip64 = max(info.file_size, info.compress_size) >= 2**31
        target.seek(new.start_dir)  # as when the library itself adds one
        target.write(local.FileHeader(zip64))
        stop = at + info.compress_size
        while at < stop:
            with naming(old):
                buffer = os.pread(file.fileno(), min(COPIED_AT_ONCE, stop - at), at)
            if not buffer:
                raise EOFError(f"{info.filename} ends before the archive says")
            target.write(buffer)
            at += len(buffer)
            yield len(buffer)
    if info.flag_bits & _DESCRIPTOR:  # kept: without it a password is checked by other bytes
        sizes = struct.pack("<QQ" if zip64 else "<II", info.compress_size, info.file_size)
        target.write(struct.pack("<4sI", b"PK\7\10", info.CRC) + sizes)
    new.filelist.append(added)
    new.NameToInfo[added.filename] = added
    new.start_dir = target.tell()


def _without_zip64(extra: bytes) -> bytes:
    """Return an extra field without the sizes in it, which are written anew."""
    kept, at = b"", 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        kept += extra[at : at + 4 + length] if kind != 1 else b""
        at += 4 + length
    return kept


def anew(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return the description of a member, without all that depends on its bytes."""
    new = copy.copy(info)
    new.CRC = new.compress_size = new.file_size = new.header_offset = 0
    new.extra, new.flag_bits = b"", info.flag_bits & _UTF8
    return new
