"""Graph to JAX."""
