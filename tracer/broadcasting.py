"""NumPy's broadcasting, as strict ops.

    broadcast_shapes("add", [f32[3,1], f32[4]])   -> (3, 4)
    broadcast_to(x, (3, 4))                       a view that repeats
    sum_to_shape(g, (4,))                         its transpose, for gradients
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradc.tracer import ops
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ShapeError
from gradc.tracer.graph.dims import Dim, Shape, format_shape
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import TensorType

if TYPE_CHECKING:
    from gradc.tracer.tensor import Tensor


def broadcast_shapes(name: str, types: Sequence[TensorType]) -> Shape:
    """The common shape: sizes are aligned at the right, and 1 stretches.

    Raises:
        ShapeError: two sizes differ and neither is 1.
    """
    if not types:
        return ()
    first = types[0].shape
    if all(t.shape == first for t in types):
        return first
    ndim = max(t.ndim for t in types)
    result: list[Dim] = [1] * ndim
    for t in types:
        for axis, d in enumerate(t.shape, ndim - t.ndim):
            if result[axis] == 1:
                result[axis] = d
            elif d not in (1, result[axis]):
                raise ShapeError(
                    f"{name}: sizes {result[axis]} and {d} at axis {axis - ndim} do not broadcast",
                    loc=CONTEXT.loc or user_location(),
                    operands=map(str, types),
                    hint="sizes are aligned at the right; they must be equal or one of them 1",
                )
    return tuple(result)


def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    """`x` repeated to `shape`; itself if it has that shape.

    Raises:
        ShapeError: `x` does not broadcast to `shape`.
    """
    if x.shape == shape:
        return x
    offset = len(shape) - x.ndim
    if offset < 0 or any(d not in (1, s) for d, s in zip(x.shape, shape[max(offset, 0) :])):
        raise ShapeError(
            f"{x.type} does not broadcast to {format_shape(shape)}",
            loc=CONTEXT.loc or user_location(),
        )
    return ops.broadcast(x, shape=shape, axes=tuple(range(offset, len(shape))))  # type: ignore[no-any-return]


def sum_to_shape(g: Tensor, shape: Shape) -> Tensor:
    """`g` summed over what `broadcast_to` repeated to make its shape from `shape`."""
    if g.shape == shape:
        return g
    offset = g.ndim - len(shape)
    axes = tuple(
        a for a, d in enumerate(g.shape) if a < offset or (shape[a - offset] == 1 and d != 1)
    )
    if axes:
        g = ops.reduce_sum(g, axes=axes)
    return g if g.shape == shape else ops.reshape(g, shape=shape)
