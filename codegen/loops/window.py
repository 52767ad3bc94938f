"""Arrays of which a thread keeps one cell at a time (see `plan/chain.py`).

    s[task*4096 + i*64 + j]      ->      s[i*64 + j]      s: 4096 elements of the thread's own

Functions are built over whole arrays; here what they do with the cell of their task is moved to
where the cell lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.division import TASK
from gradc.codegen.loops.ir import Buffer, For, Func, If, Invoke, Place, Prefetch, Stmt
from gradc.codegen.loops.share import Rewriting
from gradc.codegen.plan.chain import windows_of
from gradc.codegen.plan.kernel import Kernel, Plan


def chained(calls: Sequence[tuple[Kernel, Invoke]], plan: Plan) -> list[Invoke]:
    """The calls, those of a chain marked, its windows in memory of the thread."""
    windows = windows_of(plan)
    made: dict[tuple[Func, tuple[int, ...]], Func] = {}
    found: list[Invoke] = []
    for n, (kernel, call) in enumerate(calls):
        if kernel.chain is None:
            found.append(call)
            continue
        assert call.func.tasks == kernel.chain.cells, f"{call.func.name} is no part of a chain"
        key = call.func, tuple(windows.get(s, 0) for s in call.args)
        if key not in made:
            made[key] = _with_windows(*key)
        follows = n > 0 and calls[n - 1][0].chain is kernel.chain
        found.append(call.replace(func=made[key], chained=follows))
    for slot, cells in windows.items():
        slot.place, slot.shape = Place.PRIVATE, (prod(slot.shape) // cells,)
    return found


def _with_windows(func: Func, cells: tuple[int, ...]) -> Func:
    """`func` where of each parameter with cells only that of the task is there."""
    task = ix.symbol(TASK, 0, func.tasks - 1)
    sizes = {p: p.size // n for p, n in zip(func.params, cells, strict=True) if n}
    moved = Rewriting(offset=lambda b: task * sizes.get(b, 0)).body(
        tuple(_without_prefetch(func.body, set(sizes)))
    )
    return func.replace(body=moved)


def _without_prefetch(body: Iterable[Stmt], near: set[Buffer]) -> list[Stmt]:
    """What is kept for one cell is at hand, and there is no next one."""
    kept: list[Stmt] = []
    for s in body:
        if isinstance(s, For):
            s = replace(s, body=tuple(_without_prefetch(s.body, near)))
        elif isinstance(s, If):
            then, orelse = (tuple(_without_prefetch(x, near)) for x in (s.then, s.orelse))
            s = If(s.condition, then, orelse)
        if not (isinstance(s, Prefetch) and s.buffer in near):
            kept.append(s)
    return kept
