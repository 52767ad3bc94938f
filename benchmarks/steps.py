"""Times of compiled functions against eager gradc and, where it is installed, `jax.jit`.

The contestants take turns within every round, so that a busy moment of the machine meets all of
them; the figure is the median of the rounds. Results are compared before anything is timed.

    python benchmarks/steps.py [--rounds N] [--only NAME]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time

import numpy as np

import gradc
import gradc.nn.functional as F
from gradc import nn, optim

HAS_JAX = importlib.util.find_spec("jax") is not None


def contestants(fn, *args):
    """The same function eagerly, in C and under JAX, as calls without arguments."""
    compiled = {"eager": fn, "c": gradc.compile(fn)}
    if HAS_JAX:
        compiled["jax"] = gradc.compile(fn, backend="jax")
    calls = {name: (lambda f=f: f(*args)) for name, f in compiled.items()}
    expected = calls["eager"]().numpy()
    for call in calls.values():
        np.testing.assert_allclose(call().numpy(), expected, rtol=1e-3, atol=1e-4)
    return calls


def dispatch():
    """x * 2 + 1 of three numbers: what a call costs by itself."""
    return contestants(lambda x: x * 2 + 1, gradc.randn(3))


def chain():
    """A chain of elementwise operations and a sum, 1024 x 1024."""
    x = gradc.randn(1024, 1024)
    return contestants(lambda x: (F.gelu(x) * gradc.exp(-x * x) + gradc.sqrt(x * x + 1)).sum(), x)


def softmax():
    """Softmax of 1024 rows of 1024."""
    return contestants(lambda x: F.softmax(x, 1), gradc.randn(1024, 1024))


def matmul():
    """512 x 512 by 512 x 512."""
    return contestants(lambda a, b: a @ b, gradc.randn(512, 512), gradc.randn(512, 512))


def mlp_step(batch):
    """Forward, backward and SGD of 784-512-512-10; every contestant has a model of its own."""

    def make(wrap):
        gradc.manual_seed(0)
        layers = nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        model = nn.Sequential(*layers)
        opt = optim.SGD(model.parameters(), lr=1e-3)

        def step(x, y):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss

        run = wrap(step)
        return lambda: run(x, y)

    x, y = gradc.randn(batch, 784), gradc.randint(10, (batch,))
    calls = {"eager": make(lambda f: f), "c": make(gradc.compile)}
    if HAS_JAX:
        calls["jax"] = make(gradc.compile(backend="jax"))
    losses = [call().item() for call in calls.values()]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    return calls


WORKLOADS = {
    "dispatch": dispatch,
    "chain": chain,
    "softmax": softmax,
    "matmul": matmul,
    "mlp_step_1": lambda: mlp_step(1),
    "mlp_step_64": lambda: mlp_step(64),
}


def time_once(call, least=0.005):
    """Seconds per call, over at least `least` seconds."""
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < least:
        result = call()
        count += 1
    # JAX returns before it is done; asking for the value waits.
    result.detach().numpy()
    return (time.perf_counter() - start) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=WORKLOADS)
    options = parser.parse_args()
    names = [options.only] if options.only else list(WORKLOADS)
    print(f"{'':12}" + "".join(f"{n:>12}" for n in ("eager", "c", "jax")) + "   microseconds")
    for name in names:
        calls = WORKLOADS[name]()
        times = {n: [] for n in calls}
        for _ in range(options.rounds):
            for n, call in calls.items():
                times[n].append(time_once(call))
        row = [f"{statistics.median(t) * 1e6:12.1f}" for t in times.values()]
        print(f"{name:12}" + "".join(row))


if __name__ == "__main__":
    main()
