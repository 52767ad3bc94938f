"""Modules that hold modules or parameters.

    nn.Sequential(nn.Linear(4, 8), nn.ReLU())(x)
    self.blocks = nn.ModuleList([Block() for _ in range(3)])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from gradc.nn.module import Module
from gradc.nn.parameter import Parameter
from gradc.tracer.errors import IndexOutOfRange
from gradc.tracer.graph.source import user_location
from gradc.tracer.structure import STRUCTURE

S = TypeVar("S", bound="_Sequence")


class _Sequence(Module):
    """What `Sequential` and `ModuleList` share: modules in an order, changed like a list."""

    def _key(self, index: int) -> str:
        size = len(self._modules)
        if not -size <= index < size:
            raise IndexOutOfRange(
                f"index {index} is out of range for a {type(self).__name__} of size {size}",
                loc=user_location(4),
            )
        names: list[str] = list(self._modules)
        return names[index]

    def _renumber(self, modules: Iterable[Module]) -> None:
        self._modules.clear()
        STRUCTURE.bump()
        self.extend(modules)

    def append(self: S, module: Module) -> S:
        """Add one at the end; returns the container."""
        self.add_module(str(len(self._modules)), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add several at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Add one before `index`; returns the container."""
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take one out and return it."""
        module = self._modules[self._key(index)]
        del self[index]
        return module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self._modules.values())
        del modules[index]
        self._renumber(modules)


class Sequential(_Sequence):
    """Modules one after the other: `Sequential(a, b)(x)` is `b(a(x))`.

    A mapping gives them names.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]


class _Shelf(Module):
    """A container that is not called: its parts bear its name in scopes, as in `blocks.0`."""

    def _set_name(self, name: str) -> None:
        super()._set_name(name)
        for key, module in self.named_children():
            module._set_name(self._name_of_child(key))

    def _name_of_child(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name


class ModuleList(_Shelf, _Sequence):
    """A list of modules."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ModuleList(list(self._modules.values())[index])
        return self._modules[self._key(index)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])


class ModuleDict(_Shelf):
    """A dict of modules."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace several."""
        for name, module in modules.items():
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        STRUCTURE.bump()

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def items(self) -> Any:
        """Names and modules."""
        return self._modules.items()


class ParameterList(Module):
    """A list of parameters that a module can hold."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add one parameter (a tensor becomes one); returns the list."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add several; returns the list."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        found = list(self._parameters.values())[index]
        return ParameterList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, value: Any) -> None:
        self.register_parameter(str(range(len(self))[index]), _parameter(value))


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
