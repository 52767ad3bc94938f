"""Convolutions as loops: a tile of features by windows by lanes, all that is summed in order.

    for n: for group: for each tile of features: for the other windows: for each tile of windows:
        acc[rows][columns][lanes] = 0
        for channel: for position within the window:
            for i < rows: for p < columns: for j < lanes:
                acc[i][p][j] += w[feature + i, channel, within] * x[n, channel, window(p, j)]
        store acc, through the epilogue

Nothing is packed: with lanes along a line of the image, neighbouring lanes read neighbouring
elements, whatever the position within the window. Where lanes are along what is summed (see
`plan/convolution.py`) each element's lanes are added at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.division import close_tasks, divide, open_tasks
from gradc.codegen.loops.emit import Region, nested, tiled
from gradc.codegen.loops.epilogue import Epilogue
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    Alloc,
    At,
    Buffer,
    Const,
    If,
    Load,
    Mode,
    Store,
    call,
)
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.plan.access import contracted_sizes, product_indices
from gradc.codegen.plan.convolution import ConvolutionTiling, Piece, pieces
from gradc.codegen.plan.kernel import Kernel, Plan
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.types import int64

# (region, row, column, piece, lane of the piece)
LaneBody = Callable[[Region, Index, Index, "Piece", Index], None]


def build_convolution(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function of a convolution and its epilogue."""
    return [_Convolution(Context(kernel, plan, number)).build()]


@dataclass(slots=True)
class _Tile:
    """A tile: where it starts in the result's axes, and its extent."""

    batch: Index
    group: Index
    feature: Index
    windows: list[Index]
    rows: int
    columns: int
    lanes: int


class _Convolution:
    def __init__(self, ctx: Context) -> None:
        self.ctx, self.emitter, self.kernel = ctx, ctx.emitter, ctx.kernel
        root = self.kernel.roots[0]
        assert root.eqn is not None and isinstance(self.kernel.tiling, ConvolutionTiling)
        self.root, self.eqn, self.tiling = root, root.eqn, self.kernel.tiling
        self.stores = Epilogue(ctx).stores

    def build(self) -> Built:
        if self.root.size and not self.divided():
            with ExitStack() as stack:
                names = ["n", "g", "f", *("z" for _ in self.plain)]
                region, at = nested(self.emitter, stack, self.ctx.top, self.outer, names)
                self.features(region, at)
        return self.ctx.finish()

    # ---- loops ----------------------------------------------------------------------------------

    @property
    def plain(self) -> list[int]:
        """The axes of windows that no tile goes along."""
        t = self.tiling
        last = len(t.windows) - 1
        return [a for a in range(last + 1) if a != t.column_axis and (t.along or a != last)]

    @property
    def outer(self) -> list[int]:
        """The sizes of the outermost loops: n, groups, tiles of features, plain axes."""
        t = self.tiling
        tiles = -(-t.features // t.rows)
        return [t.batch, t.groups, tiles, *(t.windows[a] for a in self.plain)]

    def divided(self) -> bool:
        """Tasks over the outermost loops; False where that is one."""
        division = divide(self.outer, self.kernel.tasks) if self.kernel.tasks > 1 else None
        if division is None:
            return False
        region, task, name = open_tasks(self.emitter, division.tasks)
        at = division.position(self.emitter, region, task)
        opened: list[tuple[Region, str, Index, Index]] = []
        body = region
        for a, n in enumerate(self.outer[len(at) :], len(at)):
            bounds = division.bounds(task) if a == division.axis else (ix.const(0), ix.const(n))
            body, v, v_name = self.emitter.loop(body, "n", 0, n)
            at.append(v)
            opened.append((body, v_name, *bounds))
        self.features(body, at)
        for inner, v_name, start, stop in reversed(opened):
            self.emitter.close_at(inner, v_name, start, stop)
        close_tasks(self.emitter, region, name, division.tasks)
        return True

    def features(self, region: Region, at: Sequence[Index]) -> None:
        """One tile of features; the last one may have fewer, and loops of its own."""
        t = self.tiling
        batch, group, number, *plain = at
        full, rest = divmod(t.features, t.rows)
        windows = dict(zip(self.plain, plain))

        def tile(region: Region, feature: Index, rows: int) -> None:
            self.windows(region, _Tile(batch, group, feature, [], rows, 1, 1), windows)

        if not rest:
            tile(region, number * t.rows, t.rows)
            return
        inside, last = (self.emitter.inner(region) for _ in range(2))
        tile(inside, ix.minimum(number, ix.const(full - 1)) * t.rows, t.rows)
        tile(last, ix.const(full * t.rows), rest)
        is_full = call("lt", At(number), Const(full, int64))
        region.stmts.append(If(is_full, tuple(inside.stmts), tuple(last.stmts)))

    def windows(self, region: Region, tile: _Tile, at: dict[int, Index]) -> None:
        """The tiles along the axis of columns and along lines."""
        t = self.tiling
        axis, last = t.column_axis, len(t.windows) - 1

        def columns(body: Region, start: Index, count: int) -> None:
            here = {**at, axis: start}
            if t.along:
                self.tile(body, self.placed(tile, here, count, 1))
                return

            def lanes(body: Region, start: Index, width: int) -> None:
                self.tile(body, self.placed(tile, {**here, last: start}, count, width))

            tiled(self.emitter, body, "x", t.windows[last], t.lanes, lanes)

        size = t.windows[axis] if axis >= 0 else 1
        tiled(self.emitter, region, "y", size, t.columns, columns)

    def placed(self, tile: _Tile, at: dict[int, Index], columns: int, lanes: int) -> _Tile:
        where = [at[a] for a in range(len(self.tiling.windows))]
        return _Tile(tile.batch, tile.group, tile.feature, where, tile.rows, columns, lanes)

    # ---- one tile -------------------------------------------------------------------------------

    def tile(self, region: Region, tile: _Tile) -> None:
        t = self.tiling
        line = self.line(tile)
        lanes = sum(piece.lanes for piece in line)
        acc = self.ctx.local_array("acc", t.dtype, (tile.rows, tile.columns, lanes))
        region.stmts.append(Alloc(acc))
        self.clear(region, tile, acc, line)
        within = t.within[:-1] if t.along else t.within
        with ExitStack() as stack:
            names = ["c", *("kvw"[min(a, 2)] for a in range(len(within)))]
            body, (channel, *at) = nested(self.emitter, stack, region, (t.channels, *within), names)
            if t.along:

                def step(body: Region, start: Index, count: int) -> None:
                    self.products(body, tile, acc, channel, [*at, start], count)

                tiled(self.emitter, body, "k", t.within[-1], t.lanes, step)
            else:
                self.products(body, tile, acc, channel, at, tile.lanes)
        if t.along:
            self.add_lanes(region, acc, tile)
        self.epilogue(region, tile, acc, lanes)

    def clear(self, region: Region, tile: _Tile, acc: Buffer, line: Sequence[Piece]) -> None:
        """Zeros, in loops that are unrolled: an initialiser would become a call."""
        width, dtype = acc.shape[-1], self.tiling.dtype
        zero = Const(0.0 if dtype.is_float else 0, dtype)

        def body(region: Region, i: Index, p: Index, piece: Piece, lane: Index) -> None:
            place = (i * tile.columns + p) * width + piece.place + lane
            region.stmts.append(Store(acc, place, zero))

        self.over_tile(region, tile, line, Mode.UNROLL, body)

    def products(
        self,
        region: Region,
        tile: _Tile,
        acc: Buffer,
        channel: Index,
        within: Sequence[Index],
        count: int,
    ) -> None:
        """acc[i][p][j] += w * x for the whole tile, at one position within the window (at `count`
        positions, one a lane)."""
        width = acc.shape[-1]
        along = self.tiling.along
        line = pieces(count, self.tiling.dtype, False) if along else self.line(tile)

        def body(region: Region, i: Index, p: Index, piece: Piece, lane: Index) -> None:
            j = lane + piece.start
            summed = [*within[:-1], within[-1] + j] if along else list(within)
            index = self.index(tile, i, p, j)
            inner = (channel, *ix.unravel(ix.ravel(summed, self.tiling.within), self.inner_shape))
            at = product_indices(self.eqn, index, inner)
            x, w = (
                self.ctx.expressions.intern(self.ctx.expressions.value(a, e))
                for a, e in zip(self.eqn.inputs, at, strict=True)
            )
            place = (i * tile.columns + p) * width + piece.place + lane
            self.emitter.body(region, [Accumulate(acc, place, "fma", (w, x))])

        self.over_tile(region, tile, line, Mode.UNROLL, body)

    def line(self, tile: _Tile) -> tuple[Piece, ...]:
        """The pieces that the tile's lanes are kept in."""
        t = self.tiling
        return pieces(t.lanes, t.dtype, False) if t.along else pieces(tile.lanes, t.dtype, True)

    def over_tile(
        self,
        region: Region,
        tile: _Tile,
        line: Sequence[Piece],
        mode: Mode,
        body: LaneBody,
        fresh_only: bool = False,
    ) -> None:
        """Loops over rows, columns and lanes, one of lanes for each piece of the line."""
        rows, i, i_name = self.emitter.loop(region, "i", 0, tile.rows)
        columns, p, p_name = self.emitter.loop(rows, "p", 0, tile.columns)
        for piece in line:
            first = piece.fresh if fresh_only else 0
            count = piece.lanes - first
            lanes, j, j_name = self.emitter.loop(columns, "j", 0, count)
            body(lanes, i, p, piece, j + first)
            self.emitter.close(lanes, j_name, 0, count, mode=Mode.SIMD)
        self.emitter.close(columns, p_name, 0, tile.columns, mode=mode)
        self.emitter.close(rows, i_name, 0, tile.rows, mode=mode)

    @property
    def inner_shape(self) -> tuple[int, ...]:
        return contracted_sizes(self.eqn)[1:]

    def index(self, tile: _Tile, i: Index, p: Index, j: Index) -> MultiIndex:
        """The index in the result's own axes of lane `j` of column `p` of row `i`."""
        t = self.tiling
        feature = tile.group * t.features + (tile.feature + i)
        at = list(tile.windows)
        if t.column_axis >= 0:
            at[t.column_axis] = at[t.column_axis] + p
        if not t.along:
            at[-1] = at[-1] + j
        windows = known_shape(self.eqn.output.type.shape)[2:]
        return (tile.batch, feature, *ix.unravel(ix.ravel(at, t.windows), windows))

    def add_lanes(self, region: Region, acc: Buffer, tile: _Tile) -> None:
        """The lanes of every element added into the first, halving them."""
        lanes = acc.shape[-1]
        width = lanes
        outer, e, name = self.emitter.loop(region, "e", 0, prod(acc.shape[:-1]))
        while width > 1:
            width //= 2
            body, j, j_name = self.emitter.loop(outer, "j", 0, width)
            upper = Load(acc, e * lanes + j + width)
            body.stmts.append(Accumulate(acc, e * lanes + j, "add", (upper,)))
            self.emitter.close(body, j_name, 0, width, mode=Mode.SIMD)
        self.emitter.close(outer, name, 0, prod(acc.shape[:-1]))

    # ---- epilogue -------------------------------------------------------------------------------

    def epilogue(self, region: Region, tile: _Tile, acc: Buffer, width: int) -> None:
        """Store the tile through the elementwise eqns that follow the convolution."""

        def body(region: Region, i: Index, p: Index, piece: Piece, lane: Index) -> None:
            index = self.index(tile, i, p, lane + piece.start)
            place = (i * tile.columns + p) * width + piece.place + lane
            self.emitter.body(region, self.stores(index, Load(acc, place)))

        line = (Piece(0, 1, 0),) if self.tiling.along else self.line(tile)
        self.over_tile(region, tile, line, Mode.SERIAL, body, fresh_only=True)
