"""What is shipped beside a generated program: a header that lays out its state, and a Makefile.

    state_header(module, ["model.weight"], [128], 512, 1024)   ->   text of train_state.h
    makefile("train")                                          ->   text of a Makefile

With the header a C program needs no parser for the file its state is kept in: it reads so many
bytes, and one function points the program at them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence, Set

from gradc.codegen.c.module import CModule, Port
from gradc.codegen.c.names import Names, c_comment
from gradc.codegen.c.printer import block_comment, literal
from gradc.codegen.c.target import FLAGS, REASONS, WARNING_FLAGS
from gradc.tracer.graph.dims import format_shape

_MAKEFILE = """# Builds {name}.o and lib{name}.a from {name}.c; nothing else is needed to link them.
# make CC=clang ARCH=-mcpu=cortex-a72 for another compiler or processor.

ARCH ?= -march=native
CFLAGS ?=
FLAGS = {flags}
{threads}
{reasons}

all: lib{name}.a

{name}.o: {name}.c
\t$(CC) $(FLAGS) $(ARCH){openmp} $(CFLAGS) -c -o $@ {name}.c

lib{name}.a: {name}.o
\t$(AR) rcs $@ {name}.o

clean:
\trm -f {name}.o lib{name}.a

.PHONY: all clean
"""


_THREADS = """
# Threads, where the compiler has OpenMP: link with $(OPENMP) too. make OPENMP= for one thread.
OPENMP ?= $(shell echo '#include <omp.h>' | $(CC) -fopenmp -E -x c - > /dev/null 2>&1 \\
\t&& echo -fopenmp)
"""


def makefile(name: str, *, threads: bool = False) -> str:
    """Rules for an object file and a static library, with the flags the text is made for.

    Args:
        threads: whether the program has use for several.
    """
    width = max(map(len, FLAGS))
    reasons = "\n".join(f"# {flag:<{width}}  {REASONS[flag]}" for flag in FLAGS)
    flags = " ".join((*FLAGS, *WARNING_FLAGS[:2]))
    lines = {"threads": _THREADS, "openmp": " $(OPENMP)"} if threads else {}
    return _MAKEFILE.format(
        name=name, flags=flags, reasons=reasons, **{"threads": "", "openmp": "", **lines}
    )


def state_header(
    module: CModule,
    names: Sequence[str],
    offsets: Sequence[int],
    begin: int,
    size: int,
    values: Mapping[int, float | int],
) -> str:
    """The text of `<name>_state.h`.

    Args:
        names: what the user calls each state input.
        offsets: where each state input lies in the block of state.
        begin: bytes of the state's file before the block.
        size: bytes of the block.
        values: of inputs that are numbers read at every call, by position.
    """
    name, macro = module.name, module.name.upper()
    lines = [
        *block_comment(_introduction(name, macro)),
        f"#ifndef {macro}_STATE_H",
        f"#define {macro}_STATE_H",
        "",
        f'#include "{name}.h"',
        "",
        f"#define {macro}_STATE_BEGIN {begin}",
        f"#define {macro}_STATE_BYTES {size}",
        "",
        f"#define {macro}_INPUTS {len(module.inputs)}",
        f"#define {macro}_OUTPUTS {len(module.outputs)}",
        "",
        *_places(f"{macro}_IN", module.inputs[: module.n_args]),
        *_places(f"{macro}_OUT", module.outputs, {o for o, _ in module.aliases}),
        "",
        *_bind(module, names, offsets, values),
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _introduction(name: str, macro: str) -> list[str]:
    text = (
        f"The state of {name}: {macro}_STATE_BYTES bytes that {name}.safetensors holds from byte "
        f"{macro}_STATE_BEGIN on. Read them into memory at a multiple of 8, let {name}_bind point "
        f"`in` and `out` at them, and set the other places, named {macro}_IN_... and "
        f"{macro}_OUT_..., yourself. To save, write the block back to the same place of the file."
    )
    return textwrap.wrap(text, 94)


def _places(prefix: str, ports: Sequence[Port], without: Set[int] = frozenset()) -> list[str]:
    scope = Names()
    lines = []
    for i, port in enumerate(ports):
        if i not in without:
            place = f"{prefix}_{scope.fresh(port.name).upper()} {i}"
            lines.append(f"#define {place:<32} /* {_kind(port)} */")
    return lines


def _kind(port: Port) -> str:
    return f"{port.type.dtype.name}{format_shape(port.type.shape)}"


def _bind(
    module: CModule,
    names: Sequence[str],
    offsets: Sequence[int],
    values: Mapping[int, float | int],
) -> list[str]:
    remark = [
        "numbers that Python reads at every call keep the value they had, unless you point `in`",
        "at another one",
    ]
    lines = [
        *block_comment(remark if values else []),
        f"static inline void {module.name}_bind(void *state, const void **in, void **out)",
        "{",
        "    unsigned char *const base = (unsigned char *)state;",
    ]
    for i, value in values.items():
        port = module.inputs[i]
        number = literal(value, port.type.dtype)[0]
        place = f"{port.name}_value"
        lines.append(f"    static const {port.type.dtype.c_storage} {place} = {number};")
        lines.append(f"    in[{i}] = &{place};")
    written = {target: output for output, target in module.aliases}
    for k, (user, offset) in enumerate(zip(names, offsets, strict=True)):
        i = module.n_args + k
        what = c_comment(f"{user}  {_kind(module.inputs[i])}")
        lines.append(f"    in[{i}] = base + {offset}; /* {what} */")
        if i in written:
            lines.append(f"    out[{written[i]}] = base + {offset};")
    return [*lines, "    (void)base, (void)in, (void)out;", "}"]
