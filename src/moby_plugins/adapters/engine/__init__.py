"""Engines and their API."""
