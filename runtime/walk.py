"""What a function can read: a walk over closures, globals, attributes and containers.

    walk = Walk({"step": step})
    walk.owners[id(tensor)]         "model.0.weight"
    walk.checks, walk.slow          what must still be so for a trace of `step` to be valid

The walk is static. It follows every name that the reachable user code mentions; attributes whose
names are computed (`getattr(x, name)`, `vars(x)`) make it follow all attributes of the user's
objects. Functions of gradc, of the standard library and of installed packages are entered only
through what they close over, since what they read themselves does not change under the user's
hands.
"""

from __future__ import annotations

import array
import collections
import contextvars
import functools
import gc
import importlib.util
import sys
import types
import weakref
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np

from gradc.runtime.checks import (
    LARGE,
    MISSING,
    SCALARS,
    Absent,
    ArrayContents,
    Attribute,
    Check,
    ClassEntry,
    Contents,
    Entry,
    Items,
    Number,
    Outcome,
)  # fmt: skip
from gradc.runtime.consumables import Progress, draws_of, is_plain_iterator
from gradc.runtime.mentions import (
    Mentions,
    functions_of,
    is_own_class,
    is_user_class,
    is_user_code,
    is_user_module,
    is_user_scope,
    mentions,
    own_attributes,
)  # fmt: skip
from gradc.tracer.graph.source import is_own_code
from gradc.tracer.tensor import Tensor

# Contents of arrays beyond this many bytes are not compared.
LARGE_ARRAY = 1 << 20
_CONTAINERS = (dict, list, tuple, set, frozenset, collections.deque)
# Objects that only lead to others: what they refer to is followed.
_VIEWS: tuple[type, ...] = (
    types.MappingProxyType, type({}.keys()), type({}.values()), type({}.items()),
    types.MethodWrapperType, types.WrapperDescriptorType,
)  # fmt: skip
_LEAVES = (Enum, np.generic, np.dtype, types.CodeType, types.FrameType, property)
# Where containers of the standard library that are written in Python keep their items.
_LIBRARY_ATTRIBUTES = {"UserDict": "data", "UserList": "data", "ChainMap": "maps"}


class Walk:
    """Everything reachable from some named objects, and the checks that pin it.

    Attributes:
        owners: ids of tensors, their storages, and arrays to readable paths.
        arrays: the NumPy arrays found, by id, with their labels.
        checks: what is looked at every time.
        slow: what cannot change without a bump of the structure counter.
        numbers: numbers of optimizers, which a program may read anew at every run.
        consumables: what the trace must leave untouched.
        array_contents: checks of the contents of `arrays` up to `LARGE_ARRAY` bytes.
        foreign: packages of the objects found whose classes are no user's.
        mentions: all that the reached user code mentions.
    """

    def __init__(
        self, roots: Mapping[str, Any], strangers: Iterable[Any] = (), names: Iterable[str] = ()
    ) -> None:
        self.roots = dict(roots)
        self.mentions = Mentions(attributes={"forward", *names})
        self._strangers = list(strangers)
        # Attributes are followed by name, and following them finds more names: to a fixed point.
        size: Any = None
        while size != self.mentions.size():
            size = self.mentions.size()
            self._run()

    def _run(self) -> None:
        self.owners: dict[int, str] = {}
        self.arrays: dict[int, tuple[Any, str]] = {}
        self.checks: list[Check] = []
        self.slow: list[Check] = []
        self.numbers: list[Number] = []
        self.consumables: list[Check] = []
        self.array_contents: list[ArrayContents] = []
        self.foreign: set[str] = set()
        self._seen: dict[int, Any] = {}
        self._runtime: set[int] = set()
        self._entries: set[tuple[int, Any, bool]] = set()
        self._absent_globals: dict[int, tuple[dict[str, Any], set[str]]] = {}
        self._queue: collections.deque[tuple[Any, str, bool]] = collections.deque()
        self._keyed: collections.deque[tuple[dict[Any, Any], str]] = collections.deque()
        for name, root in self.roots.items():
            self._later(root, name)
        for function in self._strangers:
            self._later(function, getattr(function, "__name__", "function"))
        while self._queue or self._keyed:
            while self._queue:
                self._visit(*self._queue.popleft())
            if self._keyed:
                self._visit_keyed(*self._keyed.popleft())
        for scope, names in self._absent_globals.values():
            self.checks.append(Absent(scope, names - scope.keys(), "global `"))

    def _later(self, value: Any, path: str, runtime: bool = False) -> None:
        if value is not MISSING and not isinstance(value, SCALARS):
            self._queue.append((value, path, runtime))

    def _visit(self, value: Any, path: str, runtime: bool) -> None:
        if id(value) in self._seen and (runtime or id(value) not in self._runtime):
            return
        self._seen[id(value)] = value
        # What is also reached past an optimizer may be read there by any key.
        (self._runtime.add if runtime else self._runtime.discard)(id(value))
        if isinstance(value, Tensor):
            self._visit_tensor(value, path)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value, path)
        elif isinstance(value, type):
            self._visit_class(value, path)
        elif isinstance(value, types.ModuleType):
            self._visit_module(value, path)
        elif isinstance(value, _CONTAINERS):
            self._visit_container(value, path, runtime)
        elif not self._visit_callable(value, path) and not self._visit_special(value, path):
            self._visit_object(value, path)

    def _visit_callable(self, value: Any, path: str) -> bool:
        """Bound methods, partials and cached functions."""
        if isinstance(value, (types.MethodType, types.BuiltinFunctionType)):
            owner = value.__self__
            if not isinstance(owner, types.ModuleType):
                at_root = path in self.roots
                self._later(owner, "self" if at_root else f"{path}.__self__")
            if isinstance(value, types.MethodType):
                self._later(value.__func__, path)
        elif isinstance(value, functools.partial):
            self._later(value.func, path)
            for name, argument in _partial_arguments(value):
                self._later(argument, name)
        elif hasattr(type(value), "cache_info"):
            self._later(getattr(value, "__wrapped__", None), path)
        else:
            return False
        return True

    def _visit_special(self, value: Any, path: str) -> bool:
        """Objects of Python and NumPy that need a look of their own."""
        if isinstance(value, np.ndarray):
            self._visit_array(value, path)
        elif isinstance(value, (bytearray, array.array)):
            self.checks.append(ArrayContents(value, f"`{path}`"))
        elif isinstance(value, weakref.ref):
            self._outcome(value, f"`{path}()`", f"{path}()")
        elif isinstance(value, contextvars.ContextVar):
            get = functools.partial(value.get, MISSING)
            if value.get(MISSING) is MISSING:  # the variable's own default, if it has one
                get = functools.partial(_context_value, value)
            self._outcome(get, f"`{path}.get()`", f"{path}.get()", value.set)
        elif isinstance(value, _VIEWS) or is_plain_iterator(value):
            if is_plain_iterator(value):
                self.consumables.append(Progress(value, f"`{path}`"))
            for part in gc.get_referents(value):
                self._later(part, path)
        elif not isinstance(value, _LEAVES):
            draws = draws_of(value, f"`{path}`")
            if draws is None:
                return False
            self.consumables.append(draws)
        return True

    def _outcome(self, get: Any, label: str, path: str, undo: Any = None) -> None:
        check = Outcome(get, label, undo)
        self.checks.append(check)
        self._later(check.expected, path)

    # -- code -----------------------------------------------------------------------------------

    def _visit_function(self, function: types.FunctionType, path: str) -> None:
        code = function.__code__
        own = is_own_code(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            check = Attribute(cell, "cell_contents", f"closure variable `{name}`")
            if not own:
                self.checks.append(check)
            self._later(check.expected, name)
        self._later(function.__defaults__, f"{path}.__defaults__")
        self._later(function.__kwdefaults__, f"{path}.__kwdefaults__")
        self._later(getattr(function, "__wrapped__", None), path)
        if not is_user_code(code) or not is_user_scope(function.__globals__.get("__name__")):
            return
        found = mentions(code)
        self.mentions.add(found)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            if getattr(function, name) is not None:
                self.checks.append(Attribute(function, name, f"`{path}.{name}`"))
        self._visit_namespace(vars(function), path)
        self._visit_globals(function.__globals__, found)

    def _visit_globals(self, scope: dict[str, Any], found: Mentions) -> None:
        for name in sorted(found.globals):
            if name in scope:
                self._entry(scope, name, f"global `{name}`", name)
            else:
                self._absent_globals.setdefault(id(scope), (scope, set()))[1].add(name)
        for name in sorted(found.modules):
            self._visit_import(scope, name)
        if "__name__" in found.globals and "modules" in found.attributes:
            self._later(sys.modules.get(scope["__name__"]), str(scope["__name__"]))
        if "modules" in found.attributes or "import_module" in found.attributes | found.globals:
            for name in sorted(found.strings & sys.modules.keys()):
                self._later(sys.modules[name], name)

    def _visit_import(self, scope: dict[str, Any], name: str) -> None:
        """A module imported inside a function, with the packages it lies in."""
        if name.startswith("."):
            try:
                name = importlib.util.resolve_name(name, scope.get("__package__") or "")
            except ImportError:
                return
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            self._later(sys.modules.get(".".join(parts[:end])), ".".join(parts[:end]))
        # `from package import module`
        for attribute in sorted(self.mentions.attributes):
            self._later(sys.modules.get(f"{name}.{attribute}"), f"{name}.{attribute}")

    def _visit_class(self, cls: Any, path: str) -> None:
        for base in cls.__mro__:
            if not is_user_class(base):
                continue
            own = vars(base)
            names = {n for n in own if n in self.mentions.attributes or _is_operator(n, own[n])}
            if self.mentions.reflective:
                names |= {n for n in own if not n.startswith("__")}
            for name in sorted(names):
                self.checks.append(ClassEntry(base, name, f"`{base.__name__}.{name}`"))
                for part in functions_of(own[name]):
                    self._later(part, f"{base.__name__}.{name}")
            missing = self.mentions.attributes - own.keys()
            self.checks.append(Absent(own, missing, f"`{base.__name__}.", base))
        if is_user_class(type(cls)):
            self._later(type(cls), type(cls).__name__)

    def _visit_module(self, module: types.ModuleType, path: str) -> None:
        if not is_user_module(module):
            return
        self._visit_namespace(vars(module), path)

    def _visit_namespace(self, attributes: dict[str, Any], path: str) -> None:
        """Attributes of what has no class of the user's: one that is missing is an error if read,
        unless the program asks first."""
        for name in sorted(self.mentions.attributes & attributes.keys()):
            self._entry(attributes, name, f"`{path}.{name}`", f"{path}.{name}")
        missing = self.mentions.probed - attributes.keys()
        if missing:
            self.checks.append(Absent(attributes, missing, f"`{path}."))

    # -- data -----------------------------------------------------------------------------------

    def _entry(
        self, owner: Any, key: Any, label: str, path: str, slow: bool = False, runtime: bool = False
    ) -> None:
        value = owner[key]
        if (id(owner), key, runtime) not in self._entries:
            self._entries.add((id(owner), key, runtime))
            if runtime and type(value) in (int, float):
                self.numbers.append(Number(owner, key, label))
            else:
                (self.slow if slow else self.checks).append(Entry(owner, key, label))
        self._later(value, path, runtime)

    def _visit_tensor(self, tensor: Tensor, path: str) -> None:
        self.owners[id(tensor)] = path
        self.owners.setdefault(id(tensor._storage), path)
        for name, shown in (("_requires_grad", "requires_grad"), ("_storage", "its memory"),
                            ("leaf_hooks", "its hooks")):
            self.slow.append(Attribute(tensor, name, f"`{path}`: {shown}"))
        if tensor.leaf_hooks is not None:
            self.slow.append(Contents(tensor.leaf_hooks, f"`{path}`: its hooks"))
            for hook in tensor.leaf_hooks:
                self._later(hook, f"{path}: a hook")
        self._visit_namespace(tensor.__dict__, path)

    def _visit_array(self, value: Any, path: str) -> None:
        self.owners[id(value)] = path
        self.arrays[id(value)] = value, f"`{path}`"
        if value.nbytes <= LARGE_ARRAY:
            self.array_contents.append(ArrayContents(value, f"`{path}`"))
        if value.dtype.hasobject and value.size <= LARGE:
            for item in value.ravel().tolist():
                self._later(item, f"{path}[...]")

    def _visit_container(self, value: Any, path: str, runtime: bool) -> None:
        structured = getattr(type(value), "_gradc_structure", False)
        target = self.slow if structured else self.checks
        if isinstance(value, dict):
            target.append(Items(value, f"`{path}`", keys_only=runtime))
            if len(value) <= LARGE:
                if any(isinstance(key, Tensor) for key in value):
                    self._keyed.append((value, path))  # once the keys' owners are known
                else:
                    self._queue_items(value, path, runtime)
        else:
            if not isinstance(value, (tuple, frozenset)):
                target.append(Contents(value, f"`{path}`"))
            if len(value) <= LARGE:
                for i, item in enumerate(value):
                    self._later(item, f"{path}[{i}]", runtime)
        if type(value).__module__ not in ("builtins", "collections"):
            self._visit_object(value, path)

    def _queue_items(self, value: dict[Any, Any], path: str, runtime: bool) -> None:
        for key, item in value.items():
            place = _item_path(path, key)
            self._later(key, place)
            if runtime:  # here only the keys are watched together, since numbers may change
                slow = getattr(type(value), "_gradc_structure", False)
                self._entry(value, key, f"`{place}`", place, slow, runtime)
            elif type(item) in (int, float) and getattr(type(value), "_gradc_structure", False):
                self._entry(value, key, f"`{place}`", place)  # new numbers bump no counter
            else:
                self._later(item, place)

    def _visit_keyed(self, value: dict[Any, Any], path: str) -> None:
        """What is kept for tensors, as an optimizer does: named after them."""
        for key, item in value.items():
            self._later(key, f"{path}.keys()[...]")
            name = self.owners.get(id(key))
            if name is None or not isinstance(item, dict) or id(item) in self._seen:
                self._later(item, f"{path}[{name or '...'}]")
                continue
            self._seen[id(item)] = item
            structured = getattr(type(item), "_gradc_structure", False)
            check = Items(item, f"`{path}[{name}]`")
            (self.slow if structured else self.checks).append(check)
            for field, part in item.items():
                self._later(part, f"{name}.{field}")

    def _visit_object(self, value: Any, path: str) -> None:
        cls: Any = type(value)
        if str(cls.__module__).startswith(_OPAQUE):
            attributes = _instance_dict(value)
            self._later((attributes or {}).get("__wrapped__"), path)
            return
        attributes, names = _instance_dict(value), self._names_for(value)
        structured = bool(getattr(cls, "_gradc_structure", False))
        if attributes is not None:
            if not structured:
                for name in ("__class__", "__dict__"):
                    self.checks.append(Attribute(value, name, f"`{path}.{name}`"))
            else:
                names -= self._visit_bumped(value, path)
            self._visit_attributes(value, attributes, names, path, structured)
        for name in sorted(names & _slot_names(cls)):
            check = Attribute(value, name, f"`{path}.{name}`")
            self.checks.append(check)
            self._later(check.expected, f"{path}.{name}")
        self._later(cls, cls.__name__)

    def _names_for(self, value: Any) -> set[str]:
        """The attributes of an object that the program may read."""
        cls: Any = type(value)
        names = set(self.mentions.attributes)
        for base in cls.__mro__:
            if is_own_class(base):
                names |= own_attributes(cls)
                break
        if self.mentions.reflective and is_user_class(cls):
            names |= (_instance_dict(value) or {}).keys() | _slot_names(cls)
        if cls.__module__ == "collections" or not is_user_class(cls):
            names |= {_LIBRARY_ATTRIBUTES.get(cls.__name__, "forward")}
            self.foreign.add(str(cls.__module__).split(".", 1)[0])
        return names

    def _visit_attributes(
        self,
        owner: Any,
        attributes: dict[str, Any],
        names: set[str],
        path: str,
        slow: bool = False,
    ) -> None:
        numbers = getattr(type(owner), "_gradc_runtime_numbers", ())
        for name in sorted(names & attributes.keys()):
            place = f"{path}.{name}"
            self._entry(attributes, name, f"`{place}`", place, slow, name in numbers)
        missing = Absent(attributes, names - attributes.keys(), f"`{path}.")
        (self.slow if slow else self.checks).append(missing)

    def _visit_bumped(self, value: Any, path: str) -> set[str]:
        """Containers of a Module whose every change bumps the structure counter; their names."""
        attributes = vars(value)
        registries = getattr(type(value), "_gradc_registries", ())
        others = getattr(type(value), "_gradc_bumped", ())
        for name in (*registries, *others):
            container = attributes.get(name)
            if container is None or id(container) in self._seen:
                continue
            self._seen[id(container)] = container
            self.slow.append(Entry(attributes, name, f"`{path}.{name}`"))
            if name in registries:
                for key in container:
                    self._entry(container, key, f"`{path}.{key}`", f"{path}.{key}", slow=True)
                self.slow.append(Items(container, f"`{path}`", keys_only=True))
            else:
                self.slow.append(Contents(container, f"`{path}.{name}`"))
                for item in container:
                    self._later(item, f"{path}.{name}")
        return {*registries, *others}


# Objects of gradc that are no part of the user's program; a compiled function leads to its own.
_OPAQUE = ("gradc.tracer.graph", "gradc.runtime", "gradc.codegen")


def _instance_dict(value: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _item_path(path: str, key: Any) -> str:
    """How an item is named: as an attribute where it could be one, which also suits C."""
    if isinstance(key, str) and key.isidentifier():
        return f"{path}.{key}"
    return f"{path}[{key!r}]" if isinstance(key, SCALARS) else f"{path}[...]"


def _context_value(variable: contextvars.ContextVar[Any]) -> Any:
    try:
        return variable.get()
    except LookupError:
        return MISSING


def _partial_arguments(value: functools.partial[Any]) -> Iterable[tuple[str, Any]]:
    code = getattr(value.func, "__code__", None)
    names = code.co_varnames if code is not None else ()
    for i, argument in enumerate(value.args):
        yield (names[i] if i < len(names) else f"arg{i}"), argument
    yield from value.keywords.items()


def _is_operator(name: str, value: Any) -> bool:
    """Whether a class attribute is a method that runs without being named, as `__add__`."""
    return name.startswith("__") and isinstance(value, types.FunctionType)


@functools.lru_cache(maxsize=1024)
def _slot_names(cls: Any) -> frozenset[str]:
    names: set[str] = set()
    for base in cls.__mro__:
        if not is_own_class(base) and base.__module__ not in ("builtins", "numpy"):
            slots = vars(base).get("__slots__", ())
            names.update((slots,) if isinstance(slots, str) else slots)
    return frozenset(names) - {"__dict__", "__weakref__"}
