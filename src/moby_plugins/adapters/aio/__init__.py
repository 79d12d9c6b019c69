"""Technologies of asyncio: sockets in an event loop, and servers."""
