"""A generated file divided into units computes what it does whole."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gradc.codegen.c.units import units
from gradc.codegen.pipeline import lower_c
from gradc.runtime import toolchain
from gradc.runtime.binding import load_library
from gradc.runtime.cache import LIBRARY, SOURCE
from gradc.runtime.executable import CBound
from gradc.tracer.errors import CompileError
from gradc.tracer.graph.ir import Graph

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))
from small_programs import Maker


def many_kernels(n: int = 30) -> Graph:
    """Products of different sizes one after the other, so that no two are alike."""
    m = Maker("many")
    h = m.input((9, 8), "x")
    for k in range(n):
        w = m.input((8 + k, 9 + k), f"w{k}")
        h = m.tanh(m.dot(h, w, 1, 0))
    return m.b.finish([h])


def names(text: str, ending: str) -> set[str]:
    return set(re.findall(rf"^GRADC_KERNEL void (\w+)\([^;{{]*\){ending}", text, re.M))


@pytest.mark.parametrize("count", [2, 3])
def test_every_kernel_is_in_one_unit(count: int) -> None:
    source = lower_c(many_kernels(), name="many").source
    texts = units(source, count)
    assert len(texts) == count
    defined = [names(t, r"\n\{") for t in texts]
    assert set.union(*defined) == names(source, r"\n\{") != set()
    assert sum(map(len, defined)) == len(set.union(*defined))
    assert names(texts[0], ";") == set.union(*defined[1:])
    assert not any("many_part" in t for t in texts[1:])
    longest, shortest = max(map(len, texts[1:])), min(map(len, texts[1:]))
    assert longest < 2 * shortest


def test_small_programs_stay_whole() -> None:
    source = lower_c(many_kernels(1), name="one").source
    assert units(source, 4) == [source]


def test_the_library_is_the_same_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = lower_c(many_kernels(), name="many")
    compiler = toolchain.find_compiler()
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=p.type.shape).astype(np.float32) for p in module.inputs]
    results = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(toolchain, "_cores", lambda n=cores: n)
        folder = tmp_path / str(cores)
        folder.mkdir()
        (folder / SOURCE).write_text(module.source)
        toolchain.compile_library(compiler, compiler.flags(), folder)
        left = sorted(p.name for p in folder.iterdir())
        assert left == [SOURCE, LIBRARY], "nothing but the text and the library is left"
        library = load_library(folder / LIBRARY, module.name)
        results.append(CBound(module, library, [])(arrays))
    for other in results[1:]:
        np.testing.assert_array_equal(other[0], results[0][0])


def test_what_the_compiler_says_is_about_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_cores", lambda: 2)
    text = lower_c(many_kernels(), name="many").source
    (tmp_path / SOURCE).write_text(text.replace("int64_t", "no_such_type"))
    compiler = toolchain.find_compiler()
    with pytest.raises(CompileError) as caught:
        toolchain.compile_library(compiler, compiler.flags(), tmp_path)
    assert "no_such_type" in str(caught.value) and "k.c" in str(caught.value)
