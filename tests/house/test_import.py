"""What `import gradc` costs, and that there is one way only to import it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sources import LAYERS


def run(code, cwd):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_the_folders_cannot_be_imported_bare(layer, tmp_path):
    found = run(f"import {layer}", tmp_path)
    assert found.returncode != 0 and "ModuleNotFoundError" in found.stderr


def test_import_is_quick_and_loads_no_extra(tmp_path):
    code = (
        "import time, sys, numpy; t = time.perf_counter(); import gradc; "
        "print(time.perf_counter() - t, *({'jax', 'safetensors', 'rich', 'scipy', 'sklearn'} "
        "& {m.split('.')[0] for m in sys.modules}))"
    )
    found = [run(code, tmp_path).stdout.split() for _ in range(4)]
    assert all(len(words) == 1 for words in found)
    # The first of them may write byte code, and other programs may be running.
    assert min(float(words[0]) for words in found) < 0.3


def test_importing_starts_no_compiler_and_writes_no_file(tmp_path):
    code = (
        "import os, subprocess, sys; started = []; "
        "sys.addaudithook(lambda e, a: started.append(e) if e in "
        "('subprocess.Popen', 'os.system', 'os.posix_spawn', 'os.mkdir', 'socket.connect') "
        "else None); import gradc, gradc.nn, gradc.optim, gradc.data, gradc.func; "
        "print([e for e in started if e != 'os.mkdir'])"
    )
    found = run(code, tmp_path)
    assert found.stdout.strip() == "[]", found.stderr
    assert list(tmp_path.iterdir()) == []
