"""The record of what was computed, for backward to walk: torch's dynamic graph.

A `Node` stands for one recorded application. Its edges lead to the nodes (or leaf tensors) its
operands came from. What the gradient rules name (`x`, `y`, `out`) is saved, with the version of
the memory it lived in; a saved value whose memory was written since is an error in backward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from gradc.tracer.context import CONTEXT, Composite
from gradc.tracer.errors import GradientError
from gradc.tracer.graph.source import Location, user_location
from gradc.tracer.graph.types import TensorType
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.structure import STRUCTURE

if TYPE_CHECKING:
    from gradc.tracer.tensor import Tensor

_sequence = count()


def mark() -> int:
    """A point in the record: nodes made later have a greater `sequence`."""
    return next(_sequence)


# An edge: the node an operand came from and which of its outputs, or a leaf tensor.
Edge: TypeAlias = "tuple[Node | Tensor, int] | None"
Hook: TypeAlias = Callable[..., Any]

OPERAND_NAMES = ("x", "y", "z")


class Saved:
    """A tensor kept for backward.

    An operand is kept as the tensor itself; an output without its node, which would keep the
    node alive through itself, and is given the node again when it is read.
    """

    __slots__ = ("is_output", "tensor", "version", "writer")

    def __init__(self, tensor: Tensor, *, is_output: bool) -> None:
        self.tensor = tensor.alias() if is_output else tensor
        self.version = tensor._storage.version
        self.is_output = is_output

    def unpack(self, node: Node, index: int = 0) -> Tensor:
        """The tensor as it was.

        Raises:
            GradientError: its memory was written since.
        """
        found = self.tensor._storage.version
        if found != self.version:
            raise GradientError(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: [{self.tensor.type}]"
                + (f", which is output {index} of {node.name}," if self.is_output else "")
                + f" is at version {found}; expected version {self.version} instead.",
                loc=node.loc,
                hint="work on a copy (x.clone()) or use the out-of-place form of the operation; "
                "gradc.autograd.detect_anomaly() names the line of the forward operation",
            )
        if not self.is_output:
            return self.tensor
        restored = self.tensor.alias()
        restored.set_history(node, index)
        return restored


class Node:
    """One recorded application; `backward` turns output cotangents into operand cotangents."""

    __slots__ = (
        "__weakref__",
        "composite",
        "edges",
        "freed",
        "hooks",
        "loc",
        "output_hooks",
        "output_types",
        "pre_hooks",
        "scope",
        "sequence",
    )  # fmt: skip

    def __init__(self, edges: Sequence[Edge], output_types: Sequence[TensorType]) -> None:
        self.edges = tuple(edges)
        self.output_types = tuple(output_types)
        self.sequence = next(_sequence)
        context = CONTEXT
        self.composite: Composite | None = context.composite
        self.scope = context.scope
        traced = context.trace is not None or context.anomaly
        self.loc: Location | None = (context.loc or user_location(3)) if traced else None
        self.freed = False
        self.hooks: list[Hook] | None = None
        self.pre_hooks: list[Hook] | None = None
        # Hooks of the tensors this node made: (output index, hook).
        self.output_hooks: list[tuple[int, Any]] | None = None

    @property
    def name(self) -> str:
        """The name torch would print: `MulBackward0`."""
        raise NotImplementedError

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Cotangents of the operands from those of the outputs; None means zero."""
        raise NotImplementedError

    def release(self) -> None:
        """Drop what was saved; another backward through this node is an error then."""

    def require_saved(self) -> None:
        """Raise GradientError if the saved values were freed by an earlier backward."""
        if self.freed:
            raise GradientError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward.",
                loc=self.loc,
            )


def edge_of(operand: Any) -> Edge:
    """Where an operand came from: None for a number or a tensor that requires no gradient."""
    if not getattr(operand, "requires_grad", False):
        return None
    if CONTEXT.trace is not None and operand._data is not None:
        # A trace sees what was computed outside as given; whoever runs it continues from there.
        return operand, 0
    node, index = operand.history()
    return (operand, 0) if node is None else (node, index)


def camel_case(name: str) -> str:
    """`binary_cross_entropy` -> `BinaryCrossEntropy`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part)


# Where torch's name of the node is not the primitive's own.
TORCH_NAMES = {
    "dot_general": "Mm", "broadcast": "Expand", "reduce_sum": "Sum", "reduce_prod": "Prod",
    "reduce_max": "Amax", "reduce_min": "Amin", "concat": "Cat", "cast": "ToCopy",
    "select": "Where", "gather": "Index", "scatter": "IndexPut", "reshape": "View",
}  # fmt: skip


class Rules:
    """The gradient rules of one primitive and, per operand, the names they need."""

    __slots__ = ("_needed", "needs", "rules", "variadic")

    def __init__(self, cell: Any) -> None:
        self._needed: dict[tuple[bool, ...], frozenset[str]] = {}
        self.variadic = callable(cell)
        self.rules = (cell,) if self.variadic else tuple(cell)
        self.needs = tuple(_names(rule) for rule in self.rules)

    def needed(self, wanted: tuple[bool, ...]) -> frozenset[str]:
        """What must be saved when only the `wanted` operands need a gradient."""
        found = self._needed.get(wanted)
        if found is None:
            needs = self.needs if not self.variadic else (self.needs[0],) * len(wanted)
            used = [n for n, w in zip(needs, wanted) if w]
            found = self._needed[wanted] = frozenset().union(*used)
        return found


def _names(rule: Any) -> frozenset[str]:
    return frozenset() if rule is None else frozenset(inspect.signature(rule).parameters)


_rules: dict[Primitive, Rules | None] = {}
_table: Any = None
_not_differentiable: Any = None


def install_derivatives(table: Any, not_differentiable: Any) -> None:
    """Set the table of gradient rules; called once, by the layer above the rules."""
    global _table, _not_differentiable
    _table, _not_differentiable = table, not_differentiable


def rules_of(prim: Primitive) -> Rules | None:
    """The gradient rules of `prim`, or None if it is not differentiable."""
    try:
        return _rules[prim]
    except KeyError:
        cell = _table[prim]
        found = None if cell is _not_differentiable else Rules(cell)
        return _rules.setdefault(prim, found)


class GradFn:
    """The view of a record that users see: one object per composite or primitive call."""

    __slots__ = ("composite", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.composite = node.composite

    def name(self) -> str:
        return self.node.name

    @property
    def next_functions(self) -> tuple[tuple[GradFn | AccumulateGrad | None, int], ...]:
        """`(function, output index)` for every operand, as torch lists them."""
        return tuple(_view_edge(edge) for edge in self._outer_edges())

    def _outer_edges(self) -> list[Edge]:
        if self.composite is None:
            return list(self.node.edges)
        edges: list[Edge] = []
        seen: set[int] = set()
        stack: list[Edge] = [(self.node, 0)]
        while stack:
            edge = stack.pop()
            target = None if edge is None else edge[0]
            if not isinstance(target, Node) or target.composite is not self.composite:
                if edge is not None:
                    edges.append(edge)
            elif id(target) not in seen:
                seen.add(id(target))
                stack.extend(reversed(target.edges))
        return list(dict.fromkeys(edges)) if len(edges) > 1 else edges

    def register_hook(self, hook: Hook) -> Handle:
        """`hook(grad_inputs, grad_outputs)` runs after this node in backward."""
        hooks = self.node.hooks = self.node.hooks or []
        return Handle(hooks, hook)

    def register_prehook(self, hook: Hook) -> Handle:
        """`hook(grad_outputs)` runs before this node in backward."""
        hooks = self.node.pre_hooks = self.node.pre_hooks or []
        return Handle(hooks, hook)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradFn) and self.node is other.node

    def __hash__(self) -> int:
        return id(self.node)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self.node):#x}>"


class AccumulateGrad:
    """What stands at the end of a path: adds to `variable.grad`."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    next_functions = ()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad".replace("torch", "gradc")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and self.variable is other.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


def _view_edge(edge: Edge) -> tuple[GradFn | AccumulateGrad | None, int]:
    if edge is None:
        return None, 0
    target, index = edge
    return (GradFn(target), index) if isinstance(target, Node) else (AccumulateGrad(target), 0)


class Handle:
    """Removes a hook: `handle.remove()`, or leaving it as a context."""

    __slots__ = ("_hook", "_hooks")

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        STRUCTURE.bump()
        hooks.append(hook)
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Take the hook off again; a second call does nothing."""
        if self._hook in self._hooks:
            STRUCTURE.bump()
            self._hooks.remove(self._hook)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
