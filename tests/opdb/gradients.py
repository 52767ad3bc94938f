"""Gradients three ways: backward, JAX's own autodiff of the forward, and finite differences.

Samples are drawn anew, without special values: where a derivative jumps, `kinks.json` decides.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradc.runtime.jax_executable import jax_oracle
from gradc.tracer.autograd import grad
from gradc.tracer.context import no_grad
from gradc.tracer.graph.types import float64
from gradc.tracer.interpreter import as_tensor
from gradc.tracer.tensor import Tensor

from .driver import FAMILIES, QUICK_XLA, Case, Program, as_list, for_jax, samples_of
from .spec import OpSpec

STEP = 1e-6
SMALL = 400  # elements, so that what is differentiated many times is cheap


def differentiable(spec: OpSpec) -> bool:
    return spec.grad and float64 in spec.dtypes


@dataclass
class Differentiated:
    """A case with the cotangents its outputs get."""

    case: Case
    seeds: list[np.ndarray]


def smooth_samples(spec: OpSpec) -> list[list[np.ndarray]]:
    smooth = replace(spec, special=False)
    return [[np.array(a, order="C") for a in s] for s in samples_of(smooth, float64, seed=1)]


@functools.cache
def cases_of(spec: OpSpec) -> list[Differentiated]:
    """The spec's samples, each small enough to be differentiated many times."""
    samples = [s for s in smooth_samples(spec) if all(a.size <= SMALL for a in s)]
    return [seeded(Case(spec, s), k) for k, s in enumerate(samples)]


def seeded(case: Case, number: int) -> Differentiated:
    rng = np.random.default_rng(number)
    with no_grad():
        outputs = floating(case.spec.fn(*map(as_tensor, case.arrays)))
    return Differentiated(case, [rng.uniform(0.5, 1.5, t.shape) for t in outputs])


def floating(found: Any) -> list[Tensor]:
    return [t for t in as_list(found) if t.dtype.is_float]


def leaf(array: np.ndarray) -> Tensor:
    x = as_tensor(np.array(array, order="C"))
    x.requires_grad = x.dtype.is_float
    return x


def backward(
    spec: OpSpec, arrays: Sequence[np.ndarray], seeds: Sequence[np.ndarray], create_graph: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The floating inputs, and their gradients for these cotangents."""
    inputs = [leaf(a) for a in arrays]
    wanted = [x for x in inputs if x.requires_grad]
    outputs = floating(spec.fn(*inputs))
    casts = [as_tensor(s.astype(o.dtype.numpy)) for o, s in zip(outputs, seeds, strict=True)]
    pairs = [(o, s) for o, s in zip(outputs, casts) if o.requires_grad]
    if not pairs:
        return wanted, [as_tensor(np.zeros(x.shape)) for x in wanted]
    outs, cotangents = zip(*pairs)
    found = grad(outs, wanted, cotangents, create_graph=create_graph, materialize_grads=True)
    return wanted, list(found)


def gradient(d: Differentiated, arrays: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
    """Eager gradients of the floating inputs."""
    _, found = backward(d.case.spec, arrays or d.case.arrays, d.seeds, False)
    return [g.detach().array() for g in found]


# -- JAX ------------------------------------------------------------------------------------------


def jax_samples(spec: OpSpec) -> list[list[np.ndarray]]:
    """Small samples in a form that costs XLA few kernels."""
    samples = [s for s in smooth_samples(spec) if all(a.size <= SMALL for a in s)]
    return for_jax(spec, samples)


@functools.cache
def jax_gradients(family: str) -> dict[str, list[tuple[Differentiated, list[np.ndarray]]]]:
    """By spec: cases and their gradients by JAX's autodiff of one program with all of them."""
    specs = [s for s in FAMILIES[family] if differentiable(s) and not s.jax_no_gradient]
    cases = [seeded(Case(s, a), k) for s in specs for k, a in enumerate(jax_samples(s))]
    program = Program([d.case for d in cases])
    found = iter(autodiff(program, [s for d in cases for s in d.seeds]))
    result: dict[str, list[tuple[Differentiated, list[np.ndarray]]]] = {}
    for d in cases:
        count = sum(a.dtype.kind == "f" for a in d.case.arrays)
        result.setdefault(d.case.spec.name, []).append((d, [next(found) for _ in range(count)]))
    return result


def autodiff(program: Program, seeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """JAX's gradients of the program's floating arguments."""
    dtypes = [a.type.dtype for a in program.graph.outputs]
    floats = [d.numpy for d in dtypes if d.is_float]
    _, pull = jax_oracle(program.graph, QUICK_XLA)
    found = pull(program.inputs, [s.astype(d) for s, d in zip(seeds, floats, strict=True)])
    return [g for g in found[: program.graph.n_args] if g is not None]


# -- finite differences ---------------------------------------------------------------------------


def directions(d: Differentiated, seed: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(a.shape) if a.dtype.kind == "f" else None for a in d.case.arrays]


def moved(d: Differentiated, by: Sequence[np.ndarray | None], t: float) -> list[np.ndarray]:
    return [a if v is None else a + t * v for a, v in zip(d.case.arrays, by)]


def inner(grads: Sequence[np.ndarray], by: Sequence[np.ndarray | None]) -> float:
    used = [v for v in by if v is not None]
    return float(sum((g * v).sum() for g, v in zip(grads, used, strict=True)))


def first_directional(d: Differentiated) -> tuple[float, float]:
    """<gradient, v>, and the central difference along the random direction v."""
    v = directions(d, 7)

    def value(t: float) -> float:
        with no_grad():
            outputs = floating(d.case.spec.fn(*map(as_tensor, moved(d, v, t))))
        terms = [o.array() * s for o, s in zip(outputs, d.seeds, strict=True)]
        # What is made of nothing (a mean: NaN) does not move.
        return float(sum(t[np.isfinite(t)].sum() for t in terms))

    return inner(gradient(d), v), (value(STEP) - value(-STEP)) / (2 * STEP)


def second_directional(d: Differentiated) -> tuple[float, float]:
    """<d <gradient, u> / dx, v> by `create_graph`, and its central difference along v."""
    u, v = directions(d, 11), directions(d, 13)
    ends = [inner(gradient(d, moved(d, v, t)), u) for t in (STEP, -STEP)]
    numeric = (ends[0] - ends[1]) / (2 * STEP)
    wanted, first = backward(d.case.spec, d.case.arrays, d.seeds, True)
    used = [x for x in u if x is not None]
    terms = [(g * as_tensor(w)).sum() for g, w in zip(first, used) if g.requires_grad]
    if not terms:
        return 0.0, numeric
    found = grad(sum(terms[1:], terms[0]), wanted, materialize_grads=True)
    return inner([g.detach().array() for g in found], v), numeric


# -- judging --------------------------------------------------------------------------------------


def first_faults(spec: OpSpec, family: str) -> list[str]:
    """What is wrong with the spec's gradients."""
    found = []
    for d, expected in jax_gradients(family).get(spec.name, ()):
        for k, (g, e) in enumerate(zip(gradient(d), expected, strict=True)):
            size = np.abs(e).max(initial=1.0)
            if g.shape != e.shape or not np.allclose(g, e, rtol=1e-9, atol=1e-11 * size):
                found.append(f"operand {k}: {g!r}\nJAX: {e!r}\nat {d.case.arrays!r}")
    if spec.numeric:
        found += differing(spec, first_directional, 1e-5, 1e-6)
    return found


def second_faults(spec: OpSpec) -> list[str]:
    """What is wrong with the spec's second derivatives."""
    return differing(spec, second_directional, 1e-4, 1e-5)


def differing(spec: OpSpec, measure: Any, rtol: float, atol: float) -> list[str]:
    found = []
    for d in cases_of(spec):
        ours, numeric = measure(d)
        if not np.isclose(ours, numeric, rtol=rtol, atol=atol):
            found.append(f"{ours} along a direction, {numeric} by differences\nat {d.case.arrays!r}")
    return found
