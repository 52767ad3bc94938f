"""Sliding windows: the window as an index map, its greatest element, and convolution.

Along an axis of size X, windows of size K with a stride and a dilation are

    out = (X - dilation*(K - 1) - 1) // stride + 1

in number, and element k of window o lies at `o*stride + k*dilation`. What may stand around and
between the elements of an operand (padding, the transpose of a stride) is said by `pad`, so
primitives see whole windows only, and the gradients of a convolution are convolutions again.
"""

from __future__ import annotations

from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.graph import dims
from gradc.tracer.graph.dims import Dim
from gradc.tracer.graph.types import TensorType, int32
from gradc.tracer.ops.primitive import primitive, require_kind

Ints = tuple[int, ...]


def window_count(x: Dim, size: Dim, stride: int, dilation: int) -> Dim:
    """How many windows an axis of size `x` has room for.

    Raises:
        ShapeError: none.
    """
    extent = dims.add(dims.mul(dims.sub(size, 1), dilation), 1)
    room = dims.sub(x, extent)
    if isinstance(room, int) and room < 0:
        raise ShapeError(f"a window of {extent} does not fit an axis of size {x}")
    return dims.ceil_div(dims.add(room, 1), stride)


def _require_steps(name: str, stride: Ints, dilation: Ints, count: int) -> None:
    if not len(stride) == len(dilation) == count or any(n < 1 for n in (*stride, *dilation)):
        raise ArgumentError(f"{name}: stride {stride} and dilation {dilation} for {count} axes")


def _infer_window(
    x: TensorType, *, axes: Ints, size: Ints, stride: Ints, dilation: Ints
) -> tuple[TensorType, ...]:
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < x.ndim for a in axes):
        raise ArgumentError(f"window: axes {axes} do not fit {x}")
    _require_steps("window", stride, dilation, len(axes))
    if len(size) != len(axes) or any(n < 1 for n in size):
        raise ArgumentError(f"window: sizes {size} for axes {axes}")
    shape = list(x.shape)
    for axis, k, s, d in zip(axes, size, stride, dilation, strict=True):
        shape[axis] = window_count(x.shape[axis], k, s, d)
    return (x.with_shape((*shape, *size)),)


# window(x; axes, size, stride, dilation): along each of `axes` the windows, and behind all axes of
# x the position within the window, one axis for each of `axes`. Elements of overlapping windows
# are repeated.
window = primitive("window", _infer_window, "movement")


def _infer_window_max(
    x: TensorType, *, axes: Ints, size: Ints, stride: Ints, dilation: Ints
) -> tuple[TensorType, ...]:
    require_kind("window_max", x, "iuf")
    (windows,) = _infer_window(x, axes=axes, size=size, stride=stride, dilation=dilation)
    out = windows.with_shape(windows.shape[: x.ndim])
    return (out, out.with_dtype(int32))


# window_max(x; axes, size, stride, dilation) -> (greatest of every window, its position within the
# window in row-major order): the first greatest; a NaN is greater than all, the last one wins.
window_max = primitive("window_max", _infer_window_max, "window")


def _infer_conv(
    x: TensorType, w: TensorType, *, stride: Ints, dilation: Ints, groups: int
) -> tuple[TensorType, ...]:
    require_kind("conv", x, "iuf")
    if x.dtype is not w.dtype:
        raise DTypeError("conv: dtypes differ", operands=map(str, (x, w)))
    if x.ndim != w.ndim or x.ndim < 3:
        raise ShapeError("conv: ranks do not fit", operands=map(str, (x, w)))
    _require_steps("conv", stride, dilation, x.ndim - 2)
    features = w.shape[0]
    if dims.mul(w.shape[1], groups) != x.shape[1] or groups < 1:
        raise ShapeError(f"conv: channels in {groups} groups differ", operands=map(str, (x, w)))
    if isinstance(features, int) and features % groups:
        raise ShapeError(f"conv: {features} features in {groups} groups", operands=[str(w)])
    spatial = zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    counts = tuple(window_count(n, k, s, d) for n, k, s, d in spatial)
    return (x.with_shape((x.shape[0], features, *counts)),)


# conv(x, w; stride, dilation, groups): x[N, C, spatial], w[F, C/groups, window] -> [N, F, windows],
# each element a sum of products over the channels of its group and the positions of its window.
conv = primitive("conv", _infer_conv, "contraction")
