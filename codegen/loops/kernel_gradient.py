"""Gradients of convolution kernels as loops (see `plan/kernel_gradient.py`).

    part:  for image: for vector of features: panel = the image's places, features innermost
               for batch: for tile of the kernel's window:
                   acc[rows][columns][lanes] = sum over places; part += acc
    last:  part 0 += part 1 += ...; store, through the epilogue
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import Division, close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Region, add_parts, nested, tiled
from gradc.codegen.loops.epilogue import Epilogue
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    Buffer,
    Const,
    Expr,
    Load,
    Mode,
    Place,
    Slot,
    Store,
)
from gradc.codegen.loops.panel import Columns, strided
from gradc.codegen.plan.access import product_indices
from gradc.codegen.plan.kernel import Kernel, Plan
from gradc.codegen.plan.kernel_gradient import KernelGradient
from gradc.tracer.graph.ir import Eqn


def build_kernel_gradient(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function that sums parts, and the one that adds them up."""
    sums = _Sums(Context(kernel, plan, number))
    first = sums.build()
    return [first, _Total(Context(kernel, plan, number)).build(sums.parts, sums.count)]


def _facts(ctx: Context) -> tuple[Eqn, KernelGradient]:
    eqn, tiling = ctx.kernel.roots[0].eqn, ctx.kernel.tiling
    assert eqn is not None and isinstance(tiling, KernelGradient)
    return eqn, tiling


class _Sums:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.emitter = ctx, ctx.emitter
        self.eqn, self.tiling = _facts(ctx)
        t = self.tiling
        self.division: Division | None = None
        if ctx.kernel.tasks > 1:
            self.division = divide((t.channels,), min(t.parts, ctx.kernel.tasks))
        self.count = self.division.tasks if self.division is not None else 1
        self.panel = ctx.buffer(ctx.scratch("panel", t.dtype, t.scratch_size))
        size = self.count * prod(t.part_shape)
        self.parts: Slot = ctx.scratch("parts", t.dtype, size, Place.WORK)
        self.part = ctx.buffer(self.parts)
        self.base = ix.const(0)  # where this task's part begins

    def build(self) -> Built:
        if self.division is None:
            self.images(self.ctx.top, ix.const(0), ix.const(self.tiling.channels))
        else:
            region, task, name = open_tasks(self.emitter, self.count)
            self.base = task * prod(self.tiling.part_shape)
            self.images(region, *self.division.bounds(task))
            close_tasks(self.emitter, region, name, self.count)
        return self.ctx.finish()

    def images(self, region: Region, start: Index, stop: Index) -> None:
        t = self.tiling
        self.clear(region, self.part, prod(t.part_shape), self.base)
        body, n, name = self.emitter.loop(region, "n", 0, t.channels)
        with ExitStack() as stack:
            blocks = (t.groups, t.vectors)
            inner, (group, vector) = nested(self.emitter, stack, body, blocks, "gf")
            self.pack(inner, n, group, vector)
            plain, names = (t.batch, *t.windows[:-2]), ["b", *("z" for _ in t.windows)]
            inner, (b, *at) = nested(self.emitter, stack, inner, plain, names)
            outer = t.windows[-2] if len(t.windows) > 1 else 1

            def rows(region: Region, y: Index, count: int) -> None:
                def columns(region: Region, x: Index, width: int) -> None:
                    here = [*at, y, x] if len(t.windows) > 1 else [x]
                    self.tile(region, (n, group, vector, b), here, count, width)

                tiled(self.emitter, region, "x", t.windows[-1], t.columns, columns)

            tiled(self.emitter, inner, "y", outer, t.rows, rows)
        self.emitter.close_at(body, name, start, stop)

    def clear(self, region: Region, buffer: Buffer, count: int, base: Index) -> None:
        body, j, name = self.emitter.loop(region, "j", 0, count)
        body.stmts.append(Store(buffer, base + j, Const(0.0, self.tiling.dtype)))
        self.emitter.close(body, name, 0, count, mode=Mode.SIMD)

    # ---- the panel ------------------------------------------------------------------------------

    def pack(self, region: Region, n: Index, group: Index, vector: Index) -> None:
        """panel[place][j] = feature j of the vector there; 0 behind the last feature."""
        t = self.tiling

        def element(feature: Index, place: Index) -> Expr:
            return self.second(n, group, feature, place)

        j, k = ix.var("lane j", t.lanes), ix.var("place k", prod(t.within))
        source = strided(element(vector * t.lanes + j, k), j, k)
        along = source is not None and source.step == 1
        matrix = Columns(self.ctx, element, t.features, t.lanes, along, t.dtype)
        start, base = vector * t.lanes, ix.const(0)
        matrix.pack(region, start, self.panel, base, ix.const(0), prod(t.within))

    def second(self, n: Index, group: Index, feature: Index, place: Index) -> Expr:
        t = self.tiling
        zeros = [ix.const(0)] * len(t.windows)
        index = (ix.const(0), group * t.features + feature, *zeros)
        _, at = product_indices(self.eqn, index, (n, *ix.unravel(place, t.within)))
        return self.ctx.expressions.intern(self.ctx.expressions.value(self.eqn.inputs[1], at))

    # ---- one tile -------------------------------------------------------------------------------

    def tile(
        self,
        region: Region,
        where: tuple[Index, Index, Index, Index],
        windows: Sequence[Index],
        rows: int,
        columns: int,
    ) -> None:
        t = self.tiling
        n, group, vector, b = where
        acc = self.ctx.local_array("acc", t.dtype, (rows, columns, t.lanes))
        region.stmts.append(Alloc(acc))

        def over(region: Region, mode: Mode, body: Callable[..., None]) -> None:
            """`body(region, place in acc, window, lane)` for the whole tile."""
            outer, i, i_name = self.emitter.loop(region, "i", 0, rows)
            inner, p, p_name = self.emitter.loop(outer, "p", 0, columns)
            lanes, j, j_name = self.emitter.loop(inner, "j", 0, t.lanes)
            at = [*windows[:-2], windows[-2] + i] if len(windows) > 1 else []
            body(lanes, (i * columns + p) * t.lanes + j, (*at, windows[-1] + p), j)
            self.emitter.close(lanes, j_name, 0, t.lanes, mode=Mode.SIMD)
            self.emitter.close(inner, p_name, 0, columns, mode=mode)
            self.emitter.close(outer, i_name, 0, rows, mode=mode)

        def clear(region: Region, place: Index, at: tuple[Index, ...], j: Index) -> None:
            region.stmts.append(Store(acc, place, Const(0.0, t.dtype)))

        def add(region: Region, place: Index, at: tuple[Index, ...], j: Index) -> None:
            position = ix.ravel((b, group, vector, *at, j), t.part_shape)
            sum_ = Load(acc, place)
            region.stmts.append(Accumulate(self.part, self.base + position, "add", (sum_,)))

        over(region, Mode.UNROLL, clear)
        with ExitStack() as stack:
            body, k = nested(self.emitter, stack, region, t.within, "kvw")
            of_panel = ix.ravel(k, t.within) * t.lanes

            def multiply(region: Region, place: Index, at: tuple[Index, ...], j: Index) -> None:
                index = (b, group * t.features, *at)
                first, _ = product_indices(self.eqn, index, (n, *k))
                x = self.ctx.expressions.value(self.eqn.inputs[0], first)
                factors = (Load(self.panel, of_panel + j), self.ctx.expressions.intern(x))
                self.emitter.body(region, [Accumulate(acc, place, "fma", factors)])

            over(body, Mode.UNROLL, multiply)
        over(region, Mode.SERIAL, add)


class _Total:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.emitter = ctx, ctx.emitter
        _, self.tiling = _facts(ctx)
        self.stores = Epilogue(ctx).stores

    def build(self, parts: Slot, count: int) -> Built:
        """Add up the parts, in their order, and store the result."""
        t, buffer = self.tiling, self.ctx.overwritten(parts)
        if count > 1:
            add_parts(self.emitter, self.ctx.top, buffer, count, "add")
        sizes = (t.batch, t.groups, t.features, *t.windows)
        with ExitStack() as stack:
            names = ["i" for _ in sizes]
            region, at = nested(self.emitter, stack, self.ctx.top, sizes, names)
            b, group, feature, *windows = at
            vector, lane = feature // t.lanes, feature % t.lanes
            place = ix.ravel((b, group, vector, *windows, lane), t.part_shape)
            index = (b, group * t.features + feature, *windows)
            self.emitter.body(region, self.stores(index, Load(buffer, place)))
        return self.ctx.finish(suffix="_last")
