"""Derivatives of gradients that went through a compiled function: as without compiling."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc.autograd import Function, grad
from gradc.errors import GradientError

BACKENDS = ["numpy", "c", "jax"]


@pytest.fixture(params=BACKENDS)
def compiled(request):
    return lambda fn, **options: gradc.compile(fn, backend=request.param, **options)


def derivatives(f, x, count=3):
    """The first derivatives of a scalar function, one after the other."""
    found, y = [], f(x)
    for _ in range(count):
        (y,) = grad(y.sum(), [x], create_graph=True)
        found.append(y.detach().numpy())
    return found


def test_all_orders(compiled):
    def f(x):
        return (x.sin() * x.exp()).sum()

    x = gradc.tensor([0.3, -0.7], dtype=gradc.float64, requires_grad=True)
    for a, b in zip(derivatives(compiled(f), x), derivatives(f, x)):
        assert np.allclose(a, b, rtol=1e-12)


def test_what_was_detached_inside_stays_detached(compiled):
    def f(x):
        return (x.detach() * x * x).sum()

    x = gradc.tensor([2.0], requires_grad=True)
    eager, found = derivatives(f, x, 2), derivatives(compiled(f), x, 2)
    assert [d.tolist() for d in eager] == [d.tolist() for d in found] == [[8.0], [4.0]]


def test_own_rules_are_followed(compiled):
    class Odd(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x * x * x

    x = gradc.tensor([2.0], requires_grad=True)
    found = derivatives(compiled(lambda x: Odd.apply(x).sum()), x, 2)
    assert [d.tolist() for d in found] == [[8.0], [12.0]]


def test_a_gradient_penalty(compiled):
    """The derivative goes to captured parameters, through an argument with a history."""

    def penalty(wrap):
        gradc.manual_seed(0)
        w = gradc.randn(3, 4, requires_grad=True)
        v = gradc.randn(3, requires_grad=True)
        f = wrap(lambda h: ((h @ w).tanh() * 2.0).sum())
        h = gradc.ones(2, 3) * v * v
        y = f(h)
        (g,) = grad(y, [h], create_graph=True)
        ((g * g).sum() + y).backward()
        return w.grad.numpy(), v.grad.numpy()

    for a, b in zip(penalty(compiled), penalty(lambda fn: fn)):
        assert np.allclose(a, b, rtol=1e-5)


def test_a_parameter_on_both_sides(compiled):
    """It is captured, and the argument was made of it: each way counts once."""

    def second(wrap):
        w = gradc.tensor([1.5, -0.5], dtype=gradc.float64, requires_grad=True)
        f = wrap(lambda h: (h * h * w).sum())
        y = f(w.exp())
        (g,) = grad(y, [w], create_graph=True)
        (g2,) = grad(g.square().sum(), [w])
        return g.detach().numpy(), g2.numpy()

    for a, b in zip(second(compiled), second(lambda fn: fn)):
        assert np.allclose(a, b, rtol=1e-12)


def test_several_results_and_containers(compiled):
    def f(d):
        return {"a": d["x"] ** 3, "n": 1.0, "b": (d["x"].exp(), d["k"])}

    def run(wrap):
        x = gradc.tensor([0.5], requires_grad=True)
        found = wrap(f)({"x": x, "k": 2.0})
        (g,) = grad(found["a"].sum() + found["b"][0].sum(), [x], create_graph=True)
        return grad(g.sum(), [x])[0].item()

    assert np.isclose(run(compiled), run(lambda fn: fn), rtol=1e-6)


def test_backward_with_create_graph(compiled):
    x = gradc.tensor([2.0], requires_grad=True)
    compiled(lambda x: (x ** 3).sum())(x).backward(create_graph=True)
    first = x.grad
    (second,) = grad(first.sum(), [x])
    assert (first.item(), second.item()) == (12.0, 12.0)


def test_first_order_stays_compiled(compiled):
    runs = compiled(lambda x: (x * x).sum())
    x = gradc.ones(2, requires_grad=True)
    y = runs(x)
    runs.last.staged.fn = None  # calling Python would raise
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


# -- what is refused ------------------------------------------------------------------------------


def caught(call, words):
    with pytest.raises(GradientError, match=words) as found:
        call()
    assert "compute the inner gradient inside" in str(found.value)


def test_a_function_that_writes(compiled):
    count = gradc.zeros(1)

    def f(x):
        count.add_(1.0)
        return (x * x * count).sum()

    x = gradc.ones(1, requires_grad=True)
    y = compiled(f)(x)
    caught(lambda: grad(y, [x], create_graph=True), "changes state")


def test_state_that_was_written_since(compiled):
    w = gradc.ones(2)
    f = compiled(lambda x: (x * x * w).sum())
    x = gradc.ones(2, requires_grad=True)
    y = f(x)
    w.mul_(2.0)
    caught(lambda: grad(y, [x], create_graph=True), "written since")


def test_donated_arguments(compiled):
    w = gradc.ones(2, requires_grad=True)
    y = compiled(lambda x: (w * w * x).sum(), donate_argnames="x")(gradc.ones(2))
    caught(lambda: grad(y, [w], create_graph=True), "were donated")
    assert grad(y, [w])[0].tolist() == [2.0, 2.0]


SCALE = 2.0


def test_a_global_that_changed_since(compiled):
    global SCALE
    SCALE = 2.0
    f = compiled(lambda x: (x * x * SCALE).sum())
    x = gradc.ones(2, requires_grad=True)
    y = f(x)
    SCALE = 3.0
    caught(lambda: grad(y, [x], create_graph=True), "what it read has changed")
    assert grad(y, [x])[0].tolist() == [4.0, 4.0]


def test_a_graph_that_was_freed(compiled):
    x = gradc.ones(2, requires_grad=True)
    y = compiled(lambda x: (x * x).sum())(x)
    y.backward()
    with pytest.raises(GradientError, match="second time"):
        grad(y, [x], create_graph=True)
