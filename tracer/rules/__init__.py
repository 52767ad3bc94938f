"""Rule tables: what each primitive computes, and its derivative. One module per concern."""
