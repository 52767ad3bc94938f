"""A compiled program as one page of HTML that loads nothing from elsewhere and runs no script.

    Path("step.html").write_text(page(subject))

Where a number or a name comes from the user's program it goes through `html.escape`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from gradc.codegen.loops.ir import Module, Place, Slot
from gradc.codegen.pipeline import Lowering
from gradc.runtime.options import Target
from gradc.runtime.report import CostAnalysis, MemoryAnalysis
from gradc.tracer.graph.ir import Eqn, Graph, Var
from gradc.tracer.graph.printer import format_atom, format_eqn, graph_names
from gradc.tracer.graph.source import Location

# Longer lists end with how much is left out.
MOST_EQNS = 3000
MOST_KERNELS = 400
MOST_BARS = 1500
# Lists longer than this are folded.
LONG = 12

_PHASE_COLOURS = {"forward": "#4477aa", "backward": "#cc6644", "update": "#558855"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
pre, code { font: 12.5px/1.45 ui-monospace, monospace; }
pre { margin: 0; overflow-x: auto; }
table { border-collapse: collapse; } td, th { padding: .15em .8em .15em 0; text-align: left;
  vertical-align: top; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.part > th { padding-top: 1em; }
tr.rule > td { border-top: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: 4px; margin: .4em 0; padding: .2em .6em; }
summary { cursor: pointer; } summary small { opacity: .75; }
.both { display: grid; gap: 1em; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); }
.both > div { background: var(--soft); border-radius: 4px; overflow-x: auto; padding: .5em; }
.forward { color: #4477aa; } .backward { color: #cc6644; } .update { color: #558855; }
svg { border: 1px solid var(--line); display: block; width: 100%; height: auto; }
@media (max-width: 60em) { .both { grid-template-columns: minmax(0, 1fr); } }
"""


@dataclass(frozen=True, eq=False)
class Subject:
    """What the page is about; the last three are there for generated C only.

    Attributes:
        seconds: what the steps of compiling took.
        recompiles: why the function was compiled again, one line each.
    """

    graph: Graph
    target: Target
    seconds: dict[str, float]
    recompiles: Sequence[str]
    memory: MemoryAnalysis | None = None
    cost: CostAnalysis | None = None
    lowering: Lowering | None = None


def page(subject: Subject) -> str:
    """The whole page."""
    name = escape(subject.graph.name)
    parts = [*_summary(subject), *_recompiles(subject)]
    if subject.lowering is not None:
        parts += _memory_map(subject.lowering.module)
        parts += _kernels(subject.lowering)
        parts += _reasons(subject.lowering)
    parts += _program(subject.graph)
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{name}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><td>{escape(k)}</td><td class="n">{escape(v)}</td></tr>' for k, v in rows)
    return "<table>" + "".join(cells) + "</table>"


def _place(loc: Location | None) -> str:
    if loc is None:
        return ""
    return f"<code>{escape(str(loc))}</code> <code>{escape(loc.text)}</code>"


# -- the parts ------------------------------------------------------------------------------------


def _summary(subject: Subject) -> Iterator[str]:
    rows = [("backend", subject.target.backend), ("eqns", f"{len(subject.graph.eqns):,}")]
    if subject.target.checks:
        rows.append(("watched for", ", ".join(subject.target.checks)))
    if subject.target.mode != "fast-run":
        rows.append(("mode", subject.target.mode))
    if subject.target.reproducible:
        rows.append(("reproducible", "the same bits on every target"))
    if subject.cost is not None:
        rows += [
            ("kernels", f"{subject.cost.kernels:,}"),
            ("C functions they share", f"{subject.cost.functions:,}"),
            ("floating-point operations", f"{subject.cost.flops:,}"),
            ("bytes read and written by kernels", f"{subject.cost.bytes:,}"),
        ]
    yield "<h2>Summary</h2>"
    yield _rows(rows)
    if subject.memory is not None:
        yield "<h2>Memory of one call</h2>"
        yield _rows(_memory_rows(subject.memory))
    if subject.seconds:
        yield "<h2>Time to compile</h2>"
        total = sum(subject.seconds.values())
        steps = [*subject.seconds.items(), ("total", total)]
        yield _rows((step, f"{taken * 1e3:,.1f} ms") for step, taken in steps)


def _memory_rows(memory: MemoryAnalysis) -> Iterator[tuple[str, str]]:
    for name in ("argument", "state", "output", "work", "peak"):
        yield name, f"{getattr(memory, f'{name}_bytes'):,} bytes"
    if memory.donated_bytes:
        yield "of the arguments, taken over by results", f"{memory.donated_bytes:,} bytes"


def _recompiles(subject: Subject) -> Iterator[str]:
    yield "<h2>Compiled again</h2>"
    if not subject.recompiles:
        yield "<p>Never: one program served every call.</p>"
        return
    yield "<ol>" + "".join(f"<li>{escape(r)}</li>" for r in subject.recompiles) + "</ol>"


def _program(graph: Graph) -> Iterator[str]:
    """The eqns, those of one line of Python together."""
    names = graph_names(graph)
    yield "<h2>Program</h2>"
    yield from _inputs("arguments and run-time numbers", graph.inputs[: graph.n_args], names)
    yield from _inputs("state", graph.inputs[graph.n_args :], names)
    yield "<table>"
    shown = graph.eqns[:MOST_EQNS]
    for phase, of_phase in groupby(shown, key=lambda e: e.phase.value):
        yield f'<tr class="part"><th colspan="2" class="{phase}">{phase}</th></tr>'
        for loc, eqns in groupby(of_phase, key=lambda e: e.loc):
            lines = [format_eqn(e, names) for e in eqns]
            text = f"<pre>{escape(chr(10).join(lines))}</pre>"
            if len(lines) > LONG:
                text = "".join(_folded(f"{len(lines)} eqns", text, True))
            yield f'<tr class="rule"><td>{_place(loc)}</td><td>{text}</td></tr>'
    yield "</table>"
    if len(shown) < len(graph.eqns):
        yield f"<p>{len(graph.eqns) - len(shown):,} more eqns are not shown.</p>"
    results = ", ".join(f"{format_atom(a, names)}: {a.type}" for a in graph.outputs)
    yield f"<p>returns <code>{escape(results)}</code></p>"


def _inputs(title: str, some: Sequence[Var], names: dict[Var, str]) -> Iterator[str]:
    if some:
        text = "\n".join(f"{names[v]}: {v.type}" for v in some)
        yield from _folded(f"{len(some)} {title}", f"<pre>{escape(text)}</pre>", len(some) > LONG)


def _folded(title: str, body: str, fold: bool) -> Iterator[str]:
    """A part under a title, which opens at a click where it is long."""
    state = "" if fold else " open"
    yield f"<details{state}><summary>{escape(title)}</summary>{body}</details>"


@dataclass(frozen=True, slots=True)
class _Bar:
    slot: Slot
    first: int
    last: int
    phase: str

    @property
    def nbytes(self) -> int:
        size = self.slot.dtype.itemsize
        for d in self.slot.shape:
            size *= d
        return size


def _bars(module: Module) -> list[_Bar]:
    """Every array of the work area with the first and the last kernel that touches it."""
    first: dict[Slot, tuple[int, str]] = {}
    last: dict[Slot, int] = {}
    for n, call in enumerate(module.calls):
        for slot in call.args:
            if slot.place is Place.WORK:
                first.setdefault(slot, (n, call.note.phase.value))
                last[slot] = n
    for slot in first:  # a part is there as long as the whole
        if slot.inside is not None:
            last[slot] = max(last[slot], last.get(slot.inside[0], 0))
    return [_Bar(slot, n, last[slot], phase) for slot, (n, phase) in first.items()]


def _memory_map(module: Module) -> Iterator[str]:
    """The work area: kernels from left to right, addresses from top to bottom."""
    yield "<h2>Work area over time</h2>"
    bars = _bars(module)
    if not bars:
        yield "<p>No value is kept in the work area.</p>"
        return
    total, steps = max(module.work_bytes, 1), len(module.calls)
    yield (
        f"<p>{module.work_bytes:,} bytes from top to bottom, {steps:,} kernels from left to "
        "right; point at a bar for its name. "
        + " ".join(f'<span class="{p}">&#9632; {p}</span>' for p in _PHASE_COLOURS)
        + "</p>"
    )
    shown = sorted(bars, key=lambda b: -b.nbytes)[:MOST_BARS]
    yield '<svg viewBox="0 0 1000 420" role="img" aria-label="the work area over time">'
    for bar in shown:
        yield _rectangle(bar, total, steps)
    yield "</svg>"
    if len(shown) < len(bars):
        yield f"<p>{len(bars) - len(shown):,} smaller arrays are not shown.</p>"
    yield from _largest(shown)


def _rectangle(bar: _Bar, total: int, steps: int) -> str:
    x, width = 1000 * bar.first / steps, 1000 * (bar.last - bar.first + 1) / steps
    y, height = 420 * bar.slot.offset / total, max(420 * bar.nbytes / total, 0.5)
    label = escape(
        f"{bar.slot.name}: {bar.nbytes:,} bytes at {bar.slot.offset:,}, "
        f"kernels {bar.first} to {bar.last}"
    )
    text = ""
    if height > 14 and width > 7.5 * len(bar.slot.name):
        text = (
            f'<text x="{x + 3:.2f}" y="{y + 12:.2f}" font-size="11" fill="#fff">'
            f"{escape(bar.slot.name)}</text>"
        )
    return (
        f'<g><title>{label}</title><rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" '
        f'height="{height:.2f}" fill="{_PHASE_COLOURS[bar.phase]}" stroke="#fff" '
        f'stroke-width="0.4"/>{text}</g>'
    )


def _largest(bars: Sequence[_Bar]) -> Iterator[str]:
    yield "<details><summary>the largest arrays</summary><table>"
    yield "<tr><th>name</th><th>bytes</th><th>offset</th><th>kernels</th></tr>"
    for b in bars[:40]:
        yield (
            f'<tr><td>{escape(b.slot.name)}</td><td class="n">{b.nbytes:,}</td>'
            f'<td class="n">{b.slot.offset:,}</td><td class="n">{b.first} to {b.last}</td></tr>'
        )
    yield "</table></details>"


def _kernels(lowering: Lowering) -> Iterator[str]:
    """Each kernel: its lines and eqns beside its C."""
    module, kernels = lowering.module, lowering.plan.kernels
    names = graph_names(lowering.plan.graph)
    yield "<h2>Kernels</h2>"
    seen: dict[str, int] = {}
    summaries = lowering.text.kernels
    for n, (call, kernel, summary) in enumerate(zip(module.calls, kernels, summaries)):
        if n == MOST_KERNELS:
            yield f"<p>{len(kernels) - n:,} more kernels are not shown.</p>"
            return
        note = call.note
        head = (
            f'{n} <span class="{note.phase.value}">{note.phase.value}</span> '
            f"<code>{escape(summary.name)}</code> {escape(note.title)} over {escape(note.extent)} "
            f"<small>{note.bytes:,} bytes, {note.flops:,} flops</small>"
        )
        known = seen.setdefault(summary.name, n)
        if known != n:
            c = f"<p>the function of kernel {known}, called with other arrays</p>"
        else:
            c = f"<pre>{escape(function_text(lowering.text.source, summary.name))}</pre>"
        python = _python(kernel.members, names)
        yield (
            f"<details><summary>{head}</summary>"
            f'<div class="both"><div>{python}</div><div>{c}</div></div></details>'
        )


def _python(members: Sequence[Eqn], names: dict[Var, str]) -> str:
    parts = []
    for loc, eqns in groupby(members, key=lambda e: e.loc):
        text = "\n".join("  " + format_eqn(e, names) for e in eqns)
        parts.append(f"<div>{_place(loc)}</div><pre>{escape(text)}</pre>")
    return "".join(parts) or "<p>a copy of a value that is kept elsewhere</p>"


def function_text(source: str, name: str) -> str:
    """The definition of one C function of a generated file; empty where there is none."""
    head = rf"^\w[\w *]*\b{re.escape(name)}\([^;{{]*\n\{{$"
    found = re.search(rf"{head}.*?^\}}$", source, re.M | re.S)
    return found.group() if found else ""


def _reasons(lowering: Lowering) -> Iterator[str]:
    """What the planner says of values it keeps."""
    yield "<h2>Why values are kept in memory</h2>"
    yield "<p>Everything else is computed where it is used, inside a kernel.</p>"
    reasons = lowering.plan.reasons
    if not reasons:
        yield "<p>None is.</p>"
        return
    shown = reasons[:MOST_KERNELS]
    yield "<ul>" + "".join(f"<li><code>{escape(r)}</code></li>" for r in shown) + "</ul>"
    if len(shown) < len(reasons):
        yield f"<p>{len(reasons) - len(shown):,} more are not shown.</p>"
