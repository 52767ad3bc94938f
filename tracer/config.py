"""The settings of gradc: one table, each with an environment variable and a name in Python.

    GRADC_CC="clang -fuse-ld=lld" python train.py        from outside
    gradc.config.cc = "clang"                            from inside; wins over the environment
    for row in config.table(): print(row)                what is set, from where, and what it does

A setting is read when it is used. A value that makes no sense raises `ArgumentError`, which names
the variable and what is expected.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from gradc.tracer.errors import ArgumentError

T = TypeVar("T")

LOG_TOPICS = ("recompiles", "compiler", "cache")


@dataclass(eq=False)
class Setting(Generic[T]):
    """One row of the table, as a descriptor of `Config`.

    Attributes:
        env: the environment variable.
        default: the value where nothing is set.
        parse: text to value; raises `ValueError` with what is expected.
        doc: what it does, in one sentence.
    """

    env: str
    default: T
    parse: Callable[[str], T]
    doc: str
    name: str = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, config: None, owner: type[Any]) -> Setting[T]: ...
    @overload
    def __get__(self, config: Config, owner: type[Any]) -> T: ...
    def __get__(self, config: Config | None, owner: type[Any]) -> Setting[T] | T:
        if config is None:
            return self
        if self.name in config.assigned:
            return config.assigned[self.name]  # type: ignore[no-any-return]
        text = os.environ.get(self.env)
        return self.default if text is None or text == "" else self._parsed(text, self.env)

    def __set__(self, config: Config, value: T | str | None) -> None:
        """Set from Python; None goes back to the environment."""
        if value is None:
            config.assigned.pop(self.name, None)
            return
        text = " ".join(map(shlex.quote, value)) if isinstance(value, tuple) else str(value)
        config.assigned[self.name] = self._parsed(text, f"config.{self.name}")

    def _parsed(self, text: str, where: str) -> T:
        try:
            return self.parse(text)
        except ValueError as error:
            raise ArgumentError(f"{where}={text!r}: {error}", hint=self.doc) from None

    def source(self, config: Config) -> str:
        """Where the value comes from."""
        if self.name in config.assigned:
            return "set in Python"
        return f"${self.env}" if os.environ.get(self.env) else "default"


def _text(text: str) -> str:
    return text


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"expected a command, quoted as for a shell ({error})") from None
    if not words:
        raise ValueError("expected a command")
    return words


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("expected 0 or 1")
    return known[text.lower()]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ValueError("expected a positive number of seconds")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 0 < value <= 4096:
        raise ValueError("expected a whole number from 1 to 4096")
    return value


def _size(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    digits = text.strip().upper().removesuffix("B")
    unit = units.get(digits[-1:], 1)
    try:
        value = int(digits[:-1] if unit > 1 else digits) * unit
    except ValueError:
        value = 0
    if value <= 0:
        raise ValueError("expected a size such as 500M or 2G")
    return value


def _dispatch(text: str) -> str:
    if text not in ("auto", "c", "python"):
        raise ValueError("expected auto, c or python")
    return text


def _topics(text: str) -> tuple[str, ...]:
    found = tuple(t for t in text.replace(",", " ").split() if t)
    if found == ("all",) or found == ("1",):
        return LOG_TOPICS
    for topic in found:
        if topic not in LOG_TOPICS:
            raise ValueError(f"expected some of {', '.join(LOG_TOPICS)}, or all")
    return found


class Config:
    """All settings. Reading gives the value in force, assigning sets it for this process."""

    cc = Setting[tuple[str, ...]](
        "GRADC_CC", (), _command,
        "The C compiler, with arguments; unset: gcc, clang, cc, or zig cc, whichever is found.",
    )  # fmt: skip
    cflags = Setting[tuple[str, ...]](
        "GRADC_CFLAGS", (), _command,
        "Flags added behind gradc's own when generated C is compiled.",
    )  # fmt: skip
    cc_timeout = Setting[float](
        "GRADC_CC_TIMEOUT", 300.0, _seconds,
        "Seconds one run of the C compiler may take before it is killed.",
    )  # fmt: skip
    lock_timeout = Setting[float](
        "GRADC_LOCK_TIMEOUT", 300.0, _seconds,
        "Seconds to wait for another process that compiles the same program.",
    )  # fmt: skip
    cache_dir = Setting[str](
        "GRADC_CACHE_DIR", "", _text,
        "Where compiled programs are kept; unset: the user's cache directory.",
    )  # fmt: skip
    cache_size = Setting[int](
        "GRADC_CACHE_SIZE", 1 << 30, _size,
        "Bytes the cache may hold before the least recently used programs are removed.",
    )  # fmt: skip
    cache_disable = Setting[bool](
        "GRADC_CACHE_DISABLE", False, _flag,
        "1: keep compiled programs for this process only.",
    )  # fmt: skip
    cache_verify = Setting[bool](
        "GRADC_CACHE_VERIFY", False, _flag,
        "1: compile again on every first use and compare with the cache.",
    )  # fmt: skip
    num_threads = Setting[int](
        "GRADC_NUM_THREADS", 0, _count,
        "Threads of a compiled program; unset: OMP_NUM_THREADS, else the usable cores.",
    )  # fmt: skip
    dispatch = Setting[str](
        "GRADC_DISPATCH", "auto", _dispatch,
        "Calls through an extension in C: auto (compiled once it pays), c (at once), or python.",
    )  # fmt: skip
    dump = Setting[str](
        "GRADC_DUMP", "", _text,
        "A directory that receives every stage of every compilation as text.",
    )  # fmt: skip
    log = Setting[tuple[str, ...]](
        "GRADC_LOG", (), _topics,
        "What to report on stderr: recompiles, compiler, cache, or all.",
    )  # fmt: skip

    def __init__(self) -> None:
        object.__setattr__(self, "assigned", {})

    assigned: dict[str, Any]

    def __setattr__(self, name: str, value: Any) -> None:
        setting = vars(type(self)).get(name)
        if not isinstance(setting, Setting):
            raise ArgumentError(
                f"there is no setting {name!r}", hint="one of " + ", ".join(_settings())
            )
        setting.__set__(self, value)

    def table(self) -> Iterator[tuple[str, str, Any, str, str]]:
        """Rows of (name, environment variable, value in force, where from, what it does)."""
        for name, setting in _settings().items():
            yield name, setting.env, getattr(self, name), setting.source(self), setting.doc

    def __repr__(self) -> str:
        return "\n".join(f"{n} = {v!r}  ({source})" for n, _, v, source, _ in self.table())


def _settings() -> dict[str, Setting[Any]]:
    return {n: s for n, s in vars(Config).items() if isinstance(s, Setting)}


config = Config()


def configure_logging() -> None:
    """Report the topics of GRADC_LOG on stderr.

    Raises:
        ArgumentError: GRADC_LOG names an unknown topic.
    """
    for topic in config.log:
        logger = logging.getLogger(f"gradc.{topic}")
        logger.setLevel(logging.INFO)
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
            logger.addHandler(handler)


def default_threads() -> int:
    """The number of threads in force: set, or from the environment, or the usable cores.

    Raises:
        ArgumentError: GRADC_NUM_THREADS is no positive number.
    """
    if config.num_threads:
        return config.num_threads
    # OMP_NUM_THREADS may be a list for nested regions; what is malformed is OpenMP's affair.
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdigit() and int(first) > 0:
        return int(first)
    return usable_cores()


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
