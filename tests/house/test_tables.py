"""Adding a primitive means filling a cell in every table: none may be missing."""

from __future__ import annotations

import pytest

from gradc.codegen.jax.rules import jax_rule
from gradc.codegen.loops.movement import movement
from gradc.codegen.loops.scalar import scalar
from gradc.codegen.loops.structured import structured
from gradc.tracer.ops.primitive import PRIMITIVES
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.rules.vjp import vjp

# Made into loops by the planner's kinds (contractions, reductions, indexed loads, leaves), not by
# a rule per primitive.
BY_KIND = {
    "check", "constant", "conv", "dot_general", "gather", "iota", "reduce_all", "reduce_any",
    "reduce_max", "reduce_min", "reduce_prod", "reduce_sum",
}  # fmt: skip


@pytest.mark.parametrize("table", [evaluate, vjp, jax_rule], ids=lambda t: t.concern)
def test_no_rule_is_missing(table):
    assert table.missing() == []


def test_every_primitive_becomes_c():
    tables = (scalar, movement, structured)
    missing = set.intersection(*(set(table.missing()) for table in tables))
    assert missing == BY_KIND
    twice = [p.name for p in PRIMITIVES.values() if sum(p in t for t in tables) > 1]
    assert twice == []
