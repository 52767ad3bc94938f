"""`gradc.compile`: a Python function as one compiled program per signature.

    @gradc.compile
    def step(x, y):
        opt.zero_grad(); loss = F.cross_entropy(model(x), y); loss.backward(); opt.step()
        return loss

A call reads its signature, finds the specialization whose guards hold, and runs it; otherwise the
function is traced (again) and compiled. Under any trace the function simply runs, and so becomes
part of the outer program.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, overload

from gradc.codegen import pipeline
from gradc.runtime.binding import load_module
from gradc.runtime.executable import CExecutable, Executable
from gradc.runtime.jax_executable import JaxExecutable
from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.runtime.report import CostAnalysis, MemoryAnalysis, cost_analysis, memory_analysis
from gradc.runtime.signature import Call, read_call
from gradc.runtime.specialization import Specialization, Staged, trace_call
from gradc.tracer.config import config
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.source import Location, user_location
from gradc.tracer.trace import NeedsStatic

BACKENDS = ("c", "jax", "numpy")
# Specializations kept per function; the least recently used one goes first.
LIMIT = 64

logger = logging.getLogger("gradc.recompiles")


@dataclass(eq=False)
class Compiled:
    """The last stage: an executable program. `executable` runs it."""

    graph: Graph
    executable: Executable

    @property
    def c_source(self) -> str:
        """The generated C, as written to disk.

        Raises:
            ArgumentError: the backend makes no C.
        """
        module = getattr(self.executable, "module", None)
        if module is None:
            raise ArgumentError("this backend generates no C", loc=user_location())
        return module.source  # type: ignore[no-any-return]

    @property
    def c_path(self) -> str:
        """Where the generated C lies."""
        library = getattr(self.executable, "library", None)
        if library is None:
            raise ArgumentError("this backend generates no C", loc=user_location())
        return str(library.path.with_suffix(".c"))

    def memory_analysis(self) -> MemoryAnalysis:
        """The bytes one call needs, exact and known before it."""
        return memory_analysis(self.executable)

    def cost_analysis(self) -> CostAnalysis:
        """Operations and bytes of one call."""
        return cost_analysis(self.executable)


def make_executable(graph: Graph, backend: str) -> Executable:
    """Compile `graph` for one backend."""
    if backend == "numpy":
        return NumpyExecutable(graph)
    if backend == "jax":
        return JaxExecutable(graph)
    stages: list[pipeline.Stage] = []
    module = pipeline.lower_c(graph, record=stages if config.dump else None)
    if config.dump:
        texts = {"stages": "\n\n".join(map(str, stages)), "c": module.source}
        _dump(config.dump, module.name, texts)
    return CExecutable(graph, module, load_module(module))


def _dump(folder: str, name: str, texts: dict[str, str]) -> None:
    """Write what a compilation went through to `folder`, numbered where a name comes again."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    stem = next(s for i in count() if not (root / f"{(s := f'{name}-{i}')}.c").exists())
    for ending, text in texts.items():
        (root / f"{stem}.{ending}").write_text(text)


class CompiledFunction:
    """What `gradc.compile` returns; call it like the function it wraps."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        backend: str,
        static_argnames: Iterable[str],
        donate_argnames: Iterable[str],
        keep_grads: bool,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.backend = backend
        self.keep_grads = keep_grads
        self._static = frozenset(static_argnames)
        self._parameters = _parameter_names(fn)
        self._donated = frozenset(donate_argnames)
        for name in self._static | self._donated:
            if self._parameters and name not in self._parameters:
                raise ArgumentError(
                    f"{_name(fn)} has no parameter {name!r}", loc=user_location(3)
                )
        both = sorted(self._static & self._donated)
        if both:
            raise ArgumentError(
                f"{both[0]!r} is named in static_argnames and in donate_argnames",
                loc=user_location(3),
                hint="a static value has no memory to donate",
            )
        self._static_leaves: dict[Any, frozenset[int]] = {}
        self._cache: OrderedDict[Any, list[Specialization]] = OrderedDict()
        self._history: list[str] = []
        self._lock = threading.RLock()

    # -- calling ------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if CONTEXT.trace is not None:
            return self.fn(*args, **kwargs)
        call = read_call(args, kwargs, self._parameters, self._static)
        for specialization in self._cache.get(call.key, ()):
            if specialization.holds():
                return specialization.run(call.leaves)
        return self._specialize(args, kwargs, call).run(call.leaves)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return functools.partial(self, instance)

    def _specialize(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call
    ) -> Specialization:
        with self._lock:
            promoted = self._static_leaves.get(call.key)
            if promoted:
                return self._with_static(args, kwargs, promoted)
            try:
                staged = self._stage(call, gradient=CONTEXT.grad)
            except NeedsStatic as need:
                found = self._static_leaves.get(call.key, frozenset()) | {need.position}
                self._static_leaves[call.key] = found
                return self._with_static(args, kwargs, found)
            return self._install(call, staged)

    def _with_static(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], positions: frozenset[int]
    ) -> Specialization:
        """The specialization with these leaves static; more are added as the trace needs them."""
        while True:
            call = read_call(args, kwargs, self._parameters, self._static, positions)
            for specialization in self._cache.get(call.key, ()):
                if specialization.holds():
                    return specialization
            try:
                return self._install(call, self._stage(call, gradient=CONTEXT.grad))
            except NeedsStatic as need:
                positions = positions | {need.position}
                base = read_call(args, kwargs, self._parameters, self._static)
                self._static_leaves[base.key] = positions

    def _stage(self, call: Call, *, gradient: bool, donate: bool = True) -> Staged:
        return trace_call(
            self.fn, call, _name(self.fn), keep_grads=self.keep_grads, gradient=gradient,
            donate=self._donated if donate else frozenset(),
        )  # fmt: skip

    def _install(self, call: Call, staged: Staged) -> Specialization:
        backward = None
        if staged.gradient is not None:
            backward = make_executable(staged.gradient.graph, self.backend)
        made = Specialization(staged, make_executable(staged.graph, self.backend), backward)
        self._explain(call)
        same = self._cache.setdefault(call.key, [])
        same.insert(0, made)
        del same[LIMIT:]
        self._cache.move_to_end(call.key)
        while len(self._cache) > LIMIT:
            self._cache.popitem(last=False)
        return made

    # -- explaining ---------------------------------------------------------------------------

    def _explain(self, call: Call) -> None:
        reason = self._reason(call)
        if reason is not None:
            text = f"{_name(self.fn)}: compiled again, because {reason}"
            self._history.append(text)
            logger.info(text)

    def _reason(self, call: Call) -> str | None:
        if not self._cache:
            return None
        guarded = self._cache.get(call.key)
        if guarded:
            return guarded[0].explain()
        closest = min(self._cache, key=lambda key: _distance(key, call.key))
        return _difference(closest, call)

    def recompiles(self) -> list[str]:
        """Why the function was compiled again, one line each, oldest first."""
        return list(self._history)

    # -- stages -------------------------------------------------------------------------------

    def stage(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, donate: bool = True
    ) -> Staged:
        """The function alone, without a backward of its results, traced for these arguments.

        Args:
            donate: let results be written over arguments in `donate_argnames`.
        """
        args = tuple(args)
        call = read_call(args, kwargs, self._parameters, self._static)
        positions: frozenset[int] = frozenset()
        while True:
            try:
                return self._stage(call, gradient=False, donate=donate)
            except NeedsStatic as need:
                positions = positions | {need.position}
                call = read_call(args, kwargs, self._parameters, self._static, positions)

    def trace(self, *args: Any, **kwargs: Any) -> TracedFunction:
        """Trace for these arguments without compiling or running.

        What a call under gradient recording adds, the values its backward will read, is not here.
        """
        return TracedFunction(self.stage(args, kwargs), self.backend)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Trace and lower for these arguments."""
        return self.trace(*args, **kwargs).lower()

    @property
    def last(self) -> Specialization:
        """The most recent specialization.

        Raises:
            ArgumentError: the function has not been called yet.
        """
        if not self._cache:
            raise ArgumentError(
                f"{_name(self.fn)} has not been compiled yet: call it first",
                loc=user_location(3),
            )
        return self._cache[next(reversed(self._cache))][0]

    @property
    def compiled(self) -> Compiled:
        """The program of the most recent specialization."""
        last = self.last
        return Compiled(last.staged.graph, last.executable)

    @property
    def c_source(self) -> str:
        """The C generated for the most recent specialization."""
        return self.compiled.c_source

    @property
    def c_path(self) -> str:
        """Where the C of the most recent specialization lies."""
        return self.compiled.c_path

    def memory_analysis(self) -> MemoryAnalysis:
        """The bytes a call of the most recent specialization needs."""
        return self.compiled.memory_analysis()

    def cost_analysis(self) -> CostAnalysis:
        """Operations and bytes of a call of the most recent specialization."""
        return self.compiled.cost_analysis()

    def __repr__(self) -> str:
        return f"<compiled function {_name(self.fn)}, backend {self.backend!r}>"


@dataclass(eq=False)
class TracedFunction:
    """The first stage: what was traced. `graph` prints as text."""

    staged: Staged
    backend: str

    @property
    def graph(self) -> Graph:
        return self.staged.graph

    def as_text(self) -> str:
        return str(self.graph)

    def lower(self) -> Lowered:
        return Lowered(self.staged, self.backend)


@dataclass(eq=False)
class Lowered:
    """The second stage: the program for one backend, as text."""

    staged: Staged
    backend: str

    @functools.cached_property
    def module(self) -> Any:
        """The C module (backend "c")."""
        return pipeline.lower_c(self.staged.graph)

    def as_text(self) -> str:
        if self.backend == "c":
            return self.module.source  # type: ignore[no-any-return]
        return str(self.staged.graph)

    def compile(self) -> Compiled:
        """Build the program."""
        return Compiled(self.staged.graph, make_executable(self.staged.graph, self.backend))


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _parameter_names(fn: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


def _distance(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
    return abs(len(a) - len(b)) * 100 + sum(x != y for x, y in zip(a, b))  # type: ignore[no-any-return]


def _difference(known: tuple[Any, ...], call: Call) -> str:
    names = ["the structure of the arguments", "gradient mode", "the default dtype", *call.names()]
    for i, (before, now) in enumerate(zip(known, call.key)):
        if before != now:
            name = names[i] if i < len(names) else "how arguments share memory"
            return f"{name} is {_shown(now)} and was {_shown(before)}"
    return "the number of arguments differs"


def _shown(part: Any) -> str:
    if isinstance(part, tuple) and part and isinstance(part[0], tuple):
        shape, dtype, *grad = part
        text = f"{dtype}[{','.join(map(str, shape))}]"
        return text + (" requiring grad" if grad and grad[0] else "")
    return repr(part[1]) if isinstance(part, tuple) and len(part) == 2 else repr(part)


@overload
def compile(
    fn: Callable[..., Any],
    *,
    backend: str = ...,
    static_argnames: str | Iterable[str] = ...,
    donate_argnames: str | Iterable[str] = ...,
    dynamic: Any = ...,
    keep_grads: bool = ...,
) -> CompiledFunction: ...
@overload
def compile(
    fn: None = None,
    *,
    backend: str = ...,
    static_argnames: str | Iterable[str] = ...,
    donate_argnames: str | Iterable[str] = ...,
    dynamic: Any = ...,
    keep_grads: bool = ...,
) -> Callable[[Callable[..., Any]], CompiledFunction]: ...


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    backend: str = "c",
    static_argnames: str | Iterable[str] = (),
    donate_argnames: str | Iterable[str] = (),
    dynamic: Any = None,
    keep_grads: bool = False,
) -> Any:
    """Compile a function of tensors, up to a whole training step; usable as a decorator.

    Args:
        fn: the function; without it a decorator is returned.
        backend: "c" (generated C), "jax" (XLA, CPU or GPU), or "numpy" (no compiler needed).
        static_argnames: arguments whose value the program may depend on (compiled per value).
        donate_argnames: arguments whose memory results may take over; they cannot be used after
            the call (`DonatedError`).
        dynamic: reserved for sizes known only by name; None.
        keep_grads: keep `.grad` of parameters after a step that used it only inside.

    Raises:
        ArgumentError: an unknown backend or parameter name.
    """
    if backend not in BACKENDS:
        raise ArgumentError(
            f"backend {backend!r} is none of {', '.join(BACKENDS)}", loc=user_location()
        )
    if dynamic is not None:
        raise ArgumentError("dynamic= is not supported yet", loc=user_location())
    options = {
        "backend": backend,
        "static_argnames": _names(static_argnames),
        "donate_argnames": _names(donate_argnames),
        "keep_grads": keep_grads,
    }
    if fn is None:
        return functools.partial(_make, options=options)
    return _make(fn, options)


def _make(fn: Callable[..., Any], options: dict[str, Any]) -> CompiledFunction:
    return CompiledFunction(fn, **options)


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


__all__ = ["Compiled", "CompiledFunction", "Location", "Lowered", "TracedFunction", "compile"]
