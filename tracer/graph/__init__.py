"""The graph IR: sizes, types, eqns, graphs, and how they are built, printed and checked."""
