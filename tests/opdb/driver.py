"""Running specs on every executor, many samples to one program.

All samples of a family and dtype are one graph, so one C file and one XLA program; results are cut up
again per case, and small whole numbers go through the same programs. XLA takes its time for every
kernel, so JAX gets the samples of an elementwise spec end to end, as one long vector (broadcasting is
a primitive of its own, with specs of its own), and two samples of every other spec. R0, the truth for
tolerances, is NumPy's rules on the graph widened to float64.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.codegen.passes.widen import widen
from gradc.codegen.pipeline import lower_c
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CExecutable
from gradc.runtime.jax_executable import JaxExecutable
from gradc.runtime.numpy_executable import NumpyExecutable
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
LENGTH = 256  # of a vector with the elements of all samples


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


def samples_of(spec: OpSpec, dtype: DType, seed: int = 0) -> list[list[np.ndarray]]:
    """The spec's samples in `dtype`."""
    rng = np.random.default_rng([seed, *spec.name.encode()])
    return [list(s) for s in spec.samples(rng, dtype, spec)]


def as_list(found: Any) -> list[Tensor]:
    """The tensors in nested tuples."""
    return [t for f in found for t in as_list(f)] if isinstance(found, (tuple, list)) else [found]


class Program:
    """The graph of all cases, and its results cut up again per case."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = list(cases)
        trace = Trace("batch")
        types = [[type_of(a) for a in case.arrays] for case in cases]
        outputs: list[Tensor] = []
        self.cuts: list[slice] = []
        with trace, no_grad():
            for i, case in enumerate(self.cases):
                found = as_list(
                    case.spec.fn(*(trace.argument(t, f"x{i}_{k}") for k, t in enumerate(types[i])))
                )
                self.cuts.append(slice(len(outputs), len(outputs) + len(found)))
                outputs += found
            traced = trace.finish(outputs)
        self.graph = traced.graph
        self.state = [c.tensor._storage for c in traced.captures]

    @property
    def arguments(self) -> list[np.ndarray]:
        return [np.array(a, order="C") for c in self.cases for a in c.arrays]

    @property
    def inputs(self) -> list[np.ndarray]:
        return [*self.arguments, *(s.array for s in self.state)]

    @functools.cached_property
    def jax(self) -> JaxExecutable:
        return JaxExecutable(self.graph, compiler_options=QUICK_XLA)

    def c(self, flags: tuple[str, ...]) -> CExecutable:
        module = lower_c(self.graph, verify=True)
        return CExecutable(self.graph, module, load_quickly(module, flags))

    def of(self, cases: Sequence[Case]) -> Program:
        """The same program for cases of the same types."""
        other = object.__new__(Program)
        other.__dict__.update(self.__dict__, cases=list(cases))
        return other

    def keep(self, executor: str, executable: Any) -> None:
        """Run, and give every case its results."""
        found = executable.bind(self.state)(self.arguments)
        for case, cut in zip(self.cases, self.cuts):
            case.results[executor] = found[cut]

    def keep_truth(self) -> None:
        """NumPy's rules: on the graph, and on the graph widened to float64."""
        self.keep("numpy", NumpyExecutable(self.graph))
        found = run_graph(widen(self.graph), [widened(a) for a in self.inputs])
        for case, cut in zip(self.cases, self.cuts):
            case.truth = found[cut]


def end_to_end(samples: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The samples' elements as one sample: broadcast, flat, one after the other, over and over."""
    spread = [np.broadcast_arrays(*arrays) for arrays in samples]
    longs = [np.concatenate([a.reshape(-1) for a in column]) for column in zip(*spread)]
    return [np.resize(a, max(LENGTH, a.size)) for a in longs]


def for_jax(spec: OpSpec, samples: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """The samples as JAX gets them."""
    if spec in elementwise.SPECS:
        return [end_to_end(samples)]
    return samples if len(samples) < 3 else [samples[len(samples) // 2], samples[-1]]


@functools.cache
def programs(family: str, dtype: DType) -> tuple[Program, Program]:
    """The family's samples as eager mode, NumPy and C get them, and as JAX gets them."""
    specs = [(s, samples_of(s, dtype)) for s in FAMILIES[family] if dtype in s.dtypes]
    return (
        Program([Case(s, a) for s, samples in specs for a in samples]),
        Program([Case(s, a) for s, samples in specs for a in for_jax(s, samples)]),
    )


def cases_of(program: Program, exact: bool) -> Program:
    """The program with its own cases, or with small whole numbers instead of their values."""
    return program.of([Case(c.spec, whole(c.arrays) if exact else c.arrays) for c in program.cases])


@functools.cache
def reference(family: str, dtype: DType, exact: bool = False) -> list[Case]:
    """Every case of the family with its truth, eagerly and by NumPy's rules on the graph."""
    program = cases_of(programs(family, dtype)[0], exact)
    program.keep_truth()
    for case in program.cases:
        case.results["eager"] = run_eager(case, case.arrays)
    return program.cases


@functools.cache
def through_c(family: str, dtype: DType, flags: tuple[str, ...] = QUICK_C) -> CExecutable:
    """The C of all samples; `flags` are the compiler's, behind gradc's own."""
    return programs(family, dtype)[0].c(flags)


@functools.cache
def batch(
    family: str, dtype: DType, exact: bool = False, flags: tuple[str, ...] = QUICK_C
) -> list[Case]:
    """The cases of `reference`, run once per session through C too, and those JAX gets."""
    main, shorter = programs(family, dtype)
    cases = reference(family, dtype, exact)
    main.of(cases).keep("c", through_c(family, dtype, flags))
    others = cases_of(shorter, exact)
    others.keep_truth()
    others.keep("jax", shorter.jax)
    return cases + others.cases


def load_quickly(module: Any, flags: tuple[str, ...]) -> Any:
    """The module with these flags behind gradc's own."""
    config.cflags = flags or None
    try:
        return load_module(module)
    finally:
        config.cflags = None  # back to the environment's


def type_of(array: np.ndarray) -> Any:
    return as_tensor(np.array(array, order="C")).type


def widened(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def whole(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Small whole numbers in the arrays' dtypes: sums and products of them are exact."""
    return [_whole(a) for a in arrays]


def _whole(array: np.ndarray) -> np.ndarray:
    finite = np.nan_to_num(array, nan=1, posinf=2, neginf=-2) if array.dtype.kind == "f" else array
    return np.round(np.clip(finite.astype(np.float64), -2, 2) * 2).astype(array.dtype)


def run_eager(case: Case, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The case eagerly, on these arrays as they lie in memory."""
    with no_grad():
        found = as_list(case.spec.fn(*(as_tensor(a) for a in arrays)))
    return [t.array() for t in found]


# -- judging --------------------------------------------------------------------------------------


def mismatch(case: Case, executor: str) -> str | None:
    """What is wrong with one executor's results of a case, or None."""
    return judged(case, case.results[executor], executor)


def judged(case: Case, found: list[np.ndarray], executor: str) -> str | None:
    """What is wrong with these results of a case, or None."""
    spec, own = case.spec, case.results["numpy"]
    for k, (x, n, t) in enumerate(zip(found, own, case.truth, strict=True)):
        if x.shape != n.shape or x.dtype != n.dtype:
            return f"output {k} is {x.dtype}{x.shape}, expected {n.dtype}{n.shape}"
        if executor == "jax" and spec.jax_skip:
            usual = np.all([ordinary(a) for a in case.arrays], axis=0)
            x, n, t = x[usual], n[usual], t[usual]
        if x.dtype.kind != "f" or (spec.exact and executor != "jax"):
            same = equal(x, n)
        else:
            same = close(x, t, spec, spec.jax_floor if executor == "jax" else 0.0)
        if not same.all():
            bad = tuple(int(i) for i in np.argwhere(~same)[0])
            with np.printoptions(threshold=40):
                return (
                    f"output {k} at {bad}: {x[bad]!r}, expected {n[bad]!r}, truth {t[bad]!r}"
                    f"\n{case.arrays!r}"
                )
    return None


def ordinary(array: np.ndarray) -> np.ndarray:
    """Where the elements are neither 0, 1, tiny, huge nor without a value."""
    with np.errstate(all="ignore"):
        size = np.abs(array)
    return np.isfinite(array) & (size > 1e-4) & (size != 1) & (size < 1e4)


def equal(x: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Elementwise equality, NaN being equal to NaN and 0.0 not to -0.0."""
    if x.dtype.kind != "f":
        return np.asarray(x == expected)
    nan = np.isnan(x) & np.isnan(expected)
    return np.asarray(nan | ((x == expected) & (np.signbit(x) == np.signbit(expected))))


def close(x: np.ndarray, truth: np.ndarray, spec: OpSpec, floor: float) -> np.ndarray:
    """Within a few roundings of the truth; what is not finite must be so on both sides.

    Elementwise, an element is measured by itself; elsewhere by the greatest of its result.
    """
    info = np.finfo(x.dtype)
    with np.errstate(all="ignore"):
        rounded = truth.astype(x.dtype)
        finite = np.isfinite(rounded)
        edge = finite & (np.abs(rounded) > info.max / 4)  # may round to infinity
        size = np.maximum(np.abs(rounded), floor)
        if spec not in elementwise.SPECS:
            size = np.full_like(size, size[finite & ~edge].max(initial=0.0))
        bound = 16 * info.eps * spec.slack * size + 4 * float(info.tiny)
        near = np.abs(x - truth) <= bound
    same = (x == rounded) | (np.isnan(x) & np.isnan(rounded))
    return np.asarray(np.where(edge, True, np.where(finite, near, same)))
