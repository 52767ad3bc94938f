"""Movement: the same elements in another shape or order. Views where torch gives views.

    reshape(x, 2, -1)     x.t()     unsqueeze(x, 0)     x.repeat(2, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes
from gradc.tracer.broadcasting import broadcast_to as _broadcast_to
from gradc.tracer.context import CONTEXT, composite
from gradc.tracer.errors import ArgumentError, ShapeError, TraceError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import (
    normalize_dim,
    normalize_dims,
    numpy_names,
    read_shape,
)
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import as_tensor, constant
from gradc.tracer.tensor import Tensor


def _resolve(x: Tensor, sizes: tuple[int, ...], name: str) -> tuple[int, ...]:
    """`sizes` with a -1 worked out."""
    total = dims.known(x.type.size)
    if sizes.count(-1) > 1:
        raise ShapeError("only one dimension can be inferred", loc=user_location())
    if any(s < -1 for s in sizes):
        raise ShapeError(f"invalid shape dimension {min(sizes)}", loc=user_location())
    known = int(np.prod([s for s in sizes if s != -1], dtype=object))
    if -1 in sizes:
        if known == 0 or total % known:
            raise _misfit(x, sizes, name)
        return tuple(total // known if s == -1 else s for s in sizes)
    if known != total:
        raise _misfit(x, sizes, name)
    return sizes


def _misfit(x: Tensor, sizes: tuple[int, ...], name: str) -> ShapeError:
    return ShapeError(
        f"{name}: shape '{list(sizes)}' is invalid for input of size {x.type.size}",
        loc=user_location(),
        operands=[f"input  {x.type}"],
    )


@composite("view")
def reshape(input: Any, *shape: Any) -> Tensor:
    """The same elements in another shape, one size of which may be -1; a view where possible.

    Raises:
        ShapeError: the shape does not hold as many elements.
    """
    x = as_tensor(input)
    sizes = _resolve(x, read_shape(shape), "reshape")
    return ops.reshape(x, shape=sizes)  # type: ignore[no-any-return]


@composite("view")
def view(input: Any, *shape: Any) -> Tensor:
    """`reshape` that shares memory.

    Raises:
        ShapeError: the elements would have to be copied.
    """
    x = as_tensor(input)
    sizes = _resolve(x, read_shape(shape), "view")
    found: Tensor = ops.reshape(x, shape=sizes)
    if found._storage is not x._storage:
        raise ShapeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead.",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return found


@composite("permute")
def permute(input: Any, *dims_: Any) -> Tensor:
    """Axes in another order."""
    x = as_tensor(input)
    order = dims_[0] if len(dims_) == 1 and isinstance(dims_[0], (tuple, list)) else dims_
    axes = tuple(normalize_dim(d, x.ndim) for d in order)
    if sorted(axes) != list(range(x.ndim)):
        raise ArgumentError(
            f"permute: {tuple(order)} is not a permutation of the {x.ndim} dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return ops.permute(x, axes=axes)  # type: ignore[no-any-return]


@composite("transpose")
def transpose(input: Any, dim0: Any, dim1: Any = None) -> Tensor:
    """Two axes swapped; with a tuple, a permutation."""
    if isinstance(dim0, (tuple, list)):
        return permute(input, dim0)
    x = as_tensor(input)
    a, b = normalize_dim(dim0, x.ndim), normalize_dim(dim1, x.ndim)
    if x.ndim == 0:
        return ops.permute(x, axes=())  # type: ignore[no-any-return]
    axes = list(range(x.ndim))
    axes[a], axes[b] = axes[b], axes[a]
    return ops.permute(x, axes=tuple(axes))  # type: ignore[no-any-return]


swapaxes = swapdims = transpose


def transpose_all(input: Any) -> Tensor:
    """All axes in reverse."""
    x = as_tensor(input)
    return permute(x, tuple(reversed(range(x.ndim))))


@composite("t")
def t(input: Any) -> Tensor:
    """The transpose of a matrix; vectors and 0-d tensors stay as they are.

    Raises:
        ShapeError: more than two dimensions.
    """
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return ops.permute(x, axes=tuple(reversed(range(x.ndim))))  # type: ignore[no-any-return]


@numpy_names
@composite("movedim")
def movedim(input: Any, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the rest in order."""
    x = as_tensor(input)
    sources = source if isinstance(source, (tuple, list)) else (source,)
    targets = destination if isinstance(destination, (tuple, list)) else (destination,)
    src = [normalize_dim(d, x.ndim) for d in sources]
    dst = [normalize_dim(d, x.ndim) for d in targets]
    order = [a for a in range(x.ndim) if a not in src]
    for position, axis in sorted(zip(dst, src)):
        order.insert(position, axis)
    return permute(x, order)


@numpy_names
@composite("squeeze")
def squeeze(input: Any, dim: Any = None) -> Tensor:
    """Without axes of size 1: all of them, or those of `dim` that have size 1."""
    x = as_tensor(input)
    axes = normalize_dims(dim, x.ndim) if x.ndim else ()
    shape = tuple(d for i, d in enumerate(x.shape) if not (i in axes and d == 1))
    return ops.reshape(x, shape=shape)  # type: ignore[no-any-return]


@numpy_names
@composite("unsqueeze")
def unsqueeze(input: Any, dim: int) -> Tensor:
    """With a new axis of size 1 at `dim`."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim, 1)
    return ops.reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))  # type: ignore[no-any-return]


@composite("view")
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one."""
    x = as_tensor(input)
    start, end = normalize_dim(start_dim, x.ndim), normalize_dim(end_dim, x.ndim)
    if start > end:
        raise ArgumentError("flatten() has invalid args: start_dim cannot come after end_dim")
    if x.ndim == 0:
        return ops.reshape(x, shape=(1,))  # type: ignore[no-any-return]
    middle = dims.numel(x.shape[start : end + 1])
    return ops.reshape(x, shape=(*x.shape[:start], middle, *x.shape[end + 1 :]))  # type: ignore[no-any-return]


ravel = flatten


def view_as(input: Any, other: Tensor) -> Tensor:
    """`input` viewed in the shape of `other`."""
    return view(input, other.shape)


def reshape_as(input: Any, other: Tensor) -> Tensor:
    """`input` in the shape of `other`."""
    return reshape(input, other.shape)


def atleast_1d(input: Any) -> Tensor:
    """A 0-d tensor as a vector, others as they are."""
    x = as_tensor(input)
    return x if x.ndim else reshape(x, 1)


def atleast_2d(input: Any) -> Tensor:
    """With leading axes of size 1 up to a matrix."""
    x = as_tensor(input)
    return x if x.ndim > 1 else reshape(x, 1, -1)


def atleast_3d(input: Any) -> Tensor:
    """With axes of size 1 up to three dimensions: a vector in the middle, a matrix first."""
    x = atleast_2d(input)
    return x if x.ndim > 2 else unsqueeze(x, -1)


@composite("unflatten")
def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


@composite("expand")
def expand(input: Any, *sizes: Any) -> Tensor:
    """Repeated along axes of size 1 and new leading axes, without copying; -1 keeps a size.

    Raises:
        ShapeError: fewer sizes than dimensions, -1 for a new axis, or a size that does not fit.
    """
    x = as_tensor(input)
    shape = read_shape(sizes)
    offset = len(shape) - x.ndim
    if offset < 0:
        raise ShapeError(
            f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({x.ndim})",
            loc=user_location(),
        )
    full_shape = tuple(
        x.shape[i - offset] if s == -1 and i >= offset else s for i, s in enumerate(shape)
    )
    if any(isinstance(s, int) and s < 0 for s in full_shape):
        raise ShapeError(
            f"expand: the sizes {list(shape)} are not allowed: -1 keeps the size of an axis that "
            "is there already",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return _broadcast_to(x, full_shape)


def expand_as(input: Any, other: Tensor) -> Tensor:
    """`input` expanded to the shape of `other`."""
    return expand(input, other.shape)


def broadcast_to(input: Any, shape: Sequence[int]) -> Tensor:
    """`input` expanded to `shape`."""
    return expand(input, tuple(shape))


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    found = [as_tensor(x) for x in tensors]
    shape = broadcast_shapes("broadcast_tensors", [x.type for x in found])
    return tuple(_broadcast_to(x, shape) for x in found)


@numpy_names
@composite("flip")
def flip(input: Any, *axes: Any, dims: Any = None, dim: Any = None) -> Tensor:
    """Reversed along these axes; a copy, as in torch."""
    x = as_tensor(input)
    given = axes or next((d for d in (dims, dim) if d is not None), ())
    if len(axes) == 1:
        given = axes[0]
    named = given if isinstance(given, (tuple, list)) else (given,)
    return math.clone(ops.flip(x, axes=normalize_dims(tuple(named), x.ndim) if named else ()))


@composite("repeat")
def repeat(input: Any, *sizes: Any) -> Tensor:
    """Copies side by side: this many along each axis, new leading axes included.

    Raises:
        ShapeError: fewer counts than dimensions, or a negative one.
    """
    x = as_tensor(input)
    counts = read_shape(sizes)
    if any(n < 0 for n in counts):
        raise ShapeError(
            f"repeat: a count is negative: {list(counts)}",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    if len(counts) < x.ndim:
        raise ShapeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor",
            loc=user_location(),
        )
    padded = (1,) * (len(counts) - x.ndim) + x.shape
    at = tuple(2 * i + 1 for i in range(len(counts)))
    shape = tuple(s for n, d in zip(counts, padded) for s in (n, d))
    spread = ops.broadcast(ops.reshape(x, shape=padded), shape=shape, axes=at)
    return ops.reshape(spread, shape=tuple(dims.mul(n, d) for n, d in zip(counts, padded)))  # type: ignore[no-any-return]


@composite("tile")
def tile(input: Any, *sizes: Any) -> Tensor:
    """`repeat` that takes fewer counts than axes."""
    x = as_tensor(input)
    counts = read_shape(sizes)
    return repeat(x, (1,) * max(x.ndim - len(counts), 0) + counts)


@numpy_names
@composite("repeat_interleave")
def repeat_interleave(input: Any, repeats: Any, dim: int | None = None) -> Tensor:
    """Every element `repeats` times in place: one number, or a tensor of one per element of `dim`.

    Raises:
        TraceError: a tensor of counts in a trace, where the size of the result is not known.
    """
    x = as_tensor(input)
    if dim is None:
        x, dim = reshape(x, -1), 0
    axis = normalize_dim(dim, x.ndim)
    if not isinstance(repeats, int):
        return _repeat_unevenly(x, as_tensor(repeats), axis)
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    at = tuple(i if i <= axis else i + 1 for i in range(x.ndim))
    spread = ops.broadcast(x, shape=shape, axes=at)
    out = tuple(dims.mul(d, repeats) if i == axis else d for i, d in enumerate(x.shape))
    return ops.reshape(spread, shape=out)  # type: ignore[no-any-return]


def _repeat_unevenly(x: Tensor, repeats: Tensor, axis: int) -> Tensor:
    if CONTEXT.trace is not None:
        raise TraceError(
            "repeat_interleave: the size of the result depends on the values of `repeats`",
            loc=user_location(),
            operands=[f"repeats  {repeats.type}"],
            hint="pass an int, or do this outside the compiled function",
        )
    counts = broadcast_to(repeats, (dims.known(x.shape[axis]),)).array()
    places = constant(np.repeat(np.arange(len(counts)), counts))
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    inverse = tuple(order.index(i) for i in range(x.ndim))
    found = ops.gather(ops.permute(x, axes=order), places, axes=(0,), batch=0, wrap=False)
    return math.clone(ops.permute(found, axes=inverse)) if axis else found


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids; "xy" swaps the first two axes."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    parts = [as_tensor(x) for x in given]
    if indexing == "xy" and len(parts) > 1:
        return tuple(transpose(g, 0, 1) for g in meshgrid(*parts))
    shape = tuple(dims.known(x.type.size) for x in parts)
    return tuple(ops.broadcast(reshape(x, -1), shape=shape, axes=(i,)) for i, x in enumerate(parts))
