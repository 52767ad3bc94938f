"""Optimizers against torch's numbers, eagerly and compiled.

The table was made by torch 2.13 (float64): six steps from one start with fixed gradients.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.errors import ArgumentError

TABLE = json.loads((Path(__file__).parent / "torch_optim.json").read_text())


def make(name, p):
    entry = TABLE["optim"][name]
    args = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["args"].items()}
    return getattr(optim, entry["class"])([p], **args)


def leaf():
    return gradc.tensor(np.array(TABLE["start"]), requires_grad=True)


@pytest.mark.parametrize("name", TABLE["optim"])
def test_steps_equal_torch(name):
    p = leaf()
    opt = make(name, p)
    for grad, expected in zip(TABLE["grads"], TABLE["optim"][name]["path"]):
        p.grad = gradc.tensor(np.array(grad))
        opt.step()
        np.testing.assert_allclose(p.tolist(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", TABLE["optim"])
def test_the_compiled_step_equals_torch(name):
    p = leaf()
    opt = make(name, p)

    @gradc.compile(backend="numpy")
    def step(g):
        opt.zero_grad()
        (p * g).sum().backward()
        opt.step()

    for grad, expected in zip(TABLE["grads"], TABLE["optim"][name]["path"]):
        step(np.array(grad))
        np.testing.assert_allclose(p.tolist(), expected, rtol=1e-12)
    assert step.recompiles() == []


@pytest.mark.parametrize("name", ["sgd_nesterov", "adam_amsgrad"])
def test_the_pure_form_equals_the_step(name):
    p = leaf()
    opt = make(name, p)
    params = [p.detach().clone()]
    state = opt.init(params)
    for grad, expected in zip(TABLE["grads"], TABLE["optim"][name]["path"]):
        before = params[0].tolist()
        new, state = opt.update([gradc.tensor(np.array(grad))], state, params)
        assert params[0].tolist() == before
        params = new
        np.testing.assert_allclose(params[0].tolist(), expected, rtol=1e-12)


def train(kind, backend, dtype, steps=20):
    gradc.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)).to(dtype)
    opt = {
        "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        "adam": lambda p: optim.Adam(p, lr=0.01),
        "adamw": lambda p: optim.AdamW(p, lr=0.01),
    }[kind](model.parameters())
    x, y = gradc.randn(16, 6, dtype=dtype), gradc.randint(3, (16,))

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    run = step if backend == "eager" else gradc.compile(step, backend=backend)
    losses = [run(x, y).item() for _ in range(steps)]
    return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("backend", ["c", "jax", "numpy"])
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("dtype", [gradc.float32, gradc.float64], ids=["f32", "f64"])
def test_twenty_compiled_steps_equal_eager_ones(kind, backend, dtype):
    losses, state = train(kind, "eager", dtype)
    found, other = train(kind, backend, dtype)
    tolerance = 1e-12 if dtype is gradc.float64 else 2e-5
    np.testing.assert_allclose(found, losses, rtol=tolerance)
    for name, value in state.items():
        np.testing.assert_allclose(other[name], value, rtol=tolerance, atol=tolerance)


def test_a_changed_learning_rate_does_not_compile_again():
    p = leaf()
    opt = optim.SGD([p], lr=0.5)

    @gradc.compile(backend="numpy")
    def step():
        opt.zero_grad()
        p.sum().backward()
        opt.step()

    before = np.array(p.tolist())
    step()
    opt.param_groups[0]["lr"] = 0.25
    step()
    np.testing.assert_allclose(p.tolist(), before - 0.75)
    assert step.recompiles() == []


def test_a_weight_decay_that_was_zero_compiles_again():
    p = leaf()
    opt = optim.SGD([p], lr=0.5)

    @gradc.compile(backend="numpy")
    def step():
        opt.zero_grad()
        p.sum().backward()
        opt.step()

    step()
    opt.param_groups[0]["weight_decay"] = 0.1
    before = np.array(p.tolist())
    step()
    np.testing.assert_allclose(p.tolist(), before - 0.5 * (1 + 0.1 * before))
    assert len(step.recompiles()) == 1


def test_state_dict_round_trip():
    p, q = leaf(), leaf()
    first, second = make("adam", p), make("adam", q)
    for grad in TABLE["grads"][:3]:
        p.grad = gradc.tensor(np.array(grad))
        first.step()
    with gradc.no_grad():
        q.copy_(p)
    second.load_state_dict(first.state_dict())
    for opt, t in ((first, p), (second, q)):
        t.grad = gradc.tensor(np.array(TABLE["grads"][3]))
        opt.step()
    assert p.tolist() == q.tolist()


def test_mistakes_are_errors():
    p = leaf()
    with pytest.raises(ArgumentError, match="empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ArgumentError, match="non-leaf"):
        optim.SGD([p * 2], lr=0.1)
    with pytest.raises(ArgumentError, match="Invalid learning_rate"):
        optim.SGD([p], lr=-1.0)
    with pytest.raises(ArgumentError, match="Nesterov"):
        optim.SGD([p], lr=0.1, nesterov=True)
    with pytest.raises(ArgumentError, match="Invalid beta"):
        optim.Adam([p], betas=(1.0, 0.9))


def test_schedules():
    opt = optim.SGD([leaf()], lr=1.0)
    schedule = optim.StepLR(opt, step_size=2, gamma=0.5)
    rates = []
    for _ in range(5):
        rates.append(opt.param_groups[0]["lr"])
        schedule.step()
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]
    cosine = optim.CosineAnnealingLR(optim.SGD([leaf()], lr=1.0), T_max=2)
    cosine.step()
    assert cosine.get_last_lr() == [pytest.approx(0.5)]
    assert optim.LambdaLR(opt, lambda e: 3.0).get_last_lr() == [3.0]
