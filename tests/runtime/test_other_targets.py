"""An exported training step on other targets: zig compiles it, wasmtime runs WebAssembly."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradc
from gradc import aot, nn, optim
from gradc.nn import functional as F

MAIN = Path(__file__).with_name("train_main.c")
FLAGS = ("-O3", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
GCC = shutil.which("gcc")


class Block(nn.Module):
    """A transformer's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + seen.transpose(1, 2).reshape(b, t, d)
        return x + self.down(F.gelu(self.up(x)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with train.c and train.h."""
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 32), Block(32, 2), nn.Linear(32, 50))
    opt = optim.AdamW(model.parameters(), lr=1e-3)

    def train(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x).reshape(-1, 50), y.reshape(-1))
        loss.backward()
        opt.step()
        return loss

    rng = np.random.default_rng(0)
    x, y = (gradc.tensor(rng.integers(0, 50, (8, 24))) for _ in "xy")
    folder = tmp_path_factory.mktemp("train")
    aot.export(gradc.compile(train), (x, y), folder, name="train")
    return folder


def compiled(folder: Path, to: Path, *command: str) -> Path:
    sources = [str(MAIN), str(folder / "train.c"), "-I", str(folder), "-o", str(to)]
    done = subprocess.run([*command, *FLAGS, *sources, *("-lm",)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return to


def zig() -> tuple[str, ...]:
    pytest.importorskip("ziglang")
    return sys.executable, "-m", "ziglang", "cc"


@pytest.mark.parametrize(
    "target", ["aarch64-linux-gnu", "aarch64-macos", "riscv64-linux-musl", "x86_64-windows-gnu"]
)
def test_it_compiles_without_warnings(exported, tmp_path, target) -> None:
    assert compiled(exported, tmp_path / target, *zig(), "-target", target).stat().st_size > 10_000


@pytest.mark.skipif(GCC is None, reason="no gcc to compare with")
def test_webassembly_gives_the_bits_of_this_machine(exported, tmp_path) -> None:
    """Three steps: with GRADC_REPRODUCIBLE every target gives the same bits, however wide its
    vectors are and whether it has fused multiply-adds."""
    wasmtime = pytest.importorskip("wasmtime")
    same = "-DGRADC_REPRODUCIBLE"
    here = compiled(exported, tmp_path / "here", str(GCC), "-march=native", same)
    want = subprocess.run([here], capture_output=True, text=True, check=True).stdout
    command = (*zig(), "-target", "wasm32-wasi", "-msimd128", same)
    path = compiled(exported, tmp_path / "train.wasm", *command)
    engine = wasmtime.Engine()
    store, linker, config = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
    config.stdout_file = str(tmp_path / "out.txt")
    store.set_wasi(config)
    linker.define_wasi()
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, str(path)))
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        assert end.code == 0
    assert want.startswith("status 0") and (tmp_path / "out.txt").read_text() == want
