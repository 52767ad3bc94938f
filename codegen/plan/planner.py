"""Graph -> Plan: what is computed in which kernel, in which order, and where it is kept.

    plan = plan_graph(graph);  print(plan)

The stages: classify values, collect roots, group them into kernels, settle what is stored, order
the kernels, place arrays in the arena.
"""

from __future__ import annotations

from math import prod

from gradc.codegen.loops.ir import Place, Slot
from gradc.codegen.plan.access import Walker
from gradc.codegen.plan.classify import Values, classify
from gradc.codegen.plan.kernel import Kernel, Plan, RootKind, Stage
from gradc.codegen.plan.memory import Lifetime, aligned, assign
from gradc.codegen.plan.partition import Partition, partition
from gradc.codegen.plan.roots import collect, walk
from gradc.codegen.plan.schedule import Schedule, output_positions, schedule
from gradc.codegen.plan.stages import settle
from gradc.codegen.plan.tiling import choose_tiling
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Graph, Var
from gradc.tracer.graph.printer import graph_names

ERROR_RECORD_BYTES = 64


def plan_graph(graph: Graph) -> Plan:
    """The plan of a graph whose sizes are all known."""
    values = classify(graph)
    roots = collect(values)
    p = partition(values, roots)
    kernels, stored, reasons = settle(p)
    s = schedule(p, kernels)
    _settle_copies(p, s, values)
    for kernel in s.kernels:
        if kernel.kind is RootKind.CONTRACTION:
            kernel.tiling = choose_tiling(kernel.roots[0])
    names = _names(graph)
    places = _places(p, s, stored, names)
    arena, unshared = _place_arena(s, places)
    slots = list(dict.fromkeys((*places.values(), *_extra_slots(s))))
    return Plan(
        graph=graph,
        kernels=tuple(s.kernels),
        slots=tuple(slots),
        places=places,
        leaves=frozenset(stored),
        producers=values.producers,
        values=values,
        root_of=roots.of,
        commit=s.commit,
        in_place=tuple(s.in_place),
        can_alias=graph.aliases,
        work_bytes=ERROR_RECORD_BYTES + arena,
        arena_unshared=unshared,
        reasons=tuple(reasons + s.reasons),
    )


def _settle_copies(p: Partition, s: Schedule, values: Values) -> None:
    """Final copies read the values where they have been stored."""
    walker = Walker(values.producers, values.is_leaf)
    for kernel in s.kernels:
        if not kernel.reads and not kernel.stages and kernel.kind is RootKind.MAP:
            for root in kernel.roots:
                walk(root, walker, values)
            kernel.stages = [Stage(kernel.size, kernel.roots)]
            kernel.reads = [r.leaf for root in kernel.roots for r in root.reads]


def _names(graph: Graph) -> dict[Var, str]:
    """A name for every value: the user's, else the output's, else a letter."""
    names = graph_names(graph)
    given = dict(zip(graph.outputs, graph.output_names)) if graph.output_names else {}
    for var, name in given.items():
        if isinstance(var, Var) and var.name is None and name:
            names[var] = name
    return names


def _places(
    p: Partition, s: Schedule, stored: set[Var], names: dict[Var, str]
) -> dict[Var, Slot]:
    graph = p.values.graph
    places: dict[Var, Slot] = {}
    outputs = {o: _output_slot(o, p, names) for o in range(len(graph.outputs))}
    in_place = {i: o for o, i in s.in_place}
    for i, var in enumerate(graph.inputs):
        if i in in_place:
            places[var] = outputs[in_place[i]]
        else:
            places[var] = _slot(var, names[var], Place.INPUT, i)
    positions = output_positions(p)
    for var in sorted(stored, key=lambda v: v.id):
        position = positions.get(var)
        if position is not None and position not in s.buffered:
            places[var] = outputs[position]
        else:
            places[var] = _slot(var, names[var], Place.WORK)
    for eqn in graph.eqns:
        if eqn.prim is ops.constant:
            data = eqn.params.value.array
            places[eqn.output] = _slot(eqn.output, names[eqn.output], Place.CONSTANT, data=data)
    for root in p.roots.all:
        root.slots = [places[v] for v in root.outputs if v in stored and p.roots.of.get(v) is root]
    for root, position in s.targets.items():
        if not isinstance(root.value, Var) or p.roots.of.get(root.value) is not root:
            root.slots = [outputs[position]]
    return places


def _output_slot(position: int, p: Partition, names: dict[Var, str]) -> Slot:
    graph = p.values.graph
    atom = graph.outputs[position]
    replaced = next((graph.inputs[i] for o, i in graph.aliases if o == position), None)
    if replaced is not None:
        name = names[replaced]
    elif position < len(graph.output_names) and graph.output_names[position]:
        name = graph.output_names[position]
    else:
        name = names[atom] if isinstance(atom, Var) and atom.name else f"out{position}"
    return _slot(atom, name, Place.OUTPUT, position)


def _slot(atom: Atom, name: str, place: Place, index: int = -1, data: object = None) -> Slot:
    shape = known_shape(atom.type.shape)
    return Slot(name, atom.type.dtype, shape, place, index, 0, data)  # type: ignore[arg-type]


def _extra_slots(s: Schedule) -> list[Slot]:
    kernels = [k.scratch_slot for k in s.kernels if k.scratch_slot is not None]
    return [*(slot for root in s.targets for slot in root.slots), *kernels]


def _place_arena(s: Schedule, places: dict[Var, Slot]) -> tuple[int, int]:
    """Set the offsets of all arrays in the work area; its size, and what it would be if nothing
    were shared."""
    first: dict[Slot, int] = {}
    last: dict[Slot, int] = {}
    for n, kernel in enumerate(s.kernels):
        touched = [slot for root in kernel.roots for slot in root.slots]
        touched += [places[v] for v in kernel.reads if v in places]
        if kernel.tiling is not None and kernel.tiling.scratch_bytes:
            kernel.scratch_slot = _scratch(kernel)
            touched.append(kernel.scratch_slot)
        for slot in touched:
            if slot.place is Place.WORK:
                first.setdefault(slot, n)
                last[slot] = n
    slots = list(first)
    lifetimes = [Lifetime(_nbytes(slot), first[slot], last[slot]) for slot in slots]
    offsets, total = assign(lifetimes)
    for slot, offset in zip(slots, offsets, strict=True):
        slot.offset = ERROR_RECORD_BYTES + offset
    return total, sum(aligned(t.nbytes) for t in lifetimes)


def _scratch(kernel: Kernel) -> Slot:
    assert kernel.tiling is not None
    dtype = kernel.tiling.dtype
    n = kernel.tiling.scratch_bytes // dtype.itemsize
    return Slot(f"panel_{kernel.id}", dtype, (n,), Place.WORK)


def _nbytes(slot: Slot) -> int:
    return prod(slot.shape) * slot.dtype.itemsize
