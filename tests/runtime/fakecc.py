"""Compilers that misbehave: shell scripts around the real one.

FakeCompiler(folder, FAILS)      a script that answers --version and then does as told
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

REAL = shutil.which("gcc") or shutil.which("cc") or "cc"

FAILS = "echo 'k.c:1: error: no' >&2; exit 1"
FLOODS = """
yes 'k.c:1: warning: once more' | head -c 1000000 >&2
for i in 1 2 3; do echo "last line $i" >&2; done
exit 1
"""
SLEEPS = "sleep 1000"
IGNORES_SIGTERM = "trap '' TERM INT HUP; while :; do sleep 1; done"
GARBAGE = "printf 'not a library at all' > k.so; exit 0"
NOTHING = "exit 0"
HALF = f'{REAL} "$@" && head -c 9000 k.so > cut && mv cut k.so; exit 0'
SLOW_HALVES = f"""
{REAL} "$@" || exit 1
mv k.so whole; head -c 5000 whole > k.so; sleep 0.7; tail -c +5001 whole >> k.so; rm whole
"""
KILLED_ONCE = f'case "$*" in *-O1*) exec {REAL} "$@";; esac; kill -9 $$'
KILLED = "kill -9 $$"
SEGFAULTS = "kill -SEGV $$"
LEAVES_CHILDREN = f'(sleep 987 & sleep 988 &) ; exec {REAL} "$@"'
SLOW = f'sleep 0.7; exec {REAL} "$@"'
NO_SPACE = "exit 1"


class FakeCompiler:
    """The script `folder/fakecc`; `runs` counts its real compilations."""

    def __init__(self, folder: Path, body: str) -> None:
        self.path = folder / "fakecc"
        self.log = folder / "fakecc.log"
        self.write(body)

    def write(self, body: str) -> None:
        self.path.write_text(
            "#!/bin/sh\n"
            'case "$*" in *--version*) echo "fakecc 1.0 Free Software Foundation"; exit 0;; esac\n'
            f'case "$*" in *-O3*) ;; *) exec {REAL} "$@";; esac\n'
            f"echo run >> '{self.log}'\n{body}\n"
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0
