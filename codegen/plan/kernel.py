"""Roots, stages and kernels: what planning makes of a graph.

    Root    one thing to compute over a domain of indices: a stored value, a reduction, a product,
            an effect
    Stage   roots over one inner domain, computed in one loop nest
    Kernel  a domain of rows, its stages in order, then `tail` roots that need whole reductions

A softmax over [64,10] is one kernel of 64 rows with three stages of 10: maximum, sum, store. A
plan prints with each kernel on one line and its member eqns beneath:

    kernel 2  forward  64 rows: reduce_max + exp + reduce_sum + div          train.py:12
      a: f32[64] = reduce_max(x, axes=(1,))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

from gradc.codegen.loops.ir import Slot
from gradc.codegen.plan import cost
from gradc.codegen.plan.access import Read, Reads, contracted_sizes
from gradc.codegen.plan.classify import Values
from gradc.codegen.plan.convolution import ConvolutionTiling
from gradc.codegen.plan.kernel_gradient import KernelGradient
from gradc.codegen.plan.signs import Signs
from gradc.codegen.plan.tiling import Tiling
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Phase, Var
from gradc.tracer.graph.printer import format_eqn, graph_names
from gradc.tracer.graph.source import Location

_PHASES = list(Phase)


class RootKind(StrEnum):
    """How a root is computed."""

    MAP = "map"  # store `value` at every index of the domain
    REDUCE = "reduce"  # combine over the axes of the domain that are not kept
    CONTRACTION = "contraction"
    STRUCTURED = "structured"
    JOIN = "join"  # what lies in parts written by others; the kernel copies what does not
    PANELS = "panels"  # the right operand of several products, laid out for them
    CHECK = "check"


@dataclass(eq=False)
class Root:
    """One thing to compute.

    Attributes:
        id: rank in the graph's order; a root only depends on roots of lower id.
        eqn: the eqn computed at the root; None where a value is merely copied.
        value: what it computes (None for an effect). A structured eqn may have `others` too.
        shape: the iteration domain: of a reduction the operand's shape, else the value's.
        kept: the axes of the domain that are left by a reduction.
        soft: need not be stored unless another kernel reads it.
        reads: what its expression reads, over domain variables `d0, d1, ...`.
        exit: a reduction that is complete only after all rows have run.
        tail: runs after the rows.
        slots: the arrays it is stored to.
        stage: the stage of its kernel it belongs to.
    """

    id: int
    kind: RootKind
    eqn: Eqn | None
    value: Atom | None
    shape: tuple[int, ...]
    kept: tuple[int, ...] = ()
    soft: bool = False
    reads: list[Read] = field(default_factory=list)
    path: Reads | None = None
    others: tuple[Var, ...] = ()
    kernel: Kernel | None = None
    exit: bool = False
    tail: bool = False
    slots: list[Slot] = field(default_factory=list)
    stage: int = 0
    scratch: bool = False

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of what it leaves."""
        if self.kind is RootKind.REDUCE:
            return tuple(self.shape[a] for a in self.kept)
        return self.shape

    @property
    def cycles(self) -> int:
        """What it costs at one element; nothing much where there is only one."""
        if self.size <= 1 or self.path is None:
            return 0
        own = cost.op_cost(self.eqn.prim) if self.eqn is not None else 0
        return own + sum(cost.op_cost(e.prim) for e in self.path.eqns.values())

    @property
    def leading(self) -> bool:
        """Whether a reduction keeps leading axes only, so that each row gives one scalar."""
        return list(self.kept) == list(range(len(self.kept)))

    @property
    def outputs(self) -> tuple[Var, ...]:
        """The values it defines; a copy defines none."""
        first = (self.value,) if self.eqn is not None and isinstance(self.value, Var) else ()
        return first + self.others


@dataclass(eq=False)
class Stage:
    """Roots over one inner domain of `inner` elements per row."""

    inner: int
    roots: list[Root]


@dataclass(frozen=True, eq=False)
class Chain:
    """Kernels that run one after the other on each of the `cells` of a batch; `windows` are the
    values that nothing else reads."""

    cells: int
    kernels: tuple[Kernel, ...]
    windows: tuple[Var, ...]


@dataclass(eq=False)
class Kernel:
    """Roots that run in one function.

    Attributes:
        rows: the number of rows; None while every root has the same domain of `size` elements and
            no value is local to a row.
        stages: what runs for each row, in order.
        members: the eqns computed here, in the graph's order.
        reads: the arrays read from outside.
        cycles: what its roots cost together at one element.
        tiling: how a contraction runs.
        panels: where its right operand has been laid out for it.
        chain: what it runs in cell by cell.
        tasks: about how many pieces it should be divided into.
    """

    id: int
    kind: RootKind
    rows: int | None
    size: int
    roots: list[Root] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    members: list[Eqn] = field(default_factory=list)
    reads: list[Var] = field(default_factory=list)
    bytes: int = 0
    flops: int = 0
    tiling: Tiling | ConvolutionTiling | KernelGradient | None = None
    panels: Slot | None = None
    chain: Chain | None = None
    tasks: int = 1
    cycles: int = 0

    def __hash__(self) -> int:
        return self.id

    @property
    def phase(self) -> Phase:
        """The last phase of its eqns."""
        phases = [e.phase for e in self.members]
        return max(phases, key=_PHASES.index) if phases else Phase.FORWARD

    @property
    def own_phase(self) -> Phase:
        """The phase of what it is made for; what it computes on the way may be of an earlier one,
        and what joined it of a later."""
        eqn = self.roots[0].eqn
        return eqn.phase if eqn is not None else self.phase

    @property
    def title(self) -> str:
        """The primitives computed, in order, each once: `dot_general + add + maximum`."""
        if self.kind is RootKind.PANELS:
            return "panels"
        names = dict.fromkeys(
            e.prim.name for e in self.members if e.prim.family not in ("movement", "creation")
        )
        return " + ".join(names or dict.fromkeys(e.prim.name for e in self.members)) or "copy"

    @property
    def lines(self) -> tuple[Location, ...]:
        return tuple(dict.fromkeys(e.loc for e in self.members if e.loc is not None))

    @property
    def extent(self) -> str:
        """Its domain in words: `64 rows`, `64 x 512 over 784`."""
        first = self.roots[0]
        if self.kind is RootKind.CONTRACTION and first.eqn is not None:
            return f"{_times(first.shape)} over {_times(contracted_sizes(first.eqn))}"
        if self.rows is None or self.kind is RootKind.STRUCTURED:
            return _times(first.shape)
        return f"{self.rows} rows"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class Plan:
    """What is computed where, in order.

    Attributes:
        kernels: in the order they run.
        slots: every array, by the variable it holds where there is one.
        commit: `kernels[:commit]` hold every check; none of them writes state.
        in_place, can_alias: see `loops.ir.Module`.
        reasons: why each value kept in memory is kept, and why state is not updated in place.
        signs: which values are never positive.
        shared_ns: estimate of the work that is divided into tasks, on one thread.
    """

    graph: Graph
    kernels: tuple[Kernel, ...]
    slots: tuple[Slot, ...]
    places: dict[Var, Slot]
    constants: dict[Var, Slot]
    leaves: frozenset[Var]
    producers: dict[Var, Eqn]
    values: Values
    root_of: dict[Var, Root]
    commit: int
    in_place: tuple[tuple[int, int], ...]
    can_alias: tuple[tuple[int, int], ...]
    reasons: tuple[str, ...]
    signs: Signs
    shared_ns: int = 0

    def __str__(self) -> str:
        return format_plan(self)


def format_plan(plan: Plan) -> str:
    """The whole plan as text."""
    names = graph_names(plan.graph)
    lines = [f"plan {plan.graph.name}: {len(plan.kernels)} kernels"]
    for n, kernel in enumerate(plan.kernels):
        if n == plan.commit > 0:
            lines.append("  ---- every check has passed; state may be written ----")
        where = ", ".join(map(str, kernel.lines))
        head = f"  kernel {n}  {kernel.phase.value}  {kernel.extent}: {kernel.title}"
        lines.append(f"{head:<76}  {where}".rstrip())
        lines += [f"    {format_eqn(e, names)}" for e in kernel.members]
        lines += [f"    -> {_stored(root, names)}" for root in kernel.roots if root.slots]
    return "\n".join(lines)


def _stored(root: Root, names: dict[Var, str]) -> str:
    value = names.get(root.value, repr(root.value)) if isinstance(root.value, Var) else root.value
    return f"{value} in {', '.join(s.name for s in root.slots)}"
