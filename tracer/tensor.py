"""Tensor: a handle on memory, with a history.

    memory     a `Storage` and the chain of views that leads from its root to this tensor
    history    the node that computed it, or nothing for a leaf

Views alias as in torch: they share the storage and, for gradients, hang on a base tensor. In a
trace the same class is used; the storage then stands for a value of the trace, and `_data` is
None. The operators and methods users call are attached in `methods.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import GradientError, TraceError
from gradc.tracer.graph.dims import Shape
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, TensorType, dtype_of
from gradc.tracer.layout import Chain
from gradc.tracer.record import GradFn, Node
from gradc.tracer.storage import Array, Storage
from gradc.tracer.structure import STRUCTURE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tensor:
    """An n-dimensional array that can require a gradient.

    Make one with `gradc.tensor`, `gradc.zeros`, `gradc.randn`, ... The memory is a NumPy array
    (shared, not copied, by `from_numpy`, `.numpy()`, `.data`, `.detach()` and views).
    """

    __slots__ = (
        "__dict__", "__weakref__", "_base", "_chain", "_data", "_grad", "_history_stamp", "_index",
        "_node", "_requires_grad", "_retains_grad", "_rewrites", "_storage", "_type", "_weak",
        "leaf_hooks",
    )  # fmt: skip

    # NumPy leaves `ndarray op tensor` to the tensor, so that its gradient is kept.
    __array_ufunc__ = None
    __array_priority__ = 1000

    def __init__(
        self, storage: Storage, data: Array | None, type: TensorType | None = None
    ) -> None:
        self._storage = storage
        self._data = data
        self._type = type
        self._chain: Chain = ()
        self._node: Node | None = None
        self._index = 0
        self._requires_grad = False
        self._grad: Any = None
        self._base: Tensor | None = None
        # How often the history of a base was rewritten, and what a view has seen of it.
        self._rewrites = 0
        self._history_stamp = 0
        self._retains_grad = False
        self._weak = False
        self.leaf_hooks: list[Any] | None = None

    # -- what it is -----------------------------------------------------------------------

    @property
    def type(self) -> TensorType:
        """Shape and dtype."""
        if self._type is None:
            assert self._data is not None
            dtype = dtype_of(self._data.dtype)
            assert dtype is not None
            self._type = TensorType(self._data.shape, dtype)
        return self._type

    @property
    def shape(self) -> Shape:
        data = self._data
        return self.type.shape if data is None else data.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    # -- history --------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.history()[0] is None

    def history(self) -> tuple[Node | None, int]:
        """The node that made this tensor; a view whose base was written is brought up to date."""
        base = self._base
        if base is not None and base._rewrites != self._history_stamp:
            _refresh_view(self, base)
        return self._node, self._index

    def set_history(self, node: Node | None, index: int = 0) -> None:
        """Make `node`'s output `index` the history of this tensor."""
        self._node, self._index = node, index
        self._requires_grad = node is not None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded."""
        if self._base is not None:
            self.history()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not value and self.history()[0] is not None:
            raise GradientError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach().",
                loc=user_location(),
            )
        if value and not self.dtype.is_float:
            raise GradientError(
                "only Tensors of floating point dtype can require gradients",
                loc=user_location(),
                operands=[f"self  {self.type}"],
            )
        if self.history()[0] is None and self._requires_grad != bool(value):
            if CONTEXT.trace is not None:
                CONTEXT.trace.note(self)
            self._requires_grad = bool(value)
            STRUCTURE.bump()

    @property
    def grad_fn(self) -> GradFn | None:
        """The recorded operation that made this tensor, None for a leaf."""
        node, _ = self.history()
        return None if node is None else GradFn(node)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf (or of a tensor that retains it), else None."""
        if CONTEXT.trace is not None:
            CONTEXT.trace.read_grad(self)
        grad = self._grad
        if grad is not None and not isinstance(grad, Tensor):
            raise grad.error()
        return grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and (not isinstance(value, Tensor) or value.type != self.type):
            raise GradientError(
                "assigned grad has data of a different size or type",
                loc=user_location(),
                operands=[f"self  {self.type}", f"grad  {getattr(value, 'type', type(value))}"],
            )
        if CONTEXT.trace is not None:
            CONTEXT.trace.write_grad(self)
        self._grad = value

    # -- memory ---------------------------------------------------------------------------

    @property
    def _version(self) -> int:
        """How often the memory was written in place (torch's name)."""
        return self._storage.version

    def alias(self) -> Tensor:
        """Another handle on the same memory, with no history."""
        other = Tensor(self._storage, self._data, self._type)
        other._chain = self._chain
        other._weak = self._weak
        return other

    def array(self) -> Array:
        """The data as it is now, shared.

        Raises:
            TraceError: the tensor has no value yet because it is being traced.
        """
        if CONTEXT.trace is not None or self._data is None:
            raise concrete_error(self, "its value")
        if self._storage.device is not None:
            self._storage.sync()
        return self._data

    if TYPE_CHECKING:
        # Attached in methods.py; declared here so that type checkers accept them.
        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __len__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __index__(self) -> int: ...

    __hash__ = object.__hash__


class DroppedGrad:
    """Stands in `_grad` after a compiled step that used a gradient and did not keep it."""

    __slots__ = ("function",)

    def __init__(self, function: str) -> None:
        self.function = function

    def error(self) -> GradientError:
        """What reading `.grad` raises."""
        return GradientError(
            f"this gradient was used inside the compiled function {self.function!r} and not kept",
            loc=user_location(),
            hint="compile with keep_grads=True, or read .grad inside the compiled function; "
            "zero_grad() before another backward() starts anew",
        )


def new_tensor(data: Array) -> Tensor:
    """A tensor owning a fresh array."""
    return Tensor(Storage(data), data)


def view_tensor(source: Tensor, data: Array | None, type: TensorType | None, step: Any) -> Tensor:
    """A view of `source`: one more movement in its chain, sharing its base's history."""
    view = Tensor(source._storage, data, type)
    view._chain = (*source._chain, step)
    base = source if source._base is None else source._base
    view._base = base
    view._history_stamp = base._rewrites
    return view


def _no_refresh(view: Tensor, base: Tensor) -> None:
    raise NotImplementedError("the interpreter has not been loaded")


_refresh_view = _no_refresh


def install_view_refresh(function: Any) -> None:
    """Set how a view's history is made anew from its base; called once, by the interpreter."""
    global _refresh_view
    _refresh_view = function


def concrete_error(tensor: Tensor, wanted: str) -> TraceError:
    """Python wants something of a traced tensor that only a value has."""
    if CONTEXT.trace is None:
        return TraceError(
            f"this tensor belongs to a trace that has ended; {wanted} cannot be had",
            loc=user_location(3),
            operands=[f"self  {tensor.type}"],
            hint="return it from the compiled function instead of keeping it outside",
        )
    return TraceError(
        f"{wanted} of a traced tensor was asked for: it is known only when the compiled "
        "function runs",
        loc=user_location(3),
        operands=[f"self  {tensor.type}"],
        hint="use gradc.where for a choice by value, pass the value as an argument named in "
        "static_argnames, or do this outside the compiled function",
    )


def is_tensor(value: Any) -> bool:
    """Whether `value` is a gradc tensor."""
    return isinstance(value, Tensor)


def same_memory(a: Array, b: Array) -> bool:
    """Whether two arrays may overlap; bounds only, as NumPy's quick test."""
    return np.may_share_memory(a, b)
