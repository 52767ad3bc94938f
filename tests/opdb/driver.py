"""Running specs on every executor, many samples to one program.

All samples of a family and dtype are one graph, so one C file and one XLA program; results are cut up
again per spec. R0, the truth for tolerances, is NumPy's rules on the graph widened to float64.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.codegen.passes.widen import widen
from gradc.codegen.pipeline import lower_c
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CExecutable
from gradc.runtime.jax_executable import JaxExecutable, jax_oracle
from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.tracer.autograd import grad
from gradc.tracer.config import config
from gradc.tracer.context import no_grad
from gradc.tracer.graph.types import DType
from gradc.tracer.interpreter import as_tensor
from gradc.tracer.rules.interpret import run_graph
from gradc.tracer.tensor import Tensor
from gradc.tracer.trace import Trace

from . import elementwise, structured
from .spec import OpSpec

FAMILIES = {"elementwise": elementwise.SPECS, "structured": structured.SPECS}
EXECUTORS = ("eager", "numpy", "c", "jax")


@dataclass
class Case:
    """One sample of one spec, and where its results lie in the batch."""

    spec: OpSpec
    arrays: list[np.ndarray]
    outputs: slice = field(default_factory=lambda: slice(0))


@dataclass
class Batch:
    """All samples of a family in one dtype: one graph, run on every executor."""

    cases: list[Case]
    results: dict[str, list[np.ndarray]]
    truth: list[np.ndarray]
    graph: Any


def samples_of(spec: OpSpec, dtype: DType, seed: int = 0) -> list[list[np.ndarray]]:
    """The spec's samples in `dtype`."""
    rng = np.random.default_rng([seed, *spec.name.encode()])
    return [list(s) for s in spec.samples(rng, dtype, spec)]


def as_list(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, (tuple, list)) else [found]


def trace_cases(cases: list[Case]) -> Any:
    """The graph of all cases."""
    case_types = [[type_of(a) for a in case.arrays] for case in cases]
    trace = Trace("batch")
    with trace, no_grad():
        outputs: list[Tensor] = []
        for i, case in enumerate(cases):
            types = case_types[i]
            inputs = [trace.argument(t, f"x{i}_{k}") for k, t in enumerate(types)]
            found = as_list(case.spec.fn(*inputs))
            case.outputs = slice(len(outputs), len(outputs) + len(found))
            outputs += found
        return trace.finish(outputs)


@functools.cache
def batch(family: str, dtype: DType, exact: bool = False) -> Batch:
    """The batch, run once per session."""
    specs = [s for s in FAMILIES[family] if dtype in s.dtypes]
    cases = [Case(s, a) for s in specs for a in samples_of(s, dtype)]
    if exact:
        cases = [Case(c.spec, [whole(a) for a in c.arrays]) for c in cases if c.spec.low < 0]
    traced = trace_cases(cases)
    graph = traced.graph
    inputs = [np.array(a, order="C") for c in cases for a in c.arrays]
    storages = [c.tensor._storage for c in traced.captures]
    module = lower_c(graph, verify=True)
    config.cflags = ("-O1",)  # thousands of small loops: seconds, not minutes
    try:
        library = load_module(module)
    finally:
        config.cflags = None
    results = {
        "eager": [r for c in cases for r in run_eager(c)],
        "numpy": NumpyExecutable(graph).bind(storages)(inputs),
        "c": CExecutable(graph, module, library).bind(storages)(inputs),
        "jax": JaxExecutable(graph).bind(storages)(inputs),
    }
    wide_inputs = [widened(a) for a in (*inputs, *(s.array for s in storages))]
    truth = run_graph(widen(graph), wide_inputs)
    return Batch(cases, results, truth, graph)


def load_quickly(module: Any) -> Any:
    """Compiled with -O1: these are thousands of small loops, each run once."""
    config.cflags = ("-O1",)
    try:
        return load_module(module)
    finally:
        config.cflags = None  # back to the environment's


def widened(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def whole(array: np.ndarray) -> np.ndarray:
    """Small whole numbers in the array's dtype: sums and products of them are exact."""
    finite = np.nan_to_num(array, nan=1, posinf=2, neginf=-2) if array.dtype.kind == "f" else array
    return np.round(np.clip(finite.astype(np.float64), -2, 2) * 2).astype(array.dtype)


def run_eager(case: Case) -> list[np.ndarray]:
    """The sample eagerly, on its arrays as they lie in memory."""
    with no_grad():
        found = as_list(case.spec.fn(*(as_tensor(a) for a in case.arrays)))
    return [t.array() for t in found]


def mismatch(case: Case, found: list[np.ndarray], batch: Batch, executor: str) -> str | None:
    """What is wrong with one executor's results of a case, or None."""
    if executor == "jax" and case.spec.jax_skip and not all(np.isfinite(a).all() for a in case.arrays):
        return None
    own = batch.results["numpy"][case.outputs]
    truth = batch.truth[case.outputs]
    for k, (x, n, t) in enumerate(zip(found, own, truth, strict=True)):
        if x.shape != n.shape or x.dtype != n.dtype:
            return f"output {k} is {x.dtype}{x.shape}, expected {n.dtype}{n.shape}"
        if x.dtype.kind != "f" or (case.spec.exact and executor != "jax"):
            same = np.array_equal(x, n, equal_nan=x.dtype.kind == "f")
        else:
            same = close(x, t, case.spec.slack)
        if not same:
            return f"output {k}: {x!r}\nexpected {n!r}\ntruth {t!r}\ninputs {case.arrays!r}"
    return None


def close(x: np.ndarray, truth: np.ndarray, slack: float) -> bool:
    """Within a few roundings of the truth; what is not finite must be so on both sides."""
    info = np.finfo(x.dtype)
    with np.errstate(all="ignore"):
        rounded = truth.astype(x.dtype)
    finite = np.isfinite(rounded)
    edge = finite & (np.abs(rounded) > info.max / 4)  # may round to infinity
    if not np.array_equal(x[~finite], rounded[~finite], equal_nan=True):
        return False
    inner = finite & ~edge
    size = np.abs(truth[inner]).max(initial=0.0) if truth.size < 200 else 1.0
    absolute = 8 * info.eps * min(size, 8.0) * slack + 2 * float(info.tiny)
    return bool(np.allclose(x[inner], truth[inner], rtol=16 * info.eps * slack, atol=absolute))


# -- gradients ------------------------------------------------------------------------------------------


def smooth_cases(family: str, dtype: DType) -> list[Case]:
    """The differentiable samples, without special values."""
    specs = [s for s in FAMILIES[family] if s.grad and dtype in s.dtypes]
    cases = []
    for spec in specs:
        for arrays in samples_of(spec, dtype, seed=1)[:8]:  # XLA's gradient program is the slow part
            plain = all(np.isfinite(a).all() and a.size < 60 for a in arrays)
            if plain and not any(a.size > 3 and set(np.unique(np.abs(a))) <= {0.0, 0.5, 1.0} for a in arrays):
                cases.append(Case(spec, arrays))
    return cases


def float_outputs(found: Any) -> list[Tensor]:
    return [t for t in as_list(found) if t.dtype.is_float]


def gradient(case: Case, seeds: list[np.ndarray], arrays: list[np.ndarray] | None = None) -> list[Any]:
    """Eager gradients of the floating inputs for these cotangents."""
    inputs = [leaf(a) for a in (arrays or case.arrays)]
    wanted = [x for x in inputs if x.requires_grad]
    outputs = float_outputs(case.spec.fn(*inputs))
    pairs = [(o, as_tensor(s)) for o, s in zip(outputs, seeds) if o.requires_grad]
    if not pairs:
        return [np.zeros(x.shape) for x in wanted]
    found = grad([o for o, _ in pairs], wanted, [s for _, s in pairs], materialize_grads=True)
    return [g.detach().array() for g in found if g is not None]


def leaf(array: np.ndarray) -> Tensor:
    x = as_tensor(np.array(array, order="C"))
    if x.dtype.is_float:
        x.requires_grad = True
    return x


def seeds_of(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    with no_grad():
        outputs = float_outputs(case.spec.fn(*(as_tensor(a) for a in case.arrays)))
    return [rng.uniform(0.5, 1.5, t.shape).astype(t.dtype.numpy) for t in outputs]


@functools.cache
def jax_gradients(family: str, dtype: DType) -> tuple[list[Case], list[list[np.ndarray]], list[list[Any]]]:
    """Cases, cotangents, and the gradients by JAX's own autodiff of one program with all of them."""
    rng = np.random.default_rng(3)
    cases = smooth_cases(family, dtype)
    traced = trace_cases(cases)
    graph = traced.graph
    assert not traced.captures or graph.n_args == sum(len(c.arrays) for c in cases)
    inputs = [np.array(a, order="C") for c in cases for a in c.arrays]
    inputs += [c.tensor._storage.array for c in traced.captures]
    seeds = [seeds_of(c, rng) for c in cases]
    cotangents = [s for group in seeds for s in group]
    _, pull = jax_oracle(graph)
    found = pull(inputs, cotangents)
    cut, position = [], 0
    for case in cases:
        part = found[position : position + len(case.arrays)]
        cut.append([g for g in part if g is not None])
        position += len(case.arrays)
    return cases, seeds, cut


def directional(case: Case, seeds: list[np.ndarray], step: float = 1e-6) -> tuple[float, float]:
    """<gradient, v> and its central difference in one random direction."""
    rng = np.random.default_rng(7)
    moves = [rng.standard_normal(a.shape) if a.dtype.kind == "f" else None for a in case.arrays]

    def value(t: float) -> float:
        moved = [a if v is None else a + t * v for a, v in zip(case.arrays, moves)]
        with no_grad():
            outputs = float_outputs(case.spec.fn(*(as_tensor(a) for a in moved)))
        return float(sum((o.array() * s).sum() for o, s in zip(outputs, seeds)))

    grads = gradient(case, seeds)
    exact = sum(float((g * v).sum()) for g, v in zip(grads, (v for v in moves if v is not None)))
    return exact, (value(step) - value(-step)) / (2 * step)


def second_directional(case: Case, seeds: list[np.ndarray], step: float = 1e-6) -> tuple[float, float]:
    """d/dt <gradient(x + t v), u>, by create_graph and by a central difference."""
    rng = np.random.default_rng(11)
    floats = [a for a in case.arrays if a.dtype.kind == "f"]
    us = [rng.standard_normal(a.shape) for a in floats]
    vs = [rng.standard_normal(a.shape) for a in floats]

    def inner(t: float) -> float:
        moves = iter(vs)
        moved = [a + t * next(moves) if a.dtype.kind == "f" else a for a in case.arrays]
        return sum(float((g * u).sum()) for g, u in zip(gradient(case, seeds, moved), us))

    inputs = [leaf(a) for a in case.arrays]
    wanted = [x for x in inputs if x.requires_grad]
    outputs = float_outputs(case.spec.fn(*inputs))
    pairs = [(o, as_tensor(s)) for o, s in zip(outputs, seeds) if o.requires_grad]
    first = grad([o for o, _ in pairs], wanted, [s for _, s in pairs], create_graph=True, materialize_grads=True)
    total = None
    for g, u in zip(first, us):
        if g is not None and g.requires_grad:
            term = (g * as_tensor(u)).sum()
            total = term if total is None else total + term
    numeric = (inner(step) - inner(-step)) / (2 * step)
    if total is None:
        return 0.0, numeric
    found = grad(total, wanted, materialize_grads=True)
    return sum(float((g.detach().array() * v).sum()) for g, v in zip(found, vs) if g is not None), numeric


def type_of(array: np.ndarray) -> Any:
    return as_tensor(np.array(array, order="C")).type

