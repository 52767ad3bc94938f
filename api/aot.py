"""`gradc.aot`: a compiled function as one C file with its header, for programs without Python.

    gradc.aot.export(step, (x, y), "out/", name="train")
    gradc.aot.load("out/")(x, y)
"""

from gradc.runtime.aot import export, load

__all__ = ["export", "load"]
