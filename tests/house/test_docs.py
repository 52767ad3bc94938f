"""README and docs: their Python runs, their links lead somewhere, their tables are whole."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from sources import ROOT

import gradc
from gradc import config, errors

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = {p: re.findall(r"```python\n(.*?)```", p.read_text("utf-8"), re.DOTALL) for p in PAGES}


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCKS[p]], ids=lambda p: p.name)
def test_its_python_runs_from_top_to_bottom(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCKS[page]), "utf-8")
    found = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_the_readme_shows_how_to_start():
    assert len(BLOCKS[ROOT / "README.md"]) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:examples|tests|docs|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    pages = [f"docs/{p.name}" for p in PAGES if p.parent.name == "docs"]
    assert [page for page in pages if f"({page})" not in text] == []


def first_cells(page):
    return re.findall(r"^\| `(\w+)`", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE)


def test_the_table_of_errors_is_whole():
    listed = first_cells("errors.md")
    assert set(listed) | {"GradcError"} == set(errors.__all__)
    for name in listed:
        bases = {base.__name__ for base in getattr(errors, name).__mro__}
        row = next(
            line for line in (ROOT / "docs/errors.md").read_text("utf-8").splitlines()
            if line.startswith(f"| `{name}`")
        )  # fmt: skip
        assert re.findall(r"`(\w+)`", row)[1] in bases


def test_the_table_of_settings_is_whole():
    assert set(first_cells("environment.md")) == {env for _, env, *_ in config.table()}


def test_the_version_is_one():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{gradc.__version__}"' in text
