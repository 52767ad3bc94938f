"""What a program means: Python -> Graph -> Graph with gradients."""

import os

from gradc.tracer.graph.source import register_own_folder

register_own_folder(os.path.dirname(os.path.abspath(__file__)))
