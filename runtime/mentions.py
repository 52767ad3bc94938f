"""What a code object mentions: the globals, attributes and modules it may read, by name.

    m = mentions(step.__code__)        code nested in it included
    m.globals      {"model", "F"}      read or written as globals (or builtins)
    m.attributes   {"relu", "lr"}      of whatever object: `x.lr`, `getattr(x, "lr")`
    m.reflective   False               whether it reads attributes whose names it computes

And whose code it is: the user's, gradc's own, or a library's.
"""

from __future__ import annotations

import dis
import functools
import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from gradc.tracer.graph.source import is_own_code

_GLOBAL_OPS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})
_ATTRIBUTE_OPS = frozenset({
    "LOAD_ATTR", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM",
})  # fmt: skip
# Take an object and an attribute's name.
_BY_NAME = frozenset({"getattr", "hasattr", "setattr", "delattr"})
# Take names that stand somewhere among the constants.
_BY_CONSTANT = frozenset({
    "attrgetter", "methodcaller", "__getattribute__", "__getattr__", "__setattr__", "__delattr__",
})  # fmt: skip
# Read any attribute: as globals, and as attributes (`d.copy()` and `s.replace()` do not).
_READS_ALL = frozenset({
    "vars", "dir", "eval", "exec", "copy", "deepcopy", "asdict", "astuple", "replace",
    "dataclasses",
})  # fmt: skip
_READS_ALL_AS_ATTRIBUTE = frozenset({"__dict__", "asdict", "astuple", "deepcopy"})


@dataclass(slots=True)
class Mentions:
    """Names in a code object and the code nested in it.

    Attributes:
        globals: names of globals or builtins.
        attributes: names of attributes.
        probed: attributes that may be missing where they are asked for (`hasattr`, `getattr`).
        modules: dotted names of modules imported inside; leading dots for relative ones.
        strings: string constants.
        reflective: whether attributes are read whose names cannot be told.
        codes: the code object and those nested in it.
    """

    globals: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    probed: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    reflective: bool = False
    codes: set[CodeType] = field(default_factory=set)

    def add(self, other: Mentions) -> None:
        """Add what another code mentions."""
        self.globals |= other.globals
        self.attributes |= other.attributes
        self.probed |= other.probed
        self.modules |= other.modules
        self.strings |= other.strings
        self.reflective |= other.reflective
        self.codes |= other.codes

    def size(self) -> tuple[int, bool]:
        """Grows whenever something is added that decides which attributes are followed."""
        return len(self.attributes) + len(self.probed), self.reflective


@functools.lru_cache(maxsize=8192)
def mentions(code: CodeType) -> Mentions:
    """What `code` mentions; shared, so not to be changed."""
    found = Mentions(codes={code})
    instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
    for position in range(len(instructions)):
        _read_instruction(found, instructions, position)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.add(mentions(constant))
        else:
            found.strings.update(_strings(constant))
    if found.attributes & _BY_CONSTANT or found.globals & _BY_CONSTANT:
        found.attributes |= {part for text in found.strings for part in text.split(".")}
    if found.globals & _READS_ALL or found.attributes & _READS_ALL_AS_ATTRIBUTE:
        found.reflective = True
    if "AttributeError" in found.globals:  # an attribute may be missing, and that be caught
        found.probed |= found.attributes
    if "globals" in found.globals:
        found.globals |= found.strings
    return found


def _read_instruction(
    found: Mentions, instructions: Sequence[dis.Instruction], position: int
) -> None:
    instruction = instructions[position]
    name = instruction.argval
    if instruction.opname in _GLOBAL_OPS:
        found.globals.add(name)
        if name in _BY_NAME:
            _read_name_argument(found, instructions, position)
    elif instruction.opname in _ATTRIBUTE_OPS:
        found.attributes.add(name)
    elif instruction.opname == "IMPORT_NAME":
        level = instructions[position - 2].argval
        found.modules.add("." * (level if isinstance(level, int) else 0) + name)
    elif instruction.opname == "MATCH_CLASS":  # reads what the class's `__match_args__` says
        found.reflective = True


def _read_name_argument(
    found: Mentions, instructions: Sequence[dis.Instruction], position: int
) -> None:
    """The second argument of the `getattr` that was just loaded: a constant, or computed."""
    depth = 0
    second: list[dis.Instruction] = []
    for instruction in instructions[position + 1 :]:
        depth += dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        if depth <= 0:  # the call has taken its arguments
            break
        if depth < 2:
            second.clear()
        elif depth == 2:
            second.append(instruction)
    if len(second) == 1 and isinstance(second[0].argval, str) and second[0].opname == "LOAD_CONST":
        found.attributes.add(second[0].argval)
        found.probed.add(second[0].argval)
    else:
        found.reflective = True


def _strings(constant: Any) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, (tuple, frozenset)):
        for item in constant:
            yield from _strings(item)


# -- whose code --------------------------------------------------------------------------------


def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    # Those of another environment, which a .pth file or PYTHONPATH names.
    names = ("site-packages", "dist-packages")
    folders += [p for p in sys.path if os.path.basename(os.path.normpath(p)) in names]
    return tuple(os.path.join(os.path.realpath(f), "") for f in folders)


_LIBRARIES = _library_folders()


@functools.lru_cache(maxsize=4096)
def is_library_file(name: str) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    return name.startswith("<frozen") or os.path.realpath(name).startswith(_LIBRARIES)


def _stand_in() -> None:
    """Its code, renamed, asks `is_own_code` about a file."""


@functools.lru_cache(maxsize=4096)
def _is_own_file(name: str) -> bool:
    return is_own_code(_stand_in.__code__.replace(co_filename=name))


def is_user_code(code: CodeType) -> bool:
    """Whether `code` belongs to the user's program."""
    return not is_own_code(code) and not is_library_file(code.co_filename)


@functools.lru_cache(maxsize=1024)
def is_user_scope(name: str | None) -> bool:
    """Whether code whose globals call themselves `name` belongs to the user's program.

    Code made from text, as dataclasses make it, lies in no file that could tell.
    """
    return name != "gradc" and not str(name).startswith("gradc.") and (
        name not in sys.modules or is_user_module(sys.modules[name])
    )


def is_user_module(module: Any) -> bool:
    """Whether a module is part of the user's program: neither gradc's nor installed."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        # `__main__` of an interactive session, and modules made by hand, have no file.
        return getattr(module, "__name__", "") not in sys.builtin_module_names
    return not is_library_file(file) and not _is_own_file(file)


def is_own_class(cls: Any) -> bool:
    """Whether gradc defines `cls` itself."""
    return str(cls.__module__).split(".", 1)[0] == "gradc"


def is_user_class(cls: Any) -> bool:
    """Whether the user's program defines `cls`."""
    if cls.__module__ == "builtins" or is_own_class(cls):
        return False
    module = sys.modules.get(cls.__module__)
    return module is None or is_user_module(module)


def functions_of(value: Any) -> list[Any]:
    """What runs when a class attribute is used: a method, or what a property is made of."""
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if f is not None]
    if isinstance(value, (functools.cached_property, functools.partialmethod)):
        return [value.func]
    if isinstance(value, (classmethod, staticmethod)):
        return [value.__func__]
    return [value]


@functools.lru_cache(maxsize=1024)
def own_attributes(cls: Any) -> frozenset[str]:
    """The attributes that gradc's own methods of `cls` mention."""
    names: set[str] = set()
    for base in cls.__mro__:
        for value in vars(base).values() if is_own_class(base) else ():
            for function in functions_of(value):
                if isinstance(function, FunctionType):
                    names |= mentions(function.__code__).attributes
    return frozenset(names)
