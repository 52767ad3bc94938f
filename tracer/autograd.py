"""`gradc.autograd`: grad, Function, gradcheck, anomaly mode. Semantics and names are torch's.

    (dx,) = grad(y, [x])
    class Cube(Function):
        @staticmethod
        def forward(ctx, x): ctx.save_for_backward(x); return x * x * x
        @staticmethod
        def backward(ctx, g): (x,) = ctx.saved_tensors; return g * 3 * x * x
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes, sum_to_shape
from gradc.tracer.context import CONTEXT, no_grad
from gradc.tracer.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.interpreter import full
from gradc.tracer.record import Node, Saved, edge_of
from gradc.tracer.tensor import Tensor, new_tensor
from gradc.tracer.transform import reverse

TensorOrTensors = Tensor | Sequence[Tensor]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _grad_list(value: Any, count: int) -> list[Tensor | None]:
    if value is None:
        return [None] * count
    found = _listed(value)
    if len(found) != count:
        raise ArgumentError(f"got {count} tensors and {len(found)} gradients", loc=user_location(3))
    return found


def backward(
    tensors: TensorOrTensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: TensorOrTensors | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they depend on.

    Args:
        tensors: one tensor or several; those with more than one element need `grad_tensors`.
        grad_tensors: the vector of the vector-Jacobian product, one per tensor, of its shape.
        retain_graph: keep what was saved, for another backward (default: `create_graph`).
        create_graph: record the gradients themselves, for higher orders.
        inputs: add only to these leaves' `.grad`.

    Raises:
        GradientError: nothing requires a gradient, a non-scalar without gradient, the graph was
            freed, or a saved tensor was written in place.
    """
    roots = _listed(tensors)
    reverse.backward(
        roots,
        _grad_list(grad_tensors, len(roots)),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        inputs=None if inputs is None else _listed(inputs),
    )


def grad(
    outputs: TensorOrTensors,
    inputs: TensorOrTensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of `outputs` with respect to `inputs`; no `.grad` is touched.

    Args: as for `backward`; with `allow_unused` an input that nothing depends on gives None, with
    `materialize_grads` zeros; else it is an error.
    """
    roots, xs = _listed(outputs), _listed(inputs)
    found = reverse.gradients(
        roots,
        xs,
        _grad_list(grad_outputs, len(roots)),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )
    if materialize_grads:
        return tuple(
            full(x.shape, 0, x.dtype) if g is None else g for x, g in zip(xs, found, strict=True)
        )
    if not allow_unused and any(g is None for g in found):
        raise GradientError(
            "One of the differentiated Tensors appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior.",
            loc=user_location(),
        )
    return tuple(found)


# -- Function ---------------------------------------------------------------------------------


class FunctionContext:
    """What a `Function`'s forward and backward share.

    Attributes:
        saved_tensors: what `save_for_backward` kept, in backward.
        needs_input_grad: which inputs of forward require a gradient.
    """

    def __init__(self) -> None:
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: list[Any] | None = None
        self._outputs: tuple[Tensor, ...] = ()
        self._node: Node | None = None
        self.needs_input_grad: tuple[bool, ...] = ()
        self._non_differentiable: set[int] = set()
        self._materialize = True
        self._dirty: set[int] = set()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward; their versions are checked there."""
        self._to_save = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs get no gradient."""
        self._non_differentiable |= {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """These inputs were written in place and are returned."""
        self._dirty |= {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether an output without gradient gives zeros (default) or None in backward."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._saved is None:
            assert self._node is not None
            self._node.require_saved()
            return ()
        assert self._node is not None
        node = self._node
        return tuple(None if s is None else s[0].unpack(node, s[1]) for s in self._saved)

    def _freeze(self, node: Node, outputs: Sequence[Tensor]) -> None:
        positions = {id(t): i for i, t in enumerate(outputs)}
        self._node = node
        self._saved = [
            None if t is None else (Saved(t, is_output=id(t) in positions), positions.get(id(t), 0))
            for t in self._to_save
        ]
        self._to_save = ()


class FunctionNode(Node):
    """A recorded `Function.apply`."""

    __slots__ = ("ctx", "function", "input_types")

    def __init__(
        self, function: type[Function], ctx: FunctionContext, args: Any, outputs: Any
    ) -> None:
        super().__init__([edge_of(a) for a in args], [t.type for t in outputs])
        self.function, self.ctx = function, ctx
        self.input_types = [a.type if isinstance(a, Tensor) else None for a in args]

    @property
    def name(self) -> str:
        return self.function.__name__ + "Backward"

    def release(self) -> None:
        if self.ctx._saved:
            self.ctx._saved, self.freed = None, True

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        self.require_saved()
        if self.ctx._materialize:
            grads = [
                full(t.shape, 0, t.dtype) if g is None else g
                for g, t in zip(grads, self.output_types)
            ]
        found = _listed(self.function.backward(self.ctx, *grads))
        # As in torch, more than there are arguments is fine where it says nothing.
        while len(found) > len(self.edges) and found[-1] is None:
            found.pop()
        if len(found) != len(self.edges):
            raise GradientError(
                f"function {self.name} returned an incorrect number of gradients (expected "
                f"{len(self.edges)}, got {len(found)})",
                loc=self.loc,
            )
        return [
            None if g is None or edge is None else self._fitted(g, i)
            for i, (g, edge) in enumerate(zip(found, self.edges))
        ]

    def _fitted(self, g: Any, position: int) -> Tensor:
        """A gradient as its input is: cast, and summed over what the input was broadcast along."""
        wanted = self.input_types[position]
        assert wanted is not None
        if not isinstance(g, Tensor):
            raise GradientError(
                f"function {self.name} returned {type(g).__name__} as gradient {position}; "
                "expected a Tensor or None",
                loc=self.loc,
            )
        try:
            fits = broadcast_shapes(self.name, [wanted, g.type]) == g.shape
        except ShapeError:
            fits = False
        if not fits:
            raise GradientError(
                f"function {self.name} returned an invalid gradient at index {position}",
                loc=self.loc,
                operands=[f"input     {wanted}", f"gradient  {g.type}"],
            )
        g = sum_to_shape(g, wanted.shape)
        return g if g.dtype is wanted.dtype else ops.cast(g, dtype=wanted.dtype)  # type: ignore[no-any-return]


class Function:
    """An operation with a gradient of its own: subclass, and call with `.apply(...)`.

    Either `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`;
    `backward(ctx, *grads)` returns one gradient (or None) per argument of forward.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a Function must define forward")

    @staticmethod
    def setup_context(ctx: FunctionContext, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not defined")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("a Function must define backward to be differentiated")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and record it as one node."""
        ctx = FunctionContext()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        record = CONTEXT.grad and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                found = cls.forward(ctx, *args)
            else:
                found = cls.forward(*args)
                cls.setup_context(ctx, args, found)
        single = not isinstance(found, (tuple, list))
        outputs = [found] if single else list(found)
        if not all(isinstance(t, Tensor) for t in outputs):
            raise ArgumentTypeError(
                f"{cls.__name__}.forward must return tensors", loc=user_location()
            )
        # An input handed back as it came is another tensor to the outside.
        passed = {id(a) for a in args if isinstance(a, Tensor)} - ctx._dirty
        outputs = [t.alias() if id(t) in passed else t for t in outputs]
        if record:
            cls._record(ctx, args, outputs)
        return outputs[0] if single else tuple(outputs)

    @classmethod
    def _record(cls, ctx: FunctionContext, args: Sequence[Any], outputs: list[Tensor]) -> None:
        node = FunctionNode(cls, ctx, args, outputs)
        ctx._freeze(node, outputs)
        for index, out in enumerate(outputs):
            if id(out) not in ctx._non_differentiable and out.dtype.is_float:
                out.set_history(node, index)


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a `backward` whose result must not be differentiated again."""

    def backward(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return function(ctx, *grads)

    return backward


# -- anomaly mode -----------------------------------------------------------------------------


class detect_anomaly(ContextDecorator):
    """Records keep the line of their forward operation, and a NaN gradient is an error there."""

    def __init__(self, check_nan: bool = True) -> None:
        self.mode = True
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(CONTEXT.anomaly)
        CONTEXT.anomaly = self.mode

    def __exit__(self, *exc: object) -> None:
        CONTEXT.anomaly = self._previous.pop()


class set_detect_anomaly(detect_anomaly):
    """Anomaly mode on or off, from now or as a context."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(check_nan)
        self.mode = bool(mode)
        self._previous.append(CONTEXT.anomaly)
        CONTEXT.anomaly = self.mode

    def __enter__(self) -> None:
        CONTEXT.anomaly = self.mode


# -- checking gradients -------------------------------------------------------------------------


def gradcheck(
    func: Callable[..., Any],
    inputs: TensorOrTensors,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the Jacobian from backward with central differences (use float64 inputs).

    Returns:
        True where all entries agree within `atol + rtol * |numerical|`.

    Raises:
        GradientError: they do not, and `raise_exception` is set.
    """
    xs = _listed(inputs)
    wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ArgumentError(
            "gradcheck expects at least one input tensor to require gradient", loc=user_location()
        )
    outputs = [o for o in _listed(func(*xs)) if o.requires_grad]
    for number, out in enumerate(outputs):
        for position, x in enumerate(wanted):
            analytic = _analytic_jacobian(out, x)
            numeric = _numeric_jacobian(func, xs, x, number, eps)
            if not np.allclose(analytic, numeric, rtol, atol, equal_nan=True):
                if not raise_exception:
                    return False
                raise GradientError(
                    f"Jacobian mismatch for output {number} with respect to input {position},",
                    loc=user_location(),
                    operands=[f"numerical:\n{numeric}", f"analytical:\n{analytic}"],
                )
    return True


def _analytic_jacobian(out: Tensor, x: Tensor) -> Any:
    rows = []
    shape, count = dims.known_shape(out.shape), dims.known(out.type.size)
    for i in range(count):
        seed = np.zeros(count, out.dtype.numpy)
        seed[i] = 1
        (g,) = grad(
            out, x, new_tensor(seed.reshape(shape)), retain_graph=True, materialize_grads=True
        )
        assert g is not None
        rows.append(g.array().ravel().astype(np.float64))
    return np.array(rows).reshape(-1, dims.known(x.type.size))


def _numeric_jacobian(
    func: Callable[..., Any], xs: list[Any], x: Tensor, number: int, eps: float
) -> Any:
    def value() -> Any:
        with no_grad():
            found = func(*xs)
        outputs = [o for o in _listed(found) if o.dtype.is_float]
        return outputs[number].array().astype(np.float64).ravel().copy()

    data = x.array()
    columns = []
    for index in np.ndindex(data.shape):
        before = data[index]
        data[index] = before + eps
        high = value()
        data[index] = before - eps
        low = value()
        data[index] = before
        columns.append((high - low) / (2 * eps))
    if not columns:
        return np.zeros((value().size, 0))
    return np.array(columns).T


def gradgradcheck(
    func: Callable[..., Any],
    inputs: TensorOrTensors,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the gradient itself: second order, with random cotangents."""
    xs = _listed(inputs)
    outputs = _listed(func(*xs))
    rng = np.random.default_rng(0)
    seeds = _listed(grad_outputs) if grad_outputs is not None else [
        _leaf(rng.standard_normal(o.shape).astype(o.dtype.numpy)) for o in outputs
    ]  # fmt: skip
    n = len(xs)

    def gradient(*args: Any) -> tuple[Tensor, ...]:
        inner, cotangents = args[:n], args[n:]
        wanted = [x for x in inner if isinstance(x, Tensor) and x.requires_grad]
        with _recording():
            found = _listed(func(*inner))
            pairs = [(o, c) for o, c in zip(found, cotangents) if o.requires_grad]
            return grad(
                [o for o, _ in pairs], wanted, [c for _, c in pairs], create_graph=True,
                materialize_grads=True,
            )  # type: ignore[return-value]  # fmt: skip

    return gradcheck(
        gradient, [*xs, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )


def _leaf(array: Any) -> Tensor:
    tensor = new_tensor(np.asarray(array))
    tensor.requires_grad = True
    return tensor


class _recording:
    """Gradient mode on, whatever it was: the numerical side of gradgradcheck needs it too."""

    def __enter__(self) -> None:
        self._previous, CONTEXT.grad = CONTEXT.grad, True

    def __exit__(self, *exc: object) -> None:
        CONTEXT.grad = self._previous
