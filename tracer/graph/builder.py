"""Building a graph eqn by eqn.

    b = GraphBuilder("f")
    x = b.input(TensorType((3,), float32), "x")
    y = b.emit(ops.mul, (x, x))[0]
    graph = b.finish([y])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradc.tracer.graph.ir import NO_PARAMS, Atom, Eqn, Graph, Params, Phase, Var
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType

if TYPE_CHECKING:
    from gradc.tracer.ops.primitive import Primitive


class GraphBuilder:
    """Collects inputs and eqns; types are inferred as eqns come in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Var] = []
        self.eqns: list[Eqn] = []
        self._next_id = 0

    def input(self, type: TensorType, name: str | None = None) -> Var:
        """Append an input."""
        var = Var(type, name)
        self.inputs.append(var)
        return var

    def emit(
        self,
        prim: Primitive,
        inputs: Sequence[Atom],
        params: Params = NO_PARAMS,
        *,
        loc: Location | None = None,
        phase: Phase = Phase.FORWARD,
        scope: tuple[str, ...] = (),
    ) -> tuple[Var, ...]:
        """Append `prim[params](*inputs)` and return its outputs.

        Raises:
            ShapeError, DTypeError, ArgumentError: the primitive does not take these operands.
        """
        types = prim.infer(*[a.type for a in inputs], **params.as_dict())
        outputs = tuple(Var(t) for t in types)
        eqn = Eqn(prim, tuple(inputs), params, outputs, loc, phase, scope, self._next_id)
        self._next_id += 1
        self.eqns.append(eqn)
        return outputs

    def op(self, prim: Primitive, *inputs: Atom, **params: Any) -> Var:
        """`emit` for one output, with keyword params: what rewrites and tests write."""
        (out,) = self.emit(prim, inputs, Params(**params) if params else NO_PARAMS)
        return out

    def finish(
        self,
        outputs: Iterable[Atom],
        *,
        n_args: int | None = None,
        output_names: Iterable[str] = (),
        aliases: Iterable[tuple[int, int]] = (),
    ) -> Graph:
        """The graph built so far; every input counts as an argument unless `n_args` is given."""
        return Graph(
            self.name,
            tuple(self.inputs),
            tuple(self.eqns),
            tuple(outputs),
            len(self.inputs) if n_args is None else n_args,
            tuple(output_names),
            tuple(aliases),
        )
