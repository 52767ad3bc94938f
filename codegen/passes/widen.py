"""widen: a graph with every float32 made float64, the truth that results are measured against.

    c: f32[3] = mul(a, 0.1)      ->      c: f64[3] = mul(a, 0.10000000149011612)

What that means where a type is mentioned:
    inputs, values       float32 becomes float64; every other type stays.
    literals, constants  keep the value they have in float32 (0.1 is float32's 0.1): they belong
                         to the program, and only its rounding is to disappear.
    cast to float32      becomes a cast to float64: the rounding it did is gone, like all others.
    iota                 counts in float64.
    bitcast              to or from float32 passes through float32 itself, since the bits are
                         meant; random bits and the uniform numbers made of them are the same.
    threefry2x32         works on uint32 and stays as it is.
Discrete results (comparisons, argmax, float to integer, sort) may come out otherwise where the
float32 program was within its rounding error of the border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Params, Var
from gradc.tracer.graph.types import DType, TensorType, float32, float64
from gradc.tracer.ops.movement import Constant


def _wide(dtype: DType) -> DType:
    return float64 if dtype is float32 else dtype


def _wide_type(type: TensorType) -> TensorType:
    return type.with_dtype(_wide(type.dtype))


def _wide_literal(literal: Literal) -> Literal:
    if literal.type.dtype is not float32:
        return literal
    return Literal(float(np.float32(literal.value)), _wide_type(literal.type))


def _wide_params(eqn: Eqn) -> Params:
    params = dict(eqn.params)
    if "dtype" in params:
        params["dtype"] = _wide(params["dtype"])
    if eqn.prim is ops.constant and params["value"].array.dtype == np.float32:
        params["value"] = Constant(params["value"].array.astype(np.float64))
    return Params(**params)


class _Widener:
    def __init__(self, graph: Graph) -> None:
        self.values: dict[Var, Var] = {v: Var(_wide_type(v.type), v.name) for v in graph.inputs}
        self.eqns: list[Eqn] = []
        self.next_id = max((e.id for e in graph.eqns), default=-1) + 1

    def read(self, atom: Atom) -> Atom:
        return _wide_literal(atom) if isinstance(atom, Literal) else self.values[atom]

    def emit(self, eqn: Eqn) -> None:
        inputs = [self.read(a) for a in eqn.inputs]
        outputs = tuple(Var(_wide_type(v.type), v.name) for v in eqn.outputs)
        self.values.update(zip(eqn.outputs, outputs))
        if eqn.prim is ops.bitcast and float32 in (eqn.inputs[0].type.dtype, eqn.params.dtype):
            self._bitcast(eqn, inputs, outputs)
        else:
            self._append(eqn, eqn.replace(inputs=tuple(inputs), params=_wide_params(eqn), outputs=outputs))

    def _append(self, origin: Eqn, eqn: Eqn) -> None:
        self.eqns.append(eqn)

    def _bitcast(self, eqn: Eqn, inputs: Sequence[Atom], outputs: tuple[Var, ...]) -> None:
        raise NotImplementedError
