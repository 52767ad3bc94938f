"""A primitive: a name, a shape and dtype rule, and nothing else.

What a primitive computes, its derivative, its C and its JAX live in rule tables, one per
concern, keyed by the primitive. Operands are strict: where a rule says "same type" nobody
broadcasts or promotes. Calling a primitive binds it on the values of the running program:

    ops.mul(g, y)        # strict: same shape, same dtype
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gradc.tracer.errors import DTypeError, InternalError, ShapeError
from gradc.tracer.graph.types import DType, TensorType

InferRule = Callable[..., tuple[TensorType, ...]]


class Binder(Protocol):
    """What applies a primitive to the values of a running program."""

    def __call__(self, prim: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """One operation of the IR.

    Attributes:
        name: as printed, in the field's usual spelling.
        infer: `infer(*types, **params) -> output types`; raises a user error on misuse.
        family: `elementwise`, `reduction`, `movement`, `indexing`, `contraction`, `window`,
            `creation`, `sorting`, `scan`, `effect`: what the code generator chooses a strategy by.
        fails_on: the dtype kinds with which an application may fail at run time (`"iu"` for
            integer division, `"*"` for every kind): such eqns are effects and never removed.
    """

    name: str
    infer: InferRule
    family: str
    fails_on: str = ""

    def __call__(self, *operands: Any, **params: Any) -> Any:
        return _binder(self, operands, params)

    def can_fail(self, *types: TensorType) -> bool:
        """Whether an application to operands of these types may fail at run time."""
        return self.fails_on == "*" or bool(types and types[0].dtype.kind in self.fails_on)

    def __repr__(self) -> str:
        return self.name


def _no_binder(prim: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    raise InternalError(f"{prim.name}: no interpreter is installed")


_binder: Binder = _no_binder


def install_binder(binder: Binder) -> None:
    """Set what calling a primitive does; called once, by the layer that knows values."""
    global _binder
    _binder = binder


PRIMITIVES: dict[str, Primitive] = {}


def primitive(
    name: str, infer: InferRule, family: str, fails_on: str = ""
) -> Primitive:
    """Define a primitive and enter it in `PRIMITIVES`."""
    if name in PRIMITIVES:
        raise InternalError(f"the primitive {name} is defined twice")
    prim = PRIMITIVES[name] = Primitive(name, infer, family, fails_on)
    return prim


def same_type(name: str, *types: TensorType) -> TensorType:
    """The common type of strict operands.

    Raises:
        ShapeError, DTypeError: the types differ.
    """
    first = types[0]
    for other in types[1:]:
        if other.shape != first.shape:
            raise ShapeError(f"{name}: shapes differ", operands=map(str, types))
        if other.dtype is not first.dtype:
            raise DTypeError(f"{name}: dtypes differ", operands=map(str, types))
    return first


def require_kind(name: str, type: TensorType, kinds: str) -> None:
    """Raise DTypeError unless the dtype's kind is one of `kinds`."""
    if type.dtype.kind not in kinds:
        raise DTypeError(f"{name}: does not take {type.dtype.name}", operands=[str(type)])


def require_dtype(name: str, type: TensorType, dtype: DType) -> None:
    """Raise DTypeError unless the operand has exactly this dtype."""
    if type.dtype is not dtype:
        raise DTypeError(
            f"{name}: takes {dtype.name}, not {type.dtype.name}", operands=[str(type)]
        )
