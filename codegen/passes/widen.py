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

import numpy as np

from gradc.codegen.passes.rewrite import next_eqn_id
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Params, Var
from gradc.tracer.graph.types import DType, TensorType, float32, float64
from gradc.tracer.ops.movement import Constant
from gradc.tracer.ops.primitive import Primitive


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
        self._next_id = next_eqn_id(graph)

    def read(self, atom: Atom) -> Atom:
        return _wide_literal(atom) if isinstance(atom, Literal) else self.values[atom]

    def visit(self, eqn: Eqn) -> None:
        inputs = tuple(map(self.read, eqn.inputs))
        outputs = tuple(Var(_wide_type(v.type), v.name) for v in eqn.outputs)
        self.values.update(zip(eqn.outputs, outputs))
        if eqn.prim is ops.bitcast:
            self._bitcast(eqn, inputs[0], outputs)
        else:
            params = _wide_params(eqn)
            self.eqns.append(eqn.replace(inputs=inputs, params=params, outputs=outputs))

    def _bitcast(self, eqn: Eqn, x: Atom, outputs: tuple[Var, ...]) -> None:
        narrow, dtype = eqn.inputs[0].type, eqn.params.dtype
        if narrow.dtype is float32:
            x = self._extra(eqn, ops.cast, x, narrow)
        if dtype is not float32:
            self.eqns.append(eqn.replace(inputs=(x,), outputs=outputs))
            return
        bits = self._extra(eqn, ops.bitcast, x, eqn.output.type)
        widened = eqn.replace(
            prim=ops.cast, inputs=(bits,), params=Params(dtype=float64), outputs=outputs
        )
        self.eqns.append(widened)

    def _extra(self, origin: Eqn, prim: Primitive, x: Atom, type: TensorType) -> Var:
        out = Var(type)
        params = Params(dtype=type.dtype)
        self.eqns.append(
            origin.replace(prim=prim, inputs=(x,), params=params, outputs=(out,), id=self._next_id)
        )
        self._next_id += 1
        return out


def widen(graph: Graph) -> Graph:
    """`graph` with float64 for float32, as the module's docstring says; eqn ids stay."""
    widener = _Widener(graph)
    for eqn in graph.eqns:
        widener.visit(eqn)
    return graph.replace(
        inputs=tuple(widener.values[v] for v in graph.inputs),
        eqns=tuple(widener.eqns),
        outputs=tuple(map(widener.read, graph.outputs)),
    )
