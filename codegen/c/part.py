"""The part function: what one thread of a call does, and the function that starts the threads.

    for (gradc_turn t = {0, 0}; gradc_take(&team, 0, 24, &t);) k0_dot_add(h, x, w, b, t.task);
    if (tid == 0) k1_sum(total, parts);
    gradc_barrier(n);
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from gradc.codegen.c.names import Names
from gradc.codegen.c.printer import Printer, block_comment, literal, wrap, wrap_list
from gradc.codegen.loops import ir

# What the function calls its parameters and its variables.
PART_NAMES = ("in", "out", "work", "tid", "n", "record", "own", "team", "t", "task")
COUNTER_BYTES = 8
LINE_BYTES = 64
# Threads that the default work area has room for, where the program has use for more.
DEFAULT_THREADS = 8


class Layout:
    """The work area: the shared part, then each thread's counters and private memory."""

    def __init__(self, module: ir.Module, record_bytes: int) -> None:
        self.threaded = module.threads > 1
        self.most_threads = module.threads
        self.default_threads = min(module.threads, DEFAULT_THREADS)
        self.counters = sum(c.func.tasks > 0 for c in module.calls) if self.threaded else 0
        lines = -(-self.counters * COUNTER_BYTES // LINE_BYTES)
        self.shared_bytes = -(-max(module.work_bytes, record_bytes) // LINE_BYTES) * LINE_BYTES
        self.counter_bytes = lines * LINE_BYTES
        self.private_bytes = self.counter_bytes + module.private_bytes
        if not self.threaded and not module.private_bytes:
            self.shared_bytes = max(module.work_bytes, record_bytes)

    @property
    def work_bytes(self) -> int:
        """Of the default number of threads."""
        return self.shared_bytes + self.default_threads * self.private_bytes


class PartPrinter:
    """Prints the part function of one module."""

    def __init__(
        self,
        module: ir.Module,
        layout: Layout,
        printer: Printer,
        functions: Mapping[ir.Func, str],
        constants: Mapping[ir.Slot, str],
    ) -> None:
        self.module, self.layout, self.printer = module, layout, printer
        self.functions, self.constants = functions, constants
        self.scope = Names(taken=PART_NAMES, outer=printer.file_scope)
        self.fails = any(f.fails for f in module.funcs)

    def text(self, name: str) -> str:
        """The function `<name>_part`."""
        parameters = [
            "const void *const *in", "void *const *out", "unsigned char *work", "int64_t tid",
            "int64_t n",
        ]  # fmt: skip
        what = "what thread `tid` of `n` does" if self.layout.threaded else "the whole program"
        lines = [*block_comment([what]), *wrap_list(f"static void {name}_part(", parameters, ")")]
        lines += ["{", *self.variables(), *self.slot_pointers()]
        lines += self.calls()
        return "\n".join([*lines, "}"])

    # ---- what it stands on ----------------------------------------------------------------------

    def variables(self) -> Iterator[str]:
        layout = self.layout
        used = {_table(s) for s in self.slots()} | ({"work"} if self.fails else set())
        used |= {"work"} if layout.threaded or "own" in used else set()
        for table in ("in", "out", "work"):
            if table not in used:
                yield f"    (void){table};"
        if self.fails:
            yield "    gradc_record *const record = (gradc_record *)work;"
        if layout.threaded:
            self.printer.use("gradc_take")
            area = f"work + {layout.shared_bytes}"
            yield f"    const gradc_team team = {{{area}, {layout.private_bytes}, tid, n}};"
        else:
            yield "    (void)tid, (void)n;"
        if any(s.place is ir.Place.PRIVATE for s in self.slots()):
            start = layout.shared_bytes + layout.counter_bytes
            mine = f" + tid * {layout.private_bytes}" if layout.threaded else ""
            yield f"    unsigned char *const own = work + {start}{mine};"

    def slots(self) -> dict[ir.Slot, None]:
        return dict.fromkeys(slot for call in self.module.calls for slot in call.args)

    def slot_pointers(self) -> Iterator[str]:
        """A typed pointer for every array a call uses."""
        used = self.slots()
        written = {
            slot
            for call in self.module.calls
            for slot, p in zip(call.args, call.func.params)
            if p.written
        }
        for slot in self.module.slots:
            if slot in used and slot not in self.constants:
                name = self.scope.pick(slot, slot.name, "v")
                const = "" if slot in written else "const "
                table = _table(slot)
                by_index = table in ("in", "out")
                place = f"{table}[{slot.index}]" if by_index else f"({table} + {slot.offset})"
                kind = f"{const}{slot.dtype.c_storage} *"
                yield from wrap(f"    {kind}const {name} = ({kind}){place};")

    # ---- calls ----------------------------------------------------------------------------------

    def calls(self) -> Iterator[str]:
        numbered = list(enumerate(self.module.calls))
        phase = None
        segment = numbered[0][1].segment if numbered else 0
        for _, group in groupby(numbered, key=self.group):
            run = list(group)
            number, first = run[0]
            if self.layout.threaded and first.segment != segment:
                yield f"    {self.printer.use('gradc_barrier')}(n);"
                segment = first.segment
            if number == self.module.commit and self.fails:
                yield (
                    "    if (record->kind != 0) return; /* nothing of the state is written yet */"
                )
            if first.note.phase != phase:
                phase = first.note.phase
                yield f"    /* {phase.value} */"
            yield from self.run([call for _, call in run], self.kernel_number(number))

    def group(self, item: tuple[int, ir.Invoke]) -> tuple[object, ...]:
        """Calls that stand together: by one thread, of one phase, not across the commit point."""
        number, call = item
        alone = number if call.func.tasks or not self.layout.threaded else -1
        return call.segment, call.note.phase, number >= self.module.commit, alone

    def kernel_number(self, number: int) -> int:
        return sum(c.func.tasks > 0 for c in self.module.calls[:number])

    def run(self, calls: Sequence[ir.Invoke], kernel: int) -> Iterator[str]:
        first = calls[0]
        if first.func.tasks:
            tasks = first.func.tasks
            yield (f"    for (gradc_turn t = {{0, 0}}; gradc_take(&team, {kernel}, {tasks}, &t);)")
            yield from self.call(first, " " * 8)
        elif not self.layout.threaded or len(calls) == 1:
            head = "    if (tid == 0) " if self.layout.threaded else "    "
            yield from self.call(first, head)
        else:
            yield "    if (tid == 0) {"
            for call in calls:
                yield from self.call(call, " " * 8)
            yield "    }"

    def call(self, call: ir.Invoke, head: str) -> list[str]:
        arguments = [self.constants.get(s) or self.scope[s] for s in call.args]
        if call.offsets:
            arguments = [f"{a} + {n}" if n else a for a, n in zip(arguments, call.offsets)]
        arguments += [literal(v.value, v.dtype)[0] for v in call.values]
        if call.func.fails:
            arguments.append("record")
        if call.func.tasks:
            arguments.append("t.task")
        return wrap_list(f"{head}{self.functions[call.func]}(", arguments or [""], ");")


def _table(slot: ir.Slot) -> str:
    """The variable of the part function that holds the slot."""
    return {
        ir.Place.INPUT: "in", ir.Place.OUTPUT: "out", ir.Place.WORK: "work",
        ir.Place.PRIVATE: "own",
    }.get(slot.place, "constant")  # fmt: skip
