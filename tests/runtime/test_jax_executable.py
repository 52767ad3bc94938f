"""The JAX executable: its passes, and the oracle that does without them."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc.codegen.pipeline import PASSES_C, PASSES_JAX
from gradc.errors import IndexOutOfRange
from gradc.runtime.jax_executable import JaxExecutable, jax_oracle
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.rules.interpret import run_graph
from gradc.tracer.storage import Storage

PROGRAM = """
graph f(x: f32[4,3], i: i64[2]; state w: f32[3])
  forward
    a: f32[4,3] = exp(x)
    b: f32[4,3] = exp(x)
    unused: f32[4,3] = sin(x)
    c: f32[4,3] = add(a, b)
    v: f32[4,3] = broadcast(w, shape=(4,3), axes=(1,))
    d: f32[4,3] = mul(c, v)
    p: f32[2,3] = gather(d, i, axes=(0,), batch=0, wrap=True)
    n: f32[3] = add(w, w)
  return p: f32[2,3], n: f32[3]"""


def program() -> Graph:
    return parse_graph(PROGRAM).replace(n_args=2, aliases=((1, 2),))


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    return [x, np.array([3, 0]), np.array([1, 2, 3], np.float32)]


@pytest.mark.parametrize("passes", [(), PASSES_JAX, PASSES_C])
def test_passes_do_not_change_results(passes: tuple) -> None:
    x, i, w = inputs()
    expected = run_graph(program(), inputs())
    state = Storage(w)
    (found,) = JaxExecutable(program(), passes).bind([state])([x, i])
    state.sync()
    assert np.allclose(found, expected[0], rtol=1e-6)
    assert state.array.tolist() == expected[1].tolist() == [2, 4, 6]


def test_what_runs_is_smaller() -> None:
    assert len(JaxExecutable(program()).program.graph.eqns) == len(program().eqns) - 2
    assert len(JaxExecutable(program(), ()).program.graph.eqns) == len(program().eqns)


def test_what_can_fail_is_kept() -> None:
    x, _, w = inputs()
    bound = JaxExecutable(program()).bind([Storage(w)])
    with pytest.raises(IndexOutOfRange, match="index 4 is out of range for axis 0 with size 4"):
        bound([x, np.array([0, 4])])
    assert w.tolist() == [1, 2, 3]


def test_the_oracle_runs_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Graph) -> Graph:
        raise AssertionError("a pass ran")

    monkeypatch.setattr("gradc.runtime.jax_executable.PASSES_JAX", (broken,))
    forward, _ = jax_oracle(program())
    assert np.allclose(forward(*inputs())[0], run_graph(program(), inputs())[0], rtol=1e-6)


def test_a_training_step_agrees_with_the_others() -> None:
    losses = {}
    for backend in ("numpy", "c", "jax"):
        gradc.manual_seed(0)
        w = gradc.randn(3, 2, requires_grad=True)

        @gradc.compile(backend=backend)
        def step(x, w=w):
            loss = ((x @ w).tanh() + (x @ w).tanh()).square().mean()
            loss.backward()
            with gradc.no_grad():
                w -= 0.1 * w.grad
                w.grad = None
            return loss

        x = gradc.randn(5, 3)
        losses[backend] = [step(x).item() for _ in range(4)]
    assert np.allclose(losses["c"], losses["numpy"], rtol=1e-5)
    assert np.allclose(losses["jax"], losses["numpy"], rtol=1e-5)
