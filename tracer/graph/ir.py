"""The graph: what a traced program is.

    Graph   ::=  name inputs:Var* eqns:Eqn* outputs:Atom* aliases:(output, input)*
    Eqn     ::=  outputs:Var+ = prim[params](inputs:Atom*)   loc phase scope
    Atom    ::=  Var | Literal
    Var     ::=  type name                  defined once, by an input or by one eqn
    Literal ::=  value type                 a 0-d constant
    phase   ::=  forward | backward | update

The order of eqns is part of the meaning: effects happen in it. Common subexpressions are left
to a pass. Every object here is immutable; a pass builds a new `Graph`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradc.tracer.graph.printer import format_graph
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import DType, TensorType

if TYPE_CHECKING:
    from gradc.tracer.ops.primitive import Primitive

_ids = count()


class Var:
    """A value of a graph. Compared by identity; `id` orders variables by creation."""

    __slots__ = ("id", "name", "type")

    def __init__(self, type: TensorType, name: str | None = None) -> None:
        self.type = type
        self.name = name
        self.id = next(_ids)

    def __repr__(self) -> str:
        return f"{self.name or f'%{self.id}'}: {self.type}"


@lru_cache(maxsize=4096)
def _literal_key(text: str, value: bool | int | float, dtype: DType) -> tuple[DType, bytes]:
    """The text tells -0.0 from 0.0 and 1 from 1.0 and True, which are equal as numbers."""
    return dtype, np.asarray(value, dtype.numpy).tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A 0-d constant. Equal literals have equal bits, so -0.0 and 0.0 differ and NaN equals NaN."""

    value: bool | int | float
    type: TensorType

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable identity: dtype and bits."""
        return _literal_key(repr(self.value), self.value, self.type.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.value)


Atom: TypeAlias = "Var | Literal"


class Phase(StrEnum):
    """Which part of a training step an eqn belongs to."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


class Params(Mapping[str, Any]):
    """The static attributes of an eqn: an immutable, hashable mapping with attribute access."""

    __slots__ = ("_hash", "_items")

    def __init__(self, **items: Any) -> None:
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_hash", None)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __getattr__(self, key: str) -> Any:
        try:
            return self._items[key]
        except KeyError:
            raise AttributeError(key) from None

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError("Params are immutable")

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def as_dict(self) -> dict[str, Any]:
        """The dict inside, not to be changed: `**params.as_dict()` is three times as fast."""
        return self._items  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(tuple(sorted(self._items.items()))))
        return self._hash  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self._items == other._items

    def __repr__(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self._items.items())


NO_PARAMS = Params()


@dataclass(frozen=True, slots=True, eq=False)
class Eqn:
    """One application of a primitive.

    Attributes:
        loc: the user's line that asked for it.
        scope: the composites it was made in, outermost first: `("model.0", "linear")`.
        id: the number a failing check reports; unique within a graph and kept by every pass.
    """

    prim: Primitive
    inputs: tuple[Atom, ...]
    params: Params
    outputs: tuple[Var, ...]
    loc: Location | None = None
    phase: Phase = Phase.FORWARD
    scope: tuple[str, ...] = ()
    id: int = -1

    @property
    def output(self) -> Var:
        """The only output."""
        (out,) = self.outputs
        return out

    def replace(self, **changes: Any) -> Eqn:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Graph:
    """A typed program.

    Attributes:
        name: the traced function's name.
        inputs: arguments first, then run-time scalars, then captured state.
        n_args: how many of `inputs` are the call's own arguments; the rest is state.
        outputs: results first, then the new values of written state.
        aliases: `(output index, input index)`: this output is the new value of that input and
            may be written over it.
    """

    name: str
    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    n_args: int = 0
    output_names: tuple[str, ...] = ()
    aliases: tuple[tuple[int, int], ...] = field(default=())

    def replace(self, **changes: Any) -> Graph:
        return replace(self, **changes)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.eqns)} eqns>"

    def __str__(self) -> str:
        return format_graph(self)
