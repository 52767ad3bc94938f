"""Making it run here: compiler, cache, load, call, ahead-of-time export, comparison."""

import os

from gradc.tracer.graph.source import register_own_folder

register_own_folder(os.path.dirname(os.path.abspath(__file__)))
