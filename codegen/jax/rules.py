"""One JAX rule per primitive: the same meaning as the NumPy rules, over `jax.lax` and `jax.numpy`.

    jax_rule[ops.tanh] = lax.tanh
jax_rule[ops.sigmoid] = lax.logistic

A rule takes the operands and the eqn's parameters. What can fail (an index, an integer division)
computes something harmless here; the condition is watched by `emit`, which raises on the host.
Imported only when JAX is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradc.tracer import ops
from gradc.tracer.graph.types import DType
from gradc.tracer.rules.table import RuleTable

Value = Any
jax_rule: RuleTable[Callable[..., Any]] = RuleTable("jax")

# -- elementwise ----------------------------------------------------------------------------------

jax_rule[ops.neg] = lax.neg
# By comparison, so that JAX's own gradient at 0 is 0, as torch's.
jax_rule[ops.abs] = lambda x: jnp.where(x > 0, x, jnp.where(x < 0, -x, _unsigned(x)))
jax_rule[ops.sign] = lambda x: (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)
jax_rule[ops.floor] = lax.floor
jax_rule[ops.ceil] = lax.ceil
jax_rule[ops.trunc] = jnp.trunc
jax_rule[ops.round] = lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
jax_rule[ops.sqrt] = lax.sqrt
jax_rule[ops.rsqrt] = lambda x: 1 / lax.sqrt(x)
jax_rule[ops.exp] = lax.exp
jax_rule[ops.expm1] = lax.expm1
jax_rule[ops.log] = lax.log
jax_rule[ops.log1p] = lax.log1p
jax_rule[ops.sin] = lax.sin
jax_rule[ops.cos] = lax.cos
jax_rule[ops.tan] = lax.tan
jax_rule[ops.asin] = lax.asin
jax_rule[ops.acos] = lax.acos
jax_rule[ops.atan] = lax.atan
jax_rule[ops.sinh] = lax.sinh
jax_rule[ops.cosh] = lax.cosh
jax_rule[ops.tanh] = lax.tanh
jax_rule[ops.sigmoid] = lax.logistic
jax_rule[ops.asinh] = lax.asinh
jax_rule[ops.acosh] = lax.acosh
jax_rule[ops.atanh] = lax.atanh
jax_rule[ops.erf] = lax.erf
jax_rule[ops.erfinv] = lax.erf_inv
jax_rule[ops.lgamma] = lax.lgamma
jax_rule[ops.digamma] = lax.digamma
jax_rule[ops.bitwise_not] = lax.bitwise_not
jax_rule[ops.add] = lax.add
jax_rule[ops.sub] = lax.sub
jax_rule[ops.mul] = lax.mul
jax_rule[ops.div] = lax.div
jax_rule[ops.atan2] = lax.atan2
jax_rule[ops.maximum] = lax.max
jax_rule[ops.minimum] = lax.min
jax_rule[ops.bitwise_and] = lax.bitwise_and
jax_rule[ops.bitwise_or] = lax.bitwise_or
jax_rule[ops.bitwise_xor] = lax.bitwise_xor
jax_rule[ops.eq] = lax.eq
jax_rule[ops.ne] = lax.ne
jax_rule[ops.lt] = lax.lt
jax_rule[ops.le] = lax.le
jax_rule[ops.gt] = lax.gt
jax_rule[ops.ge] = lax.ge
jax_rule[ops.isnan] = jnp.isnan
jax_rule[ops.isinf] = jnp.isinf
jax_rule[ops.select] = lax.select


def _unsigned(x: Value) -> Value:
    """x that is 0 or NaN, without a sign and without a gradient."""
    return lax.stop_gradient(jnp.abs(x)) if _is_float(x) else x


def _is_float(x: Value) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _safe_divisor(y: Value) -> Value:
    return jnp.where(y == 0, jnp.ones_like(y), y)


def _truncated(x: Value, y: Value) -> tuple[Value, Value]:
    """The quotient towards 0 and its remainder; the least integer by -1 wraps."""
    y = _safe_divisor(y)
    if not jnp.issubdtype(x.dtype, jnp.signedinteger):
        return lax.div(x, y), lax.rem(x, y)
    minus = y == -1
    divisor = jnp.where(minus, jnp.ones_like(y), y)
    quotient, rest = lax.div(x, divisor), lax.rem(x, divisor)
    return jnp.where(minus, -x, quotient), jnp.where(minus, jnp.zeros_like(x), rest)


@jax_rule.rule(ops.floor_divide)
def _floor_divide(x: Value, y: Value) -> Value:
    if _is_float(x):
        return jnp.floor_divide(x, y)
    quotient, rest = _truncated(x, y)
    return jnp.where((rest != 0) & ((rest < 0) != (y < 0)), quotient - 1, quotient)


@jax_rule.rule(ops.remainder)
def _remainder(x: Value, y: Value) -> Value:
    if _is_float(x):
        return jnp.remainder(x, y)
    _, rest = _truncated(x, y)
    return jnp.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


jax_rule[ops.trunc_divide] = lambda x, y: _truncated(x, y)[0]
jax_rule[ops.fmod] = lambda x, y: lax.rem(x, y) if _is_float(x) else _truncated(x, y)[1]


@jax_rule.rule(ops.pow)
def _pow(x: Value, y: Value) -> Value:
    if _is_float(x):
        return lax.pow(x, y)
    result, base, left = jnp.ones_like(x), x, y
    for _ in range(x.dtype.itemsize * 8):
        result = jnp.where((left & 1) != 0, result * base, result)
        base = base * base
        left = lax.shift_right_logical(left, jnp.ones_like(left))
    if not jnp.issubdtype(x.dtype, jnp.signedinteger):
        return result
    odd = jnp.where((y & 1) != 0, jnp.full_like(x, -1), jnp.ones_like(x))
    inverse = jnp.where(x == 1, jnp.ones_like(x), jnp.where(x == -1, odd, jnp.zeros_like(x)))
    return jnp.where(y < 0, inverse, result)


def _shift(shift: Callable[..., Value], fill: Callable[[Value], Value]) -> Callable[..., Value]:
    def rule(x: Value, y: Value) -> Value:
        width = x.dtype.itemsize * 8
        inside = (y >= 0) & (y < width)
        return jnp.where(inside, shift(x, jnp.where(inside, y, jnp.zeros_like(y))), fill(x))

    return rule


jax_rule[ops.shift_left] = _shift(lax.shift_left, jnp.zeros_like)
jax_rule[ops.shift_right] = _shift(
    lambda x, y: jnp.right_shift(x, y), lambda x: jnp.where(x < 0, jnp.full_like(x, -1), 0)
    if jnp.issubdtype(x.dtype, jnp.signedinteger) else jnp.zeros_like(x),
)  # fmt: skip


@jax_rule.rule(ops.cast)
def _cast(x: Value, *, dtype: DType) -> Value:
    if dtype.is_bool:
        return x != 0
    if not (dtype.is_integer and _is_float(x)):
        return x.astype(dtype.name)
    # Saturating by hand: bounds that the float type cannot hold exactly are met from inside.
    whole = jnp.trunc(x)
    high = whole >= float(dtype.max)
    low = whole <= float(dtype.min)
    inside = jnp.where(high | low | jnp.isnan(x), 0, whole).astype(dtype.name)
    limits = jnp.iinfo(dtype.name)  # type: ignore[no-untyped-call]
    return jnp.where(high, limits.max, jnp.where(low, limits.min, inside)).astype(dtype.name)


@jax_rule.rule(ops.bitcast)
def _bitcast(x: Value, *, dtype: DType) -> Value:
    return lax.bitcast_convert_type(x, jnp.dtype(dtype.name))


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


@jax_rule.rule(ops.threefry2x32)
def _threefry(k0: Value, k1: Value, c0: Value, c1: Value) -> tuple[Value, Value]:
    """Threefry-2x32, 20 rounds (Salmon et al., 2011)."""
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = c0 + k0, c1 + k1
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))
            x1 = x0 ^ x1
        x0 = x0 + keys[(block + 1) % 3]
        x1 = x1 + keys[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


# -- reductions, scans, order ---------------------------------------------------------------------

jax_rule[ops.reduce_sum] = lambda x, axes: jnp.sum(x, axis=axes, dtype=x.dtype)
jax_rule[ops.reduce_prod] = lambda x, axes: jnp.prod(x, axis=axes, dtype=x.dtype)
jax_rule[ops.reduce_max] = lambda x, axes: jnp.max(x, axis=axes) if axes else x
jax_rule[ops.reduce_min] = lambda x, axes: jnp.min(x, axis=axes) if axes else x
jax_rule[ops.reduce_any] = lambda x, axes: jnp.any(x, axis=axes) if axes else x
jax_rule[ops.reduce_all] = lambda x, axes: jnp.all(x, axis=axes) if axes else x
jax_rule[ops.argmax] = lambda x, axis: jnp.argmax(x, axis=axis).astype("int64")
jax_rule[ops.argmin] = lambda x, axis: jnp.argmin(x, axis=axis).astype("int64")


@jax_rule.rule(ops.cumsum)
def _cumsum(x: Value, *, axis: int, reverse: bool) -> Value:
    return lax.cumsum(x, axis=axis, reverse=reverse)


@jax_rule.rule(ops.sort)
def _sort(*operands: Value, axis: int, descending: bool) -> Any:
    order = jnp.argsort(operands[0], axis=axis, stable=True, descending=descending)
    found = tuple(jnp.take_along_axis(x, order, axis=axis) for x in operands)
    return found if len(found) > 1 else found[0]


# -- movement -------------------------------------------------------------------------------------

jax_rule[ops.reshape] = lambda x, shape: lax.reshape(x, shape)
jax_rule[ops.permute] = lambda x, axes: lax.transpose(x, axes)
jax_rule[ops.broadcast] = lambda x, shape, axes: lax.broadcast_in_dim(x, shape, axes)
jax_rule[ops.slice] = lambda x, start, stop, step: lax.slice(x, start, stop, step)
jax_rule[ops.pad] = lambda x, value, low, high, interior: lax.pad(
    x, value, tuple(zip(low, high, interior))
)
jax_rule[ops.flip] = lambda x, axes: lax.rev(x, axes)
jax_rule[ops.concat] = lambda *xs, axis: lax.concatenate(xs, axis)
jax_rule[ops.iota] = lambda shape, axis, dtype: lax.broadcasted_iota(
    jnp.dtype(dtype.name), shape, axis
)
jax_rule[ops.constant] = lambda value: jnp.asarray(value.array)

# -- indexing -------------------------------------------------------------------------------------


def wrapped(index: Value, size: int, wrap: bool) -> Value:
    """Indices counted from the front."""
    return jnp.where(index < 0, index + size, index) if wrap else index


def _places(
    x: Value, indices: tuple[Value, ...], axes: tuple[int, ...], batch: int, wrap: bool
) -> Any:
    """An advanced index for x with its indexed axes moved behind the batch axes."""
    shape = indices[0].shape
    batches = tuple(lax.broadcasted_iota(jnp.int64, shape, i) for i in range(batch))
    inner = tuple(wrapped(i, x.shape[a], wrap) for i, a in zip(indices, axes))
    return batches + inner


def _moved(x: Value, axes: tuple[int, ...], batch: int) -> tuple[int, ...]:
    rest = tuple(a for a in range(batch, x.ndim) if a not in axes)
    return tuple(range(batch)) + axes + rest


@jax_rule.rule(ops.gather)
def _gather(x: Value, *indices: Value, axes: tuple[int, ...], batch: int, wrap: bool) -> Value:
    order = _moved(x, axes, batch)
    places = _places(x, indices, axes, batch, wrap)
    return lax.transpose(x, order).at[places].get(mode="clip")


@jax_rule.rule(ops.scatter)
def _scatter(
    x: Value,
    updates: Value,
    *indices: Value,
    axes: tuple[int, ...],
    batch: int,
    wrap: bool,
    combiner: str,
) -> Value:
    order = _moved(x, axes, batch)
    inverse = tuple(order.index(i) for i in range(x.ndim))
    at = lax.transpose(x, order).at[_places(x, indices, axes, batch, wrap)]
    if combiner == "set":
        found = _last_wins(x, updates, indices, axes, batch, wrap, order)
    else:
        method: Any = {"add": at.add, "mul": at.multiply, "min": at.min, "max": at.max}[combiner]
        found = method(updates, mode="drop")
    return lax.transpose(found, inverse)


def _last_wins(
    x: Value,
    updates: Value,
    indices: tuple[Value, ...],
    axes: tuple[int, ...],
    batch: int,
    wrap: bool,
    order: tuple[int, ...],
) -> Value:
    """XLA leaves open which of several updates of one place wins: the last one's number does."""
    moved = lax.transpose(x, order)
    places = _places(x, indices, axes, batch, wrap)
    if updates.size == 0:
        return moved
    count = int(indices[0].size)
    numbers = jnp.arange(count, dtype=jnp.int64).reshape(indices[0].shape)
    shape = moved.shape[: batch + len(axes)]
    winner = jnp.full(shape, -1, jnp.int64).at[places].max(numbers, mode="drop")
    flat = updates.reshape((count, *updates.shape[indices[0].ndim :]))
    chosen = flat[jnp.clip(winner, 0, count - 1)]
    hit = (winner >= 0).reshape(shape + (1,) * (moved.ndim - len(shape)))
    return jnp.where(hit, chosen, moved)


# -- contraction, effects -------------------------------------------------------------------------


@jax_rule.rule(ops.dot_general)
def _dot_general(a: Value, b: Value, *, contract: Any, batch: Any) -> Value:
    return lax.dot_general(
        a, b, (contract, batch), precision=lax.Precision.HIGHEST, preferred_element_type=a.dtype
    )


@jax_rule.rule(ops.conv)
def _conv(x: Value, w: Value, *, stride: Any, dilation: Any, groups: int) -> Value:
    return lax.conv_general_dilated(
        x, w, stride, "VALID", rhs_dilation=dilation, feature_group_count=groups,
        precision=lax.Precision.HIGHEST, preferred_element_type=x.dtype,
    )  # fmt: skip


@jax_rule.rule(ops.window)
def _window(x: Value, *, axes: Any, size: Any, stride: Any, dilation: Any) -> Value:
    """One strided slice per position of the window: XLA fuses them, and pads them back."""
    shape = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(
        (x.shape[a] for a in axes), size, stride, dilation, strict=True)]  # fmt: skip
    parts = []
    for position in product(*map(range, size)):
        start, stop, step = [0] * x.ndim, list(x.shape), [1] * x.ndim
        for a, k, s, d, n in zip(axes, position, stride, dilation, shape, strict=True):
            start[a], stop[a], step[a] = k * d, k * d + (n - 1) * s + 1, s
        parts.append(lax.slice(x, start, stop, step))
    return jnp.stack(parts, -1).reshape(*parts[0].shape, *size)


@jax_rule.rule(ops.window_max)
def _window_max(x: Value, *, size: Any, **places: Any) -> Value:
    flat = _window(x, size=size, **places)
    flat = flat.reshape(*flat.shape[: x.ndim], prod(size))  # not -1: there may be no elements
    position = jnp.argmax(flat, -1)
    if _is_float(x):
        nan = jnp.isnan(flat)
        last = flat.shape[-1] - 1 - jnp.argmax(nan[..., ::-1], -1)
        position = jnp.where(nan.any(-1), last, position)
    value = jnp.take_along_axis(flat, position[..., None], -1)[..., 0]
    return value, position.astype("int32")


jax_rule[ops.check] = lambda p, message: ()

__all__ = ["jax", "jax_rule", "wrapped"]
