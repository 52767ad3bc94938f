"""gradc against other libraries: `python -m benchmarks --help`, from the root of the project."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import describe, measure_limits
from benchmarks.rounds import DifferentWork, Plan, installed, run_workload
from benchmarks.workloads import SMOKE, WORKLOADS


def parse(words):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="WORKLOAD", help="names, or parts of names")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument(
        "--python", action="append", default=[], metavar="CONTESTANT=PATH",
        help="run a contestant by another Python; torch stands for both of torch's",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--slice", type=float, default=0.3, help="seconds a turn lasts")
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument(
        "--quick", action="store_true", help="at most 3 short rounds, no warm starts"
    )
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    parser.add_argument("--out", type=Path, help="a file for everything, as JSON")
    parser.add_argument("--list", action="store_true", help="print the workloads")
    return parser.parse_args(words)


def chosen(only, long):
    """The workloads that were asked for."""
    names = [n for n in WORKLOADS if n not in SMOKE and (long or not WORKLOADS[n].long)]
    if not only:
        return names
    found = [n for n in WORKLOADS if n in only or any(o in n for o in only if o not in WORKLOADS)]
    if not found:
        raise SystemExit(f"no workload is called {' or '.join(only)}")
    return found


def pythons(words):
    """`torch=/path` pairs; `torch` means torch.compile too, unless that has one of its own."""
    made = {}
    for word in words:
        name, _, path = word.partition("=")
        if name not in CONTESTANTS or not path:
            raise SystemExit(f"--python {word}: expected CONTESTANT=PATH")
        made[name] = os.path.abspath(path)
    if "torch" in made:
        made.setdefault("torch.compile", made["torch"])
    return made


def main(words=None):
    options = parse(words)
    if options.list:
        print("\n".join(WORKLOADS))
        return 0
    others = pythons(options.python)
    plan = Plan(others, options.rounds, options.slice, options.threads, cold=True)
    if options.quick:
        plan.rounds, plan.slice, plan.cold = min(options.rounds, 3), min(options.slice, 0.1), False
    names, missing = installed(options.contestants, plan.pythons)
    for reason in missing.values():
        print(f"left out: {reason}", file=sys.stderr)
    machine = describe(options.threads)
    print(machine, f"{options.threads} threads, {plan.rounds} rounds of {plan.slice} s", sep="\n")
    results, failed = {}, []
    for workload in chosen(options.only, options.long):
        try:
            results[workload] = run_workload(workload, names, plan)
        except DifferentWork as error:
            failed.append(str(error))
            continue
        print(report.line(workload, results[workload], names, machine), flush=True)
    measure_limits(machine, options.threads)
    tables = [report.table(results, names, machine), "", report.compiles(results, names)]
    slowed = report.contention(results, names)
    tables += ["", slowed] if slowed else []
    print("", machine, *tables, sep="\n")
    print("", *report.skips(results), *failed, sep="\n")
    if options.out is not None:
        facts = report.as_json(results, machine, plan)
        options.out.write_text(json.dumps(facts, indent=1), "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
