"""What lies on disk: sockets, specs, recordings."""
