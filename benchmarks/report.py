"""Figures as a table to read, and as JSON to keep."""

from __future__ import annotations

from dataclasses import asdict
from statistics import geometric_mean

from benchmarks.workloads import WORKLOADS

OWN = "gradc"


def table(results, names, machine) -> str:
    """One line per workload: medians, the best peer against gradc, and what of the limits; the
    geometric mean of several ratios beneath them."""
    head = f"{'':24}" + "".join(f"{n:>14}" for n in names) + f"{'peer/gradc':>12}  of the limit"
    lines = [head, *(line(w, rows, names, machine) for w, rows in results.items())]
    ratios = [r for r in map(ratio, results.values()) if r]
    if len(ratios) > 1:
        lines.append(f"{'geometric mean':24}{'':{14 * len(names)}}{geometric_mean(ratios):12.2f}")
    return "\n".join(lines)


def line(workload, rows, names, machine) -> str:
    """The medians of one workload."""
    found = {r.contestant: r for r in rows}
    cells = [shown(found[n].seconds) if n in found and found[n].seconds else "-" for n in names]
    best = ratio(rows)
    text = f"{workload:24}" + "".join(f"{c:>14}" for c in cells)
    text += f"{best:12.2f}" if best else f"{'':12}"
    return (text + "  " + limit(workload, found.get(OWN), machine)).rstrip()


def shown(seconds) -> str:
    """A time with its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratio(rows):
    """The best peer's time over gradc's: above 1, gradc is faster. None without one of them."""
    own = [r.seconds for r in rows if r.contestant == OWN and r.seconds]
    peers = [r.seconds for r in rows if r.contestant != OWN and r.seconds]
    return min(peers) / own[0] if own and peers else None


def limit(workload, row, machine) -> str:
    """gradc's rate, and its share of what the machine can do."""
    w = WORKLOADS[workload]
    if row is None or not row.seconds:
        return row.skipped if row else ""
    parts = []
    if w.bytes:
        parts.append(_share(w.bytes / row.seconds / 1e9, machine.triad, "GB/s"))
    if w.flops:
        # Half as many lanes for float64.
        peak = machine.multiply_adds / (2 if "float64" in workload else 1)
        parts.append(_share(w.flops / row.seconds / 1e9, peak, "GFLOP/s"))
    return ", ".join(parts)


def _share(rate, most, unit) -> str:
    return f"{rate:.3g} {unit}" + (f" ({100 * rate / most:.0f} %)" if most else "")


def compiles(results, names) -> str:
    """First calls with empty caches and with full ones, and the most memory, by workload."""
    head = f"{'':24}" + "".join(f"{n:>24}" for n in names)
    lines = [head + "   cold s / warm s / MiB"]
    for workload, rows in results.items():
        found = {r.contestant: r for r in rows}
        cells = [_start(found[n]) if n in found else "-" for n in names]
        lines.append(f"{workload:24}" + "".join(f"{c:>24}" for c in cells))
    return "\n".join(lines)


def _start(row) -> str:
    if not row.seconds:
        return "-"
    cold, warm = ("-" if s is None else f"{s:.2f}" for s in (row.cold, row.warm))
    return f"{cold} / {warm} / {row.peak / 2**20:.0f}"


def contention(results, names) -> str:
    """What a burned core costs: median, mean and 90th percentile over the median without it."""
    head = f"{'':24}" + "".join(f"{n:>24}" for n in names)
    lines = [head + "   median / mean / p90 over quiet"]
    for workload, rows in results.items():
        if WORKLOADS[workload].contended:
            found = {r.contestant: r for r in rows}
            cells = [_slowed(found[n]) if n in found else "-" for n in names]
            lines.append(f"{workload:24}" + "".join(f"{c:>24}" for c in cells))
    return "\n".join(lines) if len(lines) > 1 else ""


def _slowed(row) -> str:
    if not row.quiet:
        return "-"
    return " / ".join(f"{x / row.quiet:.2f}" for x in (row.seconds, row.mean, row.p90))


def skips(results) -> list[str]:
    """Who did not take part in what, and why."""
    return [
        f"{workload}: {row.contestant}: {row.skipped}"
        for workload, rows in results.items()
        for row in rows
        if row.skipped
    ]


def as_json(results, machine, plan) -> dict:
    """Everything, for a file."""
    return {
        "machine": asdict(machine),
        "plan": asdict(plan),
        "results": {
            w: {"ratio": ratio(rows), "rows": [asdict(r) for r in rows]}
            for w, rows in results.items()
        },
    }
