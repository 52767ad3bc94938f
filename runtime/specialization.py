"""One specialization of a compiled function: traced once, run many times.

    trace_call(fn, call, ...)   -> Staged: the graph, and what to do around a run of it
    Specialization(staged, executable).run(leaves)

Around a run: arrays of the arguments and numbers are handed over, results are wrapped (a result
that is an argument is that argument, views of one memory stay views of one memory), arguments
that were written get their new contents, gradients land in `.grad`, and versions are bumped. All
of that happens after the executable has returned, so that a failed call changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optree

from gradc.runtime.dispatch import DirectCall
from gradc.runtime.donation import Donation, check_no_state, find_donated, match
from gradc.runtime.executable import Bound, Executable
from gradc.runtime.gradient import GradientPlan, plan_gradient
from gradc.runtime.guards import Guards, Watch
from gradc.runtime.leaks import refuse_leaks
from gradc.runtime.locks import TRACING
from gradc.runtime.signature import Call
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import CaptureError, TraceError
from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.types import TensorType, dtype_of, float64, int64
from gradc.tracer.layout import Chain
from gradc.tracer.storage import Array, Epoch, Storage
from gradc.tracer.structure import STRUCTURE
from gradc.tracer.tensor import DroppedGrad, Tensor, new_tensor
from gradc.tracer.trace import Capture, GradSlot, Hyperparameter, Trace, Traced


@dataclass(eq=False, slots=True)
class Result:
    """How one result is made: a static value, or a tensor reached from somewhere.

    Attributes:
        source: `"value"`, `"output"` (index), `"argument"` (leaf position; where that is donated,
            a new tensor on its memory), or `"tensor"`.
        chain: the views that lead from there to the result.
        grad_index: which of the differentiable results it is, or None.
        detached: whether it is an argument without its history.
    """

    source: str
    value: Any
    chain: Chain = ()
    grad_index: int | None = None
    detached: bool = False


@dataclass(eq=False, slots=True)
class Staged:
    """A traced call, ready to be compiled.

    Attributes:
        traced: the graph and its captures.
        results, result_tree: how to hand back what the function returned.
        writes: `(leaf position, output index)` of arguments that were written in place.
        grads: `(slot, output index)`: gradients of captured tensors to store after a run.
        argument_grads: `(leaf position, output index)`.
        donation: the arguments that are taken over, if any.
        seconds: what tracing took.
    """

    traced: Traced
    call: Call
    results: list[Result]
    result_tree: Any
    writes: list[tuple[int, int]]
    grads: list[tuple[GradSlot, int]]
    argument_grads: list[tuple[int, int]]
    guards: Guards
    gradient: GradientPlan | None
    function: str
    keep_grads: bool
    fn: Callable[..., Any]
    donation: Donation | None = None
    seconds: float = 0.0

    @property
    def graph(self) -> Graph:
        return self.traced.graph

    def function_of(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """The leaves of what the Python function itself gives."""
        return _flatten_result(self.fn(*args, **kwargs))[0]


# -- tracing ------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Arguments:
    """The stand-ins of a call's arguments inside the trace."""

    leaves: list[Any]
    owners: dict[Storage, int] = field(default_factory=dict)
    stand_ins: dict[int, Tensor] = field(default_factory=dict)
    donated: frozenset[int] = frozenset()
    # Arguments that are results as they are.
    handed_on: set[int] = field(default_factory=set)

    def kept(self) -> dict[int, Tensor]:
        """The stand-ins of arguments that the caller keeps."""
        return {i: t for i, t in self.stand_ins.items() if i not in self.donated}


def trace_call(
    fn: Callable[..., Any],
    call: Call,
    name: str,
    *,
    keep_grads: bool,
    gradient: bool,
    donate: frozenset[str] = frozenset(),
) -> Staged:
    """Run `fn` on stand-ins for the arguments of `call` and collect what it did.

    Args:
        gradient: also trace the backward of the results, if gradients are recorded.
        donate: parameters whose memory the results may take over.

    Raises:
        TraceError: Python asked for a value, or something that is no tensor was returned where
            it depends on a traced one.
        CaptureError: state was used that cannot be followed, or changed behind gradc's back.
    """
    donation = find_donated(call, donate, name)
    watch = Watch(fn, _static_objects(call))
    trace = Trace(name)
    trace.on_capture = watch.name_of
    with trace:
        arguments = _stand_ins(trace, call)
        if donation is not None:
            arguments.donated = frozenset(donation.positions)
        args, kwargs = call.rebuild(arguments.leaves)
        with watch:
            found = fn(*args, **kwargs)
        _check_arguments(call, args, kwargs, arguments.leaves)
        staged = _stage(trace, arguments, found, call, fn, name, keep_grads, gradient)
    if donation is not None:
        check_no_state(donation, call, [c.tensor._storage for c in staged.traced.captures])
        staged.donation = donation
    # A gradient is reached through its tensor, and guarded as the slot it lies in.
    grads = {id(s.initial._storage) for s in staged.traced.grads if isinstance(s.initial, Tensor)}
    captured = [c.tensor for c in staged.traced.captures]
    followed = [
        t for t in captured if "owner" not in t.__dict__ and id(t._storage) not in grads
    ]
    staged.guards = watch.finish(followed, trace.captured_arrays())
    return staged


def _static_objects(call: Call) -> dict[str, Any]:
    """Arguments that are neither arrays nor plain values: what they lead to may change."""
    dynamic = set(call.dynamic)
    plain = (str, bytes, int, float, type(None))
    held = [i for i, v in enumerate(call.leaves) if i not in dynamic and not isinstance(v, plain)]
    names = call.names() if held else []
    return {names[i]: call.leaves[i] for i in held}


def _check_arguments(
    call: Call, args: Sequence[Any], kwargs: dict[str, Any], leaves: Sequence[Any]
) -> None:
    """The containers of a call are made anew for the trace: what it does to them would be lost."""
    if call.tree is None:
        return
    nested: Any = (tuple(args), kwargs)
    after, tree = optree.tree_flatten(nested, none_is_leaf=True)
    if tree != call.tree or any(a is not b for a, b in zip(after, leaves)):
        raise CaptureError(
            "the traced function changed a list or dict that it was passed",
            hint="return the new contents instead; in place, only tensors can be written",
        )


def _stand_ins(trace: Trace, call: Call) -> _Arguments:
    arguments = _Arguments(list(call.leaves))
    names = call.names()
    by_storage: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for i in call.dynamic:
        leaf = call.leaves[i]
        known = by_storage.get(id(leaf._storage), []) if isinstance(leaf, Tensor) else []
        twin = next((s for t, s in known if t is leaf or t._chain == leaf._chain), None)
        if twin is None:
            twin = _stand_in(trace, leaf, names[i], i)
            arguments.owners[twin._storage] = i
            arguments.stand_ins[i] = twin
            if isinstance(leaf, Tensor):
                by_storage.setdefault(id(leaf._storage), []).append((leaf, twin))
        arguments.leaves[i] = twin
    return arguments


def _stand_in(trace: Trace, leaf: Any, name: str, position: int) -> Tensor:
    if isinstance(leaf, Tensor):
        tensor = trace.argument(leaf.type, name)
        tensor._requires_grad = leaf.requires_grad
        if leaf.requires_grad and not leaf.is_leaf:
            tensor.__dict__["outer_history"] = True
        return tensor
    if isinstance(leaf, (np.ndarray, np.generic)):
        dtype = dtype_of(leaf.dtype)
        assert dtype is not None
        return trace.argument(TensorType(leaf.shape, dtype), name)
    dtype = int64 if type(leaf) is int else float64
    tensor = trace.argument(TensorType((), dtype), name, weak=True)
    trace.weak_arguments[tensor._storage] = position
    return tensor


def _stage(
    trace: Trace,
    arguments: _Arguments,
    found: Any,
    call: Call,
    fn: Callable[..., Any],
    name: str,
    keep_grads: bool,
    gradient: bool,
) -> Staged:
    leaves, tree = _flatten_result(found)
    outputs: list[Tensor] = []
    results = _describe_results(trace, arguments, leaves, outputs)
    inputs = {s: trace.builder.inputs[k] for k, s in enumerate(arguments.owners)}
    writes = []
    for storage, position in arguments.owners.items():
        if position not in arguments.donated and trace.values[storage] is not inputs[storage]:
            writes.append((position, len(outputs)))
            outputs.append(arguments.stand_ins[position])
    _check_overlap(trace, call, bool(writes))
    argument_grads = []
    for position, stand_in in arguments.stand_ins.items():
        if isinstance(stand_in._grad, Tensor):
            argument_grads.append((position, len(outputs)))
            outputs.append(stand_in._grad)
    grads = _kept_grads(trace, keep_grads, outputs)
    differentiable = [t for t in leaves if isinstance(t, Tensor) and t._data is None]
    plan = plan_gradient(trace, differentiable, arguments.kept(), name) if gradient else None
    taken = _matched(trace, arguments, outputs)
    if plan is not None:
        _mark_differentiable(leaves, results, plan)
        plan.first_residual = len(outputs)
        outputs = [*outputs, *plan.residuals]
        trace.builder.eqns = trace.builder.eqns[: plan.mark]
        del trace.arguments[len(arguments.owners) :]
    traced = trace.finish(outputs, replaced=taken)
    unguarded: Any = None  # until the trace is closed
    return Staged(
        traced, call, results, tree, writes, grads, argument_grads, unguarded, plan, name,
        keep_grads, fn,
    )  # fmt: skip


def _matched(
    trace: Trace, arguments: _Arguments, outputs: Sequence[Tensor]
) -> list[tuple[int, int]]:
    """Which outputs are written over which donated arguments."""
    inputs = [
        (k, trace.builder.inputs[k])
        for k, (_, position) in enumerate(arguments.owners.items())
        if position in arguments.donated - arguments.handed_on
    ]
    return match(inputs, [trace.read(t) for t in outputs])


def _flatten_result(found: Any) -> tuple[list[Any], Any]:
    if isinstance(found, Tensor) or found is None:
        return [found], None
    leaves, tree = optree.tree_flatten(found, none_is_leaf=True)
    refuse_leaks(leaves)
    return leaves, tree


def _describe_results(
    trace: Trace, arguments: _Arguments, leaves: Sequence[Any], outputs: list[Tensor]
) -> list[Result]:
    traced = [t for t in leaves if isinstance(t, Tensor) and t._data is None]
    shared: dict[Storage, set[int]] = {}
    for t in traced:
        shared.setdefault(t._storage, set()).add(id(t))
    made: dict[Storage, int] = {}
    results = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or leaf._data is not None:
            results.append(Result("tensor" if isinstance(leaf, Tensor) else "value", leaf))
        elif leaf._storage in arguments.owners:
            results.append(_argument_result(trace, arguments, leaf, shared, made, outputs))
        elif leaf._storage in trace.captures:
            tensor = trace.captures[leaf._storage].tensor
            results.append(Result("tensor", tensor, leaf._chain))
        else:
            results.append(_fresh_result(leaf, shared, made, outputs))
    return results


def _argument_result(
    trace: Trace,
    arguments: _Arguments,
    leaf: Tensor,
    shared: dict[Storage, set[int]],
    made: dict[Storage, int],
    outputs: list[Tensor],
) -> Result:
    position = arguments.owners[leaf._storage]
    if position in arguments.donated and trace.values[leaf._storage] not in trace.arguments:
        return _fresh_result(leaf, shared, made, outputs)
    arguments.handed_on.add(position)
    detached = arguments.stand_ins[position].requires_grad and not leaf.requires_grad
    return Result("argument", position, leaf._chain, detached=detached)


def _fresh_result(
    leaf: Tensor,
    shared: dict[Storage, set[int]],
    made: dict[Storage, int],
    outputs: list[Tensor],
) -> Result:
    if len(shared[leaf._storage]) == 1 and leaf._chain:
        outputs.append(leaf)  # nobody can tell that it was a view
        return Result("output", len(outputs) - 1)
    index = made.get(leaf._storage)
    if index is None:
        index = made[leaf._storage] = len(outputs)
        root = leaf.alias()
        root._chain = ()
        outputs.append(root)
    return Result("output", index, leaf._chain)


def _check_overlap(trace: Trace, call: Call, writes_arguments: bool) -> None:
    """Two views of one memory are two inputs, which is wrong once one of them is written."""
    written = writes_arguments or any(
        trace.values[s] is not c.var for s, c in trace.captures.items()
    )
    if not written:
        return
    seen: dict[Storage, Chain] = {}
    for i in call.dynamic:
        leaf = call.leaves[i]
        if not isinstance(leaf, Tensor):
            continue
        other = seen.setdefault(leaf._storage, leaf._chain)
        if other != leaf._chain or leaf._storage in trace.captures:
            raise CaptureError(
                f"argument `{call.names()[i]}` shares memory with another argument or with state "
                "the function uses, and the function writes in place",
                operands=[str(leaf.type)],
                hint="pass a clone(), or pass the tensor once",
            )


def _kept_grads(
    trace: Trace, keep: bool, outputs: list[Tensor]
) -> list[tuple[GradSlot, int]]:
    kept = []
    for slot in trace.grad_slots.values():
        grad = slot.tensor._grad
        fresh = isinstance(grad, Tensor) and grad._storage not in trace.captures
        if fresh and (slot.read or keep):
            kept.append((slot, len(outputs)))
            outputs.append(grad)
    return kept


def _mark_differentiable(
    leaves: Sequence[Any], results: Sequence[Result], plan: GradientPlan
) -> None:
    positions = {id(t): i for i, t in enumerate(plan.roots)}
    for leaf, result in zip(leaves, results):
        result.grad_index = positions.get(id(leaf))
    where = {r.grad_index: i for i, r in reversed(list(enumerate(results)))}
    plan.result_positions = [where[k] for k in range(len(plan.roots))]


# -- running --------------------------------------------------------------------------------------


class Specialization:
    """A compiled function for one signature and one set of guarded values."""

    def __init__(
        self,
        staged: Staged,
        executable: Executable,
        backward: Executable | None,
        epoch: Epoch | None = None,
    ) -> None:
        self.staged = staged
        self.executable = executable
        self._backward = backward
        captures = staged.traced.captures
        self.storages = [c.tensor._storage for c in captures]
        self.bound: Bound = executable.bind(self.storages)
        self.backward = None if backward is None else backward.bind(())
        self.seconds: dict[str, float] = {}
        self.hyperparameters = staged.traced.hyperparameters
        self._state = frozenset(self.storages)
        self.positions = _argument_positions(staged.call)
        self._flags = [(c.tensor, c.tensor._requires_grad) for c in captures]
        self.structure = STRUCTURE.version
        self.slots = [(s.tensor, s.initial) for s in staged.traced.grads if s.read]
        self.finals = _final_grads(staged)
        self.epoch, self.loose = _adopt([c for c in captures if c.written is not None], epoch)
        self.direct = DirectCall(self)
        only = staged.results[0] if staged.result_tree is None else None
        plain = only is not None and only.source == "output" and not only.chain
        self._simple = plain and not (
            staged.writes or staged.grads or staged.argument_grads or self.finals
        )

    def holds(self) -> bool:
        """Whether everything the trace depended on is as it was."""
        for tensor, initial in self.slots:
            if tensor._grad is not initial:
                return False
        return self.holds_apart_from_grads()

    def holds_apart_from_grads(self) -> bool:
        """`holds()`, whatever the gradients of captured tensors are."""
        if STRUCTURE.version != self.structure:
            if any(t._requires_grad is not flag for t, flag in self._flags):
                return False
            self.structure = STRUCTURE.version
        return self.staged.guards.holds()

    def on(self, staged: Staged) -> Specialization:
        """The same program with other tensors as its state."""
        made = Specialization(staged, self.executable, self._backward, self.epoch)
        made.seconds = self.seconds
        return made

    def release(self, storages: Iterable[Storage]) -> None:
        """These are not written by the program any more."""
        if self.epoch is not None:
            with TRACING:
                for storage in storages:
                    storage.leave(self.epoch)

    def explain(self) -> str:
        """Why `holds()` is false, in words."""
        for tensor, flag in self._flags:
            if tensor._requires_grad is not flag:
                return f"a captured tensor {tensor.type} has requires_grad={not flag} now"
        for tensor, initial in self.slots:
            if tensor._grad is not initial:
                return self._explain_grad(tensor, initial)
        return self.staged.guards.explain()

    def _explain_grad(self, tensor: Tensor, initial: Any) -> str:
        path = self.staged.guards.paths.get(id(tensor))
        name = f"`{path}.grad`" if path else f"the .grad of a captured tensor {tensor.type}"
        if (tensor._grad is None) != (initial is None):
            return f"{name} is {'None' if tensor._grad is None else 'no longer None'}"
        return f"{name} is another object now"

    def run(self, leaves: Sequence[Any]) -> Any:
        """One call."""
        arrays = [_array_of(leaves[i]) for i in self.positions]
        for h in self.hyperparameters:
            arrays.append(np.array(h.value(), h.var.type.dtype.numpy))
        donation = self.staged.donation
        if donation is None:
            outputs = self.bound(arrays)
        else:
            outputs = donation.run(self.bound, leaves, arrays, self._state)
        if self.epoch is not None:
            with TRACING:
                self.epoch.count += 1
                for storage in self.loose:
                    storage.bump()
        if self._simple and self.staged.gradient is None:
            return new_tensor(outputs[self.staged.results[0].value])
        return self.finish(leaves, arrays, outputs)

    def finish(
        self, leaves: Sequence[Any], arrays: list[Array], outputs: list[Array]
    ) -> Any:
        """The results of a run, and what it leaves in arguments and `.grad`."""
        staged = self.staged
        if staged.donation is not None:
            leaves = staged.donation.replaced(leaves, dict(zip(self.positions, arrays)))
        for position, index in staged.writes:
            target = leaves[position]
            np.copyto(target.array() if isinstance(target, Tensor) else target, outputs[index])
            if isinstance(target, Tensor):
                target._storage.bump()
        if staged.argument_grads or staged.grads or self.finals:
            with TRACING:
                self._store_grads(leaves, outputs)
        made: dict[int, Tensor] = {}
        tensors = [self._result(r, leaves, outputs, made) for r in staged.results]
        if staged.gradient is not None and self.backward is not None:
            staged.gradient.record(self, leaves, arrays, outputs, tensors)
        if staged.result_tree is None:
            return tensors[0]
        return optree.tree_unflatten(staged.result_tree, tensors)

    def _store_grads(self, leaves: Sequence[Any], outputs: list[Array]) -> None:
        for position, index in self.staged.argument_grads:
            _add_grad(leaves[position], new_tensor(outputs[index]))
        for slot, index in self.staged.grads:
            slot.tensor._grad = new_tensor(outputs[index])
        for tensor, final in self.finals:
            tensor._grad = final

    def _result(
        self, r: Result, leaves: Sequence[Any], outputs: list[Array], made: dict[int, Tensor]
    ) -> Any:
        if r.source == "value":
            return r.value
        if r.source == "output":
            tensor = made.get(r.value)
            if tensor is None:
                tensor = made[r.value] = new_tensor(outputs[r.value])
        elif r.source == "argument":
            tensor = leaves[r.value]
            if isinstance(tensor, (int, float)) and not r.chain:
                return tensor
            if not isinstance(tensor, Tensor):
                tensor = new_tensor(np.array(tensor))
            elif r.detached:
                tensor = tensor.alias()
        else:
            tensor = r.value
        for prim, params in r.chain:
            tensor = prim(tensor, **params)
        return tensor


def _argument_positions(call: Call) -> list[int]:
    """The leaves that are inputs: each tensor once, as `_stand_ins` made them."""
    seen: dict[int, list[Any]] = {}
    positions = []
    for i in call.dynamic:
        leaf = call.leaves[i]
        if isinstance(leaf, Tensor):
            known = seen.setdefault(id(leaf._storage), [])
            if any(t is leaf or t._chain == leaf._chain for t in known):
                continue
            known.append(leaf)
        positions.append(i)
    return positions


def _array_of(leaf: Any) -> Array:
    if isinstance(leaf, Tensor):
        leaf = leaf.array()
    elif type(leaf) is float:
        return np.array(leaf, np.float64)
    elif type(leaf) is int:
        return np.array(leaf, np.int64)
    if type(leaf) is np.ndarray and leaf.flags.c_contiguous:
        return leaf
    return np.array(leaf, order="C")


def _final_grads(staged: Staged) -> list[tuple[Tensor, Any]]:
    """What `.grad` is after a run, where no output is stored there: None, or a note of its use."""
    stored = {id(slot) for slot, _ in staged.grads}
    finals: list[tuple[Tensor, Any]] = []
    for slot in staged.traced.grads:
        if id(slot) in stored or slot.final is slot.initial:
            continue
        captured = isinstance(slot.final, Tensor) and slot.final._data is not None
        if slot.final is None or captured:
            finals.append((slot.tensor, slot.final))
        else:
            finals.append((slot.tensor, DroppedGrad(staged.function)))
    return finals


def _add_grad(leaf: Tensor, grad: Tensor) -> None:
    if leaf._grad is None:
        leaf._grad = grad
    else:
        state, CONTEXT.grad = CONTEXT.grad, False
        try:
            leaf._grad.add_(grad)
        finally:
            CONTEXT.grad = state


def _adopt(
    written: Sequence[Capture], epoch: Epoch | None
) -> tuple[Epoch | None, list[Storage]]:
    """One epoch for all written storages; those that another executable counts are returned."""
    if not written:
        return None, []
    epoch = epoch or Epoch()
    loose = [c.tensor._storage for c in written if not c.tensor._storage.adopt(epoch)]
    return epoch, loose


__all__ = ["Hyperparameter", "Result", "Specialization", "Staged", "TraceError", "trace_call"]
