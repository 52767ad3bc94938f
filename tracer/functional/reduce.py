"""Reductions, softmax and order: torch's names, `dim`/`keepdim` (or `axis`/`keepdims`).

    sum(x, dim=1)      max(x)      max(x, dim=1).values      softmax(x, -1)
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from gradc.tracer import ops
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import normalize_dim, normalize_dims, numpy_names
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, bool_, int64
from gradc.tracer.interpreter import as_tensor, elementwise, full, scalar
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.promotion import get_default_dtype
from gradc.tracer.tensor import Tensor


class ValuesIndices(NamedTuple):
    """What `max(x, dim)`, `sort(x)` and their kind return."""

    values: Tensor
    indices: Tensor


def _reduce(prim: Primitive, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    axes = normalize_dims(dim, x.ndim)
    found = prim(x, axes=axes)
    return _keep(found, x, axes) if keepdim else found


def _keep(found: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return ops.reshape(found, shape=shape)  # type: ignore[no-any-return]


def _summable(input: Any, dtype: DType | None) -> Tensor:
    x = as_tensor(input)
    if dtype is None:
        # Integers and bool are summed in int64, as in torch.
        dtype = x.dtype if x.dtype.is_float else int64
    return x if x.dtype is dtype else ops.cast(x, dtype=dtype)


@numpy_names
@composite("sum")
def sum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over `dim` (all by default); integers are summed in int64; empty gives 0."""
    return _reduce(ops.reduce_sum, _summable(input, dtype), dim, keepdim)


@numpy_names
@composite("prod")
def prod(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over `dim` (all by default); empty gives 1."""
    return _reduce(ops.reduce_prod, _summable(input, dtype), dim, keepdim)


def _count(x: Tensor, dim: Any) -> int:
    axes = normalize_dims(dim, x.ndim)
    return dims.known(dims.numel(x.shape[a] for a in axes))


def _divide(total: Tensor, count: float) -> Tensor:
    if count == 0:
        return math.div(total, 0.0)
    return math.div(total, float(count))


@numpy_names
@composite("mean")
def mean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over `dim` (all by default); empty gives NaN.

    Raises:
        DTypeError: an integer or bool tensor without `dtype`.
    """
    x = as_tensor(input)
    if dtype is not None and x.dtype is not dtype:
        x = ops.cast(x, dtype=dtype)
    if not x.dtype.is_float:
        raise DTypeError(
            "mean(): could not infer output dtype. Input dtype must be floating point. Got: "
            f"{x.dtype.name}",
            loc=user_location(),
            operands=[str(x.type)],
            hint="pass dtype=gradc.float32",
        )
    return _divide(_reduce(ops.reduce_sum, x, dim, keepdim), _count(x, dim))


def _correction(correction: Any, unbiased: Any, ddof: Any) -> float:
    if unbiased is not None:
        return 1.0 if unbiased else 0.0
    if ddof is not None:
        return float(ddof)
    return 1.0 if correction is None else float(correction)


@numpy_names
@composite("var")
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    ddof: float | None = None,
) -> Tensor:
    """The variance over `dim`, divided by `n - correction` (1 by default, as in torch)."""
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    x = as_tensor(input)
    if not x.dtype.is_float:
        raise DTypeError(
            "std and var only support floating point dtypes",
            loc=user_location(),
            operands=[str(x.type)],
        )
    centred = math.sub(x, mean(x, dim, True))
    total = _reduce(ops.reduce_sum, math.mul(centred, centred), dim, keepdim)
    degrees = _count(x, dim) - _correction(correction, unbiased, ddof)
    return _divide(total, builtins.max(degrees, 0.0))


@numpy_names
def var_mean(input: Any, dim: Any = None, **options: Any) -> tuple[Tensor, Tensor]:
    """`var` (with its options) and `mean`."""
    return var(input, dim, **options), mean(input, dim, options.get("keepdim", False))


@numpy_names
def std_mean(input: Any, dim: Any = None, **options: Any) -> tuple[Tensor, Tensor]:
    """`std` (with its options) and `mean`."""
    return std(input, dim, **options), mean(input, dim, options.get("keepdim", False))


@numpy_names
@composite("nansum")
def nansum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """`sum` that counts NaN as 0."""
    x = as_tensor(input)
    return sum(math.where(math.isnan(x), 0, x), dim, keepdim, dtype=dtype)


@numpy_names
@composite("nanmean")
def nanmean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """`mean` of what is not NaN."""
    x = as_tensor(input)
    x = x if dtype is None else x.to(dtype)
    count = sum(math.logical_not(math.isnan(x)), dim, keepdim, dtype=x.dtype)
    return math.div(nansum(x, dim, keepdim), count)


@numpy_names
@composite("std")
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    ddof: float | None = None,
) -> Tensor:
    """The square root of `var`; gradient 0 where it is 0."""
    total = var(input, dim, unbiased, keepdim, correction=correction, ddof=ddof)
    return _unless_zero(total, math.sqrt)


def _unless_zero(total: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function(total)`, but 0 with gradient 0 where `total` is 0."""
    zero = math.eq(total, 0.0)
    return math.where(zero, 0.0, function(math.where(zero, 1.0, total)))


@numpy_names
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The greatest over `dim`; NaN if any is; a tie shares the gradient evenly."""
    return _reduce(ops.reduce_max, as_tensor(input), dim, keepdim)


@numpy_names
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The least over `dim`; NaN if any is; a tie shares the gradient evenly."""
    return _reduce(ops.reduce_min, as_tensor(input), dim, keepdim)


def _arg(prim: Primitive, input: Any, dim: Any, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    if dim is None:
        found = prim(ops.reshape(x, shape=(x.type.size,)), axis=0)
        return ops.reshape(found, shape=(1,) * x.ndim) if keepdim else found  # type: ignore[no-any-return]
    if x.ndim == 0:
        normalize_dim(dim, 0)
        return full((), 0, int64)
    axis = normalize_dim(dim, x.ndim)
    found = prim(x, axis=axis)
    return _keep(found, x, (axis,)) if keepdim else found


@numpy_names
def argmax(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Where the greatest is (the first one, or the first NaN), as int64; flat by default."""
    return _arg(ops.argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Where the least is (the first one, or the first NaN), as int64; flat by default."""
    return _arg(ops.argmin, input, dim, keepdim)


def _extreme(
    reduce: Any, arg: Any, pair: Any, input: Any, dim: Any, keepdim: bool
) -> Tensor | ValuesIndices:
    x = as_tensor(input)
    if isinstance(dim, Tensor):
        return pair(x, dim)  # type: ignore[no-any-return]
    if dim is None:
        return reduce(x, None, keepdim)  # type: ignore[no-any-return]
    if x.ndim == 0:
        return ValuesIndices(math.clone(x), arg(x, dim))
    axis = normalize_dim(dim, x.ndim)
    indices = arg(x, axis, True)
    # The gradient goes to the index, as in torch.
    values = _take_along(x, indices, axis)
    if keepdim:
        return ValuesIndices(values, indices)
    shape = values.shape[:axis] + values.shape[axis + 1 :]
    return ValuesIndices(ops.reshape(values, shape=shape), ops.reshape(indices, shape=shape))


def _take_along(x: Tensor, index: Tensor, axis: int) -> Tensor:
    order = (*(i for i in range(x.ndim) if i != axis), axis)
    inverse = tuple(order.index(i) for i in range(x.ndim))
    last = x.ndim - 1
    found = ops.gather(
        ops.permute(x, axes=order), ops.permute(index, axes=order), axes=(last,), batch=last,
        wrap=False,
    )  # fmt: skip
    return ops.permute(found, axes=inverse)  # type: ignore[no-any-return]


@numpy_names
@composite("max")
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The greatest of all; with `dim` a named tuple of values and indices; with another tensor in
    place of `dim`, `maximum`."""
    return _extreme(amax, argmax, math.maximum, input, dim, keepdim)


@numpy_names
@composite("min")
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The least of all; with `dim` a named tuple of values and indices; with another tensor in
    place of `dim`, `minimum`."""
    return _extreme(amin, argmin, math.minimum, input, dim, keepdim)


def _truth(input: Any) -> Tensor:
    x = as_tensor(input)
    return x if x.dtype is bool_ else ops.cast(x, dtype=bool_)


@numpy_names
def any(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether some element is non-zero."""
    return _reduce(ops.reduce_any, _truth(input), dim, keepdim)


@numpy_names
def all(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether every element is non-zero."""
    return _reduce(ops.reduce_all, _truth(input), dim, keepdim)


@numpy_names
def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """How many elements are non-zero, as int64."""
    return sum(_truth(input), dim)


@numpy_names
@composite("norm")
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The p-norm over `dim` (all by default); gradient 0 where it is 0.

    Args:
        p: a number, inf, -inf, 0, or "fro" (the 2-norm).
    """
    x = as_tensor(input)
    if p in ("fro", None) or p == 2:
        total = _reduce(ops.reduce_sum, math.mul(x, x), dim, keepdim)
        return _unless_zero(total, math.sqrt)
    size = math.abs(x)
    if p == float("inf"):
        return amax(size, dim, keepdim)
    if p == float("-inf"):
        return amin(size, dim, keepdim)
    if p == 0:
        return _reduce(ops.reduce_sum, ops.cast(math.ne(x, 0), dtype=x.dtype), dim, keepdim)
    if p == 1:
        return _reduce(ops.reduce_sum, size, dim, keepdim)
    total = _reduce(ops.reduce_sum, _power(size, p), dim, keepdim)
    if p < 0:
        return math.pow(total, 1.0 / p)
    return _unless_zero(total, lambda t: math.pow(t, 1.0 / p))


def _power(size: Tensor, p: float) -> Tensor:
    """size**p; an element 0 gets gradient 0, also where the slope there is infinite (p < 1)."""
    if p > 1:
        return math.pow(size, p)
    zero = math.eq(size, 0.0)
    power = math.pow(math.where(zero, 1.0, size), p)
    return math.where(zero, 0.0 if p > 0 else float("inf"), power)


# -- softmax --------------------------------------------------------------------------------------


def _shift(x: Tensor, dim: Any) -> Tensor:
    """The maximum over `dim`, kept; a constant for gradients; 0 where it is infinite."""
    return _reduce(ops.reduce_max, x.alias(), dim, True)


@numpy_names
@composite("logsumexp")
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`, without overflow; all -inf gives -inf."""
    x = math.floating(input)
    axes = normalize_dims(dim, x.ndim)
    if builtins.any(x.shape[a] == 0 for a in axes):
        return math.log(_reduce(ops.reduce_sum, x, dim, keepdim))
    high = _shift(x, dim)
    high = math.where(math.isinf(high), 0.0, high)
    total = ops.reduce_sum(math.exp(math.sub(x, high)), axes=axes)
    low = ops.reshape(high, shape=total.shape)
    found = math.add(math.log(total), low)
    return _keep(found, x, axes) if keepdim else found


def _floating(input: Any, dtype: DType | None) -> Tensor:
    x = as_tensor(input)
    if dtype is None:
        dtype = x.dtype
    if not dtype.is_float:
        raise DTypeError(
            f"softmax is not implemented for {dtype.name}",
            loc=user_location(),
            operands=[str(x.type)],
            hint="pass dtype=gradc.float32",
        )
    return x if x.dtype is dtype else ops.cast(x, dtype=dtype)


@numpy_names
@composite("softmax")
def softmax(input: Any, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`; a row of -inf gives NaN."""
    x = _floating(input, dtype)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return math.exp(math.sub(x, x))
    if x.type.size == 0:
        return math.clone(x)
    e = math.exp(math.sub(x, _shift(x, axis)))
    # One division per row: the sum is at least 1, so that nothing overflows.
    scale = math.reciprocal(ops.reduce_sum(e, axes=(axis,)))
    return math.mul(e, _keep(scale, x, (axis,)))


@numpy_names
@composite("log_softmax")
def log_softmax(input: Any, dim: int, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)) along `dim`, without overflow."""
    x = _floating(input, dtype)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return math.sub(x, x)
    if x.type.size == 0:
        return math.clone(x)
    shifted = math.sub(x, _shift(x, axis))
    total = ops.reduce_sum(math.exp(shifted), axes=(axis,))
    return math.sub(shifted, _keep(math.log(total), x, (axis,)))


# -- scans and order ------------------------------------------------------------------------------


@numpy_names
def cumsum(input: Any, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums along `dim`; integers in int64."""
    x = _summable(input, dtype)
    axis = normalize_dim(dim, x.ndim)
    return math.clone(x) if x.ndim == 0 else ops.cumsum(x, axis=axis, reverse=False)


@numpy_names
@composite("cumprod")
def cumprod(input: Any, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`; integers in int64."""
    x = _summable(input, dtype)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return math.clone(x)
    # By doubling: after a step every element holds the product of twice as many.
    found, reach = x, 1
    while reach < dims.known(x.shape[axis]):
        found = ops.mul(found, _delayed(found, axis, reach))
        reach *= 2
    return math.clone(x) if found is x else found


def _delayed(x: Tensor, axis: int, by: int) -> Tensor:
    """`x` moved `by` elements along `axis`, with ones before it."""
    part = _range(x, axis, 0, dims.known(x.shape[axis]) - by)
    low, none = tuple(by if i == axis else 0 for i in range(x.ndim)), (0,) * x.ndim
    return ops.pad(part, scalar(1, x.dtype), low=low, high=none, interior=none)  # type: ignore[no-any-return]


def _range(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    low = tuple(start if i == axis else 0 for i in range(x.ndim))
    high = tuple(stop if i == axis else d for i, d in enumerate(x.shape))
    return ops.slice(x, start=low, stop=high, step=(1,) * x.ndim)  # type: ignore[no-any-return]


@numpy_names
@composite("diff")
def diff(input: Any, n: int = 1, dim: int = -1) -> Tensor:
    """Differences of neighbours along `dim`, taken `n` times; of bools whether they differ.

    Raises:
        ShapeError: a 0-d tensor.
    """
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        raise ShapeError("diff expects input to be at least one-dimensional", loc=user_location())
    for _ in range(builtins.min(n, dims.known(x.shape[axis]))):
        size = dims.known(x.shape[axis])
        high, low = _range(x, axis, 1, size), _range(x, axis, 0, size - 1)
        x = math.ne(high, low) if x.dtype.is_bool else math.sub(high, low)
    return x


def _sorted(x: Tensor, axis: int, descending: bool) -> ValuesIndices:
    positions = ops.iota(shape=x.shape, axis=axis, dtype=int64)
    values, indices = ops.sort(x, positions, axis=axis, descending=descending)
    return ValuesIndices(values, indices)


@numpy_names
@composite("sort")
def sort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = True
) -> ValuesIndices:
    """Sorted values and where they came from; always stable, NaN counts as greatest."""
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return ValuesIndices(math.clone(x), scalar(0, int64))
    return _sorted(x, axis, descending)


@numpy_names
def argsort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """Where the sorted values come from; always stable."""
    return sort(input, dim, descending).indices


@numpy_names
@composite("topk")
def topk(
    input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesIndices:
    """The k greatest (least) along `dim`, in order, and where they are.

    Raises:
        ArgumentError: `k` is not within the size of `dim`.
    """
    x = as_tensor(input)
    axis = normalize_dim(dim, x.ndim)
    size = dims.known(x.shape[axis]) if x.ndim else 1
    if not 0 <= k <= size:
        raise ArgumentError(
            f"selected index k out of range: {k} of {size}",
            loc=user_location(),
            operands=[str(x.type)],
        )
    if x.ndim == 0:
        return ValuesIndices(math.clone(x), scalar(0, int64))
    found = _sorted(x, axis, largest)
    return ValuesIndices(*(_range(t, axis, 0, k) for t in found))


@numpy_names
@composite("median")
def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The lower median of all; with `dim` a named tuple of values and indices; NaN if any is."""
    x = as_tensor(input)
    if dim is None:
        flat = ops.reshape(x, shape=(x.type.size,))
        return median(flat, 0).values if x.type.size else full((), float("nan"), x.dtype)
    axis = normalize_dim(dim, x.ndim)
    if x.ndim == 0:
        return ValuesIndices(math.clone(x), scalar(0, int64))
    if x.shape[axis] == 0:
        raise ShapeError("median: the dimension has size 0", operands=[str(x.type)])
    found = _sorted(x, axis, False)
    middle = (dims.known(x.shape[axis]) - 1) // 2
    values, indices = (_range(t, axis, middle, middle + 1) for t in found)
    if x.dtype.is_float:
        bad = amax(ops.cast(math.isnan(x), dtype=x.dtype), axis, True)
        values = math.where(math.gt(bad, 0), float("nan"), values)
    if keepdim:
        return ValuesIndices(values, indices)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return ValuesIndices(ops.reshape(values, shape=shape), ops.reshape(indices, shape=shape))


__all__ = [
    "ValuesIndices", "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "count_nonzero",
    "cumprod", "cumsum", "diff", "elementwise", "get_default_dtype", "log_softmax", "logsumexp",
    "max", "mean", "median", "min", "nanmean", "nansum", "norm", "prod", "softmax", "sort", "std",
    "std_mean", "sum", "topk", "var", "var_mean",
]  # fmt: skip
