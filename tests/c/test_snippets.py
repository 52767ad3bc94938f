"""The helper files: each stands alone, and what is asked for comes with all it needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from ctools import STRICT, Build, undefined

from gradc.codegen.c.snippets import EXTERNAL, FILES, FOLDER, find, has, library, needed
from gradc.tracer.errors import InternalError

WIDTHS = [f"{s}{b}" for s in "iu" for b in (8, 16, 32, 64)]
FLAGS = ("-std=gnu11", "-O1", "-fno-math-errno", "-ffp-contract=off")


def test_every_file_is_listed() -> None:
    assert sorted(p.name for p in FOLDER.glob("*.h")) == sorted(FILES)


def test_every_name_used_is_defined() -> None:
    used = {name for s in library().values() for name in s.uses}
    assert [n for n in sorted(used) if not has(n)] == []


def test_unknown_name() -> None:
    with pytest.raises(InternalError, match="gradc_nothing"):
        needed(["gradc_nothing"])


def test_only_what_is_needed() -> None:
    text = "\n".join(needed(["gradc_sqrt_f32"]))
    assert text.count("GRADC_INLINE float") == 1
    assert "exp" not in text


def test_definitions_stand_before_uses() -> None:
    texts = needed([*library(), *(f"gradc_pow_{w}" for w in WIDTHS)])
    seen = set(EXTERNAL)
    for text in texts:
        code = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        names = [n for n in re.findall(r"gradc_\w+|GRADC_\w+", code) if n not in EXTERNAL]
        snippet = next(s for n in names if (s := find(n)).text == text)
        assert set(snippet.uses) <= seen, snippet.defines
        seen |= set(snippet.defines)


def test_double_functions_share_their_comment() -> None:
    assert find("gradc_atan_f64").text.startswith("/*")


@pytest.mark.parametrize("file", FILES)
def test_each_file_compiles(file: str, cc: str, cxx: str, tmp_path: Path) -> None:
    for tool, standard, suffix in ((cc, "c11", "c"), (cxx, "c++17", "cpp")):
        source = tmp_path / f"one.{suffix}"
        source.write_text(f'#include "{FOLDER / file}"\n', encoding="utf-8")
        command = [tool, f"-std={standard}", *STRICT, "-Wno-unused-function", "-O1", "-S",
                   "-o", str(tmp_path / "one.s"), str(source)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:3000]


def test_every_width_compiles_strictly(build: Build) -> None:
    names = [n for n in library() if re.fullmatch(r"gradc_\w+_[iu]32", n)]
    wanted = [re.sub(r"[iu]32$", lambda m, w=w: m.group()[0] + w[1:], n) for n in names
              for w in ("i8", "i16", "i32", "i64")]  # fmt: skip
    text = "#include <stdint.h>\n" + "\n\n".join(needed(wanted)) + "\nint unused;\n"
    build(text, "-std=c11", *STRICT, "-Wno-unused-function", "-O1")


# The register tiles of contractions: at -O3, and not specialised by a caller, half a minute of gcc.
TILES = re.compile(r"gradc_(multiply|tile)_")


@pytest.mark.parametrize(
    ("flags", "tiles"),
    [(("-O0",), True), (("-O3",), False), (("-O3", "-march=native"), False), (("-O2",), True)],
)
def test_nothing_is_taken_from_a_library(
    build: Build, flags: tuple[str, ...], tiles: bool
) -> None:
    floats = [n for n in library() if re.fullmatch(r"gradc_\w+_f(32|64)", n)]
    floats = [n for n in floats if tiles or not TILES.match(n)]
    text = ["#include <stdint.h>\n#include <stddef.h>", *needed(floats)]
    for name in floats:
        signature = re.search(rf"\n?GRADC_INLINE (\w+) {name}\(([^)]*)\)\n", find(name).text)
        assert signature is not None
        names = ", ".join(p.split()[-1].lstrip("*") for p in signature[2].split(","))
        text.append(f"{signature[1]} test_{name}({signature[2]}) {{ return {name}({names}); }}")
    # As at the head of every generated file.
    text.insert(0, '#pragma GCC optimize("no-tree-loop-distribute-patterns")')
    target = build("\n\n".join(text), *FLAGS, *flags, "-nostdlib")
    assert undefined(target) == set()
