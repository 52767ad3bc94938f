"""Ahead of time: a compiled function as C files that need no Python, and back.

gradc.aot.export(step, (x, y), "out/", name="train")
    out/train.c train.h           the program          train_state.h   where its state lies
    out/train.safetensors         its state            train.json      the manifest
    out/Makefile
gradc.aot.load("out/")(x, y)      the same program and state, run from Python
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optree

from gradc.codegen.c.names import check_exported
from gradc.codegen.pipeline import lower_c
from gradc.runtime.compile import CompiledFunction, compile
from gradc.runtime.package import (
    ExportedFunction,
    Program,
    current,
    load,
    nesting,
    plain,
    write_package,
)
from gradc.runtime.specialization import Staged
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.printer import graph_names
from gradc.tracer.graph.source import user_location
from gradc.tracer.tensor import Tensor


def export(
    step: Callable[..., Any],
    args: Sequence[Any],
    folder: str | Path,
    *,
    name: str,
    kwargs: Mapping[str, Any] | None = None,
) -> Path:
    """Write a function, compiled for these arguments, with its present state, as C files.

    Args:
        step: a function or what `gradc.compile` made of it.
        args, kwargs: arguments to specialise for; nothing is run on them.
        folder: made if missing; files of an earlier export of the same name are replaced.
        name: the C function, and the stem of the files.

    Returns:
        The path of the manifest.

    Raises:
        ArgumentError: `name` is no C identifier, or arguments or results cannot be described
            without Python.
    """
    check_exported(name)
    function = step if isinstance(step, CompiledFunction) else compile(step)
    # Who owns which memory is for the caller of the C to say: nothing is donated.
    staged = function.stage(args, kwargs or {}, donate=False)
    program = program_of(staged, name, reproducible=function.options.target.reproducible)
    return write_package(program, Path(folder))


def program_of(staged: Staged, name: str, *, reproducible: bool = False) -> Program:
    """A traced call as a program, with the state it captured as that is now."""
    graph = staged.graph
    module = lower_c(graph, name=name, reproducible=reproducible)
    first = graph.n_args - len(staged.traced.hyperparameters)
    values = {first + k: h.value() for k, h in enumerate(staged.traced.hyperparameters)}
    storages = [c.tensor._storage for c in staged.traced.captures]
    names = graph_names(graph)
    return Program(
        module,
        [names[v] for v in graph.inputs],
        [current(s) for s in storages],
        values,
        describe_call(staged),
    )


def describe_call(staged: Staged) -> dict[str, Any]:
    """How a call of the Python function becomes a call of the program, as plain data.

    `arguments` is the nesting of (args, kwargs) with leaf numbers; `inputs` the leaves that are
    arrays; `static` the others' values; `results` where each leaf of the result comes from.

    Raises:
        ArgumentError: a static argument, a key or a result is no plain value.
    """
    call = staged.call
    args, kwargs = call.rebuild(list(range(len(call.leaves))))
    if len({id(t._storage) for t in _tensors(call.leaves)}) < len(_tensors(call.leaves)):
        raise ArgumentError(
            "two arguments of an exported function share memory",
            loc=user_location(), hint="pass a clone() for one of them",
        )  # fmt: skip
    static = {
        str(i): plain(leaf, f"the static argument `{call.names()[i]}`")
        for i, leaf in enumerate(call.leaves)
        if i not in set(call.dynamic)
    }
    leaves = list(range(len(staged.results)))
    tree = staged.result_tree
    nested = leaves[0] if tree is None else optree.tree_unflatten(tree, leaves)
    return {
        "arguments": nesting([tuple(args), dict(kwargs)]),
        "inputs": list(call.dynamic),
        "names": list(call.names()),
        "static": static,
        "writes": [list(pair) for pair in staged.writes],
        "result": nesting(nested),
        "results": [_describe_result(staged, i) for i in leaves],
    }


def _tensors(leaves: Sequence[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _describe_result(staged: Staged, i: int) -> dict[str, Any]:
    result = staged.results[i]
    if result.chain:
        raise ArgumentError(
            f"result {i} of an exported function is a view of an argument, of state, or of "
            "another result",
            loc=user_location(), hint="return its clone()",
        )  # fmt: skip
    if result.source in ("output", "argument"):
        return {result.source: result.value}
    if result.source == "value":
        return {"value": plain(result.value, f"result {i}")}
    captures = [c.tensor._storage for c in staged.traced.captures]
    if result.value._storage in captures:
        return {"state": captures.index(result.value._storage)}
    return {"value": plain(result.value, f"result {i}")}


__all__ = ["ExportedFunction", "export", "load", "program_of"]
