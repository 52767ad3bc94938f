"""How much work a kernel is, and into how many tasks it is worth dividing.

    plan_tasks(kernels)      sets `kernel.tasks`; returns the nanoseconds of those that are divided
    threads_of_use(ns)       how many threads so much divided work is worth

Estimates are nanoseconds of one thread on a present-day core. They depend on shapes alone, and so
do the tasks; which thread runs which task is decided at run time and has no influence on results.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, prod

from gradc.codegen.plan import cost
from gradc.codegen.plan.kernel import Kernel, Root, RootKind
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn

# Work per nanosecond of one thread: bytes streamed, cycles of `cost.op_cost`, flops of products.
BYTES = 16.0
CYCLES = 20.0
FLOPS = 80.0
# Steps of eqns with loops of their own, which go one element at a time.
STEP_NS = 1.0
# A kernel below this is one thread's work: a barrier and two threads out of step cost as much.
KERNEL_NS = 3_000
# The least a task should be, and the most tasks of one kernel: the more, the evener the end of it.
TASK_NS = 1_500
MAX_TASKS = 64
# Threads are worth waking for so much divided work, each.
THREAD_NS = 3_000


def plan_tasks(kernels: Sequence[Kernel]) -> int:
    """Set how many tasks each kernel should be divided into; how long these take one thread."""
    estimates = {k: nanoseconds(k) for k in kernels}
    divided = {k: ns for k, ns in estimates.items() if ns >= KERNEL_NS}
    total = int(sum(divided.values()))
    if threads_of_use(total) < 2:
        return 0
    for kernel, ns in divided.items():
        kernel.tasks = max(2, min(int(ns / TASK_NS), MAX_TASKS))
    return total


def threads_of_use(total: int) -> int:
    """How many threads so many nanoseconds of divided work are worth, at least 1."""
    return max(1, min(total // THREAD_NS, MAX_TASKS))


def nanoseconds(kernel: Kernel) -> float:
    """An estimate of one run on one thread."""
    if kernel.kind is RootKind.JOIN:
        return 0
    if kernel.kind is RootKind.PANELS:
        return 2 * kernel.bytes / BYTES
    nbytes = kernel.bytes + sum(_stored_bytes(r) for r in kernel.roots)
    return max(nbytes / BYTES, sum(_eqn_nanoseconds(e) for e in kernel.members))


def _stored_bytes(root: Root) -> int:
    if root.value is None or root.kind is RootKind.CHECK:
        return 0
    return cost.nbytes(root.value.type)


def _eqn_nanoseconds(eqn: Eqn) -> float:
    if eqn.prim.family == "contraction":
        return cost.flops(eqn) / FLOPS
    n = prod(known_shape(eqn.outputs[0].type.shape)) if eqn.outputs else 0
    if eqn.prim.family == "reduction":
        n = prod(known_shape(eqn.inputs[0].type.shape))
    if eqn.prim is ops.sort:
        return 5 * STEP_NS * n * max(log2(max(n, 1)), 1)
    if eqn.prim is ops.scatter:
        return STEP_NS * prod(known_shape(eqn.inputs[1].type.shape)) + n / CYCLES
    if eqn.prim in (ops.cumsum, ops.argmax, ops.argmin):
        return STEP_NS * prod(known_shape(eqn.inputs[0].type.shape))
    return n * cost.op_cost(eqn.prim) / CYCLES
