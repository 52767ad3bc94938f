"""A program and its inputs as one Python file that anybody can run.

    write_reproducer(graph, inputs, backend="c", folder=".")   ->  Path("crosscheck_step.py")

The file holds the graph as text and small inputs as numbers; floats are written in hexadecimal,
so that not a bit is lost. Larger arrays stand in an .npz beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradc.tracer import ops
from gradc.tracer.graph.ir import Graph
from gradc.tracer.storage import Array

_INLINE = 64

_TEMPLATE = '''"""{title}

Run it: it prints how far each executor is from float64.
"""

{imports}

from gradc.runtime.crosscheck import crosscheck_graph
from gradc.tracer.graph.parser import parse_graph

GRAPH = """
{text}
"""
{load}
INPUTS = [{inputs}]
CONSTANTS = [{constants}]

print(crosscheck_graph(parse_graph(GRAPH, CONSTANTS), INPUTS, backends=({backend!r},)))
'''


def _number(value: object) -> str:
    return f'h("{value.hex()}")' if isinstance(value, float) else repr(value)


def _inline(array: Array) -> str:
    numbers = ", ".join(_number(v) for v in array.reshape(-1).tolist())
    return f'np.array([{numbers}], "{array.dtype}").reshape({array.shape})'


def _large_constants(graph: Graph) -> list[Array]:
    """The constants whose numbers the graph's text does not hold."""
    arrays = [e.params.value.array for e in graph.eqns if e.prim is ops.constant]
    return [a for a in arrays if a.size > 8]


class _Data:
    """Arrays as Python expressions; those too long to write go to the file beside."""

    def __init__(self) -> None:
        self.beside: dict[str, Array] = {}

    def expression(self, name: str, array: Array) -> str:
        if array.size <= _INLINE:
            return _inline(array)
        self.beside[name] = array
        return f'DATA["{name}"]'


def write_reproducer(
    graph: Graph,
    inputs: Sequence[Array],
    *,
    backend: str,
    folder: str | Path,
    title: str = "A program on which executors differ.",
) -> Path:
    """Write the file (and the .npz beside it if needed); returns its path."""
    stem = "crosscheck_" + re.sub(r"\W", "_", graph.name)
    path = Path(folder) / f"{stem}.py"
    data = _Data()
    arrays = [data.expression(f"input_{i}", a) for i, a in enumerate(inputs)]
    constants = [
        data.expression(f"constant_{i}", a) for i, a in enumerate(_large_constants(graph))
    ]
    load = "\nh = float.fromhex"
    imports = "import numpy as np"
    if data.beside:
        np.savez(path.with_suffix(".npz"), **data.beside)  # type: ignore[arg-type]
        imports = f"from pathlib import Path\n\n{imports}"
        load += f'\nDATA = np.load(Path(__file__).with_name("{stem}.npz"), allow_pickle=False)'
    text = _TEMPLATE.format(
        title=title,
        imports=imports,
        text=str(graph).replace("\\", "\\\\").replace('"""', r"\"\"\""),
        load=load,
        inputs=", ".join(arrays),
        constants=", ".join(constants),
        backend=backend,
    )
    path.write_text(text, encoding="utf-8")
    return path
