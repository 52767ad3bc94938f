"""How a contraction runs: which axes are tiled, the tile, and whether a panel is packed.

The result has outer axes (batch, and what cannot be merged), one axis of rows (m) and one of
columns (n); a tile of `mr` rows by `nr` columns is accumulated in registers over all of k, k in
order, lanes along n. So the tile has no influence on the result's bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.nest import collapse
from gradc.codegen.plan import cost
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn
from gradc.tracer.graph.types import DType

if TYPE_CHECKING:
    from gradc.codegen.plan.kernel import Root

LANE_BYTES = 64
ROWS = 8
ACCUMULATORS = 16  # groups of lanes in a tile: rows times lane groups of a row
MAX_LANE_GROUPS = 8
UNPACKED_ROWS = 4  # so few rows do not pay for copying the panel
NEAR_BYTES = 32 * 1024  # nor does a right operand of this size, which stays in the first cache
# A task copies its own panel, which pays for so many rows; a few tasks there must be in any case.
BLOCK_ROWS, LEAST_ROWS, LEAST_TASKS = 512, 64, 16
K_BLOCK = 1024
# An update of so many bytes beside the product is memory that is read once: it goes along the rows,
# which lie in one piece, so many at a time; the panel, copied anew, pays for itself with these.
SWEPT_BYTES, SWEPT_ROWS = 1 << 22, 192
# A matrix of so many bytes is read by parts of its rows for few vectors.
PARTED_BYTES, MOST_PARTS = 1 << 18, 8


@dataclass(frozen=True, slots=True)
class Tiling:
    """Attributes:
    batch, m, n, k: sizes of the merged axes; the last of `m` and `n` are tiled.
    swapped: lanes run along m (n has one element), the operands changing places.
    mr, nr: the tile.
    packed: the panel of the right operand (k_block x nr) is copied first.
    along_k: in memory the right operand lies along k.
    k_block: products taken at a time.
    scratch_bytes: the panel, and partial sums where k has several blocks.
    sweeps: a task does all columns of a few rows before the next rows, not all rows of a panel.
    k_parts: sums over so many parts of k are made, and added up by a second function. So a matrix
        that meets a vector is divided by its rows, as its update is, and stays in the caches of
        the threads that read and write it.
    """

    batch: tuple[int, ...]
    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    swapped: bool
    mr: int
    nr: int
    packed: bool
    along_k: bool
    k_block: int
    dtype: DType
    scratch_bytes: int
    sweeps: bool = False
    k_parts: int = 1

    @property
    def panel_size(self) -> int:
        return self.k_block * self.nr if self.packed else 0

    @property
    def blocked(self) -> bool:
        return self.k_block < prod(self.k)

    def rows_of_task(self, tasks: int) -> int:
        """How many rows a task takes of the last axis of `m`, where about `tasks` are wanted."""
        rows = self.m[-1]
        each = SWEPT_ROWS if self.sweeps else -(-rows // max(self._blocks(tasks, rows), 1))
        return min(-(-each // self.mr) * self.mr, rows)

    def _blocks(self, tasks: int, rows: int) -> int:
        """Blocks of rows that each panel is worth copying for."""
        others = prod(self.batch) * prod(self.n[:-1]) * self.panels
        blocks = min(tasks // others, rows // BLOCK_ROWS)
        if others * blocks < LEAST_TASKS:
            blocks = min(-(-LEAST_TASKS // others), tasks, rows // LEAST_ROWS)
        return blocks

    @property
    def panels(self) -> int:
        """Tiles side by side."""
        return -(-self.n[-1] // self.nr)

    @property
    def scratch_size(self) -> int:
        return self.scratch_bytes // self.dtype.itemsize


def choose_tiling(root: Root, epilogue: Sequence[Root] = ()) -> Tiling:
    """The tiling of a contraction root, whose result the roots of `epilogue` read."""
    eqn = root.eqn
    assert eqn is not None
    batch, m, n, k = (merge_axes(root, axes) for axes in axis_groups(eqn))
    swapped = prod(n) == 1
    if swapped:
        m, n = n, m
    dtype = eqn.output.type.dtype
    lanes = LANE_BYTES // dtype.itemsize
    # An empty side still needs a tile that exists.
    rows, columns = max((m or [1])[-1], 1), max((n or [1])[-1], 1)
    mr = min(ROWS, rows)
    groups = min(MAX_LANE_GROUPS, ACCUMULATORS // mr)
    nr = min(groups, -(-columns // lanes)) * lanes
    near = prod(k) * columns * dtype.itemsize <= NEAR_BYTES and columns % nr == 0
    packed = not _contiguous_columns(root, swapped) or (prod(m) > UNPACKED_ROWS and not near)
    blocked = packed and len(k) == 1 and k[0] > 2 * K_BLOCK
    k_block = K_BLOCK if blocked else prod(k)
    panel = k_block * nr if packed else 0
    partial = prod(m) * nr if blocked else 0
    return Tiling(
        tuple(batch), tuple(m or [1]), tuple(n or [1]), tuple(k), swapped,
        mr, nr, packed, _along_k(root, swapped), k_block, dtype, (panel + partial) * dtype.itemsize,
        not swapped and not blocked and len(m) == 1 and m[0] >= 2 * SWEPT_ROWS
        and _bytes_read(root, epilogue) >= SWEPT_BYTES,
        _k_parts(k[0], prod(m), prod(n), dtype) if not packed and len(k) == 1 and not batch else 1,
    )  # fmt: skip


def _k_parts(k: int, rows: int, columns: int, dtype: DType) -> int:
    """Equal parts of k, where few rows meet a large matrix."""
    if rows > UNPACKED_ROWS or k * columns * dtype.itemsize < PARTED_BYTES or not dtype.is_float:
        return 1
    return max(p for p in range(1, MOST_PARTS + 1) if k % p == 0)


def _bytes_read(root: Root, epilogue: Sequence[Root]) -> int:
    """Bytes of arrays laid out as the result that are read beside it."""
    own = {v for r in (root, *epilogue) for v in r.outputs}
    mapped = [r for r in epilogue if r.size == root.size]
    leaves = {x.leaf for r in mapped for x in r.reads if x.in_order(r.shape)}
    return sum(cost.nbytes(v.type) for v in leaves - own)


def _contiguous_columns(root: Root, swapped: bool) -> bool:
    """Whether the operand that gives the columns has them side by side in memory."""
    assert root.eqn is not None
    sizes = domain_sizes(root.eqn)
    axes = [a for a in axis_groups(root.eqn)[1 if swapped else 2] if sizes[a] > 1]
    if not axes:
        return True
    last = domain_variables(root.eqn)[axes[-1]].terms[0][0]
    return all(ix.stride(read.offset, last) in (0, 1) for read in root.reads)


def _along_k(root: Root, swapped: bool) -> bool:
    """Whether the operand that gives the columns lies along k, and not along them."""
    assert root.eqn is not None
    if _contiguous_columns(root, swapped):
        return False
    sizes, variables = domain_sizes(root.eqn), domain_variables(root.eqn)
    groups = axis_groups(root.eqn)
    columns = [variables[a] for a in groups[1 if swapped else 2] if sizes[a] > 1]
    inner = [variables[a] for a in groups[3] if sizes[a] > 1]
    if not inner:
        return False
    along = inner[-1].terms[0][0]
    return all(
        ix.stride(read.offset, along) == 1
        for read in root.reads
        if any(ix.stride(read.offset, c.terms[0][0]) != 0 for c in columns)
    )


def axis_groups(eqn: Eqn) -> tuple[range, range, range, range]:
    """Domain positions of batch, m, n and k axes; those of k follow the result's."""
    params = eqn.params
    n_batch = len(params.batch[0])
    n_m = eqn.inputs[0].type.ndim - n_batch - len(params.contract[0])
    rank = eqn.output.type.ndim
    return (
        range(n_batch),
        range(n_batch, n_batch + n_m),
        range(n_batch + n_m, rank),
        range(rank, rank + len(params.contract[0])),
    )


def domain_sizes(eqn: Eqn) -> tuple[int, ...]:
    """Sizes of all axes: the result's, then the contracted ones."""
    sizes = known_shape(eqn.inputs[0].type.shape)
    return known_shape(eqn.output.type.shape) + tuple(sizes[a] for a in eqn.params.contract[0])


def domain_variables(eqn: Eqn) -> tuple[Index, ...]:
    """The variables a contraction's reads are written over: `d0 ...`, then `k0 ...`."""
    sizes = domain_sizes(eqn)
    rank = eqn.output.type.ndim
    names = [f"d{a}" if a < rank else f"k{a - rank}" for a in range(len(sizes))]
    return tuple(ix.var(name, n) for name, n in zip(names, sizes))


def merge_axes(root: Root, axes: Sequence[int]) -> list[int]:
    """These axes of a contraction, neighbours merged where its operands allow."""
    assert root.eqn is not None
    variables, sizes = domain_variables(root.eqn), domain_sizes(root.eqn)
    offsets = [read.offset for read in root.reads]
    return collapse([variables[a] for a in axes], [sizes[a] for a in axes], offsets)
