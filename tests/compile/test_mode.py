"""`mode="fast-compile"`: less asked of the C compiler, the same results."""

from __future__ import annotations

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.runtime.binding import recipe_of
from gradc.tracer.errors import ArgumentError


def trained(mode: str) -> tuple[list[float], list[np.ndarray]]:  # type: ignore[type-arg]
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))
    opt = optim.Adam(model.parameters(), lr=0.05)

    @gradc.compile(mode=mode)
    def step(x: gradc.Tensor, y: gradc.Tensor) -> gradc.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 12)).astype(np.float32), rng.integers(0, 3, 9)
    losses = [step(x, y).item() for _ in range(5)]
    return losses, [p.detach().numpy().copy() for p in model.parameters()]


def test_the_results_are_the_same() -> None:
    slow, quick = trained("fast-run"), trained("fast-compile")
    assert slow[0] == quick[0] and slow[0][-1] < slow[0][0]
    for a, b in zip(slow[1], quick[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cache_keeps_both() -> None:
    x = gradc.ones(3)
    module = gradc.compile(lambda x: x.exp()).trace(x).lower().module
    full, quick = recipe_of(module), recipe_of(module, "fast-compile")
    assert full.key != quick.key
    assert [f for f in quick.flags if f.startswith("-O")][-1] == "-O1"
    assert quick.flags == (*full.flags, "-O1")


def test_the_report_says_so(tmp_path) -> None:  # type: ignore[no-untyped-def]
    f = gradc.compile(lambda x: x * 2.0, mode="fast-compile")
    compiled = f.trace(gradc.ones(3)).lower().compile()
    assert "fast-compile" in compiled.report(tmp_path / "f.html").read_text()


def test_another_word_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'fast' is none of fast-run, fast-compile"):
        gradc.compile(lambda x: x, mode="fast")


def test_stages_say_what_they_are_in_a_line():
    """What a prompt shows of them; their text is a method away."""

    def double(x):
        return x + x

    traced = gradc.compile(double).trace(gradc.ones(3))
    lowered = traced.lower()
    assert repr(traced) == "<traced double: 1 eqns>"
    assert repr(traced.graph) == "<graph double: 1 eqns>"
    assert repr(lowered) == "<double lowered for backend 'c'>"
    assert repr(lowered.compile()) == "<double compiled for backend 'c'>"
    assert str(traced.graph).startswith("graph double(") and "double" in lowered.as_text()
