"""The benchmark harness: a tiny workload from end to end; different work is told apart."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import report, with_gradc, with_numpy  # noqa: E402
from benchmarks.__main__ import chosen, pythons  # noqa: E402
from benchmarks.contestants import CONTESTANTS  # noqa: E402
from benchmarks.machine import Machine  # noqa: E402
from benchmarks.rounds import DifferentWork, Row, compare, installed  # noqa: E402
from benchmarks.worker import digest, measure  # noqa: E402
from benchmarks.workloads import WORKLOADS, make_inputs  # noqa: E402

# The root holds the library's folders, which are not to be imported bare.
sys.path.remove(str(ROOT))


def test_a_tiny_workload_goes_through(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "matmul_8", "--rounds", "2"]
    command += ["--slice", "0.02", "--contestants", "gradc", "numpy", "--out", tmp_path / "o.json"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    facts = json.loads((tmp_path / "o.json").read_text())
    gradc, numpy = facts["results"]["matmul_8"]["rows"]
    assert gradc["contestant"] == "gradc" and numpy["contestant"] == "numpy"
    for row in (gradc, numpy):
        assert 0 < row["seconds"] < 0.1 and row["peak"] > 1 << 20 and not row["skipped"]
    np.testing.assert_allclose(gradc["digest"], numpy["digest"], rtol=1e-5)
    assert facts["results"]["matmul_8"]["ratio"] == numpy["seconds"] / gradc["seconds"]
    assert facts["machine"]["cores"] >= 1 and "matmul_8" in found.stdout


@pytest.mark.parametrize("workload", ["call_3_elements", "logistic_regression", "mlp_1"])
def test_gradc_and_numpy_do_the_same_work(workload):
    figures = []
    for module in (with_gradc, with_numpy):
        cases, read, _ = module.contestant(1)
        call = cases[WORKLOADS[workload].case](make_inputs(workload))
        figures.append([digest(call(), read) for _ in range(3)])
    np.testing.assert_allclose(*figures, rtol=1e-3, atol=1e-6)


def test_every_workload_has_its_case():
    assert {w.case for w in WORKLOADS.values()} == set(with_gradc.CASES)


def test_different_work_is_an_error():
    rows = [Row("gradc", digest=[1.0, 2.0]), Row("jax", digest=[1.0, 2.0 + 1e-5])]
    compare("mlp_1", rows)
    for wrong in ([1.0, 2.1], [1.0], [1.0, float("nan")]):
        with pytest.raises(DifferentWork, match=r"mlp_1.*numpy"):
            compare("mlp_1", [*rows, Row("numpy", digest=wrong)])
    compare("mlp_1", [*rows, Row("numpy", skipped="it is not there")])


def test_who_is_not_installed_is_left_out(tmp_path):
    there, missing = installed(["numpy", "torch"], {"torch": str(tmp_path / "python")})
    assert there == ["numpy"] and "No such file" in missing["torch"]
    assert CONTESTANTS["torch.compile"].package == "torch"


def test_ratios_and_shares():
    machine = Machine("p", 2, "avx", "cc", "os", "3", 0.0, triad=20.0, multiply_adds=100.0)
    rows = [Row("gradc", 2e-6), Row("jax", 5e-6), Row("numpy", 3e-6), Row("torch", skipped="no")]
    assert report.ratio(rows) == 1.5
    assert report.ratio(rows[:1]) is None and report.ratio(rows[1:]) is None
    line = report.line("matmul_8", rows, ["gradc", "torch"], machine)
    assert line.split() == [
        "matmul_8", "2", "us", "-", "1.50", "0.512", "GFLOP/s", "(1", "%)",
    ]  # fmt: skip
    slow = [Row("gradc", 2e-6), Row("jax", 12e-6)]
    *_, last = report.table({"matmul_8": rows, "mlp_1": slow}, ["gradc"], machine).splitlines()
    assert last.split() == ["geometric", "mean", "3.00"]
    times = [report.shown(s) for s in (1.5, 2.5e-3, 1e-6, 3e-8)]
    assert times == ["1.5 s", "2.5 ms", "1 us", "30 ns"]
    assert report.skips({"matmul_8": rows}) == ["matmul_8: torch: no"]


def test_what_contention_costs():
    rows = [Row("gradc", 3e-3, mean=4e-3, p90=6e-3, quiet=2e-3), Row("jax", skipped="no")]
    head, line = report.contention({"mlp_64_contended": rows}, ["gradc", "jax"]).splitlines()
    assert "p90" in head
    assert line.split() == ["mlp_64_contended", "1.50", "/", "2.00", "/", "3.00", "-"]
    assert report.contention({"mlp_1": rows}, ["gradc"]) == ""


def test_choosing():
    assert "gpt2_124m" not in chosen(None, False) and "gpt2_124m" in chosen(None, True)
    assert chosen(["mlp_1"], False) == ["mlp_1"]
    assert chosen(["matmul_512"], False) == ["matmul_512"]
    with pytest.raises(SystemExit):
        chosen(["nothing"], False)
    made = pythons(["torch=/p"])
    assert made == {"torch": "/p", "torch.compile": "/p"}
    with pytest.raises(SystemExit):
        pythons(["torch"])


def test_a_slice_lasts_as_long_as_asked():
    calls = []

    def call():
        calls.append(1)
        time.sleep(0.001)

    begin = time.perf_counter()
    found = measure(call, 0.02)
    assert time.perf_counter() - begin >= 0.024
    assert len(calls) > 2 and 0.001 <= found["seconds"] <= found["p90"] and found["mean"] >= 0.001
