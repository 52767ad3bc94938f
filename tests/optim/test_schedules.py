"""Learning-rate schedules against torch 2.13's rates, and what compiled steps make of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradc
from gradc import optim
from gradc.errors import ArgumentError

TABLE = json.loads((Path(__file__).parent / "torch_schedules.json").read_text())
SCHEDULES = {
    "step": lambda opt: optim.StepLR(opt, 3, 0.3),
    "lambda": lambda opt: optim.LambdaLR(opt, lambda epoch: 0.9**epoch),
    "cosine": lambda opt: optim.CosineAnnealingLR(opt, 5, 0.05),
    "cosine_long": lambda opt: optim.CosineAnnealingLR(opt, 40),
}


def sgd(count=1, lr=0.5):
    leaves = [gradc.zeros(1, requires_grad=True) for _ in range(count)]
    return optim.SGD([{"params": [p]} for p in leaves], lr=lr)


def rates(opt, schedule, count):
    found = []
    for _ in range(count):
        found.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_equal_torch(name):
    opt = sgd()
    found = rates(opt, SCHEDULES[name](opt), len(TABLE[name]))
    np.testing.assert_allclose(found, TABLE[name], rtol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_loaded_state_goes_on_where_it_was(name):
    opt, other = sgd(), sgd()
    schedule, again = SCHEDULES[name](opt), SCHEDULES[name](other)
    rates(opt, schedule, 4)
    again.load_state_dict(schedule.state_dict())
    assert rates(other, again, 4) == rates(opt, schedule, 4)


def test_one_function_per_group():
    opt = sgd(2)
    schedule = optim.LambdaLR(opt, [lambda e: 1.0, lambda e: 0.5**e])
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 0.25]
    with pytest.raises(ArgumentError, match="Expected 2 lr_lambdas"):
        optim.LambdaLR(opt, [lambda e: 1.0])


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_a_scheduled_step_is_compiled_once(backend):
    def train(wrap):
        p = gradc.tensor([1.0, -2.0], dtype=gradc.float64, requires_grad=True)
        opt = optim.Adam([p], lr=0.1)
        schedule = optim.CosineAnnealingLR(opt, 5)

        def step():
            opt.zero_grad()
            (p * p).sum().backward()
            opt.step()

        run = wrap(step)
        for _ in range(5):
            run()
            schedule.step()
        return p.tolist(), run

    expected, _ = train(lambda step: step)
    found, compiled = train(lambda step: gradc.compile(step, backend=backend))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert compiled.recompiles() == []
