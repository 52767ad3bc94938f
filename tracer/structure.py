"""One counter for every change a compiled function's cheap check must not miss.

Attribute writes, registration, `train()`, `requires_grad_()`, a new `.grad`: whoever changes the
structure that a trace depended on bumps the counter. A compiled function compares one integer per
call, and looks closely only when it has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Self, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class StructureVersion:
    """A monotonically increasing count of structural changes, process wide."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0

    def bump(self) -> None:
        """Record a change."""
        self.version += 1


STRUCTURE = StructureVersion()


class StructureDict(dict[K, V]):
    """A dict of a module or an optimizer: every change bumps the counter.

    A number that replaces one of its type does not, since schedules do that at every step: readers
    of numbers look at them themselves.
    """

    _gradc_structure = True

    def __setitem__(self, key: K, value: V) -> None:
        before = self.get(key)
        if type(value) not in (int, float) or type(before) is not type(value):
            STRUCTURE.bump()
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        STRUCTURE.bump()
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def clear(self) -> None:
        STRUCTURE.bump()
        super().clear()

    def pop(self, *args: Any) -> Any:
        STRUCTURE.bump()
        return super().pop(*args)

    def popitem(self) -> tuple[K, V]:
        STRUCTURE.bump()
        return super().popitem()

    def setdefault(self, key: K, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


class StructureList(list[V]):
    """A list of an optimizer: every change bumps the counter."""

    _gradc_structure = True


def _bumping(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @wraps(method)
    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        STRUCTURE.bump()
        found = method(self, *args, **kwargs)
        return self if found is not None and name.startswith("__i") else found

    return change


for _name in (
    "__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "clear", "extend", "insert",
    "pop", "remove", "reverse", "sort",
):  # fmt: skip
    setattr(StructureList, _name, _bumping(_name))
