"""Other programs and libraries that do the same work, for comparison."""
