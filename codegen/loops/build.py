"""Plan -> Module: the functions of every kernel, the calls in order, and where arrays lie.

    module = build_module(plan_graph(graph))

Kernels that differ only in the arrays they are called with become one function.
"""

from __future__ import annotations

from dataclasses import replace

from gradc.codegen.loops.arrange import arrange
from gradc.codegen.loops.context import Built
from gradc.codegen.loops.contraction import build_contraction
from gradc.codegen.loops.convolution import build_convolution
from gradc.codegen.loops.identity import function_key
from gradc.codegen.loops.ir import Func, Invoke, Module, Place
from gradc.codegen.loops.rows import build_rows
from gradc.codegen.loops.structured import build_structured
from gradc.codegen.plan.kernel import Kernel, Plan, RootKind
from gradc.tracer import ops

_BUILDERS = {
    RootKind.MAP: build_rows,
    RootKind.CONTRACTION: build_contraction,
    RootKind.STRUCTURED: build_structured,
}


def build_module(plan: Plan) -> Module:
    """The whole program as Loop IR."""
    funcs: dict[object, Func] = {}
    calls: list[Invoke] = []
    commit = 0
    for number, kernel in enumerate(plan.kernels):
        for func, args in build_kernel(kernel, plan, number):
            note = func.note
            func = funcs.setdefault(function_key(func), func)
            calls.append(Invoke(func, args, note))
        if number < plan.commit:
            commit = len(calls)
    threads = plan.threads if any(f.tasks for f in funcs.values()) else 1
    arranged = arrange(calls, commit, plan.can_alias, threads)
    used = dict.fromkeys(slot for call in arranged.calls for slot in call.args)
    slots = [s for s in plan.slots if s in used or s.place is not Place.CONSTANT]
    return Module(
        plan.graph.name,
        tuple(dict.fromkeys((*slots, *used))),
        tuple(dict.fromkeys(call.func for call in arranged.calls)),
        arranged.calls,
        arranged.commit,
        plan.in_place,
        plan.can_alias,
        arranged.work_bytes,
        arranged.private_bytes,
        threads,
    )


def build_kernel(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The functions of one kernel and the arrays to call them with, in order. Only the first
    counts as its work in reports."""
    eqn = kernel.roots[0].eqn
    convolution = kernel.kind is RootKind.CONTRACTION and eqn is not None and eqn.prim is ops.conv
    build = build_convolution if convolution else _BUILDERS[kernel.kind]
    first, *rest = build(kernel, plan, number)
    for n, (func, args) in enumerate(rest):
        rest[n] = (func.replace(note=replace(func.note, bytes=0, flops=0)), args)
    return [first, *rest]
