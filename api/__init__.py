"""gradc: training steps as plain C. What a user imports."""

import os

from gradc.tracer.graph.source import register_own_folder

register_own_folder(os.path.dirname(os.path.abspath(__file__)))

__version__ = "0.1.0"
