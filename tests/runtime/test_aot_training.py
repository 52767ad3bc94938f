"""Exported training steps of models and optimizers, and the example that trains from C."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.runtime import aot
from gradc.runtime.compile import compile

EXAMPLE = Path(__file__).parents[2] / "examples" / "aot_digits"
CC = shutil.which("gcc") or shutil.which("cc") or "cc"


def make_step():
    gradc.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, model


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 6)).astype(np.float32), rng.integers(0, 3, 4)


def test_a_loaded_step_trains_to_the_same_bits(tmp_path):
    step, _ = make_step()
    x, y = batch()
    aot.export(step, (x, y), tmp_path / "out", name="train")
    loaded = aot.load(tmp_path / "out")
    ours = [step(*batch(i)).item() for i in range(5)]
    theirs = [loaded(*batch(i)).item() for i in range(5)]
    assert ours == theirs


def test_state_bears_the_users_names(tmp_path):
    step, _ = make_step()
    manifest = json.loads(aot.export(step, batch(), tmp_path, name="train").read_text())
    names = [p["name"] for p in manifest["inputs"]]
    assert names[:2] == ["x", "y"]
    assert any("0.weight" in n for n in names)


def test_a_learning_rate_is_a_number_that_may_change(tmp_path):
    step, _ = make_step()
    aot.export(step, batch(), tmp_path, name="train")
    loaded = aot.load(tmp_path)
    assert loaded.values["lr"] == 0.1
    loaded.values["lr"] = 0.0
    before = {n: t.numpy().copy() for n, t in loaded.state.items() if n.endswith("weight")}
    loaded(*batch())
    for name, array in before.items():
        assert np.array_equal(loaded.state[name].numpy(), array)


def test_the_example_trains_from_c_to_the_bits_of_python(tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "out"
    run = {"cwd": EXAMPLE, "check": True, "capture_output": True, "text": True}
    export = [sys.executable, "export.py", "--out", str(out)]
    expected = subprocess.run(export, **run).stdout.splitlines()
    subprocess.run(["make", f"DIR={out}", f"CC={CC}"], **run)
    found = subprocess.run([out / "train_digits", str(out)], **run).stdout.splitlines()
    assert found == expected and len(found) == 20
    first, last = (float(line.split()[3]) for line in (found[0], found[-1]))
    assert last < first / 3
    linked = subprocess.run(["ldd", out / "train_digits"], **run).stdout
    assert "python" not in linked and "libm" not in linked
