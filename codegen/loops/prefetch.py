"""Memory asked for before it is needed, in kernels that stay with a row for several stages.

    softmax    stage 1 (exp, sum) of row i asks for x of row i + 1 and for the output of row i

The stages of a row work in cache; between rows they would wait for memory, because processors
fetch ahead within a page, and a row is often as long as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Context
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import Buffer, Prefetch, Slot, Stmt
from gradc.codegen.plan.kernel import Root, RootKind, Stage
from gradc.codegen.plan.tiling import Tiling

LINE_BYTES = 64
# Smaller arrays stay in the second cache between calls.
LARGE_BYTES = 1 << 20
# Rows of at least a few lines, and so short that the next one does not displace this one.
ROW_BYTES = (512, 16384)
MOST_ARRAYS = 4
# Smaller results of contractions are at hand in the second cache.
TILED_BYTES = 1 << 18


@dataclass(slots=True)
class Ahead:
    """What is asked for during `stage`: the next row of what is read, this row of what later
    stages write."""

    stage: Stage
    read: list[Buffer]
    written: list[Buffer]
    rows: int

    def statements(self, row: Index, start: Index, count: int) -> list[Stmt]:
        """For elements `[start, start + count)` of a row."""
        next_row = ix.minimum(row + 1, ix.const(self.rows - 1))
        arrays = [(b, next_row, False) for b in self.read] + [(b, row, True) for b in self.written]
        return [
            Prefetch(buffer, at * (buffer.size // self.rows) + start + k, write)
            for buffer, at, write in arrays
            for k in range(0, count, LINE_BYTES // buffer.dtype.itemsize)
        ]


def ahead(ctx: Context) -> Ahead | None:
    """What a kernel of rows should ask for, in the last stage that sums along whole rows and is
    followed by another."""
    kernel = ctx.kernel
    rows = kernel.rows or 0
    body = [r for r in kernel.roots if not r.tail]
    if rows < 2 or not body:
        return None
    inner = max(r.size // rows for r in body)
    summing = [s for s in kernel.stages[:-1] if s.inner == inner and any(map(_sums, s.roots))]
    if not summing:
        return None
    stage = summing[-1]
    later = kernel.stages[kernel.stages.index(stage) + 1 :]
    own = {v for r in body for v in r.outputs}
    read = [x.leaf for r in body if r.size == rows * inner for x in r.reads if x.in_order(r.shape)]
    stored = [r for s in later for r in s.roots if r.kind is RootKind.MAP]
    places = ctx.plan.places
    return Ahead(
        stage,
        _worthy(ctx, [places[v] for v in read if v not in own and v in places], rows, inner),
        _worthy(ctx, [slot for root in stored for slot in root.slots], rows, inner),
        rows,
    )


def with_epilogue(ctx: Context) -> list[tuple[Buffer, bool]]:
    """The arrays laid out as a contraction's result that its epilogue touches, and whether it
    writes them."""
    if not isinstance(ctx.kernel.tiling, Tiling) or ctx.kernel.tiling.blocked:
        return []
    own = {v for r in ctx.kernel.roots for v in r.outputs}
    places = ctx.plan.places
    slots: dict[Slot, bool] = {}
    for root in ctx.kernel.roots:
        slots |= dict.fromkeys(root.slots, True)
        if root.kind is RootKind.MAP:
            read = [x.leaf for x in root.reads if x.in_order(root.shape)]
            for leaf in read:
                if leaf in places and leaf not in own:
                    slots.setdefault(places[leaf], False)
    return [(ctx.buffer(s), write) for s, write in slots.items() if s.nbytes >= TILED_BYTES]


def _sums(root: Root) -> bool:
    return root.kind is RootKind.REDUCE and not root.exit


def _worthy(ctx: Context, slots: Iterable[Slot], rows: int, inner: int) -> list[Buffer]:
    """The first few that are large, in rows of fit length."""
    least, most = ROW_BYTES
    found = []
    for slot in dict.fromkeys(slots):
        size = slot.nbytes
        of_rows = prod(slot.shape) == rows * inner and least <= size // rows <= most
        if of_rows and size >= LARGE_BYTES:
            found.append(slot)
    return [ctx.buffer(slot) for slot in found[:MOST_ARRAYS]]
