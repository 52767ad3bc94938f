"""Writing into tensors: in-place operations, through views, with histories kept right.

    write(x, new)          x's memory now holds new, and x's history is new's

A write through a view rewrites the history of the base (torch's CopySlices): the base's gradient
is that of its old value outside the view, and the written value gets the view's part. In a trace
memory is a value: the root is rebuilt around the written part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_to
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import DTypeError, GradientError, ShapeError
from gradc.tracer.graph import dims
from gradc.tracer.graph.ir import Params
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import bool_
from gradc.tracer.interpreter import PrimitiveNode, full, scalar
from gradc.tracer.layout import Chain
from gradc.tracer.record import Edge, Node, edge_of, rules_of
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import Tensor, install_view_refresh, new_tensor

_KIND_ORDER = "buif"


def write(x: Tensor, value: Tensor, name: str = "copy_") -> Tensor:
    """Store `value` (broadcast and cast to `x`) into `x`'s memory; returns `x`.

    Raises:
        GradientError: `x` is a leaf that requires a gradient (or a view of one) and gradient
            mode is on.
        ShapeError: `value` does not broadcast to `x`.
        DTypeError: `value` is of a higher kind than `x` (float into an integer tensor).
    """
    _check_writable(x, name)
    value = _fit(x, value, name)
    if CONTEXT.trace is not None:
        CONTEXT.trace.store(x, value, write_back)
    else:
        np.copyto(x.array(), value.array())
        x._storage.bump()
    _rewrite_history(x, value)
    return x


def operand_snapshot(x: Tensor, *others: Any) -> Tensor:
    """`x` as an operand, beside `others`, of an operation that will be written into `x`.

    Where the operation is recorded its gradient rules may need the old value, which the write
    would destroy: a copy stands in for it, with the same history.
    """
    operands = [o for o in (x, *others) if isinstance(o, Tensor)]
    if not CONTEXT.grad or not any(o.requires_grad for o in operands):
        return x
    if CONTEXT.trace is not None:
        copy = CONTEXT.trace.tensor(CONTEXT.trace.read(x))
    else:
        copy = new_tensor(x.array().copy())
    copy._node, copy._index = x.history()
    copy._requires_grad = x._requires_grad
    return copy


def _check_writable(x: Tensor, name: str) -> None:
    x._storage.require()
    if CONTEXT.grad and x.requires_grad:
        if x.is_leaf:
            raise GradientError(
                "a leaf Variable that requires grad is being used in an in-place operation.",
                loc=user_location(3),
                operands=[f"self  {x.type}"],
                hint="update it inside `with gradc.no_grad():`",
            )
        if x._base is not None and x._base.is_leaf and x._base.requires_grad:
            raise GradientError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation.",
                loc=user_location(3),
                operands=[f"self  {x.type}"],
            )
    if any(prim is ops.broadcast for prim, _ in x._chain):
        raise GradientError(
            f"{name}: unsupported operation: more than one element of the written-to tensor "
            "refers to a single memory location. Please clone() the tensor before performing "
            "the operation.",
            loc=user_location(3),
            operands=[f"self  {x.type}"],
        )
    if x._data is not None and not x._data.flags.writeable:
        raise GradientError(
            f"{name}: the tensor shares memory that is read-only",
            loc=user_location(3),
            operands=[f"self  {x.type}"],
            hint="clone() it first",
        )


def _fit(x: Tensor, value: Tensor, name: str) -> Tensor:
    if value.dtype is not x.dtype:
        if name != "copy_" and _KIND_ORDER.index(value.dtype.kind) > _KIND_ORDER.index(
            x.dtype.kind
        ):
            raise DTypeError(
                f"{name}: result type {value.dtype.name} can't be cast to the desired output "
                f"type {x.dtype.name}",
                loc=user_location(3),
            )
        value = ops.cast(value, dtype=x.dtype)
    if value.shape == x.shape:
        return value
    try:
        return broadcast_to(value, x.shape)
    except ShapeError:
        raise ShapeError(
            f"{name}: a result of shape {list(value.shape)} does not fit into the tensor",
            loc=user_location(3),
            operands=[f"self  {x.type}", f"result  {value.type}"],
        ) from None


# -- histories ------------------------------------------------------------------------------


class WriteNode(Node):
    """The base after a write through a view of it."""

    __slots__ = ("chain", "type")

    def __init__(self, base: Tensor, value: Tensor, chain: Chain) -> None:
        super().__init__([edge_of(base), edge_of(value)], [base.type])
        self.chain, self.type = chain, base.type

    @property
    def name(self) -> str:
        return "CopySlices"

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        (g,) = grads
        if g is None:
            return None, None
        part = g
        for prim, params in self.chain:
            part = prim(part, **params)
        rest = None
        if self.edges[0] is not None:
            rest = write_back(g, self.chain, full(part.shape, 0, part.dtype))
        return rest, part


class CopyNode(Node):
    """A tensor whose value is now another's: the whole of it was written."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return "CopyBackwards"

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return grads


def _rewrite_history(x: Tensor, value: Tensor) -> None:
    if not CONTEXT.grad or not (x.requires_grad or value.requires_grad):
        return
    base = x._base
    if (x if base is None else base)._requires_grad != (value.requires_grad or base is not None):
        STRUCTURE.bump()
    if base is None:
        _adopt_history(x, value)
        return
    chain = x._chain[len(base._chain) :]
    node = WriteNode(base, value, chain)
    base.set_history(node)
    base._rewrites += 1


def _adopt_history(x: Tensor, value: Tensor) -> None:
    if not value.requires_grad:
        x.set_history(None)
    else:
        node, index = value.history()
        if node is None:  # a leaf's value was copied in: an identity stands between
            node, index = CopyNode([edge_of(value)], [x.type]), 0
        x.set_history(node, index)
    x._rewrites += 1


def refresh_view(view: Tensor, base: Tensor) -> None:
    """Make the history of `view` anew from its base's, whose memory was written since."""
    view._history_stamp = base._rewrites
    if not base.requires_grad:
        view._node, view._requires_grad = None, False
        return
    edge, type = edge_of(base), base.type
    for prim, params in view._chain[len(base._chain) :]:
        edge, type = _view_node(prim, params, edge, type)
    assert edge is not None and isinstance(edge[0], Node)
    view._node, view._index, view._requires_grad = edge[0], 0, True


class ViewNode(PrimitiveNode):
    """A movement of a history alone: its rules need no values."""

    __slots__ = ()

    def __init__(self, prim: Any, params: Params, edge: Edge, type: Any, out: Any) -> None:
        Node.__init__(self, [edge], [out])
        self.prim, self.params, self.plan = prim, params, None
        self.wanted, self.operand_types = (edge is not None,), [type]
        self.saved = self.saved_output = None


def _view_node(prim: Any, params: Params, edge: Edge, type: Any) -> tuple[Edge, Any]:
    (out,) = prim.infer(type, **params)
    assert rules_of(prim) is not None
    return (ViewNode(prim, params, edge, type, out), 0), out


install_view_refresh(refresh_view)


# -- writing into a value --------------------------------------------------------------------


def write_back(root: Tensor, chain: Chain, value: Tensor) -> Tensor:
    """`root` with the part that `chain` leads to replaced by `value`."""
    if not chain:
        return value
    (prim, params), rest = chain[0], chain[1:]
    if rest:
        value = write_back(prim(root, **params), rest, value)
    if prim is ops.reshape:
        return ops.reshape(value, shape=root.shape)  # type: ignore[no-any-return]
    if prim is ops.permute:
        inverse = tuple(int(i) for i in np.argsort(params["axes"]))
        return ops.permute(value, axes=inverse)  # type: ignore[no-any-return]
    if prim is ops.flip:
        return ops.flip(value, **params)  # type: ignore[no-any-return]
    return _replace_slice(root, params, value)


def _replace_slice(root: Tensor, params: Params, value: Tensor) -> Tensor:
    """`root` with a strided slice replaced, as a select between it and the padded value."""
    if value.shape == root.shape:
        return value
    low, high, interior = [], [], []
    for start, step, size, n in zip(
        params["start"], params["step"], dims.known_shape(root.shape),
        dims.known_shape(value.shape),
    ):
        last = start + (n - 1) * step if n else start - 1
        low.append(start if n else 0)
        high.append(size - 1 - last if n else size)
        interior.append(step - 1)
    widths = {"low": tuple(low), "high": tuple(high), "interior": tuple(interior)}
    inside = ops.pad(full(value.shape, True, bool_), scalar(False, bool_), **widths)
    padded = ops.pad(value, scalar(0, value.dtype), **widths)
    return ops.select(inside, padded, root)  # type: ignore[no-any-return]
