"""What users call on a tensor: operators, methods, in-place forms. Attached to `Tensor` here.

A method that is also a function is the function itself (`Tensor.softmax is functional.softmax`),
and an in-place form is the out-of-place one followed by a write: two tables at the end of this
file say which. Importing this module wires the layers below together.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradc.tracer import functional, ops
from gradc.tracer.autograd import backward as _backward
from gradc.tracer.context import CONTEXT
from gradc.tracer.creation import new_empty, new_full, new_ones, new_tensor, new_zeros
from gradc.tracer.errors import ArgumentError, ArgumentTypeError, GradcError, GradientError, here
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import (
    BY_NAME,
    DType,
    bool_,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from gradc.tracer.inplace import operand_snapshot, write
from gradc.tracer.interpreter import as_tensor, elementwise, full, traced_strides
from gradc.tracer.layout import contiguous_strides
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.printing import format_tensor
from gradc.tracer.random import bernoulli, bernoulli_, normal_, uniform_
from gradc.tracer.record import Handle, Node, install_derivatives
from gradc.tracer.rules.vjp import NOT_DIFFERENTIABLE, vjp
from gradc.tracer.storage import Array
from gradc.tracer.tensor import Tensor, concrete_error
from gradc.tracer.transform.reverse import Retain

install_derivatives(vjp, NOT_DIFFERENTIABLE)


# -- gradients ----------------------------------------------------------------------------------


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to the `.grad` of its leaves; see `autograd.backward`."""
    _backward(self, gradient, retain_graph, create_graph, inputs)


def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Set `requires_grad` and return the tensor."""
    self.requires_grad = requires_grad
    return self


def detach(self: Tensor) -> Tensor:
    """The same memory with no history."""
    return self.alias()


def detach_(self: Tensor) -> Tensor:
    """Drop the history of this tensor; returns it."""
    self.set_history(None)
    return self


def retain_grad(self: Tensor) -> None:
    """Keep the gradient of a tensor that is no leaf in its `.grad`."""
    if not self.requires_grad:
        raise GradientError(
            "can't retain_grad on Tensor that has requires_grad=False", loc=user_location()
        )
    node, index = self.history()
    if node is not None and not self._retains_grad:
        self._retains_grad = True
        _output_hooks(node).append((index, Retain(weakref.ref(self))))


def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """`hook(grad)` runs whenever this tensor's gradient is computed; it may return another."""
    if not self.requires_grad:
        raise GradientError(
            "cannot register a hook on a tensor that doesn't require gradient",
            loc=user_location(),
        )
    node, index = self.history()
    if node is None:
        self.leaf_hooks = self.leaf_hooks or []
        return Handle(self.leaf_hooks, hook)
    return Handle(_output_hooks(node), (index, hook))


def _output_hooks(node: Node) -> list[Any]:
    if node.output_hooks is None:
        node.output_hooks = []
    return node.output_hooks


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> Handle:
    """`hook(leaf)` runs after backward has added to `leaf.grad`."""
    if not self.is_leaf:
        raise GradientError(
            "post accumulate grad hooks cannot be registered on non-leaf tensors",
            loc=user_location(),
        )
    hooks = self.__dict__.setdefault("post_accumulate_hooks", [])
    return Handle(hooks, hook)


def _get_data(self: Tensor) -> Tensor:
    return self.alias()


def _set_data(self: Tensor, value: Tensor) -> None:
    if value.type != self.type:
        raise ArgumentError(
            "data can only be replaced by a tensor of the same shape and dtype",
            loc=user_location(),
            operands=[f"self  {self.type}", f"value  {value.type}"],
        )
    state, CONTEXT.grad = CONTEXT.grad, False
    try:
        write(self, value)
    finally:
        CONTEXT.grad = state


# -- leaving for Python and NumPy ----------------------------------------------------------------


def item(self: Tensor) -> bool | int | float:
    """The only element as a Python number."""
    if self.type.size != 1:
        raise here(
            ArgumentError(
                f"a Tensor with {self.type.size} elements cannot be converted to Scalar",
                operands=[str(self.type)],
            )
        )
    return _concrete(self, ".item()").reshape(()).item()  # type: ignore[no-any-return]


def _concrete(self: Tensor, wanted: str) -> Array:
    if CONTEXT.trace is not None or self._data is None:
        raise concrete_error(self, wanted)
    return self.array()


def tolist(self: Tensor) -> Any:
    """The elements as nested lists (a number for a 0-d tensor)."""
    return _concrete(self, ".tolist()").tolist()


def numpy(self: Tensor, *, force: bool = False) -> Array:
    """The memory as a NumPy array, shared.

    Raises:
        GradientError: the tensor requires a gradient (`force=True` detaches first).
    """
    if self.requires_grad and not force:
        raise GradientError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
            loc=user_location(),
            operands=[str(self.type)],
        )
    return _concrete(self, ".numpy()")


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    if self.requires_grad:
        raise GradientError(
            "Can't convert a Tensor that requires grad to an array. Use tensor.detach() first.",
            loc=user_location(),
            operands=[str(self.type)],
        )
    array = _concrete(self, "an array")
    if copy:
        return np.array(array, dtype)
    return array if dtype is None else np.asarray(array, dtype)


def _truth(self: Tensor) -> bool:
    if self.type.size != 1:
        raise here(
            ArgumentError(
                "Boolean value of Tensor with more than one value is ambiguous"
                if self.type.size
                else "Boolean value of Tensor with no values is ambiguous",
                operands=[str(self.type)],
            )
        )
    return bool(_concrete(self, "the truth value").reshape(()).item())


def _to_float(self: Tensor) -> float:
    return float(_number(self, "float()"))


def _to_int(self: Tensor) -> int:
    return int(_number(self, "int()"))


def _to_index(self: Tensor) -> int:
    if not self.dtype.is_integer:
        raise here(
            ArgumentTypeError(
                "only integer tensors of a single element can be converted to an index",
                operands=[str(self.type)],
            )
        )
    if CONTEXT.trace is not None and self._weak:
        CONTEXT.trace.make_static(self)
    return int(_number(self, "its value as an index"))


def _number(self: Tensor, wanted: str) -> Any:
    if self.type.size != 1:
        raise here(
            ArgumentError(
                "only one element tensors can be converted to Python scalars",
                operands=[str(self.type)],
            )
        )
    return _concrete(self, wanted).reshape(()).item()


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and spec and self._data is not None:
        return format(item(self), spec)
    return format(format_tensor(self), spec)


# -- shape and dtype ------------------------------------------------------------------------------


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    return self.shape if dim is None else self.shape[_dimension(self, dim)]


def _dimension(self: Tensor, dim: int) -> int:
    if not -self.ndim <= dim < max(self.ndim, 1):
        raise here(
            ArgumentError(
                f"Dimension out of range (expected to be in range of [{-self.ndim}, "
                f"{self.ndim - 1}], but got {dim})",
                operands=[str(self.type)],
            )
        )
    return dim % max(self.ndim, 1)


def numel(self: Tensor) -> Any:
    """The number of elements."""
    return self.type.size


def stride(self: Tensor) -> tuple[int, ...]:
    """The strides in elements."""
    if self._data is None:
        return contiguous_strides(self.shape) if CONTEXT.trace is None else traced_strides(self)
    return tuple(s // self._data.itemsize for s in self._data.strides)


def is_contiguous(self: Tensor) -> bool:
    """Whether the elements lie in row-major order without gaps."""
    if self._data is not None:
        return bool(self._data.flags.c_contiguous)
    rows = zip(known_shape(self.shape), stride(self), contiguous_strides(self.shape))
    return not numel(self) or all(n == 1 or s == c for n, s, c in rows)


def contiguous(self: Tensor) -> Tensor:
    """The tensor itself if contiguous, else a copy that is."""
    return self if is_contiguous(self) else functional.clone(self)


def to(self: Tensor, target: Any, copy: bool = False) -> Tensor:
    """The tensor as another dtype (a DType, its name, or another tensor's)."""
    dtype = target.dtype if isinstance(target, Tensor) else _dtype(target)
    if dtype is self.dtype:
        return functional.clone(self) if copy else self
    return ops.cast(self, dtype=dtype)  # type: ignore[no-any-return]


def _dtype(target: Any) -> DType:
    if isinstance(target, DType):
        return target
    found = BY_NAME.get(str(target))
    if found is None:
        raise here(ArgumentTypeError(f"{target!r} is not a dtype"), 4)
    return found


def _caster(dtype: DType) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return to(self, dtype)

    convert.__doc__ = f"The tensor as {dtype.name}."
    return convert


def _length(self: Tensor) -> int:
    if self.ndim == 0:
        raise here(ArgumentTypeError("len() of a 0-d tensor"))
    return self.shape[0]  # type: ignore[return-value]


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if self.ndim == 0:
        raise here(ArgumentTypeError("iteration over a 0-d tensor"))
    return iter([self[i] for i in range(_length(self))])


# -- in place ------------------------------------------------------------------------------------


def copy_(self: Tensor, source: Any) -> Tensor:
    """Write `source`, broadcast and cast, into this tensor."""
    return write(self, as_tensor(source))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Write one value everywhere."""
    if isinstance(value, Tensor):
        return write(self, value)
    return write(self, full(self.shape, value, self.dtype))


def zero_(self: Tensor) -> Tensor:
    """Write zeros everywhere."""
    return fill_(self, 0)


def _set_item(self: Tensor, index: Any, value: Any) -> None:
    functional.assign_index(self, index, value, write)


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """The in-place form of a function of one tensor and more."""

    def apply(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        old = operand_snapshot(self, *args, *kwargs.values())
        return write(self, function(old, *args, **kwargs), name)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"`{name[:-1]}`, written into this tensor; returns it."
    return apply


# -- operators ------------------------------------------------------------------------------------


def _operator(prim: Primitive) -> Callable[[Tensor, Any], Any]:
    def apply(self: Tensor, other: Any) -> Any:
        try:
            return elementwise(prim, self, other)
        except ArgumentTypeError:
            return NotImplemented

    return apply


def _reflected(prim: Primitive) -> Callable[[Tensor, Any], Any]:
    def apply(self: Tensor, other: Any) -> Any:
        try:
            return elementwise(prim, other, self)
        except ArgumentTypeError:
            return NotImplemented

    return apply


def _comparison(prim: Primitive, otherwise: Any) -> Callable[[Tensor, Any], Any]:
    def apply(self: Tensor, other: Any) -> Any:
        try:
            return elementwise(prim, self, other)
        except ArgumentTypeError:
            return otherwise

    return apply


def _augmented(prim: Primitive, name: str) -> Callable[[Tensor, Any], Any]:
    """`x += y`: in place, but for what stands for a number, which Python replaces."""
    write_result = in_place(lambda x, y: elementwise(prim, x, y), name)

    def apply(self: Tensor, other: Any) -> Any:
        if self._weak and self._data is None:
            return elementwise(prim, self, other)
        return write_result(self, other)

    apply.__name__ = name
    return apply


def _matmul(self: Tensor, other: Any) -> Any:
    if not isinstance(other, (Tensor, np.ndarray)):
        return NotImplemented
    return functional.matmul(self, as_tensor(other))


def _rmatmul(self: Tensor, other: Any) -> Any:
    if not isinstance(other, (Tensor, np.ndarray)):
        return NotImplemented
    return functional.matmul(as_tensor(other), self)


_BINARY = {
    "add": ops.add, "sub": ops.sub, "mul": ops.mul, "truediv": ops.div,
    "floordiv": ops.floor_divide, "mod": ops.remainder, "pow": ops.pow, "and": ops.bitwise_and,
    "or": ops.bitwise_or, "xor": ops.bitwise_xor, "lshift": ops.shift_left,
    "rshift": ops.shift_right,
}  # fmt: skip
_COMPARISONS = {
    "eq": ops.eq, "ne": ops.ne, "lt": ops.lt, "le": ops.le, "gt": ops.gt, "ge": ops.ge,
}  # fmt: skip

# Functions of `functional` that are methods as they stand.
METHODS = (
    "add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide",
    "remainder", "fmod", "pow", "neg", "negative", "abs", "absolute", "sign", "floor", "ceil",
    "trunc", "round", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "atan2", "erf", "erfinv", "lgamma", "digamma", "sigmoid", "relu", "square", "reciprocal",
    "maximum", "minimum", "clamp", "clip", "lerp", "addcmul", "addcdiv", "isnan",
    "isinf", "isfinite", "logical_not", "logical_and", "logical_or", "logical_xor",
    "bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "eq", "ne", "lt", "le", "gt",
    "ge", "masked_fill", "sum", "mean", "prod", "max", "min", "amax", "amin", "argmax", "argmin",
    "any", "all", "var", "std", "norm", "logsumexp", "softmax", "log_softmax", "cumsum",
    "cumprod", "diff", "nansum", "nanmean", "nan_to_num", "xlogy",
    "reshape", "view", "permute", "transpose", "t", "swapaxes", "squeeze", "unsqueeze", "expand",
    "expand_as", "broadcast_to", "flatten", "flip", "roll", "split", "chunk",
    "unbind", "narrow", "repeat", "tile", "movedim", "triu", "tril", "diag",
    "gather", "scatter", "scatter_add", "index_select", "take_along_dim", "index_add", "sort",
    "argsort", "topk", "matmul", "mm", "bmm", "mv", "dot", "addmm", "clone", "count_nonzero",
    "median", "diagonal", "unflatten", "repeat_interleave", "masked_select", "nonzero",
    "tensor_split", "logaddexp", "isclose", "outer", "inner", "take", "index_put", "select",
    "baddbmm", "addmv", "trace", "view_as", "reshape_as", "hardshrink", "prelu",
)  # fmt: skip

# Functions whose in-place form `name_` writes the result into the tensor.
IN_PLACE = (
    "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "neg", "abs", "sign",
    "floor", "ceil", "trunc", "round", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "log2",
    "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf",
    "erfinv", "lgamma", "digamma", "sigmoid", "relu", "square", "reciprocal", "clamp", "clip",
    "lerp", "addcmul", "addcdiv", "logical_not", "logical_and", "logical_or", "logical_xor",
    "bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "masked_fill", "cumsum", "triu",
    "tril", "scatter", "scatter_add", "index_add", "addmm", "atan2", "index_put", "baddbmm",
    "addmv",
)  # fmt: skip

_OWN = (
    backward, requires_grad_, detach, detach_, retain_grad, register_hook,
    register_post_accumulate_grad_hook, item, tolist, numpy, size, numel, stride, is_contiguous,
    contiguous, to, copy_, fill_, zero_, bernoulli, bernoulli_, normal_, uniform_,
    new_empty, new_full, new_ones, new_tensor, new_zeros,
)  # fmt: skip

_SPECIAL: dict[str, Any] = {
    "__matmul__": _matmul, "__rmatmul__": _rmatmul, "__neg__": lambda s: elementwise(ops.neg, s),
    "__pos__": lambda s: s, "__abs__": lambda s: elementwise(ops.abs, s),
    "__invert__": lambda s: elementwise(ops.bitwise_not, s), "__bool__": _truth,
    "__float__": _to_float, "__int__": _to_int, "__index__": _to_index, "__len__": _length,
    "__iter__": _iterate, "__array__": _array, "__repr__": format_tensor, "__str__": format_tensor,
    "__format__": _format, "__setitem__": _set_item,
    "where": lambda s, condition, other: functional.where(condition, s, other),
}  # fmt: skip

_PROPERTIES: dict[str, property] = {
    "data": property(_get_data, _set_data, doc="The same memory with no history."),
    "T": property(lambda s: functional.t(s) if s.ndim <= 2 else functional.transpose_all(s)),
    "mT": property(lambda s: functional.transpose(s, -2, -1), doc="The last two axes swapped."),
    "itemsize": property(lambda s: s.dtype.itemsize, doc="Bytes of one element."),
    "nbytes": property(lambda s: s.type.size * s.dtype.itemsize, doc="Bytes of all elements."),
}


def _attach() -> None:
    for function in _OWN:
        setattr(Tensor, function.__name__, function)
    for name in METHODS:
        setattr(Tensor, name, getattr(functional, name))
    for name in IN_PLACE:
        setattr(Tensor, name + "_", in_place(getattr(functional, name), name + "_"))
    for name, prim in _BINARY.items():
        setattr(Tensor, f"__{name}__", _operator(prim))
        setattr(Tensor, f"__r{name}__", _reflected(prim))
        setattr(Tensor, f"__i{name}__", _augmented(prim, f"__i{name}__"))
    for name, prim in _COMPARISONS.items():
        otherwise = {"eq": False, "ne": True}.get(name, NotImplemented)
        setattr(Tensor, f"__{name}__", _comparison(prim, otherwise))
    for name, value in _SPECIAL.items():
        setattr(Tensor, name, value)
    for name, value in _PROPERTIES.items():
        setattr(Tensor, name, value)
    Tensor.__getitem__ = functional.index  # type: ignore[method-assign]
    casts = {
        "float": float32, "double": float64, "long": int64, "int": int32, "short": int16,
        "char": int8, "byte": uint8, "bool": bool_,
    }  # fmt: skip
    for name, dtype in casts.items():
        setattr(Tensor, name, _caster(dtype))
    Tensor.dim = lambda self: self.ndim  # type: ignore[attr-defined]
    Tensor.nelement = numel  # type: ignore[attr-defined]
    Tensor.is_floating_point = lambda self: self.dtype.is_float  # type: ignore[attr-defined]
    Tensor.data_ptr = lambda self: self.array().ctypes.data  # type: ignore[attr-defined]
    Tensor.type_as = lambda self, other: to(self, other.dtype)  # type: ignore[attr-defined]


_attach()
__all__ = ["IN_PLACE", "METHODS", "GradcError", "in_place"]
