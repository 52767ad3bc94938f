"""Gradients of a compiled function called under gradient recording.

The forward and its backward are traced together and then split: eqns up to `mark` are the
forward, those behind it the backward graph, whose inputs are the cotangents and the residuals.
Eagerly the call is one node; its backward runs the second executable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import GradientError
from gradc.tracer.graph import dims
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Var
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType
from gradc.tracer.record import Node, Saved, edge_of, mark
from gradc.tracer.storage import Array
from gradc.tracer.tensor import Tensor, new_tensor
from gradc.tracer.trace import Trace
from gradc.tracer.transform.reverse import Walk, gradients_since

if TYPE_CHECKING:
    from gradc.runtime.specialization import Specialization


@dataclass(eq=False, slots=True)
class GradientPlan:
    """The backward of one specialization.

    Attributes:
        roots: the differentiable results, in the trace.
        targets: what they are differentiated by: a leaf position, or a captured tensor.
        graph: cotangents, then residuals, to the gradients of `targets`.
        residuals: forward values the backward reads, as extra outputs of the forward.
        given: inputs the backward reads as they are: `(leaf position | tensor)`.
        mark: how many eqns are the forward's.
        result_positions: where among the leaves of the function's result each root is.
    """

    roots: list[Tensor]
    targets: list[int | Tensor]
    graph: Graph
    residuals: list[Tensor]
    given: list[int | Tensor]
    mark: int
    first_residual: int = 0
    result_positions: list[int] = field(default_factory=list)

    def record(
        self,
        specialization: Specialization,
        leaves: Sequence[Any],
        arrays: Sequence[Array],
        outputs: Sequence[Array],
        tensors: Sequence[Any],
    ) -> None:
        """Make one node the history of the differentiable results."""
        if not CONTEXT.grad:
            return
        saved: list[Array | Saved] = list(outputs[self.first_residual :][: len(self.residuals)])
        for source in self.given:
            value = leaves[source] if isinstance(source, int) else source
            if isinstance(value, Tensor):
                saved.append(Saved(value, is_output=False))
            else:
                assert isinstance(source, int)
                saved.append(arrays[specialization.positions.index(source)])
        targets = [leaves[t] if isinstance(t, int) else t for t in self.targets]
        node = CompiledNode(
            specialization, saved, [edge_of(t) for t in targets], [r.type for r in self.roots],
            Again(specialization, leaves),
        )  # fmt: skip
        for result, tensor in zip(specialization.staged.results, tensors):
            if result.grad_index is not None:
                tensor.set_history(node, result.grad_index)


class LinkNode(Node):
    """The border of a function that is run again: its operand as it was passed in."""

    __slots__ = ()

    def __init__(self, operand: Tensor) -> None:
        super().__init__([edge_of(operand)], [operand.type])

    @property
    def name(self) -> str:
        return "AliasBackward0"

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return grads


class Again:
    """What it takes to run the function of a call again, eagerly.

    Only a derivative of a gradient needs that. The compiled backward is no function that could be
    differentiated: what was detached inside, or has a rule of its own, shows in Python alone.
    """

    __slots__ = ("leaves", "specialization", "versions")

    def __init__(self, specialization: Specialization, leaves: Sequence[Any]) -> None:
        self.specialization = specialization
        self.leaves = leaves
        self.versions = self._versions()

    def _versions(self) -> list[int]:
        tensors = [t for t in self.leaves if isinstance(t, Tensor)]
        storages = [*(t._storage for t in tensors), *self.specialization.storages]
        return [s.version for s in storages]

    def gradients(self, grads: Sequence[Tensor | None], loc: Location | None) -> list[Any]:
        """The gradients of the call's targets, recorded.

        Raises:
            GradientError: the function wrote something, or what it read has changed since.
        """
        staged = self.specialization.staged
        plan = staged.gradient
        assert plan is not None
        problem = self._problem()
        if problem is not None:
            raise GradientError(
                "the gradient of a compiled function's result cannot be differentiated here: "
                + problem,
                loc=loc,
                hint="compute the inner gradient inside the compiled function "
                "(autograd.grad(..., create_graph=True)), or call the function uncompiled",
            )
        leaves = [_linked(leaf) for leaf in self.leaves]
        begin = mark()
        args, kwargs = staged.call.rebuild(leaves)
        found = staged.function_of(args, kwargs)
        given = [(found[i], g) for i, g in zip(plan.result_positions, grads) if g is not None]
        targets = [leaves[t] if isinstance(t, int) else t for t in plan.targets]
        roots, seeds = [r for r, _ in given], [g for _, g in given]
        return gradients_since(begin, roots, targets, seeds)

    def _problem(self) -> str | None:
        staged = self.specialization.staged
        if staged.writes or staged.graph.aliases or staged.traced.grads:
            return "the function changes state or its arguments"
        if staged.donation is not None:
            return "arguments were donated"
        if self.versions != self._versions():
            return "its arguments or the state it uses were written since"
        if not self.specialization.holds():
            return f"what it read has changed: {self.specialization.explain()}"
        return None


def _linked(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.requires_grad:
        return leaf
    linked = leaf.alias()
    linked.set_history(LinkNode(leaf), 0)
    return linked


class CompiledNode(Node):
    """A compiled call: its backward is another executable."""

    __slots__ = ("again", "saved", "specialization")

    def __init__(
        self,
        specialization: Specialization,
        saved: list[Array | Saved],
        edges: Sequence[Any],
        types: Sequence[TensorType],
        again: Again,
    ) -> None:
        super().__init__(edges, types)
        self.specialization = specialization
        self.saved: list[Array | Saved] | None = saved
        self.again: Again | None = again

    @property
    def name(self) -> str:
        return "CompiledFunctionBackward"

    def release(self) -> None:
        self.saved, self.again, self.freed = None, None, True

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        self.require_saved()
        assert self.saved is not None and self.specialization.backward is not None
        if CONTEXT.grad:
            assert self.again is not None
            return self.again.gradients(grads, self.loc)
        arrays = [
            _zeros(t) if g is None else np.asarray(g.array(), order="C")
            for g, t in zip(grads, self.output_types)
        ]
        for value in self.saved:
            found = value.unpack(self).array() if isinstance(value, Saved) else value
            arrays.append(np.asarray(found, order="C"))
        return [new_tensor(a) for a in self.specialization.backward(arrays)]


def _zeros(type: TensorType) -> Array:
    return np.zeros(dims.known_shape(type.shape), type.dtype.numpy)


def plan_gradient(
    trace: Trace, results: Sequence[Tensor], stand_ins: dict[int, Tensor], name: str
) -> GradientPlan | None:
    """Trace the backward of `results` behind the forward; None if nothing is differentiable."""
    roots = list({id(t): t for t in results if t.requires_grad}.values())
    if not CONTEXT.grad or not roots:
        return None
    types = [r.type for r in roots]
    mark, before = len(trace.builder.eqns), len(trace.arguments)
    seeds = [trace.argument(t, f"d_result{i}") for i, t in enumerate(types)]
    walk = Walk(roots, seeds, True, False)
    positions = {id(t): i for i, t in stand_ins.items()}
    reached = [t for t in walk.leaves() if id(t) in positions or t._data is not None]
    if not reached or any(node.freed for node in walk.nodes):
        # All leaves were made inside (func.grad), or the function ran backward itself; its
        # results are values, as after a training step.
        del trace.arguments[before:]
        trace.builder.inputs = [v for v in trace.builder.inputs if v in set(trace.arguments)]
        return None
    found = walk.run(None)
    targets: list[int | Tensor] = []
    outputs: list[Tensor] = []
    for leaf in reached:
        g = found.get((id(leaf), 0))
        if g is not None:
            targets.append(positions.get(id(leaf), leaf))
            outputs.append(g)
    return _split(trace, roots, targets, outputs, seeds, stand_ins, mark, name)


def _split(
    trace: Trace,
    roots: list[Tensor],
    targets: list[int | Tensor],
    outputs: list[Tensor],
    seeds: list[Tensor],
    stand_ins: dict[int, Tensor],
    mark: int,
    name: str,
) -> GradientPlan:
    grads = [trace.read(t) for t in outputs]
    tail = trace.builder.eqns[mark:]
    cotangents = [trace.read(s) for s in seeds]
    needed = _free_variables(tail, grads, {v for v in cotangents if isinstance(v, Var)})
    sources = _input_sources(trace, stand_ins)
    residuals = [v for v in needed if v not in sources]
    given = [v for v in needed if v in sources]
    inputs = [v for v in cotangents if isinstance(v, Var)] + residuals + given
    graph = Graph(
        f"{name}_backward", tuple(inputs), tuple(tail), tuple(grads), len(inputs)
    )
    return GradientPlan(
        roots,
        targets,
        graph,
        [trace.tensor(v) for v in residuals],
        [sources[v] for v in given],
        mark,
    )


def _free_variables(eqns: Sequence[Eqn], outputs: Sequence[Atom], bound: set[Var]) -> list[Var]:
    known = set(bound)
    free: dict[Var, None] = {}
    for eqn in eqns:
        for atom in eqn.inputs:
            if not isinstance(atom, Literal) and atom not in known:
                free[atom] = None
        known.update(eqn.outputs)
    for atom in outputs:
        if not isinstance(atom, Literal) and atom not in known:
            free[atom] = None
    return list(free)


def _input_sources(trace: Trace, stand_ins: dict[int, Tensor]) -> dict[Var, int | Tensor]:
    """Inputs that still hold after the run what they held before it."""
    sources: dict[Var, int | Tensor] = {}
    for position, tensor in stand_ins.items():
        value = trace.values[tensor._storage]
        if isinstance(value, Var) and value in trace.arguments:
            sources[value] = position
    for storage, capture in trace.captures.items():
        if trace.values[storage] is capture.var:
            sources[capture.var] = capture.tensor
    return sources
