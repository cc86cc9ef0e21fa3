"""Damaged files of weights, the same at every call: what ``test_damaged_files.py`` opens."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import itertools
import json
import random
import re
import struct
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import damaged_pytorch
import numpy as np

from array_constraints import MaxNorm
from array_constraints.files import DamagedFileError, ResumableError, open_weights

INDEX = "model.safetensors.index.json"
OUTSIDE = "outside"
"""A folder beside that of a case; a file in it is good, and nothing may open it."""
HERE = "@HERE@"
"""Stands for the absolute path of the folder that holds both."""
LARGEST = (0, 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DEEP = "@DEEP@"
MISSING = "@MISSING@"
HOSTILE = (
    None, True, -1, 0, 1.5, float("nan"), float("inf"), 2**31, 2**40, 2**62, 2**63, 10**30, "",
    "x", "\ud800", "\0", "../x", "float32", "<f4", "|O", "pickle", [], {}, [[]], [-1], [0],
    [True], [1.5], ["1"], [2**62], [2**32, 2**32], [1] * 65, {"a": 1}, {"id": "pickle"},
    {"name": "x"}, MISSING, DEEP,
)  # fmt: skip


class Link(NamedTuple):
    """A symbolic link."""

    target: str


Files = dict[str, bytes | Link]


class Case(NamedTuple):
    """Files, and whether nothing but an error will do."""

    kind: str
    files: Files
    refused: bool = False


class Format(NamedTuple):
    """A format: what is opened, good files of it, and how they are damaged."""

    name: str
    entry: str
    bases: Callable[[], Sequence[Files]]
    hostile: Callable[[random.Random], Iterator[Case]]
    header: Callable[[bytes], int] = len
    """How many of the first bytes are hit most."""
    cases: int = 240
    """How many files are damaged at random places."""

    def __str__(self) -> str:
        return self.name

    @property
    def rules(self) -> list[tuple[str, Any]]:
        """The rules that a good file is checked with."""
        all_others = ("*", MaxNorm(1.0, axis=-1))
        return [all_others] if self.name == "npy" else [("*ids*", None), all_others]

    def all_cases(self, seed: int = 0, factor: int = 1) -> Iterator[Case]:
        """Return all damaged files; others for other seeds."""
        rng = random.Random(f"{self.name} {seed}")
        yield from self.hostile(rng)
        bases = self.bases()
        for i in range(self.cases * factor):
            yield self._hit(bases[i % len(bases)], rng)

    def _hit(self, files: Files, rng: random.Random) -> Case:
        name = rng.choice([name for name, raw in files.items() if isinstance(raw, bytes)])
        raw = files[name]
        assert isinstance(raw, bytes)
        how, hit = rng.choice(HITS)
        for _ in range(9):
            at = rng.randrange(self.header(raw) if rng.random() < 0.8 else len(raw))
            if raw[at]:  # not in what is reserved and empty
                break
        damaged = hit(raw, at, rng)
        return Case(f"{how} at {at} of {name}", {**files, name: damaged})


def _flip(raw: bytes, at: int, rng: random.Random) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def _fill(raw: bytes, at: int, rng: random.Random) -> bytes:
    length = rng.choice((1, 1, 2, 4, 8, 16))
    return raw[:at] + rng.choice((b"\0", b"\xff", b"[", b"9")) * length + raw[at + length :]


def _number(raw: bytes, at: int, rng: random.Random) -> bytes:
    size, order = rng.choice((2, 4, 4, 8, 8, 8)), rng.choice(("little", "big"))
    value = (rng.choice(LARGEST) % 2 ** (8 * size)).to_bytes(size, order)
    return raw[:at] + value + raw[at + size :]


def _nudge(raw: bytes, at: int, rng: random.Random) -> bytes:
    return raw[:at] + bytes([(raw[at] + rng.choice((-1, 1, 2, 7))) % 256]) + raw[at + 1 :]


HITS = (
    ("cut", lambda raw, at, rng: raw[:at]),
    ("flipped", _flip),
    ("flipped", _flip),
    ("flipped", _flip),
    ("filled", _fill),
    ("a number", _number),
    ("a number", _number),
    ("nudged", _nudge),
    ("nudged", _nudge),
    ("bytes lost", lambda raw, at, rng: raw[:at] + raw[at + rng.choice((1, 4, 20)) :]),
    ("bytes doubled", lambda raw, at, rng: raw[: at + 20] + raw[at:]),
)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "kernel": rng.standard_normal((6, 5)).astype("f4"),
        "gain": rng.standard_normal((2, 3, 4)).astype("f2"),
        "ids": np.arange(4),
    }


# JSON


def _json(tree: Any) -> bytes:
    text = json.dumps(tree)
    return text.replace(f'"{DEEP}"', "[" * 100_000).encode()


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    places = {dict: lambda: list(tree), list: lambda: range(len(tree))}
    for key in places.get(type(tree), tuple)():
        yield (*path, key)
        yield from _places(tree[key], (*path, key))


def _trees(tree: Any, rng: random.Random, count: int) -> Iterator[tuple[str, Any]]:
    """Return copies of what JSON holds, each with one value of a wrong type or size."""
    everything = list(itertools.product(_places(tree), HOSTILE))
    for path, value in rng.sample(everything, min(count, len(everything))):
        damaged = copy.deepcopy(tree)  # may be the same: 0 is 0
        inner = damaged
        for key in path[:-1]:
            inner = inner[key]
        if value is MISSING:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        shown = ".".join(map(str, path))
        yield f"{shown} = {value!r}", damaged


NO_JSON = {
    "nothing": b"",
    "no dictionary": b"[]",
    "null": b"null",
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NUL": b"\0" * 40,
    "100000 lists": b"[" * 100_000,
    "100000 dictionaries": b'{"a":' * 100_000,
    "a long number": b'{"a": ' + b"9" * 10_000 + b"}",
    "half of it": b'{"a": [1, 2',
}


# safetensors


def safetensors(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else _json(header)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


NAMES_OF_DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64"}


def _header(some: dict[str, np.ndarray]) -> tuple[dict[str, Any], bytes]:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in some.items():
        places = [len(data), len(data) + array.nbytes]
        dtype = NAMES_OF_DTYPES[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": places}
        data += array.tobytes()
    return header, data


def _good_safetensors(*names: str) -> bytes:
    return safetensors(*_header({n: a for n, a in arrays().items() if not names or n in names}))


def _hostile_headers(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    header, data = _header(arrays())
    for length in (*LARGEST, 2**63 - 8, 2**64 - 8, 100_000_001):
        yield f"a header of {length} bytes", safetensors(header, data, length)
    for how, text in NO_JSON.items():
        yield f"a header of {how}", safetensors(text, data)
    for how, tree in _trees({**header, "__metadata__": {}}, rng, 10**6):
        texts = tree.get("__metadata__", {})
        if {**tree, "__metadata__": {}} != {**header, "__metadata__": {}} or not (
            texts is None
            or (isinstance(texts, dict) and all(isinstance(t, str) for t in texts.values()))
        ):
            yield how, safetensors(tree, data)

    def entry(**fields: Any) -> bytes:
        kernel = {"dtype": "F32", "shape": [6, 5], "data_offsets": [0, 120], **fields}
        return safetensors({"kernel": kernel}, data[:120])

    for name in ("kernel", "gain", "ids"):
        hole = {other: entry for other, entry in header.items() if other != name}
        yield f"a hole in place of {name}", safetensors(hole, data)
    twice = header | {"again": header["kernel"]}
    yield "two tensors in one place", safetensors(twice, data)
    yield "more than is there", safetensors(header, data[:-1])
    yield "less than is there", safetensors(header, data + b"\0")
    yield "a place before the file", entry(data_offsets=[-8, 112])
    yield "a place behind the file", entry(data_offsets=[2**62 - 120, 2**62])
    yield "a shape of 2**62", entry(shape=[2**61, 2**61])
    yield "a shape that overflows to the size", entry(shape=[2**32, 2**32, 30])
    yield "a negative shape", entry(shape=[-6, -5])
    yield "a float for a length", entry(shape=[6.0, 5])
    yield "a bool for a length", entry(shape=[True, 30])
    yield "a NaN for a length", entry(shape=[float("nan"), 5])
    yield "a dtype of lower case", entry(dtype="f32")
    text = _json(header)
    yield "a name twice", safetensors(b'{"kernel":1,' + text[1:], data)
    inner = text.replace(b'"dtype"', b'"shape": [1], "dtype"', 1)
    yield "a field twice", safetensors(inner, data)
    half = {name: entry for name, entry in header.items() if name != "kernel"}
    yield "a name that is no text", safetensors({"\ud800": header["kernel"], **half}, data)
    for n in range(0, 8 + len(text) + len(data), 9):
        yield f"cut at {n}", safetensors(header, data)[:n]


def hostile_safetensors(rng: random.Random) -> Iterator[Case]:
    for kind, raw in _hostile_headers(rng):
        yield Case(kind, {"in.safetensors": raw}, refused=True)


SHARDS = {"kernel": "1.safetensors", "ids": "1.safetensors", "gain": "2.safetensors"}


def _sharded() -> Files:
    return {
        INDEX: _json({"metadata": {"total_size": 200}, "weight_map": SHARDS}),
        "1.safetensors": _good_safetensors("kernel", "ids"),
        "2.safetensors": _good_safetensors("gain"),
    }


def hostile_shards(rng: random.Random) -> Iterator[Case]:
    good = _sharded()

    def index(**changed: str | None) -> Files:
        listed = {**SHARDS, **changed}
        listed = {name: shard for name, shard in listed.items() if shard is not None}
        return {**good, INDEX: _json({"weight_map": listed})}

    for how, text in NO_JSON.items():
        yield Case(f"an index of {how}", {**good, INDEX: text}, refused=True)
    for how, tree in _trees({"weight_map": SHARDS}, rng, 10**6):
        # What the index does not list is carried over, and so is a shard that it does not name.
        yield Case(
            how, {**good, INDEX: _json(tree)}, "= '@MISSING@'" not in how or "." not in how
        )
    for how, raw in rng.sample(list(_hostile_headers(rng)), 60):
        yield Case(f"a shard: {how}", {**good, "2.safetensors": raw}, refused=True)
    outside = f"../{OUTSIDE}/2.safetensors"
    names = {
        "a path out of the folder": outside,
        "a path out and back": "x/../2.safetensors",
        "an absolute path": f"{HERE}/{OUTSIDE}/2.safetensors",
        "no name": "",
        "the folder": ".",
        "its parent": "..",
        "the root": "/",
        "a device": "/dev/zero",
        "the index": INDEX,
        "a long name": "x" * 5000,
        "a long path": "x/" * 5000,
        "a name with NUL": "2.safetensors\0",
        "a name that is no text": "\ud800",
        "another one": "1.safetensors",
        "one that is missing": "3.safetensors",
        "another spelling": "./1.safetensors",
    }
    for how, name in names.items():
        yield Case(f"a shard's name is {how}", index(gain=name), refused=True)
    links = {
        "out of the folder": outside,
        "out, absolute": f"{HERE}/{OUTSIDE}/2.safetensors",
        "to itself": "2.safetensors",
        "to nothing": "nothing",
        "to a device": "/dev/zero",
        "to the folder": ".",
        "to its sibling": "1.safetensors",
    }
    for how, target in links.items():
        yield Case(f"a link {how}", {**good, "2.safetensors": Link(target)}, refused=True)
    through = {**index(gain="folder/2.safetensors"), "folder": Link(f"../{OUTSIDE}")}
    yield Case("a link of a folder out of the folder", through, refused=True)
    circle = {"2.safetensors": Link("3.safetensors"), "3.safetensors": Link("2.safetensors")}
    yield Case("links in a circle", {**good, **circle}, refused=True)
    yield Case("a tensor more in a shard", index(ids=None))
    yield Case("a tensor less in a shard", index(more="1.safetensors"), refused=True)
    yield Case("a tensor in two shards", {**good, "2.safetensors": good["1.safetensors"]}, True)
    twice = good[INDEX].replace(b'"gain"', b'"kernel"')  # type: ignore[union-attr]
    yield Case("a name twice", {**good, INDEX: twice}, refused=True)


# NumPy


def npy(header: bytes | str | dict[str, Any], data: bytes, version: int = 1) -> bytes:
    text = repr(header) if isinstance(header, dict) else header
    text = text if isinstance(text, bytes) else text.encode("latin1")
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def good_npy(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array)
        return file.getvalue()


def _hostile_npy() -> Iterator[tuple[str, bytes]]:
    data = arrays()["kernel"].tobytes()
    good = {"descr": "<f4", "fortran_order": False, "shape": (6, 5)}
    shapes = (
        (2**62, 2**62), (2**63,), (-6, -5), (6.0, 5), (6, True), (True, 30), None, 30, "30",
        [6, 5], ((6, 5),), (6,), (2**61, 4, 0), (0, 2**62), (0, 2**63), (2**32, 2**32),
        (1,) * 65, (1,) * 63 + (6, 5), (10**400,), (), {}, (6, 5j), (2**64 + 6, 5), (0,),
    )  # fmt: skip
    for shape in shapes:
        yield f"a shape of {shape!r}"[:60], npy({**good, "shape": shape}, data)
    descrs = (
        "|O", "O", "<f8", "<f3", "f4,f4", "<i4", "<U30", "<M8[ns]", "", "\0", "9" * 5000 + "f4",
        "(2**62,)f4", "(6,5)f4", None, 4, True, (), [], [("a", "<f4")], [("a", "|O")],
        [("a", "<f4", (2**40,))], [("a", [("b", "<f4")] * 2)], {}, ("<f4", {}),
        ("<f4", (2**62,)), {"names": ["a"], "formats": ["<f4"], "itemsize": 2**40},
        {"a": ("<f4", 2**62)}, "<f4" * 2000, [("", "<f4")] * 200, [("a",)], [1], "a", "|V0",
        "|S0", "<c8", ">f4", "=f4", "float", b"<f4",
    )  # fmt: skip
    for descr in descrs:
        yield f"a dtype of {descr!r}"[:60], npy({**good, "descr": descr}, data)
    for order in (None, 0, 1, "True", True, ()):
        yield f"an order of {order!r}", npy({**good, "fortran_order": order}, data[:-1])
    texts = {
        "nothing": "",
        "spaces": " " * 100,
        "an expression": "__import__('os').system('false')",
        "an attribute": "().__class__.__bases__[0]",
        "a call": "dict(descr='<f4', fortran_order=False, shape=(6, 5))",
        "a sum": repr(good).replace("6", "3+3"),
        "a product": repr(good).replace("6", "2*3"),
        "a comprehension": repr(good).replace("(6, 5)", "tuple(i for i in (6, 5))"),
        "a list": "[1]",
        "a set": "{1, 2}",
        "an unhashable key": "{[]: 1}",
        "an unhashable set": "{{}}",
        "a long integer of Python 2": repr(good).replace("6", "7L"),
        "escapes": repr(good).replace("<f4", r"\d<f4"),
        "no escape": repr(good).replace("<f4", "\\"),
        "a bad literal": repr(good).replace("6", "6or 7"),
        "9000 parentheses": "(" * 9000,
        "90 parentheses": "(" * 90 + ")" * 90,
        "9000 lists": "[" * 4500 + "]" * 4500,
        "9000 signs": "-" * 9000 + "1",
        "9000 terms": "1" + "+1" * 4000,
        "9000 attributes": "a" + ".a" * 4000,
        "9000 digits": "9" * 9000,
        "9000 dictionaries": "{1:" * 3000,
        "a string that is not closed": repr(good).replace("<f4'", "<f4"),
        "three quotes": "'''",
        "an indentation": "  1\n 2\n",
        "a backslash at the end": repr(good) + "\\",
        "NUL": "\0" * 20,
        "a NUL in it": repr(good) + "\0",
        "a coding": "# -*- coding: x -*-\n" + repr(good)[:-1],
        "two lines": repr(good) + "\n1",
        "a key more": repr({**good, "more": 1}),
        "a key less": repr({"descr": "<f4", "shape": (6, 5)}),
        "other keys": "{1: 2, 'a': 3}",
        "keys twice": repr(good)[:-1] + ", 'shape': (6, 6)}",
        "a float for a key": "{1.5: 1, None: 2}",
        "more than NumPy reads": repr(good) + " " * 10_000,
    }
    for how, text in texts.items():
        refused = npy(text, data)
        yield f"a header of {how}", refused
    whole = npy(good, data)
    for n in range(0, len(whole), 4):
        yield f"cut at {n}", whole[:n]
    yield "more than is there", whole[:-1]
    yield "less than is there", whole + b"\0"
    for version in (0, 3, 4, 255):
        yield f"version {version}", b"\x93NUMPY" + bytes([version, 0]) + whole[8:]
    for length in (0, 1, 2**16 - 1):
        yield f"a header of {length} bytes", whole[:8] + struct.pack("<H", length) + whole[10:]
    for length in (0, 1, 2**16, 2**31, 2**32 - 1):
        header = b"\x93NUMPY\2\0" + struct.pack("<I", length)
        yield f"a long header of {length} bytes", header + whole[10:]


_FINE = ("a shape of (0, 2**62)", "a dtype of '>f4'", "a dtype of '=f4'")


def hostile_npy(rng: random.Random) -> Iterator[Case]:
    for kind, raw in _hostile_npy():
        yield Case(kind, {"in.npy": raw}, refused=kind not in _FINE)


# ZIP archives


class Member(NamedTuple):
    """A member of an archive, with whatever its headers say."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    size: int | None = None
    stored: int | None = None
    crc: int | None = None
    extra: bytes = b""
    offset: int | None = None
    local: bytes | None = None
    """Its name in the header before it."""


def archive(members: Sequence[Member], **end: int) -> bytes:
    raw, listed = b"", b""
    for m in members:
        packed = m.data
        if m.method == 8:
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(m.data) + packer.flush()
        crc = zlib.crc32(m.data) if m.crc is None else m.crc
        sizes = (
            len(packed) if m.stored is None else m.stored,
            len(m.data) if m.size is None else m.size,
        )
        local = m.name if m.local is None else m.local
        common = struct.pack("<5H3I", 20, m.flags, m.method, 0, 33, crc, *sizes)
        offset = len(raw) if m.offset is None else m.offset
        lengths = struct.pack("<5H2I", len(m.name), len(m.extra), 0, 0, 0, 0, offset)
        listed += b"PK\1\2\x14\0" + common + lengths + m.name + m.extra
        raw += b"PK\3\4" + common + struct.pack("<2H", len(local), 0) + local + packed
    size, offset = end.get("size", len(listed)), end.get("offset", len(raw))
    tail = struct.pack("<4H2IH", 0, 0, len(members), len(members), size, offset, 0)
    return raw + listed + b"PK\5\6" + tail


_FIELDS = {
    b"PK\3\4": "<HHHHHIIIHH",
    b"PK\1\2": "<HHHHHHIIIHHHHHII",
    b"PK\5\6": "<HHHHIIH",
}


def _fields(raw: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Return copies of an archive with one field of its headers changed."""
    places = [
        (match.start() + 4 + struct.calcsize(fields[: i + 1]), fields[i + 1], value)
        for signature, fields in _FIELDS.items()
        for match in re.finditer(re.escape(signature), raw)
        for i in range(len(fields) - 1)
        for value in range(7)
    ]
    for at, field, i in rng.sample(places, min(count, len(places))):
        size = struct.calcsize("<" + field)
        most, old = 2 ** (8 * size), int.from_bytes(raw[at : at + size], "little")
        bit = old ^ 1 << rng.randrange(8 * size)
        value = (0, 1, old + 1, old - 1, most // 2 - 1, most - 1, bit)[i] % most
        new = value.to_bytes(size, "little")
        yield f"{value} for {old} at {at}", raw[:at] + new + raw[at + size :]


def _npz(method: int) -> bytes:
    members = (Member(f"{n}.npy".encode(), good_npy(a), method) for n, a in arrays().items())
    return archive([*members, Member(b"notes.txt", b"passed through " * 20, method)])


def _zip64(size: int, stored: int, offset: int | None = None) -> bytes:
    content = struct.pack("<QQ", size % 2**64, stored % 2**64)
    content += b"" if offset is None else struct.pack("<Q", offset % 2**64)
    return struct.pack("<HH", 1, len(content)) + content


def _header_of(size: int) -> bytes:
    """Return the header of a NPY file of so many bytes."""
    header = npy({"descr": "<f4", "fortran_order": False, "shape": ((size - 128) // 4,)}, b"")
    padded = header[10:].ljust(117) + b"\n"
    return header[:8] + struct.pack("<H", len(padded)) + padded


def _hostile_members(method: int) -> Iterator[tuple[str, bytes]]:
    raw = good_npy(arrays()["kernel"])
    good = Member(b"kernel.npy", raw, method)
    one = [good, Member(b"ids.npy", good_npy(np.arange(4)), method)]

    def changed(**fields: Any) -> bytes:
        return archive([good._replace(**fields), one[1]])

    yield "a member twice", archive([good, good, one[1]])
    cut = good._replace(name=b"kernel.npy\0x")
    yield "a name that is cut to another", archive([good, cut, one[1]])
    yield "encrypted", changed(flags=1)
    yield "strongly encrypted", changed(flags=0x41)
    yield "a patch", changed(flags=0x20)
    yield "a name that is no UTF-8", changed(flags=0x800, name=b"k\xff.npy")
    yield "another name before it", changed(local=b"gain.npy")
    yield "a wrong checksum", changed(crc=1)
    for wrong in (1, 2, 6, 9, 12, 14, 20, 93, 95, 97, 98, 99, 65535):
        yield f"method {wrong}", changed(method=wrong)
    for size in (0, 1, len(raw) - 1, len(raw) + 1, 2**20, 2**32 - 2):
        yield f"a size of {size}", changed(size=size)
        if method == 0:
            yield f"both sizes of {size}", changed(size=size, stored=size)
    for size in (2**32, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1):
        extra = _zip64(size, size)
        both = {"size": 2**32 - 1, "stored": 2**32 - 1, "extra": extra}
        yield f"a long size of {size}", changed(**both)
        place = {"offset": 2**32 - 1, "extra": _zip64(len(raw), size, size)}
        yield f"a long place of {size}", changed(size=2**32 - 1, stored=2**32 - 1, **place)
        extra = struct.pack("<HHQ", 1, 8, size)
        bomb = {"data": _header_of(size) + raw[128:], "size": 2**32 - 1, "extra": extra}
        yield f"a promise of {size} bytes", changed(**bomb)
    for size in (2**24, 2**31):
        bomb = {"data": _header_of(size) + raw[128:], "size": size}
        yield f"a promise of {size} bytes", changed(**bomb)
    yield "an extra field that is cut", changed(extra=b"\1\0\x40\0abc", size=2**32 - 1)
    for offset in (1, 2**31, 2**32 - 2):
        yield f"a place of {offset}", changed(offset=offset)
    yield "two members in one place", archive([good, one[1]._replace(offset=0)])
    for number in (0, 1, 2**31, 2**32 - 2, 2**32 - 1):
        yield f"a list of {number} bytes", archive(one, size=number)
        if number > 1:  # what stands before an archive is none of its business
            yield f"a list at {number}", archive(one, offset=number)
    yield "no member", archive([])
    yield "no archive", b"PK\3\4" + bytes(100)
    whole = archive(one)
    for n in range(0, len(whole), 7):
        yield f"cut at {n}", whole[:n]
    for how, hostile in _hostile_npy():
        if how not in _FINE and not how.startswith("cut"):
            yield f"a member: {how}", archive([good._replace(data=hostile), one[1]])


def _hostile_npz(method: int) -> Callable[[random.Random], Iterator[Case]]:
    def hostile(rng: random.Random) -> Iterator[Case]:
        for kind, raw in _hostile_members(method):
            yield Case(kind, {"in.npz": raw}, refused=True)
        for kind, raw in _fields(_npz(method), rng, 200):
            yield Case(kind, {"in.npz": raw})

    return hostile


# Zarr


def _zarr(version: int, sharded: bool = False) -> Files:
    """Return the files of a group, as zarr writes them."""
    import zarr
    from zarr.storage import MemoryStore

    store = MemoryStore()
    group = zarr.create_group(store, zarr_format=version)
    for name, array in arrays().items():
        chunks = tuple(max(1, n // 2) for n in array.shape)
        shards = tuple(2 * n for n in chunks) if sharded else None
        group.create_array(name, data=array, chunks=chunks, shards=shards)
    return {f"in.zarr/{name}": bytes(raw.to_bytes()) for name, raw in store._store_dict.items()}


def _hostile_zarr(
    version: int, sharded: bool = False
) -> Callable[[random.Random], Iterator[Case]]:
    def hostile(rng: random.Random) -> Iterator[Case]:
        good = _zarr(version, sharded)
        name = f"in.zarr/kernel/{'zarr.json' if version == 3 else '.zarray'}"
        tree = json.loads(good[name])  # type: ignore[arg-type]

        def metadata(**changed: Any) -> Files:
            return {**good, name: _json({**tree, **changed})}

        for how, text in NO_JSON.items():
            yield Case(f"metadata of {how}", {**good, name: text}, refused=True)
        for how, damaged in _trees(tree, rng, 130):
            yield Case(how, {**good, name: _json(damaged)})
        grid = (lambda *n: {"chunks": list(n)}) if version == 2 else _grid
        shapes = [2**62, 5], [2**40, 2**20], [2**63, 5], [-6, 5], [6], [6, 5, 1], [6.5, 5]
        for shape in (*shapes, 30, "6", None):
            yield Case(f"a shape of {shape}", metadata(shape=shape), refused=True)
        for n in (0, -1, 2**31, 2**40, 2**62, 2**63, 1.5, None, "3", True):
            fits = n is True and not sharded  # zarr takes it for 1
            yield Case(f"chunks of {n!r}", metadata(**grid(n, 3)), refused=not fits)
        huge = metadata(shape=[2**40, 2**40], **grid(2**40, 2**40))
        yield Case("both huge", huge, refused=True)
        none = metadata(shape=[0, 0], **grid(0, 0))  # zarr 3.0 wrote them
        yield Case("chunks of no entry", none)
        chunk = next(n for n in sorted(good) if n.startswith("in.zarr/kernel/") and n != name)
        raw = good[chunk]
        assert isinstance(raw, bytes)
        for n in range(0, len(raw), max(1, len(raw) // 12)):
            yield Case(f"a chunk cut at {n}", {**good, chunk: raw[:n]}, refused=True)
        yield Case("a longer chunk", {**good, chunk: raw + raw})
        yield Case("no chunk", {n: r for n, r in good.items() if n != chunk})
        if version == 2:
            yield from _hostile_zarr_2(good, metadata)
        else:
            yield from _hostile_zarr_3(good, metadata, tree)
        up = "../" * (chunk.count("/") + 1)
        links = {
            "a chunk is a link out": (chunk, Link(f"{up}{OUTSIDE}/2.safetensors")),
            "a chunk is a device": (chunk, Link("/dev/zero")),
            "a chunk is a link to itself": (chunk, Link(chunk.rsplit("/", 1)[1])),
            "the metadata is a link out": (name, Link(f"{HERE}/{OUTSIDE}/zarr.json")),
            "the metadata is a device": (name, Link("/dev/zero")),
            "a folder is a link out": ("in.zarr/more", Link(f"../../{OUTSIDE}")),
            "a folder is a link to its parent": ("in.zarr/more", Link("..")),
            "a folder is a link to itself": ("in.zarr/more", Link(".")),
            "a link in a circle": ("in.zarr/more", Link("more")),
        }
        for how, (entry, link) in links.items():
            yield Case(how, {**good, entry: link}, refused=True)
        deep = "in.zarr/" + "d/" * 70 + "x"
        yield Case("70 folders", {**good, deep: b""}, refused=True)
        other = "in.zarr/kernel/.zarray" if version == 3 else "in.zarr/kernel/zarr.json"
        theirs = _zarr(5 - version)[other]
        yield Case("metadata of both versions", {**good, other: theirs})

    return hostile


def _grid(*lengths: Any) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(lengths)}}}


def _hostile_zarr_2(good: Files, metadata: Callable[..., Files]) -> Iterator[Case]:
    codecs = "pickle", "json2", "msgpack2", "vlen-utf8", "vlen-array", "base64", "categorize"
    for codec in (*codecs, "x"):
        yield Case(f"the compressor {codec}", metadata(compressor={"id": codec}), refused=True)
        yield Case(f"the filter {codec}", metadata(filters=[{"id": codec}]), refused=True)
    objects = {"dtype": "|O", "fill_value": ""}
    smuggled = [{"id": "vlen-utf8"}, {"id": "pickle"}]
    yield Case("pickle behind another", metadata(filters=smuggled, **objects), refused=True)
    dtypes = "|O", "<f3", "f", "<f16", ">f2", [["a", "<f4"]], "", "|V2", "<M8", {}, None, 4
    for dtype in dtypes:
        yield Case(f"the dtype {dtype!r}", metadata(dtype=dtype), refused=True)
    for name in ("blosc", "zlib", "gzip", "lz4", "zstd", "lzma", "bz2"):
        other = metadata(compressor={"id": name})
        chunk = next(n for n in good if n.startswith("in.zarr/kernel/0"))
        huge = {
            "blosc": struct.pack("<4BIII", 2, 1, 1, 4, 2**31 - 16, 2**31 - 16, 64) + bytes(48),
            "lz4": struct.pack("<i", 2**31 - 1) + bytes(40),
            "zstd": b"\x28\xb5\x2f\xfd\xc0" + b"\0" + struct.pack("<Q", 2**62) + bytes(20),
            "zlib": zlib.compress(bytes(10**7)),
            "gzip": gzip.compress(bytes(10**7), mtime=0),
        }.get(name, b"garbage of some length")
        yield Case(f"a huge chunk of {name}", {**other, chunk: huge}, refused=True)


def _hostile_zarr_3(good: Files, metadata: Callable[..., Files], tree: Any) -> Iterator[Case]:
    whole = {"name": "bytes", "configuration": {"endian": "little"}}
    shards = {"codecs": [whole], "index_codecs": [whole]}

    def sharding(*inner: Any, **changed: Any) -> dict[str, Any]:
        configuration = {"chunk_shape": list(inner), **shards, **changed}
        return {"name": "sharding_indexed", "configuration": configuration}

    codecs = {
        "none": [],
        "an unknown one": [{"name": "x"}],
        "a name alone": ["bytes"],
        "bytes twice": [whole, whole],
        "no bytes": [{"name": "gzip", "configuration": {"level": 1}}],
        "gzip that it is not": [whole, {"name": "gzip", "configuration": {"level": 1}}],
        "a transposition": [{"name": "transpose", "configuration": {"order": [0, 0]}}, whole],
        "one for text": [{"name": "vlen-utf8"}],
        "shards of shards of one entry": [sharding(1, 1, codecs=[sharding(1, 1)])],
        "shards that do not fit": [sharding(2, 2)],
        "shards of nothing": [sharding(0, 0)],
        "shards of 2**62": [sharding(2**62, 1)],
        "a shard in it of itself": [whole, sharding(3, 2)],
        "pickle": [{"name": "numcodecs.pickle"}],
    }
    for how, given in codecs.items():
        yield Case(f"codecs: {how}", metadata(codecs=given), refused=True)
    big = metadata(shape=[2**20, 2**20], codecs=[sharding(1, 1)], **_grid(2**20, 2**20))
    yield Case("a shard of 2**40 chunks", big, refused=True)
    dtypes = "float128", "string", "x", {"name": "numpy.datetime64"}, 4, None, "r16", "bfloat16"
    for dtype in dtypes:
        yield Case(f"the dtype {dtype!r}", metadata(data_type=dtype), refused=True)
    for fill in ("x", None, [], 10**400, "0x7fc00000", True):
        yield Case(f"a fill value of {fill!r}"[:40], metadata(fill_value=fill))


# HDF5


def _hdf5(libver: str = "earliest", **options: Any) -> bytes:
    def write(file: Any) -> None:
        for name, array in arrays().items():
            chunks = tuple(max(1, n // 2) for n in array.shape) if options else None
            file.create_dataset(name, data=array, track_times=False, chunks=chunks, **options)

    return hdf5(write, libver=libver)


def hdf5(write: Callable[[Any], None], **options: Any) -> bytes:
    import h5py

    with h5py.File("in-memory", "w", driver="core", backing_store=False, **options) as file:
        write(file)
        file.flush()
        return bytes(file.id.get_file_image())


def _weights_of_keras() -> bytes:
    def write(file: Any) -> None:
        for name, array in arrays().items():
            group = file.create_group(f"layers/{name}/vars")
            group.create_dataset("0", data=array, track_times=False)
        half = file.create_dataset("layers/half", data=np.ones((2, 3), "V2"), track_times=False)
        half.attrs["dtype"] = "bfloat16"
        file.create_group("optimizer/vars")

    return hdf5(write)


def _strange_hdf5() -> Iterator[tuple[str, bytes, bool]]:
    """Return files that the library itself writes, and whether they have to be refused."""
    import h5py

    array = arrays()["kernel"]
    ids = arrays()["ids"]

    def made(write: Callable[[Any], None]) -> bytes:
        def both(file: Any) -> None:
            file["ids"] = ids
            write(file)

        return hdf5(both)

    def empty(shape: Any, **options: Any) -> bytes:
        return made(lambda f: f.create_dataset("kernel", shape, "f4", **options))

    yield "2**60 entries that were never written", empty((2**50, 2**10)), True
    yield "2**60 entries in chunks", empty((2**50, 2**10), chunks=(2**10, 2**10)), True
    yield "a chunk for each of 2**40 entries", empty((2**20, 2**20), chunks=(1, 1)), True
    large = (2**15, 2**14)
    yield "a chunk of 2**31 bytes", empty(large, chunks=large, compression=1), True
    yield "a row of 2**40 entries", empty((1, 2**40), chunks=(1, 2**20)), True
    yield "no entry, but a long row", empty((0, 2**60)), False
    yield "32 dimensions", empty((1,) * 32), False
    outside = [(f"../{OUTSIDE}/2.safetensors", 0, 120)]
    yield "entries in another file", empty((6, 5), external=outside), True
    absolute = [("/dev/zero", 0, 120)]
    yield "entries of a device", empty((6, 5), external=absolute), True

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((6, 5), "f4")
        layout[...] = h5py.VirtualSource(f"../{OUTSIDE}/in.h5", "kernel", (6, 5))
        file.create_virtual_dataset("kernel", layout)

    yield "entries that are virtual", made(virtual), True

    def linked(link: Any) -> bytes:
        def write(file: Any) -> None:
            file["kernel"] = link

        return made(write)

    elsewhere = h5py.ExternalLink(f"../{OUTSIDE}/in.h5", "/kernel")
    yield "a link to another file", linked(elsewhere), True
    yield "a link to itself", linked(h5py.SoftLink("/kernel")), True
    yield "a link to nothing", linked(h5py.SoftLink("/nothing")), True
    types = {
        "text": h5py.string_dtype(),
        "references": h5py.ref_dtype,
        "lists": h5py.vlen_dtype(np.dtype("f4")),
        "records": np.dtype([("a", "f4"), ("b", "f2")]),
        "arrays": np.dtype(("f4", (2**10,))),
        "nothing known": np.dtype("V3"),
        "complex numbers": np.dtype("c8"),
        "a long float": np.dtype(np.longdouble),
        "numbers with names": h5py.enum_dtype({"a": 1}),
        "truth": np.dtype("?"),
    }
    for how, dtype in types.items():
        write = lambda f, t=dtype: f.create_dataset("kernel", (6, 5), t)  # noqa: E731
        yield f"a dtype of {how}", made(write), True

    def odd_floats(file: Any) -> None:
        kind = h5py.h5t.IEEE_F32LE.copy()
        kind.set_fields(31, 25, 6, 0, 25)
        space = h5py.h5s.create_simple((6, 5))
        h5py.h5d.create(file.id, b"kernel", kind, space)

    yield "floats of another format", made(odd_floats), False
    for mark in (["bfloat16"] * 3, 1.0, np.bytes_(b"bfloat16"), "x", h5py.Empty("f4")):

        def marked(file: Any, mark: Any = mark) -> None:
            file["kernel"] = np.ones((6, 5), "V2")
            file["kernel"].attrs["dtype"] = mark

        yield f"a mark of {mark!r}, which nobody reads", made(marked), False

    def circle(file: Any) -> None:
        file["kernel"] = array
        file["a"] = file.create_group("b")
        file["b/c"] = file["/"]

    yield "groups in a circle", made(circle), False

    def deep(file: Any) -> None:
        group = file
        for _ in range(1000):
            group = group.create_group("d")
        group["kernel"] = array

    yield "1000 groups", made(deep), True

    def no_text(file: Any) -> None:
        space = h5py.h5s.create_simple((6, 5))
        h5py.h5d.create(file.id, b"kernel\xff", h5py.h5t.IEEE_F32LE, space)

    yield "a name that is no text", made(no_text), True
    for how, value in (("no entry at all", h5py.Empty("f4")), ("no dimension", np.float32(1))):
        write = lambda f, v=value: f.create_dataset("kernel", data=v)  # noqa: E731
        yield how, made(write), True
    yield "no dataset", hdf5(lambda f: None), True
    yield "no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(1000), True

    options = {"chunks": (3, 5), "compression": 1}
    raw = made(lambda f: f.create_dataset("kernel", data=array, **options))
    at = raw.index(b"\x08\0\1\0\1\0deflate") - 2
    for number in (0, 3, 4, 5, 6, 256, 32001, 32767, 65535):
        yield f"filter {number}", raw[:at] + struct.pack("<H", number) + raw[at + 2 :], True


def _dimensions(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Return copies of an HDF5 file with other lengths of the kernel."""
    lengths = 0, 1, 7, 50, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63, 2**64 - 1
    shapes = [(n, 5) for n in lengths] + [(6, n) for n in lengths] + [(2**32, 2**32)]
    places = [(m, "<QQ") for m in re.finditer(re.escape(struct.pack("<QQ", 6, 5)), raw)]
    places += [(m, "<II") for m in re.finditer(re.escape(struct.pack("<III", 3, 2, 4)), raw)]
    for (match, form), shape in itertools.product(places, shapes):
        start, values = match.start(), [n % 2 ** (64 if form == "<QQ" else 32) for n in shape]
        new = struct.pack(form, *values)
        yield f"lengths of {values} at {start}", raw[:start] + new + raw[start + len(new) :]


def hostile_hdf5(base: Callable[[], bytes]) -> Callable[[random.Random], Iterator[Case]]:
    def hostile(rng: random.Random) -> Iterator[Case]:
        raw = base()
        for kind, strange, refused in _strange_hdf5():
            yield Case(kind, {"in.h5": strange}, refused)
        for kind, damaged in _dimensions(raw):
            yield Case(kind, {"in.h5": damaged})
        for n in range(0, len(raw), max(1, len(raw) // 40)):
            yield Case(f"cut at {n}", {"in.h5": raw[:n]}, refused=True)
        layout = b"\3\1" + struct.pack("<Q", raw.find(arrays()["kernel"].tobytes()) % 2**64)
        for what in (b"HDF", b"TREE", b"HEAP", b"SNOD"):  # only the result can tell
            over = raw.replace(layout, b"\3\1" + struct.pack("<Q", raw.index(what)))
            yield Case(f"weights in the place of {what!r}", {"in.h5": over})

    return hostile


# Keras


def _keras(weights: bytes) -> list[Member]:
    return [
        Member(b"metadata.json", _json({"keras_version": "3.8.0"})),
        Member(b"config.json", _json({"class_name": "Sequential"})),
        Member(b"model.weights.h5", weights),
    ]


def hostile_keras(rng: random.Random) -> Iterator[Case]:
    weights = _weights_of_keras()
    good = _keras(weights)
    whole = archive(good)

    def changed(**fields: Any) -> bytes:
        return archive([*good[:2], good[2]._replace(**fields)])

    for kind, raw in _fields(whole, rng, 150):
        yield Case(kind, {"in.keras": raw})
    for kind, strange, refused in _strange_hdf5():
        yield Case(f"weights: {kind}", {"in.keras": changed(data=strange)}, refused)
    for kind, damaged in _dimensions(weights):
        yield Case(f"weights: {kind}", {"in.keras": changed(data=damaged)})
    size = len(weights)
    hostile = {
        "weights twice": archive([*good, good[2]]),
        "no weights": archive(good[:2]),
        "weights elsewhere": archive([*good[:2], good[2]._replace(name=b"x/model.weights.h5")]),
        "weights compressed": changed(method=8),
        "a wrong method": changed(method=99),
        "encrypted": changed(flags=1),
        "another name before it": changed(local=b"model.weights.x5"),
        "less than there is": changed(size=size - 8, stored=size - 8),
        "more than there is": changed(size=size + 999, stored=size + 999),
        "sizes that differ": changed(size=size - 8),
        "a checksum behind it that is not there": changed(flags=8),
        "a place elsewhere": changed(offset=0),
        "a place behind the file": changed(offset=2**31),
        "a long size": changed(size=2**32 - 1, stored=2**32 - 1, extra=_zip64(2**62, 2**62)),
        "a longer size": changed(size=2**32 - 1, stored=2**32 - 1, extra=_zip64(2**63, 2**63)),
        "HDF5 alone": weights,
        "no HDF5": changed(data=bytes(3000)),
        "no bytes": changed(data=b""),
    }
    for kind, raw in hostile.items():
        yield Case(kind, {"in.keras": raw}, refused=True)
    yield Case("a wrong checksum", {"in.keras": changed(crc=1)})
    for n in range(0, len(whole), len(whole) // 40):
        yield Case(f"cut at {n}", {"in.keras": whole[:n]}, refused=True)


# PyTorch


def hostile_pytorch(rng: random.Random) -> Iterator[Case]:
    for kind, raw, refused in damaged_pytorch.hostile_archives(arrays()):
        yield Case(kind, {"in.pt": raw}, refused)
    for kind, raw in _fields(damaged_pytorch.good(arrays()), rng, 200):
        yield Case(kind, {"in.pt": raw})


def fault_of(error: BaseException, source: Path) -> str | None:
    """Return what is wrong with the error that a damaged file has ended in, if anything."""
    ours = type(error) in (ValueError, TypeError, LookupError, DamagedFileError, ResumableError)
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[:-5:-1])
    shown = f"{type(error).__name__}: {str(error)[:300]!r} in {place}"
    if not ours and not isinstance(error, OSError):
        return f"another error: {shown}"
    said = f"{error} {getattr(error, 'filename', '')}"
    if str(source.parent) not in said and not any(name in said for name in _names(source)):
        return f"names neither file nor tensor: {shown}"
    try:
        said.encode()
    except UnicodeEncodeError:
        return f"cannot be printed: {shown}"
    return None


def _names(path: Path) -> list[str]:
    """Return the names that an error may speak of: those of the tensors, if they are there."""
    names = ["kernel", "gain", "half", "the rule '*"]
    with contextlib.suppress(Exception), open_weights(path) as opened:
        names += [name for name in opened.tensors if name] + list(map(repr, opened.tensors))
    return names


def outside() -> Files:
    """Return good files beside the folder of a case: who opens them was led out of it."""
    return {
        "2.safetensors": _good_safetensors("gain"),
        "zarr.json": _zarr(3)["in.zarr/kernel/zarr.json"],
        "in.h5": _hdf5(),
    }


def _length_of_header(raw: bytes) -> int:
    return min(len(raw), 8 + int.from_bytes(raw[:8], "little")) if raw[:1] != b"{" else len(raw)


GZIP = {"compression": "gzip", "shuffle": True}
FORMATS = {
    form.name: form
    for form in (
        Format(
            "safetensors",
            "in.safetensors",
            lambda: [{"in.safetensors": _good_safetensors()}],
            hostile_safetensors,
            _length_of_header,
        ),
        Format("shards", INDEX, lambda: [_sharded()], hostile_shards, _length_of_header),
        Format(
            "npy",
            "in.npy",
            lambda: [{"in.npy": good_npy(arrays()["kernel"])}],
            hostile_npy,
            lambda raw: 128,
        ),
        Format(
            "pytorch",
            "in.pt",
            lambda: [{"in.pt": damaged_pytorch.good(arrays())}],
            hostile_pytorch,
        ),
        Format("npz", "in.npz", lambda: [{"in.npz": _npz(0)}], _hostile_npz(0)),
        Format("npz-compressed", "in.npz", lambda: [{"in.npz": _npz(8)}], _hostile_npz(8)),
        Format("zarr-2", "in.zarr", lambda: [_zarr(2)], _hostile_zarr(2), cases=60),
        Format("zarr-3", "in.zarr", lambda: [_zarr(3)], _hostile_zarr(3), cases=60),
        Format(
            "zarr-3-sharded",
            "in.zarr",
            lambda: [_zarr(3, sharded=True)],
            _hostile_zarr(3, sharded=True),
            cases=60,
        ),
        Format(
            "hdf5",
            "in.h5",
            lambda: [{"in.h5": _hdf5()}, {"in.h5": _hdf5("latest")}],
            hostile_hdf5(_hdf5),
            cases=400,
        ),
        Format(
            "hdf5-gzip",
            "in.h5",
            lambda: [{"in.h5": _hdf5(**GZIP)}, {"in.h5": _hdf5("latest", **GZIP)}],
            hostile_hdf5(lambda: _hdf5(**GZIP)),
            cases=400,
        ),
        Format(
            "weights-of-keras",
            "in.weights.h5",
            lambda: [{"in.weights.h5": _weights_of_keras()}],
            lambda rng: iter(()),
            cases=400,
        ),
        Format(
            "keras",
            "in.keras",
            lambda: [{"in.keras": archive(_keras(_weights_of_keras()))}],
            hostile_keras,
            cases=200,
        ),
    )
}
