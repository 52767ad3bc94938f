"""Every executor on one program, measured against float64.

    print(gradc.crosscheck(step, x, y))

    crosscheck of step: 212 eqns
                           numpy             c           jax  jax autodiff
      result                0.50          0.50          1.00
      d_x                   1.00          2.00          3.00          3.00
    every executor agrees

Numbers are units in the last place, the worst of each output. Where an executor is wrong the
report names the first eqn at which it departs, with the line of the Python program, and a file
that reproduces it is written. The function is run on copies: nothing it would change is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optree

from gradc.codegen.passes.dce import dce
from gradc.codegen.passes.widen import widen
from gradc.codegen.pipeline import PASSES_C, PASSES_JAX, PASSES_NUMPY, Pass
from gradc.runtime.bisect import GradientFault, PassFault, first_faulty_gradient, first_faulty_pass
from gradc.runtime.compare import Distance, program_bound, worst, wrong
from gradc.runtime.compile import CompiledFunction
from gradc.runtime.divergence import Divergence, first_divergence, wide_inputs
from gradc.runtime.guards import Watch
from gradc.runtime.jax_executable import jax_oracle
from gradc.runtime.options import Target
from gradc.runtime.reproducer import write_reproducer
from gradc.runtime.stages import make_executable
from gradc.tracer.autograd import grad
from gradc.tracer.errors import CompilerNotFound, GradcError, GradientError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Eqn, Graph, Var
from gradc.tracer.graph.printer import format_eqn, graph_names
from gradc.tracer.graph.types import TensorType, dtype_of
from gradc.tracer.rules.interpret import run_graph
from gradc.tracer.storage import Array, Storage
from gradc.tracer.tensor import Tensor
from gradc.tracer.trace import NeedsStatic, Trace

BACKENDS = ("c", "jax")
AUTODIFF = "jax autodiff"
PASSES: dict[str, tuple[Pass, ...]] = {"c": PASSES_C, "jax": PASSES_JAX, "numpy": PASSES_NUMPY}


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
        faulty_pass: by executor, the pass that makes its program wrong.
        faulty_gradient: the eqn whose gradient rule JAX does not agree with.
        autodiff: how far JAX's own gradients are from the truth, by the gradient's name.
    """

    graph: Graph
    names: list[str]
    distances: dict[str, list[Distance]] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, GradcError] = field(default_factory=dict)
    divergence: dict[str, Divergence] = field(default_factory=dict)
    reproducer: dict[str, Path] = field(default_factory=dict)
    faulty_pass: dict[str, PassFault] = field(default_factory=dict)
    faulty_gradient: GradientFault | None = None
    autodiff: dict[str, Distance] = field(default_factory=dict)

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
            if executor == AUTODIFF:
                lines.append("  (at kinks JAX follows other conventions, see the documentation)")
                lines += _describe_gradient(self.graph, self.faulty_gradient)
            if executor in self.faulty_pass:
                lines += _describe_pass(self.faulty_pass[executor])
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
        columns = [*self.distances, *([AUTODIFF] if self.autodiff else [])]
        rows = [f"  {'':<{width}}" + "".join(f"{k:>14}" for k in columns)]
        for i, name in enumerate(self.names):
            cells = [_cell(d[i]) for d in self.distances.values()]
            if name in self.autodiff:
                cells.append(_cell(self.autodiff[name]))
            rows.append(f"  {name:<{width}}" + "".join(cells))
        return rows


def _cell(distance: Distance) -> str:
    return f"{distance.ulps:>14.2f}" if distance.ulps < 1e9 else f"{distance.ulps:>14.1e}"


def _describe(graph: Graph, executor: str, found: Divergence) -> list[str]:
    how = "by itself" if found.alone else "after the eqns before it, though right by itself"
    return [
        f"  the first eqn that is wrong {how}:",
        *_show(graph, found.eqn),
        f"    {executor} gave {found.distance}",
    ]


def _describe_pass(fault: PassFault) -> list[str]:
    by = f"its rewrite {fault.rule}" if fault.rule else "it"
    lines = [f"  pass {fault.number}, {fault.name}, makes the program wrong: {by} gave "
             f"{fault.distance}"]  # fmt: skip
    if fault.eqn is not None:
        lines += _show(fault.before, fault.eqn)
    return lines


def _describe_gradient(graph: Graph, fault: GradientFault | None) -> list[str]:
    if fault is None:
        return []
    return [
        f"  the gradient rule of {fault.eqn.prim.name} for operand {fault.operand} gave "
        f"{fault.distance}",
        *_show(graph, fault.eqn),
    ]


def _show(graph: Graph, eqn: Eqn) -> list[str]:
    names = graph_names(graph)
    names |= {v: v.name or "_" for v in eqn.outputs if v not in names}
    return [f"    {_line_of(eqn)}", f"    {format_eqn(eqn, names)}"]


def _line_of(eqn: Eqn) -> str:
    return f"{eqn.loc}  {eqn.loc.text}" if eqn.loc is not None else "no line of Python"


# -- running --------------------------------------------------------------------------------------


def run_executor(graph: Graph, inputs: Sequence[Array], backend: str) -> list[Array]:
    """All outputs of `graph`, the new values of state among them; the inputs are not written."""
    copies = [np.array(a, order="C") for a in inputs]
    args, state = copies[: graph.n_args], [Storage(a) for a in copies[graph.n_args :]]
    fresh = iter(make_executable(graph, Target(backend)).bind(state)(args))
    for storage in state:
        storage.sync()
    written = {o: i for o, i in graph.aliases if i >= graph.n_args}
    return [copies[written[i]] if i in written else next(fresh) for i in range(len(graph.outputs))]


def crosscheck_graph(
    graph: Graph,
    inputs: Sequence[Array],
    *,
    names: Sequence[str] = (),
    backends: Sequence[str] = BACKENDS,
    folder: str | Path | None = None,
    bisect: bool = True,
) -> Report:
    """Compare executors on a graph.

    Args:
        inputs: the arguments, then the state.
        names: of the outputs, for the report.
        backends: what to compare beside NumPy; those that are not installed are skipped.
        folder: where to write a reproducer for each executor that is wrong; None writes none.
        bisect: look for the pass that is at fault where an executor is wrong.
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
            if bisect:
                fault = first_faulty_pass(graph, inputs, PASSES[backend])
                if fault is not None:
                    report.faulty_pass[backend] = fault
            _locate(report, backend, inputs, folder)
    return report


def _check(
    report: Report, backend: str, inputs: Sequence[Array], truth: list[Array], own: list[Array]
) -> None:
    if backend == "jax" and find_spec("jax") is None:
        report.skipped[backend] = "JAX is not installed"
        return
    try:
        found = run_executor(report.graph, inputs, backend)
    except CompilerNotFound as error:
        report.skipped[backend] = error.what
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


@dataclass
class Program:
    """A traced function with its gradients.

    Attributes:
        inputs: the arguments, then the state.
        names: of the outputs.
        differentiated: `(output, input)` positions: the cotangent input that belongs to a result.
        gradients: `(output, input)`: this output is the gradient with respect to this input.
    """

    graph: Graph
    inputs: list[Array]
    names: list[str]
    differentiated: list[tuple[int, int]]
    gradients: list[tuple[int, int]]


def crosscheck(
    fn: Callable[..., Any],
    *args: Any,
    backends: Sequence[str] = BACKENDS,
    folder: str | Path | None = ".",
    bisect: bool = True,
    **kwargs: Any,
) -> Report:
    """Compare executors on a function, forward and backward.

    Every floating result is differentiated with respect to every floating array among the
    arguments and every captured tensor that requires a gradient, along one random cotangent; not
    where the function has run backward itself, as a training step does. With JAX, these
    gradients are also measured against JAX's own differentiation of the forward part.

    Args:
        fn: what could be given to `gradc.compile`.
        args, kwargs: its arguments, taken as `gradc.compile` takes them: Python numbers are
            run-time numbers, unless they are needed as sizes.
        backends: what to compare beside NumPy; those that are not installed are skipped.
        folder: where to write a reproducer for each executor that is wrong; None writes none.
        bisect: where one is wrong, look for the pass, or with JAX the gradient rule, at fault.

    Returns:
        A report; `report.ok` says whether all agree, `print(report)` shows the rest.
    """
    program = trace_with_gradients(fn, args, kwargs)
    report = crosscheck_graph(
        program.graph, program.inputs, names=program.names, backends=backends, folder=folder,
        bisect=bisect,
    )  # fmt: skip
    if "jax" in report.distances and program.gradients and not report.failed:
        _check_autodiff(report, program, bisect)
    return report


def _check_autodiff(report: Report, program: Program, bisect: bool) -> None:
    """Our gradients against JAX's of the same forward part."""
    graph, inputs = program.graph, program.inputs
    results = tuple(graph.outputs[o] for o, _ in program.differentiated)
    forward = dce(graph.replace(outputs=results, aliases=(), output_names=()))
    _, differentiate = jax_oracle(forward)
    found = differentiate(inputs, [inputs[i] for _, i in program.differentiated])
    own = run_graph(graph, inputs)
    truth = run_graph(widen(graph), wide_inputs(inputs))
    for output, position in program.gradients:
        name, gradient = program.names[output], found[position]
        report.autodiff[name] = worst(gradient, truth[output])
        bound = program_bound(truth[output], gradient.dtype)
        if wrong(gradient, truth[output], own[output], bound):
            report.wrong.setdefault(AUTODIFF, []).append(name)
    if bisect and AUTODIFF in report.wrong:
        report.faulty_gradient = first_faulty_gradient(forward, inputs)


def trace_with_gradients(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Program:
    """The graph of `fn` and its gradients, and the inputs to run it on."""
    static = fn.options.static if isinstance(fn, CompiledFunction) else frozenset()
    fn = fn.fn if isinstance(fn, CompiledFunction) else fn
    positions: frozenset[int] = frozenset()
    while True:
        try:
            return _trace_with_gradients(fn, args, kwargs, static, positions)
        except NeedsStatic as need:
            positions = positions | {need.position}


def _trace_with_gradients(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    static: frozenset[str],
    positions: frozenset[int],
) -> Program:
    called: Any = (tuple(args), kwargs)
    flat: tuple[list[Any], list[Any], Any] = optree.tree_flatten_with_path(
        called, none_is_leaf=True
    )
    paths, leaves, tree = flat
    trace = Trace(getattr(fn, "__name__", "function"))
    names = [_argument_name(fn, path) for path in paths]
    # Outside of the trace, where a tensor can be looked at.
    values = [
        leaf if i in positions or name.split(".", 1)[0] in static else _as_input(leaf)
        for i, (leaf, name) in enumerate(zip(leaves, names))
    ]
    trace.on_capture = Watch(fn).name_of
    with trace:
        arguments = _Arguments(trace)
        stand_ins = [
            arguments.stand_in(i, id(leaf), value, name)
            for i, (leaf, value, name) in enumerate(zip(leaves, values, names))
        ]
        new_args, new_kwargs = optree.tree_unflatten(tree, stand_ins)
        outputs = _outputs(fn(*new_args, **new_kwargs))
        results = list(outputs)
        gradients, cotangents = _gradients(trace, arguments, outputs)
        for name, (g, _) in gradients.items():
            outputs[name] = g
        traced = trace.finish(list(outputs.values()), list(outputs))
    graph, labels = traced.graph, list(outputs)
    inputs = [*arguments.arrays]
    inputs += [np.array(h.value(), h.var.type.dtype.numpy) for h in traced.hyperparameters]
    inputs += [c.tensor.array() for c in traced.captures]
    at = {var: i for i, var in enumerate(graph.inputs)}
    states = [f"{graph.inputs[i].name or 'state'}'" for _, i in graph.aliases]
    return Program(
        graph,
        inputs,
        labels + states,
        [(results.index(name), at[var]) for name, var in cotangents.items()],
        [(labels.index(name), at[var]) for name, (_, var) in gradients.items()],
    )


def _argument_name(fn: Callable[..., Any], path: tuple[Any, ...]) -> str:
    """`x`, or `batch.0` inside a container."""
    keyword, first, *rest = path
    if not keyword:
        code = getattr(fn, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code is not None else ()
        first = names[first] if first < len(names) else f"arg{first}"
    return _dotted([first, *rest])


def _dotted(path: Sequence[Any]) -> str:
    return ".".join(map(str, path))


@dataclass(frozen=True, slots=True)
class _Number:
    """A Python number, read anew at every run."""

    array: Array


def _as_input(leaf: Any) -> Any:
    """An array, a number that is read at run time, or a static value as it is."""
    if isinstance(leaf, Tensor):
        return np.array(leaf.array(), order="C")
    if isinstance(leaf, np.generic):
        return np.array(leaf)
    if type(leaf) is float or type(leaf) is int:
        return _Number(np.array(leaf, np.float64 if type(leaf) is float else np.int64))
    return leaf


class _Arguments:
    """The arrays among the arguments, and what stands for them in the trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.arrays: list[Array] = []
        self.tensors: dict[int, Tensor] = {}
        self.vars: dict[int, Var] = {}

    def stand_in(self, position: int, identity: int, value: Any, name: str) -> Any:
        """A new argument for an array, the same one for the same array; other values as is."""
        if isinstance(value, _Number):
            return self._number(position, value.array, name)
        if not isinstance(value, np.ndarray):
            return value
        if identity not in self.tensors:
            self.tensors[identity] = self.add(np.array(value, order="C"), name)
        return self.tensors[identity]

    def _number(self, position: int, array: Array, name: str) -> Tensor:
        tensor = self.add(array, name)
        tensor._weak, tensor._requires_grad = True, False
        self.trace.weak_arguments[tensor._storage] = position
        return tensor

    def add(self, array: Array, name: str) -> Tensor:
        dtype = dtype_of(array.dtype)
        assert dtype is not None, "a tensor's dtype is one of gradc's"
        self.arrays.append(array)
        tensor = self.trace.argument(TensorType(array.shape, dtype), name)
        tensor._requires_grad = dtype.is_float
        self.vars[id(tensor)] = self.trace.arguments[-1]
        return tensor


def _outputs(found: Any) -> dict[str, Tensor]:
    paths, leaves, _ = optree.tree_flatten_with_path(found, none_is_leaf=True)
    return {
        _dotted(("result", *path)): leaf
        for path, leaf in zip(paths, leaves)
        if isinstance(leaf, Tensor)
    }


def _gradients(
    trace: Trace, arguments: _Arguments, outputs: dict[str, Tensor]
) -> tuple[dict[str, tuple[Tensor, Var]], dict[str, Var]]:
    """The gradients by name with the input each belongs to; the cotangent of each result."""
    roots = {n: t for n, t in outputs.items() if t.requires_grad and t.dtype.is_float}
    wanted = [(t, arguments.vars[id(t)]) for t in arguments.tensors.values() if t.requires_grad]
    wanted += [(c.tensor, c.var) for c in trace.captures.values() if c.tensor.requires_grad]
    if not roots or not wanted:
        return {}, {}
    rng = np.random.default_rng(0)
    cotangents: dict[str, Tensor] = {}
    for name, t in roots.items():
        along = np.asarray(rng.standard_normal(known_shape(t.shape)), t.dtype.numpy)
        cotangents[name] = arguments.add(along, f"cotangent_{name}")
    try:
        found = grad(
            list(roots.values()),
            [t for t, _ in wanted],
            list(cotangents.values()),
            allow_unused=True,
        )
    except GradientError:
        return {}, {}  # the function has run backward itself
    gradients = {
        f"d_{var.name or f'captured{i}'}": (g, var)
        for i, ((_, var), g) in enumerate(zip(wanted, found))
        if g is not None
    }
    return gradients, {n: arguments.vars[id(t)] for n, t in cotangents.items()}
