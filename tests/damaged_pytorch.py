"""Files of ``torch.save``, written by hand: good ones, hostile pickles, damaged archives."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

ROOT = "archive/"
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if 0 <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def numbers(values: tuple[int, ...]) -> bytes:
    return tuple_of(*map(number, values))


def storage(key: str, kind: str, entries: int) -> bytes:
    named = (text("storage"), b"ctorch\n" + kind.encode() + b"\n", text(key), text("cpu"))
    return tuple_of(*named, number(entries)) + b"Q"


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def tensor(*arguments: bytes, function: bytes = REBUILD) -> bytes:
    hooks = b"ccollections\nOrderedDict\n)R"
    return function + tuple_of(*arguments, b"\x89", hooks) + b"R"


def tensor_of(key: str, array: np.ndarray) -> bytes:
    kind = STORAGES[str(array.dtype)]
    place = (number(0), numbers(array.shape), numbers(strides(array.shape)))
    return tensor(storage(key, kind, array.size), *place)


def dictionary(values: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def pickled(values: Mapping[str, bytes]) -> bytes:
    return b"\x80\x02" + dictionary(values) + b"."


def archive(
    pickle: bytes, arrays: Mapping[str, np.ndarray], method: int = 0, root: str = ROOT
) -> bytes:
    members = {"data.pkl": pickle, "byteorder": b"little"}
    members |= {f"data/{i}": array.tobytes() for i, array in enumerate(arrays.values())}
    members["version"] = b"3\n"
    return zipped({root + name: raw for name, raw in members.items()}, method)


def zipped(members: Mapping[str, bytes], method: int = 0) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as made:
            for name, raw in members.items():
                made.writestr(zipfile.ZipInfo(name), raw, method)
        return file.getvalue()


def entries_of(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {name: tensor_of(str(i), a) for i, (name, a) in enumerate(arrays.items())}


def good(arrays: Mapping[str, np.ndarray]) -> bytes:
    return archive(pickled(entries_of(arrays)), arrays)


# Hostile pickles

REFUSED = (Path(__file__).parent / "data" / "names_in_hostile_pickles.txt").read_text().split()
"""Functions and classes that weights do not need; most of them run something."""

BARE = {
    "an instance of a class": b"(ios\nsystem\n",
    "an object of a class": b"(cos\nsystem\no",
    "a new object": b"ccollections\nOrderedDict\n)\x81",
    "a new object with keywords": b"ccollections\nOrderedDict\n)}\x92",
    "an extension": b"\x82\1",
    "an extension of two bytes": b"\x83\1\0",
    "an extension of four bytes": b"\x84\1\0\0\0",
    "a storage by a line": b"Pstorage\n",
    "a buffer out of band": b"\x97",
    "a buffer that cannot be written": b"}\x98",
    "a copy of the top": b"}2",
    "a call of a text": b"X\2\0\0\0os)R",
    "a call of a call": b"ccollections\nOrderedDict\n)R)R",
    "a call without arguments": b"ccollections\nOrderedDict\nNR",
    "attributes of a number": b"K\1}b",
    "attributes of a name": b"ctorch\nSize\n}b",
    "an entry of a number": b"K\1K\2K\3s",
    "an entry of a name": b"ctorch\nSize\nK\2K\3s",
    "nothing to append to": b"(K\1e",
    "no mark": b"K\1t",
    "a mark alone": b"(",
    "nothing on the stack": b"0",
    "nothing to remember": b"q\0",
    "nothing that is remembered": b"h\7",
    "a place of 2**32": b"}r\xff\xff\xff\xff0h\0",
    "a place of 10**400": b"}p" + b"9" * 400 + b"\n0h\0",
    "half an entry": b"}(K\1u",
    "two results": b"}}",
    "a protocol of 255": b"\x80\xff}(K\1u",
    "a frame of 2**63": b"\x95" + b"\xff" * 8,
    "a text of 2**31": b"X\xff\xff\xff\x7fabc",
    "a text of 2**63": b"\x8d" + b"\xff" * 7 + b"\x7fabc",
    "bytes of 2**31": b"B\xff\xff\xff\x7fabc",
    "bytes of 2**62": b"\x8e" + b"\xff" * 7 + b"\x3fabc",
    "bytes to change of 2**62": b"\x96" + b"\xff" * 7 + b"\x3fabc",
    "a number of 2**31 bytes": b"\x8b\xff\xff\xff\x7f",
    "a number of -1 bytes": b"\x8b\xff\xff\xff\xff",
    "a number of 10**5 digits": b"I" + b"9" * 10**5 + b"\n",
    "a number that is none": b"Iabc\n",
    "a float that is none": b"Fabc\n",
    "text that is no UTF-8": b"X\2\0\0\0\xff\xff",
    "text of no quotes": b"Sabc\n",
    "a name of a module alone": b"ctorch\n\n",
    "a name that is a number": b"K\1K\2\x93",
    "a name in two lines": b"X\7\0\0\0torch\nSX\4\0\0\0Size\x93",
    "no instruction": b"\xff",
    "NUL": b"\0" * 40,
}
"""Instructions that a pickle of weights has not, or that make no sense."""


HARMLESS = ("a key of 2**200 tuples", "a frame of 2**63, before weights")
"""What asks for more time or memory than there is, but only of who does as it says."""


def hostile_pickles(values: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Return pickles of good tensors and of something hostile before them."""

    def before(raw: bytes) -> bytes:
        return b"\x80\x02}(" + text("evil") + raw + b"u" + pickled(values)[2:]

    for name in REFUSED:
        module, _, function = name.rpartition(".")
        call = tuple_of(text("touch hostile")) + b"R"
        yield f"a call of {name}", before(f"c{module}\n{function}\n".encode() + call)
        yield f"the name {name}", before(text(module) + text(function) + b"\x93")
    for how, raw in BARE.items():
        yield how, b"\x80\x02" + raw + b"."
        yield f"{how}, before weights", b"\x80\x02" + raw + pickled(values)[2:]
    lists = b"".join(b"](" + b"h\0" * 10 + b"eq\0" for _ in range(30))
    yield "lists of lists, 10**30 of them", b"\x80\x02]q\0" + lists + b"."
    pairs = b"".join(b"h\0h\0\x86q\0" for _ in range(200))
    keys = b"\x80\x02)q\0" + pairs + b"}h\0K\1s"
    yield "a key of 2**200 tuples", keys + pickled(values)[2:]
    yield "a list in itself", b"\x80\x02]q\0h\0a."
    yield "10**5 lists", b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"." * 2
    deep = b"}" + text("x" * 99)
    yield "10**4 dictionaries", b"\x80\x02" + deep * 10**4 + b"}" + b"s" * 10**4 + b"."
    long = b"\x80\x02(" + b"K\1" * 10**5 + b"tq\0"
    many = tensor(storage("0", "FloatStorage", 30), number(0), b"h\0", b"h\0")
    yield "10**5 dimensions", long + dictionary({str(i): many for i in range(300)}) + b"."
    for n in range(0, len(pickled(values)), 7):
        yield f"cut at {n}", pickled(values)[:n]


def hostile_tensors() -> Iterator[tuple[str, bytes]]:
    """Return tensors that do not lie in the storage ``0``, of 30 entries of float32."""
    floats, place = storage("0", "FloatStorage", 30), (number(0), numbers((6, 5)))
    order = numbers((5, 1))
    v3 = REBUILD.replace(b"v2", b"v3")
    named = (text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), number(30))
    yield "a storage that is missing", tensor(storage("9", "FloatStorage", 30), *place, order)
    yield "a storage out of it", tensor(storage("../0", "FloatStorage", 30), *place, order)
    yield (
        "a storage by number",
        tensor(tuple_of(*named[:2], number(0), *named[3:]) + b"Q", *place, order),
    )
    yield "a storage of another kind", tensor(storage("0", "DoubleStorage", 30), *place, order)
    yield "a storage of no kind", tensor(storage("0", "Size", 31), *place, order)
    yield "a longer storage", tensor(storage("0", "FloatStorage", 31), *place, order)
    yield "a storage of -1", tensor(storage("0", "FloatStorage", -1), *place, order)
    yield "a storage of too few parts", tensor(tuple_of(*named[:4]) + b"Q", *place, order)
    yield "a storage that is a text", tensor(text("0"), *place, order)
    yield "a storage that is a number", tensor(number(0) + b"Q", *place, order)
    for offset in (-1, 1, 30, 2**31, 2**62, 2**63, 10**30):
        yield f"an offset of {offset}", tensor(floats, number(offset), *place[1:], order)
    shapes = (
        ((7, 5), (5, 1)), ((6, 6), (6, 1)), ((-6, -5), (5, 1)), ((6, 5), (-5, -1)),
        ((6, 5), (6, 1)), ((2**31, 2**31), (1, 1)), ((2**62, 5), (0, 1)), ((6, 5), (2**62, 1)),
        ((6, 5), (1,)), ((6,), (5, 1)), ((1,) * 65, (1,) * 65), ((2**63,), (0,)),
    )  # fmt: skip
    for shape, steps in shapes:
        yield (
            f"{shape} by {steps}"[:60],
            tensor(floats, number(0), numbers(shape), numbers(steps)),
        )
    yield "entries that share bytes", tensor(floats, *place, numbers((0, 1)))
    yield "entries that overlap", tensor(floats, *place, numbers((4, 1)))
    for what, raw in {"None": b"N", "a text": text("6"), "a float": b"G" + bytes(8)}.items():
        yield f"a shape of {what}", tensor(floats, number(0), raw, order)
        yield f"strides of {what}", tensor(floats, *place, raw)
        yield f"an offset of {what}", tensor(floats, raw, place[1], order)
        yield f"a length of {what}", tensor(floats, number(0), tuple_of(raw, raw), order)
        yield f"a dtype of {what}", v3 + tuple_of(floats, *place, order, b"\x89N", raw) + b"R"
    yield "too few arguments", REBUILD + tuple_of(floats, number(0)) + b"R"
    yield "no arguments", REBUILD + b")R"
    yield "no dtype", v3 + tuple_of(floats, *place, order) + b"R"
    yield "a parameter of nothing", b"ctorch._utils\n_rebuild_parameter\n)R"


def hostile_archives(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, bytes, bool]]:
    """Return archives that are none of PyTorch's, and whether they have to be refused."""
    values = entries_of(arrays)
    right, kernel = pickled(values), next(iter(arrays))
    for how, raw in hostile_pickles(values):
        yield f"a pickle: {how}", archive(raw, arrays), how not in HARMLESS
    for how, raw in hostile_tensors():
        yield f"a tensor: {how}", archive(pickled({**values, kernel: raw}), arrays), True
    whole = archive(right, arrays)
    members = zipfile.ZipFile(io.BytesIO(whole)).namelist()
    contents = {name: zipfile.ZipFile(io.BytesIO(whole)).read(name) for name in members}
    yield "compressed", archive(right, arrays, zipfile.ZIP_DEFLATED), True
    yield "no folder", archive(right, arrays, root=""), True
    yield "two folders", archive(right, arrays, root="a/b/"), True
    yield "no pickle", zipped({n: r for n, r in contents.items() if "pkl" not in n}), True
    yield "two pickles", zipped({**contents, "b/data.pkl": right}), True
    yield "a program", zipped({**contents, f"{ROOT}constants.pkl": b""}), True
    yield "no storage", zipped({n: r for n, r in contents.items() if "/data/" not in n}), True
    cut = {n: r[:-1] if "/data/" in n else r for n, r in contents.items()}
    yield "shorter storages", zipped(cut), True
    yield (
        "no order of bytes",
        zipped({n: r for n, r in contents.items() if "byte" not in n}),
        False,
    )
    yield "a pickle alone", pickle.dumps({"kernel": [1.0]}), True
    yield "the format before 1.6", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + bytes(99), True
    yield "a text", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", True
    yield "nothing", b"", True
    for n in range(0, len(whole), 41):
        yield f"cut at {n}", whole[:n], True
