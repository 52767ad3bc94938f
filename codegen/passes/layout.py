"""layout: contractions read their operands where they lie.

    dot_general(permute(w; 1,0), x; contract 1:0)  ->  dot_general(w, x; contract 0:0)
    permute(dot_general(g, x); 1,0)                ->  dot_general(x, g)

A dot_general keeps its params, any axes may be contracted; what the pass takes away is movement
around it, so that the planner sees the memory an operand lies in and chooses how to pack it, and
the result is computed in the orientation its reader wants. Exact: the same products are summed
in the same order, and a product does not depend on the order of its factors.
"""

from __future__ import annotations

from gradc.codegen.passes.rewrite import Rewriter, RuleSet, rewrite
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph
from gradc.tracer.ops.contraction import AxisPairs

RULES = RuleSet("layout")

Axes = tuple[int, ...]


def _free(ndim: int, *taken: Axes) -> list[int]:
    return [a for a in range(ndim) if not any(a in axes for axes in taken)]


def _through(pairs: AxisPairs, side: int, axes: Axes) -> AxisPairs:
    """`pairs` with the axes of one operand renamed to what they were before a permute."""
    renamed = tuple(axes[a] for a in pairs[side])
    return (renamed, pairs[1]) if side == 0 else (pairs[0], renamed)


@RULES.on(ops.dot_general)
def contract_through_permute(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """dot_general(permute(x), y) -> dot_general(x, y) where the free axes keep their order."""
    for side in range(2):
        moved = rw.producer(eqn.inputs[side], ops.permute)
        if moved is None:
            continue
        contract, batch = eqn.params.contract, eqn.params.batch
        free = _free(eqn.inputs[side].type.ndim, contract[side], batch[side])
        before = [moved.params.axes[a] for a in free]
        if before != sorted(before):
            continue
        operands = list(eqn.inputs)
        operands[side] = moved.inputs[0]
        axes = moved.params.axes
        return rw.emit(
            ops.dot_general,
            *operands,
            contract=_through(contract, side, axes),
            batch=_through(batch, side, axes),
        )
    return None


@RULES.on(ops.permute)
def transposed_contraction(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """permute(dot_general(x, y)) -> dot_general(y, x) where exactly the two free parts swap.

    Only where nothing else reads the contraction, which would then be computed twice.
    """
    inner = rw.producer(eqn.inputs[0], ops.dot_general)
    if inner is None or rw.uses(inner.output) != 1:
        return None
    (x, y), (contract, batch) = inner.inputs, (inner.params.contract, inner.params.batch)
    n_batch = len(batch[0])
    n_x = len(_free(x.type.ndim, contract[0], batch[0]))
    n_y = len(_free(y.type.ndim, contract[1], batch[1]))
    rows = range(n_batch, n_batch + n_x)
    columns = range(n_batch + n_x, n_batch + n_x + n_y)
    if tuple(eqn.params.axes) != (*range(n_batch), *columns, *rows):
        return None
    return rw.emit(ops.dot_general, y, x, contract=contract[::-1], batch=batch[::-1])


def layout(graph: Graph) -> Graph:
    """Take permutes into the contractions next to them."""
    return rewrite(graph, RULES)
