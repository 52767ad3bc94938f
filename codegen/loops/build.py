"""Plan -> Module: one function per distinct kernel, and the calls in order.

    module = build_module(plan_graph(graph))

Kernels that differ only in the arrays they are called with become one function.
"""

from __future__ import annotations

from gradc.codegen.loops.context import note_of
from gradc.codegen.loops.contraction import build_contraction
from gradc.codegen.loops.identity import function_key
from gradc.codegen.loops.ir import Func, Invoke, Module, Place, Slot
from gradc.codegen.loops.rows import build_rows
from gradc.codegen.loops.structured import build_structured
from gradc.codegen.plan.kernel import Kernel, Plan, RootKind

_BUILDERS = {
    RootKind.MAP: build_rows,
    RootKind.CONTRACTION: build_contraction,
    RootKind.STRUCTURED: build_structured,
}


def build_module(plan: Plan) -> Module:
    """The whole program as Loop IR."""
    funcs: dict[object, Func] = {}
    calls: list[Invoke] = []
    for number, kernel in enumerate(plan.kernels):
        func, args = build_kernel(kernel, plan, number)
        func = funcs.setdefault(function_key(func), func)
        calls.append(Invoke(func, args, note_of(kernel, number)))
    used = dict.fromkeys(slot for call in calls for slot in call.args)
    return Module(
        plan.graph.name,
        tuple(s for s in plan.slots if s in used or s.place is not Place.CONSTANT),
        tuple(funcs.values()),
        tuple(calls),
        plan.commit,
        plan.in_place,
        plan.can_alias,
        plan.work_bytes,
    )


def build_kernel(kernel: Kernel, plan: Plan, number: int) -> tuple[Func, tuple[Slot, ...]]:
    """The function of one kernel and the arrays to call it with."""
    return _BUILDERS[kernel.kind](kernel, plan, number)
