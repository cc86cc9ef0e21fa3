"""The pickles of PyTorch, read without running anything of them.

A pickle is a program for a machine with a stack. The machine here has the instructions that are
needed for what ``torch.load`` takes with ``weights_only=True``; it imports nothing, calls
nothing, and makes nothing but the plain values below.

Source: the instructions are those of :mod:`pickletools`; the names, and what their arguments
mean, those of PyTorch's ``torch/_weights_only_unpickler.py`` and ``torch/_utils.py``, 2.13.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Iterator
from typing import Any

from array_constraints.files.formats.pickled_values import (
    Entries,
    Name,
    Other,
    RefusedPickleError,
    Storage,
    View,
)


def tensors_of(pickle: bytes) -> Iterator[tuple[str, View | Other]]:
    """Return the tensors of a pickle by name: keys and indices of what they lie in, with dots.

    Raises
    ------
    RefusedPickleError
        If it asks for a function or class beside those of tensors and plain containers.
    ValueError
        If it is damaged.
    """
    machine = _Machine()
    inside: list[tuple[str, Any, Iterator[tuple[Any, Any]]]] = [
        ("", None, iter([("", machine.run(pickle))]))
    ]
    holding: set[int] = set()  # the containers that are being looked into
    looks, characters = _LOOKS * machine.steps, _MOST_CHARACTERS
    while inside:  # no recursion: a pickle may be nested as deep as it is long
        above, container, pairs = inside[-1]
        pair = next(pairs, None)
        if pair is None:
            holding.discard(id(container))
            inside.pop()
            continue
        part, value = _part(pair[0]), pair[1]
        looks -= 1
        characters -= len(above) + len(part)
        if looks < 0 or characters < 0 or id(value) in holding:
            raise ValueError("containers hold one another too often")
        if len(above) + len(part) > _LONGEST_NAME:
            raise ValueError(f"a name in it is longer than {_LONGEST_NAME} characters")
        name = f"{above}.{part}" if above else part
        if isinstance(value, View) or (isinstance(value, Other) and _is_tensor(value)):
            yield name, value
        elif isinstance(value, Entries):
            holding.add(id(value))
            inside.append((name, value, iter(value.pairs)))
        elif isinstance(value, tuple):
            inside.append((name, None, enumerate(value)))


def _is_tensor(value: Other) -> bool:
    return value.made_by.name.startswith("_rebuild")


def _part(key: Any) -> str:
    return key if isinstance(key, str) else str(key) if isinstance(key, int) else "?"


_TYPED = (
    r"(BFloat16|Bool|Byte|Char|ComplexDouble|ComplexFloat|Double|Float|Half|Int|Long|Short)"
)
_KNOWN = re.compile(
    rf"torch(\.cuda)?\.{_TYPED}(Storage|Tensor)"
    r"|torch\.(QInt32|QInt8|QUInt2x4|QUInt4x2|QUInt8)Storage"
    r"|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch\.(Size|Tensor|device|nn\.parameter\.(Parameter|Buffer))"
    r"|torch\.(b?float|complex|u?int|bits|quint|qint|bool)[0-9a-z_]*"
    r"|torch\.per_(tensor|channel)_[a-z_]+"
    r"|torch\._utils\._rebuild_[a-z0-9_]+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.serialization\._get_layout"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode"
    r"|(builtins|__builtin__)\.(set|frozenset|bytes|bytearray|complex|dict|list)"
)
"""Functions and classes that nothing but data is made with."""

_DICTIONARIES = ("OrderedDict", "dict", "Counter")
_MOST_DIMENSIONS = 64
_LONGEST_NAME = 2**12
_LOOKS = 10
"""How often an instruction's value is looked at: containers may be in several places."""
_MOST_CHARACTERS = 2**27
"""Characters of all names together."""
_MOST_STEPS = 2**22
"""Instructions: a hundred thousand tensors have half of them."""
_MARK = object()


class _Machine:
    """The stack and the memo; each instruction is a method of its name, in lower case."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0

    def run(self, pickle: bytes) -> Any:
        """Return what a pickle describes."""
        for opcode, argument, at in pickletools.genops(pickle):
            self.steps += 1
            if self.steps > _MOST_STEPS:
                raise ValueError(f"it has more than {_MOST_STEPS} instructions")
            do = _INSTRUCTIONS.get(opcode.name)
            if do is None:
                raise RefusedPickleError(f"has the instruction {opcode.name}")
            try:
                do(self, argument)
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise ValueError(f"makes no sense at byte {at}: {error}") from None
        (result,) = self.stack
        return result

    def popped(self) -> list[Any]:
        """Return what lies above the last mark, and take both off the stack."""
        found = []
        while (value := self.stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def named(self, module: Any, name: Any) -> None:
        found = Name(str(module), str(name))
        if not _KNOWN.fullmatch(str(found)):
            raise RefusedPickleError(f"asks for {found}")
        self.stack.append(found)

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.named(module, name)

    def added(self, pairs: list[tuple[Any, Any]]) -> None:
        _entries(self.stack[-1]).pairs.extend(pairs)

    def appended(self, values: list[Any]) -> None:
        known = len(_entries(self.stack[-1]).pairs)
        self.added(list(enumerate(values, known)))

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise RefusedPickleError("calls what is no function by name")
        self.stack.append(_rebuilt(function, arguments))

    def build(self, _: Any) -> None:
        """Leave attributes out: nothing that is listed lies in them."""
        self.stack.pop()
        if not isinstance(self.stack[-1], View | Entries | Other):
            raise RefusedPickleError("sets attributes of what has none")

    def persistent(self, _: Any) -> None:
        _, kind, key, _, entries = self.stack.pop()
        if not (isinstance(kind, Name) and type(key) is str and type(entries) is int):
            raise ValueError("names a storage that makes no sense")
        self.stack.append(Storage(kind.name, key, entries))


def _entries(value: Any) -> Entries:
    if not isinstance(value, Entries):
        raise TypeError("an entry is put into what is no container")
    return value


def _rebuilt(function: Name, arguments: tuple[Any, ...]) -> Any:
    """Return the plain value for a call of a function that is known."""
    name = function.name
    given = _entries(arguments[0]).pairs if arguments and name in _DICTIONARIES else []
    if name in ("dict", "Counter"):
        return Entries(list(given))
    if name == "OrderedDict":
        return Entries([_pair(entry) for _, entry in given])
    if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return arguments[0]
    if name == "_rebuild_from_type_v2":  # a tensor with attributes of its own
        return _rebuilt(arguments[0], arguments[2])
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        storage, offset, shape, strides = arguments[:4]
        dtype = arguments[6].name if name.endswith("3") else ""
        rest = arguments[7 if name.endswith("3") else 6 :]
        if any(isinstance(more, Entries) and more.pairs for more in rest):  # negated, conjugate
            return Other(Name(function.module, f"{name} with a bit of its own"))
        return _view(storage, offset, shape, strides, dtype)
    return Other(function)


def _pair(entry: Any) -> tuple[Any, Any]:
    first, second = [v for _, v in entry.pairs] if isinstance(entry, Entries) else entry
    return first, second


def _view(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str) -> View:
    both = isinstance(shape, tuple) and isinstance(strides, tuple)
    if not (both and isinstance(storage, Storage) and len(shape) <= _MOST_DIMENSIONS):
        raise ValueError("a tensor in it has no valid storage, shape and strides")
    whole = all(type(n) is int and 0 <= n < 2**62 for n in (offset, *shape, *strides))
    if not whole or len(shape) != len(strides):
        raise ValueError("a tensor in it has no valid shape and strides")
    return View(storage, offset, shape, strides, dtype)


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _pushes(make: Callable[[Any], Any] = lambda argument: argument) -> Callable[..., None]:
    return lambda machine, argument: machine.stack.append(make(argument))


def _tuple_of(count: int) -> Callable[..., None]:
    def do(machine: _Machine, _: Any) -> None:
        values = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(values[::-1]))

    return do


def _one(machine: _Machine, count: int) -> list[Any]:
    return [machine.stack.pop() for _ in range(count)][::-1]


_PLAIN = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
)  # fmt: skip
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, _: None),
    **dict.fromkeys(_PLAIN, _pushes()),
    "NONE": _pushes(),
    "NEWTRUE": _pushes(lambda _: True),
    "NEWFALSE": _pushes(lambda _: False),
    "MARK": _pushes(lambda _: _MARK),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.popped(),
    "EMPTY_TUPLE": _pushes(lambda _: ()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.popped())),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), _pushes(lambda _: Entries())),
    "LIST": lambda m, _: m.stack.append(Entries(list(enumerate(m.popped())))),
    "DICT": lambda m, _: m.stack.append(Entries(_pairs(m.popped()))),
    "APPEND": lambda m, _: m.appended(_one(m, 1)),
    "APPENDS": lambda m, _: m.appended(m.popped()),
    "ADDITEMS": lambda m, _: m.appended(m.popped()),
    "SETITEM": lambda m, _: m.added(_pairs(_one(m, 2))),
    "SETITEMS": lambda m, _: m.added(_pairs(m.popped())),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, at: m.remember(at)),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, at: m.stack.append(m.memo[at])),
    "GLOBAL": lambda m, name: m.named(*name.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
"""What each instruction does; there are no others."""
