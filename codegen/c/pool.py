"""The C of the threads that run compiled programs; see `pool.c`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gradc.codegen.c.snippets import needed

NAME = "gradc_pool"
_HEAD = """#include <stddef.h>
#include <stdint.h>

#define GRADC_EXPORT __attribute__((visibility("default")))"""
_USES = ("gradc_enter", "gradc_leave", "gradc_wait", "GRADC_LOAD", "GRADC_OVER", "GRADC_ALIGNED",
         "GRADC_PAUSE", "gradc_shared")  # fmt: skip


@cache
def pool_source() -> str:
    """The whole text, for a system with POSIX threads."""
    text = Path(__file__).with_name("pool.c").read_text("ascii").strip()
    return "\n\n".join([_HEAD, *needed(_USES), text, ""])
