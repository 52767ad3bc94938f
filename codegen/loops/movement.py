"""Movement as substitution of indices: where the elements of a result come from.

`sources(eqn, index)` takes the multi-index of one element of the eqn's result and gives the
pieces it may come from, in order: the first whose guards all hold is the one. Guards that the
ranges of the index decide are gone, and so are the pieces that cannot apply.

    slice(x; start=(2,))[i]     ->  [Piece(0, (i + 2,))]
    concat(x[3], y[4])[i]       ->  [Piece(0, (min(i, 2),), i < 3), Piece(1, (max(i - 3, 0),))]

Indices of guarded pieces are clamped, so that reading them is in bounds whatever the guards say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn
from gradc.tracer.rules.table import RuleTable

MultiIndex: TypeAlias = tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """`index op bound`, op one of `ge`, `lt`, `eq`."""

    index: Index
    op: str
    bound: int

    def decided(self) -> bool | None:
        """The truth value where the index's range settles it."""
        lo, hi, b = self.index.lo, self.index.hi, self.bound
        if self.op == "ge":
            return True if lo >= b else False if hi < b else None
        if self.op == "lt":
            return True if hi < b else False if lo >= b else None
        return (lo == b) if lo == hi else False if not lo <= b <= hi else None

    def boundary(self, atom: ix.Atom) -> int | None:
        """The value of `atom` from which on the guard says otherwise, if it is affine in it alone
        (and no test of equality)."""
        if self.op == "eq" or len(self.index.terms) != 1 or self.index.terms[0][0] is not atom:
            return None
        c, rest = self.index.terms[0][1], self.bound - self.index.constant
        return -(-rest // c) if c > 0 else rest // c + 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Element `index` of operand number `operand`, where every guard holds."""

    operand: int
    index: MultiIndex
    guards: tuple[Guard, ...] = ()


Sources: TypeAlias = "Callable[[Eqn, MultiIndex], list[Piece]]"
movement: RuleTable[Sources] = RuleTable("movement")


def sources(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    """The pieces element `index` of the result may come from, settled by ranges where possible."""
    pieces = movement[eqn.prim](eqn, index)
    if len(pieces) == 1:
        return pieces
    kept: list[Piece] = []
    for piece in pieces:
        verdicts = [(g, g.decided()) for g in piece.guards]
        if any(v is False for _, v in verdicts):
            continue
        open_guards = tuple(g for g, v in verdicts if v is None)
        kept.append(Piece(piece.operand, piece.index, open_guards))
        if not open_guards:
            break
    return kept


def input_shape(eqn: Eqn, operand: int = 0) -> tuple[int, ...]:
    return known_shape(eqn.inputs[operand].type.shape)


@movement.rule(ops.reshape)
def _reshape(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    shape = known_shape(eqn.output.type.shape)
    return [Piece(0, reshape_index(index, shape, input_shape(eqn)))]


def reshape_index(index: MultiIndex, old: tuple[int, ...], new: tuple[int, ...]) -> MultiIndex:
    """The same row-major position in another shape; leading and trailing equal axes pass as they
    are, which keeps data-dependent indices out of divisions."""
    lead = 0
    while lead < min(len(old), len(new)) and old[lead] == new[lead]:
        lead += 1
    trail = 0
    while trail < min(len(old), len(new)) - lead and old[-1 - trail] == new[-1 - trail]:
        trail += 1
    stop_old, stop_new = len(old) - trail, len(new) - trail
    middle = ix.ravel(index[lead:stop_old], old[lead:stop_old])
    inner = ix.unravel(middle, new[lead:stop_new])
    return (*index[:lead], *inner, *index[stop_old:])


@movement.rule(ops.permute)
def _permute(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    found: list[Index] = [index[0]] * len(index) if index else []
    for out_axis, in_axis in enumerate(eqn.params.axes):
        found[in_axis] = index[out_axis]
    return [Piece(0, tuple(found))]


@movement.rule(ops.broadcast)
def _broadcast(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    sizes = input_shape(eqn)
    found = (ix.const(0) if n == 1 else index[a] for a, n in zip(eqn.params.axes, sizes))
    return [Piece(0, tuple(found))]


@movement.rule(ops.slice)
def _slice(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    p = eqn.params
    return [Piece(0, tuple(i * step + low for i, low, step in zip(index, p.start, p.step)))]


@movement.rule(ops.window)
def _window(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    return [Piece(0, window_source(eqn, index, index[eqn.inputs[0].type.ndim :]))]


def window_source(eqn: Eqn, index: MultiIndex, within: MultiIndex) -> MultiIndex:
    """Where position `within` of the window at `index` lies in the operand."""
    p = eqn.params
    found = list(index[: eqn.inputs[0].type.ndim])
    for axis, k, s, d in zip(p.axes, within, p.stride, p.dilation, strict=True):
        found[axis] = index[axis] * s + k * d
    return tuple(found)


@movement.rule(ops.flip)
def _flip(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    sizes = input_shape(eqn)
    flipped = (
        ix.const(n - 1) - i if a in eqn.params.axes else i
        for a, (i, n) in enumerate(zip(index, sizes))
    )
    return [Piece(0, tuple(flipped))]


@movement.rule(ops.pad)
def _pad(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    """Interior fills: inside where `(i - low) % (gap + 1) == 0`."""
    found: list[Index] = []
    guards: list[Guard] = []
    p = eqn.params
    sizes = input_shape(eqn)
    fill = Piece(1, ())
    if 0 in sizes:
        return [fill]
    for i, n, low, gap in zip(index, sizes, p.low, p.interior):
        at, step = i - low, gap + 1
        guards += [Guard(at, "ge", 0), Guard(at, "lt", (n - 1) * step + 1)]
        at = ix.clamp(at, 0, (n - 1) * step)
        quotient, rest = ix.divmod_index(at, step)
        if step > 1:
            guards.append(Guard(rest, "eq", 0))
        found.append(quotient)
    return [Piece(0, tuple(found), tuple(guards)), fill]


@movement.rule(ops.concat)
def _concat(eqn: Eqn, index: MultiIndex) -> list[Piece]:
    axis = eqn.params.axis
    pieces: list[Piece] = []
    start = 0
    for k in range(len(eqn.inputs)):
        n = input_shape(eqn, k)[axis]
        if n == 0:
            continue
        at = ix.clamp(index[axis] - start, 0, n - 1)
        start += n
        guard = Guard(index[axis], "lt", start)
        pieces.append(Piece(k, (*index[:axis], at, *index[axis + 1 :]), (guard,)))
    if pieces:
        last = pieces.pop()
        pieces.append(Piece(last.operand, last.index))
    return pieces


def gather_source(eqn: Eqn, index: MultiIndex, at: tuple[Index, ...]) -> MultiIndex:
    """Where a gather reads its operand for element `index`, the loaded indices being `at`."""
    axes, batch = eqn.params.axes, eqn.params.batch
    rest = iter(index[index_rank(eqn) :])
    chosen = dict(zip(axes, at, strict=True))
    ndim = eqn.inputs[0].type.ndim
    return tuple(
        index[a] if a < batch else chosen[a] if a in chosen else next(rest) for a in range(ndim)
    )


def index_rank(eqn: Eqn) -> int:
    """The rank of a gather's or scatter's index arrays."""
    return eqn.inputs[-1].type.ndim
