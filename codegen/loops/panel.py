"""Panels: a few columns of a matrix copied so that they lie side by side, k after k.

    panel[base + k*width + j] = b[k0 + k, first + j],  0 behind the last column

A product copies the panel it is about to use into memory of its thread. A matrix that many small
products read is copied once for all of them, all panels one after the other (`build_panels`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Emitter, Region
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    At,
    Buffer,
    Const,
    Expr,
    If,
    Load,
    Mode,
    Select,
    Stmt,
    Store,
    Strided,
    Transpose,
    call,
)
from gradc.codegen.plan.access import product_indices
from gradc.codegen.plan.kernel import Kernel, Plan
from gradc.codegen.plan.tiling import Tiling, axis_groups, domain_sizes
from gradc.tracer.graph.types import DType, int64

RUN = 16  # elements along k copied to a panel at a time


@dataclass(frozen=True, slots=True)
class Columns:
    """A matrix to copy panels of.

    Attributes:
        at: its element in a column, at a place along k.
        count: its columns.
        width: the columns of a panel.
        along_k: in memory it lies along k.
    """

    ctx: Context
    at: Callable[[Index, Index], Expr]
    count: int
    width: int
    along_k: bool
    dtype: DType

    @property
    def emitter(self) -> Emitter:
        return self.ctx.emitter

    def pack(
        self, region: Region, first: Index, target: Buffer, base: Index, k0: Index, count: int
    ) -> None:
        """Copy the columns from `first` at `count` places along k. Where the matrix lies along k,
        it is read in short runs along k."""
        if self.along_k and self._turned(region, first, target, base, k0, count):
            return
        if self.along_k and count > RUN:
            main = count - count % RUN
            body, run, name = self.emitter.loop(region, "run", 0, main, RUN)
            self._pack_run(body, first, target, base, k0, run, RUN)
            self.emitter.close(body, name, 0, main, RUN)
            if count > main:
                start = ix.const(main)
                self._pack_run(region, first, target, base, k0, start, count - main)
            return
        body, k, k_name = self.emitter.loop(region, "k", 0, count)
        inner, j, j_name = self.emitter.loop(body, "j", 0, self.width)
        self.emitter.body(inner, [self._element(first, target, base, k0, k, j)])
        self.emitter.close(inner, j_name, 0, self.width, mode=Mode.SIMD)
        self.emitter.close(body, k_name, 0, count)

    def _pack_run(
        self,
        region: Region,
        first: Index,
        target: Buffer,
        base: Index,
        k0: Index,
        start: Index,
        count: int,
    ) -> None:
        body, j, j_name = self.emitter.loop(region, "j", 0, self.width)
        inner, k, k_name = self.emitter.loop(body, "k", 0, count)
        self.emitter.body(inner, [self._element(first, target, base, k0, start + k, j)])
        self.emitter.close(inner, k_name, 0, count, mode=Mode.SIMD)
        self.emitter.close(body, j_name, 0, self.width)

    def _element(
        self, first: Index, target: Buffer, base: Index, k0: Index, k: Index, j: Index
    ) -> Stmt:
        column = first + j
        inside = ix.minimum(column, ix.const(self.count - 1))
        value = self.at(inside, k0 + k)
        if inside is not column:
            within = call("lt", At(column), Const(self.count, int64))
            zero = Const(0.0 if self.dtype.is_float else 0, self.dtype)
            value = self.ctx.expressions.intern(Select(within, value, zero))
        return Store(target, base + k * self.width + j, value)

    # ---- matrices that lie along k --------------------------------------------------------------

    def _turned(
        self, region: Region, first: Index, target: Buffer, base: Index, k0: Index, count: int
    ) -> bool:
        """The panel as a matrix turned, if that is what it is; the last one may be cut short."""
        if not self.dtype.is_float or self.width % 8:
            return False
        full, left = divmod(self.count, self.width)

        def turn(first: Index, columns: int) -> tuple[Stmt, ...]:
            j, k = ix.var("tile j", columns), ix.var("tile k", count)
            source = strided(self.at(first + j, k0 + k), j, k)
            if source is None or source.step != 1:
                return ()
            return (Transpose(target, self.width, columns, source, count, base),)

        if first.is_constant or not left:
            columns = self.width
            if first.is_constant:
                columns = min(columns, self.count - first.constant)
            found = turn(first, columns)
            region.stmts += found
            return bool(found)
        main = turn(ix.minimum(first, ix.const((full - 1) * self.width)), self.width)
        last = turn(ix.const(full * self.width), left)
        if main and last:
            is_full = call("lt", At(first), Const(full * self.width, int64))
            region.stmts.append(If(is_full, main, last))
        return bool(main and last)


def strided(e: Expr, i: Index, k: Index) -> Strided | None:
    """`e` as element (i, k) of a matrix in memory."""
    if not isinstance(e, Load):
        return None
    if not all(isinstance(a, ix.Var) for a, _ in e.index.terms):
        return None
    row, step = (ix.stride(e.index, v.terms[0][0]) if v.terms else 0 for v in (i, k))
    assert row is not None and step is not None
    return Strided(e.buffer, e.index - i * row - k * step, row, step)


# ---- all panels of a matrix ----------------------------------------------------------------------


def build_panels(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function that copies all panels of a product's right operand."""
    (root,) = kernel.roots
    ctx, eqn, t = Context(kernel, plan, number), root.eqn, kernel.tiling
    assert eqn is not None and isinstance(t, Tiling)
    groups, sizes = axis_groups(eqn), domain_sizes(eqn)
    along = tuple(sizes[a] for a in groups[3])
    columns = tuple(sizes[a] for a in groups[2])
    rows = (ix.const(0),) * (len(groups[0]) + len(groups[1]))  # of one element, the batch's

    def at(column: Index, k: Index) -> Expr:
        index = (*rows, *ix.unravel(column, columns))
        where = product_indices(eqn, index, ix.unravel(k, along))[1]
        return ctx.expressions.value(eqn.inputs[1], where)

    buffer, size = ctx.buffer(root.slots[0]), prod(t.k)
    matrix = Columns(ctx, at, t.n[0], t.nr, t.along_k, t.dtype)

    def panel(region: Region, p: Index) -> None:
        matrix.pack(region, p * t.nr, buffer, p * (size * t.nr), ix.const(0), size)

    division = divide((t.panels,), kernel.tasks)
    region, name, bounds = ctx.top, "", (ix.const(0), ix.const(t.panels))
    if division is not None:
        region, task, name = open_tasks(ctx.emitter, division.tasks)
        bounds = division.bounds(task)
    body, p, p_name = ctx.emitter.loop(region, "p", 0, t.panels)
    panel(body, p)
    ctx.emitter.close_at(body, p_name, *bounds)
    if division is not None:
        close_tasks(ctx.emitter, region, name, division.tasks)
    return [ctx.finish()]
