"""Plan -> Module: the functions of every kernel, the calls in order, and where arrays lie.

    module = build_module(plan_graph(graph))

Kernels that differ only in the arrays they are called with, in where in them they begin or in
numbers become one function; most of them are recognised before they are built.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from gradc.codegen.loops.arrange import arrange
from gradc.codegen.loops.context import Built, note_of
from gradc.codegen.loops.contraction import build_contraction
from gradc.codegen.loops.convolution import build_convolution
from gradc.codegen.loops.ir import Invoke, Module, Place
from gradc.codegen.loops.join import build_join
from gradc.codegen.loops.kernel_gradient import build_kernel_gradient
from gradc.codegen.loops.panel import build_panels
from gradc.codegen.loops.rows import build_rows
from gradc.codegen.loops.share import rebase, share
from gradc.codegen.loops.structured import build_structured
from gradc.codegen.loops.window import chained
from gradc.codegen.plan.convolution import ConvolutionTiling
from gradc.codegen.plan.fingerprint import Fingerprint, fingerprint
from gradc.codegen.plan.kernel import Kernel, Plan, RootKind
from gradc.codegen.plan.kernel_gradient import KernelGradient
from gradc.codegen.plan.tiling import Tiling
from gradc.codegen.plan.work import threads_of_use

_BUILDERS = {
    RootKind.MAP: build_rows,
    RootKind.STRUCTURED: build_structured,
    RootKind.JOIN: build_join,
    RootKind.PANELS: build_panels,
}
_CONTRACTIONS = {
    Tiling: build_contraction,
    ConvolutionTiling: build_convolution,
    KernelGradient: build_kernel_gradient,
}


def build_module(plan: Plan) -> Module:
    """The whole program as Loop IR."""
    calls, commit = _calls(plan)
    shared_ns = plan.shared_ns if any(c.func.tasks for c in calls) else 0
    threads = threads_of_use(shared_ns)
    arranged = arrange(share(calls), commit, plan.can_alias, threads)
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
        shared_ns,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """A kernel that has been built: its fingerprint and its calls."""

    mark: Fingerprint
    calls: tuple[Invoke, ...]


def _calls(plan: Plan) -> tuple[list[Invoke], int]:
    """The calls in the plan's order, and how many of them come before the commit point."""
    known: dict[Hashable, _Known] = {}
    calls: list[tuple[Kernel, Invoke]] = []
    commit = 0
    for number, kernel in enumerate(plan.kernels):
        mark = fingerprint(kernel, plan)
        if mark.key in known:
            made = _calls_again(known[mark.key], mark, kernel, number)
        else:
            made = [_first_call(b) for b in build_kernel(kernel, plan, number)]
            known[mark.key] = _Known(mark, tuple(made))
        calls += [(kernel, call) for call in made]
        if number < plan.commit:
            commit = len(calls)
    return chained(calls, plan), commit


def _first_call(built: Built) -> Invoke:
    func, args = built
    func, offsets = rebase(func)
    return Invoke(func, args, func.note, offsets=offsets)


def _calls_again(known: _Known, mark: Fingerprint, kernel: Kernel, number: int) -> list[Invoke]:
    """The calls of an earlier kernel with the arrays of one that looks the same."""
    first = known.mark
    renamed = dict(zip(first.slots, mark.slots, strict=True))
    moved = {s: b - a for s, a, b in zip(first.slots, first.starts, mark.starts, strict=True)}
    calls: list[Invoke] = []
    for call in known.calls:
        for slot in call.args:
            if slot not in renamed:  # memory of the kernel's own
                renamed[slot] = replace(slot, name=f"{slot.role}_{kernel.id}")
        before = call.offsets or (0,) * len(call.args)
        offsets = tuple(n + moved.get(s, 0) for n, s in zip(before, call.args, strict=True))
        note = note_of(kernel, number)
        if calls:
            note = replace(note, bytes=0, flops=0)
        args = tuple(renamed[slot] for slot in call.args)
        calls.append(Invoke(call.func, args, note, offsets=offsets if any(offsets) else ()))
    return calls


def build_kernel(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The functions of one kernel and the arrays to call them with, in order. Only the first
    counts as its work in reports. There is none where nothing is left to do."""
    product = kernel.kind is RootKind.CONTRACTION
    build = _CONTRACTIONS[type(kernel.tiling)] if product else _BUILDERS[kernel.kind]
    built = build(kernel, plan, number)
    rest = [(f.replace(note=replace(f.note, bytes=0, flops=0)), args) for f, args in built[1:]]
    return [*built[:1], *rest]
