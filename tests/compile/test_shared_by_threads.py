"""Compiled functions that threads share: calls, first calls, state, failures, traces."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.errors import IndexOutOfRange
from gradc.runtime.specialization import TRACING

THREADS = 8
BACKENDS = ["numpy", "c", "jax"]


@pytest.fixture(params=BACKENDS)
def compiled(request):
    return lambda fn, **options: gradc.compile(fn, backend=request.param, **options)


def together(work, count=THREADS):
    """Run `work(i)` in so many threads that start at once; what each returned or raised."""
    gate, found = threading.Barrier(count), [None] * count

    def run(i):
        gate.wait()
        try:
            found[i] = work(i)
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=120)
        assert not t.is_alive()
    for result in found:
        if isinstance(result, Exception) and not isinstance(result, IndexOutOfRange):
            raise result
    return found


def test_the_first_call_is_compiled_once(compiled):
    f = compiled(lambda x: x * 2.0)
    real, made = f._stage, []

    def stage(*args, **kwargs):
        made.append(1)
        return real(*args, **kwargs)

    f._stage = stage
    results = together(lambda i: f(gradc.full((3,), float(i))).tolist())
    assert results == [[2.0 * i] * 3 for i in range(THREADS)]
    assert len(made) == 1
    assert f.recompiles() == []


def test_calls_do_not_share_work_areas(compiled):
    f = compiled(lambda x: ((x @ x).exp().sum(0) @ x).tanh().sum())
    inputs = [gradc.randn(24, 24) * 0.1 * i for i in range(THREADS)]
    expected = [f(x).item() for x in inputs]

    def work(i):
        return {f(inputs[i]).item() for _ in range(60)}

    for i, values in enumerate(together(work)):
        assert values == {expected[i]}


def test_state_is_updated_one_call_at_a_time(compiled):
    total, calls = gradc.zeros(5), gradc.zeros(1, dtype=gradc.int64)

    def add(x):
        total.add_(x)
        calls.add_(1)
        return calls * 1

    f = compiled(add)
    f(gradc.ones(5))

    def work(i):
        return [f(gradc.ones(5)).item() for _ in range(40)]

    seen = [n for numbers in together(work) for n in numbers]
    assert total.tolist() == [1.0 + THREADS * 40] * 5
    assert calls.item() == 1 + THREADS * 40
    assert sorted(seen) == list(range(2, 2 + THREADS * 40))


def test_a_call_that_fails_hurts_no_other(compiled):
    table, count = gradc.arange(10.0), gradc.zeros(1)

    def pick(i):
        count.add_(1.0)
        return table[i] * 2.0

    f = compiled(pick)
    f(gradc.tensor([0]))

    def work(i):
        failed = 0
        for k in range(30):
            index = 99 if (i + k) % 3 == 0 else k % 10
            try:
                assert f(gradc.tensor([index])).item() == 2.0 * index
            except IndexOutOfRange:
                assert index == 99
                failed += 1
        return failed

    failed = sum(together(work))
    assert failed == THREADS * 10
    assert count.item() == 1.0 + THREADS * 30 - failed


def test_nested_compiled_functions(compiled):
    w = gradc.ones(4)
    inner = compiled(lambda x: x * w + 1.0)
    outer = compiled(lambda x: inner(x).sum() + inner(x * 2.0).sum())

    def work(i):
        x = gradc.full((4,), float(i))
        return {(outer(x).item(), inner(x).sum().item()) for _ in range(20)}

    for i, values in enumerate(together(work)):
        assert values == {(12.0 * i + 8.0, 4.0 * i + 4.0)}


def training(seed):
    gradc.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @gradc.compile(backend="numpy")
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, step, gradc.randn(7, 6), gradc.randint(3, (7,))


def test_every_thread_trains_a_model_of_its_own():
    alone = []
    for seed in range(THREADS):
        _, step, x, y = training(seed)
        alone.append([step(x, y).item() for _ in range(10)])
    prepared = [training(seed) for seed in range(THREADS)]

    def work(i):
        _, step, x, y = prepared[i]
        return [step(x, y).item() for _ in range(10)]

    assert together(work) == alone


def test_a_trace_does_not_disturb_calls_on_the_same_parameters():
    """One thread trains, the others trace the same model for ever new shapes."""
    model, step, x, y = training(0)
    _, alone, _, _ = training(0)
    expected = [alone(x, y).item() for _ in range(30)]

    def loss_of(x, y):
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    gradients = gradc.compile(loss_of, backend="numpy")

    def work(i):
        if i == 0:
            return [step(x, y).item() for _ in range(30)]
        for n in range(1, 6):
            gradients.trace(gradc.ones(n + 5 * i, 6), gradc.zeros(n + 5 * i, dtype=gradc.int64))
        return []

    assert together(work, 4)[0] == expected


def test_gradients_of_results(compiled):
    f = compiled(lambda x, w: (x * w).square().sum())

    def work(i):
        x = gradc.full((3,), float(i + 1))
        found = set()
        for _ in range(20):
            w = gradc.ones(3, requires_grad=True)
            f(x, w).backward()
            found.add(tuple(w.grad.tolist()))
        return found

    for i, values in enumerate(together(work)):
        assert values == {(2.0 * (i + 1) ** 2,) * 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_is_not_stuck_in_a_lock_of_its_parent():
    f = gradc.compile(lambda x: x + 1.0, backend="numpy")
    held, done = threading.Event(), threading.Event()

    def hold():
        with f._lock, TRACING:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        ok = False
        try:
            timer = threading.Timer(30, os._exit, (3,))
            timer.daemon = True
            timer.start()
            ok = np.array_equal(f(gradc.ones(2)).numpy(), [2.0, 2.0])
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
