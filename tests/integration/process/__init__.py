"""Wear and trouble: threads, forks, signals, kills, and a machine that has run out."""
