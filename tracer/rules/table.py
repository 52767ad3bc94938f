"""A rule table: one concern, one cell per primitive.

    vjp = RuleTable("vjp")
    vjp[ops.mul] = (lambda g, y: ops.mul(g, y), lambda g, x: ops.mul(g, x))

A missing cell is an error that names the primitive and the table; a test lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gradc.tracer.errors import InternalError
from gradc.tracer.ops.primitive import PRIMITIVES, Primitive

Rule = TypeVar("Rule")


class RuleTable(Generic[Rule]):
    """`table[prim]` is the rule of `prim` for this concern. A cell is set once."""

    def __init__(self, concern: str) -> None:
        self.concern = concern
        self._cells: dict[Primitive, Rule] = {}

    def __setitem__(self, prim: Primitive, rule: Rule) -> None:
        if prim in self._cells:
            raise InternalError(f"the {self.concern} rule of {prim.name} is given twice")
        self._cells[prim] = rule

    def __getitem__(self, prim: Primitive) -> Rule:
        try:
            return self._cells[prim]
        except KeyError:
            raise InternalError(f"{prim.name} has no {self.concern} rule") from None

    def __contains__(self, prim: Primitive) -> bool:
        return prim in self._cells

    def __iter__(self) -> Iterator[Primitive]:
        return iter(self._cells)

    def rule(self, prim: Primitive) -> Callable[[Rule], Rule]:
        """Decorator form, for rules that are longer than a line."""

        def register(rule: Rule) -> Rule:
            self[prim] = rule
            return rule

        return register

    def missing(self) -> list[str]:
        """The primitives without a cell."""
        return [p.name for p in PRIMITIVES.values() if p not in self._cells]
