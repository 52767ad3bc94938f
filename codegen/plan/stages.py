"""From grouped roots to kernels ready to be built.

First the question of what is stored: a soft root that no other kernel reads stays in its kernel;
one that a single other kernel reads moves there; the rest go to memory. Then each kernel's roots
get their stages: a root runs one stage after the row-local reductions it depends on, and roots of
one stage and inner domain share a loop.
"""

from __future__ import annotations

from math import prod

from gradc.codegen.loops.index import Index
from gradc.codegen.plan import cost
from gradc.codegen.plan.access import Walker
from gradc.codegen.plan.kernel import Kernel, Root, RootKind, Stage
from gradc.codegen.plan.partition import Partition
from gradc.codegen.plan.roots import walk
from gradc.tracer.graph.ir import Eqn, Var


def settle(p: Partition) -> tuple[list[Kernel], set[Var], list[str]]:
    """The kernels in order, the values that must be stored, and why."""
    consumers = _consumers(p)
    _dissolve(p, consumers)
    consumers = _consumers(p)
    stored, reasons = _stored(p, consumers)
    kernels = [k for k in p.order.sorted() if k.roots]
    for kernel in kernels:
        _form_stages(kernel, p, consumers, stored)
        _collect_members(kernel, p)
    return kernels, stored, reasons


def _consumers(p: Partition) -> dict[Root, list[Root]]:
    found: dict[Root, list[Root]] = {}
    for root in p.roots.all:
        if root.kernel is not None:
            for owner in {id(o): o for r in root.reads if (o := p.roots.of.get(r.leaf))}.values():
                found.setdefault(owner, []).append(root)
    return found


def _dissolve(p: Partition, consumers: dict[Root, list[Root]]) -> None:
    """Values wanted in one other kernel only are computed there. Later roots first, so that what
    a dissolved value read is seen with its new reader."""
    walker = Walker(p.values.producers, p.values.is_leaf)
    for root in reversed(p.roots.all):
        users = consumers.get(root, [])
        kernels = {u.kernel for u in users}
        if not _dissolvable(root, p) or len(kernels) != 1 or root.kernel in kernels:
            continue
        (kernel,) = kernels
        if kernel is None or kernel.kind is not RootKind.MAP:
            continue
        _move(root, kernel, users, consumers, walker, p)


def _dissolvable(root: Root, p: Partition) -> bool:
    if not root.soft or root.kernel is None or root.kernel.kind is RootKind.CONTRACTION:
        return False
    return isinstance(root.value, Var) and p.values.kept[root.value].startswith("shared")


def _move(
    root: Root,
    kernel: Kernel,
    users: list[Root],
    consumers: dict[Root, list[Root]],
    walker: Walker,
    p: Partition,
) -> None:
    """Inline `root` into its users; what it read is now read there."""
    assert root.kernel is not None and isinstance(root.value, Var)
    root.kernel.roots.remove(root)
    root.kernel = None
    del p.values.kept[root.value]
    del p.roots.of[root.value]
    for read in root.reads:
        owner = p.roots.of.get(read.leaf)
        if owner is not None and owner.kernel is not None:
            known = consumers.setdefault(owner, [])
            known[:] = [u for u in known if u is not root] + [u for u in users if u not in known]
            if owner.kernel is not kernel:
                p.order.depends(kernel, owner.kernel)
    for user in users:
        walk(user, walker, p.values)


def _stored(p: Partition, consumers: dict[Root, list[Root]]) -> tuple[set[Var], list[str]]:
    stored: set[Var] = set()
    reasons: list[str] = []
    outputs = {a for a in p.values.graph.outputs if isinstance(a, Var)}
    for root in p.roots.all:
        if root.kernel is None or root.kind is RootKind.CHECK:
            continue
        outside = any(u.kernel is not root.kernel for u in consumers.get(root, []))
        array = root.exit and prod(root.out_shape) != 1
        structured = root.kind is RootKind.STRUCTURED
        hard = not root.soft and root.kind is RootKind.MAP
        for var in root.outputs:
            if outside or array or structured or hard or var in outputs:
                stored.add(var)
                why = p.values.kept.get(var, root.kind.value)
                reasons.append(f"{var!r}: {why}{_read_by(root, consumers.get(root, []), p)}")
    return stored, reasons


def _read_by(root: Root, users: list[Root], p: Partition) -> str:
    """By which other kernel a value is read, and why that is another."""
    user = next((u for u in users if u.kernel is not root.kernel), None)
    if user is None:
        return ""
    name = user.eqn.prim.name if user.eqn is not None else "a copy"
    if user.kind in (RootKind.CONTRACTION, RootKind.STRUCTURED, RootKind.JOIN):
        return f", read by {name}, which has loops of its own"
    why = p.apart.get((user, root))
    return f", read by {name} in another kernel{': ' + why if why else ''}"


# ---- stages ------------------------------------------------------------------------------------


def _form_stages(
    kernel: Kernel, p: Partition, consumers: dict[Root, list[Root]], stored: set[Var]
) -> None:
    if kernel.kind is not RootKind.MAP:
        return
    body = [r for r in kernel.roots if not r.tail]
    if kernel.rows is None:
        kernel.stages = [Stage(kernel.size, body)]
        return
    for root in body:
        root.stage = _level(root, kernel, p)
    groups: dict[tuple[int, int], list[Root]] = {}
    for root in body:
        inner = root.size // kernel.rows if kernel.rows else 0
        groups.setdefault((root.stage, inner), []).append(root)
    # Row scalars first: what follows in the same stage may use them.
    kernel.stages = [Stage(inner, groups[level, inner]) for level, inner in sorted(groups)]
    room = cost.SCRATCH_BYTES
    for root in body:
        if root.kind is RootKind.MAP and root.value not in stored:
            nbytes = _row_bytes(root, kernel.rows)
            if nbytes <= room and _wants_scratch(root, kernel, consumers):
                root.scratch = True
                room -= nbytes


def _level(root: Root, kernel: Kernel, p: Partition) -> int:
    level = 0
    for read in root.reads:
        owner = p.roots.of.get(read.leaf)
        if owner is None or owner.kernel is not kernel or owner.tail:
            continue
        level = max(level, owner.stage + (owner.kind is RootKind.REDUCE))
    return level


def _wants_scratch(root: Root, kernel: Kernel, consumers: dict[Root, list[Root]]) -> bool:
    """Whether a value that later stages use too is kept for the row instead of computed again."""
    assert kernel.rows
    inner = root.size // kernel.rows
    later = any(u.kernel is kernel and u.stage > root.stage for u in consumers.get(root, []))
    if not later or inner <= 1 or not isinstance(root.value, Var):
        return False
    cycles = sum(cost.op_cost(e.prim) for e in root.path.eqns.values()) if root.path else 0
    cycles += cost.op_cost(root.eqn.prim) if root.eqn else 0
    return cycles >= cost.SCRATCH_CYCLES


def _row_bytes(root: Root, rows: int) -> int:
    return root.size // max(rows, 1) * (root.value.type.dtype.itemsize if root.value else 0)


def _collect_members(kernel: Kernel, p: Partition) -> None:
    """The eqns computed in the kernel in the graph's order, what it reads from outside, and its
    cost."""
    eqns: dict[int, Eqn] = {}
    reads: dict[Var, int] = {}
    for root in kernel.roots:
        if root.eqn is not None and root.kind is not RootKind.CHECK:
            eqns[root.eqn.id] = root.eqn
        if root.path is not None:
            eqns |= root.path.eqns
        for read in root.reads:
            owner = p.roots.of.get(read.leaf)
            if owner is None or owner.kernel is not kernel:
                reads[read.leaf] = reads.get(read.leaf, 0) + elements(read.offset)
        if root.kind is RootKind.CHECK and root.eqn is not None and root.eqn.id not in eqns:
            eqns[root.eqn.id] = root.eqn
    kernel.members = sorted(eqns.values(), key=lambda e: p.values.positions[e.id])
    kernel.reads = list(reads)
    kernel.bytes = sum(
        min(cost.nbytes(v.type), n * v.type.dtype.itemsize) for v, n in reads.items()
    )
    kernel.flops = sum(cost.flops(e) for e in kernel.members)


def elements(offset: Index) -> int:
    """How many places an offset takes at most, all its variables running."""
    places = prod(atom.hi - atom.lo + 1 for atom, _ in offset.terms)
    return min(places, offset.hi - offset.lo + 1)
