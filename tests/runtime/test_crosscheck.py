"""Crosscheck: distances, the first diverging eqn under planted faults, the reproducer."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.codegen.passes.widen import widen
from gradc.runtime.compare import eqn_bound, errors, program_bound, worst, wrong
from gradc.runtime.crosscheck import crosscheck, trace_with_gradients
from gradc.runtime.divergence import beginning, first_divergence, wide_values
from gradc.runtime.reproducer import write_reproducer
from gradc.tracer import ops
from gradc.tracer.errors import ExecutionError
from gradc.tracer.graph.ir import Eqn, Graph
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.verify import verify
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.rules.interpret import run_graph

Array = np.ndarray[Any, Any]
NAN, INF = math.nan, math.inf

# -- distances ------------------------------------------------------------------------------------


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def test_distance_in_units_of_the_last_place() -> None:
    one = np.float32(1)
    found = f32(one, np.nextafter(one, np.float32(2)), 1e-45, NAN, INF)
    truth = np.array([1 + 2.0**-25, 1, 0, NAN, 1e39])
    distance = worst(found, truth)
    assert distance.at == (1,)
    assert distance.ulps == 1
    assert errors(found, truth).tolist() == [2.0**-25, 2.0**-23, found[2].item(), 0, 0]


@pytest.mark.parametrize(("found", "truth"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (INF, -INF)])
def test_what_is_not_finite_must_agree(found: float, truth: float) -> None:
    assert worst(f32(found), np.array([truth])).ulps == INF


def test_integers_are_counted() -> None:
    distance = worst(np.array([[1, 2], [3, 9]]), np.array([[1, 2], [3, 4]]))
    assert (distance.ulps, distance.at, distance.found, distance.truth) == (5, (1, 1), 9, 4)
    assert worst(np.zeros((0, 3)), np.zeros((0, 3))).ulps == 0


def test_wrong_needs_more_than_rounding() -> None:
    truth = np.array([1.0, 1e-8])
    bound = program_bound(truth, np.dtype(np.float32))
    assert not wrong(f32(1.00001, 0), truth, f32(1, 1e-8), bound)
    assert wrong(f32(1.01, 0), truth, f32(1, 1e-8), bound)
    assert not wrong(f32(1.01, 0), truth, f32(1.008, 0), bound)
    assert wrong(f32(1.01), truth, f32(1, 1), bound)
    exact = eqn_bound(np.array([3]), np.dtype(np.int64), None)
    assert wrong(np.array([4]), np.array([3]), np.array([3]), exact)


# -- the first diverging eqn ----------------------------------------------------------------------

PROGRAM = """
graph net(x: f32[4,3], w: f32[3,2], i: i64[4])
  forward
    h: f32[4,2] = dot_general(x, w, contract=((1,),(0,)), batch=((),()))
    z: f32[4,2] = broadcast(0.0, shape=(4,2), axes=())
    r: f32[4,2] = maximum(h, z)
    e: f32[4,2] = exp(r)
    s: f32[4] = reduce_sum(e, axes=(1,))
    l: f32[4] = log(s)
    p: f32[4] = gather(h, i, axes=(1,), batch=1, wrap=True)
    d: f32[4] = sub(l, p)
    q: f32[] = reduce_sum(d, axes=(0,))
  return q: f32[]"""


def inputs() -> list[Array]:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    return [x.astype(np.float32), w.astype(np.float32), np.array([0, 1, 1, 0])]


def replaced(graph: Graph, old: Primitive, new: Primitive) -> Graph:
    eqns = tuple(e.replace(prim=new) if e.prim is old else e for e in graph.eqns)
    return graph.replace(eqns=eqns)


def faulty(old: Primitive, new: Primitive) -> Callable[[Graph, Sequence[Array]], list[Array]]:
    """An executor that takes one primitive for another."""
    return lambda graph, arrays: run_graph(replaced(graph, old, new), arrays)


def test_a_right_executor_does_not_diverge() -> None:
    assert first_divergence(parse_graph(PROGRAM), inputs(), run_graph) is None


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [(ops.exp, ops.expm1, "e"), (ops.maximum, ops.minimum, "r"), (ops.log, ops.sqrt, "l"),
     (ops.sub, ops.add, "d"), (ops.reduce_sum, ops.reduce_max, "s")],
)  # fmt: skip
def test_a_faulty_primitive_is_named(old: Primitive, new: Primitive, name: str) -> None:
    found = first_divergence(parse_graph(PROGRAM), inputs(), faulty(old, new))
    assert found is not None
    assert found.alone
    assert found.eqn.output.name == name
    verify(found.graph)
    assert len(found.graph.eqns) == 1
    assert run_graph(found.graph, found.inputs)[0].shape == found.eqn.output.type.shape


def fused_wrongly(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """An executor that is wrong only where log meets reduce_sum."""
    sums = {e.output for e in graph.eqns if e.prim is ops.reduce_sum}
    eqns: list[Eqn] = []
    for e in graph.eqns:
        meets = e.prim is ops.log and e.inputs[0] in sums
        eqns.append(e.replace(prim=ops.sqrt) if meets else e)
    return run_graph(graph.replace(eqns=tuple(eqns)), arrays)


def test_a_fault_in_context_is_found_by_bisection() -> None:
    found = first_divergence(parse_graph(PROGRAM), inputs(), fused_wrongly)
    assert found is not None
    assert not found.alone
    assert found.eqn.output.name == "l"
    assert [e.prim.name for e in found.graph.eqns][-1] == "log"
    assert wrong_again(found.graph, found.inputs)


def wrong_again(graph: Graph, arrays: Sequence[Array]) -> bool:
    found, own = fused_wrongly(graph, arrays), run_graph(graph, arrays)
    return any(not np.allclose(a, b) for a, b in zip(found, own))


def test_beginnings_are_programs() -> None:
    graph = parse_graph(PROGRAM)
    for count in range(1, len(graph.eqns) + 1):
        verify(beginning(graph, count))


def test_values_in_float64_go_by_the_narrow_variables() -> None:
    graph = parse_graph(PROGRAM)
    values = wide_values(graph, inputs())
    (want,) = run_graph(widen(graph), [a.astype(np.float64) for a in inputs()[:2]] + inputs()[2:])
    assert values[graph.eqns[-1].output] == want
    assert values[graph.eqns[0].output].dtype == np.float64


# -- the reproducer -------------------------------------------------------------------------------


def test_the_reproducer_runs(tmp_path: Path) -> None:
    constant = "  forward\n    c: i64[20] = constant(value=<int64[20]>)\n"
    graph = parse_graph(PROGRAM.replace("  forward\n", constant), [np.arange(20)])
    path = write_reproducer(graph, inputs(), backend="numpy", folder=tmp_path)
    assert path.name == "crosscheck_net.py"
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    assert "every executor agrees" in done.stdout, done.stderr


def test_long_arrays_stand_beside(tmp_path: Path) -> None:
    graph = parse_graph("graph big(x: f64[9,9])\nforward\na: f64[9,9] = exp(x)\nreturn a: f64[9,9]")
    path = write_reproducer(graph, [np.full((9, 9), NAN)], backend="numpy", folder=tmp_path)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as data:
        assert np.isnan(data["input_0"]).all()


# -- functions ------------------------------------------------------------------------------------


def affine_loss(x: gradc.Tensor, w: gradc.Tensor) -> gradc.Tensor:
    return ((x @ w).tanh() ** 2).sum() + SHIFT.sum()


SHIFT = gradc.ones(3, requires_grad=True)


def tensors() -> tuple[gradc.Tensor, gradc.Tensor]:
    x, w, _ = inputs()
    return gradc.tensor(x), gradc.tensor(w)


@pytest.mark.parametrize("backend", ["numpy", "c", "jax"])
def test_a_function_and_its_gradients(backend: str) -> None:
    report = crosscheck(affine_loss, *tensors(), backends=(backend,), folder=None)
    assert report.ok, str(report)
    assert report.names == ["result", "d_x", "d_w", "d_SHIFT"]
    assert list(report.distances) == list(dict.fromkeys(["numpy", backend]))
    assert str(report).endswith("every executor agrees")
    assert list(report.autodiff) == (["d_x", "d_w", "d_SHIFT"] if backend == "jax" else [])


def test_a_training_step_is_run_on_copies() -> None:
    w = gradc.ones(3, requires_grad=True)

    def step(x: gradc.Tensor) -> gradc.Tensor:
        loss = (x * w).sum()
        loss.backward()
        with gradc.no_grad():
            w.sub_(w.grad)
            w.grad = None
        return loss

    report = crosscheck(step, gradc.ones(3), backends=("c",), folder=None)
    assert report.ok, str(report)
    assert report.names == ["result", "w'"]
    assert w.tolist() == [1, 1, 1]
    assert w.grad is None


def test_the_same_argument_twice_and_containers() -> None:
    x = gradc.ones(3)
    program = trace_with_gradients(lambda a, b, c: a * b["k"] + c, (x, {"k": x}, 2.0), {})
    assert len(program.inputs) == 3  # x, the number and the cotangent
    assert program.names == ["result", "d_a"]


def test_all_executors_raise_alike() -> None:
    def pick(x: gradc.Tensor, i: gradc.Tensor) -> gradc.Tensor:
        return x[i]

    index = gradc.tensor([7])
    report = crosscheck(pick, gradc.ones(3), index, backends=("c",), folder=None)
    assert report.ok
    assert {type(e).__name__ for e in report.failed.values()} == {"IndexOutOfRange"}
    assert "index 7 is out of range for axis 0 with size 3" in str(report)


def test_a_wrong_executor_is_reported_with_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(graph: Graph, arrays: Sequence[Array], backend: str) -> list[Array]:
        run = faulty(ops.tanh, ops.sin) if backend == "c" else run_graph
        return run(graph, arrays)

    monkeypatch.setattr("gradc.runtime.crosscheck.run_executor", planted)
    report = crosscheck(affine_loss, *tensors(), backends=("c",), folder=tmp_path)
    assert not report.ok
    assert report.divergence["c"].eqn.prim is ops.tanh
    text = str(report)
    assert "c is wrong: result, d_x, d_w" in text
    assert "return ((x @ w).tanh() ** 2).sum() + SHIFT.sum()" in text
    assert (tmp_path / "crosscheck_affine_loss.py").exists()


def test_an_executor_that_raises_alone_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(graph: Graph, arrays: Sequence[Array], backend: str) -> list[Array]:
        if backend == "c":
            raise ExecutionError("no luck")
        return run_graph(graph, arrays)

    monkeypatch.setattr("gradc.runtime.crosscheck.run_executor", planted)
    report = crosscheck(affine_loss, *tensors(), backends=("c",), folder=None)
    assert not report.ok
    assert "c raised ExecutionError: no luck" in str(report)
