"""Files on disk: sockets, specs, recordings and root file systems."""
