"""gradc against other libraries, the same work in every one: `python -m benchmarks`."""
