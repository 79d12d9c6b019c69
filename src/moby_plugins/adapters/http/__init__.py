"""The host's end of HTTP: connections, dialling, and the mapping of their errors to ours."""
