"""What a call looks like: which arguments are arrays, run-time numbers, or static values.

    call = read_call((x, 0.1, "mean"), {}, static=frozenset())
    call.key       hashable: one specialization per key
    call.leaves    the arguments, flattened; positions of arrays and numbers in call.dynamic

Tensors and NumPy arrays are inputs, ints and floats run-time scalars, everything else static by
value (by identity where it has no value to compare). A tree is entered only where a container is
present. Tensors passed twice, or two views of one memory, show in the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import optree

from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentTypeError, TraceError
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import dtype_of
from gradc.tracer.promotion import get_default_dtype
from gradc.tracer.tensor import Tensor

_CONTAINERS = (list, tuple, dict)
_BY_VALUE = (bool, str, bytes, type(None), Enum, complex)


class Call:
    """One call, read.

    Attributes:
        leaves: the flattened arguments.
        tree: how they were nested, None for flat positional arguments.
        dynamic: the positions in `leaves` that are arrays or run-time numbers.
        key: the signature.
    """

    __slots__ = ("dynamic", "key", "leaves", "names", "tree")

    def __init__(self, leaves: Sequence[Any], tree: Any, names: Callable[[], list[str]]) -> None:
        self.leaves = leaves
        self.tree = tree
        self.names = names
        self.dynamic: list[int] = []
        self.key: tuple[Any, ...] = ()

    def rebuild(self, leaves: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """`(args, kwargs)` with other leaves in the same places."""
        if self.tree is None:
            return leaves, {}
        found: Any = optree.tree_unflatten(self.tree, leaves)
        return found[0], found[1]


def read_call(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    parameters: Sequence[str],
    static: frozenset[str],
    static_positions: frozenset[int] = frozenset(),
) -> Call:
    """Flatten and classify the arguments of one call.

    Raises:
        ArgumentTypeError: an array of a dtype gradc has not.
        TraceError: a tensor that belongs to a trace that has ended.
    """
    if kwargs or _holds_container(args):
        call = _nested_call(args, kwargs, parameters)
    else:
        call = Call(args, None, partial(_positional_names, parameters, len(args)))
    fixed = static_positions | _static_leaves(call, static) if static else static_positions
    dynamic, storages = call.dynamic, []
    key: list[Any] = [call.tree, CONTEXT.grad, get_default_dtype()]
    for i, leaf in enumerate(call.leaves):
        if i in fixed:
            key.append(_static_key(leaf))
        elif isinstance(leaf, Tensor) and (data := leaf._data) is not None:
            key.append((data.shape, data.dtype, leaf.requires_grad))
            storages.append(leaf._storage)
            dynamic.append(i)
        else:
            key.append(_classify(i, leaf, call))
    if len(storages) > 1 and len(set(map(id, storages))) < len(storages):
        key.append(_sharing([x for x in call.leaves if isinstance(x, Tensor)]))
    call.key = tuple(key)
    return call


def positional_names(fn: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a function by position; empty where its own code cannot be asked.

    What a wrapper does with keywords is its own affair: only a plain function says it itself.
    """
    if isinstance(fn, MethodType):
        return positional_names(fn.__func__)[1:]
    if not isinstance(fn, FunctionType):
        return ()
    code = fn.__code__
    names = code.co_varnames[: code.co_argcount]
    # Those before the slash have no names that a keyword could say.
    return tuple("" if i < code.co_posonlyargcount else n for i, n in enumerate(names))


def by_position(
    args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with keywords made positional, as far as no parameter is left out before."""
    rest, ordered = dict(kwargs), list(args)
    for name in names[len(args) :]:
        if name not in rest:
            break
        ordered.append(rest.pop(name))
    return tuple(ordered), rest


def _holds_container(args: Sequence[Any]) -> bool:
    return any(isinstance(a, _CONTAINERS) for a in args)


def _sharing(tensors: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """For each tensor the first with its memory, and the first that is the same view of it."""
    firsts: dict[int, list[int]] = {}
    pattern = []
    for i, tensor in enumerate(tensors):
        known = firsts.setdefault(id(tensor._storage), [])
        known.append(i)
        same = next(
            k for k in known if tensors[k] is tensor or tensors[k]._chain == tensor._chain
        )
        pattern.append((known[0], same))
    return tuple(pattern)


def _classify(i: int, leaf: Any, call: Call) -> Any:
    """The key of a leaf that is no tensor, noted as dynamic if it is an array or a number."""
    if isinstance(leaf, Tensor):
        raise TraceError(
            "a tensor of a trace that has ended is passed to a compiled function",
            operands=[str(leaf.type)],
            hint="return it from the function that made it",
        )
    if isinstance(leaf, (np.ndarray, np.generic)):
        if dtype_of(leaf.dtype) is None:
            raise ArgumentTypeError(
                f"argument `{call.names()[i]}`: gradc has no dtype for NumPy's {leaf.dtype}",
                loc=user_location(),
                hint="convert the array first, for example with .astype('float32')",
            )
        call.dynamic.append(i)
        return leaf.shape, leaf.dtype
    if type(leaf) is float or type(leaf) is int:
        call.dynamic.append(i)
        return type(leaf)
    return _static_key(leaf)


def _static_key(leaf: Any) -> Any:
    if isinstance(leaf, (*_BY_VALUE, int, float)):
        # repr tells -0.0 from 0.0 and makes NaN equal to itself.
        return type(leaf), (repr(leaf) if isinstance(leaf, float) else leaf)
    return _Identity(leaf)


class _Identity:
    """A static argument without a value to compare: itself. Held, so that its id stays taken."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"<{type(self.value).__name__} object>"


def _nested_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], parameters: Sequence[str]
) -> Call:
    ordered = {name: kwargs[name] for name in sorted(kwargs)}
    nested: Any = (args, ordered)
    leaves, tree = optree.tree_flatten(nested, none_is_leaf=True)

    def names() -> list[str]:
        paths = optree.tree_paths(nested, none_is_leaf=True)
        return [_path_name(path, parameters) for path in paths]

    return Call(leaves, tree, names)


def _positional_names(parameters: Sequence[str], count: int) -> list[str]:
    return [parameters[i] if i < len(parameters) else f"arg{i}" for i in range(count)]


def _path_name(path: tuple[Any, ...], parameters: Sequence[str]) -> str:
    where, first, *rest = path
    head = first if where == 1 else _positional_names(parameters, first + 1)[first]
    return ".".join([str(head), *map(str, rest)])


def _static_leaves(call: Call, static: frozenset[str]) -> frozenset[int]:
    return frozenset(
        i for i, name in enumerate(call.names()) if name.split(".", 1)[0] in static
    )
