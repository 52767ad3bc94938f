"""Rewrites of movement: compositions, movement that moves nothing, broadcasts late.

    permute(permute(x)) -> permute(x)        broadcast(reshape(x, [n,1])) -> broadcast(x)
    exp(broadcast(x)) -> broadcast(exp(x))   slice(concat(x, y)) -> slice(y)

Movement computes nothing, so all of these are exact; where an elementwise eqn is moved it is
applied to the same numbers, fewer times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradc.codegen.passes.rewrite import Rewriter, RuleSet
from gradc.tracer import ops
from gradc.tracer.graph.dims import Dim, Shape
from gradc.tracer.graph.ir import Atom, Eqn, Literal
from gradc.tracer.ops.primitive import PRIMITIVES

rules = RuleSet("movement")

Axes = tuple[int, ...]


def _not_unit(shape: Shape, axes: Iterable[int]) -> Axes:
    return tuple(a for a in axes if shape[a] != 1)


# -- movement that moves nothing ----------------------------------------------------------------


@rules.on(ops.reshape, ops.broadcast)
def same_shape(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """reshape(x) -> x and broadcast(x) -> x where the shape stays."""
    (x,) = eqn.inputs
    return x if x.type == eqn.output.type else None


@rules.on(ops.permute)
def permute_nothing(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """permute(x; 0, 1, 2) -> x."""
    axes = eqn.params.axes
    return eqn.inputs[0] if list(axes) == sorted(axes) else None


@rules.on(ops.slice)
def slice_all(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(x) -> x where every element is taken."""
    (x,) = eqn.inputs
    return x if x.type == eqn.output.type else None


@rules.on(ops.flip)
def flip_little(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """flip(x; axes) -> flip(x; axes of a size other than 1), and x if none is left."""
    (x,) = eqn.inputs
    axes = _not_unit(x.type.shape, eqn.params.axes)
    if not axes:
        return x
    return rw.emit(ops.flip, x, axes=axes) if axes != eqn.params.axes else None


@rules.on(ops.pad)
def pad_nothing(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """pad(x, v; widths 0) -> x."""
    (x, _), widths = eqn.inputs, eqn.params
    moves = any((*widths.low, *widths.high)) or x.type != eqn.output.type
    return None if moves else x


@rules.on(ops.concat)
def concat_little(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """concat(x, empty) -> x, and concat(concat(x, y), z) -> concat(x, y, z) along one axis."""
    axis = eqn.params.axis
    parts: list[Atom] = []
    for x in eqn.inputs:
        inner = rw.producer(x, ops.concat)
        parts += inner.inputs if inner is not None and inner.params.axis == axis else [x]
    parts = [x for x in parts if x.type.shape[axis] != 0] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    return rw.emit(ops.concat, *parts, axis=axis) if tuple(parts) != eqn.inputs else None


# -- compositions -------------------------------------------------------------------------------


@rules.on(ops.reshape)
def reshape_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """reshape(reshape(x)) -> reshape(x)."""
    inner = rw.producer(eqn.inputs[0], ops.reshape)
    return None if inner is None else rw.emit(ops.reshape, *inner.inputs, **eqn.params)


@rules.on(ops.permute)
def permute_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """permute(permute(x; p); q) -> permute(x; p[q])."""
    inner = rw.producer(eqn.inputs[0], ops.permute)
    if inner is None:
        return None
    axes = tuple(inner.params.axes[a] for a in eqn.params.axes)
    return rw.emit(ops.permute, *inner.inputs, axes=axes)


@rules.on(ops.permute)
def permute_of_unit_axes(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """permute(x) -> reshape(x) where only axes of size 1 change places."""
    (x,) = eqn.inputs
    moved = _not_unit(x.type.shape, eqn.params.axes)
    if list(moved) != sorted(moved):
        return None
    return rw.emit(ops.reshape, x, shape=eqn.output.type.shape)


@rules.on(ops.broadcast)
def broadcast_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """broadcast(broadcast(x; a); b) -> broadcast(x; b[a])."""
    inner = rw.producer(eqn.inputs[0], ops.broadcast)
    if inner is None:
        return None
    axes = tuple(eqn.params.axes[a] for a in inner.params.axes)
    return rw.emit(ops.broadcast, *inner.inputs, shape=eqn.params.shape, axes=axes)


@rules.on(ops.broadcast)
def broadcast_of_unit_axes(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """broadcast(x[n,1]) -> broadcast(reshape(x, [n])): the operand has no axis of size 1 then."""
    (x,) = eqn.inputs
    kept = _not_unit(x.type.shape, range(x.type.ndim))
    if len(kept) == x.type.ndim:
        return None
    squeezed = rw.emit(ops.reshape, x, shape=tuple(x.type.shape[a] for a in kept))
    axes = tuple(eqn.params.axes[a] for a in kept)
    return rw.emit(ops.broadcast, squeezed, shape=eqn.params.shape, axes=axes)


@rules.on(ops.broadcast)
def broadcast_that_repeats_nothing(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """broadcast(x) -> reshape(x) where only axes of size 1 are new."""
    (x,) = eqn.inputs
    if isinstance(x, Literal) or x.type.size != eqn.output.type.size or x.type.size == 0:
        return None
    return rw.emit(ops.reshape, x, shape=eqn.params.shape)


@rules.on(ops.slice)
def slice_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(slice(x)) -> slice(x): bounds and steps compose."""
    inner = rw.producer(eqn.inputs[0], ops.slice)
    if inner is None:
        return None
    a, b = inner.params, eqn.params
    step = tuple(s * t for s, t in zip(a.step, b.step))
    start = tuple(low + s * first for low, s, first in zip(a.start, a.step, b.start))
    stop = tuple(
        min(high, low + s * last)
        for low, high, s, last in zip(a.start, a.stop, a.step, b.stop)
    )
    start = tuple(min(first, last) for first, last in zip(start, stop))
    return rw.emit(ops.slice, *inner.inputs, start=start, stop=stop, step=step)


@rules.on(ops.flip)
def flip_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """flip(flip(x; a); b) -> flip(x; axes in one of a and b)."""
    inner = rw.producer(eqn.inputs[0], ops.flip)
    if inner is None:
        return None
    axes = tuple(sorted(set(inner.params.axes) ^ set(eqn.params.axes)))
    return rw.emit(ops.flip, *inner.inputs, axes=axes)


# -- movement of one value everywhere -----------------------------------------------------------


@rules.on(ops.reshape, ops.permute, ops.slice, ops.flip)
def move_literal(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """Moving elements that are all one literal gives that literal in the new shape."""
    literal = rw.literal(eqn.inputs[0])
    return None if literal is None else rw.full(literal.value, eqn.output.type)


@rules.on(ops.pad, ops.concat)
def join_literal(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """pad and concat of elements that are all one literal."""
    literals = [rw.literal(x) for x in eqn.inputs]
    first = literals[0]
    if first is None or any(x != first for x in literals):
        return None
    return rw.full(first.value, eqn.output.type)


# -- parts of something made of parts -------------------------------------------------------------


@rules.on(ops.slice)
def slice_of_concat(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(concat(x, y)) -> slice(y) where only elements of y are taken."""
    inner = rw.producer(eqn.inputs[0], ops.concat)
    if inner is None:
        return None
    axis, low = inner.params.axis, 0
    start, stop, step = eqn.params.start, eqn.params.stop, eqn.params.step
    for x in inner.inputs:
        size = x.type.shape[axis]
        if not isinstance(size, int):
            return None
        if low <= start[axis] and stop[axis] <= low + size:
            start = (*start[:axis], start[axis] - low, *start[axis + 1 :])
            stop = (*stop[:axis], stop[axis] - low, *stop[axis + 1 :])
            return rw.emit(ops.slice, x, start=start, stop=stop, step=step)
        low += size
    return None


@rules.on(ops.slice)
def slice_of_pad(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(pad(x)) -> slice(x) where only elements of x are taken (no interior padding)."""
    inner = rw.producer(eqn.inputs[0], ops.pad)
    if inner is None or any(inner.params.interior):
        return None
    x, low = inner.inputs[0], inner.params.low
    start = tuple(a - lo for a, lo in zip(eqn.params.start, low))
    stop = tuple(a - lo for a, lo in zip(eqn.params.stop, low))
    for first, last, size in zip(start, stop, x.type.shape):
        if not isinstance(size, int) or first < 0 or last > size:
            return None
    return rw.emit(ops.slice, x, start=start, stop=stop, step=eqn.params.step)


@rules.on(ops.slice)
def slice_of_broadcast(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """slice(broadcast(x)) -> broadcast(slice(x)): repeated axes only get shorter."""
    inner = rw.producer(eqn.inputs[0], ops.broadcast)
    if inner is None:
        return None
    (x,) = inner.inputs
    axes, shape = inner.params.axes, inner.params.shape
    if any(x.type.shape[i] != shape[a] for i, a in enumerate(axes)):
        return None
    bounds = {k: tuple(eqn.params[k][a] for a in axes) for k in ("start", "stop", "step")}
    part = rw.emit(ops.slice, x, **bounds)
    return rw.emit(ops.broadcast, part, shape=eqn.output.type.shape, axes=axes)


# -- reductions -----------------------------------------------------------------------------------

_REDUCTIONS = (
    ops.reduce_sum, ops.reduce_prod, ops.reduce_max, ops.reduce_min, ops.reduce_any,
    ops.reduce_all,
)  # fmt: skip
_ORDERLESS = (ops.reduce_max, ops.reduce_min, ops.reduce_any, ops.reduce_all)


@rules.on(*_REDUCTIONS)
def reduce_of_unit_axes(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """reduce(x[n,1,m]; 1, 2) -> reduce(reshape(x, [n,m]); 1); x itself if nothing is left.

    Exact: the sum, product or extreme of one element is that element.
    """
    (x,) = eqn.inputs
    shape, axes = x.type.shape, eqn.params.axes
    gone = [a for a in axes if shape[a] == 1]
    if len(gone) == len(axes):
        return rw.emit(ops.reshape, x, shape=eqn.output.type.shape)
    if not gone:
        return None
    kept = [a for a in range(x.type.ndim) if a not in gone]
    squeezed = rw.emit(ops.reshape, x, shape=tuple(shape[a] for a in kept))
    left = tuple(i for i, a in enumerate(kept) if a in axes)
    return rw.emit(eqn.prim, squeezed, axes=left)


@rules.on(*_ORDERLESS)
def reduce_twice(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """max(max(x; a); b) -> max(x; a, b), and min, any, all. Exact: the order does not matter."""
    inner = rw.producer(eqn.inputs[0], eqn.prim)
    if inner is None:
        return None
    (x,) = inner.inputs
    kept = [a for a in range(x.type.ndim) if a not in inner.params.axes]
    axes = {*inner.params.axes, *(kept[a] for a in eqn.params.axes)}
    return rw.emit(eqn.prim, x, axes=tuple(sorted(axes)))


@rules.on(*_ORDERLESS)
def extreme_of_repeats(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """max(broadcast(x)) -> max(x): repeats do not change an extreme."""
    inner = rw.producer(eqn.inputs[0], ops.broadcast)
    if inner is None:
        return None
    (x,) = inner.inputs
    at, shape = inner.params.axes, inner.params.shape
    repeated = [a for a in eqn.params.axes if a not in at]
    whole = all(x.type.shape[i] == shape[a] for i, a in enumerate(at))
    if not repeated or not whole or any(shape[a] == 0 for a in repeated):
        return None
    kept = [a for a in range(len(shape)) if a not in repeated]
    fewer = rw.emit(
        ops.broadcast,
        x,
        shape=tuple(shape[a] for a in kept),
        axes=tuple(kept.index(a) for a in at),
    )
    left = tuple(i for i, a in enumerate(kept) if a in eqn.params.axes)
    return rw.emit(eqn.prim, fewer, axes=left)


# -- broadcasts late ------------------------------------------------------------------------------

_ELEMENTWISE = tuple(p for p in PRIMITIVES.values() if p.family == "elementwise")


@rules.on(*_ELEMENTWISE)
def compute_before_broadcast(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """exp(broadcast(x)) -> broadcast(exp(x)), and f(broadcast(x), broadcast(y), 2.0) alike.

    Where every operand repeats along an axis the eqn is applied before repeating. Not to eqns
    that may fail: the element they report would be another.
    """
    shape = eqn.output.type.shape
    if not shape or eqn.prim.can_fail(*(a.type for a in eqn.inputs)):
        return None
    sources = [rw.producer(a, ops.broadcast) for a in eqn.inputs]
    made = [s for s in sources if s is not None]
    if len(made) < len(sources) or all(isinstance(s.inputs[0], Literal) for s in made):
        return None  # literals alone are for `fold`
    used = sorted({a for s in made for a in s.params.axes})
    if all(shape[a] == 1 for a in range(len(shape)) if a not in used):
        return None
    inner: Shape = tuple(shape[a] for a in used)
    operands = [_broadcast_within(rw, s, used, inner) for s in made]
    small = rw.emit(eqn.prim, *operands, **eqn.params)
    return rw.emit(ops.broadcast, small, shape=shape, axes=tuple(used))


def _broadcast_within(
    rw: Rewriter, source: Eqn, used: Sequence[int], shape: tuple[Dim, ...]
) -> Atom:
    axes = tuple(used.index(a) for a in source.params.axes)
    return rw.emit(ops.broadcast, source.inputs[0], shape=shape, axes=axes)


@rules.on(*_ELEMENTWISE)
def compute_without_unit_axes(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """f(reshape(x, [n,1]), 2.0) -> reshape(f(x, 2.0), [n,1]).

    Where an operand only had axes of size 1 put in, as `keepdim` does; the broadcast that follows
    then finds `x` itself. The order of elements, and so which one fails first, stays.
    """
    shape = eqn.output.type.shape
    kept = _not_unit(shape, range(len(shape)))
    squeezed = tuple(shape[a] for a in kept)
    reshaped = [rw.producer(a, ops.reshape) for a in eqn.inputs]
    if not any(r is not None and r.inputs[0].type.shape == squeezed != shape for r in reshaped):
        return None
    operands = [_without_unit_axes(rw, a, kept, squeezed) for a in eqn.inputs]
    return rw.emit(ops.reshape, rw.emit(eqn.prim, *operands, **eqn.params), shape=shape)


def _without_unit_axes(rw: Rewriter, x: Atom, kept: Axes, shape: Shape) -> Atom:
    source = rw.producer(x, ops.broadcast)
    if source is None:
        return rw.emit(ops.reshape, x, shape=shape)
    # A broadcast operand has no axis of size 1, so that all its axes are kept.
    axes = tuple(kept.index(a) for a in source.params.axes)
    return rw.emit(ops.broadcast, source.inputs[0], shape=shape, axes=axes)
