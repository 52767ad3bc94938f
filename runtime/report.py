"""What a compiled program costs, known before it runs.

    analysis = memory_analysis(executable)
    analysis.peak_bytes      everything a call needs: arguments, state, results, work area
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradc.runtime.executable import CExecutable, Executable
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph import dims
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import TensorType


@dataclass(frozen=True)
class MemoryAnalysis:
    """Bytes of one call, exact.

    Attributes:
        argument_bytes: the arguments and run-time numbers.
        state_bytes: captured state; what is updated is updated in place and counts once.
        output_bytes: the fresh results.
        donated_bytes: results written over donated arguments: of the argument bytes, not more.
        work_bytes: the work area, error record included.
    """

    argument_bytes: int
    state_bytes: int
    output_bytes: int
    work_bytes: int
    donated_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        """The sum: what must be there during a call."""
        return self.argument_bytes + self.state_bytes + self.output_bytes + self.work_bytes

    def __str__(self) -> str:
        parts = ("argument", "state", "output", "work")
        lines = [f"{name:>9}  {getattr(self, f'{name}_bytes'):>14,} bytes" for name in parts]
        if self.donated_bytes:
            lines[0] += f", {self.donated_bytes:,} of them taken over by results"
        return "\n".join([*lines, f"{'peak':>9}  {self.peak_bytes:>14,} bytes"])


def memory_analysis(executable: Executable) -> MemoryAnalysis:
    """The memory of one call of a program of generated C.

    Raises:
        ArgumentError: the program runs on another backend, whose memory gradc does not plan.
    """
    if not isinstance(executable, CExecutable):
        raise ArgumentError(
            "memory is planned for backend 'c' only", loc=user_location(3)
        )
    graph = executable.graph
    replaced = {o for o, _ in graph.aliases}
    fresh = [a.type for i, a in enumerate(graph.outputs) if i not in replaced]
    return MemoryAnalysis(
        _bytes(v.type for v in graph.inputs[: graph.n_args]),
        _bytes(v.type for v in graph.inputs[graph.n_args :]),
        _bytes(fresh),
        executable.library.work_bytes(),
        _bytes(graph.outputs[o].type for o, i in graph.aliases if i < graph.n_args),
    )


def _bytes(types: Any) -> int:
    return sum(_size(t) for t in types)


def _size(type: TensorType) -> int:
    return dims.known(type.size) * type.dtype.itemsize


@dataclass(frozen=True)
class CostAnalysis:
    """What one call computes, summed over its kernels.

    Attributes:
        flops: floating-point operations.
        bytes: bytes that kernels read and write.
        kernels: how many there are.
        functions: how many C functions they are; kernels that are alike share one.
    """

    flops: int
    bytes: int
    kernels: int
    functions: int


def cost_analysis(executable: Executable) -> CostAnalysis:
    """The work of one call of a program of generated C.

    Raises:
        ArgumentError: the program runs on another backend.
    """
    if not isinstance(executable, CExecutable):
        raise ArgumentError("costs are known for backend 'c' only", loc=user_location(3))
    kernels = executable.module.kernels
    return CostAnalysis(
        sum(k.flops for k in kernels),
        sum(k.bytes for k in kernels),
        len(kernels),
        len({k.name for k in kernels}),
    )


def kernel_lines(graph: Graph, executable: CExecutable) -> list[str]:
    """One line per kernel: its phase, name, bytes and operations."""
    return [
        f"{k.phase:<9} {k.name:<48} {k.bytes:>12,} bytes {k.flops:>12,} flops"
        for k in executable.module.kernels
    ]
