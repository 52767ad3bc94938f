"""The order of kernels, and which state may be overwritten in place.

A new value of state may go straight to its own array when nothing reads the old value at or after
that moment but at the very element being written, and when every check has run before. Where that
cannot be had, it is computed into the work area and copied at the end:

    w' = w - lr*g       in place: reads w where it writes w
    w' = flip(w)        through the work area
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gradc.codegen.plan.access import Read, Walker, domain
from gradc.codegen.plan.kernel import Kernel, Root, RootKind
from gradc.codegen.plan.partition import Partition, identity, same_row
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Var


@dataclass
class Schedule:
    """The kernels in order.

    Attributes:
        copies: roots that copy a value to an output, with the output's position.
        buffered: output positions copied to at the end, with what is copied.
        held: roots that copy a value into the work area first, with the variable for it there.
        in_place: (output, input) pairs overwritten in place whose old value is read.
    """

    kernels: list[Kernel]
    copies: dict[Root, int]
    commit: int = 0
    buffered: dict[int, Atom] = field(default_factory=dict)
    held: dict[Root, Var] = field(default_factory=dict)
    in_place: list[tuple[int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def schedule(p: Partition, kernels: list[Kernel]) -> Schedule:
    """Settle state, then sort."""
    s = Schedule(kernels, {root: position for position, root in p.roots.copies})
    writers = {position: root for root, position in s.copies.items()}
    writers |= {position: p.roots.of[v] for v, position in output_positions(p).items()}
    commit = Kernel(p.created, RootKind.CHECK, None, 0)
    p.order.add(commit)
    checking = [k for k in kernels if any(r.kind is RootKind.CHECK for r in k.roots)]
    for kernel in checking:
        p.order.depends(commit, kernel)
    readers: dict[Var, list[Kernel]] = {}
    for kernel in kernels:
        for var in kernel.reads:
            readers.setdefault(var, []).append(kernel)
    for o, i in p.values.graph.aliases:
        if o in writers:
            found = readers.get(p.values.graph.inputs[i], [])
            _settle_state(o, i, writers[o], found, commit, p, s)
    ordered = p.order.sorted()
    s.commit = 0 if not checking else ordered.index(commit)
    alive = set(kernels)
    s.commit = sum(k in alive for k in ordered[: s.commit])
    s.kernels = [k for k in ordered if k in alive]
    _copy_buffered(p, s)
    return s


def output_positions(p: Partition) -> dict[Var, int]:
    """The output a value is stored to directly: its first position."""
    copied = {position for position, _ in p.roots.copies}
    found: dict[Var, int] = {}
    for position, atom in enumerate(p.values.graph.outputs):
        if position not in copied and isinstance(atom, Var) and atom in p.roots.of:
            found.setdefault(atom, position)
    return found


def _settle_state(
    o: int, i: int, root: Root, readers: list[Kernel], commit: Kernel, p: Partition, s: Schedule
) -> None:
    old = p.values.graph.inputs[i]
    kernel = root.kernel
    assert kernel is not None
    others = [k for k in readers if k is not kernel]
    problem = None
    if not _same_place(root, kernel, old, p):
        problem = "its old value is read elsewhere while it is written"
    elif any(r.kind is RootKind.CHECK for r in kernel.roots):
        problem = "a check runs with it"
    elif p.order.would_cycle(kernel, [*others, commit]):
        problem = "its old value is read, or a check runs, after it is known"
    if problem is None:
        for early in (*others, commit):
            p.order.depends(kernel, early)
        if readers:
            s.in_place.append((o, i))
        return
    if root in s.copies:
        del s.copies[root]
        s.held[root] = Var(root.value.type, old.name)  # type: ignore[union-attr]
        s.buffered[o] = s.held[root]
    else:
        s.buffered[o] = p.values.graph.outputs[o]
    s.reasons.append(f"{old!r} is not updated in place: {problem}")


def _same_place(root: Root, kernel: Kernel, old: Var, p: Partition) -> bool:
    """Whether within its kernel the old value is read only where, or before, it is overwritten."""
    reads = [(r, read) for r in kernel.roots for read in r.reads if read.leaf is old]
    if not reads:
        return True
    if root.exit:
        return False
    if kernel.kind is RootKind.STRUCTURED:
        return _scatter_in_place(root, old, p)
    if kernel.kind is RootKind.CONTRACTION or kernel.rows is None or root.tail:
        kept = [(r, read) for r, read in reads if r.tail or not root.tail]
        return all(
            r.kind is not RootKind.CONTRACTION and identity(read, r) for r, read in kept
        ) and _reused_in_place([r for r, _ in kept], kernel, p)
    return _row_in_place(root, kernel, reads, p)


def _row_in_place(
    root: Root, kernel: Kernel, reads: list[tuple[Root, Read]], p: Partition
) -> bool:
    """In the last stage, reading only the row, and in that stage only the element."""
    last = kernel.stages[-1].roots
    if root not in last or kernel.rows is None:
        return False
    for reader, read in reads:
        if reader.tail or not same_row(read, reader, kernel.rows):
            return False
        if reader in last and not identity(read, reader):
            return False
        if reader.size != root.size:
            return False
    return _reused_in_place([r for r, _ in reads], kernel, p)


def _reused_in_place(readers: list[Root], kernel: Kernel, p: Partition) -> bool:
    """Whether values computed from the old one are themselves used at the same element only (they
    may be computed again where they are used)."""
    seen = {id(r) for r in readers}
    for root in kernel.roots:
        for read in root.reads:
            owner = p.roots.of.get(read.leaf)
            if owner is None or id(owner) not in seen or owner.kind is not RootKind.MAP:
                continue
            if not identity(read, root):
                return False
            seen.add(id(root))
    return True


def _scatter_in_place(root: Root, old: Var, p: Partition) -> bool:
    """Where updates and indices do not read the old value, too."""
    eqn = root.eqn
    if eqn is None or eqn.prim is not ops.scatter or eqn.inputs[0] is not old:
        return False
    walker = Walker(p.values.producers, p.values.is_leaf)
    others = [(a, domain(known_shape(a.type.shape))) for a in eqn.inputs[1:]]
    return all(read.leaf is not old for read in walker.reads(list(others)).found)


def _copy_buffered(p: Partition, s: Schedule) -> None:
    """Last of all, the state that could not be written in place."""
    for n, (position, atom) in enumerate(s.buffered.items()):
        shape = known_shape(atom.type.shape)
        copy = Root(len(p.roots.all), RootKind.MAP, None, atom, shape)
        kernel = Kernel(p.created + 1 + n, RootKind.MAP, None, copy.size, [copy])
        copy.kernel = kernel
        s.kernels.append(kernel)
        s.copies[copy] = position
