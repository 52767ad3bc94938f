"""Checks: single things that must be as they were, and many of them at the speed of C.

    check = Entry(vars(module), "SCALE", "global `SCALE`")     remembers the value there now
    check.holds(); check.describe()                            "global `SCALE` is 3.0 and was 2.0"
    Together([check, ...]).holds()                             all of them, a few flat passes

A check compares exactly: objects by identity, plain values by type and value (NaN equals itself,
-0.0 is not 0.0). `Together` first compares identities only, without a Python call per check; where
one differs, every check is asked, and if all hold the new objects are remembered.
"""

from __future__ import annotations

import contextlib
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import chain
from operator import attrgetter, call, is_, itemgetter
from types import CellType
from typing import Any, TypeAlias

import numpy as np

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
SCALARS = (bool, int, float, complex, str, bytes, type(None))
# Containers beyond this many items are watched by identity and length only.
LARGE = 10_000


def same_value(a: Any, b: Any) -> bool:
    """Equal plain values of one type; NaN equals itself, and -0.0 differs from 0.0."""
    if type(a) is not type(b) or not isinstance(a, SCALARS):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, complex):
        return struct.pack("dd", a.real, a.imag) == struct.pack("dd", b.real, b.imag)
    return bool(a == b)


def same(a: Any, b: Any) -> bool:
    """The same object, or equal plain values."""
    return a is b or same_value(a, b)


def all_same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """`same`, item by item."""
    return len(a) == len(b) and all(map(same, a, b))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Check:
    """One thing that must not change.

    Attributes:
        label: how the user would name it: "global `SCALE`".
        expected: what it was.
    """

    __slots__ = ("expected", "label")

    def __init__(self, label: str, expected: Any) -> None:
        self.label = label
        self.expected = expected

    def read(self) -> Any:
        """What it is now, MISSING if it is gone."""
        raise NotImplementedError

    def restore(self) -> None:
        """Make it what it was."""
        raise NotImplementedError

    def holds(self) -> bool:
        """Whether a program traced earlier is still right."""
        return same(self.read(), self.expected)

    def unchanged(self) -> bool:
        """Whether it is exactly what it was."""
        return self.holds()

    def refresh(self) -> None:
        """Remember the objects that are there now, after `holds()`."""
        self.expected = self.read()

    def describe(self) -> str:
        """What is different, in words."""
        now = self.read()
        if now is MISSING:
            return f"{self.label} is gone"
        if self.expected is MISSING:
            return f"{self.label} is new"
        if isinstance(now, SCALARS) or isinstance(self.expected, SCALARS):
            return f"{self.label} is {_shown(now)} and was {_shown(self.expected)}"
        return f"{self.label} is another object"

    def change(self) -> str:
        """What happened to it, in words."""
        now = self.read()
        if now is MISSING or self.expected is MISSING:
            return f"{self.label} was {'deleted' if now is MISSING else 'made'}"
        if isinstance(now, SCALARS) and isinstance(self.expected, SCALARS):
            return f"{self.label} changed from {_shown(self.expected)} to {_shown(now)}"
        return f"{self.label} was set to {_kind(now)}"


def _kind(value: Any) -> str:
    if isinstance(value, SCALARS):
        return _shown(value)
    name = type(value).__name__
    return f"another {name}"


class Entry(Check):
    """What a mapping holds under a key: a global, an attribute of an object, an item."""

    __slots__ = ("key", "owner")

    def __init__(self, owner: Mapping[Any, Any], key: Any, label: str) -> None:
        self.owner = owner
        self.key = key
        super().__init__(label, self.read())

    def read(self) -> Any:
        try:
            return self.owner[self.key]
        except LookupError:
            return MISSING

    def restore(self) -> None:
        assert isinstance(self.owner, MutableMapping)
        self.owner[self.key] = self.expected


class Number(Entry):
    """A number that the program reads anew at every run: its type and whether it is zero matter."""

    __slots__ = ()

    def holds(self) -> bool:
        now = self.read()
        return type(now) is type(self.expected) and bool(now) == bool(self.expected)

    def unchanged(self) -> bool:
        return super().holds()


class ClassEntry(Entry):
    """An attribute of a class."""

    __slots__ = ("cls",)

    def __init__(self, cls: type, key: str, label: str) -> None:
        self.cls = cls
        super().__init__(vars(cls), key, label)

    def restore(self) -> None:
        type.__setattr__(self.cls, self.key, self.expected)


class Attribute(Check):
    """An attribute that lies in no dict: a slot, a cell's contents, an object's class."""

    __slots__ = ("key", "owner")

    def __init__(self, owner: Any, key: str, label: str) -> None:
        self.owner = owner
        self.key = key
        super().__init__(label, self.read())

    def read(self) -> Any:
        try:
            return getattr(self.owner, self.key)
        except (AttributeError, ValueError):  # an empty slot, an empty cell
            return MISSING

    def restore(self) -> None:
        if self.expected is not MISSING:
            _write_attribute(self.owner, self.key, self.expected)
        elif isinstance(self.owner, CellType):
            del self.owner.cell_contents
        else:
            object.__delattr__(self.owner, self.key)


def _write_attribute(owner: Any, name: str, value: Any) -> None:
    # Past a `__setattr__` of the owner's class, which may refuse or do more than store.
    object.__setattr__(owner, name, value)


class Outcome(Check):
    """What a call without effects gives: a weak reference's object, a context variable's value."""

    __slots__ = ("function", "undo")

    def __init__(
        self, function: Callable[[], Any], label: str, undo: Callable[[Any], object] | None = None
    ) -> None:
        self.function = function
        self.undo = undo
        super().__init__(label, function())

    def read(self) -> Any:
        return self.function()

    def holds(self) -> bool:
        now = self.read()
        if isinstance(now, tuple) and isinstance(self.expected, tuple):
            return all_same(now, self.expected)
        return same(now, self.expected)

    def restore(self) -> None:
        if self.undo is not None:
            self.undo(self.expected)


class Absent(Check):
    """Names that a mapping does not have; one that appears would be found first.

    The label ends where the name goes: "global `".
    """

    __slots__ = ("cls", "owner", "view")

    def __init__(
        self, owner: Mapping[Any, Any], names: Iterable[str], label: str, cls: type | None = None
    ) -> None:
        self.owner = owner
        self.cls = cls
        self.view = owner.keys()
        super().__init__(label, frozenset(names))

    def read(self) -> Any:
        return self.expected - self.view

    def holds(self) -> bool:
        return _isdisjoint(self.view, self.expected)

    def _new(self) -> str:
        return str(min(self.expected & self.view))

    def restore(self) -> None:
        for name in self.expected & self.view:
            if self.cls is not None:
                type.__delattr__(self.cls, name)
            else:
                assert isinstance(self.owner, MutableMapping)
                del self.owner[name]

    def describe(self) -> str:
        return f"{self.label}{self._new()}` is new"

    def change(self) -> str:
        return f"{self.label}{self._new()}` was made"


class Contents(Check):
    """The items of a list, a deque or a set; only the number of them where they are many."""

    __slots__ = ("container", "is_large")

    def __init__(self, container: Any, label: str) -> None:
        self.container = container
        self.is_large = len(container) > LARGE
        super().__init__(label, self.read())

    def read(self) -> Any:
        return len(self.container) if self.is_large else tuple(self.container)

    def holds(self) -> bool:
        if self.is_large:
            return bool(len(self.container) == self.expected)
        return all_same(tuple(self.container), self.expected)

    def restore(self) -> None:
        if self.is_large:
            return
        self.container.clear()
        add = getattr(self.container, "extend", None) or self.container.update
        add(self.expected)

    @property
    def views(self) -> tuple[Any, ...]:
        """What to compare item by item."""
        return (self.container,)

    def _sizes(self) -> tuple[int, int]:
        return len(self.container), self.expected if self.is_large else len(self.expected)

    def describe(self) -> str:
        now, before = self._sizes()
        if now != before:
            return f"{self.label} has {now} items and had {before}"
        return f"an item of {self.label} is another"

    def change(self) -> str:
        now, before = self._sizes()
        if now != before:
            return f"{self.label} had {before} items and got {now}"
        return f"an item of {self.label} was replaced"


class Items(Contents):
    """Keys and values of a dict, in their order; with `keys_only`, the values do not matter."""

    __slots__ = ("keys_only",)

    def __init__(self, container: dict[Any, Any], label: str, keys_only: bool = False) -> None:
        self.keys_only = keys_only
        super().__init__(container, label)

    def read(self) -> Any:
        return len(self.container) if self.is_large else dict(self.container)

    def holds(self) -> bool:
        if self.is_large:
            return bool(len(self.container) == self.expected)
        if not all_same(tuple(self.container), tuple(self.expected)):
            return False
        return self.keys_only or all_same(
            tuple(self.container.values()), tuple(self.expected.values())
        )

    def restore(self) -> None:
        if not self.is_large:
            self.container.clear()
            self.container.update(self.expected)

    @property
    def views(self) -> tuple[Any, ...]:
        return (self.container.keys(),) if self.keys_only else (
            self.container.keys(), self.container.values(),
        )  # fmt: skip

    def _differing(self) -> tuple[Any, Any, Any] | None:
        """The first key whose value differs, with the value now and before."""
        for key, before in self.expected.items():
            now = self.container.get(key, MISSING)
            if not same(now, before):
                return key, now, before
        return None

    def _entry(self, key: Any) -> str:
        name = self.label.strip("`") if self.label.startswith("`") else self.label
        return f"`{name}[{_shown(key)}]`"

    def describe(self) -> str:
        found = None if self.is_large else self._differing()
        if found is None or self._sizes()[0] != self._sizes()[1]:
            return super().describe()
        key, now, before = found
        if isinstance(now, SCALARS) and isinstance(before, SCALARS):
            return f"{self._entry(key)} is {_shown(now)} and was {_shown(before)}"
        return f"{self._entry(key)} is another object"

    def change(self) -> str:
        found = None if self.is_large else self._differing()
        if found is None or self._sizes()[0] != self._sizes()[1]:
            return super().change()
        key, now, before = found
        if isinstance(now, SCALARS) and isinstance(before, SCALARS):
            return f"{self._entry(key)} changed from {_shown(before)} to {_shown(now)}"
        return f"{self._entry(key)} was set to {_kind(now)}"


class ArrayContents(Check):
    """The elements of a NumPy array, a bytearray or an array.array that Python may read."""

    __slots__ = ("array",)

    def __init__(self, array: Any, label: str) -> None:
        self.array = array
        super().__init__(label, self.read())

    def read(self) -> Any:
        if not isinstance(self.array, np.ndarray):
            return bytes(self.array)
        if self.array.dtype.hasobject:
            return (self.array.shape, *self.array.ravel().tolist())
        # As a plain array: NumPy's own constant `np.ma.masked` refuses to be read as it is.
        return self.array.shape, self.array.dtype, np.asarray(self.array).tobytes()

    def holds(self) -> bool:
        if isinstance(self.array, np.ndarray) and self.array.dtype.hasobject:
            now = self.read()
            return bool(now[0] == self.expected[0]) and all_same(now[1:], self.expected[1:])
        return bool(self.read() == self.expected)

    def restore(self) -> None:
        if not isinstance(self.array, np.ndarray):
            self.array[:] = type(self.array)(self.expected)
        elif self.array.dtype.hasobject:
            self.array.ravel()[:] = self.expected[1:]
        elif self.array.shape == self.expected[0] and self.array.flags.writeable:
            before = np.frombuffer(self.expected[2], self.expected[1])
            self.array[...] = before.reshape(self.expected[0])

    def describe(self) -> str:
        return f"the contents of {self.label} differ"

    def change(self) -> str:
        return f"the contents of {self.label} changed"


class ArrayForm(Check):
    """Shape and dtype of an array whose contents are read anew at every run."""

    __slots__ = ("array",)

    def __init__(self, array: Any, label: str) -> None:
        self.array = array
        super().__init__(label, self.read())

    def read(self) -> Any:
        return self.array.shape, self.array.dtype

    def holds(self) -> bool:
        return bool(self.read() == self.expected)

    def restore(self) -> None:
        """Nothing: a trace cannot change the form of an array it reads."""

    def describe(self) -> str:
        return f"{self.label} is {self.read()} and was {self.expected}"


# Of a view of keys: this one goes over the shorter of the two, a frozenset's over the other.
_isdisjoint: Callable[[Any, Any], bool] = type({}.keys()).isdisjoint
# What reading a check's subject in flat passes may raise when it is no longer there.
_GONE = (LookupError, AttributeError, ValueError, RuntimeError)


class Together:
    """Many checks, asked at once."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self.checks = list(checks)
        self.generation = 0
        self._gather()

    def _gather(self) -> None:
        """Lay out the checks for the flat passes of `_same_objects`."""
        self.generation += 1
        grouped: dict[tuple[int, bool], list[Entry | Attribute]] = {}
        views: list[Any] = []
        absent: list[Absent] = []
        self._others: list[Check] = []
        for check in self.checks:
            if isinstance(check, (Entry, Attribute)) and check.expected is not MISSING:
                grouped.setdefault((id(check.owner), isinstance(check, Entry)), []).append(check)
            elif isinstance(check, Contents) and not check.is_large and _plain_iteration(check):
                views.extend(check.views)
            elif isinstance(check, Absent):
                absent.append(check)
            else:
                self._others.append(check)
        self._gather_reads(list(grouped.values()))
        self._views = tuple(views)
        self._sizes = tuple(map(len, views))
        self._items = tuple(chain.from_iterable(views))
        self._absent = tuple(c.expected for c in absent)
        self._absent_views = tuple(c.view for c in absent)

    def _gather_reads(self, groups: list[list[Entry | Attribute]]) -> None:
        """One getter for all that is read from one owner: of one thing, or of several."""
        one = [g[0] for g in groups if len(g) == 1]
        many = [g for g in groups if len(g) > 1]
        self._getters = tuple(_getter([c]) for c in one)
        self._owners = tuple(c.owner for c in one)
        self._values = tuple(c.expected for c in one)
        self._many_getters = tuple(map(_getter, many))
        self._many_owners = tuple(g[0].owner for g in many)
        self._many_values = tuple(c.expected for g in many for c in g)

    def holds(self) -> bool:
        """Whether every check holds."""
        try:
            if self._same_objects():
                return True
        except _GONE:
            pass
        return self._look_closely()

    def _same_objects(self) -> bool:
        """Whether everything is the very object it was: no Python call per check."""
        if self._getters:
            found = map(call, self._getters, self._owners)
            if not all(map(is_, found, self._values)):
                return False
        if self._many_getters:
            several = map(call, self._many_getters, self._many_owners)
            if not all(map(is_, chain.from_iterable(several), self._many_values)):
                return False
        if self._views and not (
            all(map(operator.eq, map(len, self._views), self._sizes))
            and all(map(is_, chain.from_iterable(self._views), self._items))
        ):
            return False
        if self._absent and not all(map(_isdisjoint, self._absent_views, self._absent)):
            return False
        return not self._others or all(c.holds() for c in self._others)

    def _look_closely(self) -> bool:
        if not all(c.holds() for c in self.checks):
            return False
        with contextlib.suppress(*_GONE):
            for check in self.checks:
                check.refresh()
            self._gather()
        return True

    def first_failing(self) -> Check | None:
        """The first check that does not hold."""
        return next((c for c in self.checks if not c.holds()), None)


# -- as rows --------------------------------------------------------------------------------------

# What a row says, as in codegen/c/dispatch/guards.c: kind, owner, key, expected.
Row: TypeAlias = tuple[int, Any, Any, Any]
ENTRY_IS, ATTRIBUTE_IS, NUMBER_LIKE, LIST_IS, KEYS_ARE, ITEMS_ARE, ABSENT = range(7)


def flat_rows(checks: Iterable[Check]) -> tuple[list[Row], list[Check]]:
    """Checks as rows that need no Python to be asked, and those that are no such thing."""
    rows, rest = [], []
    for check in checks:
        row = _row(check)
        if row is None:
            rest.append(check)
        else:
            rows.append(row)
    return rows, rest


def _row(check: Check) -> Row | None:
    if isinstance(check, Absent):
        if type(check.owner) is dict:
            return ABSENT, check.owner, None, tuple(check.expected)
    elif isinstance(check, Contents):
        return None if check.is_large else _container_row(check)
    elif check.expected is not MISSING:
        if isinstance(check, Number):
            return NUMBER_LIKE, check.owner, check.key, check.expected
        if isinstance(check, Entry):
            return ENTRY_IS, check.owner, check.key, check.expected
        if isinstance(check, Attribute):
            return ATTRIBUTE_IS, check.owner, check.key, check.expected
    return None


def _container_row(check: Contents) -> Row | None:
    kind, container = type(check.container), check.container
    if kind is list:
        return LIST_IS, container, None, check.expected
    if kind is dict and isinstance(check, Items):
        if check.keys_only:
            return KEYS_ARE, container, None, tuple(check.expected)
        return ITEMS_ARE, container, None, tuple(chain.from_iterable(check.expected.items()))
    return None


def _getter(checks: Sequence[Entry | Attribute]) -> Callable[[Any], Any]:
    make = itemgetter if isinstance(checks[0], Entry) else attrgetter
    return make(*[c.key for c in checks])


def _plain_iteration(check: Contents) -> bool:
    """Whether iterating over the container runs no code of the user's."""
    kind = type(check.container)
    return kind.__module__ in ("builtins", "collections")


__all__ = [
    "ENTRY_IS", "LARGE", "MISSING", "SCALARS", "Absent", "ArrayContents", "ArrayForm", "Attribute",
    "Check", "ClassEntry", "Contents", "Entry", "Items", "Number", "Outcome", "Row", "Together",
    "all_same", "flat_rows", "same", "same_value",
]  # fmt: skip
