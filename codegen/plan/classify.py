"""What each value of a graph is to the planner.

    inline       a function of its index: elementwise, movement, gather; computed where it is used
    reduce       a reduction, or a product with a vector
    contraction  a product of matrices
    structured   an eqn with loops of its own: sort, cumsum, scatter, argmax
    join         a concatenation whose parts are written in place by those who compute them
    check        an effect

and which inline values are worth computing once (`kept`): those that several computations use
and that are dear, and those that are read over and over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

from gradc.codegen.loops import index as ix
from gradc.codegen.plan import cost
from gradc.codegen.plan.access import Walker, is_point_scatter, product_indices
from gradc.codegen.plan.memory import ALIGNMENT
from gradc.tracer import ops
from gradc.tracer.graph.dims import known, known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Var


class Kind(StrEnum):
    """How the planner treats an eqn."""

    INLINE = "inline"
    REDUCE = "reduce"
    CONTRACTION = "contraction"
    STRUCTURED = "structured"
    JOIN = "join"
    CHECK = "check"


@dataclass
class Values:
    """Facts about the values of one graph.

    Attributes:
        kinds: by eqn id.
        kept: inline values that are roots of their own, with the reason.
        parts: values that lie within a join, with the join and the element of it where they begin.
        positions: the position of every eqn, by its id.
    """

    graph: Graph
    producers: dict[Var, Eqn]
    kinds: dict[int, Kind] = field(default_factory=dict)
    kept: dict[Var, str] = field(default_factory=dict)
    parts: dict[Var, tuple[Var, int]] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)

    def is_inline(self, var: Var) -> bool:
        eqn = self.producers.get(var)
        return eqn is not None and self.kinds[eqn.id] is Kind.INLINE

    def is_leaf(self, var: Var) -> bool:
        """Whether a walk over expressions stops here."""
        return not self.is_inline(var) or var in self.kept


def numel(var_shape: tuple[object, ...]) -> int:
    n = 1
    for d in known_shape(var_shape):  # type: ignore[arg-type]
        n *= d
    return n


def classify(graph: Graph) -> Values:
    """The kinds of all eqns and the inline values worth keeping."""
    producers = {v: e for e in graph.eqns for v in e.outputs}
    values = Values(graph, producers)
    values.positions = {e.id: n for n, e in enumerate(graph.eqns)}
    for eqn in graph.eqns:
        values.kinds[eqn.id] = _kind(eqn, values)
    weights = _weights(values)
    _keep_operands(values)
    _keep_epilogues(values)
    _keep_shared(values, weights)
    _keep_deep(values)
    return values


def _kind(eqn: Eqn, values: Values) -> Kind:
    prim = eqn.prim
    if prim is ops.check:
        return Kind.CHECK
    if prim in (ops.argmax, ops.argmin):
        return Kind.STRUCTURED
    if prim.family == "reduction":
        same = numel(eqn.inputs[0].type.shape) == numel(eqn.output.type.shape)
        return Kind.INLINE if same else Kind.REDUCE
    if prim is ops.dot_general:
        return _dot_kind(eqn, values)
    if prim is ops.conv:
        return Kind.CONTRACTION
    if prim is ops.scatter:
        return Kind.INLINE if is_point_scatter(eqn) else Kind.STRUCTURED
    if prim.family in ("elementwise", "movement", "creation") or prim is ops.gather:
        return Kind.INLINE
    return Kind.STRUCTURED


def contracted_size(eqn: Eqn) -> int:
    """The number of products summed into one element of a dot_general."""
    n = 1
    for axis in eqn.params.contract[0]:
        n *= known(eqn.inputs[0].type.shape[axis])
    return n


def _dot_kind(eqn: Eqn, values: Values) -> Kind:
    """Outer products are elementwise. A product with a vector, or with very few, is a reduction
    where memory is contiguous along the summed axis; every other one is a contraction."""
    k = contracted_size(eqn)
    if k == 1 and eqn.output.type.dtype.accumulate is eqn.output.type.dtype:
        return Kind.INLINE
    m, n = free_sizes(eqn)
    if k == 0 or (m == 1 and n == 1):
        return Kind.REDUCE
    if min(m, n) > cost.FEW_VECTORS:
        return Kind.CONTRACTION
    sides = (1 if m <= n else 0,) if min(m, n) == 1 else (0, 1)
    contiguous = all(_contiguous_along_sum(eqn, side, values) for side in sides)
    return Kind.REDUCE if contiguous else Kind.CONTRACTION


def free_sizes(eqn: Eqn) -> tuple[int, int]:
    """(rows, columns) of each product of a dot_general."""
    sizes = []
    for side in range(2):
        taken = set(eqn.params.batch[side]) | set(eqn.params.contract[side])
        shape = known_shape(eqn.inputs[side].type.shape)
        sizes.append(numel(tuple(d for a, d in enumerate(shape) if a not in taken)))
    return sizes[0], sizes[1]


def _contiguous_along_sum(eqn: Eqn, side: int, values: Values) -> bool:
    shape = known_shape(eqn.inputs[0].type.shape)
    index = tuple(ix.var(f"o{a}", d) for a, d in enumerate(known_shape(eqn.output.type.shape)))
    inner = tuple(ix.var(f"k{n}", shape[a]) for n, a in enumerate(eqn.params.contract[0]))
    at = product_indices(eqn, index, inner)[side]
    moving = {"movement", "creation"}

    def is_leaf(var: Var) -> bool:
        return values.producers[var].prim.family not in moving

    reads = Walker(values.producers, is_leaf).reads([(eqn.inputs[side], at)]).found
    last = inner[-1].terms[0][0] if inner[-1].terms else None
    return last is not None and all(ix.stride(r.offset, last) in (0, 1) for r in reads)


@dataclass(slots=True)
class _Weight:
    """An inline value's expression: cycles, ops, depth and arrays of its own size read."""

    cycles: int = 0
    ops: int = 0
    depth: int = 0
    reads: int = 0


def _weights(values: Values) -> dict[Var, _Weight]:
    """The weight of every value, its expression cut at what is already a leaf."""
    weights: dict[Var, _Weight] = {}
    for eqn in values.graph.eqns:
        own = _weigh(eqn, values, weights)
        for var in eqn.outputs:
            weights[var] = own if not values.is_leaf(var) else _Weight(reads=1)
    return weights


def _weigh(eqn: Eqn, values: Values, weights: dict[Var, _Weight]) -> _Weight:
    cycles = cost.op_cost(eqn.prim)
    total = _Weight(cycles, 1 if cycles else 0, 0)
    size = numel(eqn.outputs[0].type.shape) if eqn.outputs else 0
    for atom in {a for a in eqn.inputs if isinstance(a, Var)}:
        part = weights.get(atom, _Weight(reads=1))
        total.cycles = min(total.cycles + part.cycles, 1 << 20)
        total.ops = min(total.ops + part.ops, 1 << 20)
        total.depth = max(total.depth, part.depth + 1)
        if numel(atom.type.shape) >= size:
            total.reads = min(total.reads + part.reads, 1 << 20)
    return total


def _keep_operands(values: Values) -> None:
    """Contractions and windows read their operands many times: what they read through movement is
    stored."""
    for eqn in values.graph.eqns:
        windows = eqn.prim in (ops.conv, ops.window_max)
        if windows or values.kinds[eqn.id] is Kind.CONTRACTION:
            for atom in eqn.inputs:
                _keep_below_movement(atom, values, f"operand of {eqn.prim.name}", windows)


def _keep_below_movement(atom: object, values: Values, reason: str, lines: bool) -> None:
    """Keep what is computed below movement. Choosing between arrays counts as computing; with
    `lines`, so does movement that breaks lines of neighbouring elements."""
    stack = [atom]
    while stack:
        var = stack.pop()
        if not isinstance(var, Var) or not values.is_inline(var):
            continue
        eqn = values.producers[var]
        if eqn.prim is ops.concat and _join(eqn, values):
            continue
        chooses = eqn.prim in (ops.pad, ops.concat)
        if eqn.prim.family == "movement" and not chooses and not (lines and _breaks_lines(eqn)):
            stack += eqn.inputs
        elif eqn.prim.family != "creation":
            values.kept.setdefault(var, reason)


def _join(eqn: Eqn, values: Values) -> bool:
    """Make a join of a concatenation, if its parts lie one after the other in memory and most of
    it can be written in place: by whoever computes a part, which is then kept there only."""
    shape, axis = known_shape(eqn.output.type.shape), eqn.params.axis
    if prod(shape[:axis]) != 1 or eqn.output in values.graph.outputs:
        return False
    parts: dict[Var, tuple[Var, int]] = {}
    begin = placed = 0
    for atom in eqn.inputs:
        size = numel(atom.type.shape)
        var = _stored_part(atom, values)
        at = begin * eqn.output.type.dtype.itemsize
        if var is not None and var not in parts and at % ALIGNMENT == 0:
            parts[var] = eqn.output, begin
            placed += size
        begin += size
    if 2 * placed < begin:
        return False
    values.kinds[eqn.id] = Kind.JOIN
    values.parts |= parts
    values.kept |= {v: "part of a concatenation" for v in parts if values.is_inline(v)}
    return True


def _stored_part(atom: Atom, values: Values) -> Var | None:
    """The value computed here that `atom` is, in whatever shape; None if it lies elsewhere."""
    while isinstance(atom, Var) and values.is_inline(atom):
        eqn = values.producers[atom]
        if eqn.prim is not ops.reshape:
            break
        atom = eqn.inputs[0]
    maker = values.producers.get(atom) if isinstance(atom, Var) else None
    if maker is None or maker.prim.family in ("movement", "creation"):
        return None
    assert isinstance(atom, Var)
    elsewhere = atom in values.parts or atom in values.graph.outputs
    return None if elsewhere or len(maker.outputs) != 1 else atom


def _breaks_lines(eqn: Eqn) -> bool:
    """Whether elements side by side come from far apart."""
    if eqn.prim is not ops.permute:
        return False
    last = eqn.output.type.ndim - 1
    return bool(eqn.params.axes[last] != last and numel(eqn.output.type.shape) > cost.SMALL)


def _keep_epilogues(values: Values) -> None:
    """What a contraction's epilogue hands on, where that takes no more memory than the product:
    the mask of a relu instead of what it was taken from."""
    latest: dict[Var, Eqn | None] = {}
    positions = values.positions
    members: dict[int, set[Var]] = {}
    for eqn in values.graph.eqns:
        inline = values.kinds[eqn.id] is Kind.INLINE
        found = [latest.get(a) for a in eqn.inputs if isinstance(a, Var)]
        known = [e for e in found if e is not None]
        last = max(known, key=lambda e: positions[e.id], default=None) if inline else eqn
        for var in eqn.outputs:
            latest[var] = last
            if last is not None and _continues(eqn, var, last, values, members):
                members.setdefault(last.id, set()).add(var)
    outward = _outward(values, members, latest)
    for eqn in values.graph.eqns:
        frontier = outward.get(eqn.id, [])
        if frontier and eqn.outputs[0] not in frontier:
            new = [v for v in frontier if v not in values.kept]
            if sum(map(_nbytes, new)) <= _nbytes(eqn.outputs[0]):
                values.kept |= dict.fromkeys(new, "epilogue")


def _nbytes(var: Var) -> int:
    return cost.nbytes(var.type)


def _continues(
    eqn: Eqn, var: Var, last: Eqn, values: Values, members: dict[int, set[Var]]
) -> bool:
    """Whether `var` is computed element by element from the contraction `last`."""
    if values.kinds[last.id] is not Kind.CONTRACTION:
        return False
    if eqn is last:
        return True
    if eqn.prim.family != "elementwise" and eqn.prim is not ops.reshape:
        return False
    # What is computed from a value that is stored anyway is computed where it is used.
    mine = members.get(last.id, set())
    return any(a in mine and a not in values.kept for a in eqn.inputs)


def _outward(
    values: Values, members: dict[int, set[Var]], latest: dict[Var, Eqn | None]
) -> dict[int, list[Var]]:
    """By contraction: the members of its epilogue that something else reads."""
    found: dict[int, dict[Var, None]] = {}

    def read(atom: object, by: Eqn | None) -> None:
        last = latest.get(atom) if isinstance(atom, Var) else None
        if last is None or atom not in members.get(last.id, ()):
            return
        if by is None or not all(v in members[last.id] for v in by.outputs):
            assert isinstance(atom, Var)
            found.setdefault(last.id, {})[atom] = None

    for eqn in values.graph.eqns:
        for atom in eqn.inputs:
            read(atom, eqn)
    for atom in values.graph.outputs:
        read(atom, None)
    return {k: list(v) for k, v in found.items()}


def _keep_shared(values: Values, weights: dict[Var, _Weight]) -> None:
    """Walk backwards, knowing for each value the one computation that uses it, or that several
    do; keep what several use, or what is read expanded, where computing it again is dear."""
    owner: dict[Var, object] = {}
    several = object()

    def use(atom: object, by: object) -> None:
        if isinstance(atom, Var):
            owner[atom] = by if owner.get(atom, by) is by else several

    for position, atom in enumerate(values.graph.outputs):
        use(atom, position)
    expanded: set[Var] = set()
    for eqn in reversed(values.graph.eqns):
        inline = values.kinds[eqn.id] is Kind.INLINE
        if inline:
            _decide(eqn, values, weights, owner, several, expanded)
        root: object = eqn
        if inline and not any(v in values.kept for v in eqn.outputs):
            users = {id(owner[v]): owner[v] for v in eqn.outputs if v in owner}
            root = next(iter(users.values())) if len(users) == 1 else several if users else eqn
        for atom in eqn.inputs:
            use(atom, root)
            if isinstance(atom, Var) and _expands(eqn, atom, expanded, inline):
                expanded.add(atom)


def _expands(eqn: Eqn, atom: Var, expanded: set[Var], inline: bool) -> bool:
    """Whether `eqn` reads each element of `atom` more often than once."""
    if eqn.prim is ops.dot_general:
        products = numel(eqn.output.type.shape) * contracted_size(eqn)
        return products > numel(atom.type.shape)
    if not inline or not eqn.outputs:
        return False
    if any(v in expanded for v in eqn.outputs) and eqn.outputs[0].type.shape != ():
        return True
    return numel(eqn.outputs[0].type.shape) > numel(atom.type.shape)


def _decide(
    eqn: Eqn,
    values: Values,
    weights: dict[Var, _Weight],
    owner: dict[Var, object],
    several: object,
    expanded: set[Var],
) -> None:
    if eqn.prim.family in ("movement", "creation"):
        return
    for var in eqn.outputs:
        if var in values.kept or var not in owner:
            continue
        weight = weights[var]
        if owner[var] is several and _is_dear(weight):
            values.kept[var] = f"shared, {weight.cycles} cycles"
        elif var in expanded and weight.cycles >= cost.KEEP_CYCLES:
            values.kept[var] = f"read many times, {weight.cycles} cycles"


def _is_dear(weight: _Weight) -> bool:
    return weight.cycles >= cost.KEEP_CYCLES or weight.reads >= cost.KEEP_READS


def _keep_deep(values: Values) -> None:
    """Once more forwards, with expressions cut where values are kept: what turned out cheap is no
    longer kept, and what grew too large is."""
    weights: dict[Var, _Weight] = {}
    for eqn in values.graph.eqns:
        inline = values.kinds[eqn.id] is Kind.INLINE
        own = _weigh(eqn, values, weights)
        for var in eqn.outputs:
            if inline and not _is_dear(own) and _revocable(values.kept.get(var)):
                del values.kept[var]
            if inline and _too_large(own):
                values.kept.setdefault(var, f"expression of {own.ops} operations")
            weights[var] = _Weight(reads=1) if values.is_leaf(var) else own


def _revocable(reason: str | None) -> bool:
    return reason is not None and reason.startswith(("shared", "read"))


def _too_large(weight: _Weight) -> bool:
    return weight.ops > cost.MAX_EXPRESSION_OPS or weight.depth > cost.MAX_EXPRESSION_DEPTH
