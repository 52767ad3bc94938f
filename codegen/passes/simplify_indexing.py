"""Rewrites of gather and scatter into what fuses: slices, batched forms, selects.

    gather(x, 3)                       ->  slice of x
    x[arange(n), i]                    ->  a gather with a batch axis
    scatter(zeros, u, i), one a row    ->  select(iota == i, u, 0)

The last makes the gradient of picking one entry a row (cross-entropy) elementwise. It would drop
the check of the indices, so it is applied only where an earlier eqn checks the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradc.codegen.passes.rewrite import Rewriter, RuleSet
from gradc.tracer import ops
from gradc.tracer.graph import dims
from gradc.tracer.graph.dims import Dim
from gradc.tracer.graph.ir import Atom, Eqn
from gradc.tracer.graph.types import int64

rules = RuleSet("indexing")


def _indices(eqn: Eqn) -> tuple[Atom, ...]:
    return eqn.inputs[1 if eqn.prim is ops.gather else 2 :]


@rules.on(ops.gather)
def gather_literal(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """gather(x, 3) -> slice(x), broadcast over the index shape, where 3 is surely in range."""
    x, *indices = eqn.inputs
    shape, axes, batch = x.type.shape, eqn.params.axes, eqn.params.batch
    places = [
        _place(rw, i, shape[a], eqn.params.wrap) for i, a in zip(indices, axes)
    ]
    if any(p is None for p in places) or not dims.is_known(shape):
        return None
    at = {a: p for a, p in zip(axes, places) if p is not None}
    start = tuple(at.get(a, 0) for a in range(len(shape)))
    stop = tuple(at[a] + 1 if a in at else dims.known(d) for a, d in enumerate(shape))
    part = rw.emit(ops.slice, x, start=start, stop=stop, step=(1,) * len(shape))
    kept = [a for a in range(len(shape)) if a not in at]
    part = rw.emit(ops.reshape, part, shape=tuple(shape[a] for a in kept))
    extra = indices[0].type.ndim - batch
    places_of_kept = tuple(i if i < batch else i + extra for i in range(len(kept)))
    return rw.emit(ops.broadcast, part, shape=eqn.output.type.shape, axes=places_of_kept)


def _place(rw: Rewriter, index: Atom, size: Dim, wrap: bool) -> int | None:
    literal = rw.literal(index)
    if literal is None or not isinstance(size, int):
        return None
    place = int(literal.value)
    if wrap and place < 0:
        place += size
    return place if 0 <= place < size else None


@rules.on(ops.gather, ops.scatter)
def rows_in_order(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """x[arange(n), i] -> a gather (or scatter) of i with one more batch axis.

    Exact: row r of the indices meets row r of x either way; 0..n-1 are surely in range.
    """
    first, *rest = _indices(eqn)
    batch, axes = eqn.params.batch, eqn.params.axes
    made = rw.producer(first, ops.iota, ops.broadcast)
    if made is None or not rest or axes[0] != batch or not _counts_along(rw, made, batch):
        return None
    if first.type.shape[batch] != eqn.inputs[0].type.shape[batch]:
        return None
    operands = eqn.inputs[: 1 if eqn.prim is ops.gather else 2]
    params = {**eqn.params, "axes": axes[1:], "batch": batch + 1}
    return rw.emit(eqn.prim, *operands, *rest, **params)


def _counts_along(rw: Rewriter, made: Eqn, axis: int) -> bool:
    """Whether the result of `made` is the index along `axis`."""
    if made.prim is ops.iota:
        return bool(made.params.axis == axis)
    inner = rw.producer(made.inputs[0], ops.iota)
    return inner is not None and made.params.axes[inner.params.axis] == axis


@rules.on(ops.scatter)
def scatter_one_a_row(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """scatter(0, u, i) -> select(iota == i, u, 0) where each row has one index, checked before.

    Exact: every place is written at most once. Adding to zero gives `0 + u`, which is spelled
    out since it turns -0.0 into 0.0.
    """
    x, updates, *indices = eqn.inputs
    axes, batch, shape = eqn.params.axes, eqn.params.batch, x.type.shape
    combiner = eqn.params.combiner
    if len(indices) != 1 or combiner not in ("set", "add") or not rw.is_value(x, 0):
        return None
    (index,), (axis,) = indices, axes
    one_a_row = dims.numel(index.type.shape[batch:]) == 1
    if not one_a_row or not rw.is_checked(index, shape[axis], eqn.params.wrap):
        return None
    rows = tuple(range(batch))
    mask = rw.emit(
        ops.eq,
        rw.emit(ops.iota, shape=shape, axis=axis, dtype=int64),
        _spread(rw, _resolved(rw, index, shape[axis], eqn.params.wrap), shape, rows),
    )
    if combiner == "add":
        updates = rw.emit(ops.add, updates, rw.full(0, updates.type))
    elsewhere = [a for a in range(len(shape)) if a != axis]
    return rw.emit(ops.select, mask, _spread(rw, updates, shape, elsewhere), x)


def _resolved(rw: Rewriter, index: Atom, size: Dim, wrap: bool) -> Atom:
    if not wrap or not isinstance(size, int):
        return index
    negative = rw.emit(ops.lt, index, rw.full(0, index.type))
    shifted = rw.emit(ops.add, index, rw.full(size, index.type))
    return rw.emit(ops.select, negative, shifted, index)


def _spread(rw: Rewriter, x: Atom, shape: tuple[Dim, ...], axes: Sequence[int]) -> Atom:
    """`x`, which has as many elements as these axes, broadcast along the others."""
    flat = rw.emit(ops.reshape, x, shape=tuple(shape[a] for a in axes))
    return rw.emit(ops.broadcast, flat, shape=shape, axes=tuple(axes))
