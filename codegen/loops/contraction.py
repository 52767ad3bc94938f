"""Contractions as loops: a register tile over rows and columns, all of k in order.

    for each panel of nr columns:
        pack b[k, columns] into the panel
        for each tile of mr rows:
            acc[mr][nr] = 0
            for k: for i < mr: for j < nr: acc[i][j] += a[i, k] * panel[k][j]
            store acc, through the epilogue

Lanes run along the columns, so every element of the result is one sum in the order of k, whatever
the tile. A row of the result alone (a vector times a matrix) needs no panel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import Division, by_cells, close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Region, add_parts, tiled
from gradc.codegen.loops.epilogue import Epilogue
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Buffer,
    Const,
    Expr,
    If,
    Load,
    Mode,
    Multiply,
    Place,
    Prefetch,
    Slot,
    Store,
    Strided,
    call,
)
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.loops.panel import Columns, strided
from gradc.codegen.loops.prefetch import LINE_BYTES, with_epilogue
from gradc.codegen.plan.access import product_indices
from gradc.codegen.plan.kernel import Kernel, Plan
from gradc.codegen.plan.tiling import Tiling, axis_groups, domain_sizes
from gradc.tracer.graph.types import int64

MULTIPLY_ROWS = 8  # that one `Multiply` takes

Tile = Callable[[Region, Index, list[Index], int], None]
Opened = list[tuple[Region, str, Index, Index]]


def build_contraction(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function of a contraction and its epilogue, or that of sums over parts of k and the one
    that adds them up."""
    first = _Contraction(Context(kernel, plan, number))
    if kernel.tasks < 2 or first.tiling.k_parts < 2 or not first.root.size:
        return [first.build()]
    parts, built = first.build_parts()
    return [built, _Contraction(Context(kernel, plan, number)).build_total(parts)]


@dataclass(slots=True)
class _Position:
    """Where in the result's axes the loops are: indices along the merged axes."""

    batch: list[Index]
    m: list[Index]
    n: list[Index]


@dataclass(slots=True)
class _Block:
    """The rows of one task, how many there are in most, and whether they are the last."""

    start: Index
    stop: Index
    rows: int
    is_last: Expr


@dataclass(frozen=True, slots=True)
class _Panel:
    """A panel that has been copied, from element `base` of an array on."""

    buffer: Buffer
    base: Index


class _Contraction:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.emitter, self.kernel = ctx, ctx.emitter, ctx.kernel
        root = self.kernel.roots[0]
        assert root.eqn is not None and isinstance(self.kernel.tiling, Tiling)
        self.root, self.eqn, self.tiling = root, root.eqn, self.kernel.tiling
        self.stores = Epilogue(ctx).stores
        self.scratch: Buffer | None = None
        self.asked: list[tuple[Buffer, bool]] = []  # what the epilogue touches
        self.rows_block: _Block | None = None  # None: all of them

    def build(self) -> Built:
        if not self.root.size:
            return self.ctx.finish()
        t = self.tiling
        if t.scratch_size and self.kernel.panels is None:
            self.scratch = self.ctx.buffer(self.ctx.scratch("panel", t.dtype, t.scratch_size))
        self.asked = with_epilogue(self.ctx)
        if self.kernel.tasks < 2 or not self.divided():
            region, batch, opened = self.open(self.ctx.top, "b", t.batch)
            region, n_outer, more = self.open(region, "q", t.n[:-1])
            self.panel_loop(region, _Position(batch, [], n_outer))
            self.close([*opened, *more])
        return self.ctx.finish()

    # ---- parts of k -----------------------------------------------------------------------------

    def build_parts(self) -> tuple[Slot, Built]:
        """A task for each part of k, which leaves its sums for all elements."""
        t = self.tiling
        size, count = self.root.size, prod(t.k) // t.k_parts
        parts = self.ctx.scratch("parts", t.dtype, t.k_parts * size, Place.WORK)
        buffer = self.ctx.buffer(parts)
        region, task, name = open_tasks(self.emitter, t.k_parts)
        k0 = self.emitter.named(region, "k0", task * count)
        body, q, opened = self.open(region, "q", t.n[:-1])
        at = _Position([], [], q)

        def columns(body: Region, start: Index, nr: int) -> None:
            def tile(body: Region, m: Index, outer: list[Index], mr: int) -> None:
                here = _Position([], [*outer, m], at.n)
                acc = self.accumulate(body, here, start, mr, nr, None, (k0, count))

                def put(region: Region, i: Index, j: Index) -> None:
                    row = _Position([], [*outer, m + i], [*at.n, start + j])
                    place = task * size + ix.ravel(self.domain_index(row), self.root.shape)
                    region.stmts.append(Store(buffer, place, Load(acc, i * nr + j)))

                self.over_tile(body, mr, nr, put)

            self.row_tiles(body, tile)

        tiled(self.emitter, body, "p", t.n[-1], t.nr, columns)
        self.close(opened)
        close_tasks(self.emitter, region, name, t.k_parts)
        return parts, self.ctx.finish()

    def build_total(self, parts: Slot) -> Built:
        """Add up the parts in their order, and store the result through the epilogue."""
        size, region = self.root.size, self.ctx.top
        buffer = self.ctx.overwritten(parts)
        add_parts(self.emitter, region, buffer, self.tiling.k_parts, "add")
        body, e, name = self.emitter.loop(region, "e", 0, size)
        self.emitter.body(body, self.stores(ix.unravel(e, self.root.shape), Load(buffer, e)))
        self.emitter.close(body, name, 0, size, mode=Mode.SIMD)
        return self.ctx.finish(suffix="_last")

    def over_tile(
        self, region: Region, mr: int, nr: int, body: Callable[[Region, Index, Index], None]
    ) -> None:
        rows, i, i_name = self.emitter.loop(region, "i", 0, mr)
        lanes, j, j_name = self.emitter.loop(rows, "j", 0, nr)
        body(lanes, i, j)
        self.emitter.close(lanes, j_name, 0, nr, mode=Mode.SIMD)
        self.emitter.close(rows, i_name, 0, mr)

    # ---- tasks ----------------------------------------------------------------------------------

    def divided(self) -> bool:
        """Tasks over products of the batch, panels of columns and blocks of rows; False where that
        is one."""
        t = self.tiling
        chain = self.kernel.chain
        if chain is not None:
            rows = t.m[-1] * prod(t.batch) // chain.cells
        else:
            rows = t.rows_of_task(self.kernel.tasks) if len(t.m) == 1 else t.m[-1]
        blocks = -(-t.m[-1] // rows)
        rows_first = t.sweeps or chain is not None
        inner = (blocks, t.panels) if rows_first else (t.panels, blocks)
        sizes = (*t.batch, *t.n[:-1], *inner)
        if chain is not None:
            division: Division | None = by_cells(sizes, chain.cells)
        else:
            division = divide(sizes, self.kernel.tasks)
        if division is None:
            return False
        region, task, name = open_tasks(self.emitter, division.tasks)
        variables = division.position(self.emitter, region, task, named=chain is None)
        opened: Opened = []
        body = region
        for a, n in enumerate(sizes[len(variables) :], len(variables)):
            bounds = division.bounds(task) if a == division.axis else (ix.const(0), ix.const(n))
            body, v, v_name = self.emitter.loop(body, "p", 0, n)
            variables.append(v)
            opened.append((body, v_name, *bounds))
        n_batch = len(t.batch)
        at = _Position(variables[:n_batch], [], variables[n_batch:-2])
        block, panel = variables[-2:] if rows_first else variables[:-3:-1]
        self.block_of(block, rows, blocks)
        self.any_panel(body, at, panel)
        self.close(opened)
        close_tasks(self.emitter, region, name, division.tasks)
        return True

    def block_of(self, number: Index, rows: int, blocks: int) -> None:
        """From now on, only block `number` of the rows."""
        if blocks > 1:
            start = number * rows
            stop = ix.minimum(start + rows, ix.const(self.tiling.m[-1]))
            last = call("eq", At(number), Const(blocks - 1, int64))
            self.rows_block = _Block(start, stop, rows, last)

    # ---- loops ----------------------------------------------------------------------------------

    def open(
        self, region: Region, base: str, sizes: Sequence[int]
    ) -> tuple[Region, list[Index], Opened]:
        variables: list[Index] = []
        opened: Opened = []
        for n in sizes:
            region, v, name = self.emitter.loop(region, base, 0, n)
            variables.append(v)
            opened.append((region, name, ix.const(0), ix.const(n)))
        return region, variables, opened

    def close(self, opened: Opened) -> None:
        for body, name, start, stop in reversed(opened):
            self.emitter.close_at(body, name, start, stop)

    def panel_loop(self, region: Region, at: _Position) -> None:
        panels = self.tiling.panels
        if panels == 1:
            self.any_panel(region, at, ix.const(0))
            return
        body, v, name = self.emitter.loop(region, "p", 0, panels)
        self.any_panel(body, at, v)
        self.emitter.close(body, name, 0, panels)

    def any_panel(self, region: Region, at: _Position, number: Index) -> None:
        """All rows against panel `number`. One that is not copied must not be read past the last
        column, so that the last one may need loops of its own."""
        t = self.tiling
        full = t.n[-1] // t.nr
        if t.packed or full == t.panels:
            whole = self.panel if t.packed else self.columns
            whole(region, at, number * t.nr)
        elif t.panels == 1:
            self.rows(region, at, ix.const(0), t.n[-1], None)
        else:
            inside, last = (self.emitter.inner(region) for _ in range(2))
            self.columns(inside, at, ix.minimum(number, ix.const(full - 1)) * t.nr)
            self.rows(last, at, ix.const(full * t.nr), t.n[-1] % t.nr, None)
            is_full = call("lt", At(number), Const(full, int64))
            region.stmts.append(If(is_full, tuple(inside.stmts), tuple(last.stmts)))

    def columns(self, region: Region, at: _Position, start: Index) -> None:
        """All rows against the columns of a panel where they are."""
        self.rows(region, at, start, self.tiling.nr, None)

    def panel(self, region: Region, at: _Position, start: Index) -> None:
        """All rows against the copied panel of columns from `start`."""
        t = self.tiling
        if self.kernel.panels is not None:
            shared = self.ctx.buffer(self.kernel.panels)
            self.rows(region, at, start, t.nr, _Panel(shared, start * prod(t.k)))
            return
        buffer = self.scratch
        assert buffer is not None
        if not t.blocked:
            self.pack(region, at, start, buffer, ix.const(0), prod(t.k))
            self.rows(region, at, start, t.nr, _Panel(buffer, ix.const(0)))
            return
        self.clear_partial(region, buffer)
        full = t.k[0] - t.k[0] % t.k_block
        body, k0, name = self.emitter.loop(region, "k0", 0, full, t.k_block)
        self.block(body, at, start, buffer, k0, t.k_block)
        self.emitter.close(body, name, 0, full, t.k_block)
        if full < t.k[0]:
            self.block(region, at, start, buffer, ix.const(full), t.k[0] - full)
        self.finish_partial(region, at, start, buffer)

    # ---- the panel ------------------------------------------------------------------------------

    def pack(
        self, region: Region, at: _Position, start: Index, panel: Buffer, k0: Index, count: int
    ) -> None:
        """Copy the columns from `start` into the panel."""
        t = self.tiling

        def element(column: Index, k: Index) -> Expr:
            return self.operand(1, _Position(at.batch, [], [*at.n, column]), self.along(k))

        matrix = Columns(self.ctx, element, t.n[-1], t.nr, t.along_k, t.dtype)
        matrix.pack(region, start, panel, ix.const(0), k0, count)

    def along(self, flat: Index) -> MultiIndex:
        """Indices along the contracted axes at a position in all of k."""
        groups, sizes = axis_groups(self.eqn), domain_sizes(self.eqn)
        return ix.unravel(flat, tuple(sizes[a] for a in groups[3]))

    # ---- rows and tiles -------------------------------------------------------------------------

    def rows(
        self, region: Region, at: _Position, start: Index, nr: int, panel: _Panel | None
    ) -> None:
        """Every row of the result against `nr` columns."""

        def tile(body: Region, m: Index, outer: list[Index], mr: int) -> None:
            here = _Position(at.batch, [*outer, m], at.n)
            self.ask_for(body, here, start, mr, nr)
            acc = self.accumulate(body, here, start, mr, nr, panel, None)
            self.epilogue(body, here, start, mr, nr, acc, nr, ix.const(0))

        self.row_tiles(region, tile)

    def row_tiles(self, region: Region, tile: Tile) -> None:
        """Run `tile(body, first row, outer indices, rows)` over all rows."""
        t = self.tiling
        region, outer, opened = self.open(region, "p", t.m[:-1])
        rows, block = t.m[-1], self.rows_block
        main = rows - rows % t.mr
        if block is not None and self.kernel.chain is not None:
            # Counted from the block's first row: a cell's place is known by that.
            body, r, name = self.emitter.loop(region, "m", 0, block.rows, t.mr)
            tile(body, block.start + r, outer, t.mr)
            self.emitter.close(body, name, 0, block.rows, t.mr)
        elif main == t.mr:
            tile(region, ix.const(0), outer, t.mr)
        elif main:
            start, stop = ix.const(0), ix.const(main)
            if block is not None:
                start, stop = block.start, ix.minimum(block.stop, stop)
            body, m, name = self.emitter.loop(region, "m", 0, main, t.mr)
            tile(body, m, outer, t.mr)
            self.emitter.close_at(body, name, start, stop, t.mr)
        if rows % t.mr and not (block is not None and self.kernel.chain is not None):
            rest = region if block is None else self.emitter.inner(region)
            tile(rest, ix.const(main), outer, rows % t.mr)
            if block is not None:
                region.stmts.append(If(block.is_last, tuple(rest.stmts)))
        self.close(opened)

    def ask_for(self, region: Region, at: _Position, start: Index, mr: int, nr: int) -> None:
        """Have the lines that the epilogue of a tile will read and write come while it is summed:
        a tile touches a few lines in each of several distant rows."""
        if not self.asked:
            return
        rows, i, name = self.emitter.loop(region, "i", 0, mr)
        for buffer, write in self.asked:
            for j in range(0, nr, LINE_BYTES // buffer.dtype.itemsize):
                column = ix.minimum(start + j, ix.const(self.tiling.n[-1] - 1))
                row = _Position(at.batch, [*at.m[:-1], at.m[-1] + i], [*at.n, column])
                offset = ix.ravel(self.domain_index(row), self.root.shape)
                rows.stmts.append(Prefetch(buffer, offset, write))
        self.emitter.close(rows, name, 0, mr)

    def accumulate(
        self,
        region: Region,
        at: _Position,
        start: Index,
        mr: int,
        nr: int,
        panel: _Panel | None,
        block: tuple[Index, int] | None,
    ) -> Buffer:
        """The tile's sums over k (over one block of it)."""
        t = self.tiling
        acc = self.ctx.local_array("acc", t.dtype, (mr, nr))
        region.stmts.append(Alloc(acc))
        k0, count = block if block is not None else (ix.const(0), prod(t.k))
        whole = self.whole_tile(at, start, acc, k0, count, panel)
        if whole is not None:
            region.stmts.append(whole)
            return acc
        self.clear(region, acc, mr, nr)
        body, k, k_name = self.emitter.loop(region, "k", 0, count)
        rows, i, i_name = self.emitter.loop(body, "i", 0, mr)
        lanes, j, j_name = self.emitter.loop(rows, "j", 0, nr)
        row = _Position(at.batch, [*at.m[:-1], at.m[-1] + i], [])
        a = self.operand(0, row, self.along(k0 + k))
        if panel is not None:
            b: Expr = Load(panel.buffer, panel.base + k * nr + j)
        else:
            b = self.operand(1, _Position(at.batch, [], [*at.n, start + j]), self.along(k0 + k))
        b = self.ctx.expressions.intern(b)
        self.emitter.body(lanes, [Accumulate(acc, i * nr + j, "fma", (a, b))])
        self.emitter.close(lanes, j_name, 0, nr, mode=Mode.SIMD)
        self.emitter.close(rows, i_name, 0, mr, mode=Mode.UNROLL)
        self.emitter.close(body, k_name, 0, count)
        return acc

    def whole_tile(
        self, at: _Position, start: Index, acc: Buffer, k0: Index, count: int, panel: _Panel | None
    ) -> Multiply | None:
        """The tile as one statement, where its operands are matrices in memory."""
        mr, nr = acc.shape
        if not self.tiling.dtype.is_float or nr % 8 or mr > MULTIPLY_ROWS or not count:
            return None
        i, j, k = ix.var("tile i", mr), ix.var("tile j", nr), ix.var("tile k", count)
        along = self.along(k0 + k)
        row = _Position(at.batch, [*at.m[:-1], at.m[-1] + i], [])
        a = strided(self.operand(0, row, along), i, k)
        if panel is not None:
            b: Strided | None = Strided(panel.buffer, panel.base, 1, nr)
        else:
            column = _Position(at.batch, [], [*at.n, start + j])
            b = strided(self.operand(1, column, along), j, k)
        if a is None or b is None or b.row != 1:
            return None
        return Multiply(acc, mr, nr, a, b, count)

    def clear(self, region: Region, acc: Buffer, mr: int, nr: int) -> None:
        """Zeros, in loops that are unrolled: an initialiser would be made a call of memset, and
        the sums then live in memory besides registers."""
        zero = Const(0.0 if self.tiling.dtype.is_float else 0, self.tiling.dtype)
        rows, i, i_name = self.emitter.loop(region, "i", 0, mr)
        lanes, j, j_name = self.emitter.loop(rows, "j", 0, nr)
        lanes.stmts.append(Store(acc, i * nr + j, zero))
        self.emitter.close(lanes, j_name, 0, nr, mode=Mode.SIMD)
        self.emitter.close(rows, i_name, 0, mr, mode=Mode.UNROLL)

    def operand(self, side: int, at: _Position, along: MultiIndex) -> Expr:
        """Side 0 gives rows, side 1 columns; which operand that is depends on `swapped`."""
        which = side ^ self.tiling.swapped
        index = self.domain_index(at)
        a, b = product_indices(self.eqn, index, along)
        return self.ctx.expressions.value(self.eqn.inputs[which], (a, b)[which])

    def domain_index(self, at: _Position) -> MultiIndex:
        """The index in the result's own axes; missing groups are at 0."""
        t = self.tiling
        groups, sizes = axis_groups(self.eqn), domain_sizes(self.eqn)
        m, n = (at.n, at.m) if t.swapped else (at.m, at.n)
        m_sizes, n_sizes = (t.n, t.m) if t.swapped else (t.m, t.n)
        index: list[Index] = []
        for variables, merged, axes in (
            (at.batch, t.batch, groups[0]), (m, m_sizes, groups[1]), (n, n_sizes, groups[2]),
        ):  # fmt: skip
            flat = ix.ravel(variables, merged) if variables else ix.const(0)
            index += ix.unravel(flat, tuple(sizes[a] for a in axes))
        return tuple(index)

    # ---- epilogue -------------------------------------------------------------------------------

    def epilogue(
        self,
        region: Region,
        at: _Position,
        start: Index,
        mr: int,
        nr: int,
        sums: Buffer,
        stride: int,
        base: Index,
    ) -> None:
        """Store the tile through the elementwise eqns that follow the product."""
        rows, i, i_name = self.emitter.loop(region, "i", 0, mr)
        lanes, j, name = self.emitter.loop(rows, "j", 0, nr)
        stop, column = self.column(lanes, start, j, nr)
        row = _Position(at.batch, [*at.m[:-1], at.m[-1] + i], [*at.n, column])
        product = Load(sums, base + i * stride + j)
        self.emitter.body(lanes, self.stores(self.domain_index(row), product))
        self.emitter.close_at(lanes, name, ix.const(0), stop, mode=Mode.SIMD)
        self.emitter.close(rows, i_name, 0, mr)

    def column(self, region: Region, start: Index, j: Index, nr: int) -> tuple[Index, Index]:
        """How many columns of the tile are inside, and the column of lane `j`: where the last
        tile is cut short, a local, which is known to be inside."""
        columns = self.tiling.n[-1]
        stop = ix.minimum(ix.const(nr), ix.const(columns) - start)
        return stop, self.emitter.ranged(region, "column", start + j, columns)

    # ---- k in blocks ----------------------------------------------------------------------------

    def partial_row(self, outer: list[Index], m: Index) -> Index:
        """Where the partial sums of a row begin, behind the panel."""
        t = self.tiling
        return ix.ravel([*outer, m], t.m) * t.nr + t.panel_size

    def clear_partial(self, region: Region, buffer: Buffer) -> None:
        t = self.tiling
        n = prod(t.m) * t.nr
        start, stop = ix.const(0), ix.const(n)
        if self.rows_block is not None:
            start, stop = self.rows_block.start * t.nr, self.rows_block.stop * t.nr
        body, v, name = self.emitter.loop(region, "j", 0, n)
        zero = Const(0.0 if t.dtype.is_float else 0, t.dtype)
        body.stmts.append(Store(buffer, v + t.panel_size, zero))
        self.emitter.close_at(body, name, start, stop, mode=Mode.SIMD)

    def block(
        self, region: Region, at: _Position, start: Index, buffer: Buffer, k0: Index, count: int
    ) -> None:
        """Add one block of k to the partial sums of every row."""
        nr = self.tiling.nr
        self.pack(region, at, start, buffer, k0, count)

        def tile(body: Region, m: Index, outer: list[Index], mr: int) -> None:
            here = _Position(at.batch, [*outer, m], at.n)
            panel = _Panel(buffer, ix.const(0))
            acc = self.accumulate(body, here, start, mr, nr, panel, (k0, count))

            def add(region: Region, i: Index, j: Index) -> None:
                place = self.partial_row(outer, m + i) + j
                sum_ = Load(acc, i * nr + j)
                region.stmts.append(Accumulate(buffer, place, "add", (sum_,)))

            self.over_tile(body, mr, nr, add)

        self.row_tiles(region, tile)

    def finish_partial(self, region: Region, at: _Position, start: Index, buffer: Buffer) -> None:
        def tile(body: Region, m: Index, outer: list[Index], mr: int) -> None:
            here = _Position(at.batch, [*outer, m], at.n)
            base = self.partial_row(outer, m)
            nr = self.tiling.nr
            self.epilogue(body, here, start, mr, nr, buffer, nr, base)

        self.row_tiles(region, tile)
