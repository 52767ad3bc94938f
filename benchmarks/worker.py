"""One process of one contestant and one workload; its parent tells it when to measure.

    python -m benchmarks.worker CONTESTANT WORKLOAD THREADS

On start it prepares, calls once and prints what that took and gave. Then for every number it
reads, seconds, it calls for so long and prints the seconds of one call. All it says is JSON, one
line each.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time

import numpy as np

from benchmarks.contestants import CONTESTANTS
from benchmarks.workloads import WORKLOADS, make_inputs


def say(**facts):
    print(json.dumps(facts), flush=True)


def digest(result, read):
    """Two figures for each array of a result: enough to tell different work apart."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    figures = []
    for part in parts:
        array = np.asarray(read(part), np.float64).ravel()
        figures += [float(np.abs(array).mean()), float(array[0])]
    return figures


def repeat(call, seconds):
    """Calls for at least this long, in batches: the seconds of a call, by batch."""
    taken, batch, start = [], 1, time.perf_counter()
    while True:
        begin = time.perf_counter()
        for _ in range(batch):
            call()
        end = time.perf_counter()
        taken.append((end - begin) / batch)
        if end - start >= seconds:
            return taken
        # Asking for the time costs as much as the smallest calls: ask seldom.
        batch = max(1, int(seconds / 30 / taken[-1]))


def measure(call, seconds):
    """Seconds per call over about this long, after a fifth of it to come into step: the median, the
    mean, and what nine in ten stay below."""
    repeat(call, seconds / 5)
    taken = sorted(repeat(call, seconds))
    late = taken[min(len(taken) * 9 // 10, len(taken) - 1)]
    return {"seconds": statistics.median(taken), "mean": statistics.mean(taken), "p90": late}


def prepare(name, workload, threads):
    """The call, after its first time."""
    contestant = CONTESTANTS[name]
    start = time.perf_counter()
    module = importlib.import_module(f"benchmarks.{contestant.module}")
    imported = time.perf_counter()
    cases, read, version = getattr(module, contestant.entry)(threads)
    case = cases.get(WORKLOADS[workload].case)
    if case is None:
        say(skipped=f"there is no {WORKLOADS[workload].case} for {name}")
        return None
    inputs = make_inputs(workload)
    begin = time.perf_counter()
    call = case(inputs)
    result = call()
    first = time.perf_counter() - begin
    say(
        first=first, imported=imported - start, version=version, digest=digest(result, read)
    )
    return call


def main():
    name, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        os.sched_setaffinity(0, cores)
    try:
        call = prepare(name, workload, threads)
    except Exception as error:
        # Whatever a library raises: its row says so, and the others go on.
        say(skipped=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        raise
    if call is None:
        return
    for line in sys.stdin:
        found = measure(call, float(line))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say(**found, peak=peak)


if __name__ == "__main__":
    main()
