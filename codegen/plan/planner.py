"""Graph -> Plan: what is computed in which kernel, in which order, and what is kept.

    plan = plan_graph(graph);  print(plan)

The stages: classify values, collect roots, group them into kernels, settle what is stored, order
the kernels, divide them into tasks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.codegen.loops.ir import Place, Slot
from gradc.codegen.plan.access import Walker
from gradc.codegen.plan.chain import find_chains
from gradc.codegen.plan.classify import Values, classify
from gradc.codegen.plan.convolution import choose_convolution
from gradc.codegen.plan.kernel import Plan, RootKind, Stage
from gradc.codegen.plan.panels import share_panels
from gradc.codegen.plan.partition import Partition, partition
from gradc.codegen.plan.roots import collect, walk
from gradc.codegen.plan.schedule import Schedule, output_positions, schedule
from gradc.codegen.plan.signs import Signs
from gradc.codegen.plan.stages import settle
from gradc.codegen.plan.tiling import choose_tiling
from gradc.codegen.plan.work import plan_tasks
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Graph, Var
from gradc.tracer.graph.printer import graph_names

Array = np.ndarray[Any, Any]


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
            (root, *_) = kernel.roots
            windows = root.eqn is not None and root.eqn.prim is ops.conv
            kernel.tiling = (
                choose_convolution(root) if windows else choose_tiling(root, kernel.roots[1:])
            )
    share_panels(s)
    shared_ns = plan_tasks(s.kernels)
    find_chains(p, s, stored)
    names = graph_names(graph)
    places = _places(p, s, stored, names)
    constants = _constants(graph, names)
    slots = dict.fromkeys((*places.values(), *_extra_slots(s), *constants.values()))
    return Plan(
        graph=graph,
        kernels=tuple(s.kernels),
        slots=tuple(slots),
        places=places,
        constants=constants,
        leaves=frozenset(stored),
        producers=values.producers,
        values=values,
        root_of=roots.of,
        commit=s.commit,
        in_place=tuple(s.in_place),
        can_alias=graph.aliases,
        reasons=tuple(reasons + s.reasons),
        signs=Signs(values.producers),
        shared_ns=shared_ns,
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


def _places_of_stored(
    p: Partition, s: Schedule, stored: set[Var], names: dict[Var, str], outputs: dict[int, Slot]
) -> dict[Var, Slot]:
    """A value goes straight to its output where it has one, else to the work area, where it is
    called after the primitive that makes it: `exp_d`, in functions `exp`."""
    places: dict[Var, Slot] = {}
    positions = output_positions(p)
    for var in sorted(stored, key=lambda v: v.id):
        position = positions.get(var)
        if position is not None and position not in s.buffered:
            places[var] = outputs[position]
            continue
        eqn = p.values.producers.get(var)
        places[var] = slot = _slot(var, names[var], Place.WORK)
        if eqn is not None and var.name is None:
            slot.role = eqn.prim.name.removeprefix("reduce_")
            slot.name = f"{slot.role}_{names[var]}"
    for var, (join, begin) in p.values.parts.items():
        if join in places and var in places:
            places[var].inside = places[join], begin
    return places


def _places(
    p: Partition, s: Schedule, stored: set[Var], names: dict[Var, str]
) -> dict[Var, Slot]:
    graph = p.values.graph
    places: dict[Var, Slot] = {}
    replaced = dict(graph.aliases)
    outputs = {
        o: _output_slot(o, graph, replaced.get(o), names) for o in range(len(graph.outputs))
    }
    in_place = {i: o for o, i in s.in_place}
    for i, var in enumerate(graph.inputs):
        if i in in_place:
            places[var] = outputs[in_place[i]]
        else:
            places[var] = _slot(var, names[var], Place.INPUT, i)
    places |= _places_of_stored(p, s, stored, names, outputs)
    for root in p.roots.all:
        root.slots = [places[v] for v in root.outputs if v in stored and p.roots.of.get(v) is root]
    for root, var in s.held.items():
        places[var] = _slot(var, var.name or "held", Place.WORK)
        root.slots = [places[var]]
    for root, position in s.copies.items():
        root.slots = [outputs[position]]
    return places


def _constants(graph: Graph, names: dict[Var, str]) -> dict[Var, Slot]:
    return {
        e.output: _slot(e.output, names[e.output], Place.CONSTANT, data=e.params.value.array)
        for e in graph.eqns
        if e.prim is ops.constant
    }


def _output_slot(position: int, graph: Graph, old: int | None, names: dict[Var, str]) -> Slot:
    """Named after the state it replaces, else as the caller or the graph says."""
    atom = graph.outputs[position]
    if old is not None:
        name = names[graph.inputs[old]]
    elif position < len(graph.output_names) and graph.output_names[position]:
        name = graph.output_names[position]
    else:
        name = names[atom] if isinstance(atom, Var) and atom.name else f"out{position}"
    return _slot(atom, name, Place.OUTPUT, position)


def _slot(
    atom: Atom, name: str, place: Place, index: int = -1, data: Array | None = None
) -> Slot:
    shape = known_shape(atom.type.shape)
    return Slot(name, atom.type.dtype, shape, place, index, data=data)


def _extra_slots(s: Schedule) -> list[Slot]:
    return [slot for root in s.copies for slot in root.slots]
