"""The programs of `small_programs.py` are shared by the tests of plans and loops."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
for folder in (FOLDER, FOLDER.parent / "loops"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
