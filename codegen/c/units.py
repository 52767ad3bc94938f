"""A generated file as several, for compilers to work on at the same time.

    units(source, 2)     ->  [everything but some kernels, those kernels]

Compiled alone and linked together they are the same program: kernels are never inlined, and each
unit has the helpers its kernels call. Small programs stay whole.
"""

from __future__ import annotations

import re

_KERNEL = re.compile(r"^(GRADC_KERNEL void (\w+)\([^;{]*\))\n\{\n.*?^\}$", re.M | re.S)
_STATIC = re.compile(r"^(#define GRADC_KERNEL) static\b", re.M)
# Milliseconds of a compiler, as measured with gcc: for a vectorised loop, for a function, and for
# so many characters.
_LOOP, _FUNCTION, _CHARACTERS = 6, 3, 300
_COSTS = {"GRADC_SIMD": _LOOP, "gradc_transpose": 2 * _LOOP}
# What is worth a compiler of its own; starting one costs about a third of it.
WORTH = 60


def units(source: str, most: int) -> list[str]:
    """At most `most` texts that take about equally long; [source] where that is not worth it."""
    found = list(_KERNEL.finditer(source))
    costs = [_milliseconds(m.group()) for m in found]
    count = min(most, len(found), int(sum(costs) / WORTH))
    if count < 2:
        return [source]
    rest = len(source) - found[-1].end()
    places = _assign(costs, rest / _CHARACTERS, count)
    head = source[: found[0].start()]
    texts = [_without(source, [m for m, p in zip(found, places) if p > 0])]
    for unit in range(1, count):
        own = [m.group() for m, p in zip(found, places) if p == unit]
        texts.append("\n\n".join([head, *own, ""]))
    return [_STATIC.sub(r"\1", text) for text in texts]


def _milliseconds(kernel: str) -> float:
    """About how long a compiler takes for a kernel."""
    loops = sum(cost * kernel.count(word) for word, cost in _COSTS.items())
    return _FUNCTION + loops + len(kernel) / _CHARACTERS


def _assign(costs: list[float], rest: float, count: int) -> list[int]:
    """The unit of each kernel: the longest first, each to the unit with the least so far. The
    first has the rest of the program."""
    loads, places = [rest, *[0.0] * (count - 1)], [0] * len(costs)
    for n in sorted(range(len(costs)), key=lambda n: -costs[n]):
        places[n] = min(range(count), key=loads.__getitem__)
        loads[places[n]] += costs[n]
    return places


def _without(source: str, gone: list[re.Match[str]]) -> str:
    """The text with these kernels declared only."""
    parts, at = [], 0
    for match in gone:
        parts += [source[at : match.start()], f"{match.group(1)};"]
        at = match.end()
    return "".join([*parts, source[at:]])
