"""Kernels of maps and reductions as loops: rows outside, stages inside, then the tail.

    softmax over [64,10]      for i < 64:
                                  stage 0: lanes of maximum      -> max
                                  stage 1: exp, lanes of add     -> sum
                                  stage 2: store

A reduction along the innermost axis runs on a fixed number of lanes (16 for float32, 8 for
float64, several times as many in light stages over long lines), combined as a tree, on every
target; so its bits depend on the program and its shapes alone.

A large kernel is divided into tasks, pieces of its rows (or, without rows, of one of its loops).
What it sums over all rows is then summed per task; a second function adds these parts in order
and runs the tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd, prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.axes import TILE, Axes, Axis, out_offset
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import Division, by_cells, close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Region, add_parts
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Buffer,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Mode,
    Place,
    Read,
    Slot,
    Stmt,
    Store,
    call,
)
from gradc.codegen.loops.lanes import (
    accumulator,
    combiner,
    lane_count,
    lane_tree,
    lane_width,
    most_parts,
    power_of_two,
)
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.loops.prefetch import Ahead, ahead
from gradc.codegen.loops.scalar import cast_to, identity
from gradc.codegen.loops.structured import check_statements
from gradc.codegen.plan.kernel import Kernel, Plan, Root, RootKind, Stage
from gradc.tracer import ops
from gradc.tracer.graph.ir import Var
from gradc.tracer.graph.types import int64

UNROLLED = 4  # an innermost axis of so few elements gives no lanes, if the one before has as many
FEW_LANES = 4  # as these
BLOCK = 8192  # elements summed before a partial sum is put away
# Tasks write multiples of so many elements, so that two of them share no cache line.
GRAIN = 64
_SHORT = {"add": "sum", "mul": "product", "maximum": "greatest", "minimum": "least",
          "bitwise_or": "any", "bitwise_and": "all"}  # fmt: skip


@dataclass(slots=True)
class _Lanes:
    """A reduction under way: its array of lanes, and the loop depth at which it is complete."""

    root: Root
    buffer: Buffer
    op: str
    depth: int
    out: Index


@dataclass(slots=True)
class _Nest:
    """The loops of one stage as they are opened; `unrolls`: the last axis has so few elements that
    each lane, along the axis before, runs through all of them."""

    stage: Stage
    axes: list[Axis]
    row: Index
    lanes: list[_Lanes] = field(default_factory=list)
    variables: list[Index] = field(default_factory=list)
    unrolls: bool = False

    @property
    def lane_axis(self) -> int:
        """The axis that gives the lanes."""
        return len(self.axes) - (2 if self.unrolls else 1)

    @property
    def lane_size(self) -> int:
        return self.axes[self.lane_axis].size if self.axes else 1


@dataclass(slots=True)
class _Task:
    """One task of a divided kernel: where its own statements go, its number, how many there are,
    and what it does of the loop along axis `axis` of the only stage (None: rows are divided)."""

    region: Region
    index: Index
    count: int
    axis: int | None = None
    start: Index | None = None
    stop: Index | None = None


def build_rows(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function of a kernel of maps and reductions, and the one that adds up the parts of its
    tasks where it has any."""
    builder = _RowsBuilder(Context(kernel, plan, number))
    built = [builder.build()]
    if builder.task is not None and (builder.parts or any(r.tail for r in kernel.roots)):
        last = _RowsBuilder(Context(kernel, plan, number))
        built.append(last.build_last(builder.parts, builder.task.count))
    return built


class _RowsBuilder:
    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.emitter = ctx.emitter
        self.kernel = ctx.kernel
        self.rows = 1 if self.kernel.rows is None else self.kernel.rows
        self.results: dict[Root, Expr] = {}  # reductions that are complete
        self.done: set[Root] = set()  # of earlier stages
        self.scratch: dict[Root, Buffer] = {}
        self.totals: dict[Root, Buffer] = {}  # lanes of exits, over rows
        self.task: _Task | None = None
        self.parts: dict[Root, Slot] = {}  # of exits, one after the other for each task
        self.axes = Axes(ctx, self.rows)
        self.ahead: Ahead | None = None  # what is asked for early
        ctx.own_leaf = self.leaf

    def build(self) -> Built:
        body = [r for r in self.kernel.roots if not r.tail]
        exits = [r for r in body if r.exit]
        for root in body:
            for slot in root.slots:
                self.ctx.buffer(slot)
        axes = self.axes.rows(body) if self.kernel.rows and body else []
        self.ahead = ahead(self.ctx)
        if not self.divided(axes, body, exits):
            for root in exits:
                self.start_exit(root, self.ctx.top)
            self.run_rows(self.ctx.top, axes, body)
            for root in exits:
                if root in self.totals:
                    self.finish_exit(root, self.totals[root], self.totals[root].size)
            self.run_tail()
        return self.ctx.finish(any(r.kind is RootKind.CHECK for r in self.kernel.roots))

    # ---- reading the kernel's own values --------------------------------------------------------

    def leaf(self, root: Root, var: Var, index: MultiIndex) -> Expr | None:
        if root in self.results:
            return self.results[root]
        if root.kind is RootKind.REDUCE:
            return self.ctx.own(self.ctx.plan.places[var], ix.ravel(index, root.out_shape))
        if root not in self.done:
            return None
        if root in self.scratch:
            offset = ix.ravel(index, root.shape)
            return Load(self.scratch[root], offset % (root.size // self.rows))
        if root.slots:
            return self.ctx.own(root.slots[0], ix.ravel(index, root.shape))
        return None

    # ---- tasks ----------------------------------------------------------------------------------

    def divided(self, axes: Sequence[int], body: list[Root], exits: list[Root]) -> bool:
        """Whether the kernel is worth dividing; if so, it has been built so."""
        wanted = self.kernel.tasks
        if wanted < 2 or not self.kernel.size:
            return False
        if self.kernel.rows is None:
            found = self.stage_division(exits)
            if found is not None:
                division, axis = found
                self.run_task(division, axis, axes, body, exits)
            return found is not None
        if self.kernel.chain is not None:
            cells = by_cells(axes, self.kernel.chain.cells)
            self.run_task(cells, None, cells.sizes, body, exits)
            return True
        inner = min(r.size // self.rows for r in body)
        grain = GRAIN // gcd(GRAIN, inner)
        over = divide(axes, min(wanted, most_parts(exits, self.kernel.size)), grain)
        if over is not None:
            self.run_task(over, None, axes, body, exits)
        return over is not None

    def stage_division(self, exits: list[Root]) -> tuple[Division, int] | None:
        """For a kernel without rows: an axis of its only stage and how that is divided. The
        outermost axis that gives half of the tasks wanted, else the one that gives the most."""
        (stage,) = self.kernel.stages
        axes = self.axes.of_stage(stage, ix.const(0))
        best: tuple[Division, int] | None = None
        for a, axis in enumerate(axes):
            most = self.tasks_along(stage, axes, a, exits)
            lanes = any(r.kind is RootKind.REDUCE for r in stage.roots) and a == len(axes) - 1
            if most < 2 or (lanes and (axis.cuts or axis.size < 2 * BLOCK)):
                continue
            behind = prod(x.size for x in axes[a + 1 :])
            grain = BLOCK if lanes else GRAIN // gcd(GRAIN, behind)
            found = divide((axis.size,), most, max(grain, TILE))
            if found is not None and (best is None or found.tasks > best[0].tasks):
                best = found, a
            if best is not None and 2 * best[0].tasks >= self.kernel.tasks:
                break
        return best

    def tasks_along(self, stage: Stage, axes: list[Axis], a: int, exits: list[Root]) -> int:
        """The most tasks axis `a` should be divided into; 0 where it cannot be divided."""
        summed: list[Root] = []
        for root in exits:
            strides = self.out_strides(root, axes, stage)
            if None in strides:
                return 0
            if not strides[a]:
                summed.append(root)
        return min(self.kernel.tasks, most_parts(summed, self.kernel.size))

    def out_strides(self, root: Root, axes: list[Axis], stage: Stage) -> list[int | None]:
        """How far a reduction's result moves along each axis of the only stage."""
        variables = [ix.var(f"e{n}", axis.size) for n, axis in enumerate(axes)]
        nest = _Nest(stage, axes, ix.const(0))
        out = out_offset(root, self.index(root, nest, variables))
        return [ix.stride(out, v.terms[0][0]) if v.terms else 0 for v in variables]

    def run_task(
        self,
        division: Division,
        axis: int | None,
        axes: Sequence[int],
        body: list[Root],
        exits: list[Root],
    ) -> None:
        """The function of one task: of some rows, or (`axis`) of a part of the only stage."""
        region, index, name = open_tasks(self.emitter, division.tasks)
        task = self.task = _Task(region, index, division.tasks, axis)
        if axis is not None:
            start, stop = division.bounds(index)
            task.start = self.emitter.named(region, "start", start)
            task.stop = self.emitter.named(region, "stop", stop)
        for root in exits:
            self.start_exit(root, region)
        self.run_rows(region, axes, body, division if axis is None else None)
        for root in exits:
            if root in self.totals:
                self.store_part(root)
        close_tasks(self.emitter, region, name, division.tasks)

    def bounds(self, axis: int, start: int, stop: int) -> tuple[Index, Index]:
        """What is to be run of `[start, stop)` along an axis of a stage."""
        task = self.task
        if task is None or task.axis != axis:
            return ix.const(start), ix.const(stop)
        assert task.start is not None and task.stop is not None
        return ix.maximum(task.start, ix.const(start)), ix.minimum(task.stop, ix.const(stop))

    # ---- rows -----------------------------------------------------------------------------------

    def run_rows(
        self,
        region: Region,
        axes: Sequence[int],
        body: list[Root],
        division: Division | None = None,
    ) -> None:
        """All rows, or those of one task."""
        if not self.rows or not body:
            return
        variables, opened = list[Index](), list[tuple[Region, str, Index, Index]]()
        self.alloc_scratch(body, region)
        if division is not None:
            assert self.task is not None
            named = self.kernel.chain is None
            variables = division.position(self.emitter, region, self.task.index, named)
        for a, n in enumerate(axes[len(variables) :], len(variables)):
            start, stop = ix.const(0), ix.const(n)
            if division is not None and a == division.axis:
                assert self.task is not None
                start, stop = division.bounds(self.task.index)
            region, v, name = self.emitter.loop(region, "i", 0, n)
            variables.append(v)
            opened.append((region, name, start, stop))
        row = ix.ravel(variables, axes)
        for stage in self.kernel.stages:
            self.run_stage(region, stage, row)
        for body_region, name, start, stop in reversed(opened):
            self.emitter.close_at(body_region, name, start, stop, mode=around(body_region))

    def alloc_scratch(self, body: list[Root], region: Region) -> None:
        for root in body:
            if root.scratch and isinstance(root.value, Var):
                shape = (root.size // self.rows,)
                self.scratch[root] = self.ctx.local_array("kept", root.value.type.dtype, shape)
                region.stmts.append(Alloc(self.scratch[root]))

    # ---- one stage ------------------------------------------------------------------------------

    def run_stage(self, region: Region, stage: Stage, row: Index) -> None:
        self.ctx.expressions.forget()
        if stage.inner:
            nest = _Nest(stage, self.axes.of_stage(stage, row), row)
            nest.unrolls = self.unrolls(nest)
            across = self.axes.crossing(stage, nest.axes, row)
            if across is None:
                self.open(region, nest, 0)
            else:
                self.tiled(region, nest, across)
        else:
            self.empty_reductions(region, stage, row)
        self.done |= set(stage.roots)

    def unrolls(self, nest: _Nest) -> bool:
        """Whether the last axis is too short for lanes and the one before is not; sums must be
        over both."""
        if len(nest.axes) < 2 or nest.axes[-1].size > UNROLLED or nest.axes[-1].cuts:
            return False
        if nest.axes[-2].size < FEW_LANES or any(map(_chooses, nest.stage.roots)):
            return False
        probe = [ix.var(f"e{a}", x.size) for a, x in enumerate(nest.axes)]
        inner = {v.terms[0][0] for v in probe[-2:] if v.terms}
        reductions = [r for r in nest.stage.roots if r.kind is RootKind.REDUCE]
        if reductions and self.task is not None and self.task.axis == len(nest.axes) - 2:
            return False
        outs = [out_offset(r, self.index(r, nest, probe)) for r in reductions]
        return not any(a in inner for out in outs for a in ix.atoms(out))

    def tiled(self, region: Region, nest: _Nest, across: int) -> None:
        """Elements read along axis `across` and written along the last one: by square blocks, so
        that both are in cache."""
        last = len(nest.axes) - 1
        variables: list[Index] = [ix.const(0)] * len(nest.axes)
        opened: list[tuple[Region, str, Index, Index, int]] = []
        for a, axis in enumerate(nest.axes):
            if a not in (across, last):
                body, variables[a], name = self.emitter.loop(region, axis.base, 0, axis.size)
                opened.append((body, name, *self.bounds(a, 0, axis.size), 1))
                region = body
        firsts: dict[int, Index] = {}
        for a in (across, last):
            size = nest.axes[a].size
            body, firsts[a], name = self.emitter.loop(region, "tile", 0, size, TILE)
            opened.append((body, name, *self.bounds(a, 0, size), TILE))
            region = body
        for a in (across, last):
            size = nest.axes[a].size
            name = self.emitter.name(nest.axes[a].base)
            region = self.emitter.inner(region, name)
            variables[a] = ix.symbol(name, 0, size - 1)
            stop = ix.minimum(firsts[a] + TILE, ix.const(size))
            opened.append((region, name, firsts[a], stop, 1))
        self.body(region, nest, variables, None)
        mode = Mode.SIMD
        for body, name, start, stop, step in reversed(opened):
            self.emitter.close_at(body, name, start, stop, step, mode)
            mode = Mode.ROLLED

    def open(self, region: Region, nest: _Nest, depth: int) -> None:
        """The loops from `depth` inwards; reductions complete at this depth are combined after."""
        starting = self.start_lanes(region, nest, depth)
        if depth == len(nest.axes):
            self.body(region, nest, nest.variables, None)
        elif depth == nest.lane_axis:
            for start, stop in nest.axes[depth].pieces:
                self.innermost(region, nest, start, stop)
        else:
            for start, stop in nest.axes[depth].pieces:
                body, v, name = self.emitter.loop(region, nest.axes[depth].base, start, stop)
                nest.variables.append(v)
                self.open(body, nest, depth + 1)
                nest.variables.pop()
                bounds = self.bounds(depth, start, stop)
                self.emitter.close_at(body, name, *bounds, mode=around(body))
        for lanes in starting:
            self.combine(region, lanes, nest)
            nest.lanes.remove(lanes)

    def start_lanes(self, region: Region, nest: _Nest, depth: int) -> list[_Lanes]:
        """Open the reductions whose remaining loops, from `depth` on, are all summed over."""
        started: list[_Lanes] = []
        for root in nest.stage.roots:
            if root.kind is not RootKind.REDUCE or any(x.root is root for x in nest.lanes):
                continue
            if depth > nest.lane_axis and nest.axes:
                continue
            probe = [
                *nest.variables, *(ix.var(f"e{a}", x.size) for a, x in enumerate(nest.axes[depth:]))
            ]  # fmt: skip
            out = out_offset(root, self.index(root, nest, probe))
            later = {v.terms[0][0] for v in probe[depth:] if v.terms}
            if any(a in later for a in ix.atoms(out)) or (not nest.axes and root.exit):
                continue
            started.append(self.alloc_lanes(region, root, nest, depth, out))
        nest.lanes += started
        return started

    def alloc_lanes(
        self, region: Region, root: Root, nest: _Nest, depth: int, out: Index
    ) -> _Lanes:
        op, dtype = combiner(root), accumulator(root)
        width = lane_count(nest.stage, nest.lane_size)
        base = _SHORT[op] if width == 1 else f"{_SHORT[op]}_lanes"
        buffer = self.ctx.local_array(base, dtype, () if width == 1 else (width,))
        region.stmts.append(Alloc(buffer, identity(op, dtype)))
        return _Lanes(root, buffer, op, depth, out)

    def innermost(self, region: Region, nest: _Nest, start: int, stop: int) -> None:
        last = nest.lane_axis
        axis = nest.axes[last]
        width = lane_count(nest.stage, axis.size) if nest.lanes else 1
        if width == 1:
            body, v, name = self.emitter.loop(region, axis.base, start, stop)
            self.body(body, nest, [*nest.variables, v], None)
            mode = self.mode(nest, [*nest.variables, v], v)
            self.emitter.close_at(body, name, *self.bounds(last, start, stop), mode=mode)
            return
        if stop - start >= 2 * BLOCK:
            start = self.blocks(region, nest, start, stop, width)
            if self.task is not None and self.task.axis == last:
                self.in_last_task(region, nest, start, stop, width)
                return
        self.whole_lanes(region, nest, start, stop, width)

    def in_last_task(self, region: Region, nest: _Nest, start: int, stop: int, width: int) -> None:
        """What is left behind the blocks of all tasks is done by the last one."""
        assert self.task is not None
        body = self.emitter.inner(region)
        self.whole_lanes(body, nest, start, stop, width)
        is_last = call("eq", At(self.task.index), Const(self.task.count - 1, int64))
        if body.stmts:
            region.stmts.append(If(is_last, tuple(body.stmts)))

    def whole_lanes(self, region: Region, nest: _Nest, start: int, stop: int, width: int) -> None:
        axis = nest.axes[nest.lane_axis]
        main = stop - (stop - start) % width
        if main > start:
            outer, v, name = self.emitter.loop(region, axis.base, start, main, width)
            if self.ahead is not None and self.ahead.stage is nest.stage:
                outer.stmts += self.ahead.statements(nest.row, v, width)
            self.lane_loop(outer, nest, v, width)
            self.emitter.close(outer, name, start, main, width, Mode.ROLLED)
        if stop > main:
            self.lane_loop(region, nest, ix.const(main), stop - main)

    def lane_loop(self, region: Region, nest: _Nest, start: Index, count: int) -> None:
        body, lane, name = self.emitter.loop(region, "lane", 0, count)
        self.body(body, nest, [*nest.variables, start + lane], lane)
        mode = self.mode(nest, [*nest.variables, start + lane], lane)
        self.emitter.close(body, name, 0, count, mode=mode)

    def blocks(self, region: Region, nest: _Nest, start: int, stop: int, width: int) -> int:
        """Long sums by blocks, each with lanes of its own, so that rounding errors grow with the
        number of blocks and their size, and not with both. Returns where the rest starts."""
        end = stop - (stop - start) % BLOCK
        body, first, name = self.emitter.loop(region, "block", start, end, BLOCK)
        outer = nest.lanes
        nest.lanes = [self.block_lanes(body, x) for x in outer]
        bounds = self.bounds(nest.lane_axis, start, end)
        base = nest.axes[nest.lane_axis].base
        steps, v, step_name = self.emitter.loop(body, base, 0, BLOCK, width)
        self.lane_loop(steps, nest, first + v, width)
        self.emitter.close(steps, step_name, 0, BLOCK, width, Mode.ROLLED)
        for whole, part in zip(outer, nest.lanes, strict=True):
            total = lane_tree(self.emitter, body, part.buffer, part.op)
            at = ((first - start) // BLOCK) % width
            body.stmts.append(Accumulate(whole.buffer, at, whole.op, (total,)))
        nest.lanes = outer
        self.emitter.close_at(body, name, *bounds, BLOCK, Mode.ROLLED)
        return end

    def block_lanes(self, region: Region, lanes: _Lanes) -> _Lanes:
        buffer = self.ctx.local_array("block_lanes", lanes.buffer.dtype, lanes.buffer.shape)
        region.stmts.append(Alloc(buffer, identity(lanes.op, buffer.dtype)))
        return _Lanes(lanes.root, buffer, lanes.op, lanes.depth, lanes.out)

    def mode(self, nest: _Nest, variables: list[Index], v: Index) -> Mode:
        """Whether iterations of the innermost loop are independent."""
        if any(r.kind is RootKind.CHECK for r in nest.stage.roots):
            return Mode.SERIAL
        if any(not x.buffer.shape for x in nest.lanes) or not v.terms:
            return Mode.SERIAL
        for root in nest.stage.roots:
            if root.kind is RootKind.REDUCE and not any(x.root is root for x in nest.lanes):
                for inner in self.unrolled(nest, variables):
                    out = out_offset(root, self.index(root, nest, inner))
                    if not ix.stride(out, v.terms[0][0]):
                        return Mode.SERIAL
        return Mode.SIMD

    def index(self, root: Root, nest: _Nest, variables: Sequence[Index]) -> MultiIndex:
        """The root's domain index in the loops."""
        inner = ix.ravel(variables, [a.size for a in nest.axes])
        return ix.unravel(nest.row * nest.stage.inner + inner, root.shape)

    # ---- bodies ---------------------------------------------------------------------------------

    def body(
        self, region: Region, nest: _Nest, variables: Sequence[Index], lane: Index | None
    ) -> None:
        """Everything the stage does for one element, or for all along an unrolled axis."""
        stmts: list[Stmt] = []
        shared: list[Expr] = []
        for inner in self.unrolled(nest, variables):
            self.element(region, nest, inner, lane, stmts, shared)
        self.emitter.body(region, stmts, shared)

    def unrolled(self, nest: _Nest, variables: Sequence[Index]) -> list[Sequence[Index]]:
        """The variables of a body, once for each element behind the axis of lanes."""
        if len(variables) == len(nest.axes):
            return [variables]
        return [[*variables, ix.const(k)] for k in range(nest.axes[-1].size)]

    def element(
        self,
        region: Region,
        nest: _Nest,
        variables: Sequence[Index],
        lane: Index | None,
        stmts: list[Stmt],
        shared: list[Expr],
    ) -> None:
        for root in nest.stage.roots:
            index = self.index(root, nest, variables)
            if root.kind is RootKind.MAP and root.eqn is not None and root.value is not None:
                value = self.ctx.expressions.value(root.value, index)
                shared += [] if root.slots else [value]
            if root.kind is RootKind.CHECK:
                stmts += check_statements(root, index, self.ctx)
            elif root.kind is RootKind.REDUCE:
                stmts.append(self.accumulate(root, index, nest, lane))
            elif self.is_row_scalar(root, nest):
                stmts += self.row_scalar(region, root, index)
            else:
                stmts += self.stores(root, index)

    def is_row_scalar(self, root: Root, nest: _Nest) -> bool:
        return bool(root.slots) and self.kernel.rows is not None and nest.stage.inner == 1

    def row_scalar(self, region: Region, root: Root, index: MultiIndex) -> list[Stmt]:
        """A stored value of the row, which later stages read from a local."""
        value = self.ctx.value(root, index)
        self.emitter.count([value])
        read = self.emitter.use(value, region)
        if not isinstance(read, Read | Const):
            read = self.emitter.bind(value, region)
        self.results[root] = read
        offset = ix.ravel(index, root.shape)
        return [Store(self.ctx.buffer(s), offset, read) for s in root.slots]

    def stores(self, root: Root, index: MultiIndex) -> list[Stmt]:
        if not root.slots and root not in self.scratch:
            return []
        value = self.ctx.value(root, index)
        offset = ix.ravel(index, root.shape)
        stmts: list[Stmt] = [Store(self.ctx.buffer(s), offset, value) for s in root.slots]
        if root in self.scratch:
            stmts.append(Store(self.scratch[root], offset % (root.size // self.rows), value))
        return stmts

    def accumulate(self, root: Root, index: MultiIndex, nest: _Nest, lane: Index | None) -> Stmt:
        value = cast_to(self.operand(root, index), accumulator(root))
        mine = next((x for x in nest.lanes if x.root is root), None)
        if mine is not None:
            at = lane if lane is not None and mine.buffer.shape else ix.const(0)
            return Accumulate(mine.buffer, at, mine.op, (value,))
        return self.into_exit(root, out_offset(root, index), value, nest.row)

    def operand(self, root: Root, index: MultiIndex) -> Expr:
        eqn = root.eqn
        assert eqn is not None
        if eqn.prim is ops.dot_general:
            rank = eqn.output.type.ndim
            return self.ctx.expressions.product(eqn, index[:rank], index[rank:])
        return self.ctx.expressions.value(eqn.inputs[0], index)

    def combine(self, region: Region, lanes: _Lanes, nest: _Nest) -> None:
        """The lanes as one value, halving them in a fixed order."""
        total = lane_tree(self.emitter, region, lanes.buffer, lanes.op)
        root = lanes.root
        if root.exit:
            region.stmts.append(self.into_exit(root, lanes.out, total, nest.row))
            return
        local = self.emitter.local(_SHORT[lanes.op], total, region)
        region.stmts.append(Let(local, total))
        self.results[root] = Read(local)
        for slot in root.slots:
            value = cast_to(Read(local), slot.dtype)
            region.stmts.append(Store(self.ctx.buffer(slot), lanes.out, value))

    def empty_reductions(self, region: Region, stage: Stage, row: Index) -> None:
        """Reductions over nothing give their identity."""
        for root in stage.roots:
            if root.kind is RootKind.REDUCE and not root.exit:
                value: Expr = identity(combiner(root), accumulator(root))
                self.results[root] = value
                for slot in root.slots:
                    region.stmts.append(Store(self.ctx.buffer(slot), row, value))

    # ---- reductions over rows -------------------------------------------------------------------

    def start_exit(self, root: Root, region: Region) -> None:
        """Before the rows: the accumulators of a reduction that is complete after them."""
        op, dtype = combiner(root), accumulator(root)
        size = prod(root.out_shape)
        value, zero = identity(op, dtype), ix.const(0)
        if size == 1:
            width = min(lane_width(dtype), power_of_two(self.rows))
            shape = (width,) if width > 1 else ()
            self.totals[root] = buffer = self.ctx.local_array(f"{_SHORT[op]}_rows", dtype, shape)
            region.stmts.append(Alloc(buffer, value))
            if self.task is not None:
                self.part_slot(root, width, self.task)
        elif self.task is None:
            for slot in root.slots[:1]:
                self.fill(region, self.ctx.buffer(slot), [(size, zero, ix.const(size), 1)], value)
        else:
            self.start_exit_of_task(root, self.task, size, value)

    def start_exit_of_task(self, root: Root, task: _Task, size: int, value: Const) -> None:
        """The task's own part of the result, or a part of the sums over all the rows."""
        region, stage = task.region, self.kernel.stages[0]
        axes = [] if task.axis is None else self.axes.of_stage(stage, ix.const(0))
        strides = self.out_strides(root, axes, stage)
        if task.axis is None or not strides[task.axis]:
            slot = self.part_slot(root, size, task)
            whole = [(size, ix.const(0), ix.const(size), 1)]
            self.fill(region, self.ctx.buffer(slot), whole, value, task.index * size)
            return
        kept = [
            (axis.size, *self.bounds(a, 0, axis.size), stride)
            for a, (axis, stride) in enumerate(zip(axes, strides, strict=True))
            if stride
        ]
        self.fill(region, self.ctx.buffer(root.slots[0]), kept, value)

    def part_slot(self, root: Root, size: int, task: _Task) -> Slot:
        """Where the tasks leave their parts of a sum, `size` elements each."""
        slot = self.ctx.scratch("parts", accumulator(root), task.count * size, Place.WORK)
        self.parts[root] = slot
        return slot

    def fill(
        self,
        region: Region,
        buffer: Buffer,
        loops: Sequence[tuple[int, Index, Index, int]],
        value: Const,
        base: Index = ix.const(0),  # noqa: B008 - indices are immutable
    ) -> None:
        """Store `value` everywhere; a loop is its size, where it starts and stops, its stride."""
        opened: list[tuple[Region, str, Index, Index]] = []
        for size, start, stop, stride in loops:
            region, v, name = self.emitter.loop(region, "j", 0, size)
            base = base + v * stride
            opened.append((region, name, start, stop))
        region.stmts.append(Store(buffer, base, value))
        mode = Mode.SIMD
        for body, name, start, stop in reversed(opened):
            self.emitter.close_at(body, name, start, stop, mode=mode)
            mode = Mode.SERIAL

    def into_exit(self, root: Root, out: Index, value: Expr, row: Index) -> Stmt:
        op = combiner(root)
        if root in self.totals:
            buffer = self.totals[root]
            at = row % buffer.size if buffer.shape else ix.const(0)
            return Accumulate(buffer, at, op, (value,))
        if root in self.parts:
            assert self.task is not None
            place = self.task.index * prod(root.out_shape) + out
            return Accumulate(self.ctx.buffer(self.parts[root]), place, op, (value,))
        return Accumulate(self.ctx.buffer(root.slots[0]), out, op, (value,))

    def store_part(self, root: Root) -> None:
        """What the task has summed into its own lanes."""
        assert self.task is not None
        totals, part = self.totals[root], self.ctx.buffer(self.parts[root])
        body, lane, name = self.emitter.loop(self.task.region, "lane", 0, totals.size)
        place = self.task.index * totals.size + lane
        body.stmts.append(Store(part, place, Load(totals, lane)))
        self.emitter.close(body, name, 0, totals.size, mode=Mode.UNROLL)

    def finish_exit(self, root: Root, buffer: Buffer, width: int) -> None:
        """A scalar from the first `width` elements of `buffer`."""
        op = combiner(root)
        total = lane_tree(self.emitter, self.ctx.top, buffer, op, width)
        local = self.emitter.local(_SHORT[op], total, self.ctx.top)
        self.ctx.top.stmts.append(Let(local, total))
        self.results[root] = Read(local)
        for slot in root.slots:
            value = cast_to(Read(local), slot.dtype)
            self.ctx.top.stmts.append(Store(self.ctx.buffer(slot), ix.const(0), value))

    # ---- after all tasks ------------------------------------------------------------------------

    def build_last(self, parts: dict[Root, Slot], tasks: int) -> Built:
        """The function that adds up, in their order, what the tasks have summed."""
        for root, slot in parts.items():
            buffer = self.ctx.overwritten(slot)
            size = buffer.size // tasks
            add_parts(self.emitter, self.ctx.top, buffer, tasks, combiner(root))
            if prod(root.out_shape) == 1:
                self.finish_exit(root, buffer, size)
            else:
                self.store_sums(root, buffer, size)
        self.run_tail()
        return self.ctx.finish(suffix="_last")

    def store_sums(self, root: Root, sums: Buffer, size: int) -> None:
        for slot in root.slots:
            body, j, name = self.emitter.loop(self.ctx.top, "j", 0, size)
            body.stmts.append(Store(self.ctx.buffer(slot), j, cast_to(Load(sums, j), slot.dtype)))
            self.emitter.close(body, name, 0, size, mode=Mode.SIMD)

    # ---- the tail -------------------------------------------------------------------------------

    def run_tail(self) -> None:
        tails = [r for r in self.kernel.roots if r.tail]
        self.rows, self.axes = 1, Axes(self.ctx, 1)
        for size in dict.fromkeys(r.size for r in tails):
            stage = Stage(size, [r for r in tails if r.size == size])
            self.run_stage(self.ctx.top, stage, ix.const(0))


def around(body: Region) -> Mode:
    """How to run a loop that may go around others."""
    return Mode.ROLLED if any(isinstance(s, For) for s in body.stmts) else Mode.SERIAL


# ---- facts about roots -------------------------------------------------------------------------


def _chooses(root: Root) -> bool:
    """Whether its elements come from one place or another. (GCC 12 reads wrong elements where
    such loads are strided.)"""
    own = root.eqn is not None and root.eqn.prim in (ops.pad, ops.concat)
    return own or bool(root.path is not None and root.path.guards)
