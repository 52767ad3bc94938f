"""Strides of views: which movement shares memory and which must copy.

Eager tensors and traced ones decide alike whether a reshape is a view, so that writing through
it means the same compiled and not. Strides are in elements of the root, which is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.tracer import ops
from gradc.tracer.graph import dims
from gradc.tracer.graph.dims import Shape
from gradc.tracer.ops.primitive import Primitive

Strides = tuple[int, ...]
Chain = tuple[tuple[Primitive, Any], ...]

VIEW_PRIMITIVES = frozenset({ops.reshape, ops.permute, ops.broadcast, ops.slice, ops.flip})


def contiguous_strides(shape: Shape) -> Strides:
    """Row-major strides."""
    strides: list[int] = []
    step = 1
    for d in reversed(shape):
        strides.append(step)
        step *= max(dims.known(d), 1)
    return tuple(reversed(strides))


def reshape_strides(shape: Shape, strides: Strides, new_shape: Shape) -> Strides | None:
    """Strides under which the same memory has `new_shape`, or None if it must be copied."""
    old = [(dims.known(d), s) for d, s in zip(shape, strides) if d != 1]
    if dims.numel(shape) == 0:
        return contiguous_strides(new_shape)
    result: list[int] = []
    position, left, stride = len(old) - 1, 1, 1
    for d in reversed(dims.known_shape(new_shape)):
        if d == 1:
            result.append(stride)
            continue
        if left == 1:
            left, stride, position = _merge(old, position)
        if left % d:
            return None
        result.append(stride)
        left //= d
        stride *= d
    return tuple(reversed(result))


def _merge(old: list[tuple[int, int]], position: int) -> tuple[int, int, int]:
    """The run of axes ending at `position` that memory walks evenly: (elements, stride, next)."""
    size, stride = old[position]
    position -= 1
    while position >= 0 and old[position][1] == stride * size:
        size *= old[position][0]
        position -= 1
    return size, stride, position


def view_strides(
    prim: Primitive, params: Any, shape: Shape, strides: Strides, out_shape: Shape
) -> Strides | None:
    """The strides of a view made by one movement, or None where it must copy."""
    if prim is ops.reshape:
        return reshape_strides(shape, strides, out_shape)
    if prim is ops.permute:
        return tuple(strides[a] for a in params["axes"])
    if prim is ops.slice:
        return tuple(s * k for s, k in zip(strides, params["step"]))
    if prim is ops.flip:
        return tuple(-s if i in params["axes"] else s for i, s in enumerate(strides))
    at = dict(zip(params["axes"], range(len(shape))))
    return tuple(
        0 if i not in at or shape[at[i]] != d else strides[at[i]] for i, d in enumerate(out_shape)
    )


def chain_strides(root: Shape, chain: Sequence[tuple[Primitive, Any]], shapes: Sequence[Shape]) -> (
    Strides
):
    """The strides after a whole chain of views; `shapes[i]` is the shape after step i."""
    strides = contiguous_strides(root)
    before = root
    for (prim, params), shape in zip(chain, shapes):
        step = view_strides(prim, params, before, strides, shape)
        assert step is not None, "a chain holds views only"
        strides, before = step, shape
    return strides
