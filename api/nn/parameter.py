"""Parameters: tensors that a module trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gradc.nn.module import Module
from gradc.tracer.creation import tensor as _tensor
from gradc.tracer.tensor import Tensor


class Parameter(Tensor):
    """A tensor that registers itself with the module it is assigned to.

    Shares the memory of `data`; requires a gradient unless told otherwise.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        source = data if isinstance(data, Tensor) else _tensor(data)
        super().__init__(source._storage, source._data, source._type)
        self._chain = source._chain
        self._requires_grad = requires_grad

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class ParameterList(Module):
    """A list of parameters that a module can hold."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self._length = 0
        self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add one parameter (a tensor becomes one); returns the list."""
        parameter = value if isinstance(value, Parameter) else Parameter(value)
        self.register_parameter(str(self._length), parameter)
        self._length += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add several; returns the list."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return list(self._parameters.values())[index]
