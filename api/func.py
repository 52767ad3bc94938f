"""`gradc.func`: gradients of functions, as functions.

    value, g = func.value_and_grad(loss)(w)
    g = func.grad(loss, argnums=(0, 1))(w, b)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradc.tracer.autograd import grad as _grad
from gradc.tracer.context import CONTEXT, enable_grad
from gradc.tracer.errors import ArgumentTypeError
from gradc.tracer.graph.source import user_location
from gradc.tracer.tensor import Tensor


def value_and_grad(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(func(*args), gradient)`.

    Args:
        func: returns a scalar tensor (or `(scalar, aux)` with `has_aux`).
        argnums: which positional arguments are differentiated.

    The gradients are themselves differentiable, so the result composes with itself.
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        outer = CONTEXT.grad
        with enable_grad():
            inner = list(args)
            for i in positions:
                inner[i] = _input(args[i], outer)
            found = func(*inner, **kwargs)
            value = found[0] if has_aux else found
            wanted = [inner[i] for i in positions]
            grads = _grad(value, wanted, create_graph=outer, materialize_grads=True)
        result = grads[0] if isinstance(argnums, int) else grads
        if not outer:
            value = value.detach()
        return ((value, found[1]) if has_aux else value), result

    return differentiated


def grad(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of `func` (and its aux, with `has_aux`)."""
    both = value_and_grad(func, argnums, has_aux)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return differentiated


def grad_and_value(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """`value_and_grad` with the results in torch's order."""
    both = value_and_grad(func, argnums, has_aux)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, g = both(*args, **kwargs)
        return g, value

    return differentiated


def _input(value: Any, outer: bool) -> Tensor:
    """A tensor to differentiate by: part of the outer record where there is one."""
    if not isinstance(value, Tensor) or not value.dtype.is_float:
        raise ArgumentTypeError(
            "grad differentiates with respect to floating tensors only", loc=user_location(4)
        )
    if outer and value.requires_grad:
        return value.view(value.shape)  # type: ignore[no-any-return]
    fresh = value.detach()
    fresh.requires_grad = True
    return fresh  # type: ignore[no-any-return]


__all__ = ["grad", "grad_and_value", "value_and_grad"]
