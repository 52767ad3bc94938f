"""Mistakes that one would make in the rule of a primitive: wrong in places only.

    PLAUSIBLE["maximum"](rule)       a NumPy rule that loses NaN, as `a > b ? a : b` does
    BROKEN_EQNS["slice"](eqn)        an eqn of the same type that starts one element later, or None
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from gradc.tracer.errors import GradcError
from gradc.tracer.graph.ir import Eqn, Params
from gradc.tracer.ops.movement import Constant
from gradc.tracer.ops.primitive import PRIMITIVES
from gradc.tracer.rules.evaluate import evaluate

Rule = Callable[..., Any]


def instead(name: str) -> Callable[[Rule], Rule]:
    """The rule of another primitive."""
    return lambda rule: evaluate[PRIMITIVES[name]]


def formula(wrong: Rule) -> Callable[[Rule], Rule]:
    return lambda rule: wrong


def with_params(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Rule], Rule]:
    return lambda rule: lambda *xs, **params: rule(*xs, **{**params, **change(params)})


def towards_zero(x: Any, y: Any) -> Any:
    return np.trunc(x / y).astype(x.dtype)


def last_one(rule: Rule) -> Rule:
    """Of several equals the last and not the first."""
    return lambda x, *, axis: x.shape[axis] - 1 - rule(np.flip(x, axis), axis=axis)


def first_wins(rule: Rule) -> Rule:
    """Of several updates of one place the first and not the last."""

    def wrong(x: Any, u: Any, *indices: Any, batch: int, **params: Any) -> Any:
        turned = tuple(range(batch, indices[0].ndim))
        back = [np.flip(a, turned) for a in (u, *indices)]
        return rule(x, *back, batch=batch, **params)

    return wrong


def wrapping_cast(rule: Rule) -> Rule:
    """Without saturation, and with whatever NaN becomes."""
    return lambda x, *, dtype: x.astype(dtype.numpy)


def unstable(rule: Rule) -> Rule:
    """Equals in the opposite order."""

    def wrong(*xs: Any, axis: int, descending: bool) -> Any:
        return rule(*(np.flip(x, axis) for x in xs), axis=axis, descending=descending)

    return wrong


PLAUSIBLE: dict[str, Callable[[Rule], Rule]] = {
    "abs": formula(lambda x: np.where(x > 0, x, np.negative(x))),  # of 0.0: -0.0
    "sign": formula(np.sign),  # of NaN: NaN
    "floor": instead("trunc"), "ceil": instead("round"), "trunc": instead("floor"),
    "round": formula(lambda x: np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x)),  # half away
    "expm1": formula(lambda x: np.exp(x) - x.dtype.type(1)),
    "log1p": formula(lambda x: np.log(x + x.dtype.type(1))),
    "sinh": formula(lambda x: (np.exp(x) - np.exp(-x)) * x.dtype.type(0.5)),
    "tanh": formula(lambda x: x.dtype.type(1) - 2 / (np.exp(2 * x) + 1)),
    "sigmoid": formula(lambda x: np.exp(x) / (np.exp(x) + x.dtype.type(1))),  # overflows
    "asinh": formula(lambda x: np.log(x + np.sqrt(x * x + 1))),
    "atan2": formula(lambda x, y: np.arctan(x / y)),
    "floor_divide": formula(towards_zero), "trunc_divide": instead("floor_divide"),
    "remainder": instead("fmod"), "fmod": instead("remainder"),
    "maximum": formula(np.fmax), "minimum": formula(np.fmin),
    "lt": instead("le"), "le": instead("lt"), "gt": instead("ge"), "ge": instead("gt"),
    "eq": formula(lambda x, y: ~((x < y) | (x > y))),  # NaN equals everything
    "ne": formula(lambda x, y: (x < y) | (x > y)),
    "isnan": formula(lambda x: ~(np.abs(x) < np.inf)), "isinf": formula(np.isposinf),
    "shift_left": formula(lambda x, y: x << (y & (x.dtype.itemsize * 8 - 1))),  # as x86 does
    "shift_right": formula(lambda x, y: x >> (y & (x.dtype.itemsize * 8 - 1))),
    "cast": wrapping_cast,
    "reduce_max": formula(lambda x, *, axes: np.fmax.reduce(x, axis=axes, dtype=x.dtype)),
    "reduce_min": formula(lambda x, *, axes: np.fmin.reduce(x, axis=axes, dtype=x.dtype)),
    "reduce_any": instead("reduce_all"), "reduce_all": instead("reduce_any"),
    "argmax": last_one, "argmin": last_one,
    "sort": unstable,
    "scatter": first_wins,
    "cumsum": with_params(lambda p: {"reverse": not p["reverse"]}),
    "permute": with_params(lambda p: {"axes": tuple(int(i) for i in np.argsort(p["axes"]))}),
    "pad": with_params(lambda p: {"low": p["high"], "high": p["low"]}),
    "gather": lambda rule: lambda x, *indices, **params: rule(x, *indices[::-1], **params),
}  # fmt: skip

# -- eqns -----------------------------------------------------------------------------------------


def becomes(name: str) -> Callable[[Eqn], Eqn | None]:
    return lambda eqn: typed(eqn.replace(prim=PRIMITIVES[name]))


def has(change: Callable[[Any, Eqn], dict[str, Any]]) -> Callable[[Eqn], Eqn | None]:
    """The eqn with other parameters where its type allows them."""

    def broken(eqn: Eqn) -> Eqn | None:
        params = Params(**{**eqn.params, **change(eqn.params, eqn)})
        return typed(eqn.replace(params=params))

    return broken


def typed(eqn: Eqn) -> Eqn | None:
    """The eqn if its results keep their types."""
    try:
        types = eqn.prim.infer(*(a.type for a in eqn.inputs), **eqn.params)
    except (GradcError, IndexError):
        return None
    return eqn if types == tuple(v.type for v in eqn.outputs) else None


def operands_turned(eqn: Eqn) -> Eqn | None:
    return typed(eqn.replace(inputs=eqn.inputs[::-1]))


def next_axis(params: Any, eqn: Eqn) -> dict[str, Any]:
    return {"axis": (params.axis + 1) % eqn.output.type.ndim}


def shifted(params: Any, eqn: Eqn) -> dict[str, Any]:
    """One element later along every axis that has room, one earlier elsewhere."""
    start, stop = [], []
    for low, high, size in zip(params.start, params.stop, eqn.inputs[0].type.shape, strict=True):
        by = 1 if high < size else -1 if low > 0 else 0
        start.append(low + by)
        stop.append(high + by)
    return {"start": tuple(start), "stop": tuple(stop)}


def more(params: Any, eqn: Eqn) -> dict[str, Any]:
    return {"value": Constant(params.value.array + 1)}


def other_steps(eqn: Eqn) -> Eqn | None:
    """Windows as many, but elsewhere."""
    for stride, dilation in product(range(1, 4), repeat=2):
        steps = {"stride": stride, "dilation": dilation}
        wrong = {k: (n,) * len(eqn.params[k]) for k, n in steps.items()}
        found = typed(eqn.replace(params=Params(**{**eqn.params, **wrong})))
        if found is not None and found.params != eqn.params:
            return found
    return None


BROKEN_EQNS: dict[str, Callable[[Eqn], Eqn | None]] = {
    "reduce_sum": becomes("reduce_max"), "reduce_prod": becomes("reduce_sum"),
    "reduce_max": becomes("reduce_min"), "reduce_min": becomes("reduce_max"),
    "reduce_any": becomes("reduce_all"), "reduce_all": becomes("reduce_any"),
    "argmax": becomes("argmin"), "argmin": becomes("argmax"),
    "cumsum": has(lambda p, e: {"reverse": not p.reverse}),
    "sort": has(lambda p, e: {"descending": not p.descending}),
    "permute": has(lambda p, e: {"axes": p.axes[::-1]}),
    "broadcast": has(lambda p, e: {"axes": tuple(1 - a for a in p.axes)}),
    "slice": has(shifted), "flip": has(lambda p, e: {"axes": ()}),
    "pad": has(lambda p, e: {"low": p.high, "high": p.low}),
    "concat": operands_turned, "iota": has(next_axis), "constant": has(more),
    "gather": has(lambda p, e: {"axes": tuple(1 - a for a in p.axes)}),
    "scatter": has(lambda p, e: {"combiner": "max" if p.combiner != "max" else "min"}),
    "dot_general": operands_turned,
    "window": other_steps, "window_max": other_steps, "conv": other_steps,
}  # fmt: skip
