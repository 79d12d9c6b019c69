"""Adapters for asyncio: sockets in an event loop, and servers."""
