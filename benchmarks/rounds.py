"""Processes that take turns: one round after another, a slice each, and medians at the end.

Contestants never run at the same time, and a busy moment of the machine meets all of them. The
first processes start with empty caches, which gives the cold compile times; they end, and those
that are measured start with what the first left.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, environment
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[1]
BURN = "while True: pass"
PAUSE = 0.1


@dataclass
class Plan:
    """How to measure.

    Attributes:
        pythons: contestant to the Python it is run by.
        slice: seconds a process measures in a round.
        cold: whether to start once with empty caches.
    """

    pythons: dict[str, str]
    rounds: int
    slice: float
    threads: int
    cold: bool


@dataclass
class Row:
    """One contestant at one workload; `skipped` says why there are no figures. `quiet` is what it
    took before another process began to burn a core."""

    contestant: str
    seconds: float = 0.0
    mean: float = 0.0
    p90: float = 0.0
    quiet: float | None = None
    spread: float = 0.0
    cold: float | None = None
    warm: float | None = None
    imported: float = 0.0
    peak: int = 0
    version: str = ""
    skipped: str = ""
    digest: list[float] = field(default_factory=list)


class Worker:
    """A process of a contestant that has called its workload once."""

    def __init__(self, name: str, workload: str, plan: Plan, cache: str) -> None:
        command = [plan.pythons.get(name, sys.executable), "-m", "benchmarks.worker"]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed by close()
        self.process = subprocess.Popen(
            [*command, name, workload, str(plan.threads)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=environment(CONTESTANTS[name], plan.threads, cache),
        )  # fmt: skip
        self.facts = self.answer()

    def answer(self) -> dict:
        """The next line it says; why it says nothing, where it has ended."""
        for line in self.process.stdout:
            # Libraries print what they like; only JSON is for us.
            with contextlib.suppress(ValueError):
                return json.loads(line)
        self.errors.seek(0)
        last = (self.errors.read().strip() or "it ended").splitlines()[-1]
        return {"skipped": last}

    def measure(self, seconds: float) -> dict:
        """Seconds per call, and the most memory so far."""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the process; a second one is given it to do so by itself."""
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def installed(names, pythons):
    """Those of the contestants whose package is there, and why the others are not."""
    there, missing = [], {}
    for name in names:
        package = CONTESTANTS[name].package
        code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
        python = pythons.get(name, sys.executable)
        try:
            found = subprocess.run([python, "-c", code], cwd=ROOT / "benchmarks", check=False)
        except OSError as error:
            missing[name] = f"{python}: {error.strerror}"
            continue
        if found.returncode == 0:
            there.append(name)
        else:
            missing[name] = f"{package} is not installed in {python}"
    return there, missing


@contextlib.contextmanager
def burner(wanted):
    """Another process that keeps a core busy, where that is wanted."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_workload(workload: str, names, plan: Plan) -> list[Row]:
    """Every contestant's figures at one workload."""
    rows = {n: Row(n) for n in names}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        caches = {n: str(Path(folder, n)) for n in names}
        if plan.cold:
            _cold(workload, rows, plan, caches)
        workers = {}
        for name, row in rows.items():
            if row.skipped:
                continue
            worker = workers[name] = Worker(name, workload, plan, caches[name])
            stack.callback(worker.close)
            _note(row, worker.facts, plan.cold)
        there = {n: w for n, w in workers.items() if not rows[n].skipped}
        contended = WORKLOADS[workload].contended
        if contended:
            _rounds(there, rows, plan)
            for row in rows.values():
                row.quiet = row.seconds or None
        with burner(contended):
            _rounds(there, rows, plan)
    compare(workload, rows.values())
    return list(rows.values())


def _cold(workload, rows, plan, caches):
    for name, row in rows.items():
        worker = Worker(name, workload, plan, caches[name])
        row.cold = worker.facts.get("first")
        row.skipped = worker.facts.get("skipped", "")
        worker.close()


def _note(row, facts, was_cold):
    row.skipped, row.imported = facts.get("skipped", ""), facts.get("imported", 0.0)
    if was_cold:
        row.warm = facts.get("first")
    else:
        row.cold = facts.get("first")
    row.version, row.digest = facts.get("version", ""), facts.get("digest", [])


def _rounds(workers, rows, plan):
    times = {name: [] for name in workers if not rows[name].skipped}
    for _ in range(plan.rounds):
        for name in times:
            # Threads that spin behind their last call would disturb the next contestant: those
            # of OpenBLAS do so for up to 2^26 cycles.
            time.sleep(PAUSE)
            found = workers[name].measure(plan.slice)
            if "skipped" in found:
                rows[name].skipped = found["skipped"]
            else:
                times[name].append(found)
                rows[name].peak = found["peak"]
    for name, taken in times.items():
        if taken:
            row, each = rows[name], [t["seconds"] for t in taken]
            row.seconds, row.spread = statistics.median(each), max(each) / min(each)
            row.mean, row.p90 = (statistics.median(t[k] for t in taken) for k in ("mean", "p90"))


class DifferentWork(Exception):
    """Two contestants gave different results: at least one of them measured something else."""


def compare(workload: str, rows) -> None:
    """Raise DifferentWork unless all first results agree."""
    tolerance = WORKLOADS[workload].tolerance
    done = [r for r in rows if r.digest and not r.skipped]
    for row in done[1:]:
        one, other = done[0].digest, row.digest
        same = len(one) == len(other) and all(
            abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3) for a, b in zip(one, other)
        )
        if not same:
            raise DifferentWork(
                f"{workload}: {done[0].contestant} gave {one}, {row.contestant} gave {other}"
            )
