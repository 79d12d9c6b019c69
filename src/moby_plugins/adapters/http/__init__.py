"""The host's (the client's) end of HTTP: connections, dialling, translation of their errors."""
