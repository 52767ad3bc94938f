"""Every executor on one program, measured against float64.

    print(gradc.crosscheck(step, x, y))

    crosscheck of step: 212 eqns
                            numpy         c       jax
      result                 0.50      0.50      1.00
      d_x                    1.00      2.00      3.00
    every executor agrees

Numbers are units in the last place, the worst of each output. Where an executor is wrong the
report names the first eqn at which it departs, with the line of the Python program, and a file
that reproduces it is written. The function is run on copies: nothing it would change is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optree

from gradc.codegen.passes.widen import widen
from gradc.runtime.compare import Distance, program_bound, worst, wrong
from gradc.runtime.compile import make_executable
from gradc.runtime.divergence import Divergence, first_divergence, wide_inputs
from gradc.runtime.reproducer import write_reproducer
from gradc.tracer.autograd import grad
from gradc.tracer.errors import CompilerNotFound, GradcError, GradientError, TraceError
from gradc.tracer.graph.ir import Eqn, Graph
from gradc.tracer.graph.printer import format_eqn, graph_names
from gradc.tracer.graph.types import TensorType, dtype_of
from gradc.tracer.rules.interpret import run_graph
from gradc.tracer.storage import Array, Storage
from gradc.tracer.tensor import Tensor
from gradc.tracer.trace import Trace

BACKENDS = ("c", "jax")


@dataclass
class Report:
    """What `crosscheck` found.

    Attributes:
        graph: the program all executors ran.
        names: of its outputs.
        distances: by executor (`"numpy"`, `"c"`, `"jax"`), the worst element of each output.
        wrong: by executor, the outputs that are too far from the truth.
        skipped: executors that could not be had, and why.
        failed: what each executor raised, if it did; `"float64"` for the reference itself.
        divergence: by executor, where it first departs.
        reproducer: by executor, the file that shows it.
    """

    graph: Graph
    names: list[str]
    distances: dict[str, list[Distance]] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, GradcError] = field(default_factory=dict)
    divergence: dict[str, Divergence] = field(default_factory=dict)
    reproducer: dict[str, Path] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every executor that ran agrees."""
        kinds = {type(self.failed[k]) if k in self.failed else None for k in self._ran()}
        return not self.wrong and len(kinds) <= 1

    def _ran(self) -> list[str]:
        return [*self.distances, *self.failed]

    def __str__(self) -> str:
        lines = [f"crosscheck of {self.graph.name}: {len(self.graph.eqns)} eqns"]
        lines += self._table()
        for executor, error in self.failed.items():
            lines.append(f"{executor} raised {type(error).__name__}: {error}")
        for executor, reason in self.skipped.items():
            lines.append(f"{executor} was not run: {reason}")
        for executor, outputs in self.wrong.items():
            lines.append(f"{executor} is wrong: {', '.join(outputs)}")
            if executor in self.divergence:
                lines += _describe(self.graph, executor, self.divergence[executor])
            if executor in self.reproducer:
                lines.append(f"  run {self.reproducer[executor]} to see it")
        if self.ok:
            lines.append("every executor agrees")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        if not self.distances:
            return []
        width = max(map(len, ("", *self.names)))
        rows = [f"  {'':<{width}}" + "".join(f"{k:>10}" for k in self.distances)]
        for i, name in enumerate(self.names):
            cells = "".join(f"{d[i].ulps:>10.2f}" for d in self.distances.values())
            rows.append(f"  {name:<{width}}{cells}")
        return rows


def _describe(graph: Graph, executor: str, found: Divergence) -> list[str]:
    eqn: Eqn = found.eqn
    names = graph_names(graph)
    place = f"{eqn.loc}  {eqn.loc.text}" if eqn.loc is not None else "no line of Python"
    how = "by itself" if found.alone else "after the eqns before it, though right by itself"
    return [
        f"  the first eqn that is wrong {how}: {place}",
        f"    {format_eqn(eqn, names)}",
        f"    {executor} gave {found.distance}",
    ]


# -- running --------------------------------------------------------------------------------------


def run_executor(graph: Graph, inputs: Sequence[Array], backend: str) -> list[Array]:
    """All outputs of `graph`, the new values of state among them; the inputs are not written."""
    copies = [np.array(a, order="C") for a in inputs]
    args, state = copies[: graph.n_args], [Storage(a) for a in copies[graph.n_args :]]
    fresh = iter(make_executable(graph, backend).bind(state)(args))
    for storage in state:
        storage.sync()
    written = dict(graph.aliases)
    return [copies[written[i]] if i in written else next(fresh) for i in range(len(graph.outputs))]


def crosscheck_graph(
    graph: Graph,
    inputs: Sequence[Array],
    *,
    names: Sequence[str] = (),
    backends: Sequence[str] = BACKENDS,
    folder: str | Path | None = None,
) -> Report:
    """Compare executors on a graph.

    Args:
        inputs: the arguments, then the state.
        names: of the outputs, for the report.
        backends: what to compare beside NumPy; those that are not installed are skipped.
        folder: where to write a reproducer for each executor that is wrong; None writes none.
    """
    labels = list(names) or [f"output {i}" for i in range(len(graph.outputs))]
    report = Report(graph, labels)
    try:
        truth = run_graph(widen(graph), wide_inputs(inputs))
        own = run_graph(graph, inputs)
    except GradcError as error:
        report.failed["float64"] = error
        truth, own = [], []
    for backend in ("numpy", *backends):
        _check(report, backend, inputs, truth, own)
        if report.wrong.get(backend):
            _locate(report, backend, inputs, folder)
    return report


def _check(
    report: Report, backend: str, inputs: Sequence[Array], truth: list[Array], own: list[Array]
) -> None:
    try:
        found = run_executor(report.graph, inputs, backend)
    except (CompilerNotFound, ImportError) as error:
        report.skipped[backend] = str(error).splitlines()[0]
        return
    except GradcError as error:
        report.failed[backend] = error
        return
    if not truth:
        truth = own = found
    report.distances[backend] = [worst(a, t) for a, t in zip(found, truth)]
    bad = [
        name
        for name, a, t, o in zip(report.names, found, truth, own)
        if wrong(a, t, o, program_bound(t, a.dtype))
    ]
    if bad:
        report.wrong[backend] = bad


def _locate(
    report: Report, backend: str, inputs: Sequence[Array], folder: str | Path | None
) -> None:
    def run(program: Graph, arrays: Sequence[Array]) -> list[Array]:
        return run_executor(program, arrays, backend)

    found = first_divergence(report.graph, inputs, run)
    if found is None:
        return
    report.divergence[backend] = found
    if folder is not None:
        title = f"{backend} departs from float64 at {found.eqn.loc or found.eqn.prim.name}."
        report.reproducer[backend] = write_reproducer(
            found.graph, found.inputs, backend=backend, folder=folder, title=title
        )


# -- functions ------------------------------------------------------------------------------------


def crosscheck(
    fn: Callable[..., Any],
    *args: Any,
    backends: Sequence[str] = BACKENDS,
    folder: str | Path | None = ".",
    **kwargs: Any,
) -> Report:
    """Compare executors on a function, forward and backward.

    Every floating result is differentiated with respect to every floating array among the
    arguments and every captured tensor that requires a gradient, along one random cotangent; not
    where the function has run backward itself, as a training step does.

    Args:
        fn: what could be given to `gradc.compile`.
        args, kwargs: its arguments; Python numbers are taken as constants.
        backends: what to compare beside NumPy; those that are not installed are skipped.
        folder: where to write a reproducer for each executor that is wrong; None writes none.

    Returns:
        A report; `report.ok` says whether all agree, `print(report)` shows the rest.
    """
    graph, inputs, names = trace_with_gradients(fn, args, kwargs)
    return crosscheck_graph(graph, inputs, names=names, backends=backends, folder=folder)


def trace_with_gradients(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Graph, list[Array], list[str]]:
    """The graph of `fn` and its gradients, the inputs to run it on, and its outputs' names."""
    fn = getattr(fn, "fn", fn)  # a compiled function is its Python function under a trace
    paths, leaves, tree = optree.tree_flatten_with_path((args, kwargs), none_is_leaf=True)  # type: ignore[arg-type]
    trace = Trace(getattr(fn, "__name__", "function"))
    with trace:
        arguments = _Arguments(trace)
        stand_ins = [arguments.stand_in(leaf, _name(path)) for leaf, path in zip(leaves, paths)]
        new_args, new_kwargs = optree.tree_unflatten(tree, stand_ins)
        outputs = _outputs(fn(*new_args, **new_kwargs))
        outputs |= _gradients(trace, arguments, outputs)
        traced = trace.finish(list(outputs.values()), list(outputs))
    inputs = [*arguments.arrays]
    inputs += [np.array(h.holder[h.key], h.var.type.dtype.numpy) for h in traced.hyperparameters]
    inputs += [c.tensor.array() for c in traced.captures]
    states = [f"{traced.graph.inputs[i].name or 'state'}'" for _, i in traced.graph.aliases]
    return traced.graph, inputs, [*outputs, *states]


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(p) for p in path[1:])


class _Arguments:
    """The arrays among the arguments, and what stands for them in the trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.arrays: list[Array] = []
        self.tensors: dict[int, Tensor] = {}

    def stand_in(self, leaf: Any, name: str) -> Any:
        if not isinstance(leaf, (Tensor, np.ndarray)):
            return leaf
        if id(leaf) not in self.tensors:
            array = leaf.array() if isinstance(leaf, Tensor) else leaf
            self.tensors[id(leaf)] = self.add(np.array(array, order="C"), f"arg{name}")
        return self.tensors[id(leaf)]

    def add(self, array: Array, name: str) -> Tensor:
        dtype = dtype_of(array.dtype)
        assert dtype is not None, "a tensor's dtype is one of gradc's"
        self.arrays.append(array)
        tensor = self.trace.argument(TensorType(array.shape, dtype), name)
        tensor._requires_grad = dtype.is_float
        return tensor


def _outputs(found: Any) -> dict[str, Tensor]:
    paths, leaves, _ = optree.tree_flatten_with_path(found, none_is_leaf=True)
    return {
        ".".join(("result", *map(str, path))): leaf
        for path, leaf in zip(paths, leaves)
        if isinstance(leaf, Tensor)
    }


def _gradients(
    trace: Trace, arguments: _Arguments, outputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    roots = [t for t in outputs.values() if t.requires_grad and t.dtype.is_float]
    captured = [
        (c.tensor, c.var.name or f"captured {i}")
        for i, c in enumerate(trace.captures.values())
        if c.tensor.requires_grad
    ]
    wanted = [(t, f"arg{i}") for i, t in enumerate(arguments.tensors.values()) if t.requires_grad]
    wanted += captured
    if not roots or not wanted:
        return {}
    rng = np.random.default_rng(0)
    cotangents = [
        arguments.add(np.asarray(rng.standard_normal(t.shape), t.dtype.numpy), f"cotangent{i}")
        for i, t in enumerate(roots)
    ]
    try:
        found = grad(roots, [t for t, _ in wanted], cotangents, allow_unused=True)
    except (GradientError, TraceError):
        return {}  # the function has run backward itself
    return {f"d_{n}": g for (_, n), g in zip(wanted, found) if g is not None}
