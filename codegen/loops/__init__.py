"""Kernels to loops: the Loop IR, what C can say before it is text."""
