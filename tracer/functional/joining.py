"""Joining and cutting tensors.

    cat([a, b], dim=1)      split(x, 2)      unbind(x)      roll(x, 1, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, IndexOutOfRange, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import normalize_dim, numpy_names, read_size
from gradc.tracer.functional.shape import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    reshape,
    squeeze,
    unsqueeze,
)
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import as_tensor
from gradc.tracer.promotion import promote
from gradc.tracer.tensor import Tensor


@composite("roll")
def roll(input: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Shifted around along axes; without axes, of the flattened tensor.

    Raises:
        ArgumentError: not as many shifts as axes.
    """
    x = as_tensor(input)
    if dims is None:
        return reshape(roll(reshape(x, -1), shifts, 0), x.shape)
    amounts = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    axes = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(amounts) != len(axes):
        raise ArgumentError(
            f"shifts and dimensions must align. shifts: {len(amounts)}, dims: {len(axes)}",
            loc=user_location(),
        )
    for amount, dim in zip(amounts, axes):
        axis = normalize_dim(dim, x.ndim)
        size: Any = x.shape[axis]
        if size:
            cut = size - int(amount) % size
            x = cat([narrow(x, axis, cut, size - cut), narrow(x, axis, 0, cut)], axis)
    return x


@numpy_names
@composite("cat")
def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Joined along an existing axis; dtypes promote.

    Raises:
        ShapeError: sizes differ along another axis.
    """
    parts = [as_tensor(x) for x in tensors]
    if not parts:
        raise ArgumentError("cat expects a non-empty list of tensors", loc=user_location())
    dtype = promote(*(x.dtype for x in parts))
    parts = [x if x.dtype is dtype else ops.cast(x, dtype=dtype) for x in parts]
    kept = [x for x in parts if x.shape != (0,)] or parts[:1]
    if kept[0].ndim == 0:
        raise ShapeError("zero-dimensional tensor cannot be concatenated", loc=user_location())
    axis = normalize_dim(dim, kept[0].ndim)
    return math.clone(kept[0]) if len(kept) == 1 else ops.concat(*kept, axis=axis)


concat = concatenate = cat


@numpy_names
@composite("stack")
def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Joined along a new axis."""
    parts = [as_tensor(x) for x in tensors]
    if not parts:
        raise ArgumentError("stack expects a non-empty list of tensors", loc=user_location())
    if any(x.shape != parts[0].shape for x in parts):
        raise ShapeError(
            "stack expects each tensor to be equal size",
            loc=user_location(),
            operands=[str(x.type) for x in parts],
        )
    axis = normalize_dim(dim, parts[0].ndim, 1)
    return cat([unsqueeze(x, axis) for x in parts], axis)


@numpy_names
@composite("slice")
def narrow(input: Any, dim: int, start: Any, length: Any) -> Tensor:
    """`length` elements from `start` along `dim`, as a view."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis])
    first, count = read_size(start), read_size(length)
    first = first + size if first < 0 else first
    if count < 0 or first < 0 or first + count > size:
        raise ArgumentError(
            f"start ({first}) + length ({count}) exceeds dimension size ({size}).",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    begin = tuple(first if i == axis else 0 for i in range(x.ndim))
    end = tuple(first + count if i == axis else d for i, d in enumerate(x.shape))
    return ops.slice(x, start=begin, stop=end, step=(1,) * x.ndim)  # type: ignore[no-any-return]


@numpy_names
def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces of one size (the last may be smaller), or of given sizes."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis])
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [read_size(s) for s in split_size_or_sections]
        if sum(sizes) != size:
            raise ArgumentError(
                f"split_with_sizes expects split_sizes to sum exactly to {size}, but got {sizes}",
                loc=user_location(),
            )
    else:
        piece = read_size(split_size_or_sections)
        if piece <= 0:
            raise ArgumentError(
                f"split expects split_size be positive, but got {piece}", loc=user_location()
            )
        sizes = [min(piece, size - i) for i in range(0, size, piece)] or [0]
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(narrow(x, axis, s, n) for s, n in zip(starts, sizes))


@numpy_names
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size (the last may be smaller).

    Raises:
        ArgumentError: `chunks` is not positive.
    """
    x = as_tensor(input)
    if chunks <= 0:
        raise ArgumentError(
            f"chunk expects `chunks` to be greater than 0, got: {chunks}", loc=user_location()
        )
    size = dims.known(x.shape[normalize_dim(dim, x.ndim)])
    return split(x, max(-(-size // chunks), 1), dim)


@numpy_names
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views between these indices, or this many of nearly equal size.

    Raises:
        ArgumentError: the number of pieces is not positive.
    """
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis])
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0:
            raise ArgumentError(
                f"number of sections must be larger than 0, got {indices_or_sections}",
                loc=user_location(),
            )
        base, rest = divmod(size, indices_or_sections)
        cuts = [i * base + min(i, rest) for i in range(1, indices_or_sections)]
    else:
        indices = [read_size(c) for c in indices_or_sections]
        cuts = [min(max(c + size if c < 0 else c, 0), size) for c in indices]
    return tuple(narrow(x, axis, a, max(b - a, 0)) for a, b in pairwise([0, *cuts, size]))


@numpy_names
def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, as views without it.

    Raises:
        IndexOutOfRange: a 0-d tensor.
    """
    x = as_tensor(input)
    _require_axis("unbind", x, dim)
    axis = normalize_dim(dim, x.ndim)
    return tuple(select(x, axis, i) for i in range(dims.known(x.shape[axis])))


def _require_axis(name: str, x: Tensor, dim: Any) -> None:
    if x.ndim == 0:
        raise IndexOutOfRange(
            f"{name}: dimension specified as {dim} but the tensor has no dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )


@numpy_names
@composite("select")
def select(input: Any, dim: int, index: Any) -> Tensor:
    """The slice at `index` of `dim`, as a view without that dimension.

    Raises:
        IndexOutOfRange: `index` is outside the dimension, or the tensor is 0-d.
    """
    x = as_tensor(input)
    _require_axis("select", x, dim)
    axis = normalize_dim(dim, x.ndim)
    size, i = dims.known(x.shape[axis]), read_size(index)
    if not -size <= i < size:
        raise IndexOutOfRange(
            f"select: index {i} is out of range for dimension {axis} with size {size}",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return squeeze(narrow(x, axis, i % size, 1), axis)


def hstack(tensors: Sequence[Any]) -> Tensor:
    """Joined along axis 1, vectors along axis 0."""
    parts = [atleast_1d(x) for x in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Any]) -> Tensor:
    """Joined along axis 0, vectors as rows."""
    return cat([atleast_2d(x) for x in tensors], 0)


def dstack(tensors: Sequence[Any]) -> Tensor:
    """Joined along axis 2, after `atleast_3d`."""
    return cat([atleast_3d(x) for x in tensors], 2)


def column_stack(tensors: Sequence[Any]) -> Tensor:
    """Joined along axis 1, vectors as columns."""
    parts = [as_tensor(x) for x in tensors]
    return cat([reshape(x, -1, 1) if x.ndim < 2 else x for x in parts], 1)
