"""Values of a trace that would leave it inside something gradc does not look into.

    @gradc.compile
    def step(x): return Output(loss=x.sum())      an error: the loss would never be computed again

Results are pytrees: tensors in tuples, lists, dicts, named tuples and what is registered with
optree. What else holds a tensor of the trace is found here, so that nobody gets a dead one.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optree

from gradc.tracer.errors import ArgumentTypeError
from gradc.tracer.graph.source import user_location
from gradc.tracer.tensor import Tensor

_DEPTH = 4
_PLAIN = (bool, int, float, complex, str, bytes, type, types.ModuleType, np.generic, np.ndarray)


def refuse_leaks(leaves: Sequence[Any]) -> None:
    """Raise where a leaf of the results holds a tensor of the trace, or might make one later.

    Raises:
        ArgumentTypeError: names the type that holds it.
    """
    for leaf in leaves:
        if isinstance(leaf, (types.GeneratorType, types.CoroutineType)):
            raise _error(leaf, "runs after the trace has ended")
        if not isinstance(leaf, Tensor) and _holds_traced(leaf, _DEPTH, set()):
            raise _error(leaf, "holds a tensor that is computed in the compiled function")


def _error(leaf: Any, why: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"a compiled function returned a {type(leaf).__qualname__}, which {why}",
        loc=user_location(),
        hint="return tensors in tuples, lists, dicts or named tuples, or register the class with "
        "optree.register_pytree_node",
    )


def _holds_traced(value: Any, depth: int, seen: set[int]) -> bool:
    if isinstance(value, Tensor):
        return value._data is None
    if value is None or isinstance(value, _PLAIN) or id(value) in seen or not depth:
        return False
    seen.add(id(value))
    return any(_holds_traced(part, depth - 1, seen) for part in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """What an object holds: elements, attributes, and the variables a function closes over."""
    if isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            if cell != types.CellType():
                yield cell.cell_contents
    else:
        attributes = getattr(value, "__dict__", None) or {}
        for attribute in attributes.values():
            yield from optree.tree_leaves(attribute, none_is_leaf=True)
        for kind in type(value).__mro__:
            for slot in getattr(kind, "__slots__", ()) if kind.__module__ != "builtins" else ():
                yield getattr(value, slot, None)
