"""The stages of compiling, to be looked at one by one.

    traced = step.trace(x, y)       traced.graph: what the function does, as eqns
    lowered = traced.lower()        lowered.as_text(): the C
    compiled = lowered.compile()    compiled.memory_analysis(), compiled.executable
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

from gradc.codegen import pipeline
from gradc.codegen.c.module import CModule
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CExecutable, Executable
from gradc.runtime.jax_executable import JaxExecutable
from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.runtime.options import Target
from gradc.runtime.page import Subject, page
from gradc.runtime.report import CostAnalysis, MemoryAnalysis, cost_analysis, memory_analysis
from gradc.runtime.specialization import Staged
from gradc.tracer.config import config
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.source import user_location


def make_executable(
    graph: Graph, target: Target, seconds: dict[str, float] | None = None
) -> Executable:
    """Compile `graph`, whose checks are in it already.

    Args:
        seconds: gets what each step took.
    """
    clock = {} if seconds is None else seconds
    begin = perf_counter()
    executable = _make_executable(graph, target, clock)
    # What a backend does by itself, or what is left: for C, the compiler and loading.
    clock["build"] = perf_counter() - begin - sum(clock.values())
    return executable


def _make_executable(graph: Graph, target: Target, seconds: dict[str, float]) -> Executable:
    if target.backend == "numpy":
        return NumpyExecutable(graph)
    if target.backend == "jax":
        return JaxExecutable(graph)
    lowering = pipeline.lower_in_steps(graph, reproducible=target.reproducible)
    module = lowering.text
    seconds |= lowering.seconds
    if config.dump:
        texts = {"stages": "\n\n".join(map(str, lowering.passes)), "c": module.source}
        _dump(config.dump, module.name, texts)
    return CExecutable(graph, module, load_module(module, target.mode))


def _dump(folder: str, name: str, texts: dict[str, str]) -> None:
    """Write what a compilation went through to `folder`, numbered where a name comes again."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    stem = next(s for i in count() if not (root / f"{(s := f'{name}-{i}')}.c").exists())
    for ending, text in texts.items():
        (root / f"{stem}.{ending}").write_text(text)


def _no_c(backend: str) -> ArgumentError:
    return ArgumentError(f"backend {backend!r} generates no C", loc=user_location(3))


@dataclass(eq=False, repr=False)
class TracedFunction:
    """The first stage: what was traced. `graph` prints as text."""

    staged: Staged
    target: Target

    def __repr__(self) -> str:
        return f"<traced {self.graph.name}: {len(self.graph.eqns)} eqns>"

    @property
    def graph(self) -> Graph:
        return self.staged.graph

    def as_text(self) -> str:
        """The graph, printed."""
        return str(self.graph)

    def lower(self) -> Lowered:
        """The program for the backend."""
        return Lowered(self.staged, self.target)


@dataclass(eq=False, repr=False)
class Lowered:
    """The second stage: the program for one backend, as text."""

    staged: Staged
    target: Target

    def __repr__(self) -> str:
        return f"<{self.staged.graph.name} lowered for backend {self.target.backend!r}>"

    @functools.cached_property
    def module(self) -> CModule:
        """The C module.

        Raises:
            ArgumentError: the backend makes no C.
        """
        if self.target.backend != "c":
            raise _no_c(self.target.backend)
        return pipeline.lower_c(self.staged.graph, reproducible=self.target.reproducible)

    def as_text(self) -> str:
        """The C; for other backends the graph they run."""
        return self.module.source if self.target.backend == "c" else str(self.staged.graph)

    def compile(self) -> Compiled:
        """Build the program."""
        graph = self.staged.graph
        seconds: dict[str, float] = {}
        executable = make_executable(graph, self.target, seconds)
        return Compiled(graph, executable, self.target, seconds)


@dataclass(eq=False, repr=False)
class Compiled:
    """The last stage: an executable program. `executable` runs it.

    Attributes:
        seconds: what the steps of compiling took.
        recompiles: why the function was compiled again, before this program and after it.
    """

    graph: Graph
    executable: Executable
    target: Target
    seconds: dict[str, float] = field(default_factory=dict)
    recompiles: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.graph.name} compiled for backend {self.target.backend!r}>"

    @property
    def c_source(self) -> str:
        """The generated C, as written to disk.

        Raises:
            ArgumentError: the backend makes no C.
        """
        return self._c().module.source

    @property
    def c_path(self) -> str:
        """Where the generated C lies."""
        return str(self._c().library.path.with_suffix(".c"))

    def _c(self) -> CExecutable:
        if not isinstance(self.executable, CExecutable):
            raise _no_c(self.target.backend)
        return self.executable

    def memory_analysis(self) -> MemoryAnalysis:
        """The bytes one call needs, exact and known before it."""
        return memory_analysis(self.executable)

    def cost_analysis(self) -> CostAnalysis:
        """Operations and bytes of one call."""
        return cost_analysis(self.executable)

    def report(self, path: str | Path) -> Path:
        """Write a page of HTML about the program, which needs nothing but itself; returns its path.

        On it: memory, operations and times; the graph with the lines of Python; for backend "c"
        the work area over time, every kernel with its C, and why values are kept in memory.
        """
        target = Path(path)
        target.write_text(page(self._subject()), encoding="utf-8")
        return target

    def _subject(self) -> Subject:
        c = self.executable if isinstance(self.executable, CExecutable) else None
        return Subject(
            self.graph,
            self.target,
            self.seconds,
            self.recompiles,
            None if c is None else memory_analysis(c),
            None if c is None else cost_analysis(c),
            None if c is None else pipeline.lower_in_steps(
                self.graph, reproducible=self.target.reproducible
            ),
        )
