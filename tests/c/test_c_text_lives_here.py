"""C is made in codegen/c alone: no other room of the library holds C text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gradc.codegen.c

OWN = Path(gradc.codegen.c.__file__).parent
ROOT = OWN.parent.parent
ROOMS = ("tracer", "codegen", "runtime", "api")
C_TEXT = re.compile(
    r"#\s*include\s*[<\"]|#\s*(?:define|ifdef|ifndef|pragma)\s|_Pragma|\bstatic inline\b"
    r"|\bfor \(int|\b(?:u?int(?:8|16|32|64)_t|float|double) \*|__attribute__|__builtin_"
)
# Declarations cffi parses in order to call what was compiled, and a compiler's own macros.
ALLOWED = {"runtime/loader.py"}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module, docstrings left out."""
    tree = ast.parse(path.read_text("utf-8"))
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def test_no_c_elsewhere() -> None:
    found = []
    for path in sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        # DType.c_storage is data about types, not text of a program.
        if OWN in path.parents or name in ALLOWED or name == "tracer/graph/types.py":
            continue
        found += [f"{name}:{line}" for line, text in strings(path) if C_TEXT.search(text)]
    assert found == []


def test_it_is_found_where_it_is() -> None:
    assert any(C_TEXT.search(text) for _, text in strings(OWN / "module.py"))
