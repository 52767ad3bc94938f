"""What `gradc.compile` was told, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.codegen.passes.watch import TESTS
from gradc.tracer.errors import ArgumentError, NotSupported
from gradc.tracer.graph.source import user_location

BACKENDS = ("c", "jax", "numpy")
# What the C compiler is asked for: programs that run fast, or programs that are there soon.
MODES = ("fast-run", "fast-compile")
# Checks that are always made; naming them changes nothing, so it is refused.
ALWAYS = ("index", "division", "assert")


@dataclass(frozen=True, slots=True)
class Target:
    """What a graph is compiled to.

    Attributes:
        backend: one of `BACKENDS`.
        checks: what floating-point results are watched for: `"nan"`, `"inf"`.
        reproducible: whether the bits may not depend on the machine.
        mode: one of `MODES`.
    """

    backend: str = "c"
    checks: tuple[str, ...] = ()
    reproducible: bool = False
    mode: str = MODES[0]

    def check(self) -> None:
        """Raise ArgumentError for what there is not, or cannot be promised."""
        if self.backend not in BACKENDS:
            raise ArgumentError(
                f"backend {self.backend!r} is none of {', '.join(BACKENDS)}", loc=user_location()
            )
        if self.mode not in MODES:
            raise ArgumentError(
                f"mode {self.mode!r} is none of {', '.join(MODES)}", loc=user_location()
            )
        for kind in self.checks:
            if kind not in TESTS:
                always = ": it is always made" if kind in ALWAYS else ""
                raise ArgumentError(
                    f"checks={kind!r} is none of {', '.join(TESTS)}{always}", loc=user_location()
                )
        if self.reproducible and self.backend != "c":
            raise ArgumentError(
                f"reproducible=True cannot be promised for backend {self.backend!r}, whose "
                "results are another library's",
                loc=user_location(),
                hint='use backend="c"',
            )


@dataclass(frozen=True, slots=True)
class Options:
    """The parameters of `gradc.compile`."""

    target: Target = Target()
    static: frozenset[str] = frozenset()
    donated: frozenset[str] = frozenset()
    keep_grads: bool = False

    def check_names(self, parameters: Sequence[str], function: str) -> None:
        """Raise ArgumentError for a name that is no parameter, or is named for two purposes.

        Args:
            parameters: of the function; empty where they cannot be known.
        """
        for name in sorted(self.static | self.donated):
            if parameters and name not in parameters:
                raise ArgumentError(f"{function} has no parameter {name!r}", loc=user_location())
        both = sorted(self.static & self.donated)
        if both:
            raise ArgumentError(
                f"{both[0]!r} is named in static_argnames and in donate_argnames",
                loc=user_location(),
                hint="a static value has no memory to donate",
            )


def read_options(
    *,
    backend: str,
    static_argnames: str | Iterable[str],
    donate_argnames: str | Iterable[str],
    dynamic: Any,
    keep_grads: bool,
    checks: str | Iterable[str],
    reproducible: bool,
    mode: str,
) -> Options:
    """The parameters of `gradc.compile`, checked as far as they go without the function.

    Raises:
        ArgumentError: an unknown backend, check or mode, or a promise the backend cannot keep.
        NotSupported: `dynamic` is given.
    """
    if dynamic is not None:
        raise NotSupported(
            "dynamic=: sizes known only by name are not supported",
            loc=user_location(),
            hint="leave it out: every size is compiled once, at its first call, and kept; where "
            "sizes vary much, pad them to a few",
        )
    target = Target(backend, tuple(sorted(set(_names(checks)))), bool(reproducible), mode)
    target.check()
    return Options(
        target, frozenset(_names(static_argnames)), frozenset(_names(donate_argnames)), keep_grads
    )


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def name_of(fn: Callable[..., Any]) -> str:
    """What messages call the function."""
    return getattr(fn, "__name__", type(fn).__name__)
