"""NumPy rules of sliding windows and convolution.

    window(f32[5]; axes=(0,), size=(2,), stride=(1,), dilation=(1,))  ->  a view, f32[4,2]
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradc.tracer.graph.dims import known
from gradc.tracer.ops.window import window_count
from gradc.tracer.storage import Array

Ints = tuple[int, ...]


def window(x: Array, *, axes: Ints, size: Ints, stride: Ints, dilation: Ints) -> Array:
    """The windows as a read-only view: one stride per axis of windows and per position."""
    shape, steps = list(x.shape), list(x.strides)
    within: list[int] = []
    for axis, k, s, d in zip(axes, size, stride, dilation, strict=True):
        shape[axis] = known(window_count(x.shape[axis], k, s, d))
        steps[axis] = x.strides[axis] * s
        within.append(x.strides[axis] * d)
    return as_strided(x, (*shape, *size), (*steps, *within), writeable=False)


def window_max(
    x: Array, *, axes: Ints, size: Ints, stride: Ints, dilation: Ints
) -> tuple[Array, Array]:
    """The first greatest element of every window, or its last NaN, and where it is."""
    windows = window(x, axes=axes, size=size, stride=stride, dilation=dilation)
    flat = windows.reshape(*windows.shape[: x.ndim], math.prod(size))
    position = np.argmax(flat, -1)
    if x.dtype.kind == "f":
        nan = np.isnan(flat)
        last = flat.shape[-1] - 1 - np.argmax(nan[..., ::-1], -1)
        position = np.where(nan.any(-1), last, position)
    value = np.take_along_axis(flat, position[..., None], -1)[..., 0]
    return value, position.astype(np.int32)


def conv(x: Array, w: Array, *, stride: Ints, dilation: Ints, groups: int) -> Array:
    """One matmul of `[groups, N * windows, K]` and `[groups, K, F/groups]`."""
    rank = x.ndim - 2
    axes = tuple(range(2, x.ndim))
    windows = window(x, axes=axes, size=w.shape[2:], stride=stride, dilation=dilation)
    batch, spatial = x.shape[0], windows.shape[2 : 2 + rank]
    features, channels = w.shape[0] // groups, w.shape[1]
    split = windows.reshape(batch, groups, channels, *spatial, *w.shape[2:])
    first = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    k = channels * math.prod(w.shape[2:])
    left = split.transpose(first).reshape(groups, batch * math.prod(spatial), k)
    right = w.reshape(groups, features, k).transpose(0, 2, 1)
    out = np.matmul(left, right).reshape(groups, batch, *spatial, features)
    last = (1, 0, out.ndim - 1, *range(2, out.ndim - 1))
    return np.ascontiguousarray(out.transpose(last)).reshape(batch, w.shape[0], *spatial)
