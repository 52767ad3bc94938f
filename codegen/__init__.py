"""How a program runs: Graph -> passes -> kernels -> loops -> C text, or Graph -> JAX."""

import os

from gradc.tracer.graph.source import register_own_folder

register_own_folder(os.path.dirname(os.path.abspath(__file__)))
