"""The host's end of HTTP: engines, dialling, and the mapping of their errors to ours."""
