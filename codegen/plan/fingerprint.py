"""When two kernels will be one function, seen before either is built.

    a, b = fingerprint(k1, plan), fingerprint(k2, plan)
    a.key == b.key     the function of k1 serves k2, called with b.slots for a.slots

The key holds all that the building of loops looks at: the roots and how they run, and the trail
from each to what it reads, arrays being numbered as they are met (so an array that is both read
and written is told from two) and places in an array being counted from the first that is touched.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import Slot
from gradc.codegen.loops.movement import Guard
from gradc.codegen.loops.scalar import narrowed
from gradc.codegen.plan.access import Read, Step
from gradc.codegen.plan.kernel import Kernel, Plan, Root, RootKind
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn, Literal


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Attributes:
    key: what is equal for kernels of one function.
    slots: every array in the order in which it is met.
    starts: the first element of each that is touched at a constant place.
    """

    key: Hashable
    slots: tuple[Slot, ...]
    starts: tuple[int, ...]


def fingerprint(kernel: Kernel, plan: Plan) -> Fingerprint:
    """The fingerprint of a kernel that is ready to be built."""
    return _Reader(kernel, plan).read()


class _Reader:
    def __init__(self, kernel: Kernel, plan: Plan) -> None:
        self.kernel, self.plan = kernel, plan
        self.slots: dict[Slot, int] = {}
        self.constants: list[tuple[int, int]] = []  # (slot, constant part of the place) of reads
        self.gathered: dict[ix.Atom, int] = {}
        self.roots = {root: n for n, root in enumerate(kernel.roots)}

    def read(self) -> Fingerprint:
        kernel = self.kernel
        roots = tuple(self.root(r) for r in kernel.roots)
        stages = tuple((s.inner, tuple(self.roots[r] for r in s.roots)) for s in kernel.stages)
        starts: dict[int, int] = {}
        for n, c in self.constants:
            starts[n] = min(c, starts.get(n, c))
        places = tuple(c - starts[n] for n, c in self.constants)
        how: Hashable = (kernel.kind, kernel.rows, kernel.size, kernel.tasks, kernel.tiling)
        if kernel.chain is not None:
            how = how, kernel.chain.cells
        if kernel.kind is RootKind.JOIN:
            how = how, tuple(self.is_part(read) for read in kernel.roots[0].reads)
        panels = self.touch(kernel.panels, ix.const(0)) if kernel.panels is not None else None
        key = (how, roots, stages, places, panels)
        slots = tuple(self.slots)
        return Fingerprint(key, slots, tuple(starts.get(n, 0) for n in range(len(slots))))

    def slot(self, slot: Slot) -> int:
        return self.slots.setdefault(slot, len(self.slots))

    def touch(self, slot: Slot, at: Index) -> Hashable:
        """A place in an array; its constant part is compared apart."""
        number = self.slot(slot)
        self.constants.append((number, at.constant))
        return number, slot.dtype.name, slot.shape, self.terms(at)

    def is_part(self, read: Read) -> bool:
        """Whether what a join reads has been written in place."""
        inside = self.plan.places[read.leaf].inside if read.leaf in self.plan.places else None
        return inside is not None and inside[0] is self.kernel.roots[0].slots[0]

    # ---- roots ----------------------------------------------------------------------------------

    def root(self, root: Root) -> Hashable:
        how = (root.kind, root.shape, root.kept, root.exit, root.tail, root.stage, root.scratch)
        written = tuple(self.touch(s, ix.const(0)) for s in root.slots)
        value = None
        if root.eqn is not None and root.value in root.eqn.outputs:
            value = root.eqn.outputs.index(root.value)
        trail = tuple(map(self.step, root.path.trail)) if root.path is not None else id(root)
        return how, written, value, _own(root), trail

    def step(self, step: Step | Read | Literal | int) -> Hashable:
        match step:
            case Read():
                return self.leaf(step)
            case Step():
                params = () if step.guards else self.params(step.eqn)
                guards = tuple(tuple(map(self.guard, piece)) for piece in step.guards)
                numbers: Hashable = tuple(map(self.index, step.numbers))
                if step.eqn.prim is ops.constant:
                    slot = self.plan.constants[step.eqn.output]
                    params, numbers = (), self.touch(slot, step.numbers[0])
                return step.eqn.prim, step.output, params, guards, numbers
        return step

    def leaf(self, read: Read) -> Hashable:
        owner = self.plan.root_of.get(read.leaf)
        if owner is not None and owner in self.roots:
            return "own", self.roots[owner], owner.outputs.index(read.leaf), self.index(read.offset)
        return self.touch(self.plan.places[read.leaf], read.offset)

    def params(self, eqn: Eqn) -> Hashable:
        """What an eqn computes, and what is known of its operands where that is looked at."""
        if eqn.prim in narrowed and self.plan.signs.never_positive(eqn.inputs[0]):
            return narrowed[eqn.prim]
        return _params(eqn)

    # ---- indices --------------------------------------------------------------------------------

    def guard(self, guard: Guard) -> Hashable:
        return self.index(guard.index), guard.op, guard.bound

    def index(self, e: Index) -> Hashable:
        return e.constant, self.terms(e)

    def terms(self, e: Index) -> Hashable:
        """Indices are interned, so atoms compare by identity; what a gather loads is named after
        its eqn, and is numbered here instead."""
        if not any(isinstance(a, ix.Var) and a.name.startswith("@") for a in ix.atoms(e)):
            return e.terms
        return tuple((self.atom(a), c) for a, c in e.terms)

    def atom(self, a: ix.Atom) -> Hashable:
        match a:
            case ix.Div() | ix.Mod():
                return type(a), self.index(a.operand), a.divisor
            case ix.Min():
                return "min", self.index(a.left), self.index(a.right)
            case ix.Var() if a.name.startswith("@"):
                return self.gathered.setdefault(a, len(self.gathered)), a.lo, a.hi
        return a


def _own(root: Root) -> Hashable:
    """What a root's own eqn adds to its trail; a check reports its eqn."""
    eqn = root.eqn
    if eqn is None:
        return None
    what = eqn.id if root.kind is RootKind.CHECK else None
    return eqn.prim, _params(eqn), tuple(a.type for a in eqn.inputs), what


def _params(eqn: Eqn) -> Hashable:
    """Movement is told by where it leads, but for how many of what it takes."""
    if eqn.prim.family == "movement":
        return len(eqn.inputs)
    return eqn.params, tuple(known_shape(a.type.shape) for a in eqn.inputs)
