"""Plugins, discovery and clocks for tests, in memory and over real sockets."""
