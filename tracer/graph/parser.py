"""Reading a graph from its printed text.

    parse_graph('''
    graph f(x: f32[3]; state w: f32[3])
      forward
        a: f32[3] = mul(x, w)
      return w' = a: f32[3]
    ''')

The text says everything but source lines, scopes and eqn ids, which are then absent and numbered
anew, and constants of more than 8 elements, which are given beside it. A literal has the dtype
of the operands next to it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.ir import Atom, Eqn, Graph, Literal, Params, Phase, Var
from gradc.tracer.graph.types import DTYPES, DType, TensorType, bool_, float64, int64
from gradc.tracer.ops.movement import Constant
from gradc.tracer.ops.primitive import PRIMITIVES

_BY_SHORT = {d.short: d for d in DTYPES}
_HEADER = re.compile(r"graph (\S+?)\((.*)\)$")
_CHANGE_DTYPE = {"cast", "bitcast", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf"}
_BRACKETS = {"(": 1, "[": 1, ")": -1, "]": -1}


def parse_graph(text: str, constants: Sequence[np.ndarray[Any, Any]] = ()) -> Graph:
    """The graph that `text` is.

    Args:
        constants: the arrays printed as `<f32[64,64]>`, in order.

    Raises:
        ArgumentError: the text is not a printed graph; the message quotes the line.
    """
    return _Parser(constants).graph(text)


def _split(text: str, separator: str = ", ") -> list[str]:
    """`text` at separators outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "'\"" and (i == 0 or text[i - 1] in "=, "):
            quote = c
        elif c in _BRACKETS:
            depth += _BRACKETS[c]
        elif depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i])
            start = i + len(separator)
    parts.append(text[start:])
    return [p.strip() for p in parts if p.strip()]


def _parse_type(text: str) -> TensorType:
    short, _, sizes = text.partition("[")
    shape = tuple(int(s) for s in sizes.rstrip("]").split(",") if s)
    return TensorType(shape, _BY_SHORT[short])


def _parse_value(text: str) -> Any:
    """A number, list of numbers, tuple, quoted string or bare word."""
    if text in _BY_SHORT:
        return _BY_SHORT[text]
    if text.startswith("["):
        words = {"nan": "NaN", "inf": "Infinity", "True": "true", "False": "false"}
        return json.loads(re.sub("|".join(words), lambda m: words[m[0]], text))
    if text in ("nan", "inf", "-inf"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class _Parser:
    def __init__(self, constants: Sequence[np.ndarray[Any, Any]]) -> None:
        self.constants = iter(constants)
        self.names: dict[str, Var] = {}
        self.inputs: list[Var] = []
        self.eqns: list[Eqn] = []
        self.phase = Phase.FORWARD

    def graph(self, text: str) -> Graph:
        lines = [self._without_comment(line) for line in text.strip().splitlines()]
        name, n_args = self._header(lines[0])
        for line in lines[1:-1]:
            if line in set(Phase):
                self.phase = Phase(line)
            elif line:
                self._eqn(line)
        outputs, aliases = self._results(lines[-1])
        return Graph(
            name, tuple(self.inputs), tuple(self.eqns), tuple(outputs), n_args, (), tuple(aliases)
        )

    @staticmethod
    def _without_comment(line: str) -> str:
        return line.partition("  # ")[0].strip()

    def _header(self, line: str) -> tuple[str, int]:
        found = _HEADER.match(line)
        if found is None:
            raise ArgumentError(f"this is not the first line of a graph: {line}")
        arguments, _, state = found[2].partition("; state ")
        self.inputs += map(self._define, _split(arguments))
        n_args = len(self.inputs)
        self.inputs += map(self._define, _split(state))
        return found[1], n_args

    def _define(self, text: str) -> Var:
        name, _, type = text.rpartition(": ")
        self.names[name] = Var(_parse_type(type), name)
        return self.names[name]

    def _eqn(self, line: str) -> None:
        left, _, call = line.partition(" = ")
        if "(" in left:  # an effect has no outputs
            left, call = "", line
        name, _, arguments = call.partition("(")
        if name not in PRIMITIVES or not arguments.endswith(")"):
            raise ArgumentError(f"this is not an eqn: {line}")
        operands, params = [], {}
        for part in _split(arguments[:-1]):
            key, is_param, value = part.partition("=")
            if is_param and part not in self.names:
                params[key] = _parse_value(value)
            else:
                operands.append(part)
        types = [_parse_type(p.rpartition(": ")[2]) for p in _split(left)]
        if "value" in params:
            params["value"] = self._constant(params["value"], types[0])
        inputs = tuple(self._atoms(name, operands, types))
        outputs = tuple(map(self._define, _split(left)))
        prim, number = PRIMITIVES[name], len(self.eqns)
        self.eqns.append(
            Eqn(prim, inputs, Params(**params), outputs, None, self.phase, (), number)
        )

    def _results(self, line: str) -> tuple[list[Atom], list[tuple[int, int]]]:
        first, _, rest = line.partition(" ")
        if first != "return":
            raise ArgumentError(f"this is not the last line of a graph: {line}")
        outputs: list[Atom] = []
        aliases: list[tuple[int, int]] = []
        for i, part in enumerate(_split(rest)):
            target, written, result = part.rpartition("' = ")
            if written:
                aliases.append((i, self.inputs.index(self.names[target])))
            name, _, type = result.rpartition(": ")
            known = self.names.get(name)
            outputs.append(known or _literal(_parse_value(name), _parse_type(type).dtype))
        return outputs, aliases

    def _constant(self, value: Any, type: TensorType) -> Constant:
        if isinstance(value, str):
            return Constant(next(self.constants))
        return Constant(np.array(value, type.dtype.numpy).reshape(type.shape))

    def _atoms(
        self, prim: str, operands: list[str], outputs: list[TensorType]
    ) -> Iterator[Atom]:
        known = [self.names[o].type.dtype for o in operands if o in self.names]
        # Beside a predicate stand the values; a lone predicate says nothing of a result.
        beside = [d for d in known if d is not bool_] or known
        if beside and prim != "select":
            dtype = beside[0]
        else:
            dtype = float64 if not outputs or prim in _CHANGE_DTYPE else outputs[0].dtype
        first_index = {"gather": 1, "scatter": 2}.get(prim, len(operands))
        for i, text in enumerate(operands):
            own = int64 if i >= first_index else dtype
            yield self.names.get(text) or _literal(_parse_value(text), own)


def _literal(value: Any, dtype: DType) -> Literal:
    if isinstance(value, bool):
        dtype = bool_
    elif isinstance(value, int) and dtype is bool_:
        dtype = int64
    if not isinstance(value, (bool, int, float)):
        raise ArgumentError(f"{value!r} is neither a variable nor a number")
    return Literal(value, TensorType((), dtype))
