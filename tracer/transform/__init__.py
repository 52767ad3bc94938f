"""Transformations of programs: reverse mode first."""
