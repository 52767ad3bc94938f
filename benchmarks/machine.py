"""The machine: what it is, and what it can do at best right now."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("limits.c")
# Of the flags in /proc/cpuinfo, those that change what a compiler makes of a loop.
TELLING = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "amx_tile", "asimd",
           "sve")  # fmt: skip


@dataclass
class Machine:
    """What figures are to be read against.

    Attributes:
        triad, multiply_adds: GB/s and GFLOP/s, 0 where they could not be measured.
        load: the load average before the run.
    """

    processor: str
    cores: int
    isa: str
    compiler: str
    system: str
    python: str
    load: float
    triad: float = 0.0
    multiply_adds: float = 0.0

    def __str__(self) -> str:
        limits = "limits not measured"
        if self.triad:
            limits = f"triad {self.triad:.0f} GB/s, FMA {self.multiply_adds:.0f} GFLOP/s"
        return (
            f"{self.processor}, {self.cores} cores, {self.isa}; {self.system}, Python "
            f"{self.python}, {self.compiler}; load {self.load:.1f}; {limits}"
        )


def describe(threads: int) -> Machine:
    """This machine, with its limits on so many threads."""
    facts = _processor()
    flags = facts.get("flags", facts.get("Features", "")).split()
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    made = Machine(
        facts.get("model name", platform.processor() or platform.machine()),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        " ".join(f for f in TELLING if f in flags) or platform.machine(),
        _first_line([compiler, "--version"]) if compiler else "no C compiler",
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )
    measure_limits(made, threads)
    return made


def measure_limits(machine: Machine, threads: int) -> None:
    """Measure once more; the best counts, for a busy moment is no limit of the machine."""
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    triad, multiply_adds = _limits(compiler, threads)
    machine.triad = max(machine.triad, triad)
    machine.multiply_adds = max(machine.multiply_adds, multiply_adds)


def _processor() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _first_line(command) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.splitlines()[0] if found.stdout else command[0]


def _limits(compiler, threads) -> tuple[float, float]:
    if compiler is None:
        return 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "limits"))
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-fopenmp"]
        built = subprocess.run(
            [compiler, *flags, str(SOURCE), "-o", program], capture_output=True, check=False
        )
        if built.returncode:
            return 0.0, 0.0
        run = subprocess.run([program, str(threads)], capture_output=True, text=True, check=True)
        triad, multiply_adds = map(float, run.stdout.split())
        return triad, multiply_adds
