"""The driver of rewrites: named rules on single eqns, applied in one forward sweep after another.

    rules = RuleSet("arithmetic")

    @rules.on(ops.mul)
    def mul_one(rw: Rewriter, eqn: Eqn) -> Atom | None:
        \"\"\"x * 1 -> x. Exact for every x.\"\"\"

    rewrite(graph, rules)

A rule sees an eqn whose operands are already rewritten, asks the `Rewriter` what made them, and
returns the atom that stands for the eqn's output, or None where it does not apply. What it emits
on the way is rewritten at once, and takes line, phase and scope from the eqn it replaces; the
last eqn takes its id and its variable too. A sweep is linear in the graph; sweeps are repeated
until nothing applies. `Fuel` stops after a number of rewrites, to find the one that is wrong.

A rule's docstring is its equation and says why it is exact for -0.0, infinities and NaN. Which
NaN comes out (sign, payload) is not part of a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

from gradc.codegen.passes.dce import dce
from gradc.tracer import ops
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.dims import Dim
from gradc.tracer.graph.ir import NO_PARAMS, Atom, Eqn, Graph, Literal, Params, Var
from gradc.tracer.graph.types import TensorType
from gradc.tracer.ops.primitive import Primitive

Rule: TypeAlias = "Callable[[Rewriter, Eqn], Atom | None]"

_MAX_SWEEPS = 16
_MAX_DEPTH = 200


class RuleSet:
    """Rules by the primitive they start from, tried in the order they were given."""

    def __init__(self, name: str, *parts: RuleSet) -> None:
        self.name = name
        self._rules: dict[Primitive, list[Rule]] = {}
        for part in parts:
            for prim, rules in part._rules.items():
                self._rules.setdefault(prim, []).extend(rules)

    def on(self, *prims: Primitive) -> Callable[[Rule], Rule]:
        """Decorator: try this rule on applications of `prims`."""

        def register(rule: Rule) -> Rule:
            for prim in prims:
                self._rules.setdefault(prim, []).append(rule)
            return rule

        return register

    def of(self, prim: Primitive) -> Iterable[Rule]:
        return self._rules.get(prim, ())

    def all(self) -> list[Rule]:
        """Every rule once."""
        return list(dict.fromkeys(rule for rules in self._rules.values() for rule in rules))


class Fuel:
    """How many rewrites may still be done; shared by the passes of one pipeline.

    Attributes:
        last: the rule that was applied last, and the eqn of the graph it was applied for.
    """

    def __init__(self, amount: int) -> None:
        self.left = amount
        self.last: tuple[str, Eqn] | None = None


class Rewriter:
    """One sweep: the eqns made so far, and what stands for each variable of the old graph."""

    def __init__(self, graph: Graph, rules: RuleSet, fuel: Fuel | None = None) -> None:
        self.graph = graph
        self.rules = rules
        self.fuel = fuel
        self.applied: Counter[str] = Counter()
        self.eqns: list[Eqn] = []
        self._stands_for: dict[Var, Atom] = {}
        self._producers: dict[Var, Eqn] = {}
        self._checked: set[tuple[Var, Dim, bool]] = set()
        self._uses = Counter(
            a for atoms in (*(e.inputs for e in graph.eqns), graph.outputs) for a in atoms
        )
        self._next_id = next_eqn_id(graph)
        self._origin: Eqn | None = None
        self._depth = 0

    # -- what rules ask ---------------------------------------------------------------------

    def producer(self, atom: Atom, *prims: Primitive) -> Eqn | None:
        """The eqn that made `atom`, if it is an application of one of `prims` (default: any)."""
        eqn = self._producers.get(atom) if isinstance(atom, Var) else None
        return eqn if eqn is not None and (not prims or eqn.prim in prims) else None

    def literal(self, atom: Atom) -> Literal | None:
        """The literal that `atom` is, or that it repeats everywhere."""
        if isinstance(atom, Literal):
            return atom
        eqn = self._producers.get(atom)
        if eqn is not None and eqn.prim is ops.broadcast and isinstance(eqn.inputs[0], Literal):
            return eqn.inputs[0]
        return None

    def is_value(self, atom: Atom, value: bool | int | float) -> bool:
        """Whether every element of `atom` is known to be `value`, with the sign of a zero."""
        found = self.literal(atom)
        if found is None or (value < 0 and found.type.dtype.kind in "bu"):
            return False
        return found == Literal(value, found.type)

    def is_checked(self, index: Atom, size: Dim, wrap: bool) -> bool:
        """Whether an earlier eqn has checked these indices against an axis of this size."""
        return isinstance(index, Var) and (index, size, wrap) in self._checked

    def uses(self, var: Var) -> int:
        """How often the graph before this sweep reads `var`; 1 for a variable made since."""
        return self._uses.get(var, 1)

    # -- what rules make --------------------------------------------------------------------

    def emit(self, prim: Primitive, *inputs: Atom, **params: object) -> Atom:
        """Apply a primitive of one output; the new eqn is rewritten in turn."""
        assert self._origin is not None
        frozen = Params(**params) if params else NO_PARAMS
        (type,) = prim.infer(*(a.type for a in inputs), **frozen)
        eqn = self._origin.replace(
            prim=prim, inputs=inputs, params=frozen, outputs=(Var(type),), id=self._next_id
        )
        self._next_id += 1
        return self._reduce(eqn)

    def full(self, value: bool | int | float, type: TensorType) -> Atom:
        """`value` everywhere, as a number of the type's kind."""
        of_kind = bool if type.dtype.is_bool else float if type.dtype.is_float else int
        literal = Literal(of_kind(value), type.with_shape(()))
        if type.shape == ():
            return literal
        return self.emit(ops.broadcast, literal, shape=type.shape, axes=())

    # -- the sweep --------------------------------------------------------------------------

    def sweep(self) -> Graph:
        """The graph after one pass over its eqns; the same graph if no rule applied."""
        for eqn in self.graph.eqns:
            self._visit(eqn)
        if not self.applied:
            return self.graph
        outputs = tuple(map(self._read, self.graph.outputs))
        return self.graph.replace(eqns=tuple(self.eqns), outputs=outputs)

    def _read(self, atom: Atom) -> Atom:
        return self._stands_for.get(atom, atom) if isinstance(atom, Var) else atom

    def _visit(self, eqn: Eqn) -> None:
        inputs = tuple(map(self._read, eqn.inputs))
        if any(new is not old for new, old in zip(inputs, eqn.inputs)):
            eqn = eqn.replace(inputs=inputs)
        if len(eqn.outputs) != 1:
            self._append(eqn)
            return
        self._origin, before = eqn, len(self.eqns)
        atom = self._reduce(eqn)
        if atom is eqn.output:
            return
        if len(self.eqns) > before and self.eqns[-1].outputs == (atom,):
            # The eqn just made takes the variable, with the user's name, and the id.
            last = self.eqns.pop()
            self._append(last.replace(outputs=eqn.outputs, id=eqn.id))
        else:
            self._stands_for[eqn.output] = atom

    def _reduce(self, eqn: Eqn) -> Atom:
        """What stands for the output of `eqn`, which is appended if no rule applies."""
        if self._depth > _MAX_DEPTH:
            raise InternalError(f"{self.rules.name}: the rewrites of {eqn.prim.name} do not end")
        self._depth += 1
        try:
            for rule in self.rules.of(eqn.prim):
                atom = self._try(rule, eqn)
                if atom is not None:
                    return atom
        finally:
            self._depth -= 1
        self._append(eqn)
        return eqn.output

    def _try(self, rule: Rule, eqn: Eqn) -> Atom | None:
        if self.fuel is not None and self.fuel.left <= 0:
            return None
        atom = rule(self, eqn)
        if atom is None:
            return None
        if atom.type != eqn.output.type:
            raise InternalError(
                f"{rule.__name__}: gave {atom.type} for {eqn.output.type}", loc=eqn.loc
            )
        self.applied[rule.__name__] += 1
        if self.fuel is not None:
            self.fuel.left -= 1
            self.fuel.last = rule.__name__, self._origin or eqn
        return atom

    def _append(self, eqn: Eqn) -> None:
        self.eqns.append(eqn)
        for var in eqn.outputs:
            self._producers[var] = eqn
        if eqn.prim in (ops.gather, ops.scatter):
            indices = eqn.inputs[1 if eqn.prim is ops.gather else 2 :]
            for index, axis in zip(indices, eqn.params.axes):
                if isinstance(index, Var):
                    size = eqn.inputs[0].type.shape[axis]
                    self._checked.add((index, size, eqn.params.wrap))


def next_eqn_id(graph: Graph) -> int:
    """An id no eqn of `graph` has."""
    return max((eqn.id for eqn in graph.eqns), default=-1) + 1


def rewrite(
    graph: Graph,
    rules: RuleSet,
    *,
    fuel: Fuel | None = None,
    applied: Counter[str] | None = None,
) -> Graph:
    """Apply `rules` until none applies; eqns that are no longer needed are dropped.

    Args:
        fuel: stop after so many rewrites.
        applied: counts, by the rule's name, how often each was applied.

    Raises:
        InternalError: a rule gave a value of another type, or rules undo each other.
    """
    for _ in range(_MAX_SWEEPS):
        rewriter = Rewriter(graph, rules, fuel)
        swept = rewriter.sweep()
        if applied is not None:
            applied.update(rewriter.applied)
        if swept is graph:
            return graph
        graph = dce(swept)
    return graph
