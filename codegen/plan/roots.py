"""From a classified graph to its roots, in the graph's order.

Every reduction, contraction and structured eqn is a root, and so is every inline value that is
kept or returned, and the check of every eqn that can fail. What nothing needs is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.movement import MultiIndex
from gradc.codegen.plan.access import Walker, contracted_sizes, domain, operands_at, product_indices
from gradc.codegen.plan.classify import Kind, Values
from gradc.codegen.plan.kernel import Root, RootKind
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Literal, Var

_KINDS = {
    Kind.INLINE: RootKind.MAP,
    Kind.REDUCE: RootKind.REDUCE,
    Kind.CONTRACTION: RootKind.CONTRACTION,
    Kind.STRUCTURED: RootKind.STRUCTURED,
    Kind.JOIN: RootKind.JOIN,
}

# Reasons for keeping a value that hold only if another kernel reads it.
_SOFT = ("shared", "read", "expression", "epilogue")


@dataclass
class Roots:
    """All roots in order, and the root of each value that has one.

    Attributes:
        copies: `(output position, root)` for outputs that are inputs, literals or given twice.
    """

    all: list[Root]
    of: dict[Var, Root]
    copies: list[tuple[int, Root]]


def collect(values: Values) -> Roots:
    """The roots of the graph; outputs become kept values."""
    written_back = _unchanged_state(values)
    for position, atom in enumerate(values.graph.outputs):
        if isinstance(atom, Var) and values.is_inline(atom):
            values.kept[atom] = "output"
        elif position in written_back:
            continue
    needed, checked = _needed(values)
    roots = Roots([], {}, [])
    for eqn in values.graph.eqns:
        if eqn.id in checked:
            roots.all.append(Root(len(roots.all), RootKind.CHECK, eqn, None, checked[eqn.id]))
        _add_value_roots(eqn, values, needed, roots)
    _add_copies(values, written_back, roots)
    return roots


def _unchanged_state(values: Values) -> set[int]:
    """Outputs that alias the very input they are: nothing is to be done for them."""
    graph = values.graph
    return {o for o, i in graph.aliases if graph.outputs[o] is graph.inputs[i]}


def _needed(values: Values) -> tuple[set[Var], dict[int, tuple[int, ...]]]:
    """Values something needs, and the domain of every check that cannot be proved."""
    graph = values.graph
    needed = {a for a in graph.outputs if isinstance(a, Var)}
    checked: dict[int, tuple[int, ...]] = {}
    repeated = _repeated_checks(values)
    for eqn in reversed(graph.eqns):
        if any(v in needed for v in eqn.outputs):
            needed |= {a for a in eqn.inputs if isinstance(a, Var)}
        operands = checked_operands(eqn, values)
        if operands and eqn.id not in repeated:
            needed |= {a for a in operands if isinstance(a, Var)}
            checked[eqn.id] = known_shape(operands[0].type.shape)
    return needed, checked


def _repeated_checks(values: Values) -> set[int]:
    """Eqns that fail only where an earlier one does, which is the one reported: a gather and the
    scatter of its gradient check the same indices."""
    seen: dict[object, int] = {}
    repeated: set[int] = set()
    for eqn in values.graph.eqns:
        if eqn.prim in (ops.gather, ops.scatter):
            sizes = known_shape(eqn.inputs[0].type.shape)
            limits = tuple(sizes[a] for a in eqn.params.axes)
            indices = eqn.inputs[1 if eqn.prim is ops.gather else 2 :]
            first = seen.setdefault((indices, limits, eqn.params.wrap), eqn.id)
            if first < eqn.id:
                repeated.add(eqn.id)
    return repeated


def checked_operands(eqn: Eqn, values: Values) -> tuple[Atom, ...]:
    """The operands whose elements decide whether `eqn` fails; () where it provably does not."""
    if not eqn.prim.can_fail(*(a.type for a in eqn.inputs)):
        return ()
    if eqn.prim is ops.check:
        return eqn.inputs[:1]
    if eqn.prim in (ops.gather, ops.scatter):
        indices = eqn.inputs[1 if eqn.prim is ops.gather else 2 :]
        sizes = [known_shape(eqn.inputs[0].type.shape)[a] for a in eqn.params.axes]
        safe = all(_in_range(i, n, values) for i, n in zip(indices, sizes, strict=True))
        return () if safe else indices
    return () if _nonzero(eqn.inputs[1], values) else eqn.inputs[1:2]


def _below_movement(atom: Atom, values: Values) -> Atom | Eqn:
    """What a chain of movement starts from: an atom, or the eqn that creates the values."""
    seen = atom
    while isinstance(seen, Var) and seen in values.producers:
        eqn = values.producers[seen]
        if eqn.prim in (ops.reshape, ops.permute, ops.broadcast, ops.slice, ops.flip):
            seen = eqn.inputs[0]
        else:
            return eqn
    return seen


def _in_range(atom: Atom, size: int, values: Values) -> bool:
    origin = _below_movement(atom, values)
    if isinstance(origin, Literal):
        return bool(0 <= int(origin.value) < size)
    if not isinstance(origin, Eqn):
        return False
    if origin.prim is ops.iota:
        return bool(known_shape(origin.params.shape)[origin.params.axis] <= size)
    if origin.prim in (ops.argmax, ops.argmin):
        return bool(known_shape(origin.inputs[0].type.shape)[origin.params.axis] <= size)
    if origin.prim is ops.constant:
        array = origin.params.value.array
        return bool(array.size == 0 or (array.min() >= 0 and array.max() < size))
    return False


def _nonzero(atom: Atom, values: Values) -> bool:
    origin = _below_movement(atom, values)
    if isinstance(origin, Literal):
        return origin.value != 0
    if isinstance(origin, Eqn) and origin.prim is ops.constant:
        return bool((origin.params.value.array != 0).all())
    return False


def _add_value_roots(eqn: Eqn, values: Values, needed: set[Var], roots: Roots) -> None:
    kind = values.kinds[eqn.id]
    if kind is Kind.CHECK or not any(v in needed for v in eqn.outputs):
        return
    if kind is Kind.INLINE:
        for var in eqn.outputs:
            if var in values.kept and var in needed:
                _add(Root(len(roots.all), RootKind.MAP, eqn, var, _shape(var)), roots)
                roots.all[-1].soft = values.kept[var].startswith(_SOFT)
        return
    root = Root(len(roots.all), _KINDS[kind], eqn, eqn.outputs[0], _shape(eqn.outputs[0]))
    root.others = eqn.outputs[1:]
    if kind is Kind.REDUCE:
        root.shape, root.kept = reduction_domain(eqn)
    _add(root, roots)


def _shape(atom: Atom) -> tuple[int, ...]:
    return known_shape(atom.type.shape)


def _add(root: Root, roots: Roots) -> None:
    roots.all.append(root)
    for var in root.outputs:
        roots.of[var] = root


def _add_copies(values: Values, unchanged: set[int], roots: Roots) -> None:
    first: set[Var] = set()
    for position, atom in enumerate(values.graph.outputs):
        if position in unchanged:
            continue
        if isinstance(atom, Var) and atom in roots.of and atom not in first:
            first.add(atom)
            continue
        copy = Root(len(roots.all), RootKind.MAP, None, atom, _shape(atom))
        roots.all.append(copy)
        roots.copies.append((position, copy))


def reduction_domain(eqn: Eqn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The iteration domain of a reduction and the axes of it that are kept. A product with a
    vector runs over its result's axes, then the summed ones."""
    if eqn.prim is ops.dot_general:
        out = _shape(eqn.output)
        sizes = _shape(eqn.inputs[0])
        summed = tuple(sizes[a] for a in eqn.params.contract[0])
        return out + summed, tuple(range(len(out)))
    shape = _shape(eqn.inputs[0])
    return shape, tuple(a for a in range(len(shape)) if a not in eqn.params.axes)


def starts(root: Root, index: MultiIndex, values: Values) -> list[tuple[Atom, MultiIndex]]:
    """What to walk from for element `index` of the root's domain."""
    eqn = root.eqn
    if eqn is None:
        assert root.value is not None
        return [(root.value, index)]
    if root.kind is RootKind.MAP:
        return operands_at(eqn, index)
    if root.kind is RootKind.CHECK:
        return [(a, index) for a in checked_operands(eqn, values)]
    if root.kind is RootKind.REDUCE and eqn.prim is not ops.dot_general:
        return [(eqn.inputs[0], index)]
    if eqn.prim.family == "contraction":
        rank = eqn.output.type.ndim
        along = index[rank:] or tuple(
            ix.var(f"k{n}", size) for n, size in enumerate(contracted_sizes(eqn))
        )
        return list(zip(eqn.inputs, product_indices(eqn, index[:rank], along), strict=True))
    return [(a, domain(_shape(a))) for a in eqn.inputs]


def walk(root: Root, walker: Walker, values: Values) -> None:
    """(Re)compute what the root reads."""
    found = walker.reads(starts(root, domain(root.shape), values))
    root.reads, root.path = found.found, found
