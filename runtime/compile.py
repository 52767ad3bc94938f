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
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, overload

from gradc.codegen.passes.watch import watch
from gradc.runtime.locks import TRACING, ForkLock
from gradc.runtime.native import MISS
from gradc.runtime.options import Options, name_of, read_options
from gradc.runtime.rebinding import rebound
from gradc.runtime.report import CostAnalysis, MemoryAnalysis
from gradc.runtime.signature import Call, by_position, positional_names, read_call
from gradc.runtime.specialization import Specialization, Staged, trace_call
from gradc.runtime.stages import Compiled, Lowered, TracedFunction, make_executable
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.source import user_location
from gradc.tracer.trace import NeedsStatic

# Specializations kept per function; the least recently used one goes first.
LIMIT = 64
# How many of them are tried before the signature is read.
MOST_DISPATCHES = 4

logger = logging.getLogger("gradc.recompiles")


class CompiledFunction:
    """What `gradc.compile` returns; call it like the function it wraps."""

    def __init__(self, fn: Callable[..., Any], options: Options) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.options = options
        self._static = options.static
        self._parameters = _parameter_names(fn)
        self._positional = positional_names(fn)
        options.check_names(self._parameters, name_of(fn))
        self._static_leaves: dict[Any, frozenset[int]] = {}
        self._cache: OrderedDict[Any, list[Specialization]] = OrderedDict()
        # The latest specializations as C calls them; each declines what is not its own.
        self._direct: dict[Specialization, Any] = {}
        self._dispatches: tuple[Any, ...] = ()
        self._history: list[str] = []
        self._lock = ForkLock()

    # -- calling ------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            for dispatch in self._dispatches:
                found = dispatch(args)
                if found is not MISS:
                    return found
        if CONTEXT.trace is not None:
            return self.fn(*args, **kwargs)
        if kwargs:
            args, kwargs = by_position(args, kwargs, self._positional)
        call = read_call(args, kwargs, self._parameters, self._static)
        for specialization in self._cache.get(call.key, ()):
            if specialization.holds():
                self._note(specialization)
                return specialization.run(call.leaves)
        return self._specialize(args, kwargs, call).run(call.leaves)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        return functools.partial(self, instance)

    def _find(self, call: Call) -> Specialization | None:
        return next((s for s in self._cache.get(call.key, ()) if s.holds()), None)

    def _rebound(self, call: Call) -> Specialization | None:
        """A specialization of which only gradients have been replaced, bound to the new ones."""
        same = self._cache.get(call.key, [])
        for i, specialization in enumerate(same):
            made = rebound(specialization, call)
            if made is not None:
                same[i] = made
                # It must not run again, even if its gradients should come back.
                self._call_directly(specialization, None)
                return made
        return None

    def _note(self, specialization: Specialization) -> None:
        """Try the specialization, whose guards hold, without reading the signature next time."""
        dispatch = specialization.direct.renewed()
        if dispatch is not self._direct.get(specialization):
            self._call_directly(specialization, dispatch)

    def _call_directly(self, specialization: Specialization, dispatch: Any) -> None:
        """Try this dispatch first, in the place of the one there was; None: none any more."""
        kept = {s: d for s, d in self._direct.items() if s is not specialization}
        if dispatch is not None:
            kept = {specialization: dispatch, **kept}
        self._direct = dict(list(kept.items())[:MOST_DISPATCHES])
        self._dispatches = tuple(self._direct.values())

    def _specialize(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call
    ) -> Specialization:
        """The specialization for this call; numbers that its trace needs as sizes become static.

        Of threads that come here together one traces and compiles, the others find what it made.
        """
        base = call.key
        with self._lock:
            while True:
                positions = self._static_leaves.get(base, frozenset())
                if positions:
                    call = read_call(args, kwargs, self._parameters, self._static, positions)
                with TRACING:
                    known = self._find(call)
                    if known is not None:
                        self._note(known)
                        return known
                    known = self._rebound(call)
                    if known is not None:
                        return known
                    try:
                        staged = self._stage(call, gradient=CONTEXT.grad)
                    except NeedsStatic as need:
                        self._static_leaves[base] = positions | {need.position}
                        continue
                return self._install(call, staged)

    def _stage(self, call: Call, *, gradient: bool, donate: bool = True) -> Staged:
        begin = perf_counter()
        staged = trace_call(
            self.fn, call, name_of(self.fn), keep_grads=self.options.keep_grads, gradient=gradient,
            donate=self.options.donated if donate else frozenset(),
        )  # fmt: skip
        staged.seconds = perf_counter() - begin
        kinds = self.options.target.checks
        staged.traced.graph = watch(staged.traced.graph, kinds)
        if staged.gradient is not None:
            staged.gradient.graph = watch(staged.gradient.graph, kinds)
        return staged

    def _install(self, call: Call, staged: Staged) -> Specialization:
        backward, target = None, self.options.target
        seconds: dict[str, float] = {}
        if staged.gradient is not None:
            backward = make_executable(staged.gradient.graph, target)
        executable = make_executable(staged.graph, target, seconds)
        made = Specialization(staged, executable, backward)
        made.seconds = {"trace": staged.seconds, **seconds}
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
            text = f"{name_of(self.fn)}: compiled again, because {reason}"
            self._history.append(text)
            logger.info(text)

    def _reason(self, call: Call) -> str | None:
        if not self._cache:
            return None
        guarded = self._cache.get(call.key)
        if guarded:
            return guarded[0].explain()
        closest = min(self._cache, key=lambda key: _distance(key, call.key))
        return _difference(self._cache[closest][0].staged.call, call)

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
                with TRACING:
                    return self._stage(call, gradient=False, donate=donate)
            except NeedsStatic as need:
                positions = positions | {need.position}
                call = read_call(args, kwargs, self._parameters, self._static, positions)

    def trace(self, *args: Any, **kwargs: Any) -> TracedFunction:
        """Trace for these arguments without compiling or running.

        What a call under gradient recording adds, the values its backward will read, is not here.
        """
        return TracedFunction(self.stage(args, kwargs), self.options.target)

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
                f"{name_of(self.fn)} has not been compiled yet: call it first",
                loc=user_location(3),
            )
        return self._cache[next(reversed(self._cache))][0]

    @property
    def compiled(self) -> Compiled:
        """The program of the most recent specialization."""
        last = self.last
        return Compiled(
            last.staged.graph, last.executable, self.options.target, last.seconds, self.recompiles()
        )

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

    def report(self, path: str | Path) -> Path:
        """Write a page of HTML about the most recent specialization; see `Compiled.report`."""
        return self.compiled.report(path)

    def __repr__(self) -> str:
        return f"<compiled function {name_of(self.fn)}, backend {self.options.target.backend!r}>"


def _parameter_names(fn: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


def _distance(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
    return abs(len(a) - len(b)) * 100 + sum(x != y for x, y in zip(a, b))  # type: ignore[no-any-return]


def _difference(known: Call, call: Call) -> str:
    before, now = known.names(), call.names()
    if set(before) != set(now):
        return _other_arguments(before, now)
    if known.tree != call.tree:
        return "the arguments lie in containers of other types"
    names = ["gradient mode", "the default dtype", *now]
    for name, old, new in zip(names, known.key[1:], call.key[1:]):
        if old != new:
            return f"{name} is {_shown(new)} and was {_shown(old)}"
    return "arguments share memory in another way"


def _other_arguments(before: Sequence[str], now: Sequence[str]) -> str:
    changes = []
    for verb, names in (("new", _without(now, before)), ("gone", _without(before, now))):
        if names:
            dots = ", ..." if len(names) > _NAMED else ""
            quoted = ", ".join(f"`{n}`" for n in names[:_NAMED])
            one = len(names) == 1
            changes.append(f"argument{'' if one else 's'} {quoted}{dots} "
                           f"{'is' if one else 'are'} {verb}")  # fmt: skip
    return " and ".join(changes)


def _without(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return [n for n in names if n not in set(known)]


# How many arguments a reason lists.
_NAMED = 4


def _shown(part: Any) -> str:
    if isinstance(part, type):
        return f"a run-time {part.__name__}"
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
    checks: str | Iterable[str] = ...,
    reproducible: bool = ...,
    mode: str = ...,
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
    checks: str | Iterable[str] = ...,
    reproducible: bool = ...,
    mode: str = ...,
) -> Callable[[Callable[..., Any]], CompiledFunction]: ...


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    backend: str = "c",
    static_argnames: str | Iterable[str] = (),
    donate_argnames: str | Iterable[str] = (),
    dynamic: Any = None,
    keep_grads: bool = False,
    checks: str | Iterable[str] = (),
    reproducible: bool = False,
    mode: str = "fast-run",
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
        checks: "nan", "inf" or both: raise `NotFinite`, with the line, where an operation makes
            one of operands that had none; state is then as before the call. Indices, integer
            divisions and assertions are always checked.
        reproducible: the same bits from every compiler and on every machine (backend "c").
        mode: `"fast-compile"` asks the C compiler for less: the first call takes about half as
            long, every other one some times longer; the results are the same.

    Raises:
        ArgumentError: an unknown backend, check or parameter name.
        NotSupported: `dynamic` is given.
    """
    options = read_options(
        backend=backend, static_argnames=static_argnames, donate_argnames=donate_argnames,
        dynamic=dynamic, keep_grads=keep_grads, checks=checks, reproducible=reproducible,
        mode=mode,
    )  # fmt: skip
    if fn is None:
        return functools.partial(CompiledFunction, options=options)
    return CompiledFunction(fn, options)


__all__ = ["Compiled", "CompiledFunction", "Lowered", "TracedFunction", "compile"]
