"""What `import gradc` costs, and that there is one way only to import it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sources import LAYERS

# Modules beside gradc's own and what NumPy loads: half as many again is a dependency gone astray.
LOADED = 150


def run(code, cwd):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_the_folders_cannot_be_imported_bare(layer, tmp_path):
    found = run(f"import {layer}", tmp_path)
    assert found.returncode != 0 and "ModuleNotFoundError" in found.stderr


def test_import_loads_no_extra_and_little_else(tmp_path):
    """What an import costs is what it loads; its time is measured in benchmarks."""
    code = (
        "import sys, numpy; before = set(sys.modules); import gradc; "
        "new = {m for m in set(sys.modules) - before if not m.startswith('gradc')}; "
        "print(len(new), *({'jax', 'safetensors', 'rich', 'scipy', 'sklearn'} "
        "& {m.split('.')[0] for m in sys.modules}))"
    )
    count, *extras = run(code, tmp_path).stdout.split()
    assert extras == []
    assert int(count) < LOADED


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
