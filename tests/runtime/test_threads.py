"""Threads: the same bits for every number of them, after a fork, and from many Python threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.runtime.binding import THREADS, get_num_threads, set_num_threads

WORDS, WIDTH, LENGTH, BATCH = 500, 64, 16, 16


@pytest.fixture(autouse=True)
def threads(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "threads"))
    before = get_num_threads()
    yield
    THREADS.set(before)


class Model(nn.Module):
    """An embedding, attention's softmax, a layer norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, WORDS)

    def forward(self, x):
        h = self.table(x)
        weights = F.softmax(h @ h.transpose(1, 2), -1)
        return self.out(self.norm(weights @ h))


def training():
    """A model with its compiled step, and data."""
    gradc.manual_seed(0)
    model = Model()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    @gradc.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).reshape(-1, WORDS), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    x, y = (gradc.randint(WORDS, (BATCH, LENGTH)) for _ in range(2))
    return model, step, x, y


def run(n: int) -> list[np.ndarray]:
    set_num_threads(n)
    model, step, x, y = training()
    losses = [step(x, y).numpy() for _ in range(5)]
    return [*losses, *(p.detach().numpy() for p in model.parameters())]


def test_a_training_step_has_the_same_bits() -> None:
    expected = run(1)
    assert expected[4] < expected[0]
    for n in (2, 3, 8):
        for a, b in zip(expected, run(n), strict=True):
            np.testing.assert_array_equal(a, b)


def test_small_programs_have_no_threads() -> None:
    f = gradc.compile(lambda x: F.softmax(x * 2, 1))
    f(gradc.randn(8, 8))
    assert "gradc_team" not in f.c_source
    large = gradc.compile(lambda x: F.softmax(x * 2, 1))
    large(gradc.randn(512, 512))
    assert "gradc_team" in large.c_source


def big(x):
    return (F.softmax(x, 1) @ x).sum()


def test_many_python_threads_at_once() -> None:
    set_num_threads(2)
    f = gradc.compile(big)
    inputs = [gradc.randn(200, 200) for _ in range(8)]
    expected = [f(x).numpy() for x in inputs]
    failures: list[object] = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.array_equal(f(inputs[k]).numpy(), expected[k]):
                failures.append(k)

    started = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in started:
        t.start()
    for t in started:
        t.join(60)
    assert not any(t.is_alive() for t in started)
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on_alone(tmp_path: Path) -> None:
    """The parent's threads do not exist in the child; a call that waited for them would not end."""
    set_num_threads(2)
    f = gradc.compile(big)
    x = gradc.randn(200, 200)
    expected = f(x).numpy()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            set_num_threads(2)
            same = np.array_equal(f(x).numpy(), expected)
            status = 0 if same and get_num_threads() == 1 else 2
        finally:
            os._exit(status)
    watchdog = threading.Timer(60, os.kill, (child, 9))
    watchdog.start()
    _, status = os.waitpid(child, 0)
    watchdog.cancel()
    assert status == 0
    assert get_num_threads() == 2
    np.testing.assert_array_equal(f(x).numpy(), expected)


def test_an_exported_program_has_the_same_bits(tmp_path: Path) -> None:
    set_num_threads(3)
    x = gradc.randn(200, 200)
    f = gradc.compile(big)
    gradc.aot.export(f, (x,), tmp_path, name="big")
    assert "$(OPENMP)" in (tmp_path / "Makefile").read_text()
    np.testing.assert_array_equal(gradc.aot.load(tmp_path)(x).numpy(), f(x).numpy())
