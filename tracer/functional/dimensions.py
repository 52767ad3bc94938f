"""Reading `dim`, `axis`, `keepdim`, `keepdims`: torch's names first, NumPy's accepted.

    @numpy_names
    def sum(input, dim=None, keepdim=False, ...): ...       also takes axis=, keepdims=
    normalize_dim(-1, 3)  -> 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from gradc.tracer.errors import ArgumentError, ArgumentTypeError, IndexOutOfRange
from gradc.tracer.graph.source import user_location
from gradc.tracer.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_NUMPY_NAMES = (("axis", "dim"), ("keepdims", "keepdim"))


def numpy_names(function: F) -> F:
    """Let `function` be called with `axis` for `dim` and `keepdims` for `keepdim`."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for numpy_name, name in _NUMPY_NAMES:
                if numpy_name in kwargs:
                    if name in kwargs:
                        raise ArgumentError(
                            f"{function.__name__}: both {name}= and {numpy_name}= are given",
                            loc=user_location(),
                        )
                    kwargs[name] = kwargs.pop(numpy_name)
            if kwargs.pop("out", None) is not None:
                raise ArgumentError(
                    f"{function.__name__}: out= is not supported", loc=user_location()
                )
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def normalize_dim(dim: Any, ndim: int, extra: int = 0) -> int:
    """`dim` counted from the front. A 0-d tensor takes 0 and -1, as in torch.

    Raises:
        IndexOutOfRange: outside `[-ndim, ndim)` (`extra` more at the end for unsqueeze).
        ArgumentTypeError: not an integer.
    """
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ArgumentTypeError(
            f"dim must be an integer, not {type(dim).__name__}", loc=user_location()
        )
    n = max(ndim + extra, 1)
    if not -n <= dim < n:
        raise IndexOutOfRange(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})",
            loc=user_location(),
        )
    return int(dim) % n


def normalize_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """The axes to reduce, sorted: all for None or (), one, or several.

    Raises:
        ArgumentError: an axis is named twice.
    """
    if dim is None or (isinstance(dim, (tuple, list)) and len(dim) == 0):
        return tuple(range(ndim))
    if not isinstance(dim, (tuple, list)):
        dim = (dim,)
    axes = tuple(sorted(normalize_dim(d, ndim) for d in dim))
    if len(set(axes)) != len(axes):
        raise ArgumentError(
            f"dim {axes[0]} appears multiple times in the list of dims", loc=user_location()
        )
    return axes if ndim else ()


def read_shape(sizes: Sequence[Any]) -> tuple[int, ...]:
    """`(2, 3)` of `f(2, 3)` or `f((2, 3))`; entries may be 0-d integer tensors."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    return tuple(read_size(s) for s in sizes)


def read_size(size: Any) -> int:
    """One size as an int; a run-time number used as a size becomes static."""
    if isinstance(size, (int, Tensor)) or hasattr(size, "__index__"):
        return int(size.__index__())
    raise ArgumentTypeError(
        f"a size must be an integer, not {type(size).__name__}", loc=user_location()
    )
