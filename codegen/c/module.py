"""A planned program to the two files that are compiled and shipped: `f.c` and `f.h`.

    emit_module(module, graph)   ->   CModule(source, header, inputs, outputs, work_bytes, ...)

The source stands alone: interface, the helpers it calls, one function per distinct kernel in
sections by phase, the part function that calls them in order, tables that describe the program,
and the entry point. The JIT loads this very file. Same program, same bytes; nothing of it depends
on paths, and line numbers stand only in comments, which `key_text` leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gradc.codegen.c.names import Names, c_comment, c_name, c_string, check_exported
from gradc.codegen.c.part import PART_NAMES, Layout, PartPrinter
from gradc.codegen.c.printer import Printer, block_comment, checks, literal, wrap_list
from gradc.codegen.c.snippets import needed
from gradc.codegen.c.target import ABI_VERSION, RECORD_BYTES
from gradc.codegen.loops import ir
from gradc.tracer.errors import ArgumentError
from gradc.tracer.graph.dims import format_shape, known, known_shape
from gradc.tracer.graph.ir import Graph, Phase
from gradc.tracer.graph.printer import graph_names
from gradc.tracer.graph.source import Location
from gradc.tracer.graph.types import TensorType
from gradc.tracer.rules.failures import called_name, shown_operands

FOLDER = Path(__file__).parent
# Pairs of arrays whose comparison is worth vectorising.
MANY_PAIRS = 512
TEMPLATES = ("interface.h", "run_serial.c", "run_threads.c", "entry.c")
_COMMENT_OR_STRING = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


@dataclass(frozen=True)
class Port:
    """One array of the call: a C-safe name, unique among inputs or outputs, and its type."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class CheckSite:
    """What a failing check means.

    Attributes:
        kind: `index`, `division` or `assert`.
        prim: the primitive's name; of an index what the user called.
        operands: the types of the eqn's operands; None where they are not what the user gave.
        message: the user's own, of an assertion.
    """

    eqn_id: int
    kind: str
    prim: str
    loc: Location | None
    message: str
    operands: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class KernelSummary:
    """One kernel call, for reports: bytes and flops are the cost model's."""

    name: str
    phase: Phase
    lines: tuple[Location, ...]
    bytes: int
    flops: int


@dataclass(frozen=True)
class CModule:
    """Generated C, and what its caller must know.

    Attributes:
        name: the exported symbol.
        source, header: the whole texts.
        inputs, outputs: in the order of the pointer tables.
        aliases: `(output, input)`: the output replaces this input and may be written over it.
        n_args: how many inputs are the call's own arguments; the rest is state.
        work_bytes: the size of the work area, for the default number of threads.
        threads: how many it has use for; 1: it is written for one.
        checks: what a failing eqn means, by its id.
    """

    name: str
    source: str
    header: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    aliases: tuple[tuple[int, int], ...]
    n_args: int
    work_bytes: int
    checks: Mapping[int, CheckSite]
    kernels: tuple[KernelSummary, ...]
    threads: int = 1

    @cached_property
    def key_text(self) -> str:
        """The source without comments: what decides about the machine code."""
        return strip_comments(self.source)


def strip_comments(source: str) -> str:
    """C text without comments and blank lines; string literals are left alone."""

    def keep_strings(match: re.Match[str]) -> str:
        return match.group() if match.group().startswith('"') else " "

    lines = _COMMENT_OR_STRING.sub(keep_strings, source).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def emit_module(
    module: ir.Module, graph: Graph, *, name: str | None = None, reproducible: bool = False
) -> CModule:
    """Print a planned program.

    Args:
        module: its functions, arrays and calls.
        graph: the program itself: names, types and lines of its inputs, outputs and checks.
        name: the symbol to export; the graph's name, made fit for C, where not given.
        reproducible: no operation may be rounded otherwise where the target could.

    Raises:
        ArgumentError: `name` cannot be exported from C.
    """
    return _Emitter(module, graph, name, reproducible).module_text()


class _Emitter:
    """Prints one module; everything it needs to look up is made once."""

    def __init__(
        self, module: ir.Module, graph: Graph, name: str | None, reproducible: bool
    ) -> None:
        self.reproducible = reproducible
        self.module, self.graph = module, graph
        self.name = _exported_name(module.name) if name is None else check_exported(name)
        self.file_scope = Names(taken=_own_names(self.name), avoid=PART_NAMES)
        self.printer = Printer(self.file_scope)
        self.layout = Layout(module, RECORD_BYTES)
        self.functions = {f: self.file_scope.fresh(f.name, "k") for f in module.funcs}
        self.constants = {
            s: self.file_scope.fresh(s.name, "c")
            for s in module.slots
            if s.place is ir.Place.CONSTANT
        }
        names = graph_names(graph)
        self.input_names = [names[v] for v in graph.inputs]
        self.output_names = _output_names(graph, self.input_names)
        self.inputs = _ports([v.type for v in graph.inputs], self.input_names)
        self.outputs = _ports([v.type for v in graph.outputs], self.output_names)

    def module_text(self) -> CModule:
        return CModule(
            name=self.name,
            source=self.source(),
            header=self.header(),
            inputs=self.inputs,
            outputs=self.outputs,
            aliases=self.graph.aliases,
            n_args=self.graph.n_args,
            work_bytes=self.layout.work_bytes,
            checks=dict(_check_sites(self.module, self.graph)),
            kernels=tuple(self.kernel_summary(c) for c in self.module.calls),
            threads=self.module.threads,
        )

    def kernel_summary(self, call: ir.Invoke) -> KernelSummary:
        note = call.note
        return KernelSummary(
            self.functions[call.func], note.phase, note.lines, note.bytes, note.flops
        )

    # ---- the header -----------------------------------------------------------------------------

    def header(self) -> str:
        return self.fill("interface.h", block_comment(self.description()))

    def fill(self, template: str, above: Sequence[str] = ()) -> str:
        """A template of this folder with the exported name and the numbers put in."""
        text = (FOLDER / template).read_text(encoding="ascii")
        layout = self.layout
        size, room = str(layout.work_bytes), ""
        if layout.threaded:
            size = f"({layout.areas} + EXPORTED_THREADS * {layout.private_bytes})"
            room = THREAD_ROOM.format(threads=layout.default_threads)
        text = text.replace("THREAD_ROOM\n", room)
        text = re.sub(r"\bWORK_BYTES\b", size, text)
        text = re.sub(r"\bABI_VERSION\b", str(ABI_VERSION), text)
        text = re.sub(r"\bEXPORTED(?=_|\b)", self.name.upper(), text)
        text = re.sub(r"\bexported(?=_|\b)", self.name, text)
        return "\n".join([*above, text])

    def description(self) -> list[str]:
        """What the program is and takes, as lines of a comment."""
        size = self.layout.work_bytes
        origin = f"made by gradc from `{self.graph.name}`"
        lines = [f"{self.name}: {origin}; {size} bytes of work area.", ""]
        arguments = range(self.graph.n_args)
        replaced = dict(self.graph.aliases)
        lines += [self.port_line("in", i) for i in arguments]
        lines += [
            f"{self.port_line('in', i)}   state"
            for i in range(self.graph.n_args, len(self.inputs))
        ]
        for o in range(len(self.outputs)):
            tail = f"   replaces in[{replaced[o]}], may be the same array" if o in replaced else ""
            lines.append(self.port_line("out", o) + tail)
        return lines

    def port_line(self, table: str, i: int) -> str:
        names, ports = (
            (self.input_names, self.inputs) if table == "in" else (self.output_names, self.outputs)
        )
        type = ports[i].type
        return f"{f'{table}[{i}]':<8} {names[i]:<24} {type.dtype.name}{format_shape(type.shape)}"

    # ---- the source -----------------------------------------------------------------------------

    def source(self) -> str:
        functions = list(self.kernels())
        part = PartPrinter(
            self.module, self.layout, self.printer, self.functions, self.constants
        ).text(self.name)
        run = self.run()
        tables = self.tables()
        entry = self.fill("entry.c").rstrip()
        if len(self.inputs) * len(self.outputs) >= MANY_PAIRS:
            entry = entry.replace("gradc_overlaps(", "gradc_overlaps_of_many(")
        for helper in re.findall(r"\b(?:gradc|GRADC)_(?!EXPORT)\w+", f"{run}\n{entry}"):
            self.printer.use(helper)
        helpers = needed(self.printer.helpers)
        return "\n\n".join(
            [
                self.header().rstrip(),
                *([REPRODUCIBLE] if self.reproducible else []),
                *PREAMBLE,
                *((THREADS_PREAMBLE,) if self.layout.threaded else ()),
                *helpers,
                *self.constant_tables(),
                *functions,
                ONCE,
                part,
                *([self.units()] if self.layout.threaded else []),
                run,
                *tables,
                entry,
                CLOSING,
            ]
        )

    def kernels(self) -> Iterator[str]:
        """The kernels in order of first use, below a headline where the phase changes."""
        notes: dict[ir.Func, list[ir.Note]] = {}
        for call in self.module.calls:
            notes.setdefault(call.func, []).append(call.note)
        phase = None
        for func in self.module.funcs:
            seen = notes.get(func, [func.note])
            if seen[0].phase != phase:
                phase = seen[0].phase
                yield _headline(phase)
            yield self.printer.function(func, self.functions[func], _kernel_comment(seen))

    def constant_tables(self) -> Iterator[str]:
        for slot, name in self.constants.items():
            data = slot.data
            assert data is not None
            values = [literal(v, slot.dtype)[0] for v in data.ravel().tolist()] or ["0"]
            for value in values:
                if "GRADC_" in value:
                    self.printer.use(value.lstrip("-"))
            aligned = self.printer.use("GRADC_ALIGNED")
            head = f"static const {slot.dtype.c_storage} {name}[{len(values)}] {aligned} = {{"
            comment = f"/* {c_comment(slot.name)} {format_shape(slot.shape)} */"
            yield "\n".join([comment, *wrap_list(head, values, "};")])

    def run(self) -> str:
        """The function that starts the threads, if there are to be any."""
        layout = self.layout
        text = self.fill("run_threads.c" if layout.threaded else "run_serial.c")
        numbers = {
            "MOST_THREADS": layout.most_threads, "SHARED_BYTES": layout.shared_bytes,
            "AREAS": layout.areas, "PRIVATE_BYTES": layout.private_bytes,
            "COUNTERS": layout.counters, "SEGMENTS": len(layout.units),
            "SHARED_NS": self.module.shared_ns,
        }  # fmt: skip
        for word, number in numbers.items():
            text = re.sub(rf"\b{word}\b", str(number), text)
        copies = "".join(f"{line}\n" for line in self.copies())
        return re.sub(r" *IN_PLACE\n", copies, text).rstrip()

    def units(self) -> str:
        comment = "/* in a segment: its tasks, and one for what thread 0 does alone */"
        return f"{comment}\n{self.table('int64_t', 'units', [str(n) for n in self.layout.units])}"

    def copies(self) -> Iterator[str]:
        for o, i in self.module.in_place:
            size = known(self.inputs[i].type.size) * self.inputs[i].type.dtype.itemsize
            yield f"    {self.printer.use('gradc_copy')}(out[{o}], in[{i}], {size});"

    # ---- what the program says of itself --------------------------------------------------------

    def tables(self) -> Iterator[str]:
        shapes: list[int] = []
        yield (
            f"typedef struct {{ const char *name, *dtype; int64_t ndim, shape; }} {self.name}_port;"
        )
        rows = {
            "in": self.port_rows(self.input_names, self.inputs, shapes),
            "out": self.port_rows(self.output_names, self.outputs, shapes),
        }
        yield self.table("int64_t", "shapes", [str(d) for d in shapes])
        for table, ports in (("in", self.inputs), ("out", self.outputs)):
            empty = ['{"", "", 0, 0}']
            yield self.table(f"{self.name}_port", f"{table}_ports", rows[table] or empty)
            sizes = [str(known(p.type.size) * p.type.dtype.itemsize) for p in ports]
            yield self.table("size_t", f"{table}_bytes", sizes)
            widths = [str(p.type.dtype.itemsize) for p in ports]
            yield self.table("size_t", f"{table}_align", widths)
        pairs = [f"{{{o}, {i}}}" for o, i in self.module.can_alias]
        yield self.table("int64_t", "alias", pairs or ["{0, 0}"], "[2]")
        counts = {
            "inputs": len(self.inputs), "outputs": len(self.outputs), "aliases": len(pairs),
        }  # fmt: skip
        yield "\n".join(
            f"static const int64_t {self.name}_{what} = {n};" for what, n in counts.items()
        )

    def port_rows(
        self, names: Sequence[str], ports: Sequence[Port], shapes: list[int]
    ) -> list[str]:
        rows = []
        for name, port in zip(names, ports, strict=True):
            shape = known_shape(port.type.shape)
            rows.append(
                f"{{{c_string(name)}, {c_string(port.type.dtype.name)}, {len(shape)}, "
                f"{len(shapes)}}}"
            )
            shapes += shape
        return rows

    def table(self, type: str, what: str, rows: Sequence[str], extent: str = "") -> str:
        head = f"static const {type} {self.name}_{what}[]{extent} = {{"
        return "\n".join(wrap_list(head, rows or ["0"], "};"))


REPRODUCIBLE = (
    "/* The same bits on every target: no fused multiply-add, where one has it and another has "
    "not. */\n#define GRADC_REPRODUCIBLE 1"
)
PREAMBLE = (
    "#if defined(__cplusplus) && !defined(restrict)\n#define restrict __restrict__\n#endif",
    "/* Each expression is rounded as it is written, whatever flags this is compiled with. Loops\n"
    "   stay loops: as calls of memset and memcpy they would keep the sums of matrix products in\n"
    "   memory. Comparisons are the program's own, also where they always hold. */\n"
    "#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF\n"
    '#elif defined(__GNUC__)\n#pragma GCC optimize("fp-contract=off")\n'
    '#pragma GCC optimize("no-tree-loop-distribute-patterns")\n#endif\n'
    "#if defined(__GNUC__)\n#pragma GCC diagnostic push\n"
    '#pragma GCC diagnostic ignored "-Wtautological-compare"\n'
    '#pragma GCC diagnostic ignored "-Wtype-limits"\n#endif',
)
ONCE = (
    "/* What follows runs once in a call: it is compiled quickly. */\n"
    '#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC optimize("O1")\n#endif'
)
THREADS_PREAMBLE = "#if defined(_OPENMP)\n#include <omp.h>\n#endif"
THREAD_ROOM = """/* threads that EXPORTED_WORK_BYTES has room for */
#ifndef EXPORTED_THREADS
#define EXPORTED_THREADS {threads}
#endif

"""
CLOSING = "#if defined(__GNUC__)\n#pragma GCC diagnostic pop\n#endif\n"


def _exported_name(name: str) -> str:
    """A name that can be exported, as near to the graph's as can be."""
    try:
        return check_exported(name)
    except ArgumentError:
        return check_exported(c_name(name, "f"))


def _own_names(name: str) -> list[str]:
    """What the templates define at file scope for the program `name`."""
    template = "".join((FOLDER / file).read_text("ascii") for file in TEMPLATES)
    own = {f"{name}{tail}" for tail in re.findall(r"\bexported(\w*)", template)}
    own |= {f"{name.upper()}{tail}" for tail in re.findall(r"\bEXPORTED(\w*)", template)}
    return sorted(own)


def _output_names(graph: Graph, input_names: Sequence[str]) -> list[str]:
    """A state output bears the name of the input it replaces; others their own, or a number."""
    replaced = dict(graph.aliases)
    taken = set(input_names)
    names: list[str] = []
    for o in range(len(graph.outputs)):
        if o in replaced:
            names.append(input_names[replaced[o]])
            continue
        given = graph.output_names[o] if o < len(graph.output_names) else ""
        name, number = given or f"result_{o}", 2
        while name in taken:
            name = f"{given or f'result_{o}'}_{number}"
            number += 1
        taken.add(name)
        names.append(name)
    return names


def _ports(types: Sequence[TensorType], names: Sequence[str]) -> tuple[Port, ...]:
    scope = Names()
    return tuple(Port(scope.fresh(n, "v"), t) for n, t in zip(names, types, strict=True))


def _check_sites(module: ir.Module, graph: Graph) -> Iterator[tuple[int, CheckSite]]:
    """What each check of the module means, from the eqn that asked for it."""
    eqns = {e.id: e for e in graph.eqns}
    for func in module.funcs:
        for check in checks(func.body):
            eqn = eqns.get(check.eqn)
            if eqn is None:
                yield check.eqn, CheckSite(check.eqn, check.kind, "", None, "")
                continue
            index = check.kind == "index"
            name = called_name(eqn.prim.name, eqn.scope if index else ())
            message = str(eqn.params.get("message", ""))
            operands = shown_operands(eqn.scope, [a.type for a in eqn.inputs])
            yield check.eqn, CheckSite(check.eqn, check.kind, name, eqn.loc, message, operands)


def _headline(phase: Phase) -> str:
    return f"/* {'-' * 30} {phase.value} {'-' * (60 - len(phase.value))} */"


def _kernel_comment(notes: Sequence[ir.Note]) -> list[str]:
    """Which kernel of the program this is, the user's lines, what it computes over what."""
    first = notes[0]
    again = f" (and {', '.join(str(n.index) for n in notes[1:])})" if len(notes) > 1 else ""
    lines = [f"{loc}   {loc.text}".rstrip() for loc in first.lines]
    title = f"kernel {first.index}{again}  {first.phase.value}"
    if lines:
        title = f"{title}   {lines[0]}"
    return [title, *lines[1:], f"{first.title} over {first.extent}"]
