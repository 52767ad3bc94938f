"""`checks=`: the first operation that makes a NaN or an infinity is named, and nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.errors import ArgumentError, IndexOutOfRange, NotFinite, NotSupported

BACKENDS = ["numpy", "c", "jax"]


@pytest.fixture(params=BACKENDS)
def watched(request):
    def wrap(fn, checks="nan", **options):
        return gradc.compile(fn, backend=request.param, checks=checks, **options)

    return wrap


def caught(call, line):
    """The message of the NotFinite that `call` raises, which must name a line with this text."""
    with pytest.raises(NotFinite) as found:
        call()
    assert isinstance(found.value, FloatingPointError)
    assert line in found.value.loc.text
    return str(found.value)


def test_the_first_operation_that_makes_a_nan(watched):
    def f(x):
        y = x - 1.0
        z = y.log()  # the culprit
        return (z * 2.0).sum()

    f = watched(f)
    assert np.isclose(f(gradc.tensor([2.0, 3.0])).item(), 2 * np.log(2), rtol=1e-5)
    text = caught(lambda: f(gradc.tensor([2.0, 0.5])), "# the culprit")
    assert "made NaN: log" in text
    assert f(gradc.tensor([2.0, 2.0])).item() == 0.0


@pytest.mark.parametrize("dtype", [gradc.float32, gradc.float64])
def test_infinities(watched, dtype):
    f = watched(lambda x: (1.0 / x).sum(), "inf")
    assert f(gradc.ones(2, dtype=dtype)).item() == 2.0
    assert "made an infinity: div" in caught(lambda: f(gradc.zeros(2, dtype=dtype)), "1.0 / x")
    assert np.isnan(f(gradc.full((2,), float("nan"), dtype=dtype)).item())
    only_nan = watched(lambda x: (1.0 / x).sum(), "nan")
    assert only_nan(gradc.zeros(2, dtype=dtype)).item() == float("inf")


def test_both(watched):
    f = watched(lambda x, y: (x / y, x.exp()), ("nan", "inf"))
    caught(lambda: f(gradc.zeros(1), gradc.zeros(1)), "x / y")
    assert "infinity: exp" in caught(lambda: f(gradc.full((1,), 1e4), gradc.ones(1)), "x.exp()")


def test_what_comes_in_is_not_made(watched):
    f = watched(lambda x: (x * 2.0 + 1.0).sum() @ x[0] if x.ndim > 1 else (x * 2.0).sum())
    assert np.isnan(f(gradc.tensor([float("nan"), 1.0])).item())


def test_masks_of_infinity_are_no_fault(watched):
    def attention(scores, mask):
        return F.softmax(gradc.where(mask, scores, float("-inf")), -1)

    f = watched(attention, ("nan", "inf"))
    mask = gradc.tensor([[True, False], [True, True]])
    assert f(gradc.zeros(2, 2), mask).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    caught(lambda: f(gradc.zeros(2, 2), mask & False), "softmax")


def test_sums_and_products(watched):
    f = watched(lambda x, y: (x @ y).sum())
    inf = float("inf")
    assert f(gradc.ones(2, 2), gradc.ones(2, 2)).item() == 8.0
    x = gradc.tensor([[inf, -inf], [0.0, 0.0]])
    assert "dot_general" in caught(lambda: f(x, gradc.ones(2, 2)), "x @ y")
    g = watched(lambda x: x.sum())
    assert "reduce_sum" in caught(lambda: g(x), "x.sum()")


def test_made_in_backward_of_a_step(watched):
    w = gradc.tensor([0.0, 1.0], requires_grad=True)
    opt = optim.SGD([w], lr=0.1, momentum=0.9)
    before = [w.tolist(), opt.state_dict()["state"]]

    def step(x):
        opt.zero_grad()
        loss = (w.sqrt() * x).sum()  # 0 * inf in backward
        loss.backward()
        opt.step()
        return loss

    step = watched(step)
    text = caught(lambda: step(gradc.tensor([0.0, 1.0])), "# 0 * inf in backward")
    assert "the backward of this line made NaN" in text
    assert w.tolist() == before[0]
    with gradc.no_grad():
        w.fill_(1.0)
    step(gradc.tensor([1.0, 1.0]))
    assert np.allclose(w.tolist(), 0.95)


def test_made_in_backward_of_a_result(watched):
    w = gradc.tensor([0.0, 1.0], requires_grad=True)
    f = watched(lambda x: (w.sqrt() * x).sum())
    loss = f(gradc.tensor([0.0, 1.0]))
    assert loss.item() == 1.0
    assert "the backward of this line" in caught(loss.backward, "w.sqrt()")
    assert w.grad is None


def test_parameters_stay_after_a_bad_step(watched):
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    opt = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    step = watched(step, ("nan", "inf"))
    x, y = gradc.randn(5, 4), gradc.randint(3, (5,))
    step(x, y)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(NotFinite):
        step(x * 1e38 * 1e3, y)
    assert all((model.state_dict()[k] == v).all().item() for k, v in kept.items())
    assert np.isfinite(step(x, y).item())


def test_index_checks_are_always_on(watched):
    f = watched(lambda x, i: x[i].sqrt())
    with pytest.raises(IndexOutOfRange):
        f(gradc.ones(3), gradc.tensor([3]))
    caught(lambda: f(-gradc.ones(3), gradc.tensor([2])), "sqrt")


def test_exported_programs_check_too(tmp_path):
    f = gradc.compile(lambda x: x.log(), checks="nan")
    gradc.aot.export(f, (gradc.ones(2),), tmp_path, name="logs")
    program = gradc.aot.load(tmp_path)
    assert program(gradc.ones(2)).tolist() == [0.0, 0.0]
    caught(lambda: program(gradc.tensor([1.0, -1.0])), "x.log()")
    assert json.loads((tmp_path / "logs.json").read_text())["checks"]


def test_without_checks_nan_is_a_result():
    assert np.isnan(gradc.compile(lambda x: x.log())(gradc.tensor(-1.0)).item())


def test_names_are_checked():
    with pytest.raises(ArgumentError, match="'inff' is none of nan, inf"):
        gradc.compile(lambda x: x, checks="inff")
    with pytest.raises(ArgumentError, match="always made"):
        gradc.compile(lambda x: x, checks=("nan", "index"))


def test_dynamic_says_what_to_do():
    with pytest.raises(NotSupported, match="every size is compiled once"):
        gradc.compile(lambda x: x, dynamic={"x": {0: "batch"}})
