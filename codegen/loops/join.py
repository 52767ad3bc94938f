"""Concatenations whose parts are written in place by those who compute them.

    h = concat(h1, zeros, h2)      k0 writes h[0:32], k1 writes h[64:96], and this one h[32:64]

What is left is to copy the parts that lie elsewhere: arguments, constants, what is a part of
another concatenation or given back.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.context import Built, Context
from gradc.codegen.loops.ir import Mode, Slot, Store
from gradc.codegen.plan.kernel import Kernel, Plan
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom


def build_join(kernel: Kernel, plan: Plan, number: int) -> list[Built]:
    """The function that copies what nobody writes in place; none if there is nothing."""
    (root,) = kernel.roots
    (slot,) = root.slots
    ctx = Context(kernel, plan, number)
    buffer = ctx.buffer(slot)
    left = list(_copied(kernel, plan, slot))
    for atom, begin, size in left:
        body, e, name = ctx.emitter.loop(ctx.top, "e", 0, size)
        value = ctx.expressions.value(atom, ix.unravel(e, known_shape(atom.type.shape)))
        ctx.emitter.body(body, [Store(buffer, e + begin, value)])
        ctx.emitter.close(body, name, 0, size, mode=Mode.SIMD)
    return [ctx.finish()] if left else []


def _copied(kernel: Kernel, plan: Plan, slot: Slot) -> Iterator[tuple[Atom, int, int]]:
    """The parts that are to be copied, with their first element and their number."""
    (root,) = kernel.roots
    assert root.eqn is not None
    insides = [plan.places[r.leaf].inside for r in root.reads if r.leaf in plan.places]
    placed = {found[1] for found in insides if found is not None and found[0] is slot}
    begin = 0
    for atom in root.eqn.inputs:
        size = 1
        for d in known_shape(atom.type.shape):
            size *= d
        if size and begin not in placed:
            yield atom, begin, size
        begin += size
