"""Exported programs: what their files say, used from C and from Python; and damaged ones."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from handmade import add_module

from gradc.runtime.package import Program, load, seal, write_package
from gradc.runtime.state_file import read_state
from gradc.tracer.errors import ArgumentError, IndexOutOfRange

CC = shutil.which("gcc") or shutil.which("cc") or "cc"
CALL = {
    "arguments": ["list", ["tuple", 0], ["dict", []]], "inputs": [0], "names": ["x"], "static": {},
    "writes": [], "result": ["dict", ["total", "same"], 0, 1],
    "results": [{"output": 0}, {"state": 0}],
}  # fmt: skip
ONES = np.ones(4, np.float32)


@pytest.fixture
def package(tmp_path):
    """The program of `add_module` with w = [0, 1, 2, 3], exported."""
    w = np.arange(4, dtype=np.float32)
    program = Program(add_module(), ["x", "layer.w"], [w], {}, CALL)
    folder = tmp_path / "out"
    write_package(program, folder)
    return folder


def test_the_files(package):
    assert sorted(p.name for p in package.iterdir()) == [
        "Makefile", "f.c", "f.h", "f.json", "f.safetensors", "f_state.h",
    ]  # fmt: skip
    manifest = json.loads((package / "f.json").read_text())
    assert manifest["inputs"][1] == {
        "name": "layer.w", "c_name": "w", "dtype": "float32", "shape": [4], "offset": 0,
    }  # fmt: skip
    assert [o["replaces"] for o in manifest["outputs"]] == [None, 1]
    assert manifest["checks"][0]["where"][0] == "handmade.py"
    for text in (package / "f.json").read_text(), (package / "f_state.h").read_text():
        assert str(Path(__file__).parent) not in text


def test_python_calls_it(package):
    f = load(package)
    result = f(ONES)
    assert list(result) == ["total", "same"] and result["total"].item() == 6
    assert result["same"] is f.state["layer.w"]
    assert f.state["layer.w"].tolist() == [1, 2, 3, 4]
    assert read_state(package / "f.safetensors")["layer.w"].tolist() == [0, 1, 2, 3]
    f.save()
    assert load(package).state["layer.w"].tolist() == [1, 2, 3, 4]


def test_a_failing_check_names_the_line_it_had(package):
    with pytest.raises(IndexOutOfRange, match=r"index 200 .*") as error:
        load(package)(np.full(4, 200, np.float32))
    assert "handmade.py:" in str(error.value)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "exported for the arguments"),
        ((ONES, ONES), "exported for the arguments"),
        (([ONES],), "exported for the arguments"),
        ((np.ones(5, np.float32),), "float32"),
        ((np.ones(4),), "float64"),
        (("text",), "argument `x`"),
    ],
)
def test_other_arguments_are_refused(package, args, words):
    with pytest.raises(ArgumentError, match=words):
        load(package)(*args)


MAIN = r"""
#include "f_state.h"
#include <stdio.h>

static union { double align[F_STATE_BYTES / 8 + 1]; unsigned char bytes[F_STATE_BYTES]; } state;
static union { double align[16]; unsigned char bytes[128]; } work __attribute__((aligned(64)));

int main(void)
{
    const void *in[F_INPUTS];
    void *out[F_OUTPUTS];
    float x[4] = {1, 1, 1, 1}, total;
    FILE *file = fopen("f.safetensors", "r+b");
    if (file == NULL || fseek(file, F_STATE_BEGIN, SEEK_SET) != 0) return 1;
    if (fread(state.bytes, 1, F_STATE_BYTES, file) != F_STATE_BYTES) return 2;
    f_bind(state.bytes, in, out);
    in[F_IN_X] = x;
    out[F_OUT_TOTAL] = &total;
    f_options options = {sizeof options, 1, NULL};
    if (f(in, out, &work, &options) != 0) return 3;
    if (fseek(file, F_STATE_BEGIN, SEEK_SET) != 0) return 4;
    if (fwrite(state.bytes, 1, F_STATE_BYTES, file) != F_STATE_BYTES) return 5;
    fclose(file);
    printf("%g\n", total);
    return 0;
}
"""


def test_a_c_program_reads_and_saves_the_state(package):
    (package / "main.c").write_text(MAIN)
    run = {"cwd": package, "check": True, "capture_output": True, "text": True}
    warn = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["make", "f.o", f"CC={CC}"], **run)
    subprocess.run([CC, *warn, "main.c", "f.o", "-o", "main"], **run)
    assert subprocess.run(["./main"], **run).stdout == "6\n"
    assert subprocess.run(["./main"], **run).stdout == "10\n"
    assert load(package).state["layer.w"].tolist() == [2, 3, 4, 5]


def test_the_state_header_is_also_cplusplus(package):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    (package / "main.cc").write_text('#include "f_state.h"\nint main() { return 0; }\n')
    warn = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "main.cc"]
    subprocess.run(["g++", *warn], cwd=package, check=True)


def test_an_edited_source_is_refused(package):
    with open(package / "f.c", "a") as file:
        file.write("/* mine */")
    with pytest.raises(ArgumentError, match="not the file that was exported"):
        load(package)


def test_no_package(tmp_path):
    with pytest.raises(ArgumentError, match="0 programs"):
        load(tmp_path)


def test_which_of_two(package):
    shutil.copy(package / "f.json", package / "g.json")
    assert load(package).name == "f"
    manifest = json.loads((package / "f.json").read_text())
    (package / "g.json").write_text(json.dumps(seal({**manifest, "name": "g"})))
    with pytest.raises(ArgumentError, match="2 programs"):
        load(package)
    assert load(package, "f").name == "f"


def test_a_missing_state_file(package):
    (package / "f.safetensors").unlink()
    with pytest.raises(ArgumentError, match="missing"):
        load(package)


def test_changed_manifests_are_refused(package):
    rng = np.random.default_rng(0)
    whole = json.loads((package / "f.json").read_text())
    junk = [None, -1, "x", [], {}, 1e300]
    for _ in range(150):
        manifest = json.loads(json.dumps(whole))
        at, key = manifest, rng.choice(list(manifest))
        while isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.7:
            at = at[key]
            key = rng.choice(list(at)) if isinstance(at, dict) else int(rng.integers(len(at)))
        at[key] = junk[rng.integers(len(junk))]
        (package / "f.json").write_text(json.dumps(manifest))
        if manifest != whole:
            with pytest.raises(ArgumentError):
                load(package)
