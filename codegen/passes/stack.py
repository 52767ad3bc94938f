"""stack: small products of an unrolled loop become one product of what lies one behind the other.

    dot(a1, g1) + dot(a2, g2)      ->   dot(concat(a1, a2), concat(g1, g2))     over both axes k
    dot(x[0], w), dot(x[1], w)     ->   y = dot(x[0:2], w);  y[0], y[1]

The gradient of a weight that many steps share is such a sum: added up step by step, the weight's
size is read and written once a step, for a product of a few rows. What is stacked is written in
place by those who compute it (`plan/classify`), so that a stack costs nothing but memory, which is
why no more is stacked than makes a product efficient.

The second rule is exact. The first changes the order in which products are summed, as every
product chooses one for its own sum: k in order, now over all that is stacked. Infinities and NaN
of the summands come out as before; a sum that only overflows on the way may not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from gradc.codegen.passes.rewrite import next_eqn_id
from gradc.tracer import ops
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import NO_PARAMS, Atom, Eqn, Graph, Params, Var
from gradc.tracer.ops.primitive import Primitive

# Rows, or products along k, that make a product efficient: no more are stacked.
ENOUGH = 512
# Products of more rows pay for their own copy of the right operand.
FEW_ROWS = 64


@dataclass(frozen=True, slots=True)
class _View:
    """Rows `start` to `stop` of `source`, in any shape."""

    source: Atom
    start: int
    stop: int


@dataclass(slots=True)
class _Sum:
    """`root`, the last of the additions `adds`, gives the sum of `terms`."""

    root: Eqn
    adds: list[Eqn]
    terms: list[Atom]


def stack(graph: Graph) -> Graph:
    """`graph` with small products stacked."""
    weaver = _Weaver(graph)
    for total in weaver.sums():
        weaver.stack_sum(total)
    for group in weaver.products_of_views():
        weaver.stack_rows(group)
    return weaver.woven()


class _Weaver:
    """What is taken out of a graph and what is put in, by position."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.positions = {v: n for n, e in enumerate(graph.eqns) for v in e.outputs}
        self.uses = Counter(
            a for atoms in (*(e.inputs for e in graph.eqns), graph.outputs) for a in atoms
        )
        self.replaced: dict[int, Eqn | None] = {}  # by position; None: left out
        self.after: dict[int, list[Eqn]] = {}
        self.stacks: dict[tuple[Atom, ...], Atom] = {}
        self.next_id = next_eqn_id(graph)

    def woven(self) -> Graph:
        if not self.replaced:
            return self.graph
        eqns = list(self.after.get(-1, ()))
        for n, eqn in enumerate(self.graph.eqns):
            kept = self.replaced.get(n, eqn)
            eqns += [kept] if kept is not None else []
            eqns += self.after.get(n, ())
        return self.graph.replace(eqns=tuple(eqns))

    # ---- what there is --------------------------------------------------------------------------

    def producer(self, atom: Atom, prim: Primitive) -> Eqn | None:
        at = self.positions.get(atom) if isinstance(atom, Var) else None
        return self.graph.eqns[at] if at is not None and self.graph.eqns[at].prim is prim else None

    def position(self, atom: Atom) -> int:
        """Where a value is known; -1 for inputs and literals."""
        return self.positions.get(atom, -1) if isinstance(atom, Var) else -1

    def sums(self) -> Iterable[_Sum]:
        """Every largest tree of additions whose inner sums nothing else reads."""
        inside: set[int] = set()
        for eqn in reversed(self.graph.eqns):
            if eqn.prim is ops.add and eqn.id not in inside:
                found = self.flatten(eqn)
                inside |= {e.id for e in found.adds}
                yield found

    def flatten(self, root: Eqn) -> _Sum:
        total = _Sum(root, [root], [])
        pending = [*reversed(root.inputs)]
        while pending:
            atom = pending.pop()
            inner = self.producer(atom, ops.add) if self.uses[atom] == 1 else None
            if inner is not None and atom.type == root.output.type:
                total.adds.append(inner)
                pending += reversed(inner.inputs)
            else:
                total.terms.append(atom)
        return total

    def products_of_views(self) -> list[list[Eqn]]:
        """Products of rows of one array with the same right operand, by the first row."""
        groups: dict[object, list[tuple[int, Eqn]]] = {}
        for n, eqn in enumerate(self.graph.eqns):
            if n not in self.replaced and _has_rows(eqn):
                view = self.view(eqn.inputs[0])
                if view is not None:
                    key = (eqn.inputs[1], view.source, eqn.params, eqn.inputs[0].type.shape[1:])
                    groups.setdefault(key, []).append((view.start, eqn))
        return [[e for _, e in sorted(g, key=lambda x: x[0])] for g in groups.values()]

    def view(self, atom: Atom) -> _View | None:
        """The rows of another array that `atom` is, through a reshape or not."""
        shaped = self.producer(atom, ops.reshape)
        cut = self.producer(shaped.inputs[0] if shaped is not None else atom, ops.slice)
        if cut is None or not _is_fixed(atom):
            return None
        source, (start, stop, step) = cut.inputs[0], cut.params.values()
        whole = all(
            (a, b) == (0, d) for a, b, d in zip(start[1:], stop[1:], source.type.shape[1:])
        )
        if not whole or set(step) != {1} or not isinstance(stop[0], int):
            return None
        return _View(source, start[0], stop[0])

    # ---- sums of products -----------------------------------------------------------------------

    def stack_sum(self, total: _Sum) -> None:
        chunks = self.chunks(total.terms)
        if not chunks:
            return
        # A stacked product stands where the first of its terms stood.
        first = {id(chunk[0]): chunk for chunk in chunks}
        joined = {id(e) for chunk in chunks for e in chunk}
        items: list[tuple[int, Atom]] = []
        for atom in total.terms:
            eqn = self.producer(atom, ops.dot_general)
            if eqn is None or id(eqn) not in joined:
                items.append((self.position(atom), atom))
            elif id(eqn) in first:
                items.append(self.stacked_product(first[id(eqn)]))
        for eqn in total.adds:
            self.replaced[self.position(eqn.output)] = None
        self.add_up(items, total.root)

    def chunks(self, terms: Sequence[Atom]) -> list[list[Eqn]]:
        """Products among `terms` that should be one, each with enough to sum; none is alone."""
        groups: dict[object, list[list[Eqn]]] = {}
        for atom in terms:
            eqn = self.producer(atom, ops.dot_general)
            if eqn is None or self.uses[atom] != 1 or not _is_stackable(eqn):
                continue
            key = (eqn.params, *(a.type.shape[1:] for a in eqn.inputs), atom.type.dtype)
            chunks = groups.setdefault(key, [[]])
            if sum(map(_summed, chunks[-1])) >= ENOUGH:
                chunks.append([])
            chunks[-1].append(eqn)
        return [c for chunks in groups.values() for c in chunks if len(c) > 1]

    def stacked_product(self, chunk: list[Eqn]) -> tuple[int, Atom]:
        """One product for all of `chunk`, and the position where it is known."""
        last = max(chunk, key=lambda e: self.position(e.output))
        chunk = sorted(chunk, key=self.order)
        left, right = (self.stacked([e.inputs[side] for e in chunk], last) for side in range(2))
        for eqn in chunk:
            self.replaced[self.position(eqn.output)] = None
        at = self.position(last.output)
        return at, self.put(at, last, ops.dot_general, left, right, **last.params)

    def order(self, eqn: Eqn) -> tuple[int, int]:
        """Where a product's operands come in a stack: neighbours in memory stay neighbours."""
        views = [v for v in map(self.view, eqn.inputs) if v is not None]
        return (views[0].start if views else 0), self.position(eqn.inputs[0])

    def stacked(self, parts: Sequence[Atom], like: Eqn) -> Atom:
        """`parts` along their first axis, known as soon as all of them are."""
        key = tuple(parts)
        if key not in self.stacks:
            at = max(map(self.position, parts))
            self.stacks[key] = self.slice_of(parts, at, like) or self.put(
                at, like, ops.concat, *parts, axis=0
            )
        return self.stacks[key]

    def slice_of(self, parts: Sequence[Atom], at: int, like: Eqn) -> Atom | None:
        """`parts` as a slice of the array whose rows they are, one after the other."""
        views = [v for v in map(self.view, parts) if v is not None]
        if len(views) < len(parts) or not _adjacent(views):
            return None
        source = views[0].source
        rest = source.type.shape[1:]
        rows = self.put(
            at, like, ops.slice, source, start=(views[0].start, *(0 for _ in rest)),
            stop=(views[-1].stop, *rest), step=(1,) * source.type.ndim,
        )  # fmt: skip
        first = sum(known_shape(p.type.shape)[0] for p in parts)
        shape = (first, *parts[0].type.shape[1:])
        if rows.type.shape == shape:
            return rows
        return self.put(at, like, ops.reshape, rows, shape=shape)

    def add_up(self, items: list[tuple[int, Atom]], root: Eqn) -> None:
        """Add the items in their order; the last sum is what `root` gave."""
        (at, total), *rest = items
        if not rest:
            self.rename(at, total, root)
        for n, (position, atom) in enumerate(rest):
            at = max(at, position)
            if n < len(rest) - 1:
                total = self.put(at, root, ops.add, total, atom)
            else:
                self.after.setdefault(at, []).append(root.replace(inputs=(total, atom)))

    def rename(self, at: int, made: Atom, root: Eqn) -> None:
        """Let the eqn just put in give the value of `root`."""
        last = self.after[at].pop()
        assert last.outputs == (made,)
        self.after[at].append(last.replace(outputs=root.outputs, id=root.id))

    # ---- rows of one array ----------------------------------------------------------------------

    def stack_rows(self, group: list[Eqn]) -> None:
        run: list[Eqn] = []
        for eqn in group:
            rows = sum(_rows(e) for e in run)
            follows = run and self.follows(run[-1], eqn)
            if not follows or rows >= ENOUGH:
                self.stack_run(run)
                run = []
            run.append(eqn)
        self.stack_run(run)

    def follows(self, before: Eqn, eqn: Eqn) -> bool:
        a, b = self.view(before.inputs[0]), self.view(eqn.inputs[0])
        return a is not None and b is not None and _adjacent([a, b])

    def stack_run(self, run: list[Eqn]) -> None:
        """One product of all rows, of which each of these is a slice."""
        if len(run) < 2:
            return
        first = min(run, key=lambda e: self.position(e.output))
        at = self.position(first.output) - 1
        left = self.slice_of([e.inputs[0] for e in run], at, first)
        assert left is not None
        product = self.put(at, first, ops.dot_general, left, first.inputs[1], **first.params)
        rest, start = product.type.shape[1:], 0
        for eqn in run:
            stop = start + known_shape(eqn.output.type.shape)[0]
            params = Params(
                start=(start, *(0 for _ in rest)), stop=(stop, *rest), step=(1,) * (1 + len(rest))
            )
            part = eqn.replace(prim=ops.slice, inputs=(product,), params=params)
            self.replaced[self.position(eqn.output)] = part
            start = stop

    # ---- what is put in -------------------------------------------------------------------------

    def put(
        self, at: int, like: Eqn, prim: Primitive, *inputs: Atom, **params: object
    ) -> Atom:
        """Apply a primitive behind position `at`, with line and phase of `like`."""
        frozen = Params(**params) if params else NO_PARAMS
        (type,) = prim.infer(*(a.type for a in inputs), **frozen)
        eqn = like.replace(
            prim=prim, inputs=inputs, params=frozen, outputs=(Var(type),), id=self.next_id
        )
        self.next_id += 1
        self.after.setdefault(at, []).append(eqn)
        return eqn.output


def _is_fixed(*atoms: Atom) -> bool:
    """Whether all sizes are numbers."""
    return all(isinstance(d, int) for a in atoms for d in a.type.shape)


def _is_stackable(eqn: Eqn) -> bool:
    """Whether a product sums over the leading axes of both operands, and stacking them takes less
    than adding up the result."""
    left, right = eqn.params.contract
    if any(eqn.params.batch) or not left or left != right or left != (*range(len(left)),):
        return False
    if not _is_fixed(*eqn.inputs):
        return False
    size = prod(known_shape(eqn.output.type.shape))
    stacks = sum(prod(known_shape(a.type.shape)) for a in eqn.inputs)
    return _summed(eqn) < ENOUGH and stacks <= size


def _summed(eqn: Eqn) -> int:
    shape = known_shape(eqn.inputs[0].type.shape)
    return prod(shape[a] for a in eqn.params.contract[0])


def _has_rows(eqn: Eqn) -> bool:
    """Whether the first axis of the result is that of the left operand, and short."""
    if eqn.prim is not ops.dot_general or any(eqn.params.batch) or not _is_fixed(*eqn.inputs):
        return False
    left = eqn.inputs[0].type
    return left.ndim > 1 and 0 not in eqn.params.contract[0] and 0 < _rows(eqn) <= FEW_ROWS


def _rows(eqn: Eqn) -> int:
    left = known_shape(eqn.inputs[0].type.shape)
    taken = eqn.params.contract[0]
    return prod(d for a, d in enumerate(left) if a not in taken)


def _adjacent(views: Sequence[_View]) -> bool:
    """Whether each view begins where the one before it ends, in the same array."""
    return all(a.source is b.source and a.stop == b.start for a, b in pairwise(views))
