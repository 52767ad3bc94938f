"""Optimizers beyond one group of trained parameters: groups, frozen ones, closures, own classes."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
from gradc import nn, optim
from gradc.errors import ArgumentError


def leaf(*values):
    return gradc.tensor(list(values), dtype=gradc.float64, requires_grad=True)


def test_groups_have_their_own_hyper_parameters():
    a, b = leaf(1.0), leaf(1.0)
    opt = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    opt.step()
    assert a.tolist() == [0.9] and b.tolist() == [0.5]
    c = leaf(1.0)
    opt.add_param_group({"params": c, "lr": 1.0})
    c.sum().backward()
    opt.step()
    assert c.tolist() == [0.0] and len(opt.param_groups) == 3
    with pytest.raises(ArgumentError, match="more than one parameter group"):
        opt.add_param_group({"params": a})


def test_parameters_without_gradient_stay():
    a, b = leaf(1.0), leaf(1.0)
    opt = optim.AdamW([a, b], lr=0.1)
    a.sum().backward()
    opt.step()
    assert a.tolist() != [1.0] and b.tolist() == [1.0]


@pytest.mark.parametrize("backend", ["eager", "c", "numpy"])
def test_frozen_layers_stay_and_thawed_ones_move(backend):
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    opt = optim.Adam(model.parameters(), lr=0.1)

    def step(x):
        opt.zero_grad()
        model(x).sum().backward()
        opt.step()

    run = step if backend == "eager" else gradc.compile(step, backend=backend)
    before = model[0].weight.tolist()
    run(gradc.ones(3, 2))
    assert model[0].weight.tolist() == before
    model[0].requires_grad_(True)
    run(gradc.ones(3, 2))
    assert model[0].weight.tolist() != before


def test_zero_grad_fills_or_drops():
    p = leaf(1.0, 2.0)
    opt = optim.SGD([p], lr=0.1)
    (p * p).sum().backward()
    opt.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    opt.zero_grad()
    assert p.grad is None


def test_a_closure_runs_with_gradients_even_under_no_grad():
    p = leaf(3.0)
    opt = optim.SGD([p], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with gradc.no_grad():
        assert opt.step(closure).item() == 9.0
    np.testing.assert_allclose(p.tolist(), [2.4])


class SignDescent(optim.Optimizer):
    """An optimizer as a user writes one."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @gradc.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])


@pytest.mark.parametrize("backend", ["eager", "c", "numpy"])
def test_an_optimizer_of_ones_own(backend):
    p = leaf(1.0, -1.0)
    opt = SignDescent([p], lr=0.25)

    def step():
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()

    run = step if backend == "eager" else gradc.compile(step, backend=backend)
    for _ in range(3):
        run()
    assert p.tolist() == [0.25, -0.25]


def test_printing():
    assert repr(optim.SGD([leaf(1.0)], lr=0.1, momentum=0.9)) == (
        "SGD (\nParameter Group 0\n    dampening: 0.0\n    lr: 0.1\n    maximize: False\n"
        "    momentum: 0.9\n    nesterov: False\n    weight_decay: 0.0\n)"
    )


def test_a_state_dict_of_other_groups_is_an_error():
    one, two = optim.SGD([leaf(1.0)], lr=0.1), optim.SGD([leaf(1.0), leaf(2.0)], lr=0.1)
    with pytest.raises(ArgumentError, match="other parameter groups"):
        one.load_state_dict(two.state_dict())


def test_an_optimizer_state_survives_a_file(tmp_path):
    p, q = leaf(1.0, 2.0), leaf(1.0, 2.0)
    first, second = optim.Adam([p], lr=0.1, betas=(0.8, 0.9)), optim.Adam([q], lr=0.5)
    for _ in range(2):
        first.zero_grad()
        (p * p).sum().backward()
        first.step()
    gradc.save({"p": p, "opt": first.state_dict()}, tmp_path / "run.safetensors")
    loaded = gradc.load(tmp_path / "run.safetensors")
    second.load_state_dict(loaded["opt"])
    with gradc.no_grad():
        q.copy_(loaded["p"])
    assert second.param_groups[0]["betas"] == (0.8, 0.9)
    for opt, t in ((first, p), (second, q)):
        opt.zero_grad()
        (t * t).sum().backward()
        opt.step()
    assert p.tolist() == q.tolist()
