"""What is going on right now, per thread: gradient mode, the trace, the scope, the phase.

    with no_grad(): ...             ops record nothing
    with scope("model.0"): ...      eqns made inside carry the scope
    @composite("softmax")           one node in the user's gradient graph, one scope in the IR
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from gradc.tracer.graph.ir import Phase
from gradc.tracer.graph.source import Location

if TYPE_CHECKING:
    from gradc.tracer.trace import Trace

F = TypeVar("F", bound=Callable[..., Any])


class Composite:
    """One call of a composite: what its records are shown as."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Context(threading.local):
    """The state every op looks at.

    Attributes:
        grad: whether ops record for backward.
        trace: the innermost trace, or None when running eagerly.
        composite: the outermost composite call that is open.
        loc: stands in for the user's line while backward replays rules of a forward line.
        anomaly: whether records keep their line and backward looks for NaN.
    """

    grad: bool = True
    trace: Trace | None = None
    scope: tuple[str, ...] = ()
    phase: Phase = Phase.FORWARD
    composite: Composite | None = None
    loc: Location | None = None
    anomaly: bool = False


CONTEXT = Context()


class set_grad_enabled(ContextDecorator):
    """Set gradient mode: as a function, as a context manager, or as a decorator (torch's)."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._previous = [CONTEXT.grad]
        CONTEXT.grad = self.mode

    def __call__(self, func: F) -> F:
        # As a decorator the mode must not stay set behind the decoration.
        CONTEXT.grad = self._previous[0]
        mode = self.mode

        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(mode):
                return func(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __enter__(self) -> None:
        CONTEXT.grad = self.mode

    def __exit__(self, *exc: object) -> None:
        CONTEXT.grad = self._previous[0]


class _GradMode(ContextDecorator):
    mode: bool

    def __init__(self, func: Callable[..., Any] | None = None) -> None:
        self._previous: list[bool] = []

    def __new__(cls, func: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        if func is None:
            return self
        # `@no_grad` without parentheses decorates at once, as torch allows.
        self.__init__()  # type: ignore[misc]
        return self(func)

    def __enter__(self) -> None:
        self._previous.append(CONTEXT.grad)
        CONTEXT.grad = self.mode

    def __exit__(self, *exc: object) -> None:
        CONTEXT.grad = self._previous.pop()


class no_grad(_GradMode):
    """Record nothing inside: context manager or decorator."""

    mode = False


class enable_grad(_GradMode):
    """Record inside, also within `no_grad`: context manager or decorator."""

    mode = True


def is_grad_enabled() -> bool:
    """Whether ops record for backward now."""
    return CONTEXT.grad


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Eqns made inside carry `name` in their scope."""
    previous = CONTEXT.scope
    CONTEXT.scope = (*previous, name)
    try:
        yield
    finally:
        CONTEXT.scope = previous


@contextmanager
def phase(value: Phase) -> Iterator[None]:
    """Eqns made inside belong to this phase."""
    previous = CONTEXT.phase
    CONTEXT.phase = value
    try:
        yield
    finally:
        CONTEXT.phase = previous


def composite(name: str) -> Callable[[F], F]:
    """Decorator: a call is one node of the user's gradient graph and one scope of the IR."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            context = CONTEXT
            opened, outer_scope = context.composite, context.scope
            if opened is None:
                context.composite = Composite(name)
            context.scope = (*outer_scope, name)
            try:
                return function(*args, **kwargs)
            finally:
                context.composite, context.scope = opened, outer_scope

        return call  # type: ignore[return-value]

    return decorate
