"""Exporting compiled functions and calling what was exported."""

import json
import shutil
import subprocess

import numpy as np
import pytest

import gradc
from gradc.runtime import aot
from gradc.runtime.compile import compile
from gradc.tracer.errors import ArgumentError, IndexOutOfRange

CC = shutil.which("gcc") or shutil.which("cc") or "cc"


def make_step():
    """A step of gradient descent on a line, and its weights."""
    w = gradc.ones(3, requires_grad=True)

    @compile
    def step(x, y):
        w.grad = None
        loss = (((x * w).sum(1) - y) ** 2).mean()
        loss.backward()
        with gradc.no_grad():
            w.sub_(w.grad * 0.05)
        return loss

    return step, w


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)


def test_a_loaded_step_trains_to_the_same_bits(tmp_path):
    step, w = make_step()
    aot.export(step, batch(), tmp_path / "out", name="train")
    loaded = aot.load(tmp_path / "out")
    ours = [step(*batch(i)).item() for i in range(5)]
    theirs = [loaded(*batch(i)).item() for i in range(5)]
    assert ours == theirs
    assert np.array_equal(loaded.state["w"].numpy(), w.detach().numpy())


def test_export_runs_nothing_and_takes_the_state_as_it_is(tmp_path):
    step, w = make_step()
    step(*batch())
    before = w.detach().numpy().copy()
    aot.export(step, batch(), tmp_path, name="train")
    assert np.array_equal(w.detach().numpy(), before)
    assert np.array_equal(aot.load(tmp_path).state["w"].numpy(), before)


def test_nested_arguments_and_results(tmp_path):
    def f(pair, *, scale, flag=True):
        a, b = pair["a"], pair["b"]
        return {"sum": (a + b) * scale, "rest": [a, None, 3] if flag else []}

    a, b = np.ones(3, np.float32), np.arange(3, dtype=np.float32)
    aot.export(f, ({"a": a, "b": b},), tmp_path, name="f", kwargs={"scale": 2.0, "flag": True})
    loaded = aot.load(tmp_path)
    result = loaded({"a": a, "b": b}, scale=3.0, flag=True)
    assert result["sum"].tolist() == [3, 6, 9]
    assert result["rest"][0].tolist() == [1, 1, 1] and result["rest"][1:] == [None, 3]
    with pytest.raises(ArgumentError, match="flag"):
        loaded({"a": a, "b": b}, scale=3.0, flag=False)


def test_results_that_need_gradients_leave_no_residuals(tmp_path):
    w = gradc.ones(3, requires_grad=True)

    def f(x):
        return (x * w).exp().sum()

    manifest = json.loads(aot.export(f, (np.ones(3, np.float32),), tmp_path, name="f").read_text())
    assert len(manifest["outputs"]) == 1
    assert aot.load(tmp_path)(np.zeros(3, np.float32)).item() == 3


def test_a_failing_check_names_the_line(tmp_path):
    table = gradc.arange(5.0)

    def f(i):
        return table[i]

    aot.export(f, (np.array([1, 2]),), tmp_path, name="f")
    with pytest.raises(IndexOutOfRange, match=r"test_aot\.py"):
        aot.load(tmp_path)(np.array([1, 9]))


def test_what_cannot_be_exported_is_said(tmp_path):
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ArgumentError, match="exported"):
        aot.export(lambda x: x + 1, (x,), tmp_path, name="double")
    with pytest.raises(ArgumentError, match=r"(?s)view .* clone"):
        aot.export(lambda x: x.reshape(3, 2), (gradc.tensor(x),), tmp_path, name="f")
    t = gradc.tensor(x)
    with pytest.raises(ArgumentError, match="share memory"):
        aot.export(lambda x, y: x + y, (t, t), tmp_path, name="f")


@pytest.mark.parametrize("standard", ["-std=c11", "-std=c++17"])
def test_the_files_compile_without_warnings(tmp_path, standard):
    step, _ = make_step()
    aot.export(step, batch(), tmp_path, name="train")
    language = "c++" if "++" in standard else "c"
    if language == "c++" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "main.c").write_text('#include "train_state.h"\nint main(void) { return 0; }\n')
    flags = [standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", language]
    subprocess.run([CC, *flags, "main.c", "train.c"], cwd=tmp_path, check=True)
