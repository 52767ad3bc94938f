"""`reproducible=True`: one program, the same bits from every compiler and instruction set."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import config, nn, optim
from gradc.errors import ArgumentError

# Compilers and flags that make other machine code of the same text.
TARGETS = [
    ("gcc", "-O3"), ("gcc", "-O0"), ("gcc", "-O2 -mno-fma -mno-avx -mno-sse4.1"),
    ("gcc", "-O3 -ffp-contract=fast"), ("clang", "-O3"), ("clang", "-O1 -mno-fma -mno-avx"),
]  # fmt: skip


@pytest.fixture(params=TARGETS, ids=" ".join)
def elsewhere(request):
    compiler, flags = request.param
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not here")
    before = config.assigned.copy()
    config.cc, config.cflags = compiler, flags
    yield
    config.assigned.clear()
    config.assigned.update(before)


def numbers():
    x = np.random.default_rng(0).standard_normal(1000)
    return gradc.from_numpy(np.concatenate([x, x * 1e3, x * 1e-3, [0.0, -0.0, np.inf, 80.0]]))


def elementary(x):
    a = x.abs()
    return (
        x.exp(), x.tanh(), x.sin(), x.cos(), a.log(), a.sqrt(), x.erf(), a.lgamma(), x.atan(),
        x.expm1(), a.log1p(), a ** 1.7, x.sinh(), F.gelu(x), F.softmax(x[:500], 0),
    )  # fmt: skip


def same_bits(a, b):
    a, b = a.numpy(), b.numpy()
    nan = np.isnan(a) & np.isnan(b)
    return a.dtype == b.dtype and (np.where(nan, 0, a).tobytes() == np.where(nan, 0, b).tobytes())


@pytest.mark.parametrize("dtype", [gradc.float32, gradc.float64])
def test_elementary_functions(elsewhere, dtype):
    x = numbers().to(dtype)
    found = gradc.compile(elementary, reproducible=True)(x)
    config.cc, config.cflags = "gcc", "-O2 -march=x86-64"
    for a, b in zip(found, gradc.compile(elementary, reproducible=True)(x)):
        assert same_bits(a, b)


def train(steps=4):
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 33), nn.GELU(), nn.LayerNorm(33), nn.Linear(33, 5))
    opt = optim.AdamW(model.parameters(), lr=0.01)

    @gradc.compile(reproducible=True)
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x, y = gradc.randn(17, 20), gradc.randint(5, (17,))
    losses = [step(x, y) for _ in range(steps)]
    return [*losses, *model.state_dict().values()]


def test_a_training_step(elsewhere):
    found = train()
    config.cc, config.cflags = "gcc", "-O2 -march=x86-64"
    assert all(same_bits(a, b) for a, b in zip(found, train()))


def test_it_is_said_in_the_text():
    f = gradc.compile(lambda x: x.exp(), reproducible=True)
    f(gradc.ones(3))
    assert "#define GRADC_REPRODUCIBLE 1" in f.c_source
    assert "GRADC_REPRODUCIBLE 1" not in gradc.compile(f.fn).lower(gradc.ones(3)).as_text()


def test_exported_too(tmp_path):
    f = gradc.compile(lambda x: x.exp(), reproducible=True)
    gradc.aot.export(f, (gradc.ones(3),), tmp_path, name="exps")
    assert "#define GRADC_REPRODUCIBLE 1" in (tmp_path / "exps.c").read_text()


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_where_it_cannot_be_promised(backend):
    with pytest.raises(ArgumentError, match="cannot be promised"):
        gradc.compile(lambda x: x, backend=backend, reproducible=True)
