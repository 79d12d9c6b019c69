"""Benchmarks of this library against simpler ways to do the same work."""
