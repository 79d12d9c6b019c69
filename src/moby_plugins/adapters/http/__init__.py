"""The host's end of HTTP: engines, how they dial, and what they raise in our words."""
