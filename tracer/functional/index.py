"""Indexing: `x[...]`, `x[...] = v`, and torch's gather, scatter and their kind.

An index is read into a basic part, which is a chain of views, and an advanced part, which is one
gather (or, for assignment, one scatter):

    x[1:, None, ::-1]        views
    x[rows, :, cols]         gather along two axes
    x[mask]                  eagerly only: how many elements come out is known only by looking
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes, broadcast_to
from gradc.tracer.context import CONTEXT, composite
from gradc.tracer.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    IndexOutOfRange,
    ShapeError,
    TraceError,
)
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import normalize_dim, numpy_names
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import bool_, int64
from gradc.tracer.interpreter import as_tensor, constant, full
from gradc.tracer.tensor import Tensor

_slice = slice


@dataclass
class IndexPlan:
    """An index, read for one shape.

    Attributes:
        start, stop, step, flipped: the slice of every axis of the operand.
        shape: the shape after the views.
        axes, arrays: the axes of that shape that are indexed by integer tensors.
        leading: whether the indexed axes come first in the result, being apart.
    """

    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    flipped: list[int] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    axes: list[int] = field(default_factory=list)
    arrays: list[Tensor] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    @property
    def leading(self) -> bool:
        first = self.positions[0]
        return self.positions != list(range(first, first + len(self.positions)))


def index_plan(x: Tensor, index: Any) -> IndexPlan:
    """Read an index expression.

    Raises:
        IndexOutOfRange: an integer outside its dimension, or too many indices.
        TraceError: a boolean mask in a trace.
        ArgumentTypeError: something that is no index.
    """
    items = _expand_masks(x, list(index) if isinstance(index, tuple) else [index])
    used = sum(map(_takes_axis, items))
    if used > x.ndim:
        raise IndexOutOfRange(
            f"too many indices for tensor of dimension {x.ndim}",
            loc=user_location(),
            operands=[str(x.type)],
        )
    whole = [_slice(None)] * (x.ndim - used)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
    items = items[:at] + whole + items[at + 1 :]
    if any(i is Ellipsis for i in items):
        raise IndexOutOfRange("an index can only have a single ellipsis", loc=user_location())
    plan = IndexPlan()
    for position, item in enumerate(items):
        _read_item(plan, x, item, position)
    return plan


def _takes_axis(item: Any) -> bool:
    return not (item is None or item is Ellipsis or isinstance(item, bool))


def _read_item(plan: IndexPlan, x: Tensor, item: Any, position: int) -> None:
    if item is None:
        plan.shape.append(1)
        return
    if isinstance(item, bool):
        # A mask without axes: a new axis of which the only element is taken, or none.
        plan.axes.append(len(plan.shape))
        plan.arrays.append(constant(np.zeros(int(item), np.int64)))
        plan.positions.append(position)
        plan.shape.append(1)
        return
    axis = len(plan.start)
    size = dims.known(x.shape[axis])
    if isinstance(item, Tensor):
        plan.axes.append(len(plan.shape))
        plan.arrays.append(item if item.dtype is int64 else ops.cast(item, dtype=int64))
        plan.positions.append(position)
        _take(plan, 0, size, 1, size)
    elif isinstance(item, _slice):
        start, stop, step = item.indices(size)
        count = len(range(start, stop, step))
        if step < 0:
            plan.flipped.append(axis)
            start, step = start + (count - 1) * step, -step
        _take(plan, start if count else 0, (start + (count - 1) * step + 1) if count else 0, step)
        plan.shape.append(count)
        return
    else:
        i = operator.index(item)
        if not -size <= i < size:
            raise IndexOutOfRange(
                f"index {i} is out of bounds for dimension {axis} with size {size}",
                loc=user_location(),
                operands=[str(x.type)],
            )
        _take(plan, i % size, i % size + 1, 1)


def _take(plan: IndexPlan, start: int, stop: int, step: int, kept: int | None = None) -> None:
    plan.start.append(start)
    plan.stop.append(stop)
    plan.step.append(step)
    if kept is not None:
        plan.shape.append(kept)


def _expand_masks(x: Tensor, items: list[Any]) -> list[Any]:
    """Lists and arrays as tensors, masks as the integer arrays of their true places."""
    result: list[Any] = []
    for item in items:
        found = _as_index(item)
        if isinstance(found, Tensor) and found.dtype is bool_:
            axis = sum(map(_takes_axis, result))
            if Ellipsis not in result and x.shape[axis : axis + found.ndim] != found.shape:
                raise IndexOutOfRange(
                    f"the shape of the mask {list(found.shape)} does not match the shape of the "
                    f"indexed tensor {list(x.shape)} at dimension {axis}",
                    loc=user_location(),
                )
            places = _mask_places(found)
            result.extend(places if found.ndim else [bool(found.array())])
        else:
            result.append(found)
    return result


def _as_index(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, _slice):
        return _static_slice(item)
    if isinstance(item, (bool, np.bool_)):
        return bool(item)
    if isinstance(item, Tensor):
        if not (item.dtype.is_integer or item.dtype is bool_):
            raise ArgumentTypeError(
                "tensors used as indices must be of integer or bool type",
                loc=user_location(),
                operands=[str(item.type)],
            )
        return item
    if isinstance(item, (list, tuple, range, np.ndarray)):
        array = _index_array(item)
        if array.dtype.kind not in "iub":
            raise ArgumentTypeError(
                f"arrays used as indices must be of integer or bool type, not {array.dtype}",
                loc=user_location(),
            )
        return as_tensor(array) if isinstance(item, np.ndarray) else constant(array)
    if hasattr(item, "__index__"):
        return item
    raise ArgumentTypeError(
        f"{type(item).__name__} is not an index: use integers, slices, None, Ellipsis, or integer "
        "or bool tensors",
        loc=user_location(),
    )


def _index_array(item: Any) -> Any:
    if isinstance(item, np.ndarray):
        return item
    try:
        array = np.asarray(item)
    except ValueError:
        raise ArgumentTypeError(
            "a sequence used as an index must hold numbers in rows of one length",
            loc=user_location(),
        ) from None
    return array.astype(np.int64) if array.size == 0 else array


def _static_slice(item: Any) -> Any:
    if not isinstance(item, _slice):
        return item
    parts = [None if p is None else operator.index(p) for p in (item.start, item.stop, item.step)]
    if parts[2] == 0:
        raise ArgumentError("slice step cannot be zero", loc=user_location())
    return _slice(*parts)


def _mask_places(mask: Tensor) -> list[Tensor]:
    if CONTEXT.trace is not None:
        raise TraceError(
            "a boolean mask was used as an index while tracing: how many elements it picks is "
            "known only when the compiled function runs",
            loc=user_location(),
            operands=[f"mask  {mask.type}"],
            hint="use gradc.where or masked_fill, or multiply by the mask",
        )
    array = mask.array()
    return [as_tensor(np.ascontiguousarray(a)) for a in np.nonzero(array)] if array.ndim else []


def _apply_views(x: Tensor, plan: IndexPlan) -> Tensor:
    whole = all(
        a == 0 and b == d and s == 1
        for a, b, s, d in zip(plan.start, plan.stop, plan.step, x.shape)
    )
    if not whole:
        x = ops.slice(x, start=tuple(plan.start), stop=tuple(plan.stop), step=tuple(plan.step))
    if plan.flipped:
        x = ops.flip(x, axes=tuple(plan.flipped))
    shape = tuple(plan.shape)
    return x if x.shape == shape and not whole else ops.reshape(x, shape=shape)


def _common_index(plan: IndexPlan) -> list[Tensor]:
    shape = broadcast_shapes("index", [a.type for a in plan.arrays])
    return [broadcast_to(a, shape) for a in plan.arrays]


def _result_order(plan: IndexPlan, index_ndim: int, ndim: int) -> tuple[int, ...] | None:
    """How gather's result is permuted: the indexed axes go where they stood, unless apart."""
    first = plan.axes[0]
    if plan.leading or first == 0:
        return None
    rest = [index_ndim + i for i in range(ndim - index_ndim)]
    return tuple(rest[:first] + list(range(index_ndim)) + rest[first:])


@composite("index")
def _gather_index(x: Tensor, plan: IndexPlan) -> Tensor:
    arrays = _common_index(plan)
    found = ops.gather(x, *arrays, axes=tuple(plan.axes), batch=0, wrap=True)
    order = _result_order(plan, arrays[0].ndim, found.ndim)
    return found if order is None else math.clone(ops.permute(found, axes=order))


@composite("slice")
def _view_index(x: Tensor, plan: IndexPlan) -> Tensor:
    return _apply_views(x, plan)


def index(input: Tensor, key: Any) -> Tensor:
    """`input[key]`: a view for integers, slices, None and Ellipsis; a copy for index tensors.

    Raises:
        IndexOutOfRange: an integer outside its dimension (tensors are checked when run).
        TraceError: a boolean mask in a trace.
    """
    x = as_tensor(input)
    plan = index_plan(x, key)
    viewed = _view_index(x, plan)
    return _gather_index(viewed, plan) if plan.arrays else viewed


def assign_index(
    input: Tensor, key: Any, value: Any, write: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """`input[key] = value`, through `write`, which stores into a view."""
    items = _as_index(key) if not isinstance(key, tuple) else None
    if isinstance(items, Tensor) and items.dtype is bool_ and items.shape == input.shape:
        scalar_like = not isinstance(value, (Tensor, np.ndarray)) or as_tensor(value).type.size == 1
        if scalar_like:
            filler = value if not isinstance(value, Tensor) else value.reshape(())
            write(input, math.masked_fill(_old_value(input, filler), items, filler))
            return
    plan = index_plan(input, key)
    view = _apply_views(input, plan)
    if not plan.arrays:
        write(view, _value_tensor(value, view))
        return
    write(view, _scatter_index(_old_value(view, value), plan, value))


def _old_value(x: Tensor, value: Any) -> Tensor:
    """`x` as an operand of what is written into it; a copy where its old value is recorded."""
    recorded = any(isinstance(t, Tensor) and t.requires_grad for t in (x, value))
    return math.clone(x) if CONTEXT.grad and recorded else x


def _value_tensor(value: Any, target: Tensor) -> Tensor:
    if isinstance(value, (bool, int, float)):
        return full((), value, target.dtype)
    found = value if isinstance(value, (Tensor, np.ndarray)) else np.asarray(value)
    tensor = as_tensor(found)
    return tensor if tensor.dtype is target.dtype else ops.cast(tensor, dtype=target.dtype)


@composite("index_put")
def _scatter_index(
    x: Tensor, plan: IndexPlan, value: Any, combiner: str = "set"
) -> Tensor:
    arrays = _common_index(plan)
    k = arrays[0].ndim
    rest = tuple(d for i, d in enumerate(x.shape) if i not in plan.axes)
    order = _result_order(plan, k, k + len(rest))
    gathered = arrays[0].shape + rest
    shape = gathered if order is None else tuple(gathered[i] for i in order)
    source = _value_tensor(value, x)
    while source.ndim > len(shape) and source.shape[0] == 1:
        source = ops.reshape(source, shape=source.shape[1:])
    try:
        updates = broadcast_to(source, shape)
    except ShapeError:
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to "
            f"indexing result of shape {list(shape)}",
            loc=user_location(),
        ) from None
    if order is not None:
        updates = ops.permute(updates, axes=tuple(int(i) for i in np.argsort(order)))
    return ops.scatter(  # type: ignore[no-any-return]
        x, updates, *arrays, axes=tuple(plan.axes), batch=0, wrap=True, combiner=combiner
    )


# -- torch's functions ----------------------------------------------------------------------------


def _long(index: Any, name: str) -> Tensor:
    found = as_tensor(index)
    if not found.dtype.is_integer:
        raise DTypeError(
            f"{name}(): Expected dtype int64 for index",
            loc=user_location(),
            operands=[f"index  {found.type}"],
        )
    return found if found.dtype is int64 else ops.cast(found, dtype=int64)


def _check_index_shape(name: str, x: Tensor, index: Tensor, axis: int) -> None:
    if index.ndim != x.ndim:
        raise ShapeError(
            f"{name}: index has {index.ndim} dimensions and input has {x.ndim}",
            loc=user_location(),
            operands=[f"input  {x.type}", f"index  {index.type}"],
        )
    for i, (n, d) in enumerate(zip(index.shape, x.shape)):
        if i != axis and n > d:  # type: ignore[operator]
            raise ShapeError(
                f"{name}: Size does not match at dimension {i} expected index {list(index.shape)} "
                f"to be smaller than input {list(x.shape)} apart from dimension {axis}",
                loc=user_location(),
            )


def _order_last(ndim: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    order = (*(i for i in range(ndim) if i != axis), axis)
    return order, tuple(order.index(i) for i in range(ndim))


def _cut(x: Tensor, shape: Sequence[Any], axis: int) -> Tensor:
    stop = tuple(d if i == axis else n for i, (d, n) in enumerate(zip(x.shape, shape)))
    if stop == x.shape:
        return x
    return ops.slice(x, start=(0,) * x.ndim, stop=stop, step=(1,) * x.ndim)  # type: ignore[no-any-return]


def _gather_last(x: Tensor, index: Tensor, axis: int, wrap: bool) -> Tensor:
    order, inverse = _order_last(x.ndim, axis)
    last = x.ndim - 1
    found = ops.gather(
        ops.permute(x, axes=order), ops.permute(index, axes=order), axes=(last,), batch=last,
        wrap=wrap,
    )  # fmt: skip
    return math.clone(ops.permute(found, axes=inverse)) if axis != last else found


@numpy_names
@composite("gather")
def gather(input: Any, dim: int, index: Any) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on; negative indices are errors."""
    x, where = as_tensor(input), _long(index, "gather")
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return reshape_zero_d(x, where, gather)
    _check_index_shape("gather", x, where, axis)
    return _gather_last(_cut(x, where.shape, axis), where, axis, False)


def reshape_zero_d(x: Tensor, index: Tensor, function: Callable[..., Tensor]) -> Tensor:
    """0-d operands as vectors of one element."""
    one = ops.reshape(index, shape=(1,) if index.ndim == 0 else index.shape)
    found = function(ops.reshape(x, shape=(1,)), 0, one)
    return ops.reshape(found, shape=index.shape)  # type: ignore[no-any-return]


@numpy_names
@composite("take_along_dim")
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting; without `dim`, of the flattened tensor."""
    x, where = as_tensor(input), _long(indices, "take_along_dim")
    if dim is None:
        flat = ops.reshape(where, shape=(where.type.size,))
        return _gather_last(ops.reshape(x, shape=(x.type.size,)), flat, 0, True)
    axis = normalize_dim(dim, x.ndim)

    def without(t: Tensor) -> Any:
        shape = tuple(1 if i == axis else d for i, d in enumerate(t.shape))
        return t.type.with_shape(shape)

    common = broadcast_shapes("take_along_dim", [without(x), without(where)])

    def spread(t: Tensor) -> Tensor:
        return broadcast_to(t, tuple(t.shape[i] if i == axis else d for i, d in enumerate(common)))

    return _gather_last(spread(x), spread(where), axis, True)


@numpy_names
@composite("index_select")
def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """The slices of `dim` at these indices."""
    x, where = as_tensor(input), _long(index, "index_select")
    axis = normalize_dim(dim, x.ndim)
    if where.ndim > 1:
        raise ShapeError("index_select(): Index is supposed to be a vector", loc=user_location())
    where = ops.reshape(where, shape=(where.type.size,))
    if x.ndim == 0:
        if where.shape != (1,):
            raise ShapeError(
                "index_select(): Index to scalar can have only 1 value", loc=user_location()
            )
        return ops.reshape(reshape_zero_d(x, where, gather), shape=())  # type: ignore[no-any-return]
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    inverse = tuple(order.index(i) for i in range(x.ndim))
    found = ops.gather(ops.permute(x, axes=order), where, axes=(0,), batch=0, wrap=False)
    return math.clone(ops.permute(found, axes=inverse)) if axis else found


def _scatter(
    name: str, input: Any, dim: int, index: Any, src: Any, combiner: str, wrap: bool = False
) -> Tensor:
    x, where = as_tensor(input), _long(index, name)
    axis = normalize_dim(dim, x.ndim)
    if isinstance(src, (bool, int, float)):
        src = full(where.shape, src, x.dtype)
    updates = as_tensor(src)
    if updates.dtype is not x.dtype:
        raise DTypeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype",
            loc=user_location(),
            operands=[f"self  {x.type}", f"src  {updates.type}"],
        )
    if x.ndim == 0:
        one = (1,)
        found = _scatter(
            name, ops.reshape(x, shape=one), 0, ops.reshape(where, shape=one),
            ops.reshape(updates, shape=one), combiner,
        )  # fmt: skip
        return ops.reshape(found, shape=())  # type: ignore[no-any-return]
    _check_index_shape(name, x, where, axis)
    _check_index_shape(name, updates, where, -1)
    updates = _cut(updates, where.shape, -1)
    places = [
        where if i == axis else ops.iota(shape=where.shape, axis=i, dtype=int64)
        for i in range(x.ndim)
    ]
    if any(n != d for i, (n, d) in enumerate(zip(where.shape, x.shape)) if i != axis):
        every = tuple(range(x.ndim))
        return ops.scatter(  # type: ignore[no-any-return]
            x, updates, *places, axes=every, batch=0, wrap=wrap, combiner=combiner
        )
    order, inverse = _order_last(x.ndim, axis)
    last = x.ndim - 1
    moved = [ops.permute(t, axes=order) for t in (x, updates, where)]
    found = ops.scatter(*moved, axes=(last,), batch=last, wrap=wrap, combiner=combiner)
    return math.clone(ops.permute(found, axes=inverse)) if axis != last else found


_REDUCTIONS = {None: "set", "add": "add", "multiply": "mul"}


@numpy_names
@composite("scatter")
def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """`input` with out[index[i][j]][j] = src[i][j] for dim 0, and so on.

    Args:
        src: a tensor, or a number for all places; `value` is another name for that number.
        reduce: None, "add" or "multiply".

    Raises:
        ArgumentError: not exactly one of `src` and `value`, or another `reduce`.
    """
    if (src is None) == (value is None):
        raise ArgumentError("scatter: give either src or value", loc=user_location())
    src = value if src is None else src
    if reduce not in _REDUCTIONS:
        raise ArgumentError("reduce argument must be either add or multiply.", loc=user_location())
    return _scatter("scatter", input, dim, index, src, _REDUCTIONS[reduce])


@numpy_names
@composite("scatter_add")
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """`input` with out[index[i][j]][j] += src[i][j] for dim 0, and so on."""
    return _scatter("scatter_add", input, dim, index, src, "add")


@numpy_names
@composite("index_add")
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Tensor:
    """`input` with the slices of `source` added at these indices of `dim`."""
    x, where, updates = as_tensor(input), _long(index, "index_add"), as_tensor(source)
    axis = normalize_dim(dim, x.ndim)
    if not (isinstance(alpha, int) and alpha == 1):
        updates = math.mul(updates, alpha)
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    inverse = tuple(order.index(i) for i in range(x.ndim))
    found = ops.scatter(
        ops.permute(x, axes=order), ops.permute(updates, axes=order), where, axes=(0,), batch=0,
        wrap=False, combiner="add",
    )  # fmt: skip
    return math.clone(ops.permute(found, axes=inverse)) if axis else found


def index_put(
    input: Tensor, indices: Sequence[Any], values: Any, accumulate: bool = False
) -> Tensor:
    """`input` with `values` stored (or added) where the index tensors point; None keeps an axis."""
    plan = index_plan(input, tuple(_slice(None) if i is None else i for i in indices))
    return _scatter_index(input, plan, values, "add" if accumulate else "set")


@composite("take")
def take(input: Any, index: Any) -> Tensor:
    """The elements of the flattened tensor at these indices, in the shape of `index`."""
    x, where = as_tensor(input), _long(index, "take")
    flat = ops.reshape(x, shape=(x.type.size,))
    return ops.gather(flat, where, axes=(0,), batch=0, wrap=True)  # type: ignore[no-any-return]


@composite("embedding")
def embedding(weight: Tensor, index: Any) -> Tensor:
    """Rows of `weight`: [N, D] and indices [...] give [..., D]; negative indices are errors."""
    where = _long(index, "embedding")
    return ops.gather(weight, where, axes=(0,), batch=0, wrap=False)  # type: ignore[no-any-return]


@composite("one_hot")
def one_hot(input: Any, num_classes: int = -1) -> Tensor:
    """1 at the index and 0 elsewhere, along a new last axis, as int64.

    Raises:
        TraceError: without `num_classes` in a trace.
        AssertionFailed: a class outside the range.
    """
    x = _long(input, "one_hot")
    if num_classes < 0:
        if CONTEXT.trace is not None:
            raise TraceError(
                "one_hot without num_classes needs to look at the values",
                loc=user_location(),
                hint="pass num_classes",
            )
        num_classes = int(x.array().max()) + 1 if x.type.size else 0
    inside = math.logical_and(math.ge(x, 0), math.lt(x, num_classes))
    ops.check(
        inside, message=f"one_hot: classes must be non-negative and smaller than {num_classes}"
    )
    shape = (*x.shape, num_classes)
    classes = ops.iota(shape=shape, axis=x.ndim, dtype=int64)
    spread = ops.broadcast(x, shape=shape, axes=tuple(range(x.ndim)))
    return ops.cast(ops.eq(classes, spread), dtype=int64)  # type: ignore[no-any-return]


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The places of non-zero elements as rows [n, ndim], or as a tuple of columns; eagerly only."""
    x = as_tensor(input)
    places = math.nonzero_places(x)
    if as_tuple:
        return places
    rows = np.stack([p.array() for p in places], -1)
    return as_tensor(np.ascontiguousarray(rows[:, : x.ndim]))


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where `mask` holds, flat; eagerly only."""
    x, m = as_tensor(input), as_tensor(mask)
    shape = broadcast_shapes("masked_select", [x.type, m.type])
    return index(broadcast_to(x, shape), broadcast_to(m, shape))
