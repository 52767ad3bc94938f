"""Triangles and diagonals of matrices.

    tril(x)      diag(v)      diagonal(x, offset=1)
"""

from __future__ import annotations

from typing import Any

from gradc.tracer import ops
from gradc.tracer.context import composite
from gradc.tracer.errors import ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import normalize_dim
from gradc.tracer.functional.padding import pad_axes
from gradc.tracer.functional.reduce import sum
from gradc.tracer.functional.shape import movedim, reshape
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import int64
from gradc.tracer.interpreter import as_tensor, full
from gradc.tracer.tensor import Tensor


def _triangle(x: Tensor, diagonal: int, lower: bool) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(
            "triu and tril need a tensor with at least 2 dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    shape = x.shape
    rows = ops.iota(shape=shape, axis=x.ndim - 2, dtype=int64)
    columns = ops.iota(shape=shape, axis=x.ndim - 1, dtype=int64)
    limit = math.add(rows, diagonal)
    inside = ops.le(columns, limit) if lower else ops.ge(columns, limit)
    return ops.select(inside, x, full(shape, 0, x.dtype))  # type: ignore[no-any-return]


@composite("triu")
def triu(input: Any, diagonal: int = 0) -> Tensor:
    """The upper triangle, zeros elsewhere."""
    return _triangle(as_tensor(input), diagonal, False)


@composite("tril")
def tril(input: Any, diagonal: int = 0) -> Tensor:
    """The lower triangle, zeros elsewhere."""
    return _triangle(as_tensor(input), diagonal, True)


@composite("diagonal")
def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis; a copy (torch gives a view)."""
    x = as_tensor(input)
    a, b = normalize_dim(dim1, x.ndim), normalize_dim(dim2, x.ndim)
    x = movedim(x, (a, b), (-2, -1))
    rows, columns = dims.known(x.shape[-2]), dims.known(x.shape[-1])
    length = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    start = offset if offset >= 0 else -offset * columns
    lead = flat.ndim - 1
    stop = start + (length - 1) * (columns + 1) + 1 if length else start
    begin, end = (0,) * lead + (start if length else 0,), (*flat.shape[:-1], stop if length else 0)
    return ops.slice(flat, start=begin, stop=end, step=(1,) * lead + (columns + 1,))  # type: ignore[no-any-return]


@composite("diag")
def diag(input: Any, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or a matrix with this diagonal."""
    x = as_tensor(input)
    if x.ndim == 2:
        return _diagonal(x, diagonal)
    if x.ndim != 1:
        raise ShapeError("diag(): Supports 1D or 2D tensors.", loc=user_location())
    size = dims.known(x.shape[0]) + abs(diagonal)
    shape = (size, size)
    rows = ops.iota(shape=shape, axis=0, dtype=int64)
    columns = ops.iota(shape=shape, axis=1, dtype=int64)
    on = ops.eq(columns, math.add(rows, diagonal))
    low = max(-diagonal, 0)
    padded = pad_axes(x, [(low, size - low - dims.known(x.shape[0]))], 0)
    return ops.select(on, ops.broadcast(padded, shape=shape, axes=(0,)), full(shape, 0, x.dtype))  # type: ignore[no-any-return]


_diagonal = diagonal


@composite("trace")
def trace(input: Any) -> Tensor:
    """The sum of the diagonal of a matrix; integers in int64.

    Raises:
        ShapeError: not a matrix.
    """
    x = as_tensor(input)
    if x.ndim != 2:
        raise ShapeError(
            "trace: expected a matrix", loc=user_location(), operands=[f"input  {x.type}"]
        )
    return sum(diagonal(x))
