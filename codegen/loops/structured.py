"""Eqns with loops of their own: scatter, cumsum, argmax, sort; and the checks of eqns that fail.

Their operands are expressions like everywhere else, computed where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd, prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Region
from gradc.codegen.loops.expression import wrapped
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Buffer,
    Cast,
    Check,
    Const,
    Expr,
    If,
    Let,
    Load,
    Mode,
    Read,
    Select,
    Stmt,
    Store,
    call,
)
from gradc.codegen.loops.movement import MultiIndex, gather_source, index_rank, window_source
from gradc.codegen.loops.scalar import cast_to
from gradc.codegen.plan.kernel import Kernel, Plan, Root
from gradc.codegen.plan.roots import checked_operands
from gradc.tracer import ops
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn
from gradc.tracer.graph.types import int32, int64, uint64
from gradc.tracer.rules.table import RuleTable

# Tasks write multiples of so many elements, so that few cache lines are shared.
GRAIN = 16
# Elements of an update that a task has: each goes over all indices.
WINDOW = 32

Builder = Callable[[Eqn, Context], None]
structured: RuleTable[Builder] = RuleTable("structured C")


def build_structured(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function of a structured eqn; a divided scatter has two, to copy and to update."""
    (root,) = kernel.roots
    if root.eqn is None:
        raise InternalError("a structured kernel without an eqn")
    steps = [structured[root.eqn.prim]]
    if root.eqn.prim is ops.scatter and kernel.tasks > 1:
        steps = [_copy, _update]
    built: list[Built] = []
    for n, step in enumerate(steps):
        ctx = Context(kernel, plan, number)
        for slot in root.slots:
            ctx.buffer(slot)
        if root.size:
            step(root.eqn, ctx)
        built.append(ctx.finish(suffix="_into" if n else ""))
    return [b for b in built if b[0].body] or built[:1]


# ---- checks ------------------------------------------------------------------------------------


def check_statements(root: Root, index: MultiIndex, ctx: Context) -> list[Stmt]:
    """What must hold at `index` of a check's domain."""
    eqn = root.eqn
    assert eqn is not None
    values = [ctx.expressions.value(a, index) for a in checked_operands(eqn, ctx.plan.values)]
    element = ix.ravel(index, root.shape)
    if eqn.prim is ops.check:
        return [Check("assert", eqn.id, values[0], element, Const(0, int64))]
    if eqn.prim not in (ops.gather, ops.scatter):
        ok = ctx.expressions.intern(call("ne", values[0], Const(0, values[0].dtype)))
        return [Check("division", eqn.id, ok, element, Const(0, int64))]
    sizes = known_shape(eqn.inputs[0].type.shape)
    checks: list[Stmt] = []
    for value, axis in zip(values, eqn.params.axes, strict=True):
        position = wrapped(value, sizes[axis]) if eqn.params.wrap else value
        inside = call("lt", Cast(position, uint64), Const(sizes[axis], uint64))
        ok = ctx.expressions.intern(inside)
        checks.append(Check("index", eqn.id, ok, element, value, sizes[axis], axis))
    return checks


# ---- loops over a shape ------------------------------------------------------------------------


@dataclass(slots=True)
class _Loops:
    """Open loops over the axes of a shape, in the body of a task where they are divided."""

    region: Region
    index: list[Index]
    opened: list[tuple[Region, str, Index, Index]]
    tasks: tuple[Region, str, int] | None = None


def _open(ctx: Context, region: Region, sizes: Sequence[int]) -> _Loops:
    loops = _Loops(region, [], [])
    for n in sizes:
        _open_one(ctx, loops, n, ix.const(0), ix.const(n))
    return loops


def _open_one(ctx: Context, loops: _Loops, n: int, start: Index, stop: Index) -> None:
    if n == 1:
        loops.index.append(ix.const(0))
        return
    body, v, name = ctx.emitter.loop(loops.region, "i", 0, n)
    loops.opened.append((body, name, start, stop))
    loops.index.append(v)
    loops.region = body


def _open_divided(ctx: Context, sizes: Sequence[int], *, inside: int = 0, grain: int = 1) -> _Loops:
    """The outermost loops of a function, divided into tasks if the kernel is. Iterations of those
    from number `inside` on are independent; the loops before are run whole by every task."""
    division = divide(sizes[inside:], ctx.kernel.tasks, grain) if ctx.kernel.tasks > 1 else None
    if division is None:
        return _open(ctx, ctx.top, sizes)
    region, task, name = open_tasks(ctx.emitter, division.tasks)
    loops = _Loops(region, [], [], (region, name, division.tasks))
    fixed = division.position(ctx.emitter, region, task)
    start, stop = (
        ctx.emitter.named(region, b, e) for b, e in zip(("start", "stop"), division.bounds(task))
    )
    for n in sizes[:inside]:
        _open_one(ctx, loops, n, ix.const(0), ix.const(n))
    loops.index += fixed
    for a, n in enumerate(sizes[inside + len(fixed) :], len(fixed)):
        divided = a == division.axis
        _open_one(
            ctx, loops, n, start if divided else ix.const(0), stop if divided else ix.const(n)
        )
    return loops


def _close(ctx: Context, loops: _Loops, innermost: Mode = Mode.SERIAL) -> None:
    mode = innermost
    for body, name, start, stop in reversed(loops.opened):
        ctx.emitter.close_at(body, name, start, stop, mode=mode)
        mode = Mode.SERIAL
    if loops.tasks is not None:
        close_tasks(ctx.emitter, *loops.tasks)


def _output(ctx: Context, which: int = 0) -> Buffer:
    return ctx.buffer(ctx.kernel.roots[0].slots[which])


def _value(ctx: Context, atom: Atom, index: Sequence[Index]) -> Expr:
    return ctx.expressions.value(atom, tuple(index))


# ---- scatter -----------------------------------------------------------------------------------

_INTO = {"add": "add", "mul": "mul", "min": "minimum", "max": "maximum"}


@structured.rule(ops.scatter)
def _scatter(eqn: Eqn, ctx: Context) -> None:
    """The operand copied, then the updates in row-major order."""
    _copy(eqn, ctx)
    _update(eqn, ctx)


def _copy(eqn: Eqn, ctx: Context) -> None:
    """The operand, unless it is updated in place."""
    out, shape = _output(ctx), known_shape(eqn.inputs[0].type.shape)
    loops = _open_divided(ctx, shape, grain=GRAIN // gcd(GRAIN, prod(shape[1:])))
    old = _value(ctx, eqn.inputs[0], loops.index)
    offset = ix.ravel(loops.index, shape)
    if not (isinstance(old, Load) and old.buffer is out and old.index is offset):
        ctx.emitter.body(loops.region, [Store(out, offset, old)])
        _close(ctx, loops, Mode.SIMD)


def _update(eqn: Eqn, ctx: Context) -> None:
    """Every task has some of the axes that are copied whole, so that no two of them can meet."""
    out, shape = _output(ctx), known_shape(eqn.inputs[0].type.shape)
    sizes = known_shape(eqn.inputs[1].type.shape)
    if not prod(sizes):
        return
    window = sizes[index_rank(eqn) :]
    loops = _open_divided(
        ctx, sizes, inside=index_rank(eqn), grain=WINDOW // gcd(WINDOW, prod(window[1:]))
    )
    where = tuple(loops.index[: index_rank(eqn)])
    at = tuple(
        ctx.expressions.safe_index(_value(ctx, i, where), shape[axis], eqn.params.wrap)
        for i, axis in zip(eqn.inputs[2:], eqn.params.axes, strict=True)
    )
    target = ix.ravel(gather_source(eqn, tuple(loops.index), at), shape)
    update = _value(ctx, eqn.inputs[1], loops.index)
    ctx.emitter.body(loops.region, [_write(eqn.params.combiner, out, target, update)])
    # Updates of one place stay in order: only the axes that are copied whole are independent.
    apart = prod(sizes[index_rank(eqn) :]) > 1
    _close(ctx, loops, Mode.SIMD if apart else Mode.SERIAL)


def _write(combiner: str, out: Buffer, target: Index, update: Expr) -> Stmt:
    if combiner == "set":
        return Store(out, target, update)
    op = _INTO[combiner]
    if out.dtype.is_bool and op in ("add", "mul"):
        op = "bitwise_or" if op == "add" else "bitwise_and"
    return Accumulate(out, target, op, (update,))


# ---- cumsum ------------------------------------------------------------------------------------


@structured.rule(ops.cumsum)
def _cumsum(eqn: Eqn, ctx: Context) -> None:
    """Along the innermost axis with a running sum; else each slab from the one before."""
    shape, axis = known_shape(eqn.output.type.shape), eqn.params.axis
    outer = _open_divided(ctx, shape[:axis])
    if prod(shape[axis + 1 :]) == 1:
        _running_sum(eqn, ctx, outer, shape)
    else:
        _slab(eqn, ctx, outer, outer.region, None)
        if shape[axis] > 1:
            body, step, name = ctx.emitter.loop(outer.region, "k", 1, shape[axis])
            _slab(eqn, ctx, outer, body, step)
            ctx.emitter.close(body, name, 1, shape[axis])
    _close(ctx, outer)


def _along(eqn: Eqn, step: Index) -> Index:
    """The position of the `step`-th sum."""
    n = known_shape(eqn.output.type.shape)[eqn.params.axis]
    return ix.const(n - 1) - step if eqn.params.reverse else step


def _running_sum(eqn: Eqn, ctx: Context, outer: _Loops, shape: tuple[int, ...]) -> None:
    out, axis = _output(ctx), eqn.params.axis
    total = ctx.local_array("total", out.dtype, ())
    zero = Const(-0.0 if out.dtype.is_float else 0, out.dtype)  # -0.0 + x is x
    outer.region.stmts.append(Alloc(total, zero))
    body, step, name = ctx.emitter.loop(outer.region, "k", 0, shape[axis])
    index = (*outer.index, _along(eqn, step), *(ix.const(0) for _ in shape[axis + 1 :]))
    value = _value(ctx, eqn.inputs[0], index)
    sums: list[Stmt] = [
        Accumulate(total, ix.const(0), "add", (value,)),
        Store(out, ix.ravel(index, shape), Load(total, ix.const(0))),
    ]
    ctx.emitter.body(body, sums)
    ctx.emitter.close(body, name, 0, shape[axis])


def _slab(eqn: Eqn, ctx: Context, outer: _Loops, region: Region, position: Index | None) -> None:
    """out[step] = out[step - 1] + x[step], whole slabs at a time; None: the first."""
    step = ix.const(0) if position is None else position
    out, shape = _output(ctx), known_shape(eqn.output.type.shape)
    axis = eqn.params.axis
    inner = _open(ctx, region, shape[axis + 1 :])

    def at(along: Index) -> MultiIndex:
        return (*outer.index, along, *inner.index)

    total = _value(ctx, eqn.inputs[0], at(_along(eqn, step)))
    if position is not None:
        before = ix.ravel(at(_along(eqn, step - 1)), shape)
        total = ctx.expressions.intern(call("add", Load(out, before), total))
    ctx.emitter.body(inner.region, [Store(out, ix.ravel(at(_along(eqn, step)), shape), total)])
    _close(ctx, inner, Mode.SIMD)


# ---- argmax and argmin -------------------------------------------------------------------------


LANES = 64  # elements of a slab whose extremes are found together


def _arg(eqn: Eqn, ctx: Context) -> None:
    """The first NaN, else the first extreme: along the last axis one by one, else for stretches of
    the axes behind at once."""
    shape, axis = known_shape(eqn.inputs[0].type.shape), eqn.params.axis
    outer = _open_divided(ctx, shape[:axis], grain=GRAIN // gcd(GRAIN, prod(shape[axis + 1 :])))
    behind = prod(shape[axis + 1 :])
    if behind == 1:
        _arg_stretch(eqn, ctx, outer, outer.region, ix.const(0), 1)
    else:
        main = behind - behind % LANES
        if main:
            body, first, name = ctx.emitter.loop(outer.region, "first", 0, main, LANES)
            _arg_stretch(eqn, ctx, outer, body, first, LANES)
            ctx.emitter.close(body, name, 0, main, LANES)
        if behind > main:
            _arg_stretch(eqn, ctx, outer, outer.region, ix.const(main), behind - main)
    _close(ctx, outer)


def _arg_stretch(
    eqn: Eqn, ctx: Context, outer: _Loops, region: Region, first: Index, count: int
) -> None:
    x, axis = eqn.inputs[0], eqn.params.axis
    shape = known_shape(x.type.shape)
    best = ctx.local_array("best", x.type.dtype, (count,))
    place = ctx.local_array("place", int64, (count,))
    region.stmts += [Alloc(best), Alloc(place, Const(0, int64))]
    op = "gt" if eqn.prim is ops.argmax else "lt"

    def value(k: Index, lane: Index) -> Expr:
        behind = ix.unravel(first + lane, shape[axis + 1 :])
        return _value(ctx, x, (*outer.index, k, *behind))

    def lanes(body: Region, k: Index, step: Callable[[Expr, Index], list[Stmt]]) -> None:
        inner, lane, name = ctx.emitter.loop(body, "lane", 0, count)
        ctx.emitter.body(inner, step(value(k, lane), lane))
        ctx.emitter.close(inner, name, 0, count, mode=Mode.SIMD)

    def challenge(e: Expr, lane: Index) -> list[Stmt]:
        held, at = Load(best, lane), Load(place, lane)
        better = ctx.expressions.intern(_beats(e, held, op))
        chosen = [Select(better, e, held), Select(better, At(k), at)]
        new = [ctx.expressions.intern(c) for c in chosen]
        return [Store(best, lane, new[0]), Store(place, lane, new[1])]

    lanes(region, ix.const(0), lambda e, lane: [Store(best, lane, e)])
    if shape[axis] > 1:
        body, k, name = ctx.emitter.loop(region, "k", 1, shape[axis])
        lanes(body, k, challenge)
        ctx.emitter.close(body, name, 1, shape[axis])
    out = _output(ctx)
    inner, lane, name = ctx.emitter.loop(region, "lane", 0, count)
    offset = ix.ravel(outer.index, shape[:axis]) * prod(shape[axis + 1 :]) + first + lane
    inner.stmts.append(Store(out, offset, Load(place, lane)))
    ctx.emitter.close(inner, name, 0, count, mode=Mode.SIMD)


structured[ops.argmax] = _arg
structured[ops.argmin] = _arg


def _beats(a: Expr, b: Expr, op: str) -> Expr:
    """`a op b`, a NaN beating everything that is none."""
    if not a.dtype.is_float:
        return call(op, a, b)
    nan = call("bitwise_and", call("isnan", a), call("eq", b, b))
    return call("bitwise_or", call(op, a, b), nan)


# ---- the greatest of windows -------------------------------------------------------------------


Held = Callable[[MultiIndex], "list[Expr]"]

FEW_POSITIONS = 16  # positions of a window that are compared in one expression


@structured.rule(ops.window_max)
def _window_max(eqn: Eqn, ctx: Context) -> None:
    """Small windows by one chain of comparisons; others position by position, the greatest so far
    being kept in the result."""
    shape, count = known_shape(eqn.outputs[0].type.shape), prod(eqn.params.size)
    loops = _open_divided(ctx, shape[:-1])
    zero = ctx.expressions.intern(Const(0, int32))

    def along(region: Region, first: int, stop: int, held: Held | None) -> None:
        """Positions from `first` on for a line of windows, against what is held so far."""
        line = _open(ctx, region, shape[-1:])
        at = (*loops.index, *line.index)
        found = [_window_element(eqn, ctx, at, ix.const(0)), zero] if held is None else held(at)
        # Bound one by one: compilers make branches of choices within choices.
        steps = list(found)
        for k in range(first, stop):
            found = _greater(eqn, ctx, at, ix.const(k), found)
            steps += found
        _store_window(ctx, line.region, ix.ravel(at, shape), found, steps)
        _close(ctx, line, Mode.SIMD)

    along(loops.region, 1, min(count, FEW_POSITIONS), None)
    if count > FEW_POSITIONS:
        body, k, name = ctx.emitter.loop(loops.region, "k", FEW_POSITIONS, count)
        along(body, 0, 0, lambda at: _greater(eqn, ctx, at, k, _held(ctx, ix.ravel(at, shape))))
        ctx.emitter.close(body, name, FEW_POSITIONS, count)
    _close(ctx, loops)


def _held(ctx: Context, at: Index) -> list[Expr]:
    """The greatest so far and its position."""
    slots = ctx.kernel.roots[0].slots
    return [ctx.expressions.intern(ctx.own(slot, at)) for slot in slots]


def _window_element(eqn: Eqn, ctx: Context, at: MultiIndex, k: Index) -> Expr:
    """Position `k` of the window at `at`."""
    return _value(ctx, eqn.inputs[0], window_source(eqn, at, ix.unravel(k, eqn.params.size)))


def _greater(
    eqn: Eqn, ctx: Context, at: MultiIndex, k: Index, held: Sequence[Expr]
) -> list[Expr]:
    """The greater of position `k` and what is held (value and position): a NaN always is."""
    e = _window_element(eqn, ctx, at, k)
    better: Expr = call("gt", e, held[0])
    if e.dtype.is_float:
        better = call("bitwise_or", better, call("isnan", e))
    number = Const(k.constant, int32) if k.is_constant else cast_to(At(k), int32)
    better = ctx.expressions.intern(better)
    chosen = (Select(better, e, held[0]), Select(better, number, held[1]))
    return [ctx.expressions.intern(c) for c in chosen]


def _store_window(
    ctx: Context, region: Region, at: Index, found: Sequence[Expr], steps: Sequence[Expr]
) -> None:
    stores: list[Stmt] = [Store(_output(ctx, which), at, e) for which, e in enumerate(found)]
    ctx.emitter.body(region, stores, steps)


# ---- sort --------------------------------------------------------------------------------------


@structured.rule(ops.sort)
def _sort(eqn: Eqn, ctx: Context) -> None:
    """A stable merge sort of positions by key, bottom up; then every operand in that order."""
    axis = eqn.params.axis
    shape = known_shape(eqn.inputs[0].type.shape)
    n = shape[axis]
    keys = ctx.buffer(ctx.scratch("keys", eqn.inputs[0].type.dtype, n))
    order = ctx.buffer(ctx.scratch("order", int64, 2 * n))
    outer = _open_divided(ctx, shape[:axis] + shape[axis + 1 :])

    def at(position: Index) -> MultiIndex:
        return (*outer.index[:axis], position, *outer.index[axis:])

    body, k, name = ctx.emitter.loop(outer.region, "k", 0, n)
    fill: list[Stmt] = [Store(keys, k, _value(ctx, eqn.inputs[0], at(k))), Store(order, k, At(k))]
    ctx.emitter.body(body, fill)
    ctx.emitter.close(body, name, 0, n)
    passes = max(n - 1, 0).bit_length()
    if passes:
        _merge_passes(ctx, outer.region, keys, order, n, passes, eqn.params.descending)
    body, k, name = ctx.emitter.loop(outer.region, "k", 0, n)
    position = ctx.expressions.intern(Load(order, k + passes % 2 * n))
    source = at(ix.value(position, 0, n - 1))
    offset = ix.ravel(at(k), shape)
    moves: list[Stmt] = [
        Store(_output(ctx, which), offset, _value(ctx, operand, source))
        for which, operand in enumerate(eqn.inputs)
    ]
    ctx.emitter.body(body, moves)
    ctx.emitter.close(body, name, 0, n)
    _close(ctx, outer)


def _merge_passes(
    ctx: Context, region: Region, keys: Buffer, order: Buffer, n: int, passes: int, down: bool
) -> None:
    """Pass p merges runs of 2**p positions from one half of `order` into the other."""
    zero, one = ix.const(0), Const(1, int64)
    body, p, name = ctx.emitter.loop(region, "pass", 0, passes)
    left, right, middle, end = (
        ctx.local_array(base, int64, ()) for base in ("left", "right", "middle", "end")
    )
    width = ctx.emitter.bind(call("shift_left", one, At(p)), body, "width")
    source = (p % 2) * n
    target = ix.const(n) - source
    body.stmts += [Alloc(b, Const(0, int64)) for b in (left, right, middle, end)]
    inner, t, inner_name = ctx.emitter.loop(body, "k", 0, n)
    last = Const(n, int64)
    double = call("add", width, width)
    starts = call("eq", call("bitwise_and", At(t), call("sub", double, one)), Const(0, int64))
    middle_of = call("minimum", call("add", At(t), width), last)
    reset: tuple[Stmt, ...] = (
        Store(left, zero, At(t)),
        Store(middle, zero, middle_of),
        Store(right, zero, Load(middle, zero)),
        Store(end, zero, call("minimum", call("add", At(t), double), last)),
    )
    inner.stmts.append(If(starts, reset))
    taken = _take(ctx, inner, keys, order, source, n, (left, right, middle, end), down)
    inner.stmts.append(Store(order, target + t, taken))
    ctx.emitter.close(inner, inner_name, 0, n)
    ctx.emitter.close(body, name, 0, passes)


def _take(
    ctx: Context,
    region: Region,
    keys: Buffer,
    order: Buffer,
    source: Index,
    n: int,
    bounds: tuple[Buffer, Buffer, Buffer, Buffer],
    down: bool,
) -> Expr:
    """Advance one of the two runs; the position it gives. The left one wins ties: stable."""
    emitter, zero = ctx.emitter, ix.const(0)
    left, right, middle, end = (Load(b, zero) for b in bounds)

    def candidate(side: Load, base: str) -> tuple[Expr, Expr]:
        clamped = emitter.bind(call("minimum", side, Const(n - 1, int64)), region, f"{base}_at")
        at = ix.symbol(clamped.local.name, 0, n - 1)  # type: ignore[union-attr]
        position = emitter.local(base, Const(0, int64), region)
        region.stmts.append(Let(position, Load(order, source + at)))
        spot = ix.symbol(position.name, 0, n - 1)
        key = emitter.local(f"{base}_key", Load(keys, zero), region)
        region.stmts.append(Let(key, Load(keys, spot)))
        return Read(position), Read(key)

    first, first_key = candidate(left, "first")
    second, second_key = candidate(right, "second")
    ahead = _comes_before(second_key, first_key, down)
    stays = call("bitwise_or", call("ge", right, end), call("bitwise_not", ahead))
    take = emitter.local("take_first", call("lt", left, middle), region)
    region.stmts.append(Let(take, call("bitwise_and", call("lt", left, middle), stays)))
    one = Const(1, int64)
    steps = (Accumulate(bounds[0], zero, "add", (one,)),)
    region.stmts.append(If(Read(take), steps, (Accumulate(bounds[1], zero, "add", (one,)),)))
    return Select(Read(take), first, second)


def _comes_before(a: Expr, b: Expr, down: bool) -> Expr:
    """Strictly before: NaN last when ascending, first when descending."""
    if not a.dtype.is_float:
        return call("gt" if down else "lt", a, b)
    nan, plain = (a, b) if down else (b, a)
    apart = call("bitwise_and", call("isnan", nan), call("eq", plain, plain))
    return call("bitwise_or", call("gt" if down else "lt", a, b), apart)
