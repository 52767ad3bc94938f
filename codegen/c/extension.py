"""The C of the extension module that calls compiled functions; see `dispatch/layout.c`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAME = "gradc_dispatch"
FOLDER = Path(__file__).with_name("dispatch")
# Parts of one text: each uses what stands before it.
FILES = ("layout.c", "forms.c", "guards.c", "arguments.c", "run.c", "results.c", "make.c")


@cache
def extension_source() -> str:
    """The whole text, to be compiled against the headers of CPython and NumPy."""
    return "\n".join((FOLDER / file).read_text("ascii").strip() + "\n" for file in FILES)
