"""Golden text of passes: a body before, the body after."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from gradc.tracer.graph.ir import Graph
from gradc.tracer.graph.parser import parse_graph
from gradc.tracer.graph.verify import verify


def body(graph: Graph) -> str:
    """The printed graph without its first line and without indentation."""
    return "\n".join(line.strip() for line in str(graph).splitlines()[1:])


def check(one_pass: Callable[[Graph], Graph], inputs: str, before: str, after: str) -> Graph:
    """Assert that `one_pass` turns the body `before` into `after`; both graphs must be valid."""
    text = "\n".join([f"graph f({inputs})", textwrap.dedent(before).strip()])
    graph = parse_graph(text)
    verify(graph)
    result = one_pass(graph)
    verify(result, after=getattr(one_pass, "__name__", "the pass"))
    expected = "\n".join(line.strip() for line in textwrap.dedent(after).strip().splitlines())
    assert body(result) == expected
    return result
