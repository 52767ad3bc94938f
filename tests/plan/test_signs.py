"""Which values are known to be never positive, and that only those are."""

import numpy as np
import pytest

import gradc
from gradc.codegen.pipeline import PASSES_C, run_passes
from gradc.codegen.plan.signs import Signs
from gradc.nn import functional as F
from gradc.tracer import ops


def operands_of_exp(fn, *arrays):
    """For each exp of a traced function: whether its operand is known to be never positive."""
    graph = run_passes(gradc.compile(fn).trace(*map(gradc.tensor, arrays)).graph, PASSES_C)
    producers = {v: e for e in graph.eqns for v in e.outputs}
    signs = Signs(producers)
    return [signs.never_positive(e.inputs[0]) for e in graph.eqns if e.prim is ops.exp]


X = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
Y = X[::-1].copy()


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, y: F.softmax(x, -1),
        lambda x, y: F.softmax(x, 0),
        lambda x, y: F.log_softmax(x, 1),
        lambda x, y: gradc.exp(-gradc.abs(x)),
        lambda x, y: gradc.exp(-(x * x) / 2.0),
        lambda x, y: gradc.exp(x - gradc.maximum(y, x)),
        lambda x, y: gradc.exp(gradc.minimum(x, gradc.zeros(()))),
        lambda x, y: gradc.exp(-gradc.abs(x).sum(0)),
        lambda x, y: gradc.exp((x - x.amax(1, keepdim=True)).T.reshape(-1)),
        lambda x, y: gradc.exp(gradc.where(y > 0, -gradc.exp(x), -(x * x))),
    ],
)
def test_never_positive(fn):
    assert operands_of_exp(fn, X, Y)[-1]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, y: gradc.exp(x),
        lambda x, y: gradc.exp(gradc.abs(x)),
        lambda x, y: gradc.exp(x - y.amax(1, keepdim=True)),
        lambda x, y: gradc.exp(x[:, :4] - x[:, :4].T.amax(1)[::-1].reshape(1, 4)),
        lambda x, y: gradc.exp(x - x.amin(1, keepdim=True)),
        lambda x, y: gradc.exp(x - 0.5 * x.amax(1, keepdim=True)),
        lambda x, y: gradc.exp(x[:4, :4] - x[:4, :4].amax(1)),  # the maxima of other rows
        lambda x, y: gradc.exp(gradc.maximum(x, gradc.zeros(()))),
        lambda x, y: gradc.exp(-(x * y)),
        lambda x, y: gradc.exp(gradc.where(y > 0, -gradc.exp(x), x)),
        lambda x, y: gradc.exp(x - gradc.nn.functional.pad(x.amax(1), (0, 2))),
    ],
)
def test_not_known(fn):
    assert not any(operands_of_exp(fn, X, Y)[-1:])


@pytest.mark.parametrize("scale", [1.0, 40.0, 1e30])
def test_kernels_with_and_without_the_fact_are_two(scale):
    """Alike but for what is known: one function for both would be wrong for one."""

    def fn(x, y):
        return gradc.exp(x - y.amax(1, keepdim=True)), gradc.exp(x - x.amax(1, keepdim=True))

    x, y = X * np.float32(scale), np.full_like(Y, -3)
    got = gradc.compile(fn)(gradc.tensor(x), gradc.tensor(y))
    with np.errstate(over="ignore"):
        wants = np.exp(x - y.max(1, keepdims=True)), np.exp(x - x.max(1, keepdims=True))
    for result, want in zip(got, wants, strict=True):
        np.testing.assert_allclose(result.numpy(), want, rtol=1e-6, atol=1e-44)
