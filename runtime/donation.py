"""Arguments whose memory a call takes over: `donate_argnames`.

    @gradc.compile(donate_argnames=("state",))
    def advance(state, dt): ...
    state = advance(state, 0.1)        # the new state lies where the old one lay

Where a result has the type of a donated argument, the program writes it over the argument: nothing
is allocated or copied. Donated tensors cannot be used again, whether their memory was of use or
not: every look at them, or at a view of them, is a `DonatedError` that names the call. A call that
fails gives them back as they were.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.runtime.executable import Bound
from gradc.runtime.signature import Call
from gradc.tracer.context import CONTEXT
from gradc.tracer.errors import ArgumentError, ArgumentTypeError, CaptureError
from gradc.tracer.graph.ir import Atom, Literal, Var
from gradc.tracer.graph.source import user_location
from gradc.tracer.storage import Array, Donated, Storage
from gradc.tracer.tensor import Tensor, new_tensor

# Two threads may donate one tensor at the same time: one of them gets an error.
_taking = threading.Lock()
# What is left of a donated array: read-only, and as long as the longest element.
_ONE_ELEMENT = bytes(16)


@dataclass(frozen=True, eq=False, slots=True)
class Donation:
    """What one specialization takes over.

    Attributes:
        positions: the donated leaves.
        names: of these leaves.
        function: who takes them.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    function: str

    def run(
        self, bound: Bound, leaves: Sequence[Any], arrays: list[Array], state: frozenset[Storage]
    ) -> list[Array]:
        """Call the program, with the donated leaves taken for as long as it succeeds.

        Raises:
            ArgumentError: a donated tensor is a view, read-only, or part of the program's state.
            DonatedError: it was donated before.
        """
        self._check(leaves, state)
        storages = [leaves[i]._storage for i in self.positions]
        with _taking:
            for storage in storages:
                storage.require()
            mark = Donated(self.function, user_location())
            for storage in storages:
                storage.device = mark
        try:
            outputs = bound(arrays)
        except BaseException:
            for storage in storages:
                storage.device = None
            raise
        for i in self.positions:
            _empty(leaves[i])
        return outputs

    def replaced(self, leaves: Sequence[Any], arrays: Mapping[int, Array]) -> list[Any]:
        """The leaves with new tensors on the memory of those that are gone."""
        return [new_tensor(arrays[i]) if i in self.positions else x for i, x in enumerate(leaves)]

    def _check(self, leaves: Sequence[Any], state: frozenset[Storage]) -> None:
        for i, name in zip(self.positions, self.names):
            leaf, problem = leaves[i], None
            if leaf._chain:
                problem = "is a view of another tensor"
            elif not leaf.array().flags.writeable:
                problem = "lies in read-only memory"
            elif leaf._storage in state:
                problem = "is state that the function uses"
            if problem is not None:
                raise _refusal(name, leaf, problem)


def _refusal(name: str, leaf: Tensor, problem: str) -> ArgumentError:
    return ArgumentError(
        f"the donated argument `{name}` {problem}",
        loc=user_location(),
        operands=[f"{name}  {leaf.type}"],
        hint="donate a clone() of it, or leave it out of donate_argnames",
    )


def _empty(leaf: Tensor) -> None:
    """Let go of the array; shape and dtype stay."""
    data = leaf._data
    assert data is not None
    leaf._data = np.ndarray(data.shape, data.dtype, _ONE_ELEMENT, 0, (0,) * data.ndim)
    leaf._storage.array = None


# -- tracing --------------------------------------------------------------------------------------


def find_donated(call: Call, names: frozenset[str], function: str) -> Donation | None:
    """The leaves of `call` that are donated; Python numbers and static values are not.

    Raises:
        ArgumentTypeError: a NumPy array is donated.
        ArgumentError: a donated tensor requires a gradient that is being recorded, or shares
            memory with another argument.
    """
    if not names:
        return None
    labels = call.names()
    dynamic = set(call.dynamic)
    positions = [
        i for i, label in enumerate(labels) if i in dynamic and label.split(".", 1)[0] in names
    ]
    for i in positions:
        _check_kind(labels[i], call.leaves[i])
    found = tuple(i for i in positions if isinstance(call.leaves[i], Tensor))
    for i in found:
        _check_alone(i, call, labels)
    if not found:
        return None
    return Donation(found, tuple(labels[i] for i in found), function)


def _check_kind(name: str, leaf: Any) -> None:
    if isinstance(leaf, np.ndarray):
        raise ArgumentTypeError(
            f"the donated argument `{name}` is a NumPy array, which cannot be taken over",
            loc=user_location(),
            operands=[f"{name}  {leaf.dtype}{list(leaf.shape)}"],
            hint="pass gradc.from_numpy(...), and do not use the array afterwards",
        )
    if isinstance(leaf, Tensor) and leaf.requires_grad and CONTEXT.grad:
        raise ArgumentError(
            f"the donated argument `{name}` requires a gradient, and backward may need its value",
            loc=user_location(),
            operands=[f"{name}  {leaf.type}"],
            hint="detach() it, or call the function under gradc.no_grad()",
        )


def _check_alone(i: int, call: Call, labels: Sequence[str]) -> None:
    for j in call.dynamic:
        other = call.leaves[j]
        if j != i and isinstance(other, Tensor) and other._storage is call.leaves[i]._storage:
            raise ArgumentError(
                f"the donated argument `{labels[i]}` shares memory with `{labels[j]}`",
                loc=user_location(),
                operands=[f"{labels[k]}  {call.leaves[k].type}" for k in (i, j)],
                hint="pass a clone() for one of them",
            )


def check_no_state(donation: Donation, call: Call, state: Sequence[Storage]) -> None:
    """A donated tensor may not be state that the trace captured, too.

    Raises:
        CaptureError: it is.
    """
    for i, name in zip(donation.positions, donation.names):
        if call.leaves[i]._storage in state:
            raise CaptureError(
                f"the donated argument `{name}` is also reached as state by the function",
                operands=[f"{name}  {call.leaves[i].type}"],
                hint="pass a clone(), or do not donate it",
            )


def match(inputs: Sequence[tuple[int, Var]], outputs: Sequence[Atom]) -> list[tuple[int, int]]:
    """`(output, input)` pairs of one type: which result is written over which donated argument.

    Args:
        inputs: `(position among the graph's inputs, variable)` of the donated arguments.
        outputs: the results, in order.
    """
    pairs: list[tuple[int, int]] = []
    free = list(inputs)
    taken: set[Atom] = set()
    for o, atom in enumerate(outputs):
        if isinstance(atom, Literal) or atom in taken:
            continue
        found = next((pair for pair in free if pair[1].type == atom.type), None)
        if found is not None:
            free.remove(found)
            taken.add(atom)
            pairs.append((o, found[0]))
    return pairs
