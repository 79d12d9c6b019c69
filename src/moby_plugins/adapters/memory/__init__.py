"""Plugins, discovery and a clock for tests, in memory and over real sockets."""
