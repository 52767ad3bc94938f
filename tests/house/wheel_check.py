"""Run by .ci/run with the wheel installed in an empty venv: gradc by itself, without extras."""

import importlib.util

import numpy as np

import gradc
from gradc import nn, optim

assert importlib.util.find_spec("jax") is None, "this venv must not have JAX"

model = nn.Linear(3, 1)
opt = optim.SGD(model.parameters(), lr=0.1)


@gradc.compile
def step(x, y):
    opt.zero_grad()
    loss = (model(x) - y).square().mean()
    loss.backward()
    opt.step()
    return loss


x = gradc.from_numpy(np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32))
y = x.sum(1, keepdim=True)
losses = [step(x, y).item() for _ in range(100)]
assert losses[-1] < 1e-2 * losses[0], losses

try:
    gradc.compile(lambda x: x, backend="jax")(x)
except gradc.errors.ArgumentError as error:
    assert "gradc[jax]" in str(error)
else:
    raise SystemExit("the missing extra was not reported")
print("the wheel works:", gradc.__version__)
