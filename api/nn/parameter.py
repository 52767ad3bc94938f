"""Parameter: a tensor that a module trains.

    self.scale = nn.Parameter(gradc.ones(3))        registered under "scale"
"""

from __future__ import annotations

from typing import Any

from gradc.tracer.creation import tensor as _tensor
from gradc.tracer.tensor import Tensor


class Parameter(Tensor):
    """A tensor that registers itself with the module it is assigned to.

    Args:
        data: a tensor, whose memory is shared, or what `gradc.tensor` takes.
        requires_grad: whether it is trained.

    Raises:
        GradientError: an integer or bool tensor that shall require a gradient.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        source = data if isinstance(data, Tensor) else _tensor(data)
        super().__init__(source._storage, source._data, source._type)
        self._chain = source._chain
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
