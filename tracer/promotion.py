"""Which dtype a mix of operands is computed in.

Categories bool < integer < float, as in torch; within a category the lattice of the Array API.
Python scalars are weak: they decide the category only. 0-d tensors are strong, as in the Array
API and JAX (torch treats them as weak).

    promote(int32, float32)   -> float32        an integer with a float gives that float
    promote(float32, 2.5)     -> float32        a Python float is weak
    promote(int64, 2.5)       -> float32        the default float
"""

from __future__ import annotations

from typing import Any

from gradc.tracer.errors import ArgumentError, DTypeError
from gradc.tracer.graph.types import (
    BY_NAME,
    DTYPES,
    FLOATS,
    DType,
    bool_,
    float32,
    int64,
)

_default_float = float32


def get_default_dtype() -> DType:
    """The dtype of new floating tensors and of integer division."""
    return _default_float


def default_dtype_place() -> tuple[dict[str, Any], str]:
    """Where `get_default_dtype` looks: a dict, and the key in it."""
    return globals(), "_default_float"


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype of new floating tensors.

    Raises:
        ArgumentError: `dtype` is not a floating dtype.
    """
    global _default_float
    if dtype not in FLOATS:
        raise ArgumentError(f"the default dtype must be floating, not {dtype!r}")
    _default_float = dtype
    _cache.clear()


_cache: dict[tuple[Any, ...], DType] = {}


def promote(*operands: Any) -> DType:
    """The common dtype of DTypes, tensors (anything with a `dtype`) and Python numbers.

    Raises:
        DTypeError: uint64 with a signed integer, which no integer type holds.
    """
    key = tuple(_key(x) for x in operands)
    found = _cache.get(key)
    if found is None:
        found = _cache[key] = _promote(key)
    return found


def _key(operand: Any) -> Any:
    if isinstance(operand, DType):
        return operand
    if isinstance(operand, (bool, int, float)):
        return type(operand)
    return operand.dtype


def _promote(keys: tuple[Any, ...]) -> DType:
    strong = [k for k in keys if isinstance(k, DType)]
    weak = [k for k in keys if not isinstance(k, DType)]
    result: DType | None = None
    for dtype in strong:
        result = dtype if result is None else _join(result, dtype)
    kinds = {bool: 0, int: 1, float: 2}
    rank = max((kinds[k] for k in weak), default=-1)
    if result is None:
        return (bool_, int64, _default_float)[rank]
    if rank > _rank(result):
        return int64 if rank == 1 else _default_float
    return result


def _rank(dtype: DType) -> int:
    return {"b": 0, "i": 1, "u": 1, "f": 2}[dtype.kind]


def _join(a: DType, b: DType) -> DType:
    if a is b:
        return a
    if _rank(a) != _rank(b):
        return a if _rank(a) > _rank(b) else b
    if a.kind == b.kind:
        return a if a.bits >= b.bits else b
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(
            f"{a.name} and {b.name} have no common integer type",
            hint="cast one of them first, for example with x.to(gradc.int64)",
        )
    return BY_NAME[f"int{2 * unsigned.bits}"]


def result_type(*operands: Any) -> DType:
    """`promote` under torch's name."""
    return promote(*operands)


__all__ = ["DTYPES", "get_default_dtype", "promote", "result_type", "set_default_dtype"]
