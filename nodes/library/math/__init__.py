"""Numbers and matrices."""
