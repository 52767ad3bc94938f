"""Parameter: a tensor that a module trains.

    self.scale = nn.Parameter(gradc.ones(3))        registered under "scale"
"""

from __future__ import annotations

from typing import Any

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
