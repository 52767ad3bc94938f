"""A generated file as several, for compilers to work on at the same time.

    units(source, 2)     ->  [everything but some kernels, those kernels]

Compiled alone and linked together they are the same program: kernels are never inlined, and each
unit has the helpers its kernels call. Small programs stay whole.
"""

from __future__ import annotations

import re

_KERNEL = re.compile(r"^(GRADC_KERNEL void (\w+)\([^;{]*\))\n\{\n.*?^\}$", re.M | re.S)
_STATIC = re.compile(r"^(#define GRADC_KERNEL) static\b", re.M)
# Characters of kernels that are worth a compiler of their own; starting one costs about as much.
WORTH = 6_000


def units(source: str, most: int) -> list[str]:
    """At most `most` texts of about the same length; [source] where that is not worth it."""
    found = list(_KERNEL.finditer(source))
    count = min(most, len(found), sum(len(m.group()) for m in found) // WORTH)
    if count < 2:
        return [source]
    places = _assign([len(m.group()) for m in found], len(source) - found[-1].end(), count)
    head = source[: found[0].start()]
    texts = [_without(source, [m for m, p in zip(found, places) if p > 0])]
    for unit in range(1, count):
        own = [m.group() for m, p in zip(found, places) if p == unit]
        texts.append("\n\n".join([head, *own, ""]))
    return [_STATIC.sub(r"\1", text) for text in texts]


def _assign(lengths: list[int], rest: int, count: int) -> list[int]:
    """The unit of each kernel: the longest first, each to the unit with the least so far. The
    first has the rest of the program, whose calls compile faster than loops."""
    loads, places = [rest // 3, *[0] * (count - 1)], [0] * len(lengths)
    for n in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        places[n] = min(range(count), key=loads.__getitem__)
        loads[places[n]] += lengths[n]
    return places


def _without(source: str, gone: list[re.Match[str]]) -> str:
    """The text with these kernels declared only."""
    parts, at = [], 0
    for match in gone:
        parts += [source[at : match.start()], f"{match.group(1)};"]
        at = match.end()
    return "".join([*parts, source[at:]])
