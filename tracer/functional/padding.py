"""Filling around a tensor: `pad(x, (1, 1), mode="reflect")`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_to
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, ShapeError
from gradc.tracer.functional.joining import cat, narrow
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import as_tensor, scalar
from gradc.tracer.tensor import Tensor


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

    Args:
        mode: "constant", "reflect" (without the edge), "replicate" (the edge) or "circular".
        value: the fill of "constant", 0 by default.

    Raises:
        ArgumentError: an odd number of widths, too many, an unknown mode, or a width that the
            mode cannot fill.
    """
    x = as_tensor(input)
    if len(pad) % 2 or len(pad) // 2 > x.ndim:
        raise ArgumentError(
            f"pad: {len(pad)} widths do not fit a tensor of {x.ndim} dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        return pad_axes(x, widths, 0 if value is None else value)
    if mode not in _EDGES or value is not None:
        raise ArgumentError(
            f"pad: mode {mode!r} is not known, or takes no value", loc=user_location()
        )
    for axis, (low, high) in enumerate(widths):
        if low or high:
            x = _extend(x, axis, low, high, mode)
    return x


def _reflected(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    size = dims.known(x.shape[axis])
    before, after = narrow(x, axis, 1, low), narrow(x, axis, size - 1 - high, high)
    return ops.flip(before, axes=(axis,)), ops.flip(after, axes=(axis,))


def _repeated(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    def copies(at: int, count: int) -> Tensor:
        edge = narrow(x, axis, at, 1)
        return broadcast_to(edge, tuple(count if i == axis else d for i, d in enumerate(x.shape)))

    return copies(0, low), copies(dims.known(x.shape[axis]) - 1, high)


def _wrapped(x: Tensor, axis: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    size = dims.known(x.shape[axis])
    return narrow(x, axis, size - low, low), narrow(x, axis, 0, high)


# What stands before and after an axis, and the widest there can be.
_EDGES: dict[str, tuple[Callable[..., tuple[Tensor, Tensor]], Callable[[int], float]]] = {
    "reflect": (_reflected, lambda size: size - 1),
    "replicate": (_repeated, lambda size: math.inf if size else 0),
    "circular": (_wrapped, lambda size: size),
}


def _extend(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    """One axis filled from itself; negative widths cut."""
    edges, reach = _EDGES[mode]
    size = dims.known(x.shape[axis])
    if max(low, high) > reach(size) or size + min(low, 0) + min(high, 0) < 1:
        raise ArgumentError(
            f"pad: the {mode} widths {low} and {high} do not fit dimension {axis} of size {size}",
            loc=user_location(),
            operands=[f"input  {x.type}"],
        )
    before, after = edges(x, axis, max(low, 0), max(high, 0))
    middle = narrow(x, axis, max(-low, 0), size - max(-low, 0) - max(-high, 0))
    return cat([before, middle, after], axis)
