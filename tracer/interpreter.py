"""Applying primitives to tensors: eagerly with NumPy, or by appending to a trace.

    bind(ops.mul, (g, y), {})          strict: what `ops.mul(g, y)` does
    elementwise(ops.mul, x, 2.0)       promotes and broadcasts first: what `x * 2.0` does
    write(x, value)                    in place: what `x.copy_(value)` does

Either way an application is recorded for backward when gradient mode is on and an operand
requires a gradient. Promotion and broadcasting of an elementwise call are one cached plan per
signature; the trace spells them out as eqns, and so does backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes, broadcast_to, sum_to_shape
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentTypeError, GradcError
from gradc.tracer.graph import dims
from gradc.tracer.graph.dims import Shape
from gradc.tracer.graph.ir import NO_PARAMS, Params
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, TensorType, bool_, dtype_of, float64, int64
from gradc.tracer.layout import VIEW_PRIMITIVES, Strides, chain_strides, view_strides
from gradc.tracer.ops.primitive import Primitive, install_binder
from gradc.tracer.promotion import promote
from gradc.tracer.record import (
    OPERAND_NAMES,
    TORCH_NAMES,
    Node,
    Rules,
    Saved,
    camel_case,
    edge_of,
    rules_of,
)
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.rules.failures import in_words_of_user
from gradc.tracer.storage import Array, Storage
from gradc.tracer.tensor import Tensor, new_tensor, view_tensor
from gradc.tracer.trace import read_number

Scalar = bool | int | float


# -- constants ------------------------------------------------------------------------------


def scalar(value: Scalar, dtype: DType) -> Tensor:
    """A 0-d constant."""
    if CONTEXT.trace is not None:
        return CONTEXT.trace.literal(value, dtype)
    return new_tensor(np.array(value, dtype.numpy))


def full(shape: Shape, value: Scalar, dtype: DType) -> Tensor:
    """A constant of one value everywhere."""
    trace = CONTEXT.trace
    if trace is not None:
        number = trace.literal(value, dtype)
        if not shape:
            return number
        # Memory of its own: a view that repeats the number could not be written.
        params = Params(shape=tuple(shape), axes=())
        (var,) = trace.emit(ops.broadcast, [trace.read(number)], params)
        return trace.tensor(var)
    return new_tensor(np.full(dims.known_shape(shape), value, dtype.numpy))


def constant(array: Array) -> Tensor:
    """A constant array known now; the data is copied."""
    if CONTEXT.trace is not None:
        if array.ndim == 0:
            return scalar(array.item(), new_tensor(array).dtype)
        return ops.constant(value=ops.Constant(array))  # type: ignore[no-any-return]
    return new_tensor(np.array(array, order="C"))


def hyperparameter(holder: Any, key: Any) -> Any:
    """`holder[key]`: a Python number eagerly, a run-time scalar in a trace.

    A tuple as key is a path: `("betas", 0)` is `holder["betas"][0]`.
    """
    if CONTEXT.trace is not None:
        return CONTEXT.trace.hyperparameter(holder, key)
    return read_number(holder, key)


# -- recording ------------------------------------------------------------------------------


class PrimitiveNode(Node):
    """A recorded primitive: its rules make the cotangents."""

    __slots__ = ("operand_types", "params", "plan", "prim", "saved", "saved_output", "wanted")

    def __init__(
        self,
        prim: Primitive,
        params: Params,
        plan: Plan | None,
        operands: Sequence[Any],
        outputs: Sequence[Tensor],
        rules: Rules,
    ) -> None:
        edges = [edge_of(t) for t in operands]
        Node.__init__(self, edges, [t.type for t in outputs])
        self.prim, self.params, self.plan = prim, params, plan
        self.wanted = tuple([e is not None for e in edges])
        if plan is None:
            self.operand_types = [t.type for t in operands]
        else:
            self.operand_types = [plan.type] * len(edges)
        needed = rules.needed(self.wanted)
        self.saved: list[Saved | Scalar | None] | None = None
        self.saved_output: list[Saved] | None = None
        self._save(needed, operands, outputs)

    def _save(
        self, needed: frozenset[str], operands: Sequence[Any], outputs: Sequence[Tensor]
    ) -> None:
        if "xs" in needed:
            self.saved = [_save_operand(t) for t in operands]
        elif "indices" in needed:
            self.saved = [None if t.dtype.is_float else _save_operand(t) for t in operands]
        elif not needed.isdisjoint(OPERAND_NAMES):
            self.saved = [
                _save_operand(t) if name in needed else None
                for t, name in zip(operands, OPERAND_NAMES)
            ]
        if "out" in needed or "outs" in needed:
            self.saved_output = [Saved(t, is_output=True) for t in outputs]

    @property
    def name(self) -> str:
        if self.composite is not None:
            return camel_case(self.composite.name) + "Backward0"
        return (TORCH_NAMES.get(self.prim.name) or camel_case(self.prim.name)) + "Backward0"

    def release(self) -> None:
        if self.saved is not None or self.saved_output is not None:
            self.saved = self.saved_output = None
            self.freed = True

    def backward(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        self.require_saved()
        trace = CONTEXT.trace
        if trace is not None and trace.hook is not None:
            with trace.unwatched():
                return self._apply_rules(grads)
        return self._apply_rules(grads)

    def _apply_rules(self, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        rules = rules_of(self.prim)
        assert rules is not None
        values = self._values(grads)
        if rules.variadic:
            arguments = {n: values[n] for n in rules.needs[0]}
            found: Sequence[Tensor | None] = rules.rules[0](**arguments)
            return [g if w else None for g, w in zip(found, self.wanted)]
        result: list[Tensor | None] = []
        for i, wanted in enumerate(self.wanted):
            rule = rules.rules[i] if wanted else None
            if rule is None:
                result.append(None)
                continue
            g = rule(**{n: values[n] for n in rules.needs[i]})
            result.append(g if g is None or self.plan is None else self.plan.contract(i, g))
        return result

    def _values(self, grads: Sequence[Tensor | None]) -> dict[str, Any]:
        filled = [
            full(t.shape, 0, t.dtype) if g is None else g for g, t in zip(grads, self.output_types)
        ]
        values: dict[str, Any] = {
            "g": filled[0], "gs": filled, "params": self.params, "types": self.operand_types,
        }  # fmt: skip
        if self.saved is not None:
            operands = [self._unpack(i, s) for i, s in enumerate(self.saved)]
            values["xs"] = operands
            values["indices"] = [t for t in operands if t is not None and t.dtype.is_integer]
            values.update(zip(OPERAND_NAMES, operands))
        if self.saved_output is not None:
            values["outs"] = [s.unpack(self, i) for i, s in enumerate(self.saved_output)]
            values["out"] = values["outs"][0]
        return values

    def _unpack(self, i: int, saved: Saved | Scalar | None) -> Tensor | None:
        if saved is None:
            return None
        value = saved.unpack(self) if isinstance(saved, Saved) else saved
        if self.plan is not None:
            return self.plan.expand(i, value)
        assert isinstance(value, Tensor)
        return value


def _save_operand(t: Any) -> Saved | Scalar:
    return Saved(t, is_output=False) if isinstance(t, Tensor) else t


def _record(
    prim: Primitive,
    params: Params,
    plan: Plan | None,
    operands: Sequence[Any],
    outputs: Sequence[Tensor],
) -> None:
    rules = rules_of(prim)
    if rules is None:
        return
    node = PrimitiveNode(prim, params, plan, operands, outputs, rules)
    for index, out in enumerate(outputs):
        if out.type.dtype.kind == "f":
            out._node, out._index, out._requires_grad = node, index, True
            # The history is the node's now, not the base's at the time of the view.
            if out._base is not None:
                out._history_stamp = out._base._rewrites


def _needs_record(operands: Sequence[Any]) -> bool:
    if CONTEXT.grad:
        for t in operands:
            if isinstance(t, Tensor) and t.requires_grad:
                return True
    return False


# -- strict binding -------------------------------------------------------------------------


def bind(prim: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Apply `prim` to tensors of fitting types and record it.

    Returns a Tensor, or a tuple of them for a primitive with several outputs. Movement that only
    changes how memory is walked gives a view.

    Raises:
        ShapeError, DTypeError, ArgumentError: the primitive does not take these operands.
    """
    trace = CONTEXT.trace
    if trace is not None and trace.hook is not None:
        with trace.unwatched():
            return _bind(prim, operands, params)
    return _bind(prim, operands, params)


def _bind(prim: Primitive, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    frozen = Params(**params) if params else NO_PARAMS
    try:
        if CONTEXT.trace is not None:
            outputs = _bind_traced(prim, operands, frozen)
        else:
            outputs = _bind_eager(prim, operands, frozen)
    except GradcError as error:
        types = [t.type for t in operands]
        error = in_words_of_user(error, prim.name, CONTEXT.scope, types)
        raise error.at(CONTEXT.loc or user_location(3)) from None
    if _needs_record(operands):
        _record(prim, frozen, None, operands, outputs)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


install_binder(bind)


def _bind_traced(prim: Primitive, operands: tuple[Any, ...], params: Params) -> list[Tensor]:
    trace = CONTEXT.trace
    assert trace is not None
    if prim in VIEW_PRIMITIVES and isinstance(operands[0], Tensor):
        view = _traced_view(prim, operands[0], params)
        if view is not None:
            return [view]
    atoms = [trace.read(t) for t in operands]
    return [trace.tensor(v) for v in trace.emit(prim, atoms, params)]


def _traced_view(prim: Primitive, x: Tensor, params: Params) -> Tensor | None:
    (type,) = prim.infer(x.type, **params.as_dict())
    strides = traced_strides(x)
    if view_strides(prim, params, x.shape, strides, type.shape) is None:
        return None
    return view_tensor(x, None, type, (prim, params))


def traced_strides(x: Tensor) -> Strides:
    """The strides, in elements, that `x` has within the trace that runs."""
    root, shapes = _chain_shapes(x)
    return chain_strides(root, x._chain, shapes)


def _chain_shapes(x: Tensor) -> tuple[Shape, list[Shape]]:
    trace = CONTEXT.trace
    assert trace is not None
    type = trace.root_type(x)
    root, shapes = type.shape, []
    for prim, params in x._chain:
        (type,) = prim.infer(type, **params.as_dict())
        shapes.append(type.shape)
    return root, shapes


def _bind_eager(prim: Primitive, operands: tuple[Any, ...], params: Params) -> list[Tensor]:
    prim.infer(*(t.type for t in operands), **params)
    arrays = [t.array() for t in operands]
    with np.errstate(all="ignore"):
        found = evaluate[prim](*arrays, **params)
    if prim in VIEW_PRIMITIVES:
        x = operands[0]
        if np.may_share_memory(found, arrays[0]) or found.size == 0:
            return [view_tensor(x, found, None, (prim, params))]
    results = found if isinstance(found, tuple) else (found,)
    return [new_tensor(_owned(a, arrays)) for a in results]


def _owned(result: Any, operands: Sequence[Array]) -> Array:
    """`result` as a contiguous array that shares no memory with an operand."""
    array = np.asarray(result)
    if not array.flags.c_contiguous or not array.flags.writeable:
        return np.array(array, order="C")
    if any(array is x or np.may_share_memory(array, x) for x in operands):
        return array.copy()
    return array


# -- elementwise with promotion and broadcasting ---------------------------------------------


class Plan:
    """How the operands of one elementwise signature become strict.

    Attributes:
        prim: what is applied: the asked primitive, or its form for bool.
        type: what every operand becomes.
        out: the type of the result.
        direct: whether NumPy's own broadcasting does all of it on the raw arrays.
        weak: whether only run-time numbers take part, so that the result promotes like one.
    """

    __slots__ = ("direct", "operands", "out", "prim", "rule", "type", "weak")

    def __init__(self, prim: Primitive, operands: Sequence[Any]) -> None:
        tensors = [t for t in operands if isinstance(t, Tensor)]
        shape = broadcast_shapes(prim.name, [t.type for t in tensors])
        dtype = _operand_dtype(prim, _common_dtype(operands))
        prim = self.prim = _OF_BOOL.get(prim, prim) if dtype is bool_ else prim
        self.weak = bool(tensors) and all(is_weak(t) for t in operands)
        self.type = TensorType(shape, dtype)
        self.operands = [t.type if isinstance(t, Tensor) else None for t in operands]
        (self.out,) = prim.infer(*([self.type] * len(operands)))
        self.rule = evaluate[prim]
        self.direct = isinstance(self.rule, np.ufunc) and all(
            t is None or t.dtype is dtype for t in self.operands
        )

    def expand(self, i: int, value: Tensor | Scalar) -> Tensor:
        """Operand `i`, cast and broadcast, by strict ops."""
        if not isinstance(value, Tensor):
            return full(self.type.shape, _wrap(value, self.type.dtype), self.type.dtype)
        if value.dtype is not self.type.dtype:
            return broadcast_to(ops.cast(value, dtype=self.type.dtype), self.type.shape)
        return broadcast_to(value, self.type.shape)

    def contract(self, i: int, g: Tensor) -> Tensor:
        """The cotangent of operand `i` before expansion: summed and cast back."""
        type = self.operands[i]
        assert type is not None
        g = sum_to_shape(g, type.shape)
        return g if g.dtype is type.dtype else ops.cast(g, dtype=type.dtype)

    def arrays(self, operands: Sequence[Any]) -> list[Any]:
        """The raw data of the operands, cast, and broadcast where NumPy's rule would not."""
        numpy_dtype = self.type.dtype.numpy
        cast = evaluate[ops.cast]
        result = []
        for t, type in zip(operands, self.operands):
            if type is None:
                result.append(np.asarray(_wrap(t, self.type.dtype), numpy_dtype))
                continue
            a = t.array()
            result.append(a if a.dtype == numpy_dtype else cast(a, dtype=self.type.dtype))
        return list(np.broadcast_arrays(*result)) if len(result) > 1 else result


# Division of integers gives floats; these have no integer form.
_FLOAT_ONLY = frozenset(
    {
        ops.div, ops.sqrt, ops.rsqrt, ops.exp, ops.expm1, ops.log, ops.log1p, ops.sin, ops.cos,
        ops.tan, ops.asin, ops.acos, ops.atan, ops.sinh, ops.cosh, ops.tanh, ops.asinh, ops.acosh,
        ops.atanh, ops.sigmoid, ops.erf, ops.erfinv, ops.lgamma, ops.digamma, ops.atan2,
    }
)  # fmt: skip
# The sum and the product of bools are bools, as in torch; other arithmetic takes no bool.
_OF_BOOL = {ops.add: ops.bitwise_or, ops.mul: ops.bitwise_and}


def is_weak(operand: Any) -> bool:
    """Whether `operand` promotes as a Python number does."""
    return operand._weak if isinstance(operand, Tensor) else True


def _common_dtype(operands: Sequence[Any]) -> DType:
    if all(is_weak(t) for t in operands) and any(isinstance(t, Tensor) for t in operands):
        # Among run-time numbers only: what Python itself would compute with.
        kinds = [t.dtype.kind if isinstance(t, Tensor) else type(t) for t in operands]
        return float64 if "f" in kinds or float in kinds else int64
    return promote(*(_stand_in(t) if is_weak(t) else t.dtype for t in operands))


def _stand_in(operand: Any) -> Any:
    if not isinstance(operand, Tensor):
        return operand
    return {"f": 0.0, "i": 0, "b": False}[operand.dtype.kind]


def _operand_dtype(prim: Primitive, dtype: DType) -> DType:
    if prim in _FLOAT_ONLY and not dtype.is_float:
        return promote(dtype, 1.0)
    return dtype


_plans: dict[tuple[Any, ...], Plan] = {}
_PLAN_LIMIT = 4096


def _plan(prim: Primitive, operands: Sequence[Any]) -> Plan:
    key = (prim, *map(_operand_key, operands))
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _PLAN_LIMIT:
            _plans.clear()
        plan = _plans[key] = Plan(prim, operands)
    return plan


def _operand_key(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (value.type, True) if value._weak else value.type
    return type(value)


def _wrap(value: Scalar, dtype: DType) -> Scalar:
    """A Python number as it is stored in `dtype`: integers wrap."""
    if dtype.is_integer and isinstance(value, int):
        span = 1 << dtype.bits
        return (int(value) - dtype.min) % span + dtype.min
    return value


def elementwise(prim: Primitive, *operands: Any) -> Any:
    """Apply an elementwise primitive to tensors and Python numbers, promoting and broadcasting.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError, ArgumentTypeError: operands the primitive does not take.
    """
    for t in operands:
        if not isinstance(t, Tensor):
            operands = tuple([as_operand(t) for t in operands])
            break
    trace = CONTEXT.trace
    if trace is not None and trace.hook is not None:
        with trace.unwatched():
            return _elementwise(prim, operands)
    return _elementwise(prim, operands)


def _elementwise(prim: Primitive, operands: tuple[Any, ...]) -> Tensor:
    try:
        plan = _plan(prim, operands)
        if CONTEXT.trace is None:
            out = _eager(plan, operands)
        else:
            out = _traced(plan, operands)
    except GradcError as error:
        raise _with_operands(error, operands).at(CONTEXT.loc or user_location(3)) from None
    if _needs_record(operands):
        _record(plan.prim, NO_PARAMS, plan, operands, (out,))
    return out


def _with_operands(error: GradcError, operands: Sequence[Any]) -> GradcError:
    if not error.operands:
        error.operands = tuple(str(t.type) for t in operands if isinstance(t, Tensor))
    return error


def _eager(plan: Plan, operands: Sequence[Any]) -> Tensor:
    if plan.direct:
        dtype = plan.type.dtype
        arrays = [t.array() if isinstance(t, Tensor) else _wrap(t, dtype) for t in operands]
    else:
        arrays = plan.arrays(operands)
    with np.errstate(all="ignore"):
        found = plan.rule(*arrays)
    if not plan.direct:
        found = _owned(found, ())
    elif type(found) is not np.ndarray or not found.flags.c_contiguous:
        found = np.array(found, order="C")
    return Tensor(Storage(found), found, plan.out)


def _traced(plan: Plan, operands: Sequence[Any]) -> Tensor:
    trace = CONTEXT.trace
    assert trace is not None
    grad, CONTEXT.grad = CONTEXT.grad, False
    try:
        atoms = [trace.read(plan.expand(i, t)) for i, t in enumerate(operands)]
    finally:
        CONTEXT.grad = grad
    (var,) = trace.emit(plan.prim, atoms, NO_PARAMS)
    result = trace.tensor(var)
    result._weak = plan.weak
    return result


def as_operand(value: Any) -> Any:
    """`value` as an operand of an elementwise op: a Tensor or a Python number.

    NumPy scalars count as 0-d arrays, which do promote; NumPy arrays are taken as tensors.
    """
    if isinstance(value, (Tensor, bool, int, float)) and not isinstance(value, np.generic):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return as_tensor(value)
    raise _no_tensor(value)


def as_tensor(value: Any) -> Tensor:
    """A Tensor of a tensor, an array (shared) or a number."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        if CONTEXT.trace is not None:
            return CONTEXT.trace.capture_array(value)
        return new_tensor(native(value))
    if not isinstance(value, (bool, int, float, np.generic)):
        raise _no_tensor(value)
    return constant(np.asarray(value, _number_dtype(value)))


def _no_tensor(value: Any) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"expected a tensor or a number, not {type(value).__name__}", loc=user_location()
    )


def _number_dtype(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.dtype
    return promote(value).numpy


def native(array: Array) -> Array:
    """The array itself if gradc can hold it.

    Raises:
        ArgumentTypeError: a dtype gradc has not, or foreign byte order.
    """
    if dtype_of(array.dtype) is None:
        raise ArgumentTypeError(
            f"gradc has no dtype for NumPy's {array.dtype}",
            loc=user_location(3),
            hint="convert the array first, for example with .astype('float32')",
        )
    return array
