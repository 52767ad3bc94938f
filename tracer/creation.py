"""Making tensors.

    tensor([[1.0, 2.0]])      zeros(2, 3)      arange(10)      from_numpy(array)

Python floats become the default dtype (float32), ints int64; NumPy arrays keep their dtype.
"""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentError, ArgumentTypeError, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import read_shape, read_size
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, bool_, float64, int64
from gradc.tracer.interpreter import as_tensor as _share
from gradc.tracer.interpreter import constant, native
from gradc.tracer.interpreter import full as _full
from gradc.tracer.promotion import get_default_dtype
from gradc.tracer.storage import Array
from gradc.tracer.tensor import Tensor
from gradc.tracer.tensor import new_tensor as _owning


def _finish(t: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        t.requires_grad = True
    return t


def _python_array(data: Any, dtype: DType | None) -> Array:
    """Nested lists of numbers as an array; tensors inside must hold one element."""
    try:
        array = np.asarray(_plain(data))
    except ValueError:
        raise ShapeError(
            "expected sequences of equal length: the nesting is ragged", loc=user_location(4)
        ) from None
    if dtype is not None:
        return _cast(array, dtype)
    if array.dtype.kind == "f" or array.size == 0:
        return array.astype(get_default_dtype().numpy)
    return array


def _plain(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data]
    return data.item() if isinstance(data, Tensor) else data


def _cast(array: Array, dtype: DType) -> Array:
    if array.dtype.kind not in "biuf":
        raise ArgumentTypeError(
            f"a tensor cannot be made of {array.dtype} data", loc=user_location(5)
        )
    return _as_dtype(array, dtype)


def _as_dtype(array: Array, dtype: DType) -> Array:
    """The array as `dtype`, with gradc's rule for floats that are no integers of it."""
    if array.dtype == dtype.numpy:
        return array
    found = ops.cast(_owning(native(array)), dtype=dtype) if CONTEXT.trace is None else None
    return array.astype(dtype.numpy) if found is None else found.array()


def tensor(data: Any, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: a number, nested lists, an array, or a tensor.

    Raises:
        ShapeError: ragged nesting.
        ArgumentTypeError: data that is not numeric.
    """
    if isinstance(data, Tensor):
        copy = math.clone(data.detach()) if dtype is None else math.clone(data.detach().to(dtype))
        return _finish(copy, requires_grad)
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
        if array.dtype.kind not in "biuf":
            native(array)
        if CONTEXT.trace is not None:
            copy = math.clone(_share(np.asarray(data)))
            return copy if dtype is None else copy.to(dtype)
        array = np.array(array if dtype is None else _cast(array, dtype), order="C")
        return _finish(_owning(native(array)), requires_grad)
    array = _python_array(data, dtype)
    if array.dtype.kind not in "biuf":
        raise ArgumentTypeError(
            f"a tensor cannot be made of {type(data).__name__}", loc=user_location()
        )
    return _finish(constant(array), requires_grad)


def as_tensor(data: Any, dtype: DType | None = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can."""
    found = _share(data) if isinstance(data, (Tensor, np.ndarray)) else tensor(data, dtype=dtype)
    return found if dtype is None or found.dtype is dtype else found.to(dtype)


def asarray(
    data: Any, dtype: DType | None = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`as_tensor`, with a copy on request."""
    found = as_tensor(data, dtype)
    return _finish(math.clone(found) if copy else found, requires_grad)


def from_numpy(array: Array) -> Tensor:
    """A tensor on the array's own memory, of its dtype.

    Raises:
        ArgumentTypeError: not an array, or a dtype gradc has not.
    """
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(
            f"expected np.ndarray (got {type(array).__name__})", loc=user_location()
        )
    return _share(array)


def _filled(
    size: Sequence[Any], value: Any, dtype: DType | None, requires_grad: bool
) -> Tensor:
    shape = read_shape(size)
    if any(s < 0 for s in shape):
        raise ShapeError(f"a size is negative: {list(shape)}", loc=user_location(4))
    return _finish(_full(shape, value, dtype or get_default_dtype()), requires_grad)


def zeros(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of this shape."""
    return _filled(size, 0, dtype, requires_grad)


def ones(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of this shape."""
    return _filled(size, 1, dtype, requires_grad)


def empty(*size: Any, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of this shape whose contents must not be relied on (zeros)."""
    return _filled(size, 0, dtype, requires_grad)


def full(
    size: Sequence[Any], fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere; the dtype is that of the value."""
    if isinstance(fill_value, Tensor):
        found = math.clone(fill_value.expand(read_shape((size,))))
        return found if dtype is None else found.to(dtype)
    if dtype is None:
        kinds: dict[type, DType] = {bool: bool_, int: int64}
        dtype = kinds.get(type(fill_value), get_default_dtype())
    return _filled((tuple(size),), fill_value, dtype, requires_grad)


def zeros_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of `input`."""
    return _filled((input.shape,), 0, dtype or input.dtype, requires_grad)


def ones_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of `input`."""
    return _filled((input.shape,), 1, dtype or input.dtype, requires_grad)


empty_like = zeros_like


def full_like(
    input: Tensor, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere, of the shape and dtype of `input`."""
    return _filled((input.shape,), fill_value, dtype or input.dtype, requires_grad)


def new_zeros(
    self: Tensor, *size: Any, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of this shape and of the tensor's dtype."""
    return _filled(size, 0, dtype or self.dtype, requires_grad)


def new_ones(
    self: Tensor, *size: Any, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones of this shape and of the tensor's dtype."""
    return _filled(size, 1, dtype or self.dtype, requires_grad)


def new_empty(
    self: Tensor, *size: Any, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """`empty` of this shape and of the tensor's dtype."""
    return _filled(size, 0, dtype or self.dtype, requires_grad)


def new_full(
    self: Tensor,
    size: Sequence[Any],
    fill_value: Any,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value everywhere, of this shape and of the tensor's dtype."""
    return full(size, fill_value, dtype=dtype or self.dtype, requires_grad=requires_grad)


def new_tensor(
    self: Tensor, data: Any, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """A copy of `data` as a tensor of this one's dtype."""
    return tensor(data, dtype=dtype or self.dtype, requires_grad=requires_grad)


def eye(
    n: Any, m: Any = None, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones on the diagonal of an n x m matrix, zeros elsewhere."""
    shape = (read_size(n), read_size(n if m is None else m))
    if 0 in shape:
        return _filled((shape,), 0, dtype, requires_grad)
    rows = ops.iota(shape=shape, axis=0, dtype=int64)
    columns = ops.iota(shape=shape, axis=1, dtype=int64)
    found = ops.cast(ops.eq(rows, columns), dtype=dtype or get_default_dtype())
    return _finish(found, requires_grad)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end (from 0 if only one bound is given).

    Raises:
        ArgumentError: a step of 0, or bounds on the wrong side.
    """
    if end is None:
        start, end = 0, start
    numbers = [_number(v) for v in (start, end, step)]
    start, end, step = numbers
    if step == 0:
        raise ArgumentError("step must be nonzero", loc=user_location())
    if (end - start) * step < 0:
        raise ArgumentError(
            "upper bound and lower bound inconsistent with step sign", loc=user_location()
        )
    floating = any(isinstance(v, float) for v in numbers)
    dtype = dtype or (get_default_dtype() if floating else int64)
    count = max(_math.ceil((end - start) / step), 0)
    index = ops.iota(shape=(count,), axis=0, dtype=float64 if floating else int64)
    if floating or dtype.is_float:
        index = index.to(float64)
        found = math.add(math.mul(index, float(step)), float(start)).to(dtype)
    else:
        found = math.add(math.mul(index, step), start).to(dtype)
    return _finish(found, requires_grad)


def _number(value: Any) -> int | float:
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Tensor) and value.dtype.is_float:
        return float(value)
    return read_size(value)


def linspace(
    start: Any, end: Any, steps: Any, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included."""
    count = read_size(steps)
    if count < 0:
        raise ArgumentError("number of steps must be non-negative", loc=user_location())
    low, high = float(start), float(end)
    dtype = dtype or get_default_dtype()
    if count < 2:
        return _finish(_full((count,), low, dtype), requires_grad)
    index = ops.iota(shape=(count,), axis=0, dtype=float64)
    gap = (high - low) / (count - 1)
    rising = math.add(math.mul(index, gap), low)
    # From the middle on counted from the end, so that the last element is exact.
    falling = math.sub(high, math.mul(math.sub(float(count - 1), index), gap))
    found = math.where(math.lt(index, count / 2), rising, falling)
    return _finish(found.to(dtype), requires_grad)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The places of the lower triangle of a row x col matrix, as int64[2, n]."""
    return constant(np.stack(np.tril_indices(row, offset, col)))


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The places of the upper triangle of a row x col matrix, as int64[2, n]."""
    return constant(np.stack(np.triu_indices(row, offset, col)))
