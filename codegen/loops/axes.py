"""The loops of a kernel's rows and stages: their sizes, where they are cut, which are tiled.

    axes = Axes(ctx, rows)
    axes.rows(roots)             [64]              the loops over rows
    axes.of_stage(stage, row)    [j: 512]          the loops of one stage within a row

Axes are refined for the shapes that values have on the way, so that indices need no division, and
merged where every offset moves along two of them as along one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Context
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.loops.nest import collapse, refine
from gradc.codegen.plan.access import Reads
from gradc.codegen.plan.kernel import Root, RootKind, Stage
from gradc.codegen.plan.roots import starts

MAX_PIECES = 6  # loops a stage may be cut into
TILE = 8  # the side of the blocks in which arrays are transposed; more lines would meet in one set
FAR = 16  # elements apart, neighbours share no cache line


@dataclass(slots=True)
class Axis:
    """One loop to come: its base name, its size, and where it is cut into loops of their own, so
    that each knows which piece of a concatenation or padding it is in."""

    base: str
    size: int
    cuts: list[int]

    @property
    def pieces(self) -> list[tuple[int, int]]:
        return list(pairwise((0, *self.cuts, self.size)))


class Axes:
    """Chooses the loops of one kernel."""

    def __init__(self, ctx: Context, rows: int) -> None:
        self.ctx = ctx
        self.row_count = rows

    def rows(self, roots: Sequence[Root]) -> list[int]:
        """The sizes of the loops over rows."""
        if self.row_count == 1:
            return []
        shapes = [_prefix(s, self.row_count) for s in _shapes(roots)]
        fine = refine((s for s in shapes if s is not None), self.row_count)
        variables = [ix.var(f"r{a}", n) for a, n in enumerate(fine)]
        row = ix.ravel(variables, fine)
        elements: list[MultiIndex] = []
        for root in roots:
            inner = root.size // self.row_count
            flat = row * inner + (ix.var("e", inner) if inner > 1 else 0)
            elements.append(ix.unravel(flat, root.shape))
        return collapse(variables, fine, self.offsets(roots, elements))

    def of_stage(self, stage: Stage, row: Index) -> list[Axis]:
        """The loops of a stage within row `row`."""
        if stage.inner == 1:
            return []
        shapes = [_suffix(s, self.row_count, stage.inner) for s in _shapes(stage.roots)]
        fine = refine((s for s in shapes if s is not None), stage.inner)
        variables = [ix.var(f"e{a}", n) for a, n in enumerate(fine)]
        flat = row * stage.inner + ix.ravel(variables, fine)
        elements = [ix.unravel(flat, root.shape) for root in stage.roots]
        sizes = collapse(variables, fine, self.offsets(stage.roots, elements))
        axes = [Axis("jklm"[min(a, 3)], n, []) for a, n in enumerate(sizes)]
        self.cut(axes, stage, row)
        return axes

    def reads(self, roots: Sequence[Root], elements: Sequence[MultiIndex]) -> Reads:
        """What these elements of the roots' domains read; what they share is followed once."""
        values = self.ctx.plan.values
        start = [x for root, at in zip(roots, elements) for x in starts(root, at, values)]
        return self.ctx.walker.reads(start)

    def offsets(self, roots: Sequence[Root], elements: Sequence[MultiIndex]) -> list[Index]:
        """Every offset and number these elements depend on."""
        found = self.reads(roots, elements)
        offsets = [r.offset for r in found.found] + list(found.numbers)
        for root, index in zip(roots, elements):
            if root.kind is RootKind.REDUCE:
                offsets.append(out_offset(root, index))
        return list(dict.fromkeys(offsets))

    # ---- cuts -----------------------------------------------------------------------------------

    def cut(self, axes: list[Axis], stage: Stage, row: Index) -> None:
        """Find the cuts of the axes: where guards that depend on one axis alone turn."""
        if not any(r.path is not None and r.path.guards for r in stage.roots):
            return
        seen: dict[tuple[int, tuple[int, int]], list[int]] = {}

        def boundaries(a: int, piece: tuple[int, int]) -> list[int]:
            if (a, piece) not in seen:
                seen[a, piece] = list(self.boundaries(axes, a, piece, stage, row))
            return seen[a, piece]

        again = True
        while again:  # a cut may settle one guard and bring out another behind it
            again = False
            for a, axis in enumerate(axes):
                found = {t for piece in axis.pieces for t in boundaries(a, piece)}
                cuts = sorted(found | set(axis.cuts))
                others = prod(len(x.pieces) for x in axes) // len(axis.pieces)
                if cuts != axis.cuts and others * (len(cuts) + 1) <= MAX_PIECES:
                    axis.cuts, again = cuts, True

    def boundaries(
        self, axes: list[Axis], a: int, piece: tuple[int, int], stage: Stage, row: Index
    ) -> Iterator[int]:
        """Where, within a piece of axis `a`, guards turn."""
        start, stop = piece
        if stop - start < 2:
            return
        variables = [ix.var(f"e{n}", axis.size) for n, axis in enumerate(axes)]
        variables[a] = ix.symbol(f"e{a}", start, stop - 1)
        for guard in self.stage_reads(stage, axes, variables, row).guards:
            t = guard.boundary(variables[a].terms[0][0])
            if t is not None and start < t < stop:
                yield t

    def stage_reads(
        self, stage: Stage, axes: list[Axis], variables: list[Index], row: Index
    ) -> Reads:
        flat = row * stage.inner + ix.ravel(variables, [x.size for x in axes])
        return self.reads(stage.roots, [ix.unravel(flat, r.shape) for r in stage.roots])

    # ---- transposition --------------------------------------------------------------------------

    def crossing(self, stage: Stage, axes: list[Axis], row: Index) -> int | None:
        """The axis along which a stage reads, where it writes along the last one and both are
        long: each cache line would be fetched again and again."""
        if len(axes) < 2 or any(r.kind is not RootKind.MAP for r in stage.roots):
            return None
        if any(x.cuts for x in axes) or axes[-1].size < FAR:
            return None
        variables = [ix.var(f"e{n}", axis.size) for n, axis in enumerate(axes)]
        last = variables[-1].terms[0][0]
        for read in self.stage_reads(stage, axes, variables, row).found:
            far = ix.stride(read.offset, last)
            for a, v in enumerate(variables[:-1]):
                near = ix.stride(read.offset, v.terms[0][0])
                if far and abs(far) >= FAR and near == 1 and axes[a].size >= FAR:
                    return a
        return None


def out_offset(root: Root, index: MultiIndex) -> Index:
    """Where a reduction's result for this element of its domain lies."""
    return ix.ravel([index[a] for a in root.kept], root.out_shape)


def _shapes(roots: Sequence[Root]) -> list[tuple[int, ...]]:
    """Shapes of the domains, then those of the values on the way."""
    shapes = [r.shape for r in roots]
    for r in roots:
        if r.path is not None:
            shapes += r.path.shapes
    return list(dict.fromkeys(shapes))


def _prefix(shape: tuple[int, ...], rows: int) -> tuple[int, ...] | None:
    """The leading axes that make up the rows."""
    for a in range(len(shape) + 1):
        if prod(shape[:a]) == rows:
            return shape[:a]
    return None


def _suffix(shape: tuple[int, ...], rows: int, inner: int) -> tuple[int, ...] | None:
    """The axes behind the rows, if they have `inner` elements."""
    for a in range(len(shape) + 1):
        if prod(shape[:a]) == rows and prod(shape[a:]) == inner:
            return shape[a:]
    return None
