"""Expressions to statements: where each value is computed, and under which name.

A `Region` is a body being filled: the function, a loop. An expression belongs to the outermost
region that knows all it depends on; what is used in an inner region, or more than once, is bound
there by `Let`:

    for i: for j: y[i*8 + j] = x[i*8 + j] * exp(s[i])

        for i:
            const float exp_1 = exp(s[i]);
            for j: y[i*8 + j] = x[i*8 + j] * exp_1;
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from gradc.codegen.loops import index as ix
from gradc.codegen.loops.index import Index
from gradc.codegen.loops.ir import (
    Accumulate,
    At,
    Buffer,
    Call,
    Check,
    Const,
    Expr,
    For,
    Let,
    LetCall,
    Load,
    Local,
    Mode,
    Read,
    Result,
    Select,
    Space,
    Stmt,
    Store,
    children,
    with_children,
)


@dataclass(eq=False)
class Region:
    """A body being filled; `depth` counts the loops around it."""

    parent: Region | None
    depth: int
    stmts: list[Stmt] = field(default_factory=list)
    bound: dict[Expr, Expr] = field(default_factory=dict)

    def encloses(self, other: Region) -> bool:
        while other.depth > self.depth:
            assert other.parent is not None
            other = other.parent
        return other is self

    def lookup(self, e: Expr) -> Expr | None:
        region: Region | None = self
        while region is not None:
            if e in region.bound:
                return region.bound[e]
            region = region.parent
        return None


class Emitter:
    """Fills the regions of one function.

    Attributes:
        written: buffers the function stores to: what is read of them is bound before any store
            of the same body.
        pinned: buffers, and (buffer, index) places, that hold what the function itself has
            computed: reading them is never moved out of the body that asks for it.
    """

    def __init__(self) -> None:
        self.top = Region(None, 0)
        self.written: set[Buffer] = set()
        self.pinned: set[Buffer | tuple[Buffer, Index]] = set()
        self._stays: dict[Expr, bool] = {}
        self._names: dict[str, int] = {}
        self._variables: dict[str, Region] = {}
        self._locals: dict[Local, Region] = {}
        self._regions: dict[Expr, Region] = {}
        self._uses: dict[Expr, int] = {}

    # ---- names and loops ------------------------------------------------------------------------

    def name(self, base: str) -> str:
        """A name unique in the function."""
        n = self._names[base] = self._names.get(base, 0) + 1
        return base if n == 1 and base not in _RESERVED else self.name_numbered(base, n)

    def name_numbered(self, base: str, n: int) -> str:
        candidate = f"{base}_{n}"
        return candidate if candidate not in self._names else self.name(candidate)

    def local(self, base: str, like: Expr, region: Region) -> Local:
        local = Local(self.name(base), like.dtype)
        self._locals[local] = region
        return local

    def inner(self, region: Region, *variables: str) -> Region:
        """A new body inside `region` in which these loop variables are known."""
        body = Region(region, region.depth + 1)
        for v in variables:
            self._variables[v] = body
        return body

    def loop(
        self, region: Region, base: str, start: int, stop: int, step: int = 1
    ) -> tuple[Region, Index, str]:
        """Open a loop: its body, its variable as an index and by name. Close it with `close`."""
        name = self.name(base)
        last = start + max(stop - start - 1, 0) // step * step
        return self.inner(region, name), ix.symbol(name, start, last), name

    def ranged(self, region: Region, base: str, e: Index, size: int) -> Index:
        """`e`, known to lie in `range(size)` where its own range does not say so: as a local."""
        if e.lo >= 0 and e.hi < size:
            return e
        local = self.local(base, At(e), region)
        region.stmts.append(Let(local, At(e)))
        self._variables[local.name] = region
        return ix.symbol(local.name, 0, size - 1)

    def named(self, region: Region, base: str, e: Index) -> Index:
        """`e` as a local of `region`; itself where it is a plain variable or constant."""
        plain = len(e.terms) == 1 and e is ix.of_atom(e.terms[0][0])
        if not e.terms or (plain and isinstance(e.terms[0][0], ix.Var)):
            return e
        local = self.local(base, At(e), region)
        region.stmts.append(Let(local, At(e)))
        self._variables[local.name] = region
        return ix.symbol(local.name, e.lo, e.hi)

    def close(
        self,
        body: Region,
        name: str,
        start: int,
        stop: int,
        step: int = 1,
        mode: Mode = Mode.SERIAL,
    ) -> None:
        """Append the loop over `body` to the region around it."""
        self.close_at(body, name, ix.const(start), ix.const(stop), step, mode)

    def close_at(
        self,
        body: Region,
        name: str,
        start: Index,
        stop: Index,
        step: int = 1,
        mode: Mode = Mode.SERIAL,
    ) -> None:
        """`close` with bounds that depend on outer loops."""
        assert body.parent is not None
        body.parent.stmts.append(For(name, start, stop, step, tuple(body.stmts), mode))

    # ---- placing --------------------------------------------------------------------------------

    def region_of(self, e: Expr) -> Region:
        """The outermost region in which all that `e` depends on is known."""
        found = self._regions.get(e)
        if found is None:
            found = self._regions[e] = self._find_region(e)
        return found

    def stays(self, e: Expr) -> bool:
        """Whether `e` reads something pinned."""
        found = self._stays.get(e)
        if found is None:
            parts = list(children(e))
            if isinstance(e, Load | At):
                parts += [a.expr for a in ix.atoms(e.index) if isinstance(a, ix.Value)]
            found = any(self.stays(c) for c in parts)
            if isinstance(e, Load):
                found = found or e.buffer in self.pinned or (e.buffer, e.index) in self.pinned
            self._stays[e] = found
        return found

    def _find_region(self, e: Expr) -> Region:
        regions = [self.region_of(c) for c in children(e)]
        if isinstance(e, Read):
            regions.append(self._locals.get(e.local, self.top))
        if isinstance(e, Load | At):
            regions += [self._atom_region(a) for a in ix.atoms(e.index)]
        return max(regions, key=lambda r: r.depth, default=self.top)

    def _atom_region(self, atom: ix.Atom) -> Region:
        if isinstance(atom, ix.Var):
            return self._variables.get(atom.name, self.top)
        if isinstance(atom, ix.Value):
            return self.region_of(atom.expr)
        return self.top

    def count(self, roots: Iterable[Expr | Index]) -> None:
        """Note how often each subexpression of a body is used."""
        self._uses = {}
        stack = list(roots)
        while stack:
            e = stack.pop()
            if isinstance(e, Index):
                stack += [a.expr for a in ix.atoms(e) if isinstance(a, ix.Value)]
                continue
            self._uses[e] = self._uses.get(e, 0) + 1
            if self._uses[e] == 1:
                stack += children(e)
                if isinstance(e, Load | At):
                    stack.append(e.index)

    def use(self, e: Expr, region: Region) -> Expr:
        """`e` for a statement of `region`, with what is shared or invariant bound."""
        known = region.lookup(e)
        if known is not None:
            return known
        if isinstance(e, Const | Read):
            return e
        home = self.region_of(e)
        if isinstance(e, At):
            return At(self.index(e.index, region))
        hoisted = home is not region and home.encloses(region) and not self.stays(e)
        forced = isinstance(e, Load) and e.buffer in self.written
        if isinstance(e, Load) and e.buffer.space is Space.LOCAL and e.buffer.shape == ():
            return e  # a variable: its value is that of the moment
        if isinstance(e, Result):
            return self._bind_results(e, home if hoisted else region)
        if hoisted or forced or self._uses.get(e, 0) > 1:
            return self.bind(e, home if hoisted else region)
        return self._rebuilt(e, region)

    def bind(self, e: Expr, region: Region, base: str | None = None) -> Expr:
        """Bind `e` in `region`; returns the read of its local."""
        value = self._rebuilt(e, region)
        local = self.local(base or _base_name(e), e, region)
        region.stmts.append(Let(local, value))
        region.bound[e] = read = Read(local)
        return read

    def _rebuilt(self, e: Expr, region: Region) -> Expr:
        if isinstance(e, Load):
            return Load(e.buffer, self.index(e.index, region))
        return with_children(e, tuple(self.use(c, region) for c in children(e)))

    def _bind_results(self, e: Result, region: Region) -> Expr:
        args = tuple(self.use(a, region) for a in e.args)
        locals = tuple(self.local(f"bits{k}", e, region) for k in range(2))
        region.stmts.append(LetCall(locals, e.op, args))
        for other in list(self._uses):
            if isinstance(other, Result) and other.op == e.op and other.args == e.args:
                region.bound[other] = Read(locals[other.which])
        region.bound[e] = Read(locals[e.which])
        return region.bound[e]

    def index(self, e: Index, region: Region) -> Index:
        """`e` with the expressions in it bound to locals."""

        def replace(atom: ix.Atom) -> Index | None:
            if not isinstance(atom, ix.Value):
                return None
            known = region.lookup(atom.expr)
            if known is None:
                home = region if self.stays(atom.expr) else self.region_of(atom.expr)
                known = self.bind(atom.expr, home, "at")
            assert isinstance(known, Read)
            self._variables[known.local.name] = self._locals[known.local]
            return ix.symbol(known.local.name, atom.lo, atom.hi)

        return ix.substitute(e, replace) if _has_values(e) else e

    # ---- bodies ---------------------------------------------------------------------------------

    def body(self, region: Region, stmts: Sequence[Stmt], first: Sequence[Expr] = ()) -> None:
        """Append stores, accumulations and checks whose expressions are not placed yet: all values
        first, then the effects in order. What of `first` is used is bound in that order, so that
        no expression grows deep."""
        self.count(x for s in stmts for x in _parts(s))
        for e in first:
            if e in self._uses and not isinstance(e, Const | Read | At):
                self._uses[e] += 1
                self.use(e, region)
        region.stmts += [self._placed(s, region) for s in stmts]

    def _placed(self, s: Stmt, region: Region) -> Stmt:
        match s:
            case Store():
                return Store(s.buffer, self.index(s.index, region), self.use(s.value, region))
            case Accumulate():
                args = tuple(self.use(a, region) for a in s.args)
                return Accumulate(s.buffer, self.index(s.index, region), s.op, args)
            case Check():
                ok, index = self.use(s.ok, region), self.use(s.index, region)
                return Check(s.kind, s.eqn, ok, s.element, index, s.limit, s.axis)
            case _:
                return s


_RESERVED = frozenset(("at",))


def _parts(s: Stmt) -> list[Expr | Index]:
    match s:
        case Store():
            return [s.value, s.index]
        case Accumulate():
            return [*s.args, s.index]
        case Check():
            return [s.ok, s.index]
        case _:
            return []


def _has_values(e: Index) -> bool:
    return any(isinstance(a, ix.Value) for a in ix.atoms(e))


def _base_name(e: Expr) -> str:
    if isinstance(e, Call):
        return e.op
    if isinstance(e, Load):
        return f"{e.buffer.name}_at"
    return "chosen" if isinstance(e, Select) else "value"


# ---- nests ---------------------------------------------------------------------------------------


def nested(
    emitter: Emitter, stack: ExitStack, region: Region, sizes: Sequence[int], names: Sequence[str]
) -> tuple[Region, list[Index]]:
    """Loops within each other, closed with the stack; none over a single number."""
    variables: list[Index] = []
    for size, base in zip(sizes, names):
        if size == 1:
            variables.append(ix.const(0))
            continue
        region, v, name = emitter.loop(region, base, 0, size)
        stack.callback(emitter.close, region, name, 0, size)
        variables.append(v)
    return region, variables


def tiled(
    emitter: Emitter,
    region: Region,
    base: str,
    size: int,
    step: int,
    body: Callable[[Region, Index, int], None],
) -> None:
    """`body(region, start, extent)` over an axis in steps, and once for what is left."""
    main = size - size % step
    if main == step:
        body(region, ix.const(0), step)
    elif main:
        inner, v, name = emitter.loop(region, base, 0, main, step)
        body(inner, v, step)
        emitter.close(inner, name, 0, main, step)
    if size % step:
        body(region, ix.const(main), size % step)


def add_parts(emitter: Emitter, region: Region, buffer: Buffer, count: int, op: str) -> None:
    """What `count` tasks have left in an array, one after the other, combined into the first."""
    size = buffer.size // count
    body, part, name = emitter.loop(region, "part", 1, count)
    inner, j, j_name = emitter.loop(body, "j", 0, size)
    inner.stmts.append(Accumulate(buffer, j, op, (Load(buffer, part * size + j),)))
    emitter.close(inner, j_name, 0, size, mode=Mode.SIMD)
    emitter.close(body, name, 1, count)
