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
from gradc.codegen.plan import cost
from gradc.codegen.plan.kernel import Chain, Kernel, Plan, Root, RootKind
from gradc.codegen.plan.partition import Partition, same_row
from gradc.codegen.plan.schedule import Schedule
from gradc.codegen.plan.tiling import LEAST_ROWS, Tiling
from gradc.tracer.graph.ir import Atom, Var

# Threads share the cells: fewer are not worth having no other tasks.
LEAST_CELLS = 8
# How many kernels on to look for the next of a chain.
REACH = 16
# What a thread keeps of a cell, at most; and what of it stays in its cache, to which cells are cut
# by blocks of rows where no kernel of the chain minds.
WINDOW_BYTES, NEAR_BYTES = 1 << 25, 1 << 18


@dataclass
class _Finder:
    """The kernels in their order, who reads what, and the state that the program replaces."""

    p: Partition
    s: Schedule
    stored: set[Var]
    position: dict[Kernel, int] = field(default_factory=dict)
    readers: dict[Var, list[Kernel]] = field(default_factory=dict)
    replaced: set[Var] = field(default_factory=set)
    replacing: set[Atom] = field(default_factory=set)
    outputs: set[Atom] = field(default_factory=set)

    def __post_init__(self) -> None:
        graph = self.p.values.graph
        self.outputs = set(graph.outputs)
        self.replacing = {graph.outputs[o] for o, _ in graph.aliases}
        self.replaced = {graph.inputs[i] for _, i in graph.aliases}
        self.position = {k: n for n, k in enumerate(self.s.kernels)}
        for kernel in self.s.kernels:
            for var in kernel.reads:
                self.readers.setdefault(var, []).append(kernel)

    def chain_from(self, first: Kernel) -> Chain | None:
        """What `first` begins: by cells of the batch, or by blocks of their rows."""
        assert isinstance(first.tiling, Tiling)
        cells, rows = prod(first.tiling.batch), first.tiling.m[-1]
        whole = best = self.chain_of(first, cells)
        if whole is None or self.kept(whole) <= NEAR_BYTES:
            return whole
        fits = self.kept(whole) <= WINDOW_BYTES
        for blocks in range(2, rows // LEAST_ROWS + 1):
            finer = self.chain_of(first, cells * blocks) if rows % blocks == 0 else None
            if finer is not None and (finer.kernels == whole.kernels or not fits):
                best = finer
                if self.kept(best) <= NEAR_BYTES:
                    break
        return best if best is not whole or fits else None

    def chain_of(self, first: Kernel, cells: int) -> Chain | None:
        """The chain of so many cells that `first` begins, if it keeps something from memory."""
        members = self.members(first, cells)
        windows = tuple(self.windows(members))
        return Chain(cells, tuple(members), windows) if len(members) > 1 and windows else None

    def kept(self, chain: Chain) -> int:
        """Bytes of one cell of the windows."""
        return sum(cost.nbytes(v.type) for v in chain.windows) // chain.cells

    def members(self, first: Kernel, cells: int) -> list[Kernel]:
        """The kernels that may run with `first` cell by cell."""
        start = self.position[first]
        if cells < LEAST_CELLS or not self.has_cells(first, cells):
            return []
        members = [first]
        for kernel in self.s.kernels[start + 1 : start + 1 + REACH]:
            if kernel.chain is None and self.may_follow(kernel, members, cells, start):
                members.append(kernel)
        while True:
            linked = self.linked(members)
            if len(linked) == len(members):
                return members
            members = linked

    def linked(self, members: Sequence[Kernel]) -> list[Kernel]:
        """Those of them that read a value of another, or have one read by another."""
        links = {k: set(self.owners(k)) & set(members) for k in members}
        used = set().union(*links.values())
        return [k for k in members if links[k] or k in used]

    def owners(self, kernel: Kernel) -> Iterator[Kernel]:
        """The other kernels whose values it reads."""
        for var in kernel.reads:
            owner = self.p.roots.of.get(var)
            if owner is not None and owner.kernel is not None and owner.kernel is not kernel:
                yield owner.kernel

    def may_follow(
        self, kernel: Kernel, members: list[Kernel], cells: int, start: int
    ) -> bool:
        """Whether it reads, of the members' values, its own cell only, and needs nothing else that
        is computed after the chain begins."""
        first = members[0]
        before_commit = self.position[kernel] < self.s.commit
        if before_commit != (start < self.s.commit) or not self.has_cells(kernel, cells):
            return False
        if kernel.own_phase is not first.own_phase:  # what is there for backward stays there
            return False
        others = [k for k in self.owners(kernel) if k not in members]
        if any(k not in self.position or self.position[k] > start for k in others):
            return False
        return all(
            same_row(read, root, cells)
            for root in kernel.roots
            for read in root.reads
            if (owner := self.p.roots.of.get(read.leaf)) is not None and owner.kernel in members
        )

    def has_cells(self, kernel: Kernel, cells: int) -> bool:
        """Whether its loops can be divided into the cells of a batch, each by itself."""
        if any(self.is_fixed(r) for r in kernel.roots):
            return False
        t = kernel.tiling
        if kernel.kind is RootKind.CONTRACTION and isinstance(t, Tiling):
            plain = not (t.swapped or t.blocked or kernel.panels or t.k_parts > 1)
            blocks, left = divmod(cells, max(prod(t.batch), 1))
            if not plain or left or not blocks or not kernel.size:
                return False
            cut = len(t.m) == 1 and len(t.n) == 1 and t.m[0] % (blocks * t.mr) == 0
            return blocks == 1 or cut
        if kernel.kind is not RootKind.MAP or not kernel.rows:
            return False
        sums = any(r.exit or r.tail or r.kind is RootKind.CHECK for r in kernel.roots)
        return not sums and kernel.rows % cells == 0

    def is_fixed(self, root: Root) -> bool:
        """Whether a root must stay where it is: it replaces state, or is a copy of something."""
        return root in self.s.copies or root in self.s.held or root.value in self.replacing

    def reads_state(self, kernel: Kernel) -> bool:
        """Whether it reads what is replaced in the same call."""
        return not self.replaced.isdisjoint(kernel.reads)

    def readers_of(self, kernel: Kernel) -> set[Kernel]:
        """The other kernels that read what it computes."""
        values = (v for root in kernel.roots for v in root.outputs)
        return {k for v in values for k in self.readers.get(v, ()) if k is not kernel}

    def windows(self, members: Sequence[Kernel]) -> Iterator[Var]:
        """The values that only the chain reads."""
        for kernel in members:
            for root in kernel.roots:
                for var in root.outputs:
                    apart = var in self.outputs or var in self.p.values.parts
                    users = self.readers.get(var, ())
                    if var in self.stored and not apart and users and set(users) <= set(members):
                        yield var


def find_chains(p: Partition, s: Schedule, stored: set[Var]) -> None:
    """Let kernels whose work is divided run in chains, where that keeps a value from memory."""
    if not any(k.tasks > 1 for k in s.kernels):
        return
    _sink(_Finder(p, s, stored))
    finder = _Finder(p, s, stored)
    for kernel in s.kernels:
        divided = kernel.tasks > 1 and kernel.chain is None
        if not divided or kernel.kind is not RootKind.CONTRACTION:
            continue
        if not isinstance(kernel.tiling, Tiling) or not kernel.tiling.batch:
            continue
        chain = finder.chain_from(kernel)
        if chain is not None:
            for member in chain.kernels:
                member.chain, member.tasks = chain, chain.cells
    _gather(s)


def _sink(finder: _Finder) -> None:
    """Products of batches that were computed early go to where they are first read, so that what
    they run with there is known when they do."""
    order = finder.s.kernels
    for n in range(len(order) - 1, -1, -1):
        kernel = order[n]
        if not isinstance(kernel.tiling, Tiling) or not kernel.tiling.batch:
            continue
        if any(map(finder.is_fixed, kernel.roots)) or finder.reads_state(kernel):
            continue
        readers = finder.readers_of(kernel)
        first = next((m for m in range(n + 1, len(order)) if order[m] in readers), n)
        if first > n + 1 and (n < finder.s.commit) == (first < finder.s.commit):
            order.insert(first - 1, order.pop(n))


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
