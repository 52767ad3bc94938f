"""Crosscheck's way to what is at fault: a pass, a rewrite, a gradient rule, a kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gradc
from gradc.codegen.loops import scalar as scalar_rules
from gradc.codegen.loops.ir import Call
from gradc.codegen.passes import simplify as simplify_module
from gradc.codegen.passes.dce import dce
from gradc.codegen.passes.rewrite import Rewriter
from gradc.codegen.pipeline import PASSES_C
from gradc.runtime import bisect, crosscheck
from gradc.runtime.bisect import first_faulty_gradient, first_faulty_pass
from gradc.runtime.crosscheck import trace_with_gradients
from gradc.tracer import ops
from gradc.tracer.graph.ir import Atom, Eqn, Graph
from gradc.tracer.record import Rules


def network(x: gradc.Tensor, w: gradc.Tensor) -> gradc.Tensor:
    h = (x @ w).tanh()
    s = h.exp() * h  # exp meets mul
    return s.sum() / 3.0


def data() -> tuple[gradc.Tensor, gradc.Tensor]:
    gradc.manual_seed(0)
    return gradc.randn(4, 3), gradc.randn(3, 2)


def program() -> tuple[Graph, list[Any]]:
    traced = trace_with_gradients(network, data(), {})
    return traced.graph, traced.inputs


# -- passes ---------------------------------------------------------------------------------------


def exp_to_expm1(graph: Graph) -> Graph:
    """A pass that is wrong."""
    eqns = tuple(e.replace(prim=ops.expm1) if e.prim is ops.exp else e for e in graph.eqns)
    return graph.replace(eqns=eqns)


def test_right_passes_are_right() -> None:
    assert first_faulty_pass(*program(), PASSES_C) is None


def test_a_wrong_pass_is_named() -> None:
    found = first_faulty_pass(*program(), (*PASSES_C[:3], exp_to_expm1, *PASSES_C[3:]))
    assert found is not None
    assert (found.name, found.number, found.rule) == ("exp_to_expm1", 3, None)
    assert found.eqn is not None
    assert found.eqn.prim is ops.exp
    assert "# exp meets mul" in found.eqn.loc.text


def wrong_rule(rw: Rewriter, eqn: Eqn) -> Atom | None:
    """exp(x) * y -> exp(x) + y. Not so."""
    if rw.producer(eqn.inputs[0], ops.exp) is None:
        return None
    return rw.emit(ops.add, *eqn.inputs)


@pytest.fixture
def planted_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {p: list(r) for p, r in simplify_module.RULES._rules.items()}
    rules[ops.mul] = [*rules[ops.mul], wrong_rule]
    monkeypatch.setattr(simplify_module.RULES, "_rules", rules)


@pytest.mark.usefixtures("planted_rule")
def test_a_wrong_rewrite_is_named() -> None:
    found = first_faulty_pass(*program(), PASSES_C)
    assert found is not None
    assert (found.name, found.rule) == ("simplify", "wrong_rule")
    assert found.eqn is not None
    assert "# exp meets mul" in found.eqn.loc.text


@pytest.mark.usefixtures("planted_rule")
def test_the_front_end_tells(tmp_path: Path) -> None:
    report = gradc.crosscheck(network, *data(), backends=("c",), folder=tmp_path)
    assert not report.ok
    assert report.faulty_pass["c"].rule == "wrong_rule"
    text = str(report)
    assert "simplify, makes the program wrong: its rewrite wrong_rule gave" in text
    assert "s = h.exp() * h  # exp meets mul" in text
    assert "test_bisect.py" in text
    without = gradc.crosscheck(network, *data(), backends=("c",), folder=None, bisect=False)
    assert without.faulty_pass == {}
    assert not without.ok


# -- kernels --------------------------------------------------------------------------------------


def test_a_wrong_kernel_is_no_fault_of_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scalar_rules.scalar._cells, ops.tanh, lambda x: Call("sin", (x,), x.dtype))
    report = gradc.crosscheck(network, *data(), backends=("c",), folder=tmp_path)
    assert not report.ok
    assert report.faulty_pass == {}
    found = report.divergence["c"]
    assert found.alone
    assert found.eqn.prim is ops.tanh
    assert "h = (x @ w).tanh()" in str(report)
    # The file needs nothing of this test; where the fault is not planted it finds none.
    done = subprocess.run(
        [sys.executable, str(report.reproducer["c"])],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert "every executor agrees" in done.stdout, done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    again = crosscheck.crosscheck_graph(found.graph, found.inputs, backends=("c",))
    assert again.wrong["c"]


# -- gradient rules -------------------------------------------------------------------------------


@pytest.fixture
def planted_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Rules((lambda g, out: ops.mul(g, out),))
    real = bisect.rules_of

    def planted(prim: Any) -> Any:
        return wrong if prim is ops.tanh else real(prim)

    for module in ("gradc.runtime.bisect", "gradc.tracer.interpreter"):
        monkeypatch.setattr(f"{module}.rules_of", planted)


def forward(fn: Any = network, *args: gradc.Tensor) -> tuple[Graph, list[Any]]:
    traced = trace_with_gradients(fn, args or data(), {})
    graph = traced.graph.replace(outputs=traced.graph.outputs[:1], output_names=())
    return dce(graph), traced.inputs


def test_right_gradient_rules_agree_with_jax() -> None:
    assert first_faulty_gradient(*forward()) is None


@pytest.mark.usefixtures("planted_gradient")
def test_a_wrong_gradient_rule_is_named() -> None:
    found = first_faulty_gradient(*forward())
    assert found is not None
    assert found.eqn.prim is ops.tanh
    assert found.operand == 0


@pytest.mark.usefixtures("planted_gradient")
def test_and_the_front_end_names_its_line() -> None:
    report = gradc.crosscheck(network, *data(), backends=("jax",), folder=None)
    assert set(report.wrong) == {crosscheck.AUTODIFF}
    assert report.faulty_gradient is not None
    text = str(report)
    assert "the gradient rule of tanh for operand 0 gave" in text
    assert "h = (x @ w).tanh()" in text


def test_every_differentiable_cell_can_be_judged() -> None:
    """Literals, several operands and outputs that need no gradient go through."""

    def mixed(x: gradc.Tensor) -> gradc.Tensor:
        picked = x[gradc.tensor([1, 0])].clamp(min=-1.0)
        return gradc.where(picked > 0, picked * 2.0, picked.exp()).sum()

    graph, inputs = forward(mixed, gradc.tensor([0.3, -0.4, 0.1]))
    assert {ops.gather, ops.select, ops.exp} <= {e.prim for e in graph.eqns}
    assert first_faulty_gradient(graph, inputs) is None


# -- numbers --------------------------------------------------------------------------------------


def test_numbers_are_inputs() -> None:
    traced = trace_with_gradients(lambda x, k: x * k, (gradc.ones(3), 2.5), {})
    k = traced.graph.inputs[1]
    assert (k.name, str(k.type)) == ("k", "f64[]")
    assert traced.inputs[1] == 2.5
    assert traced.names == ["result", "d_x"]
    report = gradc.crosscheck(lambda x, k: x * k, gradc.ones(3), 2.5, folder=None)
    assert report.ok, str(report)


def test_a_number_used_as_a_size_is_static() -> None:
    def tiled(x: gradc.Tensor, n: int, scale: float) -> gradc.Tensor:
        return x.reshape(n, -1) * scale

    traced = trace_with_gradients(tiled, (gradc.ones(6), 2, 0.5), {})
    assert [v.name for v in traced.graph.inputs[:2]] == ["x", "scale"]
    report = gradc.crosscheck(tiled, gradc.ones(6), 2, 0.5, backends=("c",), folder=None)
    assert report.ok, str(report)


def test_static_names_of_a_compiled_function_stay_static() -> None:
    f = gradc.compile(lambda x, p: x * p if p > 1 else x, static_argnames="p")
    report = gradc.crosscheck(f, gradc.ones(3), 2.0, backends=("c",), folder=None)
    assert report.ok, str(report)
    assert len(report.graph.inputs) == 2  # x and the cotangent


def test_a_number_does_not_promote() -> None:
    traced = trace_with_gradients(lambda x, k: x + k, (gradc.ones(2), 3.0), {})
    assert str(traced.graph.outputs[0].type) == "f32[2]"
