"""What a value reads: its expression followed down to buffers, indices only.

Every value is a function from an index to a scalar. `reads(atom, index)` walks the eqns between a
value and the leaves it is computed from, substituting indices, and gives each leaf with the
row-major offset that is read:

    y = broadcast(w) * x        reads(y, (i, j))  ->  [Read(w, j), Read(x, i*512 + j)]

A leaf is what is in memory (or in a row's locals): an input, or whatever `is_leaf` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.movement import (
    Guard,
    MultiIndex,
    gather_source,
    index_rank,
    movement,
    sources,
)
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Atom, Eqn, Literal, Var


def domain(shape: tuple[int, ...]) -> MultiIndex:
    """The variables `d0, d1, ...` that the reads of a root of this shape are written over."""
    return tuple(ix.var(f"d{a}", n) for a, n in enumerate(shape))


@dataclass(frozen=True, slots=True)
class Read:
    """Element `offset` (row-major) of `leaf`."""

    leaf: Var
    offset: Index

    def in_order(self, shape: tuple[int, ...]) -> bool:
        """Whether each element of a domain reads the element of `leaf` at its own place."""
        return self.offset == ix.ravel(domain(shape), shape)


@dataclass(frozen=True, slots=True)
class Step:
    """One eqn on the way from a value to what it reads: which of its outputs is wanted, the
    guards of its pieces, and the indices it uses as numbers. Movement without guards leaves no
    step: it is in the offsets of what is read."""

    eqn: Eqn
    output: int
    guards: tuple[tuple[Guard, ...], ...] = ()
    numbers: tuple[Index, ...] = ()


@dataclass(slots=True)
class Reads:
    """Leaves read; the shapes of the values passed on the way, the indices used as numbers and
    the guards between pieces (all for choosing loops); the eqns computed there; and everything in
    the order in which it was met, a number standing for what was met before."""

    found: list[Read]
    shapes: dict[tuple[int, ...], None]
    eqns: dict[int, Eqn]
    numbers: dict[Index, None]
    guards: dict[Guard, None]
    trail: list[Step | Read | Literal | int]


class Walker:
    """Follows expressions; `is_leaf` may change between walks."""

    def __init__(
        self, producers: Mapping[Var, Eqn], is_leaf: Callable[[Var], bool]
    ) -> None:
        self.producers = producers
        self.is_leaf = is_leaf

    def reads(self, start: list[tuple[Atom, MultiIndex]]) -> Reads:
        """Everything `start` reads, each distinct (leaf, offset) once, in a fixed order."""
        found: dict[tuple[Var, Index], Read] = {}
        result = Reads([], {}, {}, {}, {}, [])
        met: dict[tuple[Var, MultiIndex], int] = {}
        stack = list(reversed(start))
        while stack:
            atom, index = stack.pop()
            if isinstance(atom, Literal):
                result.trail.append(atom)
                continue
            before = met.get((atom, index))
            if before is not None:
                result.trail.append(before)
                continue
            met[atom, index] = len(met)
            shape = known_shape(atom.type.shape)
            result.shapes[shape] = None
            eqn = self.producers.get(atom)
            if eqn is None or self.is_leaf(atom):
                offset = ix.ravel(index, shape)
                read = found.get((atom, offset))
                if read is None:
                    read = found[atom, offset] = Read(atom, offset)
                result.trail.append(read)
            else:
                stack += reversed(_follow(atom, eqn, index, result))
        result.numbers |= dict.fromkeys(g.index for g in result.guards)
        result.found = list(found.values())
        return result


def _follow(
    var: Var, eqn: Eqn, index: MultiIndex, result: Reads
) -> list[tuple[Atom, MultiIndex]]:
    """Note what passing `eqn` on the way to `var` means; what comes next."""
    result.eqns[eqn.id] = eqn
    if eqn.prim in movement:
        pieces = sources(eqn, index)
        guards = tuple(p.guards for p in pieces)
        if any(guards):
            result.guards |= {g: None for piece in guards for g in piece}
            result.trail.append(Step(eqn, 0, guards))
        return [(eqn.inputs[p.operand], p.index) for p in pieces]
    numbers = _numbers(eqn, index)
    result.numbers |= dict.fromkeys(numbers)
    result.trail.append(Step(eqn, eqn.outputs.index(var), (), numbers))
    return operands_at(eqn, index)


def _numbers(eqn: Eqn, index: MultiIndex) -> tuple[Index, ...]:
    """Indices whose values matter themselves: of iota, of point scatters, into constants."""
    if eqn.prim is ops.iota:
        return (index[eqn.params.axis],)
    if eqn.prim is ops.scatter:
        return tuple(index[a] for a in eqn.params.axes)
    if eqn.prim is ops.constant:
        return (ix.ravel(index, known_shape(eqn.output.type.shape)),)
    return ()


def operands_at(eqn: Eqn, index: MultiIndex) -> list[tuple[Atom, MultiIndex]]:
    """What element `index` of an inline eqn's result is computed from."""
    prim = eqn.prim
    if prim.family == "elementwise":
        return [(a, index) for a in eqn.inputs]
    if prim in movement:
        return [(eqn.inputs[p.operand], p.index) for p in sources(eqn, index)]
    if prim is ops.gather:
        return _gather_operands(eqn, index)
    if prim is ops.scatter:
        return _point_scatter_operands(eqn, index)
    if prim.family == "reduction":
        return [(eqn.inputs[0], unit_reduction_index(eqn, index))]
    if prim.family == "contraction":
        return list(zip(eqn.inputs, product_indices(eqn, index, None), strict=True))
    return []


def _gather_operands(eqn: Eqn, index: MultiIndex) -> list[tuple[Atom, MultiIndex]]:
    where = index[: index_rank(eqn)]
    shape = known_shape(eqn.inputs[0].type.shape)
    at = tuple(
        ix.symbol(f"@{eqn.id}.{k}({', '.join(map(str, where))})", 0, max(shape[axis] - 1, 0))
        for k, axis in enumerate(eqn.params.axes)
    )
    return [
        *((i, where) for i in eqn.inputs[1:]),
        (eqn.inputs[0], gather_source(eqn, index, at)),
    ]


def is_point_scatter(eqn: Eqn) -> bool:
    """Whether every batch cell receives one update, so that no two can meet: then an element of
    the result is `select(index == its position, update, x)`, a function of its index alone."""
    shape = known_shape(eqn.inputs[2].type.shape)
    return all(n == 1 for n in shape[eqn.params.batch :])


def point_scatter_indices(eqn: Eqn, index: MultiIndex) -> tuple[MultiIndex, MultiIndex]:
    """Where a point scatter's index arrays and its updates are read for element `index`."""
    batch, axes = eqn.params.batch, eqn.params.axes
    points = (ix.const(0),) * (index_rank(eqn) - batch)
    where = (*index[:batch], *points)
    rest = tuple(i for a, i in enumerate(index) if a >= batch and a not in axes)
    return where, (*where, *rest)


def _point_scatter_operands(eqn: Eqn, index: MultiIndex) -> list[tuple[Atom, MultiIndex]]:
    where, update = point_scatter_indices(eqn, index)
    return [
        (eqn.inputs[0], index),
        (eqn.inputs[1], update),
        *((i, where) for i in eqn.inputs[2:]),
    ]


def unit_reduction_index(eqn: Eqn, index: MultiIndex) -> MultiIndex:
    """The operand's index of a reduction over axes of size 1."""
    rest = iter(index)
    ndim = eqn.inputs[0].type.ndim
    return tuple(ix.const(0) if a in eqn.params.axes else next(rest) for a in range(ndim))


def product_indices(
    eqn: Eqn, index: MultiIndex, inner: MultiIndex | None
) -> tuple[MultiIndex, MultiIndex]:
    """The operands' indices for element `index` of a contraction and position `inner` along its
    contracted axes (None: they all have size 1)."""
    if eqn.prim is ops.conv:
        along = inner or (ix.const(0),) * len(contracted_sizes(eqn))
        return _window_indices(eqn, index, along)
    contract, batch = eqn.params.contract, eqn.params.batch
    n_batch = len(batch[0])
    a_free = eqn.inputs[0].type.ndim - n_batch - len(contract[0])
    free = (index[n_batch : n_batch + a_free], index[n_batch + a_free :])
    out: list[MultiIndex] = []
    for side in range(2):
        ndim = eqn.inputs[side].type.ndim
        position = dict(zip(batch[side], index[:n_batch], strict=True))
        along = inner if inner is not None else (ix.const(0),) * len(contract[side])
        position |= dict(zip(contract[side], along, strict=True))
        rest = iter(free[side])
        out.append(tuple(position[a] if a in position else next(rest) for a in range(ndim)))
    return out[0], out[1]


def contracted_sizes(eqn: Eqn) -> tuple[int, ...]:
    """The sizes of the axes a contraction sums over."""
    if eqn.prim is ops.conv:
        return known_shape(eqn.inputs[1].type.shape)[1:]
    shape = known_shape(eqn.inputs[0].type.shape)
    return tuple(shape[a] for a in eqn.params.contract[0])


def _window_indices(
    eqn: Eqn, index: MultiIndex, inner: MultiIndex
) -> tuple[MultiIndex, MultiIndex]:
    """A convolution's operands for feature `index[1]` of the window at `index[2:]`, at channel
    `inner[0]` of the feature's group and position `inner[1:]`."""
    p = eqn.params
    features, channels, *_ = known_shape(eqn.inputs[1].type.shape)
    group = index[1] // (features // p.groups)
    places = zip(index[2:], p.stride, inner[1:], p.dilation, strict=True)
    at = tuple(o * s + k * d for o, s, k, d in places)
    return (index[0], group * channels + inner[0], *at), (index[1], *inner)
