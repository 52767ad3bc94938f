"""NumPy rules of movement, reductions, scans, sorting and contraction.

Movement gives views where NumPy can (reshape, permute, broadcast, slice, flip); everything else
gives fresh arrays.

    permute(f32[2,3]; axes=(1,0))  ->  a view, f32[3,2]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.tracer.graph.dims import Shape, known_shape
from gradc.tracer.graph.types import DType
from gradc.tracer.ops.contraction import AxisPairs
from gradc.tracer.ops.movement import Constant
from gradc.tracer.storage import Array

Axes = tuple[int, ...]


def reshape(x: Array, *, shape: Shape) -> Array:
    return x.reshape(known_shape(shape))


def permute(x: Array, *, axes: Axes) -> Array:
    return x.transpose(axes)


def broadcast(x: Array, *, shape: Shape, axes: Axes) -> Array:
    target = known_shape(shape)
    aligned = [1] * len(target)
    for axis, size in zip(axes, x.shape):
        aligned[axis] = size
    return np.broadcast_to(x.reshape(aligned), target)


def strided_slice(x: Array, *, start: Axes, stop: Axes, step: Axes) -> Array:
    bounds: tuple[Any, ...] = tuple(map(slice, start, stop, step))
    # With the ellipsis a 0-d array stays an array.
    return x[(*bounds, ...)]


def flip(x: Array, *, axes: Axes) -> Array:
    return np.flip(x, axes)


def pad(x: Array, value: Array, *, low: Axes, high: Axes, interior: Axes) -> Array:
    spread = [max(d * (gap + 1) - gap, 0) for d, gap in zip(x.shape, interior)]
    shape = [d + lo + hi for d, lo, hi in zip(spread, low, high)]
    out = np.full(shape, value, x.dtype)
    out[tuple(slice(lo, lo + d, gap + 1) for lo, d, gap in zip(low, spread, interior))] = x
    return out


def concat(*xs: Array, axis: int) -> Array:
    return np.concatenate(xs, axis)


def iota(*, shape: Shape, axis: int, dtype: DType) -> Array:
    sizes = known_shape(shape)
    along = [1] * len(sizes)
    along[axis] = sizes[axis]
    line = np.arange(sizes[axis]).astype(dtype.numpy).reshape(along)
    return np.array(np.broadcast_to(line, sizes), order="C")


def constant(*, value: Constant) -> Array:
    return value.array


def reduce_by(ufunc: np.ufunc) -> Callable[..., Array]:
    """The reduction by a binary ufunc, accumulated in the operand's own dtype."""

    def rule(x: Array, *, axes: Axes) -> Array:
        # Without axes NumPy returns the operand itself through a copying loop: still fresh.
        return np.asarray(ufunc.reduce(x, axis=axes, dtype=x.dtype))

    return rule


_sum = reduce_by(np.add)


def reduce_sum(x: Array, *, axes: Axes) -> Array:
    """The sum from 0 on; of one element it is that element, -0.0 too."""
    if x.size and all(x.shape[a] == 1 for a in axes):
        kept = [d for a, d in enumerate(x.shape) if a not in axes]
        return np.array(x.reshape(kept), order="C")
    return _sum(x, axes=axes)


def argmax(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmax(x, axis), np.int64)


def argmin(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmin(x, axis), np.int64)


def cumsum(x: Array, *, axis: int, reverse: bool) -> Array:
    if reverse:
        x = np.flip(x, axis)
    out = np.cumsum(x, axis, dtype=x.dtype)
    return np.ascontiguousarray(np.flip(out, axis)) if reverse else out


def sort(key: Array, *others: Array, axis: int, descending: bool) -> Any:
    """Stable, NaN last; descending is the reverse order, but with ties kept as they stand."""
    if descending:
        backwards = np.argsort(np.flip(key, axis), axis, kind="stable")
        order = np.flip(key.shape[axis] - 1 - backwards, axis)
    else:
        order = np.argsort(key, axis, kind="stable")
    return tuple(np.take_along_axis(x, order, axis) for x in (key, *others))


def dot_general(a: Array, b: Array, *, contract: AxisPairs, batch: AxisPairs) -> Array:
    """One matmul of `[batch, M, K]` and `[batch, K, N]`, after moving and merging axes."""
    free_a = [i for i in range(a.ndim) if i not in batch[0] + contract[0]]
    free_b = [i for i in range(b.ndim) if i not in batch[1] + contract[1]]
    shared = [a.shape[i] for i in batch[0]]
    rows = [a.shape[i] for i in free_a]
    columns = [b.shape[i] for i in free_b]
    k = math.prod(a.shape[i] for i in contract[0])
    m, n = math.prod(rows), math.prod(columns)
    left = a.transpose(*batch[0], *free_a, *contract[0]).reshape(*shared, m, k)
    right = b.transpose(*batch[1], *contract[1], *free_b).reshape(*shared, k, n)
    return np.asarray(np.matmul(left, right)).reshape([*shared, *rows, *columns])
