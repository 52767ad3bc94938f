"""Random models compiled whole, thresholds lowered so that small ones take every way: attention,
recurrence, concatenations, state replaced between products. As called, and the same bits on any
number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.codegen.passes import recompute, stack
from gradc.codegen.plan import chain, panels, tiling, work
from gradc.nn import functional as F

Arrays = list[Any]
Model = tuple[Callable[..., Any], Arrays]


@pytest.fixture
def thresholds(monkeypatch, tmp_path):
    """A function that draws thresholds."""
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    before = gradc.get_num_threads()

    def draw(rng) -> None:
        for module, name, values in (
            (chain, "LEAST_CELLS", (1, 2, 8)), (chain, "NEAR_BYTES", (64, 1024, 1 << 18)),
            (chain, "LEAST_ROWS", (1, 2, 64)), (chain, "WINDOW_BYTES", (1 << 12, 1 << 25)),
            (recompute, "LARGE_BYTES", (1, 1 << 60)), (stack, "ENOUGH", (5, 20, 512)),
            (panels, "LEAST_BYTES", (1,)), (panels, "LEAST_PRODUCTS", (1, 2, 4)),
            (work, "KERNEL_NS", (0.3, 1000)), (work, "TASK_NS", (0.2, 300)),
            (work, "THREAD_NS", (0.5,)), (tiling, "NEAR_BYTES", (1, 32768)),
            (tiling, "UNPACKED_ROWS", (0, 4)), (tiling, "ROWS", (2, 3, 8)),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, values[rng.integers(len(values))])

    yield draw
    gradc.set_num_threads(before)


def attention(rng) -> Model:
    """Scores with a mask or not, probabilities given back or not, differentiated once or twice."""
    batch, heads, rows, columns, width = (int(rng.integers(1, n)) for n in (5, 5, 40, 40, 12))
    masked, returned, twice = rng.random(3) < 0.4
    seen = gradc.tensor(rng.random((rows, columns)) < 0.7)

    def model(q, k, v, g):
        q, k, v = (t.detach().requires_grad_() for t in (q, k, v))
        scores = q @ k.transpose(-1, -2) * 0.3
        if masked:
            scores = gradc.where(seen, scores, gradc.tensor(-1e9, dtype=gradc.float64))
        p = gradc.softmax(scores, -1)
        o = p @ v
        if not twice:
            found = gradc.autograd.grad((o * g).sum(), [q, k, v])
        else:
            (slope,) = gradc.autograd.grad((o * g).sum(), [q], create_graph=True)
            found = gradc.autograd.grad((slope * slope).sum(), [q, k, v])
        return (o, p, *found) if returned else (o, *found)

    shapes = ((rows, width), (columns, width), (columns, width), (rows, width))
    return model, [rng.normal(size=(batch, heads, *s)) * 0.3 for s in shapes]


def transformer(rng) -> Model:
    """Attention between projections, so that heads are slices of one product."""
    batch, t, heads, d = (int(rng.integers(1, n)) for n in (4, 30, 5, 9))
    causal, active = rng.random(2) < 0.5

    def model(x, w, o, y):
        w, o = w.detach().requires_grad_(), o.detach().requires_grad_()
        q, k, v = (x @ w).reshape(batch, t, 3, heads, d).permute(2, 0, 3, 1, 4)
        if active:
            q, k = q.tanh(), F.relu(k)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=bool(causal))
        loss = ((found.transpose(1, 2).reshape(batch, t, heads * d) @ o - y) ** 2).mean()
        return loss, *gradc.autograd.grad(loss, [w, o])

    n = heads * d
    shapes = ((batch, t, n), (n, 3 * n), (n, n), (batch, t, n))
    return model, [rng.normal(size=s) * 0.3 for s in shapes]


def recurrent(rng) -> Model:
    """A loop over steps whose weights all of them share, and a product of all its states."""
    steps, batch, width, size, last = (int(rng.integers(1, n)) for n in (12, 20, 30, 40, 20))
    kind, backwards, returned = int(rng.integers(4)), rng.random() < 0.3, rng.random() < 0.5

    def step(x, h, w, u):
        if kind == 0:
            return gradc.tanh(x @ w + h @ u)
        if kind == 1:
            return gradc.sigmoid(x @ w) * h + gradc.tanh(h @ u)
        if kind == 2:
            return gradc.tanh(x @ w + h @ u + h @ u.T)
        return gradc.tanh(gradc.cat([x, h], 1) @ gradc.cat([w, u], 0))

    def model(x, w, u, c, y):
        w, u = w.detach().requires_grad_(), u.detach().requires_grad_()
        h, states = gradc.zeros(batch, size, dtype=gradc.float64), []
        for t in range(steps):
            h = step(x[steps - 1 - t] if backwards else x[t], h, w, u)
            states.append(h)
        all_states = gradc.stack(states) if kind % 2 else gradc.cat(states)
        z = all_states.reshape(steps * batch, size) @ c
        loss = (z * z).sum() + (h * y).sum()
        found = loss, *gradc.autograd.grad(loss, [w, u])
        return (*found, all_states, states[0]) if returned else found

    shapes = ((steps, batch, width), (width, size), (size, size), (size, last), (batch, size))
    return model, [rng.normal(size=s) * 0.3 for s in shapes]


def concatenated(rng) -> Model:
    """Parts that are computed, given, constant, given back, given twice, or parts of parts."""
    width, columns = int(rng.integers(1, 24)), int(rng.integers(1, 40))
    parts = [(int(rng.integers(6)), int(rng.integers(1, 13))) for _ in range(rng.integers(2, 7))]

    def model(a, b, m):
        e, h = gradc.exp(a * 0.1), gradc.tanh(b)
        choices = [e, h, a, gradc.zeros(12, width, dtype=gradc.float64), gradc.sin(a), e * h]
        z = gradc.cat([*(choices[k][:n] for k, n in parts), e, e, gradc.cos(b)])
        return z @ m, h, z.T @ z

    return model, [rng.normal(size=s) * 0.3 for s in ((12, width), (12, width), (width, columns))]


@pytest.mark.parametrize("draw", [attention, transformer, recurrent, concatenated])
@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 100))]
)
def test_models(thresholds, draw, seed: int) -> None:
    rng = np.random.default_rng(seed)
    thresholds(rng)
    model, arrays = draw(rng)
    given = [gradc.tensor(a) for a in arrays]
    want, compiled, first = model(*given), gradc.compile(model), None
    for threads in (1, 2, 3):
        gradc.set_num_threads(threads)
        found = [t.detach().numpy() for t in compiled(*given)]
        first = found if first is None else first
        for a, b in zip(first, found, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(want, found, strict=True):
        a = a.detach().numpy()
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-9 * (1 + np.abs(a).max(initial=0)))


@pytest.mark.parametrize("seed", range(4))
def test_state_replaced_between_products(thresholds, seed: int) -> None:
    rng = np.random.default_rng(seed)
    thresholds(rng)
    batch, t, d, steps = (int(rng.integers(2, n)) for n in (6, 24, 12, 6))
    x = gradc.tensor(rng.normal(size=(batch, t, d)) * 0.3)
    starts = [rng.normal(size=s) * 0.3 for s in ((batch, d, d), (d, d))]

    def made():
        w, u = (gradc.tensor(a.copy()) for a in starts)

        def model(x):
            y, found = x, []
            for n in range(steps):
                y = gradc.softmax(y @ w @ x.transpose(-1, -2), -1) @ x
                found.append(y)
                if n % 2:
                    w.mul_(0.9).add_(gradc.tanh(y.transpose(-1, -2) @ y) * 0.01)
                y = gradc.tanh(y @ u)
                if n == steps - 2:
                    u.sub_((x.reshape(-1, d).T @ y.reshape(-1, d)) * 0.01)
            return found

        return model, (w, u)

    (eager, state), (model, compiled_state) = made(), made()
    compiled = gradc.compile(model)
    for threads in (1, 2, 3):
        gradc.set_num_threads(threads)
        for a, b in zip(eager(x), compiled(x), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-8, atol=1e-10)
        for a, b in zip(state, compiled_state, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-8, atol=1e-10)
