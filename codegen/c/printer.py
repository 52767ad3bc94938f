"""Loop IR to C99 text: expressions with the parentheses they need, statements, one function.

    Store(y, i, Call("add", (Load(x, i), Const(1.0, float32))))   ->   y[i] = x[i] + 1.0f;

Signed integer data goes through helpers that wrap; indices are plain int64 arithmetic. Bools are
`int` in expressions and `uint8_t` in memory. Which helpers a function calls is collected while it
is printed. Every text of the user's passes `names.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc.codegen.c.names import Names, c_comment
from gradc.codegen.c.snippets import is_long
from gradc.codegen.loops import index as ix
from gradc.codegen.loops import ir
from gradc.codegen.loops.index import Index
from gradc.tracer.errors import InternalError
from gradc.tracer.graph.types import DType

WIDTH = 100
INDENT = "    "
# Of a loop of fewer iterations, which runs once, nothing is copied for speed.
SHORT = 4
# Trees deeper than this are cut into locals: compilers bound the nesting of parentheses.
MAX_DEPTH = 40

# Binding strengths of C operators, greater binds tighter.
ATOM, UNARY, MUL, ADD, COMPARE, AND, XOR, OR, SELECT = 16, 14, 13, 12, 10, 8, 7, 6, 3

Text: TypeAlias = "tuple[str, int]"

ARITHMETIC = {"add": ("+", ADD), "sub": ("-", ADD), "mul": ("*", MUL), "div": ("/", MUL)}
COMPARISON = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
BITWISE = {"bitwise_and": ("&", AND), "bitwise_or": ("|", OR), "bitwise_xor": ("^", XOR)}
# On bools, the greater is "or" and the lesser is "and".
LOGICAL = {**BITWISE, "maximum": ("|", OR), "minimum": ("&", AND)}
CHECK_KINDS = {"index": 1, "division": 2, "assert": 3}


def c_type(dtype: DType) -> str:
    """The type of a scalar value; memory holds `dtype.c_storage`."""
    return "int" if dtype.is_bool else dtype.c_storage


def literal(value: bool | int | float, dtype: DType) -> Text:
    """A constant, such that reading it back gives the same bits."""
    if dtype.is_bool:
        return str(int(bool(value))), ATOM
    if dtype.is_integer:
        return _integer(int(value), dtype)
    return _float(float(value), dtype)


def _integer(value: int, dtype: DType) -> Text:
    if dtype.kind == "u" and dtype.bits == 64:  # else `~` would invert too few bits
        return f"UINT64_C({value})", ATOM
    if dtype.kind == "u" and dtype.bits == 32:
        return f"{value}u", ATOM
    if value == dtype.min and dtype.bits >= 32:  # C has no negative literals, only negation
        return f"INT{dtype.bits}_MIN", ATOM
    return str(value), (UNARY if value < 0 else ATOM)


def _float(value: float, dtype: DType) -> Text:
    narrow = dtype.numpy.type(value)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if np.isfinite(narrow):
        digits = str(abs(narrow))
        text = digits + ("" if any(c in digits for c in ".e") else ".0")
        text += "f" if dtype.bits == 32 else ""
    else:
        text = f"GRADC_{'NAN' if np.isnan(narrow) else 'INF'}_F{dtype.bits}"
        sign = "" if np.isnan(narrow) else sign
    return sign + text, (UNARY if sign else ATOM)


class Printer:
    """Prints functions; `helpers` gathers the names of the snippets their text calls."""

    def __init__(self, file_scope: Names) -> None:
        self.file_scope = file_scope
        self.helpers: dict[str, None] = {}

    def function(self, func: ir.Func, name: str, comment: Sequence[str] = ()) -> str:
        """The definition of `func` under `name`, below `comment` lines (sanitised here)."""
        return _FunctionPrinter(self, func).text(name, comment)

    def use(self, helper: str) -> str:
        """Note that `helper` (or macro) is needed; returns it."""
        self.helpers[helper] = None
        return helper


class _FunctionPrinter:
    """The scope and the lines of one function."""

    def __init__(self, printer: Printer, func: ir.Func) -> None:
        self.func = func
        self.use = printer.use
        self.names = Names(taken=("record",), outer=printer.file_scope)
        self.used = _used(func.body)
        self.lines: list[str] = []
        self.depth = 1
        self.once = True  # not inside a loop worth unrolling or vectorising

    # ---- the whole ------------------------------------------------------------------------------

    def text(self, name: str, comment: Sequence[str]) -> str:
        parameters = [self.parameter(b) for b in self.func.params]
        parameters += [f"{c_type(v.dtype)} {self.local(v)}" for v in self.func.values]
        if self.func.fails:
            parameters.append(f"{self.use('gradc_record')} *record")
        if self.func.tasks:
            tasks = self.func.body[-1]
            assert isinstance(tasks, ir.For)
            parameters.append(f"int64_t {self.names.pick(tasks.var, tasks.var, 'i')}")
        head = f"{self.use('GRADC_KERNEL')} void {name}("
        self.lines = [*block_comment(comment), *wrap_list(head, parameters or ["void"], ")"), "{"]
        for buffer in self.func.params:
            if buffer not in self.used:
                self.line(f"(void){self.names[buffer]};")
        if self.func.fails and not any(checks(self.func.body)):
            self.line("(void)record;")
        self.body(self.func.body)
        return "\n".join([*self.lines, "}"])

    def parameter(self, buffer: ir.Buffer) -> str:
        const = "" if buffer.written else "const "
        restrict = "" if buffer.shared else "restrict "
        name = self.names.pick(buffer, buffer.name, "p")
        return f"{const}{buffer.dtype.c_storage} *{restrict}{name}"

    def line(self, text: str) -> None:
        self.lines += wrap(INDENT * self.depth + text)

    def body(self, body: Iterable[ir.Stmt]) -> None:
        for stmt in body:
            _STATEMENTS[type(stmt)](self, stmt)

    def block(self, head: str, body: Iterable[ir.Stmt]) -> None:
        self.line(f"{head} {{")
        self.depth += 1
        self.body(body)
        self.depth -= 1

    # ---- statements -----------------------------------------------------------------------------

    def let(self, stmt: ir.Let) -> None:
        local = stmt.local
        if local in self.used or local.name in self.used:
            value = self.assigned(stmt.value, local.dtype, memory=False)
            self.line(f"const {c_type(local.dtype)} {self.local(local)} = {value};")

    def let_call(self, stmt: ir.LetCall) -> None:
        block, result = self.names.fresh("block"), self.use(f"gradc_{stmt.op}")
        args = ", ".join(self.expr(a) for a in stmt.args)
        self.line(f"const {self.use('gradc_threefry_block')} {block} = {result}({args});")
        for which, local in enumerate(stmt.locals):
            if local in self.used or local.name in self.used:
                name = self.local(local)
                self.line(f"const {c_type(local.dtype)} {name} = {block}.r{which};")

    def loop(self, stmt: ir.For) -> None:
        if stmt.mode is ir.Mode.PARALLEL:  # the task is a parameter: see `text`
            self.body(stmt.body)
            return
        hint = _HINTS.get(stmt.mode)
        if hint is not None:
            self.line(self.use(hint))
        var = self.names.pick(stmt.var, stmt.var, "i")
        start, stop = self.index(stmt.start)[0], self.within(self.index(stmt.stop), ADD)
        step = f"{var}++" if stmt.step == 1 else f"{var} += {stmt.step}"
        outside = self.once
        around = any(isinstance(s, ir.For) for s in stmt.body)
        self.once = around or (self.depth == 1 and _is_short(stmt))
        self.block(f"for (int64_t {var} = {start}; {var} < {stop}; {step})", stmt.body)
        self.once = outside
        self.line("}")

    def branch(self, stmt: ir.If) -> None:
        self.block(f"if ({self.expr(stmt.condition)})", stmt.then)
        if stmt.orelse:
            self.block("} else", stmt.orelse)
        self.line("}")

    def alloc(self, stmt: ir.Alloc) -> None:
        buffer = stmt.buffer
        if buffer not in self.used:
            return
        name = self.names.pick(buffer, buffer.name, "b")
        if buffer.shape == ():
            value = ""
            if stmt.init is not None:
                value = f" = {self.assigned(stmt.init, buffer.dtype, memory=False)}"
            self.line(f"{c_type(buffer.dtype)} {name}{value};")
            return
        zero = isinstance(stmt.init, ir.Const) and not any(stmt.init.key)
        size, aligned = max(buffer.size, 1), self.use("GRADC_ALIGNED")
        declaration = f"{buffer.dtype.c_storage} {name}[{size}] {aligned}"
        self.line(f"{declaration}{' = {0}' if zero else ''};")
        if stmt.init is not None and not zero:
            i = self.names.fresh("i")
            value = self.assigned(stmt.init, buffer.dtype, memory=True)
            self.line(f"for (int64_t {i} = 0; {i} < {size}; {i}++) {name}[{i}] = {value};")

    def store(self, stmt: ir.Store) -> None:
        place, memory = self.place(stmt.buffer, stmt.index)
        value = self.assigned(stmt.value, stmt.buffer.dtype, memory=memory)
        self.line(f"{place} = {value};")

    def accumulate(self, stmt: ir.Accumulate) -> None:
        place, memory = self.place(stmt.buffer, stmt.index)
        dtype = stmt.buffer.dtype
        args = [self.shallow(a) for a in stmt.args]
        infix = ARITHMETIC.get(stmt.op) if dtype.is_float else None
        if infix is not None:
            self.line(f"{place} {infix[0]}= {self.expr_text(args[0])[0]};")
            return
        old = ir.Load(stmt.buffer, stmt.index)
        if stmt.op == "fma" and dtype.is_float:
            a, b = (self.expr_text(x)[0] for x in args)
            helper = self.use(f"gradc_mad_{dtype.short}")
            self.line(f"{place} = {helper}({a}, {b}, {place});")
            return
        if stmt.op == "fma":
            new = ir.Call("add", (old, ir.Call("mul", tuple(args), dtype)), dtype)
        else:
            new = ir.Call(stmt.op, (old, *args), dtype)
        self.line(f"{place} = {self.assigned(new, dtype, memory=memory)};")

    def multiply(self, stmt: ir.Multiply) -> None:
        size = f"{stmt.rows}x{stmt.columns}"
        helper = self.use(f"gradc_multiply_{stmt.sums.dtype.short}_{size}")
        sums = self.names.pick(stmt.sums, stmt.sums.name, "b")
        a, b = (self.address(x.buffer, x.start) for x in (stmt.a, stmt.b))
        numbers = [stmt.a.row, stmt.a.step, b, stmt.b.step, stmt.count]
        args = [sums, a, *numbers]
        self.line(f"{helper}({', '.join(map(str, args))});")

    def transpose(self, stmt: ir.Transpose) -> None:
        helper = self.use(f"gradc_transpose_{stmt.target.dtype.short}")
        target = self.address(stmt.target, stmt.base)
        source = self.address(stmt.source.buffer, stmt.source.start)
        args = [target, stmt.columns, stmt.inside, source, stmt.source.row, stmt.count]
        self.line(f"{helper}({', '.join(map(str, args))});")

    def address(self, buffer: ir.Buffer, start: Index) -> str:
        name = self.names.pick(buffer, buffer.name, "b")
        return f"{name} + {self.index(start)[0]}" if start.terms or start.constant else name

    def check(self, stmt: ir.Check) -> None:
        kind = CHECK_KINDS[stmt.kind]
        ok = self.within(self.expr_text(self.shallow(stmt.ok)), UNARY)
        values = [self.index(stmt.element)[0], self.expr(stmt.index), stmt.limit, stmt.axis]
        args = ", ".join(map(str, ["record", kind, stmt.eqn, *values]))
        self.line(f"if (!{ok}) {self.use('gradc_fail')}({args});")

    def comment(self, stmt: ir.Comment) -> None:
        self.lines.append(f"{INDENT * self.depth}/* {c_comment(stmt.text, WIDTH // 2)} */")

    # ---- values ---------------------------------------------------------------------------------

    def assigned(self, e: ir.Expr, dtype: DType, *, memory: bool) -> str:
        """The text of `e` as the right side of an assignment to a value or to memory."""
        e = self.shallow(e)
        text = self.expr_text(e)
        fits = isinstance(e, ir.Const | ir.Load) or text[1] == COMPARE
        if dtype.is_bool and memory and not fits:
            return f"(uint8_t){self.within(text, UNARY)}"
        return text[0]

    def expr(self, e: ir.Expr) -> str:
        return self.expr_text(self.shallow(e))[0]

    def within(self, text: Text, strength: int) -> str:
        """`text` as an operand of an operator that needs at least `strength`."""
        return text[0] if text[1] >= strength else f"({text[0]})"

    def expr_text(self, e: ir.Expr) -> Text:
        return _EXPRESSIONS[type(e)](self, e)

    def const(self, e: ir.Const) -> Text:
        text = literal(e.value, e.dtype)
        macro = text[0].lstrip("-")
        if macro.startswith("GRADC_"):
            self.use(macro)
        return text

    def local(self, local: ir.Local) -> str:
        # Index expressions name locals, so the name is the key and not the object.
        return self.names.pick(local.name, local.name, "v")

    def read(self, e: ir.Read) -> Text:
        return self.local(e.local), ATOM

    def load(self, e: ir.Load) -> Text:
        return self.place(e.buffer, e.index)[0], ATOM

    def place(self, buffer: ir.Buffer, index: Index) -> tuple[str, bool]:
        """An element as a C lvalue, and whether it is memory (rather than a variable)."""
        name = self.names.pick(buffer, buffer.name, "b")
        if buffer.space is ir.Space.LOCAL and buffer.shape == ():
            return name, False
        return f"{name}[{self.index(index)[0]}]", True

    def at(self, e: ir.At) -> Text:
        return self.index(e.index)

    def call(self, e: ir.Call) -> Text:
        operand = e.args[0].dtype
        args = [self.expr_text(a) for a in e.args]
        if e.op in COMPARISON:
            left, right = (self.within(a, ADD) for a in args)
            return f"{left} {COMPARISON[e.op]} {right}", COMPARE
        if operand.is_float and e.op in ARITHMETIC:
            return self.infix(*ARITHMETIC[e.op], *args)
        if operand.is_float and e.op == "neg":
            return f"-{self.within(args[0], ATOM)}", UNARY
        if e.op == "bitwise_not":
            return self.inverted(operand, args[0])
        if e.op in (LOGICAL if operand.is_bool else BITWISE):
            return self.narrowed(self.bits(*LOGICAL[e.op], *args), operand)
        helper = f"gradc_{e.op}_{operand.short}"
        helper = self.use(f"{helper}_apart" if self.once and is_long(helper) else helper)
        return f"{helper}({', '.join(a for a, _ in args)})", ATOM

    def infix(self, operator: str, strength: int, left: Text, right: Text) -> Text:
        """Left-associative, so the right operand must bind tighter: floats do not reassociate."""
        a, b = self.within(left, strength), self.within(right, strength + 1)
        return f"{a} {operator} {b}", strength

    def bits(self, operator: str, strength: int, left: Text, right: Text) -> Text:
        """Bitwise operators, with parentheses around other operators, which readers expect."""
        a, b = (t if s in (strength, UNARY, ATOM) else f"({t})" for t, s in (left, right))
        return f"{a} {operator} {b}", strength

    def inverted(self, dtype: DType, operand: Text) -> Text:
        if dtype.is_bool:
            return f"!{self.within(operand, UNARY)}", UNARY
        if operand[1] == ATOM and dtype.bits >= 32:
            return f"~{operand[0]}", UNARY
        # Of what C promotes to int, or may see to be 0 or 1, compilers object to `~`.
        return f"{self.use(f'gradc_bitwise_not_{dtype.short}')}({operand[0]})", ATOM

    def narrowed(self, text: Text, dtype: DType) -> Text:
        """Back to a type narrower than int, which C's operators promote to int."""
        if dtype.is_integer and dtype.bits < 32:
            return f"({dtype.c_storage}){self.within(text, ATOM)}", UNARY
        return text

    def select(self, e: ir.Select) -> Text:
        p, a, b = (self.expr_text(x) for x in (e.p, e.a, e.b))
        condition = self.within(p, COMPARE)
        text = f"{condition} ? {self.within(a, OR)} : {self.within(b, OR)}"
        return self.narrowed((text, SELECT), e.dtype)

    def cast(self, e: ir.Cast) -> Text:
        source, target = e.x.dtype, e.dtype
        x = self.expr_text(e.x)
        if source is target:
            return x
        if target.is_bool:
            zero = literal(0, source)[0]
            return f"{self.within(x, ADD)} != {zero}", COMPARE
        if source.is_float and target.is_integer:
            return f"{self.use(f'gradc_{source.short}_to_{target.short}')}({x[0]})", ATOM
        return f"({target.c_storage}){self.within(x, UNARY)}", UNARY

    def bitcast(self, e: ir.Bitcast) -> Text:
        source, target = e.x.dtype, e.dtype
        x = self.expr_text(e.x)
        if source is target:
            return x
        unsigned = f"uint{source.bits}_t"
        if source.is_float:
            text: Text = (f"{self.use(f'gradc_bits_{source.short}')}({x[0]})", ATOM)
            return text if target.kind == "u" else (f"({target.c_storage}){text[0]}", UNARY)
        if target.is_float:
            bits = x[0] if source.kind == "u" else f"({unsigned}){self.within(x, UNARY)}"
            return f"{self.use(f'gradc_from_bits_{target.short}')}({bits})", ATOM
        return f"({target.c_storage}){self.within(x, UNARY)}", UNARY

    # ---- indices --------------------------------------------------------------------------------

    def index(self, e: Index) -> Text:
        """Sum of products in plain int64 arithmetic."""
        text: Text | None = None
        for atom, factor in e.terms:
            term = self.product(self.atom(atom), abs(factor))
            text = self.signed(text, term, negative=factor < 0)
        if e.constant or text is None:
            number: Text = (str(abs(e.constant)), ATOM)
            text = self.signed(text, number, negative=e.constant < 0)
        return text

    def product(self, atom: Text, factor: int) -> Text:
        return atom if factor == 1 else (f"{self.within(atom, MUL)} * {factor}", MUL)

    def signed(self, left: Text | None, term: Text, *, negative: bool) -> Text:
        if left is None:
            # As an atom: a term that begins with a minus itself would make a decrement.
            return (f"-{self.within(term, ATOM)}", UNARY) if negative else term
        return f"{left[0]} {'-' if negative else '+'} {self.within(term, MUL)}", ADD

    def atom(self, atom: ix.Atom) -> Text:
        match atom:
            case ix.Var():
                return self.names.pick(atom.name, atom.name, "i"), ATOM
            case ix.Value():
                return self.within(self.expr_text(atom.expr), UNARY), UNARY
            case ix.Div() | ix.Mod():
                return self.division(atom)
            case ix.Min():
                left, right = self.index(atom.left)[0], self.index(atom.right)[0]
                return f"{self.use('gradc_minimum_i64')}({left}, {right})", ATOM
        raise InternalError(f"{type(atom).__name__} has no C")

    def division(self, atom: ix.Div | ix.Mod) -> Text:
        operand, quotient = self.index(atom.operand), isinstance(atom, ix.Div)
        if atom.operand.lo >= 0:
            # Never stronger than ADD to the outside, so that x / 4 * 4 is read as it is meant.
            text = f"{self.within(operand, UNARY)} {'/' if quotient else '%'} {atom.divisor}"
            return text, MUL
        helper = self.use("gradc_floor_divide_i64" if quotient else "gradc_remainder_i64")
        return f"{helper}({operand[0]}, {atom.divisor})", ATOM

    # ---- depth ----------------------------------------------------------------------------------

    def shallow(self, e: ir.Expr) -> ir.Expr:
        """`e` with subtrees put into locals until no part is deeper than MAX_DEPTH."""
        results: list[tuple[ir.Expr, int]] = []
        for node in _post_order(e):
            count = len(ir.children(node))
            parts = results[len(results) - count :]
            del results[len(results) - count :]
            depth = 1 + max((d for _, d in parts), default=0)
            new = ir.with_children(node, tuple(p for p, _ in parts))
            if depth >= MAX_DEPTH:
                new, depth = self.hoisted(new), 1
            results.append((new, depth))
        return results[0][0]

    def hoisted(self, e: ir.Expr) -> ir.Read:
        local = ir.Local(self.names.fresh("t"), e.dtype)
        self.names.alias(local.name, local.name)
        text = self.expr_text(e)[0]
        self.line(f"const {c_type(e.dtype)} {local.name} = {text};")
        return ir.Read(local)

    def prefetch(self, stmt: ir.Prefetch) -> None:
        place, _ = self.place(stmt.buffer, stmt.index)
        self.line(f"{self.use('GRADC_PREFETCH')}(&{place}, {int(stmt.write)});")


_HINTS = {
    ir.Mode.SIMD: "GRADC_SIMD",
    ir.Mode.UNROLL: "GRADC_UNROLL",
    ir.Mode.ROLLED: "GRADC_ROLLED",
}
_STATEMENTS: dict[type, Callable[[_FunctionPrinter, Any], None]] = {
    ir.Let: _FunctionPrinter.let,
    ir.LetCall: _FunctionPrinter.let_call,
    ir.For: _FunctionPrinter.loop,
    ir.If: _FunctionPrinter.branch,
    ir.Alloc: _FunctionPrinter.alloc,
    ir.Store: _FunctionPrinter.store,
    ir.Accumulate: _FunctionPrinter.accumulate,
    ir.Multiply: _FunctionPrinter.multiply,
    ir.Transpose: _FunctionPrinter.transpose,
    ir.Check: _FunctionPrinter.check,
    ir.Prefetch: _FunctionPrinter.prefetch,
    ir.Comment: _FunctionPrinter.comment,
}
_EXPRESSIONS: dict[type, Callable[[_FunctionPrinter, Any], Text]] = {
    ir.Const: _FunctionPrinter.const,
    ir.Read: _FunctionPrinter.read,
    ir.Load: _FunctionPrinter.load,
    ir.At: _FunctionPrinter.at,
    ir.Call: _FunctionPrinter.call,
    ir.Cast: _FunctionPrinter.cast,
    ir.Bitcast: _FunctionPrinter.bitcast,
    ir.Select: _FunctionPrinter.select,
}


# ---- what a function uses ------------------------------------------------------------------------


def _is_short(loop: ir.For) -> bool:
    return loop.start.is_constant and loop.stop.is_constant and loop.stop.hi - loop.start.lo < SHORT


def _post_order(e: ir.Expr) -> Iterator[ir.Expr]:
    """Operands before what uses them, without recursion."""
    order, stack = [], [e]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += ir.children(node)
    return reversed(order)


def _statements(body: Iterable[ir.Stmt]) -> Iterator[ir.Stmt]:
    for s in body:
        yield s
        if isinstance(s, ir.For):
            yield from _statements(s.body)
        elif isinstance(s, ir.If):
            yield from _statements(s.then)
            yield from _statements(s.orelse)


def checks(body: Iterable[ir.Stmt]) -> Iterator[ir.Check]:
    """Every check of a body, nested ones included."""
    return (s for s in _statements(body) if isinstance(s, ir.Check))


def _parts(s: ir.Stmt) -> tuple[list[ir.Expr], list[Index]]:
    """The expressions and indices of one statement itself."""
    match s:
        case ir.Let():
            return [s.value], []
        case ir.LetCall():
            return list(s.args), []
        case ir.For():
            return [], [s.start, s.stop]
        case ir.If():
            return [s.condition], []
        case ir.Alloc():
            return ([] if s.init is None else [s.init]), []
        case ir.Store():
            return [s.value], [s.index]
        case ir.Prefetch():
            return [], [s.index]
        case ir.Accumulate():
            return list(s.args), [s.index]
        case ir.Multiply():
            return [], [s.a.start, s.b.start]
        case ir.Transpose():
            return [], [s.source.start, s.base]
        case ir.Check():
            return [s.ok, s.index], [s.element]
        case _:
            return [], []


def _used(body: Iterable[ir.Stmt]) -> set[object]:
    """Every buffer that is touched, every local that is read, every name in an index."""
    used: set[object] = set()
    for s in _statements(body):
        expressions, indices = _parts(s)
        if isinstance(s, ir.Store | ir.Accumulate | ir.Prefetch):
            used.add(s.buffer)
        elif isinstance(s, ir.Multiply):
            used |= {s.sums, s.a.buffer, s.b.buffer}
        elif isinstance(s, ir.Transpose):
            used |= {s.target, s.source.buffer}
        for e in expressions:
            _note_expression(e, used, indices)
        for index in indices:
            for atom in ix.atoms(index):
                if isinstance(atom, ix.Var):
                    used.add(atom.name)
                elif isinstance(atom, ix.Value):
                    _note_expression(atom.expr, used, indices)
    return used


def _note_expression(e: ir.Expr, used: set[object], indices: list[Index]) -> None:
    for node in _post_order(e):
        if isinstance(node, ir.Read):
            used.add(node.local)
        elif isinstance(node, ir.Load):
            used.add(node.buffer)
            indices.append(node.index)
        elif isinstance(node, ir.At):
            indices.append(node.index)


# ---- lines ---------------------------------------------------------------------------------------


def wrap(line: str) -> list[str]:
    """A statement as lines of at most WIDTH characters where it can be broken at a space."""
    lines, indent = [], len(line) - len(line.lstrip())
    while len(line) > WIDTH:
        cut = line.rfind(" ", indent + 1, WIDTH + 1)
        if cut <= indent + 8:
            break
        lines.append(line[:cut])
        line = " " * (indent + 8) + line[cut + 1 :]
        indent = len(line) - len(line.lstrip())
        indent -= 8
    return [*lines, line]


def wrap_list(head: str, items: Sequence[str], tail: str) -> list[str]:
    """`head` + items + `tail`, broken between items, aligned below the first."""
    lines, line = [], head
    for n, item in enumerate(items):
        piece = item + (tail if n + 1 == len(items) else ",")
        if n and len(line) + 1 + len(piece) > WIDTH:
            lines.append(line)
            line = " " * min(len(head), WIDTH // 2) + piece
        else:
            line += (" " if n else "") + piece
    return [*lines, line]


def block_comment(texts: Sequence[str]) -> list[str]:
    """A comment of one or several lines, each sanitised."""
    if not texts:
        return []
    first, *rest = (c_comment(t, WIDTH - 6) for t in texts)
    lines = [f"/* {first}", *(f"   {text}".rstrip() for text in rest)]
    return [*lines[:-1], f"{lines[-1]} */"]
