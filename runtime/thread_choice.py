"""Whether a program's calls are worth several threads just now.

    choice.call(entry, inputs, outputs, work)

On cores that other programs keep busy, threads wait for one another longer than they help, and a
short call takes several times as long as on one thread. So now and then a few calls are timed both
ways, and the quicker way is kept until the next time. Results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from gradc.runtime.binding import ALONE, THREADS

# Calls of a trial; the first is not counted, for threads may have to be woken for it.
TRIAL = 5
# Calls between trials.
STRETCH = 400
# Longer calls gain from threads whatever else runs, and trying them on one would cost much.
LONG_NS = 2_000_000
# Several threads are given up for a clear gain only.
GAIN = 0.9


class ThreadChoice:
    """The choice for one program. Calls from several Python threads may disturb a trial, which
    makes the choice worse and nothing else."""

    __slots__ = ("_best", "_left", "_together", "_trial", "options")

    def __init__(self) -> None:
        self._left, self._trial = 0, True
        self._best = self._together = 0
        self._start(trial=True, together=True)

    @property
    def alone(self) -> bool:
        """Whether calls run on one thread at present."""
        return self.options is ALONE

    def call(
        self, entry: Callable[..., int], inputs: Any, outputs: Any, work: Any
    ) -> int:
        """Run a program; its status."""
        start = perf_counter_ns()
        status = entry(inputs, outputs, work, self.options)
        self.took(perf_counter_ns() - start)
        return status

    def took(self, ns: int) -> None:
        """Note how long the latest call took."""
        self._left -= 1
        if self._trial and self._left < TRIAL - 1:
            self._best = min(self._best, ns)
        if self._left > 0:
            return
        if not self._trial:
            self._start(trial=True, together=True)
        elif self.alone:
            self._start(trial=False, together=self._best > GAIN * self._together)
        elif self._best > LONG_NS or THREADS.options.threads == 1:
            self._start(trial=False, together=True)
        else:
            self._together = self._best
            self._start(trial=True, together=False)

    def _start(self, *, trial: bool, together: bool) -> None:
        self.options = THREADS.options if together else ALONE
        self._trial, self._best = trial, 1 << 62
        self._left = TRIAL if trial else STRETCH
