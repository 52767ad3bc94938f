"""`report("x.html")`: one page that stands alone and shows what it says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.errors import ArgumentError
from gradc.runtime.page import function_text

EMPTY = {"meta", "rect", "br"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background"}


class Page(HTMLParser):
    """Reads a page; every tag must be closed, and nothing may be loaded or run."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.titles = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attributes):
        assert tag not in ("script", "link", "iframe", "img", "object", "embed")
        assert not LOADING & {name for name, _ in attributes}
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in EMPTY

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
        elif self.open and self.open[-1] == "title" and "svg" in self.open:
            self.titles.append(data)
        else:
            self.words.append(data.strip())


def training_step():
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.LayerNorm(64), nn.Linear(64, 5))
    opt = optim.AdamW(model.parameters(), lr=1e-2)

    @gradc.compile
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)  # the <b>loss</b> & "more"
        loss.backward()
        opt.step()
        return loss

    return step


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    step = training_step()
    for n in (64, 32):
        step(gradc.randn(n, 20), gradc.randint(5, (n,)))
    path = tmp_path_factory.mktemp("page") / "step.html"
    assert step.report(path) == path
    return step, path.read_text("utf-8")


def test_it_is_whole_and_stands_alone(reported):
    _, text = reported
    page = Page(text)
    assert "http" not in text
    for title in ("Summary", "Memory of one call", "Time to compile", "Compiled again",
                  "Work area over time", "Kernels", "Why values are kept in memory",
                  "Program"):  # fmt: skip
        assert title in page.words


def test_the_users_text_is_escaped(reported):
    _, text = reported
    assert "<b>loss</b>" not in text
    assert "the &lt;b&gt;loss&lt;/b&gt; &amp; &quot;more&quot;" in text


def test_numbers_are_those_of_the_analyses(reported):
    step, text = reported
    memory, cost = step.memory_analysis(), step.cost_analysis()
    words = Page(text).words
    assert f"{memory.peak_bytes:,} bytes" in words
    assert f"{memory.work_bytes:,} bytes" in words
    assert f"{cost.flops:,}" in words
    for step_name in ("trace", "passes", "plan", "loops", "text", "build", "total"):
        taken = words[words.index(step_name) + 1]
        assert float(taken.removesuffix(" ms").replace(",", "")) >= 0
    assert float(words[words.index("trace") + 1].removesuffix(" ms")) > 0


def test_recompiles_are_told(reported):
    step, text = reported
    (reason,) = step.recompiles()
    assert reason in Page(text).words


def test_every_kernel_stands_beside_its_lines(reported):
    step, text = reported
    page = Page(text)
    kernels = re.findall(r"^\w+ void (k\d\w+)\(", step.c_source, re.M)
    assert len(kernels) >= 5
    for name in kernels:
        body = function_text(step.c_source, name)
        assert body.splitlines()[0].split("(")[0].endswith(f"void {name}")
        assert body.endswith("\n}")
        assert body.count("{") == body.count("}")
        assert body in page.text
    assert "test_report_page.py" in page.text
    assert "loss = F.cross_entropy(model(x), y)" in page.text


def test_the_memory_map_is_the_plan(reported):
    step, text = reported
    bars = Page(text).titles
    work = step.memory_analysis().work_bytes
    steps = step.cost_analysis().kernels
    assert len(bars) > 5
    boxes = []
    for bar in bars:
        size, offset, first, last = re.fullmatch(
            r".+: ([\d,]+) bytes at ([\d,]+), kernels (\d+) to (\d+)", bar
        ).groups()
        size, offset = int(size.replace(",", "")), int(offset.replace(",", ""))
        assert offset >= 64
        assert offset + size <= work
        assert 0 <= int(first) <= int(last) < steps
        boxes.append((offset, offset + size, int(first), int(last)))
    for i, (low, high, first, last) in enumerate(boxes):
        for other_low, other_high, other_first, other_last in boxes[:i]:
            apart = high <= other_low or other_high <= low
            assert apart or last < other_first or other_last < first


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_other_backends_show_what_they_have(backend, tmp_path):
    f = gradc.compile(lambda x: x.exp() + 1, backend=backend)
    f(gradc.ones(3))
    page = Page(f.report(tmp_path / "f.html").read_text("utf-8"))
    assert "Kernels" not in page.words
    assert "exp" in page.text


def test_nothing_in_the_work_area(tmp_path):
    f = gradc.compile(lambda x: x * 2.0, checks="nan", reproducible=True)
    f(gradc.ones(3))
    page = Page(f.report(tmp_path / "f.html").read_text("utf-8"))
    assert "No value is kept in the work area." in page.words
    assert "the same bits on every target" in page.words


def test_a_stage_reports_too(tmp_path):
    f = gradc.compile(lambda x: x.exp())
    page = Page(f.lower(gradc.ones(3)).compile().report(tmp_path / "f.html").read_text("utf-8"))
    assert "Never: one program served every call." in page.words


def test_before_the_first_call(tmp_path):
    with pytest.raises(ArgumentError, match="not been compiled yet"):
        gradc.compile(lambda x: x).report(tmp_path / "f.html")
