"""The C helpers a generated file needs, no more.

`math/*.h` are files of real C, which compile on their own. Each run of lines between blank lines
is one snippet; what it defines and what it uses are read off its text, so that asking for
`gradc_tanh_f32` gives it and everything below it, in the order of the files.

    needed(["gradc_sqrt_f32"])     -> [the inlining macro, gradc_sqrt_f32]

Integer helpers are written for 32 bits; those of another width are the same text with the width
exchanged (`gradc_add_i8`). Long functions also exist as `gradc_pow_f64_apart`, which is called
instead of copied, for places that run once; `gradc_multiply_f32_8x32` is the function for a tile of
this size, one for all kernels that use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gradc.tracer.errors import InternalError

FOLDER = Path(__file__).with_name("math")

# In the order the snippets stand in a generated file: a helper may use those before it.
FILES = (
    "base.h", "check.h", "team.h", "multiply.h", "transpose.h", "exp.h", "log.h", "trig.h",
    "inverse_trig.h", "hyperbolic.h", "error.h", "gamma.h", "power.h", "remainder.h", "signed.h",
    "unsigned.h", "convert.h", "random.h",
)  # fmt: skip

# Whose functions are long.
LONG = ("exp.h", "log.h", "trig.h", "inverse_trig.h", "hyperbolic.h", "error.h", "gamma.h",
        "power.h", "remainder.h")  # fmt: skip

# Given by the command line or at the head of the file, if at all.
EXTERNAL = ("GRADC_OPENMP_SIMD", "GRADC_REPRODUCIBLE")

_NAME = re.compile(r"\b(?:gradc|GRADC)_\w+")
_DEFINES = re.compile(
    r"^\s*#\s*define\s+(GRADC_\w+)"  # a macro
    r"|^(?:GRADC_(?:INLINE|COLD|APART|SHARED)|static)\b[^(=]*?\b(gradc_\w+)\s*[(\[]"  # function
    r"|^(?:typedef\b.*\b|\} )(gradc_\w+);$",  # a type
    re.MULTILINE,
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CALLED = re.compile(r"^(gradc_\w+)_(?:apart|(\d+)x(\d+))$")
_WIDTH = re.compile(r"^(gradc_\w*_)([iu])(8|16|64)$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One piece of C: its text, the names it defines and the names it uses."""

    text: str
    defines: tuple[str, ...]
    uses: tuple[str, ...]
    order: tuple[int, int]


@cache
def library() -> dict[str, Snippet]:
    """Every snippet of `math/` by each name it defines."""
    table: dict[str, Snippet] = {}
    for number, file in enumerate(FILES):
        text = (FOLDER / file).read_text(encoding="ascii")
        previous = ""
        for place, block in enumerate(re.split(r"\n\s*\n", text)):
            snippet = _snippet(_with_comment(block.strip("\n"), previous), (number, place))
            table.update(dict.fromkeys(snippet.defines, snippet))
            previous = snippet.text
    return table


def _with_comment(block: str, previous: str) -> str:
    """A double function right after the float one shares its comment."""
    comment = re.match(r"/\*.*?\*/\n", previous, re.DOTALL)
    names = [re.search(r"gradc_(\w+)_(f32|f64)\(", text) for text in (previous, block)]
    if comment is None or block.startswith("/*") or not all(names):
        return block
    same = names[0].group(1) == names[1].group(1)  # type: ignore[union-attr]
    return comment.group() + block if same else block


def _snippet(block: str, order: tuple[int, int]) -> Snippet:
    code = _COMMENT.sub(" ", block)
    defines = tuple(dict.fromkeys(a or b or c for a, b, c in _DEFINES.findall(code)))
    uses = tuple(n for n in dict.fromkeys(_NAME.findall(code)) if n not in (*defines, *EXTERNAL))
    return Snippet(block, defines, uses, order)


@cache
def find(name: str) -> Snippet:
    """The snippet that defines `name`.

    Raises:
        InternalError: there is none.
    """
    found = library().get(name) or _other_width(name) or _called(name)
    if found is None:
        raise InternalError(f"no C helper is called {name}")
    return found


def _other_width(name: str) -> Snippet | None:
    match = _WIDTH.match(name)
    if match is None:
        return None
    stem, sign, bits = match.groups()
    base = library().get(f"{stem}{sign}32")
    if base is None:
        return None
    return _snippet(_exchange_width(base.text, int(bits)), base.order)


def _exchange_width(text: str, bits: int) -> str:
    """The text of a 32-bit integer snippet for another width."""
    exchanges = [
        (r"\b(u?int)32_t\b", rf"\g<1>{bits}_t"),
        (r"\b(U?INT)32_(M\w+)\b", rf"\g<1>{bits}_\g<2>"),
        (r"(gradc_\w*_[iu])32\b", rf"\g<1>{bits}"),
        (r"\b32\b", str(bits)),
        (r"\b31\b", str(bits - 1)),
        (r"\b2147483648\.0", f"{2 ** (bits - 1)}.0"),
        (r"\b4294967296\.0", f"{2**bits}.0"),
    ]
    for pattern, replacement in exchanges:
        text = re.sub(pattern, replacement, text)
    return text


def is_long(name: str) -> bool:
    """Whether the helper's text is worth having once only where speed does not matter."""
    found = library().get(name)
    return found is not None and FILES[found.order[0]] in LONG


def _called(name: str) -> Snippet | None:
    """`gradc_pow_f64_apart`, `gradc_multiply_f32_8x32`: a function that calls the inlined one, for
    a tile of this size in the second case."""
    match = _CALLED.match(name)
    base = None if match is None else library().get(match.group(1))
    if match is None or base is None:
        return None
    inlined, rows, columns = match.groups()
    head = re.search(rf"GRADC_INLINE (\w+) {inlined}\(([^)]*)\)", base.text)
    if head is None:
        return None
    fixed = {} if rows is None else {"rows": rows, "columns": columns}
    parameters = [" ".join(p.split()) for p in head.group(2).split(",")]
    names = [p.split()[-1].lstrip("*") for p in parameters]
    kept = [p for p, n in zip(parameters, names) if n not in fixed]
    lines = ",\n    ".join(", ".join(part) for part in (kept[:2], kept[2:]) if part)
    result = "" if head.group(1) == "void" else "return "
    call = f"{inlined}({', '.join(fixed.get(n, n) for n in names)})"
    text = f"GRADC_SHARED {head.group(1)} {name}({lines})\n{{\n    {result}{call};\n}}"
    return _snippet(text, base.order)


def needed(names: Iterable[str]) -> list[str]:
    """The texts of the snippets that define `names` and all they use, each once, in order."""
    found: dict[str, Snippet] = {}
    waiting = list(names)
    while waiting:
        snippet = find(waiting.pop())
        if snippet.defines[0] not in found:
            found[snippet.defines[0]] = snippet
            waiting += snippet.uses
    ordered = sorted(found.values(), key=lambda s: (s.order, s.defines[0]))
    return [s.text for s in ordered]


def has(name: str) -> bool:
    """Whether a helper of this name exists."""
    return name in library() or _other_width(name) is not None
