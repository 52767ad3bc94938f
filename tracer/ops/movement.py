"""Movement: the same elements at other indices, and values made from indices alone.

Each of these is a substitution of indices; the code generator composes them and stores nothing.
Parameters are complete and normalised (non-negative axes, full permutations, int bounds).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.tracer.errors import ArgumentError, DTypeError, InternalError, ShapeError
from gradc.tracer.graph import dims
from gradc.tracer.graph.dims import Shape
from gradc.tracer.graph.types import DType, TensorType, dtype_of
from gradc.tracer.ops.primitive import primitive, require_kind


def _infer_reshape(x: TensorType, *, shape: Shape) -> tuple[TensorType, ...]:
    if dims.numel(shape) != x.size:
        raise ShapeError(
            f"reshape: {dims.format_shape(shape)} does not hold {x.size} elements",
            operands=[str(x)],
        )
    return (x.with_shape(shape),)


# reshape(x; shape): the same elements in row-major order.
reshape = primitive("reshape", _infer_reshape, "movement")


def _infer_permute(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    if sorted(axes) != list(range(x.ndim)):
        raise ArgumentError(f"permute: {axes} is not a permutation of the axes of {x}")
    return (x.with_shape(tuple(x.shape[a] for a in axes)),)


# permute(x; axes): output axis i is input axis axes[i].
permute = primitive("permute", _infer_permute, "movement")


def _infer_broadcast(
    x: TensorType, *, shape: Shape, axes: tuple[int, ...]
) -> tuple[TensorType, ...]:
    fits = len(axes) == x.ndim and list(axes) == sorted(set(axes))
    if not fits or any(
        not 0 <= a < len(shape) or d not in (1, shape[a])
        for a, d in zip(axes, x.shape, strict=True)
    ):
        raise ShapeError(
            f"broadcast: {x} does not broadcast to {dims.format_shape(shape)} at axes {axes}"
        )
    return (x.with_shape(shape),)


# broadcast(x; shape, axes): input axis i becomes output axis axes[i] (strictly increasing); an
# input axis of size 1 is repeated, and so is every output axis not named.
broadcast = primitive("broadcast", _infer_broadcast, "movement")


def _infer_slice(
    x: TensorType, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]
) -> tuple[TensorType, ...]:
    if not len(start) == len(stop) == len(step) == x.ndim or any(s < 1 for s in step):
        raise ArgumentError(f"slice: bounds {start}:{stop}:{step} do not fit {x}")
    sizes = []
    for low, high, s, d in zip(start, stop, step, x.shape, strict=True):
        if isinstance(d, int) and not 0 <= low <= high <= d:
            raise ArgumentError(f"slice: {low}:{high} is outside an axis of size {d}")
        sizes.append(dims.ceil_div(dims.sub(high, low), s))
    return (x.with_shape(tuple(sizes)),)


# slice(x; start, stop, step): per axis, 0 <= start <= stop <= size and step >= 1.
slice = primitive("slice", _infer_slice, "movement")


def _infer_pad(
    x: TensorType,
    value: TensorType,
    *,
    low: tuple[int, ...],
    high: tuple[int, ...],
    interior: tuple[int, ...],
) -> tuple[TensorType, ...]:
    if not len(low) == len(high) == len(interior) == x.ndim:
        raise ArgumentError(f"pad: widths do not fit {x}")
    if any(w < 0 for w in (*low, *high, *interior)):
        raise ArgumentError("pad: widths must not be negative", operands=[str(x)])
    if value.shape != () or value.dtype is not x.dtype:
        raise ShapeError("pad: the fill value must be 0-d and of x's dtype", operands=[str(value)])
    shape = []
    for d, lo, hi, gap in zip(x.shape, low, high, interior, strict=True):
        between = 0 if d == 0 else dims.mul(dims.sub(d, 1), gap)
        shape.append(dims.total((d, lo, hi, between)))
    return (x.with_shape(tuple(shape)),)


# pad(x, value; low, high, interior): `interior` fills stand between neighbours (the transpose of a
# strided slice).
pad = primitive("pad", _infer_pad, "movement")


def _infer_flip(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.ndim for a in axes):
        raise ArgumentError(f"flip: axes {axes} do not fit {x}")
    return (x,)


# flip(x; axes): reversed along these axes.
flip = primitive("flip", _infer_flip, "movement")


def _infer_concat(*xs: TensorType, axis: int) -> tuple[TensorType, ...]:
    first = xs[0]
    if not 0 <= axis < first.ndim:
        raise ArgumentError(f"concat: axis {axis} does not fit {first}")
    for x in xs:
        if x.dtype is not first.dtype:
            raise DTypeError("concat: dtypes differ", operands=map(str, xs))
        rest = [(a, b) for i, (a, b) in enumerate(zip(x.shape, first.shape)) if i != axis]
        if x.ndim != first.ndim or any(a != b for a, b in rest):
            raise ShapeError(
                f"concat: shapes differ outside axis {axis}", operands=map(str, xs)
            )
    size = dims.total(x.shape[axis] for x in xs)
    return (first.with_shape((*first.shape[:axis], size, *first.shape[axis + 1 :])),)


# concat(*xs; axis).
concat = primitive("concat", _infer_concat, "movement")


def _infer_iota(*, shape: Shape, axis: int, dtype: DType) -> tuple[TensorType, ...]:
    if not 0 <= axis < len(shape):
        raise ArgumentError(f"iota: axis {axis} does not fit {dims.format_shape(shape)}")
    out = TensorType(tuple(shape), dtype)
    require_kind("iota", out, "iuf")
    return (out,)


# iota(; shape, axis, dtype): the index along `axis`, as `dtype`.
iota = primitive("iota", _infer_iota, "creation")


class Constant:
    """A constant array as a parameter: read-only, compared and hashed by its bits."""

    __slots__ = ("_key", "array")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = np.array(array, order="C", copy=True)
        self.array.flags.writeable = False
        self._key = (self.array.dtype, self.array.shape, self.array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        if self.array.size <= 8:
            return str(self.array.tolist())
        return f"<{self.array.dtype}{list(self.array.shape)}>"


def _infer_constant(*, value: Constant) -> tuple[TensorType, ...]:
    dtype = dtype_of(value.array.dtype)
    if dtype is None:
        raise InternalError(f"constant: no dtype for {value.array.dtype}")
    return (TensorType(value.array.shape, dtype),)


# constant(; value): an array known while tracing. A 0-d constant is a Literal instead.
constant = primitive("constant", _infer_constant, "creation")
