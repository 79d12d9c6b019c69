"""The plugin's end of HTTP: listening sockets and the server behind them."""
