"""The lanes of a reduction: how many there are, and how they become one value.

    lane_count(stage, 1024)     ->  64      four additions under way on 16 lanes each
    lane_tree(emitter, region, lanes, "add")     halves them in a fixed order

What decides are the program and its shapes, on every target, and so do the bits.
"""

from __future__ import annotations

from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.emit import Emitter, Region
from gradc.codegen.loops.ir import Accumulate, Buffer, Expr, Load, Mode, call
from gradc.codegen.loops.scalar import COMBINERS
from gradc.codegen.plan.kernel import Root, RootKind, Stage
from gradc.tracer.graph.types import DType

LANE_BYTES = 64
# Additions under way at a time in stages of so few cycles, along lines of so many times the width.
CHAINS, LIGHT_CYCLES, LONG_LINE = 4, 8, 16
TREE_VECTOR = 4  # lanes that are halved as vectors
# What the parts of a divided sum may take: bytes, and as a share of the elements summed.
PARTS_BYTES = 1 << 20
PARTS_SHARE = 16


def combiner(root: Root) -> str:
    assert root.eqn is not None
    return COMBINERS[root.eqn.prim.name]


def accumulator(root: Root) -> DType:
    assert root.eqn is not None
    return root.eqn.output.type.dtype.accumulate


def most_parts(summed: list[Root], size: int) -> int:
    """How many parts these sums over `size` elements may have."""
    each = sum(prod(r.out_shape) for r in summed)
    nbytes = sum(prod(r.out_shape) * accumulator(r).itemsize for r in summed)
    if not each:
        return max(size, 1)
    return min(size // (PARTS_SHARE * each), PARTS_BYTES // max(nbytes, 1))


def lane_width(dtype: DType) -> int:
    """Lanes of a reduction: a fixed number of bytes, on every target."""
    return max(min(LANE_BYTES // dtype.itemsize, 16), 1)


def lane_count(stage: Stage, size: int) -> int:
    """The lanes of a stage's reductions along an innermost axis of `size` elements: several times
    the width where little else happens, for an addition waits for the one before it."""
    widths = [lane_width(accumulator(r)) for r in stage.roots if r.kind is RootKind.REDUCE]
    if not widths:
        return 1
    width = min(widths)
    if sum(r.cycles for r in stage.roots) <= LIGHT_CYCLES and size >= LONG_LINE * width:
        width *= max(CHAINS // power_of_two(len(widths)), 1)
    return min(width, power_of_two(size))


def power_of_two(n: int) -> int:
    """The least power of two that is not below `n`."""
    return 1 << max(n - 1, 0).bit_length()


def lane_tree(
    emitter: Emitter, region: Region, buffer: Buffer, op: str, width: int = 0
) -> Expr:
    """The lanes as one value, halved again and again: all are in the first then."""
    width = width or buffer.size
    if width == 1:
        return Load(buffer, ix.const(0))
    while width > 2:
        width //= 2
        body, v, name = emitter.loop(region, "lane", 0, width)
        body.stmts.append(Accumulate(buffer, v, op, (Load(buffer, v + width),)))
        # As scalars, comparisons of many lanes would be many branches.
        mode = Mode.SIMD if width >= TREE_VECTOR else Mode.UNROLL
        emitter.close(body, name, 0, width, mode=mode)
    return call(op, Load(buffer, ix.const(0)), Load(buffer, ix.const(1)))
