"""The memory a tensor lives in, shared by all its views.

A `Storage` holds either a NumPy array (eager) or, while a program is traced, the SSA value that
the memory holds at this point of the trace. Writing bumps the version; a saved value whose
version has moved on is an error in backward. A step compiled for JAX leaves its results on the
device: `device` is then newer than `array` until somebody looks (`sync`).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gradc.tracer.errors import DonatedError
from gradc.tracer.graph.source import Location

Array: TypeAlias = np.ndarray[Any, Any]


class Epoch:
    """A version shared by the storages one executable writes: one bump instead of a loop."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


_STILL = Epoch()


class Donated:
    """Stands in `device` of a storage whose memory was given away: every look at it raises."""

    __slots__ = ("function", "loc")

    def __init__(self, function: str, loc: Location | None) -> None:
        self.function = function
        self.loc = loc

    def error(self) -> DonatedError:
        """What looking at the memory raises; its line is that of the call that took it."""
        return DonatedError(
            f"this tensor was donated to {self.function}, and its memory belongs to the results",
            loc=self.loc,
            hint="use what the call returned, or pass a clone()",
        )


class Storage:
    """A block of memory.

    Attributes:
        array: the data, or None for a storage that exists only inside a trace.
        device: a jax.Array that is newer than `array`, a `Donated`, or None.
        epoch: the shared part of the version; `_STILL` until an executable adopts the storage.
    """

    __slots__ = ("__weakref__", "_writes", "array", "device", "epoch")

    def __init__(self, array: Array | None) -> None:
        self.array = array
        self.device: Any = None
        self.epoch = _STILL
        self._writes = 0

    @property
    def version(self) -> int:
        """How often the memory has been written."""
        return self._writes + self.epoch.count

    def bump(self) -> None:
        """Count one write."""
        self._writes += 1

    def adopt(self, epoch: Epoch) -> bool:
        """Let `epoch` count writes from now on; False if another one does already."""
        if self.epoch is not _STILL:
            return self.epoch is epoch
        self._writes -= epoch.count
        self.epoch = epoch
        return True

    def leave(self, epoch: Epoch) -> None:
        """Let `epoch` count no more, if it is the one that does; the version stays."""
        if self.epoch is epoch:
            self._writes = self.version
            self.epoch = _STILL

    def sync(self) -> None:
        """Bring `array` up to date with the device.

        Raises:
            DonatedError: the memory was given away.
        """
        self.require()
        if self.device is not None:
            newer, self.device = self.device, None
            np.copyto(self.array, np.asarray(newer))  # type: ignore[arg-type]

    def store_device(self, value: Any) -> None:
        """Record that a jax.Array now holds the current contents; bumps nothing."""
        self.device = value

    @property
    def donated(self) -> bool:
        """Whether the memory was given away."""
        return type(self.device) is Donated

    def require(self) -> None:
        """Raise DonatedError if the memory was given away."""
        if type(self.device) is Donated:
            raise self.device.error()

    def newest(self) -> Any:
        """The current contents where they are: a jax.Array, or else the NumPy array.

        Raises:
            DonatedError: the memory was given away.
        """
        self.require()
        return self.array if self.device is None else self.device
