"""The part function: what one thread of a call does, and the function that starts the threads.

    for (gradc_turn t = {0, 0}; gradc_take(team, 0, 24, &t);) k0_dot_add(h, x, w, b, t.task);
    if (team->tid == 0) k1_sum(total, parts);
    if (!gradc_meet(team, 0)) return 0;
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from gradc.codegen.c.names import Names
from gradc.codegen.c.printer import Printer, block_comment, literal, wrap, wrap_list
from gradc.codegen.loops import ir

# What the function calls its parameters and its variables.
PART_NAMES = ("in", "out", "work", "team", "record", "own", "t", "task")
COUNTER_BYTES = 8
LINE_BYTES = 64
# Threads that the default work area has room for, where the program has use for more.
DEFAULT_THREADS = 8


# Calls of one function: where there are more, there are more functions.
PIECE = 24
RECORD = "    gradc_record *const record = (gradc_record *)work;"
COMMIT = "    if (record->kind != 0) {}; /* nothing of the state is written yet */"


@dataclass(slots=True)
class _Run:
    """Calls that stand together.

    Attributes:
        kernel: the number of the counter of a call that is divided.
        meets: the number of the segment that ends with them; None: none does.
        commits: whether the program may stop before them, and not any more after.
    """

    calls: list[ir.Invoke]
    kernel: int
    meets: int | None
    commits: bool


class Layout:
    """The work area: the arrays, what is left of each segment, then each thread's counters and
    private memory.

    Attributes:
        units: of each segment, its tasks and one for what the first thread does alone.
        areas: where the threads' own parts begin.
    """

    def __init__(self, module: ir.Module, record_bytes: int) -> None:
        self.threaded = module.threads > 1
        self.most_threads = module.threads
        self.default_threads = min(module.threads, DEFAULT_THREADS)
        self.counters = sum(_takes(c) for c in module.calls) if self.threaded else 0
        by_segment = groupby(module.calls, key=lambda c: c.segment)
        self.units = [
            1 + sum(c.func.tasks for c in calls if _takes(c)) for _, calls in by_segment
        ]
        self.shared_bytes = max(module.work_bytes, record_bytes)
        if self.threaded or module.private_bytes:
            self.shared_bytes = _lines(self.shared_bytes)
        left = len(self.units) * COUNTER_BYTES if self.threaded else 0
        self.areas = self.shared_bytes + _lines(left)
        self.counter_bytes = _lines(self.counters * COUNTER_BYTES)
        self.private_bytes = self.counter_bytes + module.private_bytes

    @property
    def work_bytes(self) -> int:
        """Of the default number of threads."""
        return self.areas + self.default_threads * self.private_bytes


def _lines(nbytes: int) -> int:
    return -(-nbytes // LINE_BYTES) * LINE_BYTES


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
        self.order = {slot: n for n, slot in enumerate(module.slots)}
        self.key: tuple[object, ...] = ()  # of the group of calls that was met last

    def text(self, name: str) -> str:
        """The function `<name>_part`; of long programs in pieces, since compilers take more than
        twice the time for twice as long a function."""
        runs = list(self.runs())
        if len(self.module.calls) <= PIECE:
            what = "what one thread does" if self.layout.threaded else "the whole program"
            return self.function("static", f"{name}_part", what, runs)
        pieces = _pieces(runs)
        parts: list[str] = []
        body: list[str] = []
        for n, piece in enumerate(pieces, 1):
            if piece[0].commits:
                body.append(self.commit)
                piece[0].commits = False
            apart = self.printer.use("GRADC_APART")
            what = f"piece {n} of {len(pieces)} of what one thread does"
            parts.append(self.function(apart, f"{name}_part_{n}", what, piece))
            call = f"{name}_part_{n}({', '.join(self.passed)})"
            body.append(f"    if (!{call}) return 0;" if self.layout.threaded else f"    {call};")
        if self.commit in body:
            body.insert(0, RECORD)
        head = self.head("static", f"{name}_part", "what one thread does, piece by piece")
        return "\n\n".join([*parts, "\n".join([*head, "{", *body, *self.ending, "}"])])

    def function(self, kind: str, name: str, what: str, runs: Sequence[_Run]) -> str:
        """One function that makes these calls."""
        calls = [call for run in runs for call in run.calls]
        lines = [*self.head(kind, name, what), "{"]
        lines += [*self.variables(calls), *self.slot_pointers(calls)]
        phase = None
        for run in runs:
            lines += [self.commit] if run.commits else []
            if run.calls[0].note.phase != phase:
                phase = run.calls[0].note.phase
                lines.append(f"    /* {phase.value} */")
            lines += self.run(run.calls, run.kernel)
            if run.meets is not None:
                meet = self.printer.use("gradc_meet")
                lines.append(f"    if (!{meet}(team, {run.meets})) return 0;")
        return "\n".join([*lines, *self.ending, "}"])

    # ---- how parts are called -------------------------------------------------------------------

    @property
    def passed(self) -> list[str]:
        return ["in", "out", "work", *(["team"] if self.layout.threaded else [])]

    @property
    def commit(self) -> str:
        return COMMIT.format("return 1" if self.layout.threaded else "return")

    @property
    def ending(self) -> list[str]:
        return ["    return 1;"] if self.layout.threaded else []

    def head(self, kind: str, name: str, what: str) -> list[str]:
        parameters = ["const void *const *in", "void *const *out", "unsigned char *work"]
        result = "void"
        if self.layout.threaded:
            parameters.append("gradc_team *team")
            result = "int"
            what = f"{what}; 0: the call was over before it was through"
        return [*block_comment([what]), *wrap_list(f"{kind} {result} {name}(", parameters, ")")]

    # ---- what it stands on ----------------------------------------------------------------------

    def variables(self, calls: Sequence[ir.Invoke]) -> Iterator[str]:
        layout, slots = self.layout, _slots(calls)
        record = any(c.func.fails for c in calls) or (self.fails and self.whole(calls))
        used = {_table(s) for s in slots}
        used |= {"work"} if record or "own" in used else set()
        for table in ("in", "out", "work"):
            if table not in used:
                yield f"    (void){table};"
        if record:
            yield RECORD
        if any(s.place is ir.Place.PRIVATE for s in slots):
            start = layout.areas + layout.counter_bytes
            mine = f" + team->tid * {layout.private_bytes}" if layout.threaded else ""
            yield f"    unsigned char *const own = work + {start}{mine};"

    def whole(self, calls: Sequence[ir.Invoke]) -> bool:
        return len(calls) == len(self.module.calls)

    def slot_pointers(self, calls: Sequence[ir.Invoke]) -> Iterator[str]:
        """A typed pointer for every array a call uses."""
        used = _slots(calls)
        written = {s for c in calls for s, p in zip(c.args, c.func.params) if p.written}
        for slot in sorted(used, key=self.order.__getitem__):
            if slot in self.constants:
                continue
            name = self.scope.pick(slot, slot.name, "v")
            const = "" if slot in written else "const "
            table = _table(slot)
            by_index = table in ("in", "out")
            place = f"{table}[{slot.index}]" if by_index else f"({table} + {slot.offset})"
            kind = f"{const}{slot.dtype.c_storage} *"
            yield from wrap(f"    {kind}const {name} = ({kind}){place};")

    # ---- calls ----------------------------------------------------------------------------------

    def runs(self) -> Iterator[_Run]:
        """The calls in groups of those that stand together."""
        kernel = segment = 0
        last = len(self.module.calls) - 1
        for _, group in groupby(enumerate(self.module.calls), key=self.group):
            numbers, calls = zip(*group)
            commits = self.fails and numbers[0] == self.module.commit
            run = _Run(list(calls), kernel, None, commits)
            end = numbers[-1]
            if self.layout.threaded and (
                end == last or self.module.calls[end + 1].segment != calls[0].segment
            ):
                run.meets = segment
                segment += 1
            yield run
            kernel += calls[0].func.tasks > 0

    def group(self, item: tuple[int, ir.Invoke]) -> tuple[object, ...]:
        """Calls that stand together: by one thread, of one phase, not across the commit point; or
        of one chain."""
        number, call = item
        if call.chained:
            return self.key
        alone = number if call.func.tasks or not self.layout.threaded else -1
        self.key = call.segment, call.note.phase, number >= self.module.commit, alone
        return self.key

    def run(self, calls: Sequence[ir.Invoke], kernel: int) -> Iterator[str]:
        first = calls[0]
        if first.func.tasks:
            take, tasks = self.printer.use("gradc_take"), first.func.tasks
            head = f"    for (gradc_turn t = {{0, 0}}; {take}(team, {kernel}, {tasks}, &t);)"
            yield head + (" {" if len(calls) > 1 else "")
            for call in calls:
                yield from self.call(call, " " * 8)
            if len(calls) > 1:
                yield "    }"
        elif not self.layout.threaded or len(calls) == 1:
            head = "    if (team->tid == 0) " if self.layout.threaded else "    "
            yield from self.call(first, head)
        else:
            yield "    if (team->tid == 0) {"
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


def _takes(call: ir.Invoke) -> bool:
    """Whether it has tasks of its own to hand out."""
    return call.func.tasks > 0 and not call.chained


def _pieces(runs: Sequence[_Run]) -> list[list[_Run]]:
    """Groups of about PIECE calls, one of which begins at the commit point."""
    pieces: list[list[_Run]] = []
    room = 0
    for run in runs:
        if not pieces or len(run.calls) > room or run.commits:
            pieces.append([])
            room = PIECE
        pieces[-1].append(run)
        room -= len(run.calls)
    return pieces


def _slots(calls: Sequence[ir.Invoke]) -> dict[ir.Slot, None]:
    return dict.fromkeys(slot for call in calls for slot in call.args)


def _table(slot: ir.Slot) -> str:
    """The variable of the part function that holds the slot."""
    return {
        ir.Place.INPUT: "in", ir.Place.OUTPUT: "out", ir.Place.WORK: "work",
        ir.Place.PRIVATE: "own",
    }.get(slot.place, "constant")  # fmt: skip
