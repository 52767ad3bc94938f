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

from . import elementwise, structured, windows
from .spec import OpSpec

FAMILIES = {"elementwise": elementwise.SPECS, "structured": structured.SPECS + windows.SPECS}
EXECUTORS = ("eager", "numpy", "c", "jax")


# Thousands of small programs, each run once: the compiler's time is all there is.
QUICK_C = ("-O0",)
QUICK_XLA = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@dataclass
class Case:
    """One sample of one spec, and its results: of every executor, and the truth."""

    spec: OpSpec
    arrays: list[np.ndarray]
    results: dict[str, list[np.ndarray]] = field(default_factory=dict)
    truth: list[np.ndarray] = field(default_factory=list)

    @property
    def contiguous(self) -> bool:
        """Compiled programs get row-major copies: how a sample lies in memory is lost on them."""
        return all(a.flags.c_contiguous for a in self.arrays)


def samples_of(spec: OpSpec, dtype: DType, seed: int = 0) -> list[list[np.ndarray]]:
    """The spec's samples in `dtype`."""
    rng = np.random.default_rng([seed, *spec.name.encode()])
    return [list(s) for s in spec.samples(rng, dtype, spec)]


def as_list(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, (tuple, list)) else [found]


class Program:
    """The graph of all cases, and its results cut up again per case."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        trace = Trace("batch")
        types = [[type_of(a) for a in case.arrays] for case in cases]
        outputs: list[Tensor] = []
        self.cuts: list[slice] = []
        with trace, no_grad():
            for i, case in enumerate(cases):
                found = as_list(
                    case.spec.fn(*(trace.argument(t, f"x{i}_{k}") for k, t in enumerate(types[i])))
                )
                self.cuts.append(slice(len(outputs), len(outputs) + len(found)))
                outputs += found
            traced = trace.finish(outputs)
        self.graph = traced.graph
        self.state = [c.tensor._storage for c in traced.captures]
        self.arguments = [np.array(a, order="C") for c in cases for a in c.arrays]

    @property
    def inputs(self) -> list[np.ndarray]:
        return [*self.arguments, *(s.array for s in self.state)]

    def keep(self, executor: str, executable: Any) -> None:
        """Run, and give every case its results."""
        found = executable.bind(self.state)(self.arguments)
        for case, cut in zip(self.cases, self.cuts):
            case.results[executor] = found[cut]

    def keep_truth(self) -> None:
        """NumPy's rules on the graph widened to float64."""
        found = run_graph(widen(self.graph), [widened(a) for a in self.inputs])
        for case, cut in zip(self.cases, self.cuts):
            case.truth = found[cut]


@functools.cache
def reference(family: str, dtype: DType, exact: bool = False) -> list[Case]:
    """Every case of the family with its truth, eagerly and by NumPy's rules on the graph.

    Args:
        exact: small whole numbers instead of the samples' values.
    """
    specs = [s for s in FAMILIES[family] if dtype in s.dtypes and (s.exact or s.whole or not exact)]
    cases = [Case(s, whole(a) if exact else a) for s in specs for a in samples_of(s, dtype)]
    program = Program(cases)
    program.keep("numpy", NumpyExecutable(program.graph))
    program.keep_truth()
    for case in cases:
        case.results["eager"] = run_eager(case)
    return cases


@functools.cache
def batch(
    family: str, dtype: DType, exact: bool = False, flags: tuple[str, ...] = QUICK_C
) -> list[Case]:
    """The cases of `reference`, run once per session through C and JAX too.

    Args:
        flags: the C compiler's, behind gradc's own.
    """
    cases = reference(family, dtype, exact)
    program = Program([c for c in cases if c.contiguous])
    module = lower_c(program.graph, verify=True)
    library = load_quickly(module, flags)
    program.keep("c", CExecutable(program.graph, module, library))
    program.keep("jax", JaxExecutable(program.graph, compiler_options=QUICK_XLA))
    return cases


def load_quickly(module: Any, flags: tuple[str, ...]) -> Any:
    """The module with these flags behind gradc's own."""
    config.cflags = flags or None
    try:
        return load_module(module)
    finally:
        config.cflags = None  # back to the environment's


def widened(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def whole(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Small whole numbers in the arrays' dtypes: sums and products of them are exact."""
    return [_whole(a) for a in arrays]


def _whole(array: np.ndarray) -> np.ndarray:
    finite = np.nan_to_num(array, nan=1, posinf=2, neginf=-2) if array.dtype.kind == "f" else array
    return np.round(np.clip(finite.astype(np.float64), -2, 2) * 2).astype(array.dtype)


def run_eager(case: Case) -> list[np.ndarray]:
    """The sample eagerly, on its arrays as they lie in memory."""
    with no_grad():
        found = as_list(case.spec.fn(*(as_tensor(a) for a in case.arrays)))
    return [t.array() for t in found]


def mismatch(case: Case, executor: str) -> str | None:
    """What is wrong with one executor's results of a case, or None."""
    spec = case.spec
    if executor == "jax" and spec.jax_skip and not all(np.isfinite(a).all() for a in case.arrays):
        return None
    found, own = case.results[executor], case.results["numpy"]
    for k, (x, n, t) in enumerate(zip(found, own, case.truth, strict=True)):
        if x.shape != n.shape or x.dtype != n.dtype:
            return f"output {k} is {x.dtype}{x.shape}, expected {n.dtype}{n.shape}"
        if x.dtype.kind != "f" or (spec.exact and executor != "jax"):
            same = np.array_equal(x, n, equal_nan=x.dtype.kind == "f")
        else:
            same = close(x, t, spec.slack)
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
def jax_gradients(family: str, dtype: DType) -> list[tuple[Case, list[np.ndarray], list[Any]]]:
    """Cases, cotangents, and the gradients by JAX's own autodiff of one program with all of them
    (none where JAX has no rule)."""
    rng = np.random.default_rng(3)
    cases = smooth_cases(family, dtype)
    seeds = [seeds_of(c, rng) for c in cases]
    known = [i for i, c in enumerate(cases) if c.spec.jax_grad]
    program = Program([cases[i] for i in known])
    _, pull = jax_oracle(program.graph, QUICK_XLA)
    found = iter(pull(program.inputs, [s for i in known for s in seeds[i]]))
    grads: list[list[Any]] = [[] for _ in cases]
    for i in known:
        grads[i] = [g for _ in cases[i].arrays if (g := next(found)) is not None]
    return list(zip(cases, seeds, grads))


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

