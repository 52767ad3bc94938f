"""Tracing: running a Python function on tensors that stand for values of a graph.

    trace = Trace("step")
    with trace:
        x = trace.argument(TensorType((3,), float32), "x")
        y = x * 2.0
    graph = trace.finish([y]).graph

While a trace is open every op appends an eqn. A tensor from outside that is used inside is
captured: its memory becomes an input of the graph, and if it is written, an output that aliases
it. Nothing outside is changed by tracing: what ops do to captured tensors (a new `.grad`, a bumped
version) is noted and undone when the trace closes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import TraceError
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Atom, Graph, Literal, Params, Phase, Var
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import DType, TensorType, float64, int64
from gradc.tracer.layout import Chain
from gradc.tracer.ops.primitive import Primitive
from gradc.tracer.storage import Array, Storage
from gradc.tracer.tensor import Tensor, new_tensor


@dataclass(eq=False)
class Capture:
    """Memory from outside that the traced program reads or writes.

    Attributes:
        tensor: a tensor that owns the memory as a whole.
        written: the value the memory holds at the end, if it was written.
    """

    tensor: Tensor
    var: Var
    written: Atom | None = None


@dataclass(eq=False)
class Hyperparameter:
    """A number read anew at every call: `read_number(holder, key)`."""

    holder: Any
    key: Any
    var: Var
    tensor: Tensor

    def value(self) -> Any:
        """The number now."""
        return read_number(self.holder, self.key)


@dataclass(eq=False)
class GradSlot:
    """What a trace did with `tensor.grad`: what it was, whether that was looked at, what it is."""

    tensor: Tensor
    initial: Any
    read: bool = False
    written: bool = False
    final: Any = None


@dataclass(eq=False)
class Traced:
    """A finished trace.

    Attributes:
        graph: inputs are the arguments, the hyper-parameters, then the captures.
        captures, hyperparameters: in the order of their inputs.
        grads: the gradient slots of captured tensors that the trace touched.
    """

    graph: Graph
    captures: list[Capture]
    hyperparameters: list[Hyperparameter]
    grads: list[GradSlot]


class Trace:
    """An open trace: a context manager that makes ops append to its graph."""

    def __init__(self, name: str) -> None:
        self.builder = GraphBuilder(name)
        self.values: dict[Storage, Atom] = {}
        self.captures: dict[Storage, Capture] = {}
        self.hyperparameters: dict[tuple[int, Any], Hyperparameter] = {}
        self.grad_slots: dict[int, GradSlot] = {}
        self.arguments: list[Var] = []
        # Run-time numbers among the arguments, by the position their caller knows.
        self.weak_arguments: dict[Storage, int] = {}
        self._arrays: dict[int, Tensor] = {}
        self._views: dict[tuple[Atom, Primitive, Params], Atom] = {}
        self._undo: list[Callable[[], None]] = []
        self._noted: set[int] = set()
        self._parent: Trace | None = None
        # What watches the calls of this thread (`sys.setprofile`) while the trace is open. Calls
        # inside one op are gradc's own, and many: `unwatched` leaves them out.
        self.hook: Callable[..., Any] | None = None
        # Called with every captured tensor: compile looks for its owner there.
        self.on_capture: Callable[[Tensor], str | None] = lambda tensor: None

    # -- opening and closing --------------------------------------------------------------

    def __enter__(self) -> Trace:
        self._parent, CONTEXT.trace = CONTEXT.trace, self
        self._context = CONTEXT.scope, CONTEXT.phase, CONTEXT.composite, CONTEXT.loc
        return self

    def __exit__(self, *exc: object) -> None:
        CONTEXT.trace = self._parent
        CONTEXT.scope, CONTEXT.phase, CONTEXT.composite, CONTEXT.loc = self._context
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Nothing inside calls code of the user's."""
        hook, self.hook = self.hook, None
        if hook is None:
            yield
            return
        sys.setprofile(None)
        try:
            yield
        finally:
            self.hook = hook
            sys.setprofile(hook)

    # -- inputs ---------------------------------------------------------------------------

    def argument(self, type: TensorType, name: str | None = None, *, weak: bool = False) -> Tensor:
        """A new argument; `weak` for a Python number, which does not promote others."""
        var = self.builder.input(type, name)
        self.arguments.append(var)
        tensor = self.tensor(var)
        tensor._weak = weak
        return tensor

    def hyperparameter(self, holder: Any, key: Any) -> Tensor:
        """The number `holder[key]`, as a run-time scalar."""
        known = self.hyperparameters.get((id(holder), key))
        if known is not None:
            return known.tensor
        value = read_number(holder, key)
        if isinstance(value, Tensor):
            return value
        dtype = int64 if isinstance(value, int) else float64
        name = "".join(map(str, key)) if isinstance(key, tuple) else str(key)
        var = Var(TensorType((), dtype), name)
        tensor = self.tensor(var)
        tensor._weak = True
        self.hyperparameters[id(holder), key] = Hyperparameter(holder, key, var, tensor)
        return tensor

    def capture_array(self, array: Array) -> Tensor:
        """A NumPy array used inside: an input that is read again at every call."""
        known = self._arrays.get(id(array))
        if known is None:
            known = self._arrays[id(array)] = new_tensor(array)
            known.__dict__["owner"] = "array"
        return known

    def captured_arrays(self) -> list[Array]:
        """The NumPy arrays that were used inside."""
        return [t._data for t in self._arrays.values() if t._data is not None]

    def _capture(self, tensor: Tensor) -> Atom:
        tensor._storage.require()
        if tensor._data is None or tensor._storage.array is None:
            raise TraceError(
                "a tensor of a trace that has ended is used in another one",
                loc=user_location(3),
                operands=[f"self  {tensor.type}"],
                hint="return it from the function that made it",
            )
        storage = tensor._storage
        assert storage.array is not None
        root = Tensor(storage, storage.array) if tensor._chain else tensor
        name = self.on_capture(tensor)
        var = Var(root.type, name)
        self.captures[storage] = Capture(root, var)
        self.values[storage] = var
        writes = storage._writes
        self._undo.append(lambda: setattr(storage, "_writes", writes))
        return var

    # -- reading and writing values ---------------------------------------------------------

    def tensor(self, atom: Atom) -> Tensor:
        """A new tensor whose memory holds `atom`."""
        storage = Storage(None)
        self.values[storage] = atom
        return Tensor(storage, None, atom.type)

    def literal(self, value: bool | int | float, dtype: DType) -> Tensor:
        """A 0-d constant."""
        plain = dtype.numpy.type(value).item()
        return self.tensor(Literal(plain, TensorType((), dtype)))

    def root(self, tensor: Tensor) -> Atom:
        """The value of the whole memory `tensor` lives in."""
        atom = self.values.get(tensor._storage)
        return self._capture(tensor) if atom is None else atom

    def root_type(self, tensor: Tensor) -> TensorType:
        return self.root(tensor).type

    def read(self, tensor: Tensor) -> Atom:
        """The value of `tensor` now; the chain of a view is replayed on its root."""
        atom = self.root(tensor)
        for prim, params in tensor._chain:
            key = atom, prim, params
            known = self._views.get(key)
            if known is None:
                known = self._views[key] = self.emit(prim, [atom], params)[0]
            atom = known
        return atom

    def store(
        self, target: Tensor, value: Tensor, write_back: Callable[[Tensor, Chain, Tensor], Tensor]
    ) -> None:
        """Make `target`'s memory hold `value`; through a view, the root is rebuilt around it."""
        root = self.root(target)
        if target._chain:
            grad, CONTEXT.grad = CONTEXT.grad, False
            try:
                rebuilt = write_back(self.tensor(root), target._chain, value)
            finally:
                CONTEXT.grad = grad
            self.values[target._storage] = self.read(rebuilt)
        else:
            self.values[target._storage] = self.read(value)
        target._storage.bump()
        if target._data is not None:
            self.note(target)

    def emit(self, prim: Primitive, atoms: Sequence[Atom], params: Params) -> tuple[Var, ...]:
        """Append an eqn at the user's current line."""
        return self.builder.emit(
            prim,
            atoms,
            params,
            loc=CONTEXT.loc or user_location(3),
            phase=CONTEXT.phase,
            scope=CONTEXT.scope,
        )

    # -- what is noted about tensors from outside --------------------------------------------

    def note(self, tensor: Tensor) -> None:
        """Remember how `tensor`'s handle looks, to undo what the trace does to it."""
        if id(tensor) in self._noted or tensor._data is None:
            return
        self._noted.add(id(tensor))
        saved = (
            tensor._node, tensor._index, tensor._requires_grad, tensor._grad, tensor._rewrites,
            tensor._history_stamp,
        )  # fmt: skip

        def undo() -> None:
            (
                tensor._node, tensor._index, tensor._requires_grad, tensor._grad, tensor._rewrites,
                tensor._history_stamp,
            ) = saved  # fmt: skip

        self._undo.append(undo)

    def read_grad(self, tensor: Tensor) -> None:
        """`tensor.grad` is looked at."""
        if tensor._data is not None:
            slot = self._slot(tensor)
            slot.read |= not slot.written

    def write_grad(self, tensor: Tensor) -> None:
        """`tensor.grad` is set."""
        if tensor._data is not None:
            self.note(tensor)
            self._slot(tensor).written = True

    def _slot(self, tensor: Tensor) -> GradSlot:
        slot = self.grad_slots.get(id(tensor))
        if slot is None:
            slot = GradSlot(tensor, tensor._grad, final=tensor._grad)
            self.grad_slots[id(tensor)] = slot
        return slot

    # -- the graph --------------------------------------------------------------------------

    def make_static(self, tensor: Tensor) -> None:
        """A run-time number is needed while tracing, as a size: trace again with it static."""
        position = self.weak_arguments.get(tensor._storage)
        if position is not None:
            raise NeedsStatic(position)

    def finish(
        self,
        results: Sequence[Tensor],
        names: Sequence[str] = (),
        replaced: Sequence[tuple[int, int]] = (),
    ) -> Traced:
        """Close the graph with these results; call inside the trace.

        Args:
            names: of the results.
            replaced: `(result, argument)`: the result may be written over the argument.

        Inputs come in the order arguments, hyper-parameters, captures; written captures are
        appended to the outputs and alias their inputs.
        """
        outputs = [self.read(t) for t in results]
        captures = list(self.captures.values())
        hyper = list(self.hyperparameters.values())
        arguments = [*self.arguments, *(h.var for h in hyper)]
        aliases: list[tuple[int, int]] = list(replaced)
        for position, capture in enumerate(captures, len(arguments)):
            now = self.values[capture.tensor._storage]
            if now is not capture.var:
                capture.written = now
                aliases.append((len(outputs), position))
                outputs.append(now)
        for slot in self.grad_slots.values():
            slot.final = slot.tensor._grad
        self.builder.inputs = [*arguments, *(c.var for c in captures)]
        self._mark_updates(outputs[: len(results)])
        graph = self.builder.finish(
            outputs, n_args=len(arguments), output_names=names, aliases=aliases
        )
        return Traced(graph, captures, hyper, list(self.grad_slots.values()))


    def _mark_updates(self, results: Sequence[Atom]) -> None:
        """What comes behind backward and no result needs is there for the state: phase update."""
        eqns = self.builder.eqns
        backward = [i for i, e in enumerate(eqns) if e.phase is Phase.BACKWARD]
        if not backward:
            return
        needed = {a for a in results if isinstance(a, Var)}
        for i in range(len(eqns) - 1, backward[-1], -1):
            eqn = eqns[i]
            if not needed.isdisjoint(eqn.outputs):
                needed.update(a for a in eqn.inputs if isinstance(a, Var))
            elif eqn.phase is Phase.FORWARD:
                eqns[i] = eqn.replace(phase=Phase.UPDATE)


def read_number(holder: Any, key: Any) -> Any:
    """`holder[key]`, where a tuple as key is a path."""
    if isinstance(key, tuple):
        for part in key:
            holder = holder[part]
        return holder
    return holder[key]


class NeedsStatic(Exception):
    """Argument `position` must be static for the trace to go on; never seen by users."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def trace_function(
    function: Callable[..., Any], types: Sequence[TensorType], name: str | None = None
) -> Traced:
    """Trace `function` on arguments of these types; its result is one tensor or a sequence.

    Raises:
        TraceError: it returned something else than tensors.
    """
    trace = Trace(name or str(getattr(function, "__name__", "graph")))
    with trace:
        arguments = [trace.argument(t, f"x{i}") for i, t in enumerate(types)]
        found = function(*arguments)
        results = list(found) if isinstance(found, (tuple, list)) else [found]
        if not all(isinstance(r, Tensor) for r in results):
            raise TraceError("a traced function must return tensors")
        return trace.finish(results)
