"""simplify: rewrites that make a graph smaller or cheaper and keep every bit.

    permute(permute(x)) * 1  ->  permute(x)

The rules stand in `simplify_arithmetic`, `simplify_logic`, `simplify_movement`,
`simplify_indexing` and `simplify_windows`; each docstring is an equation.
"""

from __future__ import annotations

from gradc.codegen.passes import (
    simplify_arithmetic,
    simplify_indexing,
    simplify_logic,
    simplify_movement,
    simplify_windows,
)
from gradc.codegen.passes.rewrite import RuleSet, rewrite
from gradc.tracer.graph.ir import Graph

RULES = RuleSet(
    "simplify",
    simplify_arithmetic.rules,
    simplify_logic.rules,
    simplify_movement.rules,
    simplify_indexing.rules,
    simplify_windows.rules,
)


def simplify(graph: Graph) -> Graph:
    """Apply every rewrite until none applies."""
    return rewrite(graph, RULES)
