"""Runs Loop IR in Python, slowly and strictly: every index in bounds, no store to a const buffer,
no read of what was never written, and `simd` loops and tasks backwards, since their order may not
matter. Calls of one segment, too, run in any order that one thread's calls keep among themselves.

    outputs, record = run_module(module, graph, arrays)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.codegen.loops import index as ix
from gradc.codegen.loops import ir
from gradc.tracer.graph.dims import known_shape
from gradc.tracer.graph.ir import Graph
from gradc.tracer.ops.primitive import PRIMITIVES
from gradc.tracer.rules.evaluate import evaluate

UNWRITTEN = object()


@dataclass
class Failure(Exception):
    """A failing check: what the error record holds."""

    eqn: int
    element: int
    index: int
    limit: int
    axis: int
    kind: str


class Memory:
    """A flat array that knows which elements hold something."""

    name = ""

    def __init__(self, data: np.ndarray[Any, Any], known: bool) -> None:
        self.data = data.reshape(-1)
        self.known = np.full(self.data.size, known)

    def starting_at(self, n: int) -> Memory:
        """The same memory from element `n` on."""
        if n == 0:
            return self
        rest = Memory(self.data[n:], False)
        rest.known, rest.name = self.known[n:], self.name
        return rest

    def part(self, begin: int, size: int) -> Memory:
        """The same memory, a part of it."""
        found = Memory(self.data[begin : begin + size], False)
        found.known, found.name = self.known[begin : begin + size], self.name
        return found

    def read(self, at: int) -> Any:
        assert 0 <= at < self.data.size, f"reads element {at} of {self.data.size}"
        assert self.known[at], f"reads element {at} of {self.name}, which was never written"
        return self.data[at]

    def write(self, at: int, value: Any) -> None:
        assert 0 <= at < self.data.size, f"writes element {at} of {self.data.size}"
        self.data[at] = value
        self.known[at] = True


class Interpreter:
    """Runs one function, or one task of it."""

    def __init__(
        self,
        call: ir.Invoke,
        arrays: list[Memory],
        record: list[Failure],
        task: int | None = None,
    ) -> None:
        func = call.func
        offsets = call.offsets or (0,) * len(arrays)
        starting = [m.starting_at(n) for m, n in zip(arrays, offsets, strict=True)]
        self.memory: dict[ir.Buffer, Memory] = dict(zip(func.params, starting, strict=True))
        given = zip(func.values, call.values, strict=True)
        self.values: dict[str, Any] = {local.name: self.expr(v) for local, v in given}
        self.record, self.task = record, task
        self.body(func.body)

    def body(self, stmts: tuple[ir.Stmt, ...]) -> None:
        for s in stmts:
            getattr(self, f"do_{type(s).__name__.lower()}")(s)

    def index(self, e: ix.Index) -> int:
        total = e.constant
        for atom, c in e.terms:
            total += c * self.atom(atom)
        assert e.lo <= total <= e.hi, f"{e} is {total}, outside [{e.lo}, {e.hi}]"
        return total

    def atom(self, a: ix.Atom) -> int:
        if isinstance(a, ix.Var):
            return int(self.values[a.name])
        if isinstance(a, ix.Div):
            return self.index(a.operand) // a.divisor
        if isinstance(a, ix.Mod):
            return self.index(a.operand) % a.divisor
        if isinstance(a, ix.Min):
            return min(self.index(a.left), self.index(a.right))
        assert isinstance(a, ix.Value)
        return int(self.expr(a.expr))

    def expr(self, e: ir.Expr) -> Any:
        match e:
            case ir.Const():
                return np.asarray(e.value).astype(e.dtype.numpy)
            case ir.Read():
                return self.values[e.local.name]
            case ir.Load():
                return self.memory[e.buffer].read(self.index(e.index))
            case ir.At():
                return np.int64(self.index(e.index))
            case ir.Select():
                p, a, b = (self.expr(x) for x in (e.p, e.a, e.b))
                return a if p else b
            case ir.Cast():
                return apply("cast", self.expr(e.x), dtype=e.dtype)
            case ir.Bitcast():
                return apply("bitcast", self.expr(e.x), dtype=e.dtype)
            case ir.Call():
                args = [self.expr(a) for a in e.args]
                if e.args[0].dtype.is_integer and e.op in DIVISIONS and args[1] == 0:
                    return args[1]
                result = apply(e.op, *args)
                assert result.dtype == e.dtype.numpy, f"{e.op} gives {result.dtype}"
                return result
        raise AssertionError(f"unexpected {type(e).__name__}")

    # ---- statements ----------------------------------------------------------------------------

    def do_let(self, s: ir.Let) -> None:
        value = self.expr(s.value)
        assert np.asarray(value).dtype == s.local.dtype.numpy
        self.values[s.local.name] = value

    def do_letcall(self, s: ir.LetCall) -> None:
        results = evaluate[PRIMITIVES[s.op]](*(np.asarray(self.expr(a)) for a in s.args))
        for local, r in zip(s.locals, results, strict=True):
            self.values[local.name] = r

    def do_for(self, s: ir.For) -> None:
        steps = range(self.index(s.start), self.index(s.stop), s.step)
        backwards = s.mode in (ir.Mode.SIMD, ir.Mode.PARALLEL)
        one = s.mode is ir.Mode.PARALLEL and self.task is not None
        for i in [self.task] if one else reversed(steps) if backwards else steps:
            self.values[s.var] = i
            self.body(s.body)
        self.values.pop(s.var, None)

    def do_if(self, s: ir.If) -> None:
        self.body(s.then if self.expr(s.condition) else s.orelse)

    def do_alloc(self, s: ir.Alloc) -> None:
        data = np.zeros(s.buffer.size, s.buffer.dtype.numpy)
        self.memory[s.buffer] = Memory(data, s.init is not None)
        if s.init is not None:
            data[:] = self.expr(s.init)

    def do_prefetch(self, s: ir.Prefetch) -> None:
        assert 0 <= self.index(s.index) < self.memory[s.buffer].data.size

    def do_store(self, s: ir.Store) -> None:
        assert s.buffer.written, f"stores to the const {s.buffer.name}"
        value = self.expr(s.value)
        found = np.asarray(value).dtype
        assert found == s.buffer.dtype.numpy, f"stores {found} to {s.buffer.name}: {s.value}"
        self.memory[s.buffer].write(self.index(s.index), value)

    def do_accumulate(self, s: ir.Accumulate) -> None:
        assert s.buffer.written, f"stores to the const {s.buffer.name}"
        at = self.index(s.index)
        memory = self.memory[s.buffer]
        args = [self.expr(a) for a in s.args]
        if s.op == "fma":
            args = [apply("mul", *args)]
        op = "add" if s.op == "fma" else s.op
        memory.write(at, apply(op, memory.read(at), args[0]))

    def do_multiply(self, s: ir.Multiply) -> None:
        """The same sums, one step of k at a time."""
        a, b = self.memory[s.a.buffer], self.memory[s.b.buffer]
        first, second = self.index(s.a.start), self.index(s.b.start)
        for i in range(s.rows):
            for j in range(s.columns):
                total = np.zeros((), s.sums.dtype.numpy)
                for k in range(s.count):
                    x = a.read(first + i * s.a.row + k * s.a.step)
                    y = b.read(second + j * s.b.row + k * s.b.step)
                    total = apply("add", total, apply("mul", x, y))
                self.memory[s.sums].write(i * s.columns + j, total)

    def do_transpose(self, s: ir.Transpose) -> None:
        source, start = self.memory[s.source.buffer], self.index(s.source.start)
        base = self.index(s.base)
        for j in range(s.columns):
            for k in range(s.count):
                at = start + j * s.source.row + k * s.source.step
                value = source.read(at) if j < s.inside else np.zeros((), s.target.dtype.numpy)
                self.memory[s.target].write(base + k * s.columns + j, value)

    def do_check(self, s: ir.Check) -> None:
        if not self.expr(s.ok):
            index = int(self.expr(s.index))
            self.record.append(
                Failure(s.eqn, self.index(s.element), index, s.limit, s.axis, s.kind)
            )

    def do_comment(self, s: ir.Comment) -> None:
        pass


DIVISIONS = ("floor_divide", "trunc_divide", "remainder", "fmod")


def apply(op: str, *args: Any, **params: Any) -> Any:
    prim = PRIMITIVES[op.removesuffix("_nonpositive")]
    return np.asarray(evaluate[prim](*map(np.asarray, args), **params))


def _shuffled(module: ir.Module, seed: int) -> list[tuple[int, ir.Invoke]]:
    """The calls with their places, those of divided functions moved about in their segment."""
    rng = np.random.default_rng(seed)
    calls = list(enumerate(module.calls))
    if module.threads == 1:
        return calls
    assert [c.segment for _, c in calls] == sorted(c.segment for _, c in calls)
    if 0 < module.commit < len(calls) and any(f.fails for f in module.funcs):
        assert calls[module.commit - 1][1].segment < calls[module.commit][1].segment
    ordered: list[tuple[int, ir.Invoke]] = []
    for segment in dict.fromkeys(c.segment for _, c in calls):
        here = [x for x in calls if x[1].segment == segment]
        serial = [x for x in here if not x[1].func.tasks]
        groups = [[x] for x in serial]
        for divided in rng.permutation([n for n, c in here if c.func.tasks and not c.chained]):
            groups.insert(int(rng.integers(0, len(groups) + 1)), _chain(calls, int(divided)))
        ordered += [x for group in groups for x in group]
    return ordered


def _chain(calls: list[tuple[int, ir.Invoke]], first: int) -> list[tuple[int, ir.Invoke]]:
    """The call at `first` and those that are chained to it."""
    last = first + 1
    while last < len(calls) and calls[last][1].chained:
        last += 1
    return calls[first:last]


def run_module(
    module: ir.Module, graph: Graph, arrays: list[np.ndarray[Any, Any]], seed: int = 0
) -> tuple[list[np.ndarray[Any, Any]], Failure | None]:
    """Outputs and the first failure; inputs that state outputs alias are left as they were."""
    aliases = dict(graph.aliases)
    data = [np.array(a, order="C") for a in arrays]
    slots: dict[ir.Slot, Memory] = {}
    work: dict[int, Any] = {}
    in_place = dict(module.in_place)
    for slot in module.slots:
        slots[slot] = _memory(slot, data, in_place, work)
        slots[slot].name = slot.name
    for slot in module.slots:
        if slot.inside is not None and slot.inside[0] in slots:
            whole, begin = slot.inside
            slots[slot] = slots[whole].part(begin, slots[slot].data.size)
    record: list[Failure] = []
    with np.errstate(all="ignore"):
        shuffled = _shuffled(module, seed)
        for at, (n, call) in enumerate(shuffled):
            if n >= module.commit and record:
                break
            assert not call.func.fails or n < module.commit, "a check after the commit point"
            if n < module.commit:
                for slot, p in zip(call.args, call.func.params, strict=True):
                    state = slot.place is ir.Place.OUTPUT and slot.index in aliases
                    assert not (p.written and state), "state is written before the commit point"
            assert len(set(call.args)) == len(call.args), "an array is passed twice"
            if not call.chained:
                chain = [c for _, c in _chain(shuffled, at)]
                _run_chain(chain, slots, record)
    by_output = {s.index: m for s, m in slots.items() if s.place is ir.Place.OUTPUT}
    outputs = []
    for o, atom in enumerate(graph.outputs):
        shape = known_shape(atom.type.shape)
        if o in by_output:
            memory = by_output[o]
            assert record or memory.known.all(), f"output {o} is not written everywhere"
            outputs.append(memory.data.reshape(shape))
        else:  # nothing to do: the output is the state as it was, or has no elements
            empty = np.zeros(shape, atom.type.dtype.numpy)
            outputs.append(data[aliases[o]] if o in aliases else empty)
    least = min(record, key=lambda f: (f.eqn, f.element), default=None)
    return outputs, least


def _run_chain(
    chain: list[ir.Invoke], slots: dict[ir.Slot, Memory], record: list[Failure]
) -> None:
    """One call; or a chain of them, task by task, in memory that knows nothing of the last one."""
    for call in chain:
        _poison_overlaps(call, slots)
    if len(chain) == 1:
        Interpreter(chain[0], [slots[s] for s in chain[0].args], record)
        return
    for task in reversed(range(chain[0].func.tasks)):
        for slot in {s for call in chain for s in call.args if s.place is ir.Place.PRIVATE}:
            slots[slot].known[:] = False
        for call in chain:
            assert call.func.tasks == chain[0].func.tasks
            Interpreter(call, [slots[s] for s in call.args], record, task)


def _memory(
    slot: ir.Slot, data: list[np.ndarray[Any, Any]], in_place: dict[int, int], work: dict[int, Any]
) -> Memory:
    if slot.place is ir.Place.INPUT:
        return Memory(data[slot.index], True)
    if slot.place is ir.Place.CONSTANT:
        assert slot.data is not None
        return Memory(slot.data.copy(), True)
    if slot.place is ir.Place.OUTPUT and slot.index in in_place:
        return Memory(data[in_place[slot.index]], True)
    return Memory(np.zeros(slot.shape, slot.dtype.numpy), False)


def _poison_overlaps(call: ir.Invoke, slots: dict[ir.Slot, Memory]) -> None:
    """What a call may write makes unknown whatever shares its bytes in the work area."""
    for slot, p in zip(call.args, call.func.params, strict=True):
        if slot.place is ir.Place.PRIVATE:
            slots[slot].known[:] = False
        if slot.place is not ir.Place.WORK or not p.written:
            continue
        low, high = _extent(slot)
        for other in slots:
            if other is slot or other.place is not ir.Place.WORK:
                continue
            start, stop = _extent(other)
            if _is_part(slot, other):
                continue
            if start < high and low < stop:
                assert other not in call.args, f"{slot.name} and {other.name} share bytes"
                slots[other].known[:] = False


def _is_part(slot: ir.Slot, other: ir.Slot) -> bool:
    """Whether one of them is meant to lie within the other."""
    inside, other_inside = slot.inside, other.inside
    return (inside is not None and inside[0] is other) or (
        other_inside is not None and other_inside[0] is slot
    )


def _extent(slot: ir.Slot) -> tuple[int, int]:
    size = slot.dtype.itemsize
    for d in slot.shape:
        size *= d
    return slot.offset, slot.offset + size
