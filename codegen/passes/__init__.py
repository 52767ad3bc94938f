"""Graph to graph: the rewriting passes."""
