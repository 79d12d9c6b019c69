"""Measurements of the memory and time that decoding foreign JSON takes: ``make bounds``."""
