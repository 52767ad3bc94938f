"""Loops divided into tasks: independent pieces whose bounds depend on sizes alone.

    divide((64, 12, 100), wanted=24)    ->   Division(axis=1, block=6)    64 * 2 tasks

A task has fixed positions along the loops outside `axis`, `block` iterations of `axis`, and all
of the loops inside. Any thread may run it, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.emit import Emitter, Region
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import Mode

TASK = "task"


@dataclass(frozen=True, slots=True)
class Division:
    """Tasks over the leading loops of `sizes`."""

    sizes: tuple[int, ...]
    axis: int
    block: int

    @property
    def blocks(self) -> int:
        return -(-self.sizes[self.axis] // self.block)

    @property
    def tasks(self) -> int:
        return prod(self.sizes[: self.axis]) * self.blocks

    def position(
        self, emitter: Emitter, region: Region, task: Index, named: bool = True
    ) -> list[Index]:
        """The indices of a task along the loops outside `axis`, as locals of its body where they
        are to be `named`."""
        sizes = self.sizes[: self.axis]
        outer = ix.unravel(task // self.blocks, sizes)
        if not named:
            return list(outer)
        return [emitter.named(region, "i", e) for e in outer]

    def bounds(self, task: Index) -> tuple[Index, Index]:
        """Where a task begins and ends along `axis`."""
        start = task % self.blocks * self.block
        return start, ix.minimum(start + self.block, ix.const(self.sizes[self.axis]))


def divide(sizes: Sequence[int], wanted: int, grain: int = 1) -> Division | None:
    """About `wanted` tasks over the loops of `sizes`, outermost first; blocks are a multiple of
    `grain` iterations. None where that is less than two tasks."""
    if wanted < 2:
        return None
    outer = 1
    for axis, n in enumerate(sizes):
        if outer * n >= wanted or axis == len(sizes) - 1:
            block = -(-n * outer // wanted)
            block = min(-(-block // grain) * grain, max(n, 1))
            found = Division(tuple(sizes), axis, block)
            return found if found.tasks >= 2 else None
        outer *= n
    return None


def by_cells(sizes: Sequence[int], cells: int) -> Division:
    """A task for each of `cells` positions along the leading loops."""
    axis, outer = 0, 1
    while outer < cells and axis < len(sizes):
        outer *= sizes[axis]
        axis += 1
    if outer != cells or axis == len(sizes):
        sizes, axis = (cells, prod(sizes) // cells), 1
    return Division(tuple(sizes), axis, sizes[axis])


def open_tasks(emitter: Emitter, tasks: int) -> tuple[Region, Index, str]:
    """The body of the loop over tasks, which ends a function, the task's number and its name."""
    return emitter.loop(emitter.top, TASK, 0, tasks)


def close_tasks(emitter: Emitter, body: Region, name: str, tasks: int) -> None:
    emitter.close(body, name, 0, tasks, mode=Mode.PARALLEL)
