"""How a convolution runs: which axis gives the lanes, and the tile held in registers.

The result has axes (n, group, feature, windows...) and is summed over (channel, within...). A tile
of `rows` features by `columns` windows by `lanes` is accumulated over all that is summed:

    across   lanes are neighbouring windows: images, where lines are long
    along    lanes are neighbours of what is summed, their sums added at the end in a fixed order:
             gradients of kernels of few features (of others: `kernel_gradient.py`)

The tile has no influence on the result's bits but for the number of lanes of `along`, which is
chosen by the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.nest import collapse
from gradc.codegen.plan.access import contracted_sizes
from gradc.codegen.plan.kernel_gradient import KernelGradient, choose_kernel_gradient
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.types import DType

if TYPE_CHECKING:
    from gradc.codegen.plan.kernel import Root

VECTOR_BYTES = 32
ACCUMULATORS = 24  # vectors in a tile
MAX_ROWS = 8
MAX_COLUMNS = 6
LINE_BYTES = 128  # lanes of a tile where lines are long
PIECE_BYTES = (64, 32, 16)  # what lines are cut into: whole vectors of some size
WHOLE = 0.7  # what a tile is worth if another, cut short, must be compiled beside it
FEW_ROWS = 5  # what is used no oftener, compilers load again instead of keeping it in a register


@dataclass(frozen=True, slots=True)
class Piece:
    """Lanes computed together, a power of two of them.

    Attributes:
        start: their first position in the line; the last piece may begin within the one before.
        lanes: how many.
        place: where the tile keeps them.
        fresh: the first lane that no piece before has.
    """

    start: int
    lanes: int
    place: int
    fresh: int = 0


def pieces(count: int, dtype: DType, overlap: bool) -> tuple[Piece, ...]:
    """A line of `count` lanes in powers of two: 13 as 8 and, where they may overlap, 8 again."""
    found: list[Piece] = []
    start = 0
    widths = [b // dtype.itemsize for b in PIECE_BYTES if b >= dtype.itemsize]
    while start < count:
        rest = count - start
        lanes = min(widths[0], 1 << (rest.bit_length() - 1))
        above = max(1 << (rest - 1).bit_length(), widths[-1])
        if overlap and rest < widths[0] and rest not in widths and above <= count:
            lanes = above
        fresh = max(lanes - rest, 0)
        found.append(Piece(start - fresh, lanes, sum(p.lanes for p in found), fresh))
        start += lanes - fresh
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ConvolutionTiling:
    """Attributes:
    batch, groups, features: sizes of the result's first axes, features within one group.
    windows: its other axes, merged where the operands allow.
    channels: channels summed over. within: positions of a window, merged likewise.
    along: lanes are along the last axis of `within` (else of `windows`).
    rows, columns, lanes: the tile: features, windows of another axis, and lanes.
    column_axis: the axis of `windows` the columns are of; -1: there is none.
    """

    batch: int
    groups: int
    features: int
    windows: tuple[int, ...]
    channels: int
    within: tuple[int, ...]
    along: bool
    rows: int
    columns: int
    lanes: int
    column_axis: int
    dtype: DType


def choose_convolution(root: Root) -> ConvolutionTiling | KernelGradient:
    """The tiling of a convolution root."""
    eqn = root.eqn
    assert eqn is not None
    batch, features, *windows = known_shape(eqn.output.type.shape)
    channels, *within = contracted_sizes(eqn)
    groups, dtype = eqn.params.groups, eqn.output.type.dtype
    rank = eqn.output.type.ndim
    outer = [ix.var(f"d{a}", n) for a, n in enumerate(windows, 2)]
    inner = [ix.var(f"k{a}", n) for a, n in enumerate(within, 1)]
    assert len(outer) == rank - 2
    offsets = [read.offset for read in root.reads]
    merged_windows = collapse(outer, windows, offsets) or [1]
    merged_within = collapse(inner, within, offsets) or [1]
    along = _lanes_along(outer, inner, merged_windows[-1], merged_within[-1], offsets)
    per_group = features // groups
    by_features = choose_kernel_gradient(eqn) if along else None
    if by_features is not None:
        return by_features
    if along:
        lanes = _sum_lanes(merged_within[-1], dtype)
        axis = len(merged_windows) - 1
    else:
        lanes = _line_lanes(merged_windows[-1], dtype)
        axis = len(merged_windows) - 2 if lanes == merged_windows[-1] else -1
    size = merged_windows[axis] if axis >= 0 else 1
    width = sum(p.lanes for p in pieces(lanes, dtype, True)) * dtype.itemsize
    rows, columns = _tile(per_group, size, width)
    return ConvolutionTiling(
        batch, groups, per_group, tuple(merged_windows), channels, tuple(merged_within), along,
        rows, columns, lanes, axis, dtype,
    )  # fmt: skip


def _lanes_along(
    outer: Sequence[Index],
    inner: Sequence[Index],
    windows: int,
    within: int,
    offsets: Sequence[Index],
) -> bool:
    """Whether lanes run along what is summed: both operands lie along it, and it is longer."""
    if within <= windows:
        return False
    last = next((v for v in reversed(inner) if v.terms), None)
    return last is not None and all(ix.stride(o, last.terms[0][0]) == 1 for o in offsets)


def _sum_lanes(size: int, dtype: DType) -> int:
    """Sixteen or eight lanes (half of that where elements are twice as wide), the wider where it
    wastes nothing."""
    wide = 2 * VECTOR_BYTES // dtype.itemsize
    narrow = max(wide // 2, 1)
    return wide if -(-size // wide) * 2 == -(-size // narrow) else narrow


def _line_lanes(size: int, dtype: DType) -> int:
    """A whole line where it is short, else equal parts of it in whole vectors."""
    most = LINE_BYTES // dtype.itemsize
    if size <= most:
        return max(size, 1)
    vector = max(VECTOR_BYTES // dtype.itemsize, 1)
    part = -(-size // -(-size // most))
    return -(-part // vector) * vector


def _tile(features: int, windows: int, lane_bytes: int) -> tuple[int, int]:
    """Rows and columns with the most multiplications per load, that divide their axes well."""
    vectors = -(-lane_bytes // VECTOR_BYTES)

    def worth(tile: tuple[int, int]) -> tuple[float, int, int]:
        rows, columns = tile
        loads = rows + columns * vectors * (1 if rows > FEW_ROWS else rows)
        score = rows * columns * vectors / loads * _used(features, rows) * _used(windows, columns)
        cut = (features % rows > 0) + (windows % columns > 0)
        return score * WHOLE**cut, rows, -columns

    sizes = product(range(1, min(MAX_ROWS, max(features, 1)) + 1),
                    range(1, min(MAX_COLUMNS, max(windows, 1)) + 1))  # fmt: skip
    fitting = [t for t in sizes if prod(t) * vectors <= ACCUMULATORS]
    return max(fitting, key=worth, default=(1, 1))


def _used(size: int, part: int) -> float:
    """The share of whole parts of an axis that is used."""
    return size / (-(-size // part) * part) if size else 1.0
