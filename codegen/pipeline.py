"""Which passes run for which target, in order: all of it is here.

    stages = []
    graph = run_passes(graph, PASSES_C, record=stages)
    print(stages[-1])            # after dce (0.4 ms, 212 -> 180 eqns), then the graph
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TypeAlias

from gradc.codegen.c.module import CModule, emit_module
from gradc.codegen.loops.build import build_module
from gradc.codegen.loops.ir import Module
from gradc.codegen.loops.verify import verify_module
from gradc.codegen.passes.cse import cse
from gradc.codegen.passes.dce import dce
from gradc.codegen.passes.fold import fold
from gradc.codegen.passes.layout import layout
from gradc.codegen.passes.masks import masks
from gradc.codegen.passes.recompute import recompute
from gradc.codegen.passes.simplify import simplify
from gradc.codegen.passes.stack import stack
from gradc.codegen.plan.kernel import Plan
from gradc.codegen.plan.planner import plan_graph
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.verify import verify as verify_graph

Pass: TypeAlias = Callable[[Graph], Graph]

# The second round finds what only shows once equal eqns are one (indices checked before).
PASSES_C: tuple[Pass, ...] = (
    dce, cse, simplify, fold, cse, simplify, layout, fold, cse, masks,
    recompute, stack, dce,
)  # fmt: skip

# XLA does the same work again, and better on its own forms; less text compiles faster.
PASSES_JAX: tuple[Pass, ...] = (dce, cse)

# The NumPy executor is the reference for the others: what it runs is what was traced, once.
PASSES_NUMPY: tuple[Pass, ...] = (dce, cse)


@dataclass(frozen=True, slots=True)
class Stage:
    """The graph after one pass."""

    name: str
    milliseconds: float
    eqns_before: int
    graph: Graph

    @property
    def title(self) -> str:
        change = f"{self.eqns_before} -> {len(self.graph.eqns)} eqns"
        return f"# after {self.name} ({self.milliseconds:.1f} ms, {change})"

    def __str__(self) -> str:
        return f"{self.title}\n{self.graph}"


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    *,
    verify: bool = False,
    record: list[Stage] | None = None,
) -> Graph:
    """Run `passes` in order.

    Args:
        verify: check the graph before the first pass and after each.
        record: gets one `Stage` per pass.

    Raises:
        InternalError: a pass left a malformed graph.
    """
    if verify:
        verify_graph(graph)
    for one in passes:
        before, start = graph, perf_counter()
        graph = one(graph)
        elapsed = (perf_counter() - start) * 1e3
        if record is not None:
            record.append(Stage(one.__name__, elapsed, len(before.eqns), graph))
        if verify and graph is not before:
            verify_graph(graph, after=one.__name__)
    return graph


def lower_c(
    graph: Graph,
    *,
    name: str | None = None,
    passes: Sequence[Pass] = PASSES_C,
    reproducible: bool = False,
    verify: bool = False,
    record: list[Stage] | None = None,
) -> CModule:
    """A graph as C: passes, plan, loops, text.

    Args:
        name: the symbol to export; by default the graph's name, made fit for C.
        passes: what is done to the graph first.
        reproducible: give up what would make the bits depend on the target.
        verify, record: as for `run_passes`.

    Raises:
        ArgumentError: `name` cannot be exported from C.
        InternalError: a pass left a malformed graph.
    """
    steps = lower_in_steps(
        graph, name=name, passes=passes, reproducible=reproducible, verify=verify
    )
    if record is not None:
        record += steps.passes
    return steps.text


@dataclass(frozen=True, eq=False)
class Lowering:
    """Everything between a graph and its C.

    Attributes:
        passes: the graph after each pass.
        plan, module, text: kernels, loops, C.
        seconds: what each step took.
    """

    passes: list[Stage]
    plan: Plan
    module: Module
    text: CModule
    seconds: dict[str, float]


def lower_in_steps(
    graph: Graph,
    *,
    name: str | None = None,
    passes: Sequence[Pass] = PASSES_C,
    reproducible: bool = False,
    verify: bool = False,
) -> Lowering:
    """As `lower_c`, with all that lies on the way."""
    record: list[Stage] = []
    clock = [perf_counter()]
    lowered = run_passes(graph, passes, verify=verify, record=record)
    clock.append(perf_counter())
    plan = plan_graph(lowered)
    clock.append(perf_counter())
    module = build_module(plan)
    if verify:
        verify_module(module)
    clock.append(perf_counter())
    text = emit_module(module, lowered, name=name, reproducible=reproducible)
    clock.append(perf_counter())
    steps = ("passes", "plan", "loops", "text")
    taken = [after - before for before, after in pairwise(clock)]
    return Lowering(record, plan, module, text, dict(zip(steps, taken, strict=True)))
