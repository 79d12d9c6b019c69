"""The plugin's end of HTTP: listening sockets and the threaded server on them."""
