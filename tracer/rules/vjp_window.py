"""Gradient rules of windows and convolutions, over `pad`, `conv` and movement, so to any order.

Both gradients of a convolution are convolutions:

    dx = conv(g spread by the stride and padded, w flipped with features and channels swapped)
    dw = conv(x, g) with batch and channels swapped, stride and dilation changing places
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.dims import known, known_shape
from gradc.tracer.graph.ir import Params
from gradc.tracer.graph.types import TensorType, int32
from gradc.tracer.interpreter import full, scalar
from gradc.tracer.tensor import Tensor

Types = Sequence[TensorType]


def swap_channels(w: Tensor, groups: int) -> Tensor:
    """A kernel [F, C/groups, ...] as [C, F/groups, ...], and flipped: that of the transpose."""
    features, channels, *size = known_shape(w.shape)
    spatial = tuple(range(2, w.ndim))
    if groups == 1:
        swapped = ops.permute(w, axes=(1, 0, *spatial))
    else:
        parts = ops.reshape(w, shape=(groups, features // groups, channels, *size))
        order = (0, 2, 1, *(a + 1 for a in spatial))
        joined = (groups * channels, features // groups, *size)
        swapped = ops.reshape(ops.permute(parts, axes=order), shape=joined)
    return ops.flip(swapped, axes=spatial)  # type: ignore[no-any-return]


def conv_input_back(g: Tensor, y: Tensor, types: Types, params: Params) -> Tensor:
    """The cotangent of the operand: every window's cotangent spread over its elements."""
    low, high, interior = [0, 0], [0, 0], [0, 0]
    for axis, (s, d) in enumerate(zip(params["stride"], params["dilation"]), 2):
        reach = (known(y.shape[axis]) - 1) * d
        spread = (known(g.shape[axis]) - 1) * s + 1
        low.append(reach)
        high.append(known(types[0].shape[axis]) - spread)
        interior.append(s - 1)
    padded = ops.pad(
        g, scalar(0, g.dtype), low=tuple(low), high=tuple(high), interior=tuple(interior)
    )
    groups = params["groups"]
    ones = (1,) * len(params["stride"])
    kernel = swap_channels(y, groups)
    return ops.conv(padded, kernel, stride=ones, dilation=params["dilation"], groups=groups)  # type: ignore[no-any-return]


def conv_kernel_back(g: Tensor, x: Tensor, types: Types, params: Params) -> Tensor:
    """The cotangent of the kernel: each of its elements meets one element of every window."""
    groups, stride, dilation = params["groups"], params["stride"], params["dilation"]
    batch, channels, *size = known_shape(x.shape)
    spatial = tuple(range(2, x.ndim))
    kernel, windows = known_shape(types[1].shape[2:]), known_shape(g.shape[2:])
    used = [
        (o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(windows, stride, kernel, dilation)
    ]
    if used != size:
        x = ops.slice(
            x, start=(0,) * x.ndim, stop=(batch, channels, *used), step=(1,) * x.ndim
        )
    if groups == 1:
        swapped = ops.permute(x, axes=(1, 0, *spatial))
    else:
        parts = ops.reshape(x, shape=(batch, groups, channels // groups, *used))
        order = (2, 1, 0, *(a + 1 for a in spatial))
        joined = (channels // groups, groups * batch, *used)
        swapped = ops.reshape(ops.permute(parts, axes=order), shape=joined)
    features = ops.permute(g, axes=(1, 0, *spatial))
    found = ops.conv(swapped, features, stride=dilation, dilation=stride, groups=groups)
    return ops.permute(found, axes=(1, 0, *spatial))  # type: ignore[no-any-return]


# -- windows --------------------------------------------------------------------------------------


def window_back(g: Tensor, types: Types, params: Params) -> Tensor:
    """Every element gets the sum over the windows it is in, one axis at a time."""
    source = known_shape(types[0].shape)
    rows = list(zip(params["axes"], params["stride"], params["dilation"]))
    for axis, stride, dilation in reversed(rows):
        k = known(g.shape[-1])
        if dilation == 1 and k <= stride:
            g = _side_by_side(g, axis, source[axis], stride)
        else:
            g = _overlapping(g, axis, source[axis], stride, dilation)
    return g


def window_max_back(
    gs: Sequence[Tensor], outs: Sequence[Tensor], types: Types, params: Params
) -> Tensor:
    """The greatest element of every window gets its cotangent."""
    g, position = gs[0], outs[1]
    size, front = params["size"], tuple(range(g.ndim))
    shape = (*g.shape, *size)
    count = int(np.prod(size))
    numbers = ops.reshape(ops.iota(shape=(count,), axis=0, dtype=int32), shape=size)
    number = ops.broadcast(numbers, shape=shape, axes=tuple(range(g.ndim, len(shape))))
    hit = ops.eq(ops.broadcast(position, shape=shape, axes=front), number)
    spread = ops.broadcast(g, shape=shape, axes=front)
    return window_back(ops.select(hit, spread, full(shape, 0, g.dtype)), types, params)


def _side_by_side(g: Tensor, axis: int, size: int, stride: int) -> Tensor:
    """Windows that do not meet: their elements in a row, gaps between them filled."""
    last = g.ndim - 1
    order = (*range(axis + 1), last, *range(axis + 1, last))
    moved = ops.permute(g, axes=order)
    moved = _fitted(moved, axis + 1, stride)
    shape = known_shape(moved.shape)
    joined = (*shape[:axis], shape[axis] * stride, *shape[axis + 2 :])
    return _fitted(ops.reshape(moved, shape=joined), axis, size)


def _fitted(t: Tensor, axis: int, size: int) -> Tensor:
    """`t` cut or filled with zeros at the end of an axis."""
    old = known(t.shape[axis])
    if old == size:
        return t
    if old > size:
        stop = (*t.shape[:axis], size, *t.shape[axis + 1 :])
        return ops.slice(t, start=(0,) * t.ndim, stop=stop, step=(1,) * t.ndim)  # type: ignore[no-any-return]
    high = [0] * t.ndim
    high[axis] = size - old
    none = (0,) * t.ndim
    return ops.pad(t, scalar(0, t.dtype), low=none, high=tuple(high), interior=none)  # type: ignore[no-any-return]


def _overlapping(g: Tensor, axis: int, size: int, stride: int, dilation: int) -> Tensor:
    """One term for each position within the window, spread to where it was read from."""
    shape = known_shape(g.shape)
    total: Tensor | None = None
    for k in range(shape[-1]):
        start = (*(0 for _ in shape[:-1]), k)
        part = ops.slice(g, start=start, stop=(*shape[:-1], k + 1), step=(1,) * g.ndim)
        part = ops.reshape(part, shape=shape[:-1])
        low, high, interior = ([0] * part.ndim for _ in range(3))
        low[axis], interior[axis] = k * dilation, stride - 1
        high[axis] = size - k * dilation - (shape[axis] - 1) * stride - 1
        widths = {"low": tuple(low), "high": tuple(high), "interior": tuple(interior)}
        spread = ops.pad(part, scalar(0, g.dtype), **widths)
        total = spread if total is None else ops.add(total, spread)
    assert total is not None
    return total
