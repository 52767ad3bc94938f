"""Reverse mode: walking the record from roots to leaves.

    backward([loss])                     adds to the .grad of every leaf
    gradients([y], [x], [v])             returns the cotangents of x, touches no .grad

The same walk serves eager programs, where every rule runs at once, and traces, where it appends
eqns of phase backward. Nodes are visited in the opposite order of their making, each once, after
all that consumed its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import GradientError, ShapeError
from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import elementwise, full
from gradc.tracer.record import Node
from gradc.tracer.tensor import Tensor, new_tensor

# Where a cotangent is collected: a node's output, or a leaf.
Slot = tuple[int, int]


def backward(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `roots` to the `.grad` of the leaves (only `inputs`, if given)."""
    walk = Walk(roots, _seeds(roots, grads), retain_graph, create_graph)
    found = walk.run(inputs)
    targets = walk.leaves() if inputs is None else list(inputs)
    taken = {id(s._storage) for s in walk.seeds}
    for leaf in targets:
        g = found.get(_slot(leaf))
        if g is not None:
            _accumulate(leaf, g, create_graph, taken)


def gradients(
    roots: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """The cotangents of `inputs`; None where a root does not depend on one."""
    for x in inputs:
        if not x.requires_grad:
            raise GradientError(
                "One of the differentiated Tensors does not require grad",
                loc=user_location(3),
                operands=[str(x.type)],
            )
    walk = Walk(roots, _seeds(roots, grads), retain_graph, create_graph)
    found = walk.run(inputs)
    return [found.get(_slot(x)) for x in inputs]


def gradients_since(
    mark: int, roots: Sequence[Tensor], targets: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The cotangents of `targets`, recorded, by a walk over what was made after `mark` only.

    What lies behind a target is another walk's affair, and so are the hooks of leaves.
    """
    walk = Walk(roots, _seeds(roots, grads), True, True)
    walk.nodes = [n for n in walk.nodes if n.sequence > mark]
    walk._leaves.clear()
    walk.run(None)
    return [walk.grads.get(_slot(t)) for t in targets]


def _seeds(roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
    return [_seed(root, g) for root, g in zip(roots, grads, strict=True)]


def _seed(root: Tensor, g: Tensor | None) -> Tensor:
    if not root.requires_grad:
        raise GradientError(
            "element 0 of tensors does not require grad and does not have a grad_fn",
            loc=user_location(4),
            operands=[str(root.type)],
            hint="no operand of it requires a gradient, or it was made under no_grad or detached",
        )
    if g is None:
        if root.type.size != 1:
            raise GradientError(
                "grad can be implicitly created only for scalar outputs",
                loc=user_location(4),
                operands=[str(root.type)],
                hint="pass gradient=, the vector of the vector-Jacobian product",
            )
        return full(root.shape, 1, root.dtype)
    if g.shape != root.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[0] has a shape of {list(g.shape)} and output[0] has a "
            f"shape of {list(root.shape)}.",
            loc=user_location(4),
        )
    return g if g.dtype is root.dtype else ops.cast(g, dtype=root.dtype)


def _slot(t: Tensor) -> Slot:
    node, index = t.history()
    return (id(t), 0) if node is None else (id(node), index)


class Walk:
    """One backward walk: reachable nodes, and the cotangents collected so far."""

    def __init__(
        self, roots: Sequence[Tensor], seeds: list[Tensor], retain: bool, create: bool
    ) -> None:
        self.seeds = seeds
        self.retain = retain or create
        self.create = create
        self.grads: dict[Slot, Tensor] = {}
        self._leaves: dict[int, Tensor] = {}
        self._keep: dict[Slot, Tensor] = {}
        self.roots = roots
        self.nodes = self._reachable(roots)

    def leaves(self) -> list[Tensor]:
        """Every leaf that was reached, and every tensor that retains its gradient."""
        return [*self._leaves.values(), *self._keep.values()]

    def _reachable(self, roots: Sequence[Tensor]) -> list[Node]:
        seen: dict[int, Node] = {}
        stack: list[Any] = []
        for root in roots:
            node, _ = root.history()
            if node is None:
                self._leaves[id(root)] = root
            else:
                stack.append(node)
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen[id(node)] = node
            for edge in node.edges:
                if edge is None:
                    continue
                if isinstance(edge[0], Node):
                    stack.append(edge[0])
                else:
                    self._leaves[id(edge[0])] = edge[0]
        return sorted(seen.values(), key=lambda n: n.sequence, reverse=True)

    def run(self, inputs: Sequence[Tensor] | None) -> dict[Slot, Tensor]:
        """Visit the nodes; returns the cotangents of leaves, retained tensors and `inputs`."""
        wanted = None if inputs is None else {_slot(x) for x in inputs}
        useful = None if wanted is None else self._useful(wanted)
        kept: dict[Slot, Tensor] = {}
        state = CONTEXT.grad, CONTEXT.phase, CONTEXT.loc, CONTEXT.scope, CONTEXT.composite
        CONTEXT.grad, CONTEXT.phase, CONTEXT.composite = self.create, Phase.BACKWARD, None
        try:
            for root, seed in zip(self.roots, self.seeds):
                self._add(_slot(root), seed)
            for node in self.nodes:
                if useful is None or id(node) in useful:
                    self._visit(node, wanted, useful, kept)
            self._finish_leaves(kept)
        finally:
            CONTEXT.grad, CONTEXT.phase, CONTEXT.loc, CONTEXT.scope, CONTEXT.composite = state
        return kept

    def _useful(self, wanted: set[Slot]) -> set[int]:
        """The nodes on a path to what is wanted."""
        ids = {i for i, _ in wanted}
        useful: set[int] = set()
        for node in reversed(self.nodes):
            if any(e is not None and (id(e[0]) in ids or id(e[0]) in useful) for e in node.edges):
                useful.add(id(node))
        # A wanted output of an otherwise useless node still has hooks to run.
        return useful | {id(n) for n in self.nodes if id(n) in ids}

    def _visit(
        self,
        node: Node,
        wanted: set[Slot] | None,
        useful: set[int] | None,
        kept: dict[Slot, Tensor],
    ) -> None:
        slots = [(id(node), i) for i in range(len(node.output_types))]
        grads: list[Tensor | None] = [self.grads.pop(s, None) for s in slots]
        if all(g is None for g in grads):
            return
        CONTEXT.loc, CONTEXT.scope = node.loc, node.scope
        grads = _run_output_hooks(node, grads)
        for slot, g in zip(slots, grads):
            if g is not None and wanted is not None and slot in wanted:
                kept[slot] = g
        _retain(node, grads, self._keep, kept)
        if useful is not None and not _leads_on(node, wanted, useful):
            return
        for hook in node.pre_hooks or ():
            changed = hook(tuple(grads))
            grads = list(grads if changed is None else changed)
        found = node.backward(grads)
        if CONTEXT.anomaly:
            _check_anomaly(node, found)
        for hook in node.hooks or ():
            changed = hook(tuple(found), tuple(grads))
            found = found if changed is None else changed
        for edge, g in zip(node.edges, found, strict=True):
            if edge is not None and g is not None:
                self._add((id(edge[0]), edge[1]), g)
        if not self.retain:
            node.release()

    def _add(self, slot: Slot, g: Tensor) -> None:
        known = self.grads.get(slot)
        self.grads[slot] = g if known is None else ops.add(known, g)

    def _finish_leaves(self, kept: dict[Slot, Tensor]) -> None:
        for leaf in self._leaves.values():
            g = self.grads.get((id(leaf), 0))
            if g is None:
                continue
            for hook in list(leaf.leaf_hooks or ()):
                changed = hook(g)
                g = g if changed is None else changed
            kept[id(leaf), 0] = g


def _leads_on(node: Node, wanted: set[Slot] | None, useful: set[int]) -> bool:
    ids = {i for i, _ in wanted or ()}
    return any(e is not None and (id(e[0]) in ids or id(e[0]) in useful) for e in node.edges)


def _run_output_hooks(node: Node, grads: list[Tensor | None]) -> list[Tensor | None]:
    for index, hook in list(node.output_hooks or ()):
        if grads[index] is not None and not isinstance(hook, Retain):
            changed = hook(grads[index])
            grads[index] = grads[index] if changed is None else changed
    return grads


class Retain:
    """An output hook that stands for `retain_grad()`; holds its tensor weakly."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def _retain(
    node: Node, grads: list[Tensor | None], keep: dict[Slot, Tensor], kept: dict[Slot, Tensor]
) -> None:
    for index, hook in node.output_hooks or ():
        if isinstance(hook, Retain) and grads[index] is not None:
            tensor, g = hook.tensor(), grads[index]
            if tensor is not None and g is not None:
                keep[id(node), index] = tensor
                kept[id(node), index] = g


def _check_anomaly(node: Node, found: Sequence[Tensor | None]) -> None:
    if CONTEXT.trace is not None:
        return
    for i, g in enumerate(found):
        if g is not None and np.isnan(g.array()).any():
            raise GradientError(
                f"Function '{node.name}' returned nan values in its {i}th output.",
                loc=node.loc,
                hint="the line above is the forward operation whose gradient is NaN",
            )


def _accumulate(leaf: Tensor, g: Tensor, create_graph: bool, taken: set[int]) -> None:
    """Add `g` to `leaf.grad`, in place unless the gradient is itself recorded."""
    if CONTEXT.trace is not None and leaf.__dict__.get("outer_history", not leaf.is_leaf):
        raise GradientError(
            "backward inside a compiled function reaches a tensor that was computed outside of it",
            loc=user_location(5),
            operands=[str(leaf.type)],
            hint="compute it inside, detach() it, or call backward() on the compiled function's "
            "result",
        )
    known = leaf.grad
    if known is None:
        leaf.grad = g if create_graph else _own(g, taken)
    elif create_graph:
        leaf.grad = elementwise(ops.add, known, g)
    else:
        state, CONTEXT.grad = CONTEXT.grad, False
        phase, CONTEXT.phase = CONTEXT.phase, Phase.BACKWARD
        try:
            known.add_(g)
        finally:
            CONTEXT.grad, CONTEXT.phase = state, phase
    for hook in list(getattr(leaf, "post_accumulate_hooks", ())):
        hook(leaf)


def _own(g: Tensor, taken: set[int]) -> Tensor:
    """`g` detached, on memory no other gradient of this walk lives in."""
    if CONTEXT.trace is not None:
        return CONTEXT.trace.tensor(CONTEXT.trace.read(g))
    array = g.array()
    whole = g._storage.array is array and not g._chain
    if whole and id(g._storage) not in taken and g._storage.version == 0:
        taken.add(id(g._storage))
        return g.alias() if g.requires_grad else g
    return new_tensor(np.array(array, order="C"))
