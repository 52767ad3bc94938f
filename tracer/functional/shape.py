"""Movement: the same elements in another shape or order. Views where torch gives views.

    reshape(x, 2, -1)     x.t()     cat([a, b], dim=1)     unsqueeze(x, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes
from gradc.tracer.broadcasting import broadcast_to as _broadcast_to
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import (
    normalize_dim,
    normalize_dims,
    numpy_names,
    read_shape,
    read_size,
)
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import int64
from gradc.tracer.interpreter import as_tensor, full, scalar
from gradc.tracer.promotion import promote
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


@composite("unflatten")
def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    return reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


@composite("expand")
def expand(input: Any, *sizes: Any) -> Tensor:
    """Repeated along axes of size 1 and new leading axes, without copying; -1 keeps a size."""
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
def flip(input: Any, *dim: Any) -> Tensor:
    """Reversed along these axes; a copy, as in torch."""
    x = as_tensor(input)
    named = dim[0] if len(dim) == 1 and isinstance(dim[0], (tuple, list)) else dim
    return math.clone(ops.flip(x, axes=normalize_dims(tuple(named), x.ndim) if named else ()))


@composite("roll")
def roll(input: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Shifted around along axes; without axes, of the flattened tensor."""
    x = as_tensor(input)
    if dims is None:
        return reshape(roll(reshape(x, -1), shifts, 0), x.shape)
    amounts = shifts if isinstance(shifts, (tuple, list)) else (shifts,)
    axes = dims if isinstance(dims, (tuple, list)) else (dims,)
    for amount, dim in zip(amounts, axes, strict=True):
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
    """At most `chunks` views of equal size (the last may be smaller)."""
    x = as_tensor(input)
    size = dims.known(x.shape[normalize_dim(dim, x.ndim)])
    return split(x, max(-(-size // chunks), 1), dim)


@numpy_names
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views between these indices, or this many of nearly equal size."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis])
    if isinstance(indices_or_sections, int):
        base, rest = divmod(size, indices_or_sections)
        sizes = [base + 1] * rest + [base] * (indices_or_sections - rest)
    else:
        cuts = [min(max(c + size if c < 0 else c, 0), size) for c in indices_or_sections]
        bounds = [0, *cuts, size]
        sizes = [max(b - a, 0) for a, b in pairwise(bounds)]
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(narrow(x, axis, s, n) for s, n in zip(starts, sizes))


@numpy_names
def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, as views without it."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    return tuple(
        squeeze(narrow(x, axis, i, 1), axis) for i in range(dims.known(x.shape[axis]))
    )


@composite("repeat")
def repeat(input: Any, *sizes: Any) -> Tensor:
    """Copies side by side: this many along each axis, new leading axes included."""
    x = as_tensor(input)
    counts = read_shape(sizes)
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
def repeat_interleave(input: Any, repeats: int, dim: int | None = None) -> Tensor:
    """Every element `repeats` times in place."""
    x = as_tensor(input)
    if dim is None:
        x, dim = reshape(x, -1), 0
    axis = normalize_dim(dim, x.ndim)
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    at = tuple(i if i <= axis else i + 1 for i in range(x.ndim))
    spread = ops.broadcast(x, shape=shape, axes=at)
    out = tuple(dims.mul(d, repeats) if i == axis else d for i, d in enumerate(x.shape))
    return ops.reshape(spread, shape=out)  # type: ignore[no-any-return]


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


def pad_axes(x: Tensor, widths: Sequence[tuple[int, int]], value: Any) -> Tensor:
    """`x` with `(before, after)` fills along every axis; negative widths cut."""
    cut = any(w < 0 for pair in widths for w in pair)
    if cut:
        start = tuple(max(-lo, 0) for lo, _ in widths)
        stop = tuple(dims.known(d) - max(-hi, 0) for d, (_, hi) in zip(x.shape, widths))
        if any(a > b for a, b in zip(start, stop)):
            raise ShapeError("pad: the negative widths cut more than there is", loc=user_location())
        x = ops.slice(x, start=start, stop=stop, step=(1,) * x.ndim)
    low = tuple(max(lo, 0) for lo, _ in widths)
    high = tuple(max(hi, 0) for _, hi in widths)
    fill = scalar(value, x.dtype)
    return ops.pad(x, fill, low=low, high=high, interior=(0,) * x.ndim)  # type: ignore[no-any-return]


@composite("pad")
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Fills around the last axes: `(before last, after last, before second-last, ...)`.

    Raises:
        ArgumentError: an odd number of widths, too many, or a mode other than "constant".
    """
    x = as_tensor(input)
    if mode != "constant":
        raise ArgumentError(f"pad: mode {mode!r} is not supported", loc=user_location())
    if len(pad) % 2 or len(pad) // 2 > x.ndim:
        raise ArgumentError(
            f"pad: {len(pad)} widths do not fit a tensor of {x.ndim} dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    return pad_axes(x, widths, 0 if value is None else value)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids; "xy" swaps the first two axes."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    parts = [as_tensor(x) for x in given]
    if indexing == "xy" and len(parts) > 1:
        return tuple(transpose(g, 0, 1) for g in meshgrid(*parts))
    shape = tuple(dims.known(x.type.size) for x in parts)
    return tuple(ops.broadcast(reshape(x, -1), shape=shape, axes=(i,)) for i, x in enumerate(parts))
