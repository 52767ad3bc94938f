"""The gradient rules: one vector-Jacobian product per operand of every primitive.

A rule's parameter names say what it needs, and so what a record saves:

    g           the cotangent of the output          (gs: of all outputs)
    x, y, z     the operands                         (xs: all of them, indices: the integer ones)
    out         the output                           (outs: all of them)
    types       the operands' types, params: the eqn's parameters; both are free

Rules are written over strict ops, so that they run eagerly, in a trace, and under another
backward. Conventions at kinks are torch's: abs and relu have gradient 0 at 0, extrema share it
evenly, maximum gives a tie half each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.dims import known
from gradc.tracer.graph.ir import Params
from gradc.tracer.graph.types import TensorType, bool_, int64
from gradc.tracer.interpreter import full, scalar
from gradc.tracer.rules import vjp_window as windows
from gradc.tracer.rules.table import RuleTable
from gradc.tracer.tensor import Tensor

Types = Sequence[TensorType]


class _NotDifferentiable:
    """The cell of a primitive whose output has no gradient."""

    def __repr__(self) -> str:
        return "NOT_DIFFERENTIABLE"


NOT_DIFFERENTIABLE = _NotDifferentiable()

vjp: RuleTable[Any] = RuleTable("vjp")


# -- helpers --------------------------------------------------------------------------------------


def _like(t: Tensor, value: float) -> Tensor:
    return full(t.shape, value, t.dtype)


def _scale(t: Tensor, factor: float) -> Tensor:
    return ops.mul(t, _like(t, factor))  # type: ignore[no-any-return]


def _one_minus(t: Tensor) -> Tensor:
    return ops.sub(_like(t, 1), t)  # type: ignore[no-any-return]


def _one_plus(t: Tensor) -> Tensor:
    return ops.add(_like(t, 1), t)  # type: ignore[no-any-return]


def _square(t: Tensor) -> Tensor:
    return ops.mul(t, t)  # type: ignore[no-any-return]


def _zero_where(p: Tensor, t: Tensor) -> Tensor:
    return ops.select(p, _like(t, 0), t)  # type: ignore[no-any-return]


def _keep_where(p: Tensor, t: Tensor) -> Tensor:
    return ops.select(p, t, _like(t, 0))  # type: ignore[no-any-return]


def _zeros(g: Tensor) -> Tensor:
    return _like(g, 0)


# -- elementwise, one operand ---------------------------------------------------------------------

vjp[ops.neg] = (lambda g: ops.neg(g),)
vjp[ops.abs] = (lambda g, x: ops.mul(g, ops.sign(x)),)
vjp[ops.sign] = (_zeros,)
vjp[ops.floor] = (_zeros,)
vjp[ops.ceil] = (_zeros,)
vjp[ops.trunc] = (_zeros,)
vjp[ops.round] = (_zeros,)
vjp[ops.sqrt] = (lambda g, out: ops.div(g, _scale(out, 2)),)
vjp[ops.rsqrt] = (lambda g, out: ops.mul(_scale(g, -0.5), ops.mul(out, _square(out))),)
vjp[ops.exp] = (lambda g, out: ops.mul(g, out),)
vjp[ops.expm1] = (lambda g, out: ops.mul(g, _one_plus(out)),)
vjp[ops.log] = (lambda g, x: ops.div(g, x),)
vjp[ops.log1p] = (lambda g, x: ops.div(g, _one_plus(x)),)
vjp[ops.sin] = (lambda g, x: ops.mul(g, ops.cos(x)),)
vjp[ops.cos] = (lambda g, x: ops.neg(ops.mul(g, ops.sin(x))),)
vjp[ops.tan] = (lambda g, out: ops.mul(g, _one_plus(_square(out))),)
vjp[ops.asin] = (lambda g, x: ops.div(g, ops.sqrt(_one_minus(_square(x)))),)
vjp[ops.acos] = (lambda g, x: ops.neg(ops.div(g, ops.sqrt(_one_minus(_square(x))))),)
vjp[ops.atan] = (lambda g, x: ops.div(g, _one_plus(_square(x))),)
vjp[ops.sinh] = (lambda g, x: ops.mul(g, ops.cosh(x)),)
vjp[ops.cosh] = (lambda g, x: ops.mul(g, ops.sinh(x)),)
vjp[ops.tanh] = (lambda g, out: ops.mul(g, _one_minus(_square(out))),)
vjp[ops.sigmoid] = (lambda g, out: ops.mul(ops.mul(g, _one_minus(out)), out),)
vjp[ops.asinh] = (lambda g, x: ops.div(g, ops.sqrt(_one_plus(_square(x)))),)
vjp[ops.acosh] = (lambda g, x: ops.div(g, ops.sqrt(ops.sub(_square(x), _like(x, 1)))),)
vjp[ops.atanh] = (lambda g, x: ops.div(g, _one_minus(_square(x))),)
vjp[ops.erf] = (
    lambda g, x: ops.mul(g, _scale(ops.exp(ops.neg(_square(x))), 2 / sqrt(pi))),
)
vjp[ops.erfinv] = (lambda g, out: ops.mul(g, _scale(ops.exp(_square(out)), sqrt(pi) / 2)),)
vjp[ops.lgamma] = (lambda g, x: ops.mul(g, ops.digamma(x)),)


def _trigamma(x: Tensor) -> Tensor:
    """The derivative of digamma: recurrence up to 6, the asymptotic series, and reflection."""
    reflected = ops.lt(x, _like(x, 0.5))
    sine = ops.sin(_scale(x, pi))
    y = ops.select(reflected, _one_minus(x), x)
    total = _like(x, 0)
    for k in range(6):
        term = ops.add(y, _like(y, k))
        total = ops.add(total, ops.div(_like(y, 1), _square(term)))
    w = ops.add(y, _like(y, 6))
    inverse = ops.div(_like(w, 1), w)
    square = _square(inverse)
    series = _like(w, 0)
    for bernoulli in (5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6):
        series = ops.mul(ops.add(series, _like(w, bernoulli)), square)
    tail = ops.mul(inverse, ops.add(_one_plus(_scale(inverse, 0.5)), series))
    direct = ops.add(total, tail)
    mirror = ops.sub(ops.div(_like(x, pi * pi), _square(sine)), direct)
    return ops.select(reflected, mirror, direct)  # type: ignore[no-any-return]


vjp[ops.digamma] = (lambda g, x: ops.mul(g, _trigamma(x)),)
vjp[ops.bitwise_not] = NOT_DIFFERENTIABLE

# -- elementwise, two operands --------------------------------------------------------------------

vjp[ops.add] = (lambda g: g, lambda g: g)
vjp[ops.sub] = (lambda g: g, lambda g: ops.neg(g))
vjp[ops.mul] = (lambda g, y: ops.mul(g, y), lambda g, x: ops.mul(g, x))
vjp[ops.div] = (
    lambda g, y: ops.div(g, y),
    lambda g, y, out: ops.neg(ops.mul(g, ops.div(out, y))),
)
vjp[ops.floor_divide] = (_zeros, _zeros)
vjp[ops.trunc_divide] = NOT_DIFFERENTIABLE
vjp[ops.remainder] = (
    lambda g: g,
    lambda g, x, y: ops.neg(ops.mul(g, ops.floor_divide(x, y))),
)
vjp[ops.fmod] = (
    lambda g: g,
    lambda g, x, y: ops.neg(ops.mul(g, ops.trunc(ops.div(x, y)))),
)


def _pow_base(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # y * x**(y-1), and 0 where y is 0 whatever x is.
    slope = ops.mul(y, ops.pow(x, ops.sub(y, _like(y, 1))))
    return _zero_where(ops.eq(y, _like(y, 0)), ops.mul(g, slope))


def _pow_exponent(g: Tensor, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    # x**y * log(x), and 0 where x is 0 and y is not negative.
    zero = ops.bitwise_and(ops.eq(x, _like(x, 0)), ops.ge(y, _like(y, 0)))
    return _zero_where(zero, ops.mul(g, ops.mul(out, ops.log(x))))


vjp[ops.pow] = (_pow_base, _pow_exponent)


def _over_square_radius(t: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # At the origin the angle has no slope; torch gives 0.
    radius = ops.add(_square(x), _square(y))
    origin = ops.eq(radius, _like(radius, 0))
    return _zero_where(origin, ops.div(t, ops.select(origin, _like(radius, 1), radius)))


def _atan2_first(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return ops.mul(g, _over_square_radius(y, x, y))  # type: ignore[no-any-return]


def _atan2_second(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return ops.mul(g, _over_square_radius(ops.neg(x), x, y))  # type: ignore[no-any-return]


vjp[ops.atan2] = (_atan2_first, _atan2_second)


def _extremum(loses: Any) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The loser gets nothing, a tie half each; with a NaN nobody loses, as in torch."""

    def first(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        shared = ops.select(ops.eq(x, y), _scale(g, 0.5), g)
        return _zero_where(loses(x, y), shared)

    def second(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
        shared = ops.select(ops.eq(x, y), _scale(g, 0.5), g)
        return _zero_where(loses(y, x), shared)

    return first, second


vjp[ops.maximum] = _extremum(ops.lt)
vjp[ops.minimum] = _extremum(ops.gt)
vjp[ops.select] = (
    None,
    lambda g, x: _keep_where(x, g),
    lambda g, x: _zero_where(x, g),
)


def _cast_back(g: Tensor, types: Types) -> Tensor | None:
    if not types[0].dtype.is_float:
        return None
    return ops.cast(g, dtype=types[0].dtype)  # type: ignore[no-any-return]


vjp[ops.cast] = (_cast_back,)

for _prim in (
    ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor, ops.shift_left, ops.shift_right, ops.eq,
    ops.ne, ops.lt, ops.le, ops.gt, ops.ge, ops.isnan, ops.isinf, ops.bitcast, ops.threefry2x32,
    ops.argmax, ops.argmin, ops.reduce_any, ops.reduce_all, ops.iota, ops.constant, ops.check,
):  # fmt: skip
    vjp[_prim] = NOT_DIFFERENTIABLE

# -- reductions and scans -------------------------------------------------------------------------


def _spread(t: Tensor, type: TensorType, axes: tuple[int, ...]) -> Tensor:
    """A reduced value at every place it was reduced from."""
    kept = tuple(i for i in range(type.ndim) if i not in axes)
    return ops.broadcast(t, shape=type.shape, axes=kept)  # type: ignore[no-any-return]


vjp[ops.reduce_sum] = (lambda g, types, params: _spread(g, types[0], params["axes"]),)


def _extreme_share(g: Tensor, x: Tensor, out: Tensor, types: Types, params: Params) -> Tensor:
    # All places that hold the extreme (or NaN, where that won) share the gradient evenly.
    best = _spread(out, types[0], params["axes"])
    both_nan = ops.bitwise_and(ops.isnan(x), ops.isnan(best))
    hit = ops.cast(ops.bitwise_or(ops.eq(x, best), both_nan), dtype=g.dtype)
    count = ops.reduce_sum(hit, axes=params["axes"])
    share = _spread(ops.div(g, count), types[0], params["axes"])
    return ops.mul(hit, share)  # type: ignore[no-any-return]


vjp[ops.reduce_max] = (_extreme_share,)
vjp[ops.reduce_min] = (_extreme_share,)


def _cumulative_product(t: Tensor, axis: int, reverse: bool) -> Tensor:
    """Products of all elements before (after, when reversed) each one, by doubling."""
    size = known(t.shape[axis])
    result = _shift(t, axis, 1, reverse, 1.0)
    distance = 1
    while distance < size:
        result = ops.mul(result, _shift(result, axis, distance, reverse, 1.0))
        distance *= 2
    return result


def _shift(t: Tensor, axis: int, by: int, reverse: bool, fill: float) -> Tensor:
    size = known(t.shape[axis])
    kept = max(size - by, 0)
    start, stop = [0] * t.ndim, [known(d) for d in t.shape]
    low, high = [0] * t.ndim, [0] * t.ndim
    if reverse:
        start[axis], high[axis] = size - kept, size - kept
    else:
        stop[axis], low[axis] = kept, size - kept
    part = ops.slice(t, start=tuple(start), stop=tuple(stop), step=(1,) * t.ndim)
    widths = {"low": tuple(low), "high": tuple(high), "interior": (0,) * t.ndim}
    return ops.pad(part, scalar(fill, t.dtype), **widths)  # type: ignore[no-any-return]


def _prod_back(g: Tensor, x: Tensor, types: Types, params: Params) -> Tensor:
    # The product of all the others, without a division, so that zeros are right.
    axes = params["axes"]
    if not axes:
        return g
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    order = (*kept, *axes)
    moved = ops.permute(x, axes=order)
    rest = tuple(x.shape[i] for i in kept)
    length = int(np.prod([known(x.shape[i]) for i in axes]))
    flat = ops.reshape(moved, shape=(*rest, length))
    last = len(rest)
    others = ops.mul(
        _cumulative_product(flat, last, False), _cumulative_product(flat, last, True)
    )
    unmoved = ops.reshape(others, shape=moved.shape)
    inverse = tuple(int(i) for i in np.argsort(order))
    return ops.mul(_spread(g, types[0], axes), ops.permute(unmoved, axes=inverse))  # type: ignore[no-any-return]


vjp[ops.reduce_prod] = (_prod_back,)
vjp[ops.cumsum] = (
    lambda g, params: ops.cumsum(g, axis=params["axis"], reverse=not params["reverse"]),
)


def _sort_back(gs: list[Tensor], xs: list[Tensor], params: Params) -> list[Tensor | None]:
    # Every sorted element's cotangent goes back to where the element came from.
    axis, key = params["axis"], xs[0]
    positions = ops.iota(shape=key.shape, axis=axis, dtype=int64)
    order = ops.sort(key, positions, **params)[1]
    return [_put_along(g, order, axis) if x.dtype.is_float else None for g, x in zip(gs, xs)]


def _put_along(t: Tensor, index: Tensor, axis: int) -> Tensor:
    """`t` sent along `axis` to the places of an index of the same shape."""
    last = t.ndim - 1
    order = (*(i for i in range(t.ndim) if i != axis), axis)
    inverse = tuple(int(i) for i in np.argsort(order))
    moved, where = ops.permute(t, axes=order), ops.permute(index, axes=order)
    zeros = full(moved.shape, 0, t.dtype)
    places = {"axes": (last,), "batch": last, "wrap": False}
    found = ops.scatter(zeros, moved, where, combiner="add", **places)
    return ops.permute(found, axes=inverse)  # type: ignore[no-any-return]


vjp[ops.sort] = _sort_back

# -- movement -------------------------------------------------------------------------------------

vjp[ops.reshape] = (lambda g, types: ops.reshape(g, shape=types[0].shape),)
vjp[ops.permute] = (
    lambda g, params: ops.permute(g, axes=tuple(int(i) for i in np.argsort(params["axes"]))),
)
vjp[ops.flip] = (lambda g, params: ops.flip(g, axes=params["axes"]),)


def _broadcast_back(g: Tensor, types: Types, params: Params) -> Tensor:
    source, axes = types[0], params["axes"]
    repeated = tuple(
        a
        for a in range(g.ndim)
        if a not in axes or (source.shape[axes.index(a)] == 1 and g.shape[a] != 1)
    )
    if repeated:
        g = ops.reduce_sum(g, axes=repeated)
    return g if g.shape == source.shape else ops.reshape(g, shape=source.shape)


vjp[ops.broadcast] = (_broadcast_back,)


def _slice_back(g: Tensor, types: Types, params: Params) -> Tensor:
    low, high, interior = [], [], []
    for start, step, d, n in zip(params["start"], params["step"], types[0].shape, g.shape):
        size, count = known(d), known(n)
        if count == 0:
            low.append(0)
            high.append(size)
        else:
            low.append(start)
            high.append(size - 1 - (start + (count - 1) * step))
        interior.append(step - 1)
    widths = {"low": tuple(low), "high": tuple(high), "interior": tuple(interior)}
    return ops.pad(g, scalar(0, g.dtype), **widths)  # type: ignore[no-any-return]


vjp[ops.slice] = (_slice_back,)


def _unpad(g: Tensor, types: Types, params: Params) -> Tensor:
    """The part of `g` that lies where the padded operand's elements are."""
    step = tuple(gap + 1 for gap in params["interior"])
    start = tuple(min(low, known(d)) for low, d in zip(params["low"], g.shape))
    stop = tuple(
        lo + (known(d) - 1) * s + 1 if known(d) else lo
        for lo, d, s in zip(start, types[0].shape, step)
    )
    return ops.slice(g, start=start, stop=stop, step=step)  # type: ignore[no-any-return]


def _pad_value(g: Tensor, types: Types, params: Params) -> Tensor:
    every = tuple(range(g.ndim))
    inside = ops.reduce_sum(_unpad(g, types, params), axes=every)
    return ops.sub(ops.reduce_sum(g, axes=every), inside)  # type: ignore[no-any-return]


vjp[ops.pad] = (_unpad, _pad_value)


def _concat_back(g: Tensor, types: Types, params: Params) -> list[Tensor]:
    axis, position = params["axis"], 0
    parts = []
    for type in types:
        start, stop = [0] * g.ndim, [known(d) for d in g.shape]
        start[axis], stop[axis] = position, position + known(type.shape[axis])
        position = stop[axis]
        parts.append(ops.slice(g, start=tuple(start), stop=tuple(stop), step=(1,) * g.ndim))
    return parts


vjp[ops.concat] = _concat_back

# -- indexing -------------------------------------------------------------------------------------


def _gather_back(
    g: Tensor, indices: Sequence[Tensor], types: Types, params: Params
) -> list[Tensor | None]:
    source = types[0]
    zeros = full(source.shape, 0, source.dtype)
    return [ops.scatter(zeros, g, *indices, combiner="add", **params), *[None] * len(indices)]


vjp[ops.gather] = _gather_back


def _scatter_back(
    g: Tensor, xs: list[Tensor], outs: list[Tensor], params: Params
) -> list[Tensor | None]:
    indices = xs[2:]
    places = {k: v for k, v in params.items() if k != "combiner"}
    combiner = params["combiner"]
    if combiner == "add":
        first: Tensor = g
        second = ops.gather(g, *indices, **places)
    elif combiner == "set":
        first, second = _scatter_set_back(g, xs, places)
    elif combiner == "mul":
        first, second = _scatter_mul_back(g, xs, outs[0], places)
    else:
        first, second = _scatter_extreme_back(g, xs, outs[0], places)
    return [first, second, *[None] * len(indices)]


def _scatter_set_back(g: Tensor, xs: list[Tensor], places: Any) -> tuple[Tensor, Tensor]:
    # With equal places only the last update is in the result: the one whose number is found there.
    base, updates, *indices = xs
    hidden = ops.scatter(
        full(base.shape, False, bool_), full(updates.shape, True, bool_), *indices,
        combiner="set", **places,
    )  # fmt: skip
    count = int(np.prod([known(d) for d in updates.shape]))
    flat = ops.iota(shape=(count,), axis=0, dtype=int64) if count else None
    if flat is None:
        return _zero_where(hidden, g), full(updates.shape, 0, g.dtype)
    numbers = ops.reshape(flat, shape=updates.shape)
    winner = ops.scatter(
        full(base.shape, -1, int64), numbers, *indices, combiner="set", **places
    )
    won = ops.eq(ops.gather(winner, *indices, **places), numbers)
    return _zero_where(hidden, g), _keep_where(won, ops.gather(g, *indices, **places))


def _scatter_mul_back(
    g: Tensor, xs: list[Tensor], out: Tensor, places: Any
) -> tuple[Tensor, Tensor]:
    base, updates, *indices = xs
    ones = full(base.shape, 1, base.dtype)
    factor = ops.scatter(ones, updates, *indices, combiner="mul", **places)
    spread = ops.gather(ops.mul(g, out), *indices, **places)
    return ops.mul(g, factor), ops.div(spread, updates)


def _scatter_extreme_back(
    g: Tensor, xs: list[Tensor], out: Tensor, places: Any
) -> tuple[Tensor, Tensor]:
    # All candidates that equal the result share the gradient evenly.
    base, updates, *indices = xs
    hit = ops.cast(ops.eq(base, out), dtype=g.dtype)
    picked = ops.eq(updates, ops.gather(out, *indices, **places))
    picks = ops.cast(picked, dtype=g.dtype)
    count = ops.scatter(hit, picks, *indices, combiner="add", **places)
    share = ops.div(g, count)
    return ops.mul(hit, share), ops.mul(picks, ops.gather(share, *indices, **places))


vjp[ops.scatter] = _scatter_back

# -- contraction ----------------------------------------------------------------------------------


def _dot_operand(g: Tensor, other: Tensor, types: Types, params: Params, which: int) -> Tensor:
    """The cotangent of operand `which`: g contracted with the other one's free axes."""
    mine, theirs = which, 1 - which
    batch, contract = params["batch"], params["contract"]
    used = [set(batch[i]) | set(contract[i]) for i in (0, 1)]
    free = [[a for a in range(types[i].ndim) if a not in used[i]] for i in (0, 1)]
    n_batch, n_first = len(batch[0]), len(free[0])
    in_g = (
        range(n_batch, n_batch + n_first),
        range(n_batch + n_first, n_batch + n_first + len(free[1])),
    )
    pairs = {
        "contract": (tuple(in_g[theirs]), tuple(free[theirs])),
        "batch": (tuple(range(n_batch)), batch[theirs]),
    }
    result = ops.dot_general(g, other, **pairs)
    # Axes now: batch, my free ones, then the contracted ones in the other operand's order.
    by_theirs = sorted(range(len(contract[theirs])), key=lambda i: contract[theirs][i])
    order = [*batch[mine], *free[mine], *(contract[mine][i] for i in by_theirs)]
    inverse = tuple(int(i) for i in np.argsort(order))
    if inverse == tuple(range(len(inverse))):
        return result  # type: ignore[no-any-return]
    return ops.permute(result, axes=inverse)  # type: ignore[no-any-return]


vjp[ops.dot_general] = (
    lambda g, y, types, params: _dot_operand(g, y, types, params, 0),
    lambda g, x, types, params: _dot_operand(g, x, types, params, 1),
)

# -- windows --------------------------------------------------------------------------------------

vjp[ops.window] = (windows.window_back,)
vjp[ops.window_max] = (windows.window_max_back,)
vjp[ops.conv] = (windows.conv_input_back, windows.conv_kernel_back)
