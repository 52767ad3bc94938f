"""Programs that can be called: what every backend offers, and the one that runs generated C.

    bound = CExecutable(graph, module, load_module(module)).bind(state)
    (loss,) = bound([x, y])          one call into C; state that is written is written in place

Pointers of state are taken once. A call writes the pointers of its arguments and of fresh outputs,
and enters C, which runs without the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gradc.codegen.c.module import CheckSite, CModule
from gradc.codegen.plan.cost import nbytes
from gradc.runtime.binding import (
    BAD_POINTER,
    CHECK_FAILED,
    OVERLAP,
    STATUS_TEXT,
    THREADS,
    ErrorRecord,
    Library,
    read_record,
)
from gradc.runtime.loader import ffi
from gradc.runtime.locks import ForkLock
from gradc.runtime.memory import ALIGNMENT, Area, fresh_output, return_area, take_area
from gradc.tracer.errors import ArgumentError, ExecutionError, GradcError, InternalError
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import TensorType
from gradc.tracer.rules.failures import (
    as_called,
    check_failed,
    division_by_zero,
    index_out_of_range,
)
from gradc.tracer.storage import Array, Storage

_from_buffer = ffi.from_buffer


class Bound(Protocol):
    """A program with its state."""

    def __call__(self, args: Sequence[Array]) -> list[Array]:
        """Run once.

        Args:
            args: C-contiguous arrays of the exact types of the graph's arguments.

        Returns:
            The outputs that replace no state, in order: fresh arrays, or the array of an argument
            where the output replaces one. State is written in place.

        Raises:
            IndexOutOfRange, DivisionByZero, AssertionFailed: with the user's line; the state is
                as it was.
        """


class Executable(Protocol):
    """A program for one graph."""

    graph: Graph

    def bind(self, state: Sequence[Storage]) -> Bound:
        """The program on this state, one storage per input from `n_args` on."""


class CExecutable:
    """Generated C, loaded."""

    def __init__(self, graph: Graph, module: CModule, library: Library) -> None:
        self.graph = graph
        self.module = module
        self.library = library

    def bind(self, state: Sequence[Storage]) -> CBound:
        """The program on this state.

        Raises:
            InternalError: the number of storages or an array does not fit the program.
            ArgumentError: state that is written is read-only.
        """
        return CBound(self.module, self.library, state)


def check_error(site: CheckSite | None, record: ErrorRecord) -> GradcError:
    """The error of a failed check, in the same words as on every other executor."""
    if site is None:
        return ExecutionError(f"a check of eqn {record.eqn} failed")
    if site.kind == "index":
        error = index_out_of_range(
            site.prim, record.index, axis=record.axis, size=record.limit, loc=site.loc
        )
        return as_called(error, site.operands)
    if site.kind == "division":
        return division_by_zero(site.prim, loc=site.loc)
    return check_failed(site.message, loc=site.loc)


class _Frame:
    """The pointer tables of one call at a time, state filled in, and the size of the work area."""

    __slots__ = ("epoch", "inputs", "outputs", "work")

    def __init__(self, bound: CBound) -> None:
        module = bound.module
        THREADS.ensure()
        self.epoch = THREADS.epoch
        self.work = max(bound.library.work_bytes(), ALIGNMENT)
        self.inputs = ffi.new("const void *[]", max(1, len(module.inputs)))
        self.outputs = ffi.new("void *[]", max(1, len(module.outputs)))
        for i, address in enumerate(bound.addresses, module.n_args):
            self.inputs[i] = address
        for output, target in module.aliases:
            if target >= module.n_args:
                self.outputs[output] = bound.addresses[target - module.n_args]


# -- calling --------------------------------------------------------------------------------------


class CBound:
    """Generated C with its state.

    Threads may share it: a program that writes state runs one call at a time, any other as many
    as there are callers.
    """

    def __init__(self, module: CModule, library: Library, state: Sequence[Storage]) -> None:
        expected = len(module.inputs) - module.n_args
        if len(state) != expected:
            raise InternalError(
                f"{module.name} has {expected} state inputs and was given {len(state)}"
            )
        self.module = module
        self.library = library
        self._entry = library.entry
        self._storages = tuple(state)
        self._written = {i for _, i in module.aliases if i >= module.n_args}
        self._staged: list[tuple[Storage, Array, bool]] = []
        self._arrays = [self._settle(i, s) for i, s in enumerate(state, module.n_args)]
        self.addresses = [_from_buffer(a) for a in self._arrays]
        self._n_args = module.n_args
        updates = {o for o, i in module.aliases if i >= module.n_args}
        kept = [o for o in range(len(module.outputs)) if o not in updates]
        # (output, argument, place among the results) of what is written over an argument
        self._donated = sorted(
            (o, i, kept.index(o)) for o, i in module.aliases if i < module.n_args
        )
        replaced = {output for output, _ in module.aliases}
        self._fresh = [
            (i, known_shape(port.type.shape), port.type.dtype.numpy, nbytes(port.type))
            for i, port in enumerate(module.outputs)
            if i not in replaced
        ]
        self._frames: list[_Frame] = []
        self._lock = ForkLock() if self._written else None

    def _settle(self, position: int, storage: Storage) -> Array:
        """The array C works on: the storage's own, or a stand-in where that cannot be used."""
        array, port = storage.array, self.module.inputs[position]
        written = position in self._written
        if array is None:
            raise InternalError(f"state `{port.name}` has no data")
        if array.shape != port.type.shape or array.dtype != port.type.dtype.numpy:
            raise InternalError(
                f"state `{port.name}` is {array.dtype}{list(array.shape)}, expected {port.type}"
            )
        if written and not array.flags.writeable:
            raise ArgumentError(
                f"`{port.name}` is written by the compiled function, and its memory is read-only",
                operands=[str(port.type)],
                hint="make the tensor from a copy of the array",
            )
        if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
            return array
        twin = np.array(array, order="C")
        self._staged.append((storage, twin, written))
        return twin

    def described(self) -> dict[str, Any] | None:
        """The program for a caller in C; None where calls need more than pointers."""
        if self._staged or self._donated:
            return None
        n_args, outputs = self.module.n_args, self.module.outputs
        THREADS.ensure()
        return {
            "entry": int(ffi.cast("uintptr_t", self._entry)),
            "options": int(ffi.cast("uintptr_t", THREADS.options)),
            "threads": THREADS.options.threads,
            "work": max(self.library.work_bytes(), ALIGNMENT),
            "n_outputs": len(outputs),
            "state": tuple(int(ffi.cast("uintptr_t", a)) for a in self.addresses),
            "storages": self._storages,
            "aliases": tuple((o, i - n_args) for o, i in self.module.aliases),
            "fresh": tuple(
                (i, shape, dtype, size, TensorType(shape, outputs[i].type.dtype))
                for i, shape, dtype, size in self._fresh
            ),
            "lock": self._lock,
        }  # fmt: skip

    def __call__(self, args: Sequence[Array]) -> list[Array]:
        if self._lock is None:
            return self._run(args)
        with self._lock:
            return self._run(args)

    def _run(self, args: Sequence[Array]) -> list[Array]:
        if len(args) != self._n_args:
            raise InternalError(
                f"{self.module.name} takes {self._n_args} arguments and was given {len(args)}"
            )
        for storage in self._storages:
            if storage.device is not None:
                storage.sync()
        if self._staged:
            self._bring_in()
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self)
        else:
            if frame.epoch != THREADS.epoch:
                frame = _Frame(self)
        inputs, outputs = frame.inputs, frame.outputs
        for i, array in enumerate(args):
            inputs[i] = _from_buffer(array)
        for i, target, _ in self._donated:
            outputs[i] = _from_buffer(args[target], require_writable=True)
        results = []
        for i, shape, dtype, size in self._fresh:
            array = fresh_output(shape, dtype, size)
            outputs[i] = _from_buffer(array)
            results.append(array)
        area = take_area(frame.work)
        status = self._entry(inputs, outputs, area.address, THREADS.options)
        if status:
            status, args = self._second_try(status, args, frame, area)
            if status:
                raise self._failure(status, area)
        for _, target, place in self._donated:
            results.insert(place, args[target])
        return_area(area)
        self._frames.append(frame)
        if self._staged:
            self._bring_out()
        return results

    # -- the rare cases ---------------------------------------------------------------------------

    def _bring_in(self) -> None:
        for storage, twin, _ in self._staged:
            np.copyto(twin, storage.array)  # type: ignore[arg-type]

    def _bring_out(self) -> None:
        for storage, twin, written in self._staged:
            if written:
                np.copyto(storage.array, twin)  # type: ignore[arg-type]

    def _second_try(
        self, status: int, args: Sequence[Array], frame: _Frame, area: Area
    ) -> tuple[int, Sequence[Array]]:
        """Arguments that are misaligned, or share memory with state, are passed as copies."""
        if status not in (BAD_POINTER, OVERLAP):
            return status, args
        copies = [np.array(a, order="C") for a in args]
        for i, array in enumerate(copies):
            frame.inputs[i] = _from_buffer(array)
        for o, target, _ in self._donated:
            frame.outputs[o] = frame.inputs[target]
        status = int(self._entry(frame.inputs, frame.outputs, area.address, THREADS.options))
        return status, copies

    def _failure(self, status: int, area: Area) -> GradcError:
        if status == CHECK_FAILED:
            record = read_record(area.address)
            return check_error(self.module.checks.get(record.eqn), record)
        if status == OVERLAP:
            return ArgumentError(
                f"{self.module.name}: tensors of its state share memory, and one is written",
                operands=self._overlapping(),
                hint="make one of them from a copy",
            )
        reason = STATUS_TEXT.get(status, f"status {status}")
        return ExecutionError(f"{self.module.name}: {reason}")

    def _overlapping(self) -> list[str]:
        ports = self.module.inputs[self.module.n_args :]
        pairs = [
            (a, b)
            for i, a in enumerate(self._arrays)
            for b in self._arrays[:i]
            if np.may_share_memory(a, b)
        ]
        shared = [x for pair in pairs for x in pair]
        return [
            f"{port.name}  {port.type}"
            for port, array in zip(ports, self._arrays)
            if any(array is x for x in shared)
        ]
