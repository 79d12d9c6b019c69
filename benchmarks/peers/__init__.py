"""What others do the same work with."""
