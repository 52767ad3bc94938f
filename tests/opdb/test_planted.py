"""The samples see what they must: a bug planted in a rule is caught by the specs of its primitive.

NumPy and gradient rules are broken one at a time, each in several ways, among them the mistakes one
would make (`PLAUSIBLE`); the scalar rules of C and JAX all at once, since each needs a compiler, and
then every elementwise spec must see its own. What else becomes C is broken in the graph that is
lowered: every primitive in the samples of its own specs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradc.codegen.loops import scalar
from gradc.codegen.loops.ir import Call, Cast, Const
from gradc.runtime.numpy_executable import NumpyExecutable
from gradc.tracer import interpreter, record
from gradc.tracer.errors import DivisionByZero
from gradc.tracer.graph.types import float32, float64, int32
from gradc.tracer.ops.primitive import PRIMITIVES
from gradc.tracer.rules.evaluate import evaluate
from gradc.tracer.rules.vjp import NOT_DIFFERENTIABLE, vjp

from .driver import FAMILIES, QUICK_C, Case, Program, mismatch, programs, reference
from .gradients import differentiable, first_faults
from .plausible import BROKEN_EQNS, PLAUSIBLE

SPECS = {p: [s for f in FAMILIES.values() for s in f if p in s.prims] for p in PRIMITIVES}
FAMILY = {s.name: name for name, specs in FAMILIES.items() for s in specs}


@pytest.fixture
def plant(monkeypatch):
    """Replaces a cell of a rule table, and forgets what was derived from it."""
    caches = (interpreter._plans, record._rules)

    def planted(table: Any, prim: Any, rule: Any) -> None:
        monkeypatch.setitem(table._cells, prim, rule)
        for cache in caches:
            cache.clear()

    yield planted
    for cache in caches:
        cache.clear()


# -- NumPy rules ----------------------------------------------------------------------------------


def last_element(found: Any) -> Any:
    """The end of a vector, where tails go wrong."""
    found = np.array(found, order="C")
    if found.size:
        flat = found.reshape(-1)
        flat[-1] = ~flat[-1] if found.dtype == bool else flat[-1] + 1
    return found


def slightly(found: Any) -> Any:
    """Everywhere and a little, as by a bad coefficient."""
    found = np.asarray(found)
    if found.dtype.kind == "f":
        return found * found.dtype.type(1.001) + found.dtype.type(0.001)
    return ~found if found.dtype == bool else found + found.dtype.type(1)


def finite(found: Any) -> Any:
    """NaN and infinities lost, as by fast mathematics."""
    return np.nan_to_num(found, nan=7, posinf=7, neginf=7)


def on_results(mutant: Callable[[Any], Any]) -> Callable[..., Any]:
    def mutate(rule: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*arrays: Any, **params: Any) -> Any:
            with np.errstate(all="ignore"):
                found = rule(*arrays, **params)
                return tuple(map(mutant, found)) if isinstance(found, tuple) else mutant(found)

        return wrong

    return mutate


def swapped(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, **params: rule(y, x, **params)


MUTANTS = {
    "last_element": on_results(last_element),
    "slightly": on_results(slightly),
    "finite": on_results(finite),
    "swapped": swapped,
}
ORDERED = {
    "sub", "div", "pow", "atan2", "floor_divide", "trunc_divide", "remainder", "fmod", "lt", "le",
    "gt", "ge", "shift_left", "shift_right",
}  # fmt: skip


def makes_special(prim: str) -> bool:
    """Whether a result of the primitive's samples is not finite."""
    truths = [t for c in cases_of(prim) for t in c.truth if t.dtype.kind == "f"]
    return any(not np.isfinite(t).all() for t in truths)


def mutants_of(prim: str) -> list[str]:
    # A check has no result; its errors are in `mistakes`.
    names = [] if prim == "check" else ["last_element", "slightly"]
    if prim in ORDERED:
        names.append("swapped")
    if any(s.special and float32 in s.dtypes and FAMILY[s.name] == "elementwise" for s in SPECS[prim]):
        names.append("finite")
    return [*names, *(["plausible"] if prim in PLAUSIBLE else [])]


def cases_of(prim: str) -> list[Any]:
    found = []
    for spec in SPECS[prim]:
        # Small integers too: signs, widths and wrapping show there alone.
        for dtype in dict.fromkeys((*(d for d in (float32, int32) if d in spec.dtypes), spec.dtypes[-1])):
            found += [c for c in reference(FAMILY[spec.name], dtype) if c.spec is spec]
    return found


@pytest.mark.parametrize(
    ("prim", "mutant"), [(p, m) for p in PRIMITIVES for m in mutants_of(p)]
)
def test_a_wrong_numpy_rule_is_seen(prim, mutant, plant):
    cases = cases_of(prim)
    if mutant == "finite" and not makes_special(prim):
        pytest.skip("its results are finite")
    rule = evaluate[PRIMITIVES[prim]]
    program = Program(cases)
    wrong = PLAUSIBLE[prim](rule) if mutant == "plausible" else MUTANTS[mutant](rule)
    plant(evaluate, PRIMITIVES[prim], wrong)
    try:
        program.keep("mutant", NumpyExecutable(program.graph))
    except DivisionByZero:
        return  # by an operand that is never 0 where it belongs
    assert any(mismatch(case, "mutant") for case in cases)


# -- gradient rules -------------------------------------------------------------------------------


def more(g: Any) -> Any:
    return None if g is None else g * 1.001 + 0.001


def wrong_gradient(rule: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(rule)  # the names of its parameters say what is saved
    def wrong(*args: Any, **kwargs: Any) -> Any:
        found = rule(*args, **kwargs)
        return [more(g) for g in found] if isinstance(found, (list, tuple)) else more(found)

    return wrong


def wrong_cells(cell: Any) -> list[Any]:
    """The cell with the rule of one operand broken, for every operand that has one."""
    if callable(cell):
        return [wrong_gradient(cell)]
    return [
        tuple(wrong_gradient(r) if k == i else r for k, r in enumerate(cell))
        for i, rule in enumerate(cell)
        if rule is not None
    ]


DIFFERENTIABLE = [
    p for p in PRIMITIVES
    if vjp[PRIMITIVES[p]] is not NOT_DIFFERENTIABLE
    and any(s.grad and float64 in s.dtypes for s in SPECS[p])
]  # fmt: skip


def gradients_differ(prim: str) -> bool:
    specs = [s for s in SPECS[prim] if differentiable(s)]
    return any(first_faults(s, FAMILY[s.name]) for s in specs)


@pytest.mark.parametrize("prim", DIFFERENTIABLE)
def test_a_wrong_gradient_rule_is_seen(prim, plant):
    for cell in wrong_cells(vjp[PRIMITIVES[prim]]):
        plant(vjp, PRIMITIVES[prim], cell)
        assert gradients_differ(prim)


# -- rules of C and of JAX ------------------------------------------------------------------------


def wrong_expression(rule: Callable[..., Any]) -> Callable[..., Any]:
    def off(e: Any) -> Any:
        if e.dtype.is_bool:
            return Call("bitwise_not", (e,), e.dtype)
        if e.dtype.is_float:
            # Relative too, for what is large.
            e = Call("mul", (e, Const(1.001, e.dtype)), e.dtype)
            return Call("add", (e, Const(0.001, e.dtype)), e.dtype)
        return Call("add", (e, Cast(Const(1, e.dtype), e.dtype)), e.dtype)

    def wrong(*operands: Any, **params: Any) -> Any:
        found = rule(*operands, **params)
        return tuple(map(off, found)) if isinstance(found, tuple) else off(found)

    return wrong


def wrong_value(rule: Callable[..., Any]) -> Callable[..., Any]:
    def off(x: Any) -> Any:
        return ~x if x.dtype == bool else x * 1.001 + 0.001 if x.dtype.kind == "f" else x + 1

    def wrong(*operands: Any, **params: Any) -> Any:
        found = rule(*operands, **params)
        return tuple(map(off, found)) if isinstance(found, tuple) else off(found)

    return wrong


def elementwise_program(which: int) -> Program:
    """Of what C gets (0) or JAX (1), the cases of primitives, each with its truth."""
    cases = [c for c in programs("elementwise", float32)[which].cases if c.spec.prims]
    # To its own dtype a cast is nothing at all.
    own = [Case(c.spec, c.arrays) for c in cases if c.spec.name != "cast to float32"]
    program = Program(own)
    program.keep_truth()
    return program


def unseen(program: Program, executor: str) -> list[str]:
    """The specs none of whose samples shows the planted bugs."""
    names = {c.spec.name for c in program.cases}
    return sorted(names - {c.spec.name for c in program.cases if mismatch(c, executor)})


def test_wrong_scalar_rules_of_c_are_seen(plant):
    program = elementwise_program(0)
    for prim in list(scalar.scalar):
        plant(scalar.scalar, prim, wrong_expression(scalar.scalar[prim]))
    program.keep("mutant", program.c(QUICK_C))
    assert unseen(program, "mutant") == []


def test_wrong_jax_rules_are_seen(plant):
    rules = pytest.importorskip("gradc.codegen.jax.rules").jax_rule
    program = elementwise_program(1)
    for prim in list(rules):
        plant(rules, prim, wrong_value(rules[prim]))
    program.keep("jax", program.jax)
    assert unseen(program, "jax") == []


# -- what else becomes C --------------------------------------------------------------------------


def with_broken_eqns(program: Program, owners: list[str]) -> Program:
    """The program with the eqns of each case's own primitive broken."""
    graph = program.graph
    makers = {v: e for e in graph.eqns for v in e.outputs}
    broken: dict[int, Any] = {}
    for cut, owner in zip(program.cuts, owners, strict=True):
        stack, seen = list(graph.outputs[cut]), set()
        while stack:
            eqn = makers.get(stack.pop())
            if eqn is None or eqn.id in seen:
                continue
            seen.add(eqn.id)
            stack += eqn.inputs
            if eqn.prim.name == owner:
                broken[eqn.id] = BROKEN_EQNS[owner](eqn)
    eqns = tuple(broken.get(e.id) or e for e in graph.eqns)
    other = program.of(program.cases)
    other.graph = graph.replace(eqns=eqns)
    return other


def test_wrong_kernels_of_c_are_seen():
    owners, cases = [], []
    for prim in BROKEN_EQNS:
        for spec in SPECS[prim]:
            dtype = float32 if float32 in spec.dtypes else spec.dtypes[0]
            own = [c for c in programs(FAMILY[spec.name], dtype)[0].cases if c.spec is spec]
            cases += [Case(spec, c.arrays) for c in own]
            owners += [prim] * len(own)
    program = Program(cases)
    program.keep_truth()
    mutant = with_broken_eqns(program, owners)
    mutant.keep("mutant", mutant.c(QUICK_C))
    seen = {p for p, c in zip(owners, mutant.cases, strict=True) if mismatch(c, "mutant")}
    assert set(BROKEN_EQNS) - seen == set()
    # A reshape is the same elements in the same order; of a check the errors are in `mistakes`.
    rest = {p for p in PRIMITIVES if PRIMITIVES[p] not in scalar.scalar} - {"reshape", "check"}
    assert rest - set(BROKEN_EQNS) == set()
