"""What a function can read: a walk over closures, globals, attributes and containers.

    walk = Walk(step)
    walk.owners[id(tensor)]     "model.0.weight"
    walk.checks                 what must still be so for a trace of `step` to be valid

The walk is static: it follows every name that the reachable user code mentions. Functions of
gradc, of the standard library and of installed packages are entered only through what they close
over, since what they read themselves does not change under the user's hands.
"""

from __future__ import annotations

import builtins
import collections
import functools
import os
import site
import struct
import sys
import sysconfig
import types
from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np

from gradc.tracer.graph.source import is_own_code
from gradc.tracer.tensor import Tensor

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
_SCALARS = (bool, int, float, complex, str, bytes, type(None))
# Containers beyond this size are watched by identity and length only.
LARGE = 10_000


class Check:
    """One thing that must not change: `read()` must give what it gave.

    Attributes:
        path: how the user would write it.
        slow: whether a change bumps the structure counter, so that it need not be looked at
            as long as the counter stands still.
        by_truth: a run-time number: only its type and whether it is zero matter.
    """

    __slots__ = ("by_truth", "expected", "path", "slow")

    def __init__(self, path: str, expected: Any, slow: bool, by_truth: bool = False) -> None:
        self.path = path
        self.expected = expected
        self.slow = slow
        self.by_truth = by_truth

    def read(self) -> Any:
        """The value now, MISSING if there is none."""
        raise NotImplementedError

    def restore(self) -> None:
        """Put the expected value back."""
        raise NotImplementedError

    def holds(self) -> bool:
        """Whether the value is as it was."""
        now = self.read()
        if now is self.expected:
            return True
        if self.by_truth and isinstance(now, (int, float)):
            number = isinstance(self.expected, (int, float))
            same_kind = isinstance(now, bool) == isinstance(self.expected, bool)
            return number and same_kind and bool(now) == bool(self.expected)
        return same_value(now, self.expected)

    def describe(self) -> str:
        """What changed, in words."""
        now, before = self.read(), self.expected
        if isinstance(now, _SCALARS) or isinstance(before, _SCALARS):
            return f"`{self.path}` is {now!r} and was {before!r}"
        if now is MISSING or before is MISSING:
            return f"`{self.path}` {'is gone' if now is MISSING else 'is new'}"
        return f"`{self.path}` is another object"


class CellCheck(Check):
    """A closure variable."""

    __slots__ = ("cell",)

    def __init__(self, cell: types.CellType, path: str, expected: Any) -> None:
        super().__init__(path, expected, False)
        self.cell = cell

    def read(self) -> Any:
        try:
            return self.cell.cell_contents
        except ValueError:
            return MISSING

    def restore(self) -> None:
        self.cell.cell_contents = self.expected


class ItemCheck(Check):
    """An entry of a dict: a global, an attribute, an item."""

    __slots__ = ("container", "key")

    def __init__(
        self,
        container: Any,
        key: Any,
        path: str,
        expected: Any,
        slow: bool = False,
        by_truth: bool = False,
    ) -> None:
        super().__init__(path, expected, slow, by_truth)
        self.container = container
        self.key = key

    def read(self) -> Any:
        return self.container.get(self.key, MISSING)

    def restore(self) -> None:
        if self.expected is MISSING:
            self.container.pop(self.key, None)
        else:
            self.container[self.key] = self.expected


class ClassCheck(Check):
    """An attribute of a class."""

    __slots__ = ("cls", "name")

    def __init__(self, cls: type, name: str, path: str, expected: Any) -> None:
        super().__init__(path, expected, False)
        self.cls = cls
        self.name = name

    def read(self) -> Any:
        return vars(self.cls).get(self.name, MISSING)

    def restore(self) -> None:
        setattr(self.cls, self.name, self.expected)


class SlotCheck(Check):
    """An attribute that lives in a slot."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: Any, name: str, path: str, expected: Any) -> None:
        super().__init__(path, expected, False)
        self.owner = owner
        self.name = name

    def read(self) -> Any:
        return getattr(self.owner, self.name, MISSING)

    def restore(self) -> None:
        setattr(self.owner, self.name, self.expected)


class ItemsCheck(Check):
    """The items of a list, deque or set, or the keys of a dict; only the length of a large one."""

    __slots__ = ("container",)

    def __init__(self, container: Any, path: str, slow: bool = False) -> None:
        large = len(container) > LARGE
        super().__init__(path, len(container) if large else tuple(container), slow)
        self.container = container

    def read(self) -> Any:
        if isinstance(self.expected, int):
            return len(self.container)
        return self.container

    def holds(self) -> bool:
        if isinstance(self.expected, int):
            return len(self.container) == self.expected
        if len(self.container) != len(self.expected):
            return False
        for now, before in zip(self.container, self.expected):
            if now is not before and not same_value(now, before):
                return False
        return True

    def describe(self) -> str:
        before = self.expected if isinstance(self.expected, int) else len(self.expected)
        if len(self.container) != before:
            return f"`{self.path}` has {len(self.container)} items and had {before}"
        return f"an item of `{self.path}` is another"

    def restore(self) -> None:
        if isinstance(self.expected, int):
            return
        if isinstance(self.container, dict):
            for key in [k for k in self.container if k not in self.expected]:
                del self.container[key]
        elif isinstance(self.container, set):
            self.container.clear()
            self.container.update(self.expected)
        else:
            self.container.clear()
            self.container.extend(self.expected)


def same_value(a: Any, b: Any) -> bool:
    """Equal plain values of one type; NaN equals itself, and -0.0 differs from 0.0."""
    if type(a) is not type(b) or not isinstance(a, _SCALARS):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]]
    folders += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    return tuple(os.path.join(os.path.realpath(f), "") for f in folders)


_LIBRARIES = _library_folders()


@functools.lru_cache(maxsize=4096)
def _is_library_file(name: str) -> bool:
    return name.startswith("<frozen") or os.path.realpath(name).startswith(_LIBRARIES)


def is_user_code(code: types.CodeType) -> bool:
    """Whether `code` belongs to the user's program."""
    return not is_own_code(code) and not _is_library_file(code.co_filename)


def code_names(code: types.CodeType) -> set[str]:
    """The names `code` and the code nested in it mention as globals or attributes."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= code_names(constant)
    return names


class Walk:
    """Everything reachable from some functions, and the checks that pin it.

    Attributes:
        owners: tensor, storage and array ids to readable paths.
        codes: the code objects of the functions that were reached.
    """

    def __init__(self, roots: Iterable[Any], names: set[str] | None = None) -> None:
        self.roots = list(roots)
        self.names = set(names or ())
        # Attributes are followed by name, and following them finds more names: to a fixed point.
        while True:
            known = len(self.names)
            self._run()
            if len(self.names) == known:
                break

    def _run(self) -> None:
        self.owners: dict[int, str] = {}
        self.checks: list[Check] = []
        self.codes: set[types.CodeType] = set()
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        self._queue: collections.deque[tuple[Any, str, bool]] = collections.deque()
        for root in self.roots:
            self._queue.append((root, getattr(root, "__name__", type(root).__name__), False))
        self._by_tensor: list[tuple[dict[Any, Any], Any, bool]] = []
        self._drain()
        # What lies under a tensor is named after it, so the tensors' own names come first.
        for container, key, numbers in self._by_tensor:
            path = self.owners.get(id(key), "state")
            self._entry(container, key, path, False, numbers)
            self._drain()

    def _drain(self) -> None:
        while self._queue:
            self._visit(*self._queue.popleft())

    def _later(self, value: Any, path: str, numbers: bool = False) -> None:
        if not isinstance(value, _SCALARS) and value is not MISSING:
            self._queue.append((value, path, numbers))

    def _visit(self, value: Any, path: str, numbers: bool) -> None:
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._alive.append(value)
        if isinstance(value, Tensor):
            self.owners.setdefault(id(value), path)
            self.owners.setdefault(id(value._storage), path)
        elif isinstance(value, np.ndarray):
            self.owners.setdefault(id(value), path)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value, path)
        elif isinstance(value, types.MethodType):
            self._later(value.__self__, "self")
            self._later(value.__func__, path)
        elif isinstance(value, functools.partial):
            self._visit_partial(value, path)
        elif isinstance(value, type):
            self._visit_class(value, path)
        elif isinstance(value, types.ModuleType):
            self._visit_module(value, path)
        elif isinstance(value, (dict, list, tuple, set, frozenset, collections.deque)):
            self._visit_container(value, path, numbers)
        elif not isinstance(value, (Enum, np.generic, types.BuiltinFunctionType)):
            self._visit_object(value, path)

    # -- code -----------------------------------------------------------------------------------

    def _visit_function(self, function: types.FunctionType, path: str) -> None:
        code = function.__code__
        self.codes.add(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            check = CellCheck(cell, name, MISSING)
            check.expected = check.read()
            self.checks.append(check)
            self._later(check.expected, name)
        for default in (function.__defaults__ or (), (function.__kwdefaults__ or {}).values()):
            for value in default:
                self._later(value, path)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self._later(wrapped, path)
        if not is_user_code(code):
            return
        names = code_names(code)
        self.names |= names
        for name in sorted(names & function.__globals__.keys()):
            self._entry(function.__globals__, name, name, False)
        for name in sorted(names - function.__globals__.keys()):
            if hasattr(builtins, name) and name in _SHADOWABLE:
                self.checks.append(ItemCheck(function.__globals__, name, name, MISSING))

    def _visit_partial(self, value: functools.partial[Any], path: str) -> None:
        self._later(value.func, path)
        for argument in (*value.args, *value.keywords.values()):
            self._later(argument, _type_name(argument))

    def _visit_class(self, cls: type, path: str) -> None:
        for base in cls.__mro__:
            if not _is_user_class(base):
                continue
            for name in sorted(self.names & vars(base).keys()):
                found = vars(base)[name]
                self.checks.append(ClassCheck(base, name, f"{path}.{name}", found))
                self._follow(found, f"{path}.{name}")

    def _visit_module(self, module: types.ModuleType, path: str) -> None:
        file = getattr(module, "__file__", None)
        if file is None or _is_library_file(file) or _is_own_file(file):
            return
        for name in sorted(self.names & vars(module).keys()):
            self._entry(vars(module), name, f"{path}.{name}", False)

    # -- data -----------------------------------------------------------------------------------

    def _entry(
        self, container: Any, key: Any, path: str, slow: bool, numbers: bool = False
    ) -> None:
        value = container.get(key, MISSING)
        by_truth = numbers and isinstance(value, (int, float))
        self.checks.append(ItemCheck(container, key, path, value, slow, by_truth))
        self._follow(value, path, numbers)

    def _follow(self, value: Any, path: str, numbers: bool = False) -> None:
        if isinstance(value, (property, functools.cached_property, classmethod, staticmethod)):
            for function in _wrapped_functions(value):
                self._later(function, path)
        else:
            self._later(value, path, numbers)

    def _visit_container(self, value: Any, path: str, numbers: bool) -> None:
        if not isinstance(value, (tuple, frozenset)):
            self.checks.append(ItemsCheck(value, path))
        if len(value) > LARGE:
            return
        if isinstance(value, dict):
            for key in value:
                if isinstance(key, Tensor):
                    self._by_tensor.append((value, key, numbers))
                else:
                    self._entry(value, key, _item_path(path, key), False, numbers)
        else:
            for i, item in enumerate(value):
                self._later(item, f"{path}[{i}]", numbers)

    def _visit_object(self, value: Any, path: str) -> None:
        cls = type(value)
        attributes = getattr(value, "__dict__", None)
        if getattr(cls, "_gradc_structure", False):
            self._visit_structured(value, path)
        elif attributes is not None and isinstance(attributes, dict) and _has_user_state(cls):
            for name in sorted(self.names & attributes.keys()):
                self._entry(attributes, name, f"{path}.{name}", False)
        kind: Any = cls
        for name in sorted(self.names & _slot_names(kind)):
            now = getattr(value, name, MISSING)
            self.checks.append(SlotCheck(value, name, f"{path}.{name}", now))
            self._later(now, f"{path}.{name}")
        self._visit_behaviour(value, cls, path, attributes)

    def _visit_behaviour(self, value: Any, cls: type, path: str, attributes: Any) -> None:
        """The class of an object; an attribute of the object's own would hide the class's."""
        self._later(cls, cls.__name__)
        call = vars(cls).get("__call__")
        if isinstance(call, types.FunctionType) and is_user_code(call.__code__):
            self._later(call, path)
        if isinstance(attributes, dict):
            for base in cls.__mro__:
                if _is_user_class(base):
                    for name in sorted((self.names & vars(base).keys()) - attributes.keys()):
                        self.checks.append(ItemCheck(attributes, name, f"{path}.{name}", MISSING))
        inner = getattr(value, "fn", None)
        if callable(inner) and cls.__module__.startswith("gradc."):
            self._later(inner, path)

    def _visit_structured(self, value: Any, path: str) -> None:
        """A Module, an Optimizer, ...: writes to it bump the structure counter."""
        runtime = getattr(type(value), "_gradc_runtime_numbers", ())
        registries = getattr(type(value), "_gradc_registries", ())
        attributes = vars(value)
        self.checks.append(ItemsCheck(attributes, path, slow=True))
        for name in sorted(attributes):
            if name not in registries:
                self._entry(attributes, name, f"{path}.{name}", True, name in runtime)
        for registry in registries:
            entries = attributes.get(registry)
            if entries is None:
                continue
            self.checks.append(ItemsCheck(entries, path, slow=True))
            for name in entries:
                self._entry(entries, name, f"{path}.{name}", True)


# Builtins that programs define anew often enough to be watched for.
_SHADOWABLE = frozenset({"sum", "min", "max", "abs", "pow", "round", "input", "filter", "map"})


def _wrapped_functions(value: Any) -> list[Any]:
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, functools.cached_property):
        return [value.func]
    return [value.__func__]


def _item_path(path: str, key: Any) -> str:
    plain = isinstance(key, str) and key.isidentifier()
    return f"{path}.{key}" if plain else f"{path}[{key!r}]"


def _type_name(value: Any) -> str:
    return getattr(value, "__name__", None) or type(value).__name__.lower()


@functools.lru_cache(maxsize=4096)
def _is_own_file(name: str) -> bool:
    return is_own_code(compile_probe(name))


def compile_probe(name: str) -> types.CodeType:
    """A code object that claims to come from `name`, to ask whose file it is."""
    return compile_probe.__code__.replace(co_filename=name)


def _is_user_class(cls: type) -> bool:
    if cls.__module__ == "builtins" or cls.__module__.split(".", 1)[0] == "gradc":
        return False
    return any(
        isinstance(v, types.FunctionType) and is_user_code(v.__code__) for v in vars(cls).values()
    ) or not _is_library_module(cls.__module__)


@functools.lru_cache(maxsize=1024)
def _is_library_module(name: str) -> bool:
    import_name = name.split(".", 1)[0]
    module = sys.modules.get(import_name)
    file = getattr(module, "__file__", None)
    return import_name != "__main__" and (file is None or _is_library_file(file))


def _has_user_state(cls: type) -> bool:
    """Whether instances carry attributes of the user's: classes of his, and plain namespaces."""
    return cls.__module__.split(".", 1)[0] != "gradc"


@functools.lru_cache(maxsize=1024)
def _slot_names(cls: Any) -> frozenset[str]:
    if cls.__module__ == "builtins" or cls.__module__.split(".", 1)[0] in ("gradc", "numpy"):
        return frozenset()
    names: set[str] = set()
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        names.update((slots,) if isinstance(slots, str) else slots)
    return frozenset(names) - {"__dict__", "__weakref__"}
