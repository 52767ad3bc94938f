"""Convolution and pooling, with torch's signatures, over pads, windows and `conv`.

    conv2d(x, w, b, stride=2, padding="same")       max_pool2d(x, 2)       avg_pool2d(x, 3, 1, 1)

Operands are [N, C, sizes] or, without a batch, [C, sizes].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.graph.dims import known, known_shape
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import int64
from gradc.tracer.interpreter import as_tensor, constant, scalar
from gradc.tracer.rules.vjp_window import swap_channels
from gradc.tracer.tensor import Tensor

Ints = tuple[int, ...]
Sizes = int | Sequence[int]


# -- reading arguments ----------------------------------------------------------------------------


def read_sizes(name: str, value: Any, count: int, what: str = "convolution") -> Ints:
    """One number for all of `count` axes, or one for each.

    Raises:
        ArgumentError: neither.
    """
    if isinstance(value, (tuple, list)):
        found = tuple(int(n) for n in value)
        if len(found) == 1:
            return found * count
        if len(found) != count:
            raise ArgumentError(
                f"expected {name} to be a single integer value or a list of {count} values to "
                f"match the {what} dimensions, but got {name}={list(found)}",
                loc=user_location(),
            )
        return found
    return (int(value),) * count


def _positive(name: str, values: Ints) -> None:
    if any(n < 1 for n in values):
        raise ArgumentError(f"non-positive {name} is not supported", loc=user_location())


def _batched(name: str, x: Tensor, rank: int) -> Tensor:
    """`x` with a batch axis.

    Raises:
        ShapeError: it has neither rank + 1 nor rank + 2 axes.
    """
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got "
            f"input of size: {list(x.shape)}",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    return x if x.ndim == rank + 2 else ops.reshape(x, shape=(1, *x.shape))


def _unbatched(out: Tensor, like: Tensor) -> Tensor:
    return out if out.ndim == like.ndim else ops.reshape(out, shape=out.shape[1:])


def _padded(x: Tensor, low: Ints, high: Ints, value: Any = 0, gap: Ints | None = None) -> Tensor:
    """The last axes of `x` with fills around (cut where negative), and between elements."""
    rank = len(low)
    interior = gap or (0,) * rank
    if any(low) or any(high) or any(interior):
        front = (0,) * (x.ndim - rank)
        x = ops.pad(
            x, scalar(value, x.dtype), low=(*front, *(max(n, 0) for n in low)),
            high=(*front, *(max(n, 0) for n in high)), interior=(*front, *interior),
        )  # fmt: skip
    if min(*low, *high, 0) < 0:
        lead = x.ndim - rank
        start = (*(0 for _ in range(lead)), *(max(-n, 0) for n in low))
        ends = zip(known_shape(x.shape[lead:]), high)
        stop = (*x.shape[:lead], *(n + min(h, 0) for n, h in ends))
        x = ops.slice(x, start=start, stop=stop, step=(1,) * x.ndim)
    return x


# -- convolution ----------------------------------------------------------------------------------


def _require_weight(x: Tensor, w: Tensor, bias: Tensor | None, groups: int) -> None:
    operands = [f"input  {x.type}", f"weight  {w.type}"]
    size, features = list(w.shape), known(w.shape[0])
    if x.dtype is not w.dtype or (bias is not None and bias.dtype is not x.dtype):
        raise DTypeError(
            "Input type, weight type and bias type should be the same",
            loc=user_location(), operands=operands,
            hint="weight.to(input.dtype)",
        )  # fmt: skip
    if features < groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {size} instead", loc=user_location(), operands=operands,
        )  # fmt: skip
    if features % groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {size} instead", loc=user_location(), operands=operands,
        )  # fmt: skip
    channels = known(w.shape[1]) * groups
    if x.shape[1] != channels:
        raise ShapeError(
            f"Given groups={groups}, weight of size {size}, expected input{list(x.shape)} to have "
            f"{channels} channels, but got {x.shape[1]} channels instead",
            loc=user_location(), operands=operands,
        )  # fmt: skip


def _require_bias(w: Tensor, bias: Tensor | None, features: int) -> None:
    if bias is not None and bias.shape != (features,):
        raise ShapeError(
            f"Given weight of size {list(w.shape)}, expected bias to be 1-dimensional with "
            f"{features} elements, but got bias of size {list(bias.shape)} instead",
            loc=user_location(),
            operands=[f"bias  {bias.type}"],
        )


def _same_padding(kernel: Ints, stride: Ints, dilation: Ints) -> tuple[Ints, Ints]:
    if any(s != 1 for s in stride):
        raise ArgumentError(
            "padding='same' is not supported for strided convolutions", loc=user_location()
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)


def _padding(padding: Any, kernel: Ints, stride: Ints, dilation: Ints) -> tuple[Ints, Ints]:
    """Fills before and after every axis."""
    if padding == "same":
        return _same_padding(kernel, stride, dilation)
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        raise ArgumentError(
            f"Invalid padding string: {padding!r}", loc=user_location(), hint="'valid' or 'same'"
        )
    found = read_sizes("padding", padding, len(kernel))
    if any(n < 0 for n in found):
        raise ArgumentError("negative padding is not supported", loc=user_location())
    return found, found


def _require_room(x: Tensor, w: Tensor, dilation: Ints) -> None:
    size, kernel = known_shape(x.shape[2:]), known_shape(w.shape[2:])
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
    if any(k > n for n, k in zip(size, extent)):
        raise ShapeError(
            f"Calculated padded input size per channel: ({_times(size)}). Kernel size: "
            f"({_times(extent)}). Kernel size can't be greater than actual input size",
            loc=user_location(),
            operands=[f"input  {x.type} (padded)", f"weight  {w.type}"],
        )


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _with_bias(out: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return out
    return ops.add(out, ops.broadcast(bias, shape=out.shape, axes=(1,)))  # type: ignore[no-any-return]


def _operands(input: Any, weight: Any, bias: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    return as_tensor(input), as_tensor(weight), None if bias is None else as_tensor(bias)


def _convolution(rank: int) -> Callable[..., Tensor]:
    name = f"conv{rank}d"

    @composite("convolution")
    def conv(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        given, w, b = _operands(input, weight, bias)
        x = _batched(name, given, rank)
        count = max(w.ndim - 2, 0)
        steps, gaps = read_sizes("stride", stride, rank), read_sizes("dilation", dilation, rank)
        if count != rank:
            raise ShapeError(
                f"{name}: expected a weight of {rank + 2} dimensions, but got one of size "
                f"{list(w.shape)}", loc=user_location(), operands=[f"weight  {w.type}"],
            )  # fmt: skip
        _positive("stride", steps)
        _positive("dilation", gaps)
        _positive("groups", (groups,))
        low, high = _padding(padding, known_shape(w.shape[2:]), steps, gaps)
        _require_weight(x, w, b, groups)
        _require_bias(w, b, known(w.shape[0]))
        x = _padded(x, low, high)
        _require_room(x, w, gaps)
        out = ops.conv(x, w, stride=steps, dilation=gaps, groups=groups)
        return _unbatched(_with_bias(out, b), given)

    return conv


def _transposed(rank: int) -> Callable[..., Tensor]:
    name = f"conv_transpose{rank}d"

    @composite("convolution")
    def conv_transpose(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        dilation: Sizes = 1,
    ) -> Tensor:
        given, w, b = _operands(input, weight, bias)
        x = _batched(name, given, rank)
        steps, gaps = read_sizes("stride", stride, rank), read_sizes("dilation", dilation, rank)
        _positive("stride", steps)
        _positive("dilation", gaps)
        _positive("groups", (groups,))
        if w.ndim != rank + 2 or w.shape[0] != x.shape[1] or known(w.shape[0]) % groups:
            raise ShapeError(
                f"Given transposed=1, weight of size {list(w.shape)}, expected "
                f"input{list(x.shape)} to have {w.shape[0]} channels in {groups} groups, but got "
                f"{x.shape[1]} channels instead", loc=user_location(),
                operands=[f"input  {x.type}", f"weight  {w.type}"],
            )  # fmt: skip
        _require_bias(w, b, known(w.shape[1]) * groups)
        low = read_sizes("padding", padding, rank)
        extra = read_sizes("output_padding", output_padding, rank)
        if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps)):
            raise ArgumentError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding={list(extra)}, stride={list(steps)}, dilation={list(gaps)}",
                loc=user_location(),
            )
        reach = [d * (k - 1) for k, d in zip(known_shape(w.shape[2:]), gaps)]
        before = tuple(r - p for r, p in zip(reach, low))
        after = tuple(r - p + e for r, p, e in zip(reach, low, extra))
        x = _padded(x, before, after, gap=tuple(s - 1 for s in steps))
        kernel = swap_channels(w, groups)
        _require_room(x, kernel, gaps)
        out = ops.conv(x, kernel, stride=(1,) * rank, dilation=gaps, groups=groups)
        return _unbatched(_with_bias(out, b), given)

    return conv_transpose


_CONV_DOC = """The cross-correlation of input [N, C, {sizes}] (or without N) with weight
    [F, C/groups, {sizes}], plus bias [F]; the result is [N, F, {sizes}].

    Args:
        padding: zeros on both sides of every axis, or "valid" for none, or "same" for as many as
            keep the sizes (stride 1 only).

    Raises:
        ShapeError: ranks, channels, groups or bias do not fit, or the kernel is larger than the
            padded input.
        DTypeError: the dtypes differ.
        ArgumentError: a stride, dilation, padding or number of groups that is out of range.
    """
_TRANSPOSE_DOC = """The gradient of `conv{rank}d` with respect to its input, as an operation: input
    [N, C, {sizes}] (or without N), weight [C, F/groups, {sizes}], bias [F].

    Raises:
        ShapeError: ranks, channels or bias do not fit.
        ArgumentError: a stride, dilation or output_padding out of range.
    """
_SIZES = {1: "L", 2: "H, W", 3: "D, H, W"}

conv1d, conv2d, conv3d = (_convolution(rank) for rank in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(rank) for rank in (1, 2, 3))
for _rank, _function, _transpose in (
    (1, conv1d, conv_transpose1d), (2, conv2d, conv_transpose2d), (3, conv3d, conv_transpose3d),
):  # fmt: skip
    _function.__name__, _transpose.__name__ = f"conv{_rank}d", f"conv_transpose{_rank}d"
    _function.__doc__ = _CONV_DOC.format(sizes=_SIZES[_rank])
    _transpose.__doc__ = _TRANSPOSE_DOC.format(rank=_rank, sizes=_SIZES[_rank])


# -- pooling --------------------------------------------------------------------------------------


class _Pool:
    """The windows of a pooling: sizes, steps, fills, and their number along every axis."""

    def __init__(
        self, name: str, x: Tensor, rank: int, kernel: Any, stride: Any, padding: Any,
        dilation: Any, ceil_mode: bool,
    ) -> None:  # fmt: skip
        if x.ndim not in (rank + 1, rank + 2):
            raise ShapeError(
                f"{name}: Expected {rank + 1}D or {rank + 2}D (batch mode) tensor for input, but "
                f"got: {list(x.shape)}", loc=user_location(), operands=[f"input  {x.type}"],
            )  # fmt: skip
        self.x, self.rank = x, rank
        self.size = known_shape(x.shape[-rank:])
        self.kernel = read_sizes("kernel_size", kernel, rank, name)
        empty = stride is None or (isinstance(stride, (tuple, list)) and not stride)
        self.stride = read_sizes("stride", kernel if empty else stride, rank, name)
        self.padding = read_sizes("padding", padding, rank, name)
        self.dilation = read_sizes("dilation", dilation, rank, name)
        self._require_ranges(name)
        self.counts = self._counts(ceil_mode)
        if min(self.counts) < 1:
            channels = x.shape[-rank - 1]
            sizes = ["x".join(map(str, (channels, *n))) for n in (self.size, self.counts)]
            raise ShapeError(
                f"Given input size: ({sizes[0]}). Calculated output size: ({sizes[1]}). Output "
                "size is too small", loc=user_location(), operands=[f"input  {x.type}"],
            )  # fmt: skip

    def _require_ranges(self, name: str) -> None:
        for what, values in (("kernel size", self.kernel), ("stride", self.stride),
                             ("dilation", self.dilation)):  # fmt: skip
            if any(n < 1 for n in values):
                raise ArgumentError(
                    f"{name}: {what} should be greater than zero, but got {list(values)}",
                    loc=user_location(),
                )
        for p, k, d in zip(self.padding, self.kernel, self.dilation):
            if not 0 <= p <= ((k - 1) * d + 1) // 2:
                raise ArgumentError(
                    "pad should be at most half of effective kernel size, but got "
                    f"pad={p}, kernel_size={k} and dilation={d}", loc=user_location(),
                )  # fmt: skip

    def _counts(self, ceil_mode: bool) -> Ints:
        counts = []
        for n, k, s, p, d in zip(self.size, self.kernel, self.stride, self.padding, self.dilation):
            room = n + 2 * p - d * (k - 1) - 1
            count = (room + (s - 1 if ceil_mode else 0)) // s + 1
            if ceil_mode and (count - 1) * s >= n + p:  # the last one would start in the fill
                count -= 1
            counts.append(max(count, 0))
        return tuple(counts)

    def filled(self, value: Any) -> tuple[Tensor, dict[str, Any]]:
        """The operand with fills up to the end of the last window, and where the windows are."""
        reach = [
            (c - 1) * s + (k - 1) * d + 1
            for c, s, k, d in zip(self.counts, self.stride, self.kernel, self.dilation)
        ]
        high = tuple(r - n - p for r, n, p in zip(reach, self.size, self.padding))
        x = _padded(self.x, self.padding, high, value)
        axes = tuple(range(x.ndim - self.rank, x.ndim))
        places = {
            "axes": axes, "size": self.kernel, "stride": self.stride, "dilation": self.dilation,
        }  # fmt: skip
        return x, places


def _least(x: Tensor) -> float | int:
    return -float("inf") if x.dtype.is_float else int(x.dtype.min)


def _flat_index(pool: _Pool, position: Tensor) -> Tensor:
    """Positions within windows as row-major positions in the operand's last axes."""
    rest = ops.cast(position, dtype=int64)
    found: list[Tensor] = []
    for k in reversed(pool.kernel):
        found.append(math.remainder(rest, k))
        rest = math.floor_divide(rest, k)
    total: Tensor | None = None
    lead = rest.ndim - pool.rank
    for axis, at in enumerate(reversed(found)):
        start = ops.iota(shape=rest.shape, axis=lead + axis, dtype=int64)
        origin = math.sub(math.mul(start, pool.stride[axis]), pool.padding[axis])
        place = math.add(origin, math.mul(at, pool.dilation[axis]))
        # A window of -inf throughout may have found its fill.
        place = math.clamp(place, 0, pool.size[axis] - 1)
        total = place if total is None else math.add(math.mul(total, pool.size[axis]), place)
    assert total is not None
    return total


def _max_pool(rank: int) -> Callable[..., Any]:
    name = f"max_pool{rank}d"

    @composite(f"max_pool{rank}D_with_indices")
    def max_pool(
        input: Any,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        x = as_tensor(input)
        pool = _Pool(name, x, rank, kernel_size, stride, padding, dilation, ceil_mode)
        filled, places = pool.filled(_least(x))
        values, position = ops.window_max(filled, **places)
        return (values, _flat_index(pool, position)) if return_indices else values

    return max_pool


def _window_weights(pool: _Pool, count_include_pad: bool) -> np.ndarray[Any, Any]:
    """The number of elements each window is averaged over, for the last axes."""
    total = np.ones((), np.float64)
    for n, k, s, p, c in zip(pool.size, pool.kernel, pool.stride, pool.padding, pool.counts):
        start = np.arange(c) * s - p
        stop = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        total = total[..., None] * (stop - start)
    return total


def _avg_pool(rank: int) -> Callable[..., Tensor]:
    name = f"avg_pool{rank}d"

    @composite(f"avg_pool{rank}D")
    def avg_pool(
        input: Any,
        kernel_size: Sizes,
        stride: Any = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        x = as_tensor(input)
        if not x.dtype.is_float:
            raise DTypeError(
                f"{name}: not defined for {x.dtype.name}", loc=user_location(),
                operands=[f"input  {x.type}"], hint="input.float()",
            )  # fmt: skip
        if divisor_override == 0:
            raise ArgumentError("divisor must be not zero", loc=user_location())
        pool = _Pool(name, x, rank, kernel_size, stride, padding, 1, ceil_mode)
        filled, places = pool.filled(0)
        windows = ops.window(filled, **places)
        total = ops.reduce_sum(windows, axes=tuple(range(x.ndim, x.ndim + rank)))
        if divisor_override is not None:
            return math.div(total, divisor_override)
        weights = _window_weights(pool, count_include_pad)
        if (weights == weights.flat[0]).all():
            return math.div(total, float(weights.flat[0]))
        return math.div(total, constant(weights.astype(x.dtype.numpy)))

    return avg_pool


def _averaging(size: int, count: int) -> np.ndarray[Any, Any]:
    """[count, size]: row i averages the elements from floor(i*size/count) to
    ceil((i+1)*size/count)."""
    rows = np.zeros((count, size))
    for i in range(count):
        start, stop = i * size // count, -(-(i + 1) * size // count)
        rows[i, start:stop] = 1 / (stop - start)
    return rows


def _adaptive(rank: int) -> Callable[..., Tensor]:
    name = f"adaptive_avg_pool{rank}d"

    @composite(f"adaptive_avg_pool{rank}D")
    def adaptive_avg_pool(input: Any, output_size: Any) -> Tensor:
        x = as_tensor(input)
        if x.ndim not in (rank + 1, rank + 2):
            raise ShapeError(
                f"{name}(): Expected {rank + 1}D or {rank + 2}D tensor, but got {list(x.shape)}",
                loc=user_location(), operands=[f"input  {x.type}"],
            )  # fmt: skip
        size = known_shape(x.shape[-rank:])
        given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * rank
        wanted = tuple(n if w is None else int(w) for n, w in zip(size, given, strict=True))
        if min(wanted) < 1:
            raise ArgumentError(f"{name}: output sizes must be positive", loc=user_location())
        if all(n % w == 0 for n, w in zip(size, wanted)):
            return _blocks(x, size, wanted)
        for axis, (n, w) in enumerate(zip(size, wanted), x.ndim - rank):
            matrix = constant(_averaging(n, w).astype(x.dtype.numpy))
            found = ops.dot_general(x, matrix, contract=((axis,), (1,)), batch=((), ()))
            last = x.ndim - 1
            x = ops.permute(found, axes=(*range(axis), last, *range(axis, last)))
        return x

    return adaptive_avg_pool


def _blocks(x: Tensor, size: Ints, wanted: Ints) -> Tensor:
    """The mean of equal blocks."""
    lead = x.ndim - len(size)
    parts = [p for n, w in zip(size, wanted) for p in (w, n // w)]
    split = ops.reshape(x, shape=(*x.shape[:lead], *parts))
    axes = tuple(range(lead + 1, split.ndim, 2))
    count = prod(size) // prod(wanted)
    return math.div(ops.reduce_sum(split, axes=axes), count)


_MAX_DOC = """The greatest of every window of the last {rank} axes; a NaN is greater than all.

    Args:
        stride: the kernel's size by default.
        return_indices: also give the row-major position of each in the last axes, as int64.

    Raises:
        ShapeError: the rank does not fit, or no window fits.
        ArgumentError: a size, stride, dilation or padding out of range.
    """
_AVG_DOC = """The mean of every window of the last {rank} axes.

    Args:
        stride: the kernel's size by default.
        count_include_pad: whether padding counts among the elements averaged.
        divisor_override: what to divide by instead of the number of elements.

    Raises:
        ShapeError: the rank does not fit, or no window fits.
        DTypeError: the input is not floating.
        ArgumentError: a size, stride or padding out of range, or a divisor of 0.
    """
_ADAPTIVE_DOC = """Means over the last {rank} axes, `output_size` of them (None: the
    axis as it is); output i covers elements floor(i*n/out) to ceil((i+1)*n/out).

    Raises:
        ShapeError: the rank does not fit.
        ArgumentError: an output size that is not positive.
    """

max_pool1d, max_pool2d = (_max_pool(rank) for rank in (1, 2))
avg_pool1d, avg_pool2d = (_avg_pool(rank) for rank in (1, 2))
adaptive_avg_pool1d, adaptive_avg_pool2d = (_adaptive(rank) for rank in (1, 2))
for _rank, *_functions in (
    (1, max_pool1d, avg_pool1d, adaptive_avg_pool1d),
    (2, max_pool2d, avg_pool2d, adaptive_avg_pool2d),
):  # fmt: skip
    _kinds = (("max_pool", _MAX_DOC), ("avg_pool", _AVG_DOC), ("adaptive_avg_pool", _ADAPTIVE_DOC))
    for _pooling, (_kind, _doc) in zip(_functions, _kinds, strict=True):
        _pooling.__name__, _pooling.__doc__ = f"{_kind}{_rank}d", _doc.format(rank=_rank)
