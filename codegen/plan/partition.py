"""Fusion: which roots run in one kernel.

Roots are taken in the graph's order. A root joins a kernel when all it reads of that kernel's
values lies in the same row (the row of an element being its row-major position divided by the
elements per row), and when no other kernel stands between the two. So a softmax, a layer norm or
a cross-entropy, forward or backward, is one kernel of rows; an elementwise chain with all its
results is one; a bias and an activation are the epilogue of their product; and the update of a
parameter follows the product that gives its gradient.

    fit(root, kernel)  ->  how the root would run there, or None
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.plan import cost
from gradc.codegen.plan.access import Read, Walker, domain
from gradc.codegen.plan.classify import Values
from gradc.codegen.plan.kernel import Kernel, Root, RootKind
from gradc.codegen.plan.order import DynamicOrder
from gradc.codegen.plan.roots import Roots, walk
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Phase, Var

_LOOP = (RootKind.MAP, RootKind.REDUCE, RootKind.CHECK)
_RECENT_READERS = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """How a root would run in a kernel: the kernel's rows then, and the root's own role."""

    rows: int | None
    exit: bool = False
    tail: bool = False


@dataclass
class Partition:
    """Kernels in the making.

    Attributes:
        order: the kernels and what must come before what.
        readers: the latest kernels that read an array, for siblings.
        state: output value -> the state input it replaces.
        state_readers: state input -> kernels that read its old value.
        scalar_kernels: the kernel that computed a scalar last.
        apart: why a root does not run in the kernel of another whose value it reads.
    """

    values: Values
    roots: Roots
    order: DynamicOrder[Kernel]
    readers: dict[Var, list[Kernel]]
    state: dict[Var, Var]
    state_readers: dict[Var, dict[Kernel, None]]
    created: int = 0
    scalar_kernels: list[Kernel] = field(default_factory=list)
    apart: dict[tuple[Root, Root], str] = field(default_factory=dict)

    def phase_of(self, root: Root) -> Phase:
        return root.eqn.phase if root.eqn is not None else Phase.UPDATE


def partition(values: Values, roots: Roots) -> Partition:
    """Group all roots into kernels."""
    graph = values.graph
    state = {
        a: graph.inputs[i] for o, i in graph.aliases if isinstance(a := graph.outputs[o], Var)
    }
    p = Partition(values, roots, DynamicOrder(), {}, state, {v: {} for v in state.values()})
    walker = Walker(values.producers, values.is_leaf)
    for root in roots.all:
        walk(root, walker, values)
        place(root, p)
    return p


def place(root: Root, p: Partition) -> None:
    """Put the root into the best kernel that takes it, else into a new one."""
    candidates = _candidates(root, p) if root.kind in _LOOP and root.size else []
    home = None
    for kernel in candidates:
        found = fit(root, kernel, p)
        if found is not None and _may_join(root, kernel, p):
            home = kernel
            _join(root, kernel, found, p)
            break
    for kernel in candidates:
        own = _reads_of(root, kernel, p)
        if kernel is not home and own:
            reason = why_apart(root, kernel, p)
            p.apart |= {(root, owner): reason for _, owner in own}
    if home is None:
        _join(root, *_new_kernel(root, p), p)
    else:
        for other in candidates:
            if other is not home and other in p.order.position:
                merge(home, other, p)


def _new_kernel(root: Root, p: Partition) -> tuple[Kernel, Fit]:
    size = root.size
    kernel = Kernel(p.created, root.kind if root.kind not in _LOOP else RootKind.MAP, None, size)
    p.created += 1
    p.order.add(kernel)
    if root.kind is RootKind.REDUCE:
        rows = prod(root.out_shape)
        if root.leading and (rows > 1 or _row_bytes(root) <= cost.ROW_CACHE_BYTES):
            return kernel, Fit(rows)
        return kernel, Fit(None, exit=True)
    return kernel, Fit(size if root.kind is RootKind.CONTRACTION else None)


def _row_bytes(root: Root) -> int:
    rows = max(prod(root.out_shape), 1)
    assert root.eqn is not None
    return root.size // rows * root.eqn.inputs[0].type.dtype.itemsize


def why_apart(root: Root, kernel: Kernel, p: Partition) -> str:
    """Why the root does not run in the kernel, in words."""
    own = _reads_of(root, kernel, p)
    if fit(root, kernel, p) is not None:
        if _state_conflict([root], kernel.roots, p):
            return "every check must pass before state is written"
        if not _may_join(root, kernel, p):
            return "what it needs besides is only computed later"
        return "it runs with another kernel"
    if len(kernel.roots) >= cost.MAX_ROOTS:
        return f"a kernel has at most {cost.MAX_ROOTS} results"
    if _too_long(kernel, root.cycles):
        return f"a loop of more than {cost.MAX_KERNEL_CYCLES} cycles would take long to compile"
    if kernel.kind in (RootKind.STRUCTURED, RootKind.JOIN):
        return "it comes from loops of its own"
    if any(owner.exit or owner.tail for _, owner in own):
        return "it is complete only after all rows"
    if kernel.kind is RootKind.CONTRACTION:
        if root.kind is RootKind.REDUCE:
            return "a sum over a product's tiles would depend on their size"
        return "it is read at another place than where the product's tile has it"
    if _fit_rows(root, kernel) is None:
        return "the loops have no rows in common"
    return "other rows of it are read"


# ---- candidates --------------------------------------------------------------------------------


def _candidates(root: Root, p: Partition) -> list[Kernel]:
    """Kernels worth asking: those whose values the root reads, the most bytes first, then those
    that read the same arrays, the latest first."""
    saved: dict[Kernel, int] = {}
    siblings: dict[Kernel, int] = {}
    phase = p.phase_of(root)
    for read in root.reads:
        owner = p.roots.of.get(read.leaf)
        if owner is not None and owner.kernel is not None:
            size = cost.nbytes(read.leaf.type)
            saved[owner.kernel] = saved.get(owner.kernel, 0) + size
        if 2 * _numel(read.leaf) >= root.size:
            for kernel in p.readers.get(read.leaf, ()):
                if kernel in p.order.position and _same_phase(kernel, phase, p):
                    siblings[kernel] = max(siblings.get(kernel, -1), kernel.id)
    if root.size == 1 and root.kind is RootKind.MAP:
        siblings |= {k: k.id for k in p.scalar_kernels if k in p.order.position}
    first = sorted((k for k in saved if k in p.order.position), key=lambda k: (-saved[k], -k.id))
    return first + sorted((k for k in siblings if k not in saved), key=lambda k: -k.id)


def _same_phase(kernel: Kernel, phase: Phase, p: Partition) -> bool:
    return all(p.phase_of(r) == phase for r in kernel.roots)


# ---- legality ----------------------------------------------------------------------------------


def has_prefix(shape: tuple[int, ...], rows: int) -> bool:
    """Whether leading axes of `shape` have `rows` elements together."""
    n = 1
    for d in shape:
        if n == rows:
            return True
        n *= d
    return n == rows


def _numel(var: Var) -> int:
    return prod(known_shape(var.type.shape))


def flat(root: Root) -> Index:
    """The row-major position in the root's domain."""
    return ix.ravel(domain(root.shape), root.shape)


def same_row(read: Read, root: Root, rows: int) -> bool:
    """Whether the element read lies in the reading element's own row."""
    size = _numel(read.leaf)
    position = flat(root)
    if read.offset is position and size == root.size:
        return True
    if size % rows or root.size % rows or not size:
        return False
    return read.offset // (size // rows) is position // (root.size // rows)


def identity(read: Read, root: Root) -> bool:
    """Whether the element read is at the reading element's own position."""
    size = _numel(read.leaf)
    return read.in_order(root.shape) and size == root.size


def _reads_of(root: Root, kernel: Kernel, p: Partition) -> list[tuple[Read, Root]]:
    found = ((r, p.roots.of.get(r.leaf)) for r in root.reads)
    return [(r, owner) for r, owner in found if owner is not None and owner.kernel is kernel]


def fit(root: Root, kernel: Kernel, p: Partition) -> Fit | None:
    """How the root would run in this kernel."""
    alone = kernel.kind in (RootKind.STRUCTURED, RootKind.JOIN)
    if alone or len(kernel.roots) >= cost.MAX_ROOTS:
        return None
    if kernel.size == 0 or _too_long(kernel, root.cycles):
        return None
    own = _reads_of(root, kernel, p)
    if any(owner.exit or owner.tail for _, owner in own):
        return _fit_tail(root, kernel, own)
    if kernel.kind is RootKind.CONTRACTION:
        takes = root.kind is RootKind.MAP and own and all(identity(r, root) for r, _ in own)
        return Fit(kernel.rows) if takes else None
    rows = _fit_rows(root, kernel)
    if rows is None:
        flexible = kernel.rows is None and root.size == kernel.size
        if not flexible or not all(identity(r, root) for r, _ in own):
            return None
        return Fit(None, exit=root.kind is RootKind.REDUCE)
    shared = [r for r, _ in own] or _shared_reads(root, kernel, p)
    if not shared or not all(same_row(r, root, rows) for r in shared):
        return None
    local = root.kind is RootKind.REDUCE and root.leading and prod(root.out_shape) == rows
    return Fit(rows, exit=root.kind is RootKind.REDUCE and not local)


def _too_long(kernel: Kernel, more: int) -> bool:
    return kernel.cycles > 0 and kernel.cycles + more > cost.MAX_KERNEL_CYCLES


def _fit_rows(root: Root, kernel: Kernel) -> int | None:
    """The rows the kernel would have with the root in it; None: all domains are the same."""
    if kernel.rows is not None:
        rows = kernel.rows
        if rows == 1 and root.size * 8 > cost.ROW_CACHE_BYTES:
            return None
        return rows if has_prefix(root.shape, rows) else None
    wanted = _wanted_rows(root, kernel)
    if wanted is None or wanted == 1 or not has_prefix(root.shape, wanted):
        return None
    return wanted if all(has_prefix(r.shape, wanted) for r in kernel.roots if not r.tail) else None


def _wanted_rows(root: Root, kernel: Kernel) -> int | None:
    """The rows a kernel without rows would be given for the sake of the root."""
    if root.kind is RootKind.REDUCE and root.leading:
        rows = prod(root.out_shape)
        if rows == kernel.size != root.size:
            return rows
        if root.size == kernel.size and rows > 1 and _row_bytes(root) <= cost.ROW_CACHE_BYTES:
            return rows
    larger = root.size != kernel.size and has_prefix(root.shape, kernel.size)
    return kernel.size if larger else None


def _shared_reads(root: Root, kernel: Kernel, p: Partition) -> list[Read]:
    """Reads of arrays that the kernel reads too."""
    return [r for r in root.reads if kernel in p.readers.get(r.leaf, ())]


def _fit_tail(root: Root, kernel: Kernel, own: list[tuple[Read, Root]]) -> Fit | None:
    """After the rows: elementwise on whole results of this kernel, element by element."""
    if root.kind is not RootKind.MAP or kernel.kind is not RootKind.MAP:
        return None
    ok = all((o.exit or o.tail) and identity(r, root) for r, o in own)
    return Fit(kernel.rows, tail=True) if ok else None


def _may_join(root: Root, kernel: Kernel, p: Partition) -> bool:
    """Whether the order allows it: nothing the root needs comes after the kernel."""
    if _state_conflict([root], kernel.roots, p):
        return False
    return not p.order.would_cycle(kernel, _needs(root, kernel, p))


def _state_conflict(a: list[Root], b: list[Root], p: Partition) -> bool:
    """A kernel with a check cannot write state: every check must pass before state is written."""
    roots = [*a, *b]
    writes = any(v in p.state for r in roots for v in r.outputs)
    return writes and any(r.kind is RootKind.CHECK for r in roots)


def _needs(root: Root, kernel: Kernel, p: Partition) -> list[Kernel]:
    """Kernels that must run before the root: producers, and readers of state it overwrites."""
    found: dict[Kernel, None] = {}
    for read in root.reads:
        owner = p.roots.of.get(read.leaf)
        if owner is not None and owner.kernel is not None:
            found[owner.kernel] = None
    for var in root.outputs:
        if var in p.state:
            found |= p.state_readers[p.state[var]]
    found.pop(kernel, None)
    return [k for k in found if k in p.order.position]


def _join(root: Root, kernel: Kernel, how: Fit, p: Partition) -> None:
    needs = _needs(root, kernel, p)
    if p.order.would_cycle(kernel, needs):  # a new kernel: only state can ask for what is later
        needs = [n for n in needs if not p.order.would_cycle(kernel, [n])]
    for early in needs:
        p.order.depends(kernel, early)
    kernel.roots.append(root)
    kernel.rows = how.rows
    kernel.size = max(kernel.size, root.size)
    kernel.cycles += root.cycles
    root.kernel, root.exit, root.tail = kernel, how.exit, how.tail
    _note_reads(root, kernel, p)


def _note_reads(root: Root, kernel: Kernel, p: Partition) -> None:
    for read in root.reads:
        recent = p.readers.setdefault(read.leaf, [])
        if kernel not in recent:
            recent.append(kernel)
            del recent[:-_RECENT_READERS]
        if read.leaf in p.state_readers:
            p.state_readers[read.leaf][kernel] = None
    if root.size == 1 and root.kind is RootKind.MAP and kernel.rows is None:
        p.scalar_kernels[:] = [kernel]


# ---- merging two kernels -----------------------------------------------------------------------


def merge(kept: Kernel, gone: Kernel, p: Partition) -> bool:
    """Make two kernels one, if rows agree and nothing stands between them."""
    if kept.kind is not RootKind.MAP or gone.kind is not RootKind.MAP:
        return False
    if len(kept.roots) + len(gone.roots) > cost.MAX_ROOTS or _too_long(kept, gone.cycles):
        return False
    rows = _common_rows(kept, gone)
    if rows == 0 or _state_conflict(kept.roots, gone.roots, p):
        return False
    crossing = [
        (read, root, owner)
        for a, b in ((kept, gone), (gone, kept))
        for root in a.roots
        for read, owner in _reads_of(root, b, p)
    ]
    for read, root, owner in crossing:
        whole = owner.exit or owner.tail
        if root.tail or rows is None:
            here = identity(read, root)
        else:
            here = same_row(read, root, rows)
        if whole is not root.tail or not here:
            return False
    first, last = sorted((kept, gone), key=p.order.position.__getitem__)
    if p.order.path_avoiding_edge(first, last):
        return False
    _absorb(kept, gone, rows, p)
    return True


def _common_rows(a: Kernel, b: Kernel) -> int | None:
    """The rows of the merged kernel; 0 where they do not go together."""
    if not a.size or not b.size:
        return 0
    if a.rows is None and b.rows is None:
        return None if a.size == b.size else 0
    rows = a.rows if a.rows is not None else b.rows
    assert rows is not None
    if b.rows not in (None, rows) or rows == 1:
        return 0
    roots = [r for r in (*a.roots, *b.roots) if not r.tail]
    return rows if all(has_prefix(r.shape, rows) for r in roots) else 0


def _absorb(kept: Kernel, gone: Kernel, rows: int | None, p: Partition) -> None:
    for root in gone.roots:
        root.kernel = kept
    kept.roots = sorted([*kept.roots, *gone.roots], key=lambda r: r.id)
    kept.rows = rows
    kept.size = max(kept.size, gone.size)
    kept.cycles += gone.cycles
    p.order.merge(kept, gone)
    for root in gone.roots:
        for read in root.reads:
            readers = p.readers.get(read.leaf, [])
            readers[:] = dict.fromkeys(kept if k is gone else k for k in readers)
            if read.leaf in p.state_readers and gone in p.state_readers[read.leaf]:
                del p.state_readers[read.leaf][gone]
                p.state_readers[read.leaf][kept] = None
