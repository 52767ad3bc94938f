"""Chains: kernels that run one after the other on one cell of the batch at a time.

    s = q @ k.T;  p = softmax(s);  o = p @ v        for each head: s, p and o of that head

The cells of a batch do not meet: what a kernel computes of one, the next reads of the same. So one
task takes a cell through all of them while it is in the caches, and what no other kernel reads is
kept for the cell at hand only, in memory of the thread: it is never an array of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from gradc.codegen.loops.ir import Slot
from gradc.codegen.plan.kernel import Chain, Kernel, Plan, Root, RootKind
from gradc.codegen.plan.partition import Partition, same_row
from gradc.codegen.plan.schedule import Schedule
from gradc.codegen.plan.tiling import Tiling
from gradc.tracer.graph.ir import Var

# Threads share the cells: fewer are not worth having no other tasks.
LEAST_CELLS = 8
# How many kernels on to look for the next of a chain.
REACH = 16
# What a thread keeps of a cell, at most.
WINDOW_BYTES = 1 << 23


@dataclass
class _Finder:
    """The kernels in their order, and who reads and writes what."""

    p: Partition
    s: Schedule
    stored: set[Var]
    position: dict[Kernel, int] = field(default_factory=dict)
    readers: dict[Var, list[Kernel]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = {k: n for n, k in enumerate(self.s.kernels)}
        for kernel in self.s.kernels:
            for var in kernel.reads:
                self.readers.setdefault(var, []).append(kernel)

    def chain_from(self, first: Kernel) -> list[Kernel]:
        """The kernels that may follow `first` cell by cell."""
        assert isinstance(first.tiling, Tiling)
        cells, start = prod(first.tiling.batch), self.position[first]
        if cells < LEAST_CELLS or not self.has_cells(first, cells):
            return []
        members = [first]
        for kernel in self.s.kernels[start + 1 : start + 1 + REACH]:
            if kernel.chain is None and self.may_follow(kernel, members, cells, start):
                members.append(kernel)
        return members

    def may_follow(
        self, kernel: Kernel, members: list[Kernel], cells: int, start: int
    ) -> bool:
        """Whether it reads, of the members' values, its own cell only, and needs nothing else that
        is computed after the chain begins."""
        before_commit = self.position[kernel] < self.s.commit
        if before_commit != (start < self.s.commit) or not self.has_cells(kernel, cells):
            return False
        follows = False
        for root in kernel.roots:
            for read in root.reads:
                owner = self.p.roots.of.get(read.leaf)
                if owner is None or owner.kernel is kernel:
                    continue
                if owner.kernel in members:
                    follows = True
                    if not same_row(read, root, cells):
                        return False
                elif owner.kernel not in self.position or self.position[owner.kernel] > start:
                    return False
        return follows

    def has_cells(self, kernel: Kernel, cells: int) -> bool:
        """Whether its loops can be divided into the cells of a batch, each by itself."""
        if any(self.is_fixed(r) for r in kernel.roots):
            return False
        t = kernel.tiling
        if kernel.kind is RootKind.CONTRACTION and isinstance(t, Tiling):
            plain = not (t.swapped or t.blocked or t.sweeps or kernel.panels or t.k_parts > 1)
            return plain and prod(t.batch) == cells and kernel.size > 0
        if kernel.kind is not RootKind.MAP or not kernel.rows:
            return False
        sums = any(r.exit or r.tail or r.kind is RootKind.CHECK for r in kernel.roots)
        return not sums and kernel.rows % cells == 0

    def is_fixed(self, root: Root) -> bool:
        """Whether a root must stay where it is: it replaces state, or is a copy of something."""
        graph = self.p.values.graph
        replacing = {graph.outputs[o] for o, _ in graph.aliases}
        return root in self.s.copies or root in self.s.held or root.value in replacing

    def windows(self, members: Sequence[Kernel]) -> Iterator[Var]:
        """The values that only the chain reads."""
        outputs = set(self.p.values.graph.outputs)
        for kernel in members:
            for root in kernel.roots:
                for var in root.outputs:
                    apart = var in outputs or var in self.p.values.parts
                    users = self.readers.get(var, ())
                    if var in self.stored and not apart and users and set(users) <= set(members):
                        yield var


def find_chains(p: Partition, s: Schedule, stored: set[Var]) -> None:
    """Let kernels whose work is divided run in chains, where that keeps a value from memory."""
    finder = _Finder(p, s, stored)
    for kernel in list(s.kernels):
        divided = kernel.tasks > 1 and kernel.chain is None
        if not divided or kernel.kind is not RootKind.CONTRACTION:
            continue
        if not isinstance(kernel.tiling, Tiling) or not kernel.tiling.batch:
            continue
        members = finder.chain_from(kernel)
        windows = tuple(finder.windows(members))
        cells = prod(kernel.tiling.batch)
        kept = sum(_nbytes(v) for v in windows) // cells
        if len(members) > 1 and windows and kept <= WINDOW_BYTES:
            chain = Chain(cells, tuple(members), windows)
            for member in members:
                member.chain, member.tasks = chain, cells
    _gather(s)


def _nbytes(var: Var) -> int:
    return prod(d for d in var.type.shape if isinstance(d, int)) * var.type.dtype.itemsize


def _gather(s: Schedule) -> None:
    """The members of a chain stand together, where its first stood."""
    ordered: list[Kernel] = []
    for kernel in s.kernels:
        if kernel.chain is None:
            ordered.append(kernel)
        elif kernel is kernel.chain.kernels[0]:
            ordered += kernel.chain.kernels
    s.kernels = ordered


def windows_of(plan: Plan) -> dict[Slot, int]:
    """The arrays that a thread keeps one cell of, with their number of cells."""
    chains = dict.fromkeys(k.chain for k in plan.kernels if k.chain is not None)
    return {plan.places[v]: chain.cells for chain in chains for v in chain.windows}
